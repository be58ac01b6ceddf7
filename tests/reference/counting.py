"""Allele counts and candidate variants of one partition, the slow way."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reference import REVERSE, Read

REFERENCE, SUBSTITUTION, INSERTION, DELETION, SOFT_CLIP = 1, 2, 3, 4, 5
"""Allele types; the numbers order alleles of equal bases."""


@dataclass(frozen=True)
class Allele:
    """What one read shows at one position; `quality` is the mean of its bases, cut."""

    bases: str
    type: int
    low_quality: bool
    quality: int
    mapq: int
    reverse: bool


@dataclass
class Position:
    """The alleles counted at one reference position."""

    reference_base: str
    reference_reads: int = 0
    alleles: dict[str, Allele] = field(default_factory=dict)
    """By read key; of two reads with one key the later counts."""

    @property
    def depth(self) -> int:
        """DP: reads of sufficient quality with any allele."""
        shown = (a for a in self.alleles.values() if not a.low_quality and a.type != REFERENCE)
        return self.reference_reads + sum(1 for _ in shown)


@dataclass(frozen=True)
class Candidate:
    """One candidate variant; `support` has, by ALT, the keys of the reads that show it."""

    start: int
    end: int
    ref: str
    alts: tuple[str, ...]
    depth: int
    allele_depths: tuple[int, ...]
    support: dict[str, frozenset[str]]


def is_dna(bases: str) -> bool:
    """Whether there are only A, C, G and T."""
    return all(base in "ACGT" for base in bases)


def indel_allele(
    read: Read, op: str, length: int, offset: int, position: int, contig: str, min_quality: int
) -> Allele | None:
    """The allele of an I, S or D at read base `offset` and reference `position`."""
    if offset == 0:
        anchor = contig[position - 1 : position] if position >= 1 else ""
    else:
        anchor = read.bases[offset - 1]
    if anchor == "" or not is_dna(anchor):
        return None
    if op == "D":
        deleted = contig[position : position + length]
        if len(deleted) < length or not is_dna(deleted):
            return None
        quality = read.qualities[max(0, offset - 1)]
        return Allele(
            anchor + deleted, DELETION, False, quality, read.mapq, bool(read.flag & REVERSE)
        )
    bases = read.bases[offset : offset + length]
    if not is_dna(bases):
        return None
    total = sum(read.qualities[offset : offset + length])
    return Allele(
        anchor + bases,
        INSERTION if op == "I" else SOFT_CLIP,
        total < min_quality * length,
        total // length,
        read.mapq,
        bool(read.flag & REVERSE),
    )


def read_alleles(
    read: Read, contig: str, start: int, end: int, min_quality: int
) -> list[tuple[int, Allele] | None]:
    """Position and allele of everything a read shows, in order; None for what is skipped."""
    alleles: list[tuple[int, Allele] | None] = []
    position, offset = read.start, 0
    for op, length in read.cigar:
        if op in "M=X":
            for i in range(length):
                base = read.bases[offset + i]
                if start <= position + i < end and is_dna(base):
                    same = contig[position + i] == base
                    quality = read.qualities[offset + i]
                    allele = Allele(
                        base,
                        REFERENCE if same else SUBSTITUTION,
                        quality < min_quality,
                        quality,
                        read.mapq,
                        bool(read.flag & REVERSE),
                    )
                    alleles.append((position + i, allele))
            position += length
            offset += length
        elif op in "ISD":
            indel = indel_allele(read, op, length, offset, position, contig, min_quality)
            alleles.append(None if indel is None else (position - 1, indel))
            if op == "D":
                position += length
            else:
                offset += length
        elif op in "NP":
            position += length
    return alleles


def count_alleles(
    reads: Iterable[Read],
    contig: str,
    start: int,
    end: int,
    min_quality: int = 10,
    tracked: Collection[int] = (),
) -> list[Position]:
    """Count what `reads` show at each position of the partition ``[start, end)``.

    At `tracked` positions matching bases are alleles, too.
    """
    counts = [Position(base) for base in contig[start:end]]
    for read in reads:
        alleles = read_alleles(read, contig, start, end, min_quality)
        for shown, following in itertools.pairwise([*alleles, None]):
            if shown is None or not start <= shown[0] < end:
                continue
            if following is not None and following[0] == shown[0]:
                continue
            count, allele = counts[shown[0] - start], shown[1]
            if allele.type == REFERENCE:
                count.reference_reads += not allele.low_quality
            if allele.type != REFERENCE or shown[0] in tracked:
                count.alleles[read.key] = allele
    return counts


@dataclass(frozen=True)
class Thresholds:
    """Fewest reads and smallest share of the depth of an ALT allele."""

    count_snps: int = 2
    count_indels: int = 2
    fraction_snps: float = 0.12
    fraction_indels: float = 0.06


def kept_alleles(count: Position, depth: int, limits: Thresholds) -> dict[tuple[str, int], int]:
    """The alleles that become ALTs, by bases and type in that order, with their counts."""
    shown = (a for a in count.alleles.values() if not a.low_quality and a.type != REFERENCE)
    sums = Counter((a.bases, a.type) for a in shown)
    kept = {}
    for (bases, kind), number in sorted(sums.items()):
        snp = kind == SUBSTITUTION
        if kind == SOFT_CLIP or number < (limits.count_snps if snp else limits.count_indels):
            continue
        fraction = np.float32(limits.fraction_snps if snp else limits.fraction_indels)
        if number / depth >= float(fraction):
            kept[bases, kind] = number
    return kept


def alt_bases(bases: str, kind: int, ref: str) -> str:
    """The ALT string of an allele beside the REF string `ref`."""
    if kind == DELETION:
        return bases[0] + ref[len(bases) :]
    return bases + ref[1:]


def spellings(count: Position, limits: Thresholds) -> tuple[str, dict[tuple[str, int], str]]:
    """REF at one position, and the ALT that each allele which passes is beside it."""
    kept = kept_alleles(count, count.depth, limits)
    deletions = [bases for bases, kind in kept if kind == DELETION]
    ref = count.reference_base + max(deletions, key=len, default="")[1:]
    return ref, {allele: alt_bases(*allele, ref) for allele in kept}


def pooled_support(
    samples: Sequence[Iterable[Read]],
    contig: str,
    start: int,
    end: int,
    position: int,
    limits: Thresholds | None = None,
) -> dict[str, frozenset[str]]:
    """Keys of the reads of all samples that show each ALT of the first one's candidate."""
    counts = [count_alleles(reads, contig, start, end)[position - start] for reads in samples]
    _, names = spellings(counts[0], limits or Thresholds())
    return {
        alt: frozenset(
            key
            for count in counts
            for key, shown in count.alleles.items()
            if (shown.bases, shown.type) == allele
        )
        for allele, alt in names.items()
    }


def make_candidate(count: Position, position: int, limits: Thresholds) -> Candidate | None:
    """The candidate at one position, if any allele passes."""
    if count.reference_base not in "ACGT":
        return None
    kept = kept_alleles(count, count.depth, limits)
    if not kept:
        return None
    ref, names = spellings(count, limits)
    alts = sorted(names.values())
    assert len(set(alts)) == len(kept)
    depths = {names[allele]: number for allele, number in kept.items()}
    support: dict[str, set[str]] = {alt: set() for alt in alts}
    for key, allele in count.alleles.items():
        if (allele.bases, allele.type) in names:
            support[names[allele.bases, allele.type]].add(key)
    return Candidate(
        start=position,
        end=position + len(ref),
        ref=ref,
        alts=tuple(alts),
        depth=count.depth,
        allele_depths=(count.reference_reads, *(depths[alt] for alt in alts)),
        support={alt: frozenset(keys) for alt, keys in support.items()},
    )


def find_candidates(
    reads: Sequence[Read],
    contig: str,
    start: int,
    end: int,
    min_quality: int = 10,
    limits: Thresholds | None = None,
) -> list[Candidate]:
    """The candidates of the partition ``[start, end)`` from the reads pooled for it."""
    limits = limits or Thresholds()
    counts = count_alleles(reads, contig, start, end, min_quality)
    found = (make_candidate(count, start + i, limits) for i, count in enumerate(counts))
    return [candidate for candidate in found if candidate is not None]
