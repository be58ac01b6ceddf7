"""Reference bases by region, and whether the reads were aligned to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.errors import InputError
from pileupcnn.resources import Closing

_KEPT_BASES = 1 << 16
"""Bases that `Reference.base` reads at once."""


class Reference(Closing):
    """Random access to an indexed FASTA file, plain or bgzipped.

    One object belongs to one thread. ``pysam.FastaFile`` reads both kinds
    without writing beside the file.

    Parameters
    ----------
    path : path
        FASTA with a ``.fai`` (and ``.gzi`` if bgzipped) beside it.

    Attributes
    ----------
    lengths : dict of str to int
        Contigs in file order with their lengths in bp.

    Raises
    ------
    InputError
        If the file is missing, no FASTA, gzipped rather than bgzipped, or has
        no index.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._kept: ReferenceWindow | None = None
        _check_fasta(self.path)
        try:
            self._fasta = pysam.FastaFile(str(path))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be opened as FASTA ({error}); run 'samtools faidx {path}'"
            ) from error
        self.lengths: dict[str, int] = dict(
            zip(self._fasta.references, self._fasta.lengths, strict=True)
        )

    def close(self) -> None:
        """Close the file."""
        self._fasta.close()

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Bases of ``[start, end)``, clipped to the contig, upper case, IUPAC kept."""
        start, end = max(start, 0), min(end, self.lengths[contig])
        if start >= end:
            return b""
        try:
            bases: str = self._fasta.fetch(contig, start, end)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{self.path}: {contig}:{start + 1:,}-{end:,} cannot be read ({error}); "
                f"the file or its index is damaged, run 'samtools faidx {self.path}' again"
            ) from error
        if len(bases) != end - start:
            raise InputError(
                f"{self.path}: {contig}:{start + 1:,}-{end:,} holds {len(bases):,} bases; the "
                f"index does not fit the file, run 'samtools faidx {self.path}' again"
            )
        return bases.upper().encode()

    def base(self, contig: str, position: int) -> int:
        """One base, ASCII; quick for positions that come in order."""
        kept = self._kept
        if (
            kept is None
            or kept.contig != contig
            or not 0 <= position - kept.start < len(kept.bases)
        ):
            start = position - position % _KEPT_BASES
            kept = self._kept = self.window(contig, start, start + _KEPT_BASES)
        return int(kept.bases[position - kept.start])

    def window(self, contig: str, start: int, end: int) -> ReferenceWindow:
        """The bases of ``[start, end)``, clipped to the contig, as an array."""
        bases = np.frombuffer(self.fetch(contig, start, end), dtype=np.uint8)
        return ReferenceWindow(contig, max(start, 0), bases, self.lengths[contig])


@dataclass(frozen=True, slots=True)
class ReferenceWindow:
    """Known bases of a stretch of a contig.

    Attributes
    ----------
    contig : str
    start : int
        0-based position of the first base.
    bases : uint8
        ASCII, upper case.
    contig_length : int
    """

    contig: str
    start: int
    bases: NDArray[np.uint8]
    contig_length: int


def _check_fasta(path: Path) -> None:
    """Sniff the content, so that the message names the real mistake."""
    try:
        with open(path, "rb") as raw:
            head = raw.read(18)
    except OSError as error:
        raise InputError(
            f"{path}: the reference cannot be opened ({error.strerror}); check --ref"
        ) from error
    if head[:2] == b"\x1f\x8b":
        # bgzip marks each block with an extra field 'BC' (SAM specification 4.1)
        if head[12:14] != b"BC":
            raise InputError(
                f"{path}: compressed with gzip, not bgzip; run "
                f"'gunzip {path}', then 'bgzip' and 'samtools faidx' on the result"
            )
        for suffix in (".fai", ".gzi"):
            if not Path(f"{path}{suffix}").exists():
                raise InputError(f"{path}: no {suffix} index; run 'samtools faidx {path}'")
    elif head[:1] != b">":
        kind = "FASTQ" if head[:1] == b"@" else "not a FASTA file"
        raise InputError(f"{path}: looks like {kind}; --ref takes FASTA, whose first byte is '>'")
    elif not Path(f"{path}.fai").exists():
        raise InputError(f"{path}: no .fai index; run 'samtools faidx {path}'")


def common_contigs(
    reference: Mapping[str, int], reads: Mapping[str, int], reads_path: str | Path
) -> dict[str, int]:
    """Contigs in both reference and reads, in the reference's order.

    Raises
    ------
    InputError
        If a contig has two lengths, or none is shared.
    """
    shared = {contig: length for contig, length in reference.items() if contig in reads}
    for contig, length in shared.items():
        if reads[contig] != length:
            raise InputError(
                f"{reads_path}: contig {contig} is {reads[contig]:,} bp in the reads and "
                f"{length:,} bp in the reference; give the reference the reads were aligned to"
            )
    if not shared:
        ours, theirs = ", ".join(list(reference)[:3]), ", ".join(list(reads)[:3])
        raise InputError(
            f"{reads_path}: no contig in common, the reads name {theirs or 'none'} and the "
            f"reference {ours or 'none'}; give the reference the reads were aligned to "
            "(20 and chr20 are different names)"
        )
    return shared
