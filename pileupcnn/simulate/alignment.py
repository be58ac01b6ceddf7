"""Mapping simulated reads with ``bwa mem``, sorted and indexed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pysam

from pileupcnn.errors import InputError, OutputError


def require_bwa() -> None:
    """Raise InputError if ``bwa`` is not installed."""
    if shutil.which("bwa") is None:
        raise InputError("bwa is not on the PATH; install it (Debian, Ubuntu: apt install bwa)")


def digest(path: Path) -> str:
    """Blake2b of a file's content, 16 hexadecimal digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def index_reference(reference: Path, cache: Path) -> Path:
    """Build bwa's index of a reference in a cache folder, unless it is there.

    Parameters
    ----------
    reference : Path
        FASTA, plain or gzipped. Nothing is written beside it.
    cache : Path
        Folder, made if missing; indexes are named after the FASTA's content.

    Returns
    -------
    Path
        The index's prefix for ``bwa mem``.
    """
    final = cache / digest(reference)
    if not final.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                building = Path(scratch) / "index"
                building.mkdir()
                _run(["bwa", "index", "-p", str(building / "reference"), str(reference)])
                if not final.exists():
                    os.replace(building, final)
        except OSError as error:
            raise OutputError(
                f"{cache}: the bwa index cannot be written ({error.strerror}); "
                "choose another --bwa-index"
            ) from error
    return final / "reference"


def align(
    fastq: Iterable[bytes], prefix: Path, output: Path, sample: str, threads: int, scratch: Path
) -> None:
    """Map interleaved read pairs; write a sorted BAM and its index.

    The BAM has no @PG lines, and does not depend on `threads`.

    Parameters
    ----------
    fastq : iterable of bytes
        Interleaved FASTQ.
    prefix : Path
        As `index_reference` returns it.
    output : Path
        The BAM; ``.bai`` is added for the index.
    sample : str
        Name in the read group.
    threads : int
    scratch : Path
        Folder for intermediate files.
    """
    reads, mapped = scratch / "reads.fq", scratch / "reads.sam"
    with open(reads, "wb") as out:
        out.writelines(fastq)
    # a fixed -K makes batches, and so insert-size estimates, independent of -t
    group = f"@RG\\tID:{sample}\\tSM:{sample}\\tLB:{sample}\\tPL:ILLUMINA"
    command = ["bwa", "mem", "-t", str(threads), "-K", "10000000", "-p", "-R", group]
    _run([*command, str(prefix), str(reads)], mapped)
    reads.unlink()
    temporary = scratch / "sort"
    pysam.samtools.sort(
        "--no-PG", "-@", str(threads - 1), "-T", str(temporary), "-o", str(output), str(mapped)
    )
    mapped.unlink()
    pysam.samtools.index(str(output))


def _run(command: list[str], mapped: Path | None = None) -> None:
    """Run bwa; its SAM goes to `mapped` without @PG lines, which hold paths."""
    with (
        tempfile.TemporaryFile() as log,
        open(mapped or os.devnull, "wb") as sam,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith(b"@PG"):
                sam.write(line)
            if not line.startswith(b"@"):
                break
        shutil.copyfileobj(process.stdout, sam, 1 << 20)
        if process.wait():
            log.seek(0)
            last = (log.read().decode(errors="replace").strip() or "no message").splitlines()[-1]
            raise InputError(
                f"'{' '.join(command[:2])}' failed ({last}); check the reference, the disk "
                "and memory"
            )
