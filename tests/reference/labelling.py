"""Truth matched as haplotypes, the slow way: all genotypes, all phasings, all sequences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Genotype = tuple[int, int]
Choice = tuple[Genotype, ...]
Pair = frozenset[str]


@dataclass(frozen=True)
class Known:
    """A variant with the genotypes it may have, in order, and the price of each."""

    start: int
    alleles: tuple[str, ...]
    options: tuple[tuple[Genotype, int], ...]

    @property
    def end(self) -> int:
        return self.start + len(self.alleles[0])

    @property
    def genotypes(self) -> int:
        """How many its alleles allow."""
        return len(self.alleles) * (len(self.alleles) + 1) // 2


def common_end(one: str, other: str) -> int:
    """Bases shared at the end."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return n


def spell(
    variants: Sequence[Known],
    alleles: Sequence[int],
    contig: str,
    span: tuple[int, int],
    base: bool,
) -> str | None:
    """One haplotype over `span`; None if two of its alleles exclude each other.

    `base`: a REF allele takes its first base.
    """
    text, position = "", span[0]
    for variant, index in zip(variants, alleles, strict=True):
        if index == 0 and not base:
            continue
        if variant.start < position:
            if index > 0:
                return None
            continue
        ref, allele = variant.alleles[0], variant.alleles[index]
        text += contig[position : variant.start]
        if index == 0:
            text, position = text + ref[0], variant.start + 1
            continue
        shared = common_end(ref, allele) if len(ref) > 1 and len(allele) > 1 else 0
        text, position = text + allele[: len(allele) - shared], variant.end - shared
    return text + contig[position : span[1]]


def phasings(choice: Choice) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Alleles of the two haplotypes, the smaller first; in all ways, the smallest first."""
    found = set()
    for swaps in itertools.product((0, 1), repeat=len(choice)):
        one = tuple(genotype[swap] for genotype, swap in zip(choice, swaps, strict=True))
        other = tuple(genotype[1 - swap] for genotype, swap in zip(choice, swaps, strict=True))
        found.add((min(one, other), max(one, other)))
    yield from sorted(found)


def choices_by_pair(
    variants: Sequence[Known], contig: str, span: tuple[int, int], base: bool
) -> dict[Pair, list[tuple[Choice, int]]]:
    """Which genotypes give a pair of sequences, and their price; both in order."""
    found: dict[Pair, list[tuple[Choice, int]]] = {}
    for options in itertools.product(*(variant.options for variant in variants)):
        choice = tuple(genotype for genotype, _ in options)
        cost = sum(price for _, price in options)
        for alleles in phasings(choice):
            texts = [spell(variants, one, contig, span, base) for one in alleles]
            if texts[0] is not None and texts[1] is not None:
                listed = found.setdefault(frozenset((texts[0], texts[1])), [])
                if (choice, cost) not in listed:
                    listed.append((choice, cost))
    return found


def match(
    first: Sequence[Known], second: Sequence[Known], contig: str, like_deepvariant: bool
) -> tuple[Choice, Choice] | None:
    """The best genotypes of one group."""
    if not first or not second:
        return ((0, 0),) * len(first), ((0, 0),) * len(second)
    both = [*first, *second]
    span = (
        max(0, min(variant.start for variant in both) - 1),
        min(len(contig), max(variant.end for variant in both) + 20),
    )
    ours = choices_by_pair(first, contig, span, like_deepvariant)
    theirs = choices_by_pair(second, contig, span, like_deepvariant)
    matches = []
    for pair, choices in ours.items():
        if pair not in theirs:
            continue
        other, price = theirs[pair][-1]
        if not like_deepvariant:
            price = min(cost for _, cost in theirs[pair])
            other = [choice for choice, cost in theirs[pair] if cost == price][-1]
        matches += [(cost + price, choice, other) for choice, cost in choices]
    if not matches:
        return None
    best = min(cost for cost, *_ in matches)
    return next((choice, other) for cost, choice, other in matches if cost == best)


def group(
    first: Sequence[Known],
    second: Sequence[Known],
    most: int = 8,
    separation: int = 30,
    product: int = 100_000,
) -> list[tuple[list[Known], list[Known]]]:
    """Variants near each other, together."""
    merged = sorted(
        [(variant.start, 0, variant) for variant in first]
        + [(variant.start, 1, variant) for variant in second],
        key=lambda row: row[:2],
    )
    groups: list[list[tuple[int, Known]]] = []
    now: list[tuple[int, Known]] = []
    previous = 0
    for end, rows in itertools.groupby(merged, key=lambda row: row[2].end):
        run = [(side, variant) for _, side, variant in rows]
        total = 1
        for _, variant in [*now, *run]:
            total *= variant.genotypes
        fits = not now or (
            total < product
            and all(
                sum(side == other for other, _ in now) < most
                and any(variant.start - member.end + 1 <= separation for _, member in now)
                for side, variant in run
            )
        )
        if fits or end - previous <= 0:
            now = now + run
        else:
            groups.append(now)
            now = run
        previous = end
    if now:
        groups.append(now)
    return [
        ([v for side, v in rows if side == 0], [v for side, v in rows if side == 1])
        for rows in groups
    ]
