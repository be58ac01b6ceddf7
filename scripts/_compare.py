"""Counting errors of a call set by exact match, with the standard library only.

Two sets of records are compared as sets of (contig, position, REF, ALT,
genotype): one entry per ALT allele that the sample carries, shared trailing and
leading bases trimmed, the genotype as the number of copies. Left-aligning is
left to ``bcftools norm``, which ``scripts/accuracy`` calls before.
"""

from __future__ import annotations

import bisect
import gzip
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Variant(NamedTuple):
    """One ALT allele of one sample: 0-based start, and copies carried (1 or 2)."""

    contig: str
    start: int
    ref: str
    alt: str
    copies: int

    @property
    def is_indel(self) -> bool:
        """Whether the allele changes the length; a longer substitution counts as SNP."""
        return len(self.ref) != len(self.alt)


@dataclass(frozen=True)
class Counts:
    """Outcome of a comparison for one kind of variant."""

    truth: int = 0
    fn: int = 0
    fp: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.truth + other.truth, self.fn + other.fn, self.fp + other.fp)

    @property
    def errors(self) -> int:
        """FN + FP."""
        return self.fn + self.fp

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision; 1 where there is nothing to find."""
        hits = 2 * (self.truth - self.fn)
        return hits / (hits + self.errors) if hits + self.errors else 1.0


class Intervals:
    """Sorted, merged half-open intervals by contig."""

    def __init__(self, intervals: Iterable[tuple[str, int, int]]) -> None:
        self._starts: dict[str, list[int]] = {}
        self._ends: dict[str, list[int]] = {}
        for contig, start, end in sorted(intervals):
            starts, ends = self._starts.setdefault(contig, []), self._ends.setdefault(contig, [])
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)

    @classmethod
    def from_bed(cls, path: Path) -> Intervals:
        """Read a BED file; its header lines are skipped."""
        lines = (line.split("\t") for line in open_text(path) if line.strip())
        return cls(
            (fields[0], int(fields[1]), int(fields[2]))
            for fields in lines
            if not fields[0].startswith(("#", "track", "browser"))
        )

    def __contains__(self, locus: tuple[str, int]) -> bool:
        """Whether a (contig, 0-based position) lies in an interval."""
        contig, position = locus
        i = bisect.bisect_right(self._starts.get(contig, []), position) - 1
        return i >= 0 and position < self._ends[contig][i]


def open_text(path: Path) -> Iterator[str]:
    """Lines of a text file, gzipped or not."""
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt") if zipped else open(path) as lines:
        yield from lines


def trim(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Drop shared trailing, then shared leading bases; one base stays of each."""
    while len(ref) > 1 and len(alt) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while len(ref) > 1 and len(alt) > 1 and ref[0] == alt[0]:
        start, ref, alt = start + 1, ref[1:], alt[1:]
    return start, ref, alt


def read_variants(lines: Iterable[str]) -> set[Variant]:
    """Alleles carried by the first sample of a VCF, from PASS and unfiltered records.

    Parameters
    ----------
    lines : iterable of str
        The VCF's text, header included or not.

    Returns
    -------
    set of Variant
        Hom-ref, missing and symbolic (``*``, ``<...>``) alleles are left out.
    """
    variants = set()
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        contig, pos, _, ref, alts, _, filters, _, keys, sample = line.rstrip("\n").split("\t")[:10]
        if filters not in ("PASS", ".") or "GT" not in keys.split(":"):
            continue
        genotype = sample.split(":")[keys.split(":").index("GT")].replace("|", "/").split("/")
        for index, alt in enumerate(alts.split(","), 1):
            copies = genotype.count(str(index))
            if copies and alt != "*" and not alt.startswith("<"):
                trimmed = trim(int(pos) - 1, ref.upper(), alt.upper())
                variants.add(Variant(contig, *trimmed, copies))
    return variants


def inside(
    variants: Iterable[Variant], within: Sequence[Intervals], without: Intervals | None = None
) -> set[Variant]:
    """Variants whose position lies in all of `within` and not in `without`."""
    return {
        v
        for v in variants
        if all((v.contig, v.start) in intervals for intervals in within)
        and not (without is not None and (v.contig, v.start) in without)
    }


def compare(truth: set[Variant], calls: set[Variant]) -> tuple[Counts, Counts]:
    """Count exact matches; a wrong genotype is one FN and one FP.

    Returns
    -------
    tuple of Counts
        Of SNPs, and of indels.
    """
    kinds = []
    for indel in (False, True):
        wanted = {v for v in truth if v.is_indel is indel}
        found = {v for v in calls if v.is_indel is indel}
        kinds.append(Counts(len(wanted), len(wanted - found), len(found - wanted)))
    return kinds[0], kinds[1]
