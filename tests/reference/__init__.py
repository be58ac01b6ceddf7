"""A slow, obvious second implementation of what the kernels do, to test them against.

Plain Python over plain objects, one function a rule of DeepVariant's; nothing
here is imported from `pileupcnn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PAIRED, PROPER, UNMAPPED, MATE_UNMAPPED = 0x1, 0x2, 0x4, 0x8
REVERSE, FIRST, SECOND = 0x10, 0x40, 0x80
SECONDARY, QC_FAIL, DUPLICATE, SUPPLEMENTARY = 0x100, 0x200, 0x400, 0x800

CONSUMES_READ = "M=XIS"
CONSUMES_REFERENCE = "M=XDN"


@dataclass(frozen=True)
class Read:
    """One aligned read.

    Attributes
    ----------
    name : str
        Fragment name.
    number : int
        1 for the second read of a pair, else 0.
    start : int
        0-based position of the first reference base that the CIGAR consumes.
    mapq, flag, tlen : int
        As in SAM.
    cigar : tuple of (str, int)
        Operation letter and length.
    bases : str
        Upper case, as long as the CIGAR says.
    qualities : tuple of int
        Phred scores, one a base.
    hp : int
        HP tag, 0 where absent.
    mate_elsewhere : bool
        Whether the mate is mapped to another contig.
    methylation, methylation_6ma : tuple of int
        Probabilities in 256ths that each base is modified; empty for none.
    """

    name: str
    number: int
    start: int
    mapq: int
    flag: int
    tlen: int
    cigar: tuple[tuple[str, int], ...]
    bases: str
    qualities: tuple[int, ...]
    hp: int = 0
    mate_elsewhere: bool = False
    methylation: tuple[int, ...] = ()
    methylation_6ma: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """What the allele counter and the support lists know a read by."""
        return f"{self.name}/{self.number}"

    @property
    def cigar_text(self) -> str:
        """The CIGAR as in SAM."""
        return "".join(f"{length}{op}" for op, length in self.cigar)

    @property
    def end(self) -> int:
        """0-based end of the reference span, exclusive."""
        return self.start + reference_length(self.cigar)


def reference_length(cigar: Sequence[tuple[str, int]]) -> int:
    """Reference bases that a CIGAR consumes."""
    return sum(length for op, length in cigar if op in CONSUMES_REFERENCE)


def read_length(cigar: Sequence[tuple[str, int]]) -> int:
    """Read bases that a CIGAR consumes."""
    return sum(length for op, length in cigar if op in CONSUMES_READ)


def is_used(read: Read, min_mapping_quality: int = 5) -> bool:
    """Whether a read passes DeepVariant's default filters."""
    if read.flag & (UNMAPPED | SECONDARY | QC_FAIL | DUPLICATE | SUPPLEMENTARY):
        return False
    if read.mapq < min_mapping_quality:
        return False
    return (
        not read.flag & PAIRED
        or bool(read.flag & PROPER)
        or bool(read.flag & MATE_UNMAPPED)
        or not read.mate_elsewhere
    )


def overlaps(read: Read, start: int, end: int) -> bool:
    """Whether a read's reference span and ``[start, end)`` share a base."""
    return read.start < end and start < read.end
