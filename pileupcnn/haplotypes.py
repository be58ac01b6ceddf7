"""Two lists of variants compared as haplotypes, so that how they are written does not matter.

Labels of training and the evaluation of calls ask the same question: which
genotypes of these variants and of those give the same two sequences? Variants
that lie near each other are looked at together, in groups, and matched by
`pileupcnn.kernels.matching`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError
from pileupcnn.genotypes import Genotype
from pileupcnn.kernels.matching import Matcher
from pileupcnn.reference import Reference

MAX_HAPLOTYPES = 1 << 13
"""Sequences that one side of a group may have at most: thousands take milliseconds."""

MAX_STEPS = 1 << 24
"""Steps of the search in one group at most: half a second."""

REFERENCE_BEFORE, REFERENCE_AFTER = 1, 20
"""Reference around a group, in bp, as DeepVariant takes it."""


@dataclass(slots=True)
class VariantTable:
    """Variants of one contig with the genotypes they may have, as a structure of arrays.

    Variant ``i`` has the alleles ``allele_offset[i]`` (REF) to
    ``allele_offset[i + 1]`` (exclusive), and the options ``option_offset[i]``
    to ``option_offset[i + 1]``.

    Attributes
    ----------
    start : int64 [n]
        0-based, ascending.
    allele_offset : int64 [n + 1]
    base_offset : int64 [a + 1]
        Allele ``j`` has the bases ``bases[base_offset[j]:base_offset[j + 1]]``.
    bases : uint8
        ASCII.
    option_offset : int64 [n + 1]
    options : int32 [o, 2]
        Genotypes, in the order in which they are tried; 0/0 among them where
        the variant may be left out.
    costs : int64 [o]
        Price of each; the sum over both sides is made small.
    """

    start: NDArray[np.int64]
    allele_offset: NDArray[np.int64]
    base_offset: NDArray[np.int64]
    bases: NDArray[np.uint8]
    option_offset: NDArray[np.int64]
    options: NDArray[np.int32]
    costs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> NDArray[np.int64]:
        """End of each variant's REF, exclusive; int64 [n]."""
        ref = self.allele_offset[:-1]
        return self.start + self.base_offset[ref + 1] - self.base_offset[ref]

    @classmethod
    def of(
        cls,
        variants: Iterable[tuple[int, Sequence[str], Sequence[tuple[Genotype, int]]]],
    ) -> VariantTable:
        """A table from start, alleles and options (genotype and price) of each variant."""
        rows = list(variants)
        alleles = [allele for _, row, _ in rows for allele in row]
        options = [option for _, _, row in rows for option in row]
        return cls(
            start=np.array([start for start, _, _ in rows], np.int64),
            allele_offset=_offsets([len(row) for _, row, _ in rows]),
            base_offset=_offsets([len(allele) for allele in alleles]),
            bases=np.frombuffer("".join(alleles).encode(), np.uint8),
            option_offset=_offsets([len(row) for _, _, row in rows]),
            options=np.array([genotype for genotype, _ in options], np.int32).reshape(-1, 2),
            costs=np.array([cost for _, cost in options], np.int64),
        )


def _offsets(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *sizes], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Which variants are looked at together. Defaults are those of DeepVariant's labeler.

    Attributes
    ----------
    max_variants : int
        Of each side.
    max_separation : int
        bp from the last base of one of the group to the first of the next.
    max_genotypes : int
        Product of the numbers of genotypes that a group's alleles allow stays
        below.
    """

    max_variants: int = 8
    max_separation: int = 30
    max_genotypes: int = 100_000


@dataclass(slots=True)
class Groups:
    """Groups of near variants; each has some of the first side, of the second, or of both.

    Attributes
    ----------
    first, second : int64 [g + 1]
        Group ``k`` has the variants ``first[k]`` to ``first[k + 1]`` (exclusive)
        of the first side, and in the same way of the second.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first) - 1


def group_variants(
    first: VariantTable, second: VariantTable, settings: GroupSettings | None = None
) -> Groups:
    """Group the variants of two sides by nearness, as DeepVariant's labeler does.

    From left to right, of equal start the first side's before the second's.
    Neighbours with the same end are not parted, nor is one that ends where its
    neighbour ended, or before, from that; whatever the limits say.

    Parameters
    ----------
    first, second : VariantTable
        Of one contig.
    settings : GroupSettings, optional
    """
    limits = settings or GroupSettings()
    sides = (first, second)
    # start, side, end, genotypes
    merged: list[tuple[int, int, int, int]] = []
    for side, table in enumerate(sides):
        sizes = np.diff(table.allele_offset)
        numbers = (sizes * (sizes + 1) // 2).tolist()
        rows = zip(table.start.tolist(), table.end.tolist(), numbers, strict=True)
        merged += [(start, side, end, number) for start, end, number in rows]
    merged.sort(key=lambda row: row[:2])  # stable: each side's own order stays
    borders = [[0], [0]]
    counts = [0, 0]  # of the group under way
    product, latest, previous_end = 1, 0, 0
    at = 0
    while at < len(merged):
        end = merged[at][2]
        last = at + 1
        while last < len(merged) and merged[last][2] == end:
            last += 1
        run = merged[at:last]
        here = 1
        for *_, number in run:
            here *= number
        fits = not any(counts) or (
            product * here < limits.max_genotypes
            and all(
                counts[side] < limits.max_variants and start - latest + 1 <= limits.max_separation
                for start, side, *_ in run
            )
        )
        if not (fits or end <= previous_end):
            for side in (0, 1):
                borders[side].append(borders[side][-1] + counts[side])
            counts, product, latest = [0, 0], 1, 0
        for _, side, *_ in run:
            counts[side] += 1
        product *= here
        latest = max(latest, end)
        previous_end = end
        at = last
    if merged:
        for side in (0, 1):
            borders[side].append(borders[side][-1] + counts[side])
    return Groups(np.array(borders[0], np.int64), np.array(borders[1], np.int64))


@dataclass(slots=True)
class Matches:
    """Genotypes that make two sides the same sequences.

    Attributes
    ----------
    first, second : int32 [n, 2], int32 [m, 2]
        One of each variant's options. 0/0 for all of a group that has variants
        of one side only, or that was given up.
    done : bool [g]
        False for a group that was given up as too complex.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    done: NDArray[np.bool_]


def match_haplotypes(
    first: VariantTable,
    second: VariantTable,
    groups: Groups,
    contig: str,
    reference: Reference,
    *,
    like_deepvariant: bool,
) -> Matches:
    """Choose each variant's genotype so that in each group both sides give the same haplotypes.

    Of all such choices the one of the lowest price is taken. Ties are broken by
    the order of options: the pair of haplotypes counts that comes first when
    the first side's options are tried in order, its last variant's fastest;
    then the first choice that gives this pair; if one choice can be phased into
    several pairs, the one with the smallest allele indices on a haplotype.
    There DeepVariant's order depends on the hashes of strings.

    Parameters
    ----------
    first, second : VariantTable
        Of `contig`.
    groups : Groups
        From `group_variants`.
    contig : str
    reference : Reference
    like_deepvariant : bool
        Of two variants of one side at one start only the first can have an ALT
        on a haplotype, even if the other haplotype has the second's; and of the
        second side's choices for one pair of haplotypes the last counts rather
        than the cheapest.

    Raises
    ------
    InputError
        If a variant reaches past the contig's end, or the reference cannot be
        read.
    """
    starts, ends = _spans(first, second, groups)
    matcher = Matcher(
        reference_takes_base=like_deepvariant,
        cheapest=not like_deepvariant,
        max_haplotypes=MAX_HAPLOTYPES,
        max_steps=MAX_STEPS,
    )
    around = (int(starts.min(initial=1 << 62)), int(ends.max(initial=0)))
    if around[1] > reference.lengths[contig]:
        raise InputError(
            f"{reference.path}: {contig} ends at {reference.lengths[contig]:,}, before a variant "
            f"that ends at {around[1]:,}; give the reference that the variants were called on"
        )
    window = reference.window(contig, around[0] - REFERENCE_BEFORE, around[1] + REFERENCE_AFTER)
    ours, theirs, done = matcher.match(
        first,
        second,
        groups.first,
        groups.second,
        np.maximum(starts - REFERENCE_BEFORE, 0),
        np.minimum(ends + REFERENCE_AFTER, window.contig_length),
        window.bases,
        window.start,
    )
    return Matches(ours, theirs, done.astype(bool))


def _spans(
    first: VariantTable, second: VariantTable, groups: Groups
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of each group's variants; int64 [g] each."""
    starts, ends = np.full(len(groups), 1 << 62), np.zeros(len(groups), np.int64)
    for table, offset in ((first, groups.first), (second, groups.second)):
        group = np.repeat(np.arange(len(groups)), np.diff(offset))
        np.minimum.at(starts, group, table.start)
        np.maximum.at(ends, group, table.end)
    return starts, ends
