"""Matching of haplotypes against a slow reference; groups; bounds on time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import labelling
from reference.labelling import Known
from strategies import Contig

from pileupcnn.errors import InputError
from pileupcnn.genotypes import genotype_options
from pileupcnn.haplotypes import (
    Groups,
    GroupSettings,
    VariantTable,
    group_variants,
    match_haplotypes,
)

MISSED = 1 << 20


def candidate(start: int, *alleles: str) -> Known:
    """A variant whose genotype is to be found."""
    options = genotype_options(len(alleles) - 1)
    return Known(start, alleles, tuple((g, int(g == (0, 0))) for g in options))


def true(start: int, *alleles: str, gt: tuple[int, int]) -> Known:
    """A variant of the truth, whose alleles may be missed."""
    first, second = sorted(gt)
    options = sorted({(0, 0), (first, second), (0, first), (0, second)})
    missed = [option.count(0) - (first, second).count(0) for option in options]
    return Known(
        start, alleles, tuple((o, MISSED * m) for o, m in zip(options, missed, strict=True))
    )


def called(start: int, *alleles: str, gt: tuple[int, int]) -> Known:
    """A variant that counts whole, or not at all."""
    return Known(start, alleles, (((0, 0), 1), ((min(gt), max(gt)), 0)))


def table(variants: Sequence[Known]) -> VariantTable:
    return VariantTable.of([(v.start, v.alleles, v.options) for v in variants])


def solve(
    contig: str, first: Sequence[Known], second: Sequence[Known], like_deepvariant: bool = True
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
    """Genotypes of one group."""
    one = Groups(np.array([0, len(first)]), np.array([0, len(second)]))
    found = match_haplotypes(
        table(first), table(second), one, "c", Contig(contig), like_deepvariant=like_deepvariant
    )
    if not found.done[0]:
        return None
    return tuple([tuple(pair) for pair in side.tolist()] for side in (found.first, found.second))


@st.composite
def variants(draw: st.DrawFn, contig: str, most: int) -> list[tuple[int, tuple[str, ...]]]:
    """Starts and alleles; SNPs, indels and mixtures that overlap or share a start."""
    rows = []
    for _ in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, len(contig) - 1))
        ref = contig[start : start + draw(st.sampled_from([1, 1, 1, 2, 3, 4]))]
        pool = [ref[0], ref[0] + "A", ref[0] + "CA", "T" + ref[1:], ref + ref[-1]]
        alts = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=2, unique=True))
        alts = [alt for alt in alts if alt != ref] or [ref + "G"]
        rows.append((start, (ref, *alts)))
    return sorted(rows, key=lambda row: row[0])


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, list[Known], list[Known], bool]:
    """A contig, two sides, and how to match."""
    unit = draw(st.text("ACGT", min_size=1, max_size=4))
    contig = (draw(st.text("AC", max_size=6)) + unit * 6 + draw(st.text("ACT", max_size=12)))[:20]
    ours = draw(variants(contig, 4))
    theirs = draw(variants(contig, 3))
    # what both have is matched
    shared = [row for row in ours if draw(st.booleans())]
    theirs = sorted([*shared, *theirs][:4], key=lambda row: row[0])
    like_deepvariant = draw(st.booleans())
    of_truth = true if like_deepvariant else called

    def genotype(alleles: tuple[str, ...]) -> tuple[int, int]:
        second = draw(st.integers(1, len(alleles) - 1))
        return draw(st.integers(0, len(alleles) - 1)), second

    second = [of_truth(start, *alleles, gt=genotype(alleles)) for start, alleles in theirs]
    if like_deepvariant:
        first = [candidate(start, *alleles) for start, alleles in ours]
    else:
        first = [called(start, *alleles, gt=genotype(alleles)) for start, alleles in ours]
    return contig, first, second, like_deepvariant


@settings(max_examples=400)
@given(problems())
def test_genotypes_are_those_of_the_slow_reference(
    problem: tuple[str, list[Known], list[Known], bool],
) -> None:
    contig, first, second, like_deepvariant = problem
    wanted = labelling.match(first, second, contig, like_deepvariant)
    found = solve(contig, first, second, like_deepvariant)
    assert wanted is not None
    assert found == tuple(map(list, wanted))


@settings(max_examples=300)
@given(st.data())
def test_groups_are_those_of_the_slow_reference(data: st.DataObject) -> None:
    contig = "ACGT" * 60
    first = [candidate(start, *alleles) for start, alleles in data.draw(variants(contig, 14))]
    second = [
        true(start, *alleles, gt=(0, 1)) for start, alleles in data.draw(variants(contig, 12))
    ]
    limits = data.draw(
        st.sampled_from([(8, 30, 100_000), (2, 30, 100_000), (8, 3, 100_000), (8, 30, 60)])
    )
    groups = group_variants(table(first), table(second), GroupSettings(*limits))
    bounds = [itertools.pairwise(side.tolist()) for side in (groups.first, groups.second)]
    found = [(first[a:b], second[c:d]) for (a, b), (c, d) in zip(*bounds, strict=True)]
    assert found == labelling.group(first, second, *limits)


@pytest.mark.parametrize("alts", range(1, 20))
def test_options_are_in_the_order_of_a_set_in_cpython(alts: int) -> None:
    pairs = [(i, j) for j in range(alts + 1) for i in range(j + 1)]
    as_set: set[tuple[int, int]] = set()
    for pair in pairs:
        as_set.add(pair)
    assert list(genotype_options(alts)) == list(as_set)


def test_options_of_few_alleles() -> None:
    assert genotype_options(1) == ((0, 1), (1, 1), (0, 0))
    assert genotype_options(2) == ((0, 1), (1, 2), (0, 0), (1, 1), (0, 2), (2, 2))


def snps(*starts: int) -> list[Known]:
    return [candidate(start, "A", "C") for start in starts]


@pytest.mark.parametrize(
    ("ours", "theirs", "limits", "wanted"),
    [
        # distance counts to the nearest of the group, not to its first
        ([10, 19], [], (8, 10), [(2, 0)]),
        ([10, 20], [], (8, 10), [(2, 0)]),
        ([10, 21], [], (8, 10), [(1, 0), (1, 0)]),
        ([10, 20, 30, 40], [], (8, 10), [(4, 0)]),
        # both sides are looked at together
        ([10], [11], (8, 5), [(1, 1)]),
        ([1, 9, 11, 20, 25, 50], [10, 12, 23, 45, 100], (10, 5), None),
        # each side has its own limit
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], (2, 5), [(2, 2), (2, 2), (1, 1)]),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], (3, 5), [(3, 3), (2, 2)]),
    ],
)
def test_groups(
    ours: list[int],
    theirs: list[int],
    limits: tuple[int, int],
    wanted: list[tuple[int, int]] | None,
) -> None:
    groups = group_variants(table(snps(*ours)), table(snps(*theirs)), GroupSettings(*limits))
    sizes = (np.diff(groups.first).tolist(), np.diff(groups.second).tolist())
    found = list(zip(*sizes, strict=True))
    assert found == (wanted or [(1, 0), (2, 2), (2, 1), (1, 1), (0, 1)])


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(10_000_000, [8]), (100_000, [5, 3]), (10, [1, 2, 1, 1, 1, 1, 1])],
)
def test_groups_of_many_alleles(most: int, sizes: list[int]) -> None:
    """The second and third variant end at one base, so they stay together."""
    rows = ["A C G T", "GA G TA", "A C T", "T G", "G C GC GT T", "G A C GT T", "A C T", "G C T"]
    starts = [21, 25, 26, 27, 30, 31, 34, 37]
    found = [candidate(start, *row.split()) for start, row in zip(starts, rows, strict=True)]
    groups = group_variants(table(found), table([]), GroupSettings(max_genotypes=most))
    assert np.diff(groups.first).tolist() == sizes


HET, HOM, REF = (0, 1), (1, 1), (0, 0)


@pytest.mark.parametrize(
    ("contig", "ours", "theirs", "genotypes"),
    [
        # a deletion and an insertion are two SNPs and a deletion
        (
            "NATAGTTATC",
            ["1 ATAG A", "7 A ATT"],
            ["3 A T 1/1", "4 G A 1/1", "6 TA T 1/1"],
            [HOM] * 2,
        ),
        # a deletion at the left of a repeat and a SNP are one change at its right
        ("NTCCCCCA", ["1 TC T", "6 C G"], ["5 CC G 1/1"], [HOM, HOM]),
        (
            "NACATGGATGGA",
            ["1 AC A", "4 TG T", "6 G T", "7 A ATACCCTTT"],
            ["2 C A 1/1", "3 A T 1/1", "5 G A 1/1", "6 G T 1/1", "7 A ACCCTTT 1/1"],
            [HOM] * 4,
        ),
        # on one haplotype
        (
            "NCGTGAATGAAA",
            ["1 C CT", "3 TG T", "6 ATG A", "9 A ACAG"],
            ["1 C CT 0/1", "4 G A 0/1", "7 T C 0/1", "8 G A 0/1", "9 A G 0/1"],
            [HET] * 4,
        ),
        ("NATGTACACAG", ["1 ATGT A", "6 C T"], ["2 TG A 1/1", "4 TAC T 1/1"], [HOM, HOM]),
        # of two that overlap one is the truth's
        ("NAATT", ["1 AAT A", "2 AT T"], ["1 AAT A 0/1"], [HET, REF]),
        # an ALT that differs from REF at its first base only
        ("CGCCCCATACCTTTT", ["1 G C", "6 ATA C CTA"], ["6 A C 0/1"], [REF, (0, 2)]),
        # fewest candidates without an ALT come before fewest with one
        (
            "AGACACACACACACAAAAAAAAATCAT",
            ["1 G GAC", "13 CAA C", "15 A C"],
            ["15 A C 1/1"],
            [HET, HET, HET],
        ),
        (
            "TGTTTTTTTTTAAAAAAATTATTTCTTCTTT",
            ["1 GT G", "7 TTTT A", "8 T A", "9 T A", "10 T A"],
            ["1 GTTT G GTT 1/2", "10 T A TAA 1/2"],
            [HOM, REF, REF, HET, HOM],
        ),
        (
            "GGGTGTGTGTGTGTGTGTGTGTGTGTGCGTGTGTGTGTTTGTGTTG",
            ["1 GGT G", "25 T C TGC"],
            ["1 GGT G 0/1", "25 T C TGC 1/2"],
            [HET, (1, 2)],
        ),
        # at both ends of a contig
        ("ACGT", ["0 A G", "3 T C TCCC"], ["0 A G 1/1", "3 T C 0/1"], [HOM, HET]),
        # alleles of the truth that no candidate has
        ("NACGTAN", ["1 A T", "3 G GG"], ["1 A T 0/1", "2 C G 0/1", "3 G GG 1/1"], [HET, HOM]),
        ("NACGTAN", ["1 A T", "3 G GG"], ["1 A T 0/1", "3 G GG 1/1", "4 T A G 1/2"], [HET, HOM]),
        ("NAN", ["1 A C"], ["1 A G C 1/2"], [HET]),
        ("NAN", ["1 A C"], ["1 A G C 1/1"], [REF]),
        ("NAN", ["1 A C"], ["1 A G C 2/2"], [HOM]),
        ("NAN", ["1 A G C"], ["1 A C G 0/1"], [(0, 2)]),
        ("NAN", ["1 A G C"], ["1 A C G 1/2"], [(1, 2)]),
        # of two records at one start the first takes the base
        ("NAN", ["1 A C G"], ["1 A C 0/1", "1 A G 0/1"], [HET]),
    ],
)
def test_labels_of_other_writings(
    contig: str, ours: list[str], theirs: list[str], genotypes: list[tuple[int, int]]
) -> None:
    first = [candidate(int(start), *alleles) for start, *alleles in map(str.split, ours)]
    second = [
        true(int(start), *alleles, gt=tuple(map(int, gt.split("/"))))
        for start, *alleles, gt in map(str.split, theirs)
    ]
    found = solve(contig, first, second)
    assert found is not None
    assert found[0] == genotypes


def test_two_records_at_one_start() -> None:
    """Both count where variants are compared for themselves, each on its haplotype."""
    first = [called(1, "A", "C", "G", gt=(1, 2))]
    second = [called(1, "A", "C", gt=(0, 1)), called(1, "A", "G", gt=(0, 1))]
    assert solve("NAN", first, second, like_deepvariant=False) == ([(1, 2)], [HET, HET])


def test_one_side_only() -> None:
    """What cancels out is no match: without truth all are 0/0."""
    first = [candidate(2, "A", "AA"), candidate(4, "AA", "A")]
    assert solve("CAAAAAAAAC", first, []) == ([REF, REF], [])
    assert solve("CAAAAAAAAC", [], [true(2, "A", "AA", gt=(1, 1))]) == ([], [REF])


def test_a_variant_past_the_end_of_the_contig() -> None:
    with pytest.raises(InputError, match="ends at 3, before a variant that ends at 4"):
        solve("ACG", [candidate(2, "GT", "G")], [])


def nested(n: int) -> list[tuple[int, str, str]]:
    """Deletions that end at one base: no limit parts them."""
    return [(i, "A" * (n + 1 - i), "A") for i in range(1, n)]


@pytest.mark.parametrize(
    ("contig", "first", "second", "given_up"),
    [
        # dense SNPs, as many as a group takes
        (
            "A" * 60,
            [candidate(i, "A", "C") for i in range(1, 9)],
            [true(4, "A", "C", gt=HOM)],
            False,
        ),
        (
            "A" * 60,
            [candidate(i, "A", "C", "G", "T", "AT") for i in range(1, 4)],
            [true(i, "A", "C", "G", gt=(1, 2)) for i in range(1, 4)],
            False,
        ),
        (
            "A" * 100,
            [candidate(*row) for row in nested(40)],
            [true(*row, gt=HET) for row in nested(40)],
            False,
        ),
        # more than a labeler's group holds
        (
            "ACGT" * 20,
            [called(4 * i, "A", "C", gt=HET) for i in range(10)],
            [called(4 * i, "A", "C", gt=HET) for i in range(10)],
            False,
        ),
        (
            "A" * 80,
            [called(i, "A", "AA", gt=HET) for i in range(1, 30)],
            [called(i, "A", "AA", gt=HET) for i in range(1, 30)],
            True,
        ),
    ],
)
def test_no_group_takes_long(
    contig: str, first: list[Known], second: list[Known], given_up: bool
) -> None:
    started = time.process_time()
    assert (solve(contig, first, second) is None) == given_up
    assert time.process_time() - started < 2
