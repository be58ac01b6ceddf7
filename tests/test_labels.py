"""Labels: by exact position and alleles, inside the confident regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileupcnn.candidates import CandidateBatch
from pileupcnn.labels import (
    INDEL,
    SNP,
    ConfidentRegions,
    image_types,
    label_images,
    simplify,
    true_genotype,
)
from pileupcnn.pileup import plan_images
from pileupcnn.regions import Region
from pileupcnn.vcf import TruthVariant

intervals = st.lists(
    st.builds(
        lambda contig, start, length: Region(contig, start, start + length),
        st.sampled_from("ab"),
        st.integers(0, 60),
        st.integers(1, 20),
    ),
    max_size=8,
)


def batch(*sites: tuple[int, Sequence[str]]) -> CandidateBatch:
    """Candidates on contig a from starts and alleles; nobody counted their reads."""
    alleles = [allele for _, site in sites for allele in site]
    starts = np.array([start for start, _ in sites], np.int64)
    n = len(alleles)
    return CandidateBatch(
        contig="a",
        start=starts,
        end=starts + [len(site[0]) for _, site in sites],
        partition=np.zeros(len(sites), np.int32),
        depth=np.zeros(len(sites), np.int32),
        allele_offset=np.cumsum([0, *(len(site) for _, site in sites)]),
        base_offset=np.cumsum([0, *map(len, alleles)]),
        bases=np.frombuffer("".join(alleles).encode(), np.uint8),
        allele_depth=np.zeros(n, np.int32),
        support_offset=np.zeros(n + 1, np.int64),
        support=np.zeros(0, np.int32),
        matches=0,
        mismatches=0,
    )


def truth(start: int, alleles: str, genotype: tuple[int, int]) -> TruthVariant:
    return TruthVariant("a", start, tuple(alleles.split(",")), genotype)


@given(intervals)
def test_confident_positions(regions: list[Region]) -> None:
    confident = ConfidentRegions(regions)
    positions = np.arange(90)
    for contig in "abc":
        covered = {p for r in regions if r.contig == contig for p in range(r.start, r.end)}
        assert confident.contain(contig, positions).tolist() == [p in covered for p in range(90)]


@given(intervals, intervals)
def test_intersections_cover_what_both_cover(one: list[Region], other: list[Region]) -> None:
    def positions(regions: list[Region]) -> set[tuple[str, int]]:
        return {(r.contig, p) for r in regions for p in range(r.start, r.end)}

    both = ConfidentRegions(one).intersect(other)
    assert all(len(region) for region in both)
    assert positions(both) == positions(one) & positions(other)


@pytest.mark.parametrize(
    ("alleles", "expected"),
    [
        (("A", "C"), ("A", "C")),
        (("CAT", "CT"), ("CA", "C")),
        (("AA", "A"), ("AA", "A")),
        (("GTT", "TT", "ATT"), ("GT", "T", "AT")),
        (("TA", "TA"), ("T", "T")),
    ],
)
def test_simplify_cuts_the_common_end(alleles: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert simplify(alleles) == expected


@pytest.mark.parametrize(
    ("alleles", "variants", "genotype"),
    [
        # the truth's alleles in another order or company
        ("A,C,G", ["A,G,C 1/2"], (2, 1)),
        ("CA,C,TA", ["C,T 0/1"], (0, 2)),
        ("CAA,C,CA", ["CA,C 0/1"], (0, 2)),
        ("C,T", ["CAA,TAA,C 1/2"], (1, 0)),
        # an allele that the candidate lacks is the reference
        ("A,C", ["A,T 1/1"], (0, 0)),
        ("A,C", ["A,T,C 1/2"], (0, 1)),
        # of several the last with our very alleles, else the first
        ("A,C", ["A,T 0/1", "A,C 0/1", "A,C 1/1"], (1, 1)),
        ("A,C,G", ["A,C 0/1", "A,G 1/1"], (0, 1)),
        # no allele, or the trace of a deletion
        ("A,C", ["A,C -1/1"], (0, 1)),
        ("A,C", ["A,*,C 1/2"], (0, 1)),
    ],
)
def test_true_genotype(alleles: str, variants: list[str], genotype: tuple[int, int]) -> None:
    found = []
    for text in variants:
        names, _, calls = text.partition(" ")
        first, second = map(int, calls.split("/"))
        found.append(truth(5, names, (first, second)))
    assert true_genotype(alleles.split(","), found) == genotype


def test_labels_count_the_copies_of_the_shown_alleles() -> None:
    candidates = batch(
        (10, ["A", "C"]),
        (11, ["A", "C", "G"]),
        (12, ["A", "C"]),
        (20, ["A", "C"]),
        (30, ["AT", "A", "GT"]),
    )
    plan = plan_images(candidates)
    variants = [
        truth(10, "A,C", (1, 1)),
        truth(11, "A,C,G", (1, 2)),
        truth(20, "A,C", (0, 1)),
        truth(30, "AT,A", (0, 1)),
        TruthVariant("b", 12, ("A", "C"), (1, 1)),
    ]
    confident = ConfidentRegions([Region("a", 10, 20), Region("a", 30, 31)])
    labels = label_images(candidates, plan, variants, confident)
    assert labels.dtype == np.int8
    # images of two ALTs: each, then both
    assert labels.tolist() == [2, 1, 1, 2, 0, -1, 1, 0, 1]
    assert image_types(candidates, plan).tolist() == [*[SNP] * 6, INDEL, SNP, INDEL]


def test_no_candidates_no_labels() -> None:
    candidates = batch()
    plan = plan_images(candidates)
    assert label_images(candidates, plan, [], ConfidentRegions([])).shape == (0,)
    assert image_types(candidates, plan).shape == (0,)
