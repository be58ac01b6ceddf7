"""Mapping simulated reads with ``bwa mem``, sorted and indexed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pysam

from pileupcnn.errors import InputError, OutputError

FAR = 1_000
"""bp from where a read is known to belong, beyond which it has been misplaced."""

Progress = Callable[[int, int], None]
"""Told what is done, and all there is to do."""


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
                os.replace(building, final)
        except OSError as error:
            if final.exists():  # another process was faster
                return final / "reference"
            raise OutputError(
                f"{cache}: the bwa index cannot be written ({error.strerror}); "
                "choose another --bwa-index"
            ) from error
    return final / "reference"


def align(
    fastq: Iterable[bytes],
    prefix: Path,
    output: Path,
    sample: str,
    threads: int,
    scratch: Path,
    progress: Progress = lambda done, total: None,
) -> None:
    """Map interleaved read pairs; write a sorted BAM and its index.

    Of a read whose comment holds ``mq:i:`` the mapping quality becomes that
    number, and of one with ``mp:i:`` nothing is written if its 1-based position
    is further than `FAR` from it. Reads without their mate are mapped alone.
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
    progress : function of two ints
        Told reads mapped, and in all.
    """
    reads, mapped = scratch / "reads.fq", scratch / "reads.sam"
    total = 0
    with open(reads, "wb") as out:
        for text in fastq:
            out.write(text)
            total += text.count(b"\n") // 4
    # a fixed -K makes batches, and so insert-size estimates, independent of -t
    group = f"@RG\\tID:{sample}\\tSM:{sample}\\tLB:{sample}\\tPL:ILLUMINA"
    command = ["bwa", "mem", "-t", str(threads), "-K", "10000000", "-C", "-p", "-R", group]
    with open(mapped, "wb") as sam:
        done = 0
        for line in _lines([*command, str(prefix), str(reads)]):
            kept = _apply_comment(line)
            if kept:
                sam.write(kept)
            if not line.startswith(b"@"):
                done += 1
                if done % 10_000 == 0:
                    progress(min(done, total), total)
    progress(total, total)
    reads.unlink()
    temporary = scratch / "sort"
    pysam.samtools.sort(
        "--no-PG", "-@", str(threads - 1), "-T", str(temporary), "-o", str(output), str(mapped)
    )
    mapped.unlink()
    pysam.samtools.index(str(output))


def _apply_comment(line: bytes) -> bytes:
    """A line of SAM as its read's comment wants it; empty if it is not to be written."""
    if line.startswith(b"@"):
        # @PG lines hold paths
        return b"" if line.startswith(b"@PG") else line
    at = line.rfind(b"\tmq:i:")
    if at < 0:
        return line
    quality, *place = line[at + 6 :].split(b"\tmp:i:")
    name, flag, contig, position, mapped, rest = line[:at].split(b"\t", 5)
    if contig != b"*" and not int(flag) & pysam.FUNMAP:
        if place and abs(int(place[0]) - int(position)) > FAR:
            return b""
        mapped = quality.strip()
    return b"\t".join((name, flag, contig, position, mapped, rest)) + b"\n"


def _run(command: list[str]) -> None:
    """Run a program for its files."""
    for _ in _lines(command):
        pass


def _lines(command: list[str]) -> Iterator[bytes]:
    """Run bwa; the lines that it writes."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        try:
            yield from process.stdout
            failed = process.wait()
        except BaseException:
            process.kill()  # leaving the block waits for it
            raise
        if failed:
            log.seek(0)
            last = (log.read().decode(errors="replace").strip() or "no message").splitlines()[-1]
            raise InputError(
                f"'{' '.join(command[:2])}' failed ({last}); check the reference, the disk "
                "and memory"
            )
