"""The reads at candidates and what they are like, and the small model's features, the slow way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reference import Read
from reference.counting import (
    REFERENCE,
    Allele,
    Candidate,
    Position,
    Thresholds,
    alt_bases,
    count_alleles,
    kept_alleles,
    make_candidate,
)

UNCALLED = "UNCALLED_ALLELE"
HALF_CONTEXT = 25


@dataclass(frozen=True)
class Described:
    """A candidate with all reads there.

    Attributes
    ----------
    candidate : Candidate
    support : dict
        By ALT or `UNCALLED`: what each read shows, by its key.
    reference : dict
        The same of the reads that show the reference, where these are tracked.
    context : dict of int to int
        Percentage of reads listed at each position around, within the partition.
    """

    candidate: Candidate
    support: dict[str, dict[str, Allele]]
    reference: dict[str, Allele]
    context: dict[int, int]


def count_tracked(reads: Sequence[Read], contig: str, start: int, end: int) -> list[Position]:
    """As `count_alleles`, with the reads that match where that finds candidates."""
    counts = count_alleles(reads, contig, start, end)
    found = (make_candidate(count, 0, Thresholds()) is not None for count in counts)
    tracked = {start + i for i, is_candidate in enumerate(found) if is_candidate}
    return count_alleles(reads, contig, start, end, tracked=tracked)


def describe_candidates(counts: Sequence[Position], start: int) -> list[Described]:
    """The candidates of a partition that begins at `start`."""
    limits = Thresholds()
    described = []
    for i, count in enumerate(counts):
        candidate = make_candidate(count, start + i, limits)
        if candidate is not None:
            reference = {k: a for k, a in count.alleles.items() if a.type == REFERENCE}
            around = range(max(0, i - HALF_CONTEXT), min(len(counts), i + HALF_CONTEXT + 1))
            context = {start + j: percentage(counts[j]) for j in around}
            support = supporters(candidate, count, limits)
            described.append(Described(candidate, support, reference, context))
    return described


def percentage(count: Position) -> int:
    """Listed reads in percent, as DeepVariant counts the depth."""
    listed = len(count.alleles)
    depth = count.reference_reads + listed
    return 100 * listed // depth if depth else 0


def supporters(
    candidate: Candidate, count: Position, limits: Thresholds
) -> dict[str, dict[str, Allele]]:
    """The reads of each ALT and of none, by key."""
    names = {
        kept: alt_bases(*kept, candidate.ref)
        for kept in kept_alleles(count, candidate.depth, limits)
    }
    support: dict[str, dict[str, Allele]] = defaultdict(dict)
    for key, allele in count.alleles.items():
        if allele.type != REFERENCE:
            support[names.get((allele.bases, allele.type), UNCALLED)][key] = allele
    return dict(support)


def mean(values: Sequence[int]) -> int:
    """Cut to an integer; 0 of nothing."""
    return sum(values) // len(values) if values else 0


def features(described: Described, shown: Sequence[int]) -> list[int]:
    """The 70 numbers for one set of ALTs."""
    candidate = described.candidate
    ref = list(described.reference.values())
    alts = [candidate.alts[i] for i in shown]
    alt = [allele for name in alts for allele in described.support[name].values()]
    total = len(ref) + sum(map(len, described.support.values()))
    lengths = [len(name) - len(candidate.ref) for name in alts]
    numbers = [
        len(ref),
        len(alt),
        len(ref) + len(alt),
        total,
        100 * len(alt) // total if total else 0,
        100 * len(alt) // (len(ref) + len(alt)) if ref or alt else 0,
    ]
    for of in (
        lambda allele: allele.mapq,
        lambda allele: allele.quality,
        lambda allele: 100 * allele.reverse,
    ):
        numbers += [mean(list(map(of, ref))), mean(list(map(of, alt)))]
    numbers += [
        len(candidate.ref) == 1 and all(len(name) == 1 for name in alts),
        min(lengths) > 0,
        max(lengths) < 0,
        max(0, *lengths),
        max(0, *(-length for length in lengths)),
        len(candidate.alts) > 1,
        len(shown) > 1,
    ]
    around = range(candidate.start - HALF_CONTEXT, candidate.start + HALF_CONTEXT + 1)
    return [int(number) for number in numbers] + [described.context.get(at, 0) for at in around]
