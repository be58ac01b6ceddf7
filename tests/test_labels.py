"""Labels: by haplotypes, by position and alleles, by class; inside the confident regions."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Contig, write_fasta

from pileupcnn import haplotypes
from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import InputError
from pileupcnn.genotypes import simplify
from pileupcnn.labels import (
    DROPPED,
    INDEL,
    SNP,
    ClassField,
    ConfidentRegions,
    Labeller,
    Scheme,
    Truth,
    class_labels,
    count_copies,
    haplotype_genotypes,
    image_types,
    positional_genotypes,
    true_genotype,
)
from pileupcnn.pileup import plan_images
from pileupcnn.regions import Region, merge, partitions
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


def run_of(candidates: CandidateBatch, last: int = 1_000) -> list[Region]:
    """The one partition of a batch."""
    return [Region(candidates.contig, 0, last)]


def copies(
    sites: Sequence[tuple[int, Sequence[str]]], genotypes: Sequence[tuple[int, int]]
) -> list[int]:
    plan = plan_images(batch(*sites))
    return count_copies(np.array(genotypes, np.int32), plan).tolist()


def test_labels_count_the_copies_of_the_shown_alleles() -> None:
    # images of two ALTs: each, then both
    assert copies([(1, "AC")], [(0, 1)]) == [1]
    assert copies([(1, "AC"), (2, "ACG")], [(1, 1), (1, 2)]) == [2, 1, 1, 2]
    assert copies([(2, "ACG")], [(0, 2)]) == [0, 1, 1]
    assert copies([(2, "ACG")], [(0, 0)]) == [0, 0, 0]
    assert copies([(2, "ACG")], [(-1, -1)]) == [0, 0, 0]


def test_types_of_images() -> None:
    candidates = batch((10, "AC"), (11, "ACG"), (30, ["AT", "A", "GT"]))
    plan = plan_images(candidates)
    assert image_types(candidates, plan).tolist() == [*[SNP] * 4, INDEL, SNP, INDEL]


def test_positional_genotypes() -> None:
    candidates = batch((10, "AC"), (11, "ACG"), (12, "AC"), (30, ["AT", "A", "GT"]))
    variants = [truth(10, "A,C", (1, 1)), truth(11, "A,C,G", (1, 2)), truth(30, "AT,A", (0, 1))]
    found = positional_genotypes(candidates, variants)
    assert found.tolist() == [[1, 1], [1, 2], [0, 0], [0, 1]]


def test_no_candidates_no_labels() -> None:
    candidates = batch()
    plan = plan_images(candidates)
    reference = Contig("ACGT")
    assert positional_genotypes(candidates, []).shape == (0, 2)
    assert haplotype_genotypes(candidates, run_of(candidates), [], reference).shape == (0, 2)
    assert count_copies(np.zeros((0, 2), np.int32), plan).shape == (0,)
    assert image_types(candidates, plan).shape == (0,)


class TestHaplotypes:
    BASES = "ACGT" * 25

    def label(
        self, candidates: CandidateBatch, variants: list[TruthVariant], **options: Any
    ) -> list[list[int]]:
        run = options.pop("run", run_of(candidates))
        reference = Contig(options.pop("bases", self.BASES), "a")
        return haplotype_genotypes(candidates, run, variants, reference, **options).tolist()

    def test_what_is_near_and_what_is_not(self) -> None:
        candidates = batch((4, "AC"), (5, "CA"), (12, "AC"), (60, "AC"), (61, "CG"))
        variants = [truth(4, "A,C", (0, 1)), truth(60, "A,C", (1, 1)), truth(80, "A,C", (0, 0))]
        wanted = [[0, 1], [0, 0], [0, 0], [1, 1], [0, 0]]
        assert self.label(candidates, variants) == wanted

    def test_a_truth_without_alleles_does_not_count(self) -> None:
        """DeepVariant leaves out all whose indices sum to nothing, half calls too."""
        for genotype in [(0, 0), (-1, -1), (-1, 0), (-1, 1)]:
            assert self.label(batch((4, "AC")), [truth(4, "A,C", genotype)]) == [[0, 0]]
        assert self.label(batch((4, "ACG")), [truth(4, "A,C,G", (-1, 2))]) == [[0, 2]]

    def test_partitions_are_labelled_apart(self) -> None:
        """A truth counts in each partition that its REF overlaps, and in no other."""
        deletion = ["CAAAA", "C"]
        bases = "GTGTGTC" + "A" * 20 + "GTGTGTGTGTGTGTGTGTGTGTGTGTGTGTGTGT"
        candidates = batch((6, deletion))
        shifted = truth(10, "AAAAA,A", (0, 1))
        near = [Region("a", 0, 10), Region("a", 10, 20)]
        assert self.label(candidates, [shifted], run=near, bases=bases) == [[0, 0]]
        near = [Region("a", 0, 11), Region("a", 11, 20)]
        counts: Counter[str] = Counter()
        assert self.label(candidates, [shifted], run=near, bases=bases, counts=counts) == [[0, 1]]
        assert counts == {"truth": 2, "missed": 1, "alleles found": 1, "alleles missed": 1}

    def test_counts_of_the_truth(self) -> None:
        counts: Counter[str] = Counter()
        candidates = batch((4, "AC"), (5, "CAT"), (8, "AG"))
        variants = [
            truth(4, "A,C", (0, 1)),
            truth(5, "C,A,G", (1, 2)),
            truth(9, "C,A", (0, 1)),
            truth(40, "A,C", (1, 1)),
        ]
        assert self.label(candidates, variants, counts=counts) == [[0, 1], [0, 1], [0, 0]]
        assert counts == {"truth": 4, "missed": 2, "alleles found": 2, "alleles missed": 4}

    def test_a_group_too_complex_has_no_label(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(haplotypes, "MAX_STEPS", 60)
        candidates = batch((4, "AC"), (60, "AC"), (64, "AC"), (68, "AC"))
        variants = [truth(start, "A,C", (0, 1)) for start in (4, 60, 64, 68)]
        assert self.label(candidates, variants) == [[0, 1], [-1, -1], [-1, -1], [-1, -1]]


@dataclass
class Edit:
    """Variants of one place, in several writings that say the same."""

    candidates: list[tuple[int, tuple[str, str]]]
    writings: list[list[tuple[int, str, str]]]


def pad(start: int, ref: str, alt: str, bases: str, left: int, right: int) -> tuple[int, str, str]:
    """The same with bases of the reference around it."""
    end = start + len(ref)
    before, after = bases[start - left : start], bases[end : end + right]
    return start - left, before + ref + after, before + alt + after


@st.composite
def donors(draw: st.DrawFn) -> tuple[str, list[tuple[Edit, list[tuple[int, str, str]], bool]]]:
    """A contig; at each of a few places an edit, its writing, and whether it is homozygous."""
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    bases, chosen = "", []
    for _ in range(draw(st.integers(1, 4))):
        bases += "".join(rng.choice("ACGT") for _ in range(60))
        kind = draw(st.sampled_from(["snp", "mnp", "indel", "snp and indel"]))
        start = len(bases)
        if kind in ("snp", "mnp"):
            ref = "".join(rng.choice("ACGT") for _ in range(1 if kind == "snp" else 3))
            alt = "".join(rng.choice([b for b in "ACGT" if b != base]) for base in ref)
            bases += ref
            single = [(start + i, ref[i], alt[i]) for i in range(len(ref))]
            edit = Edit([(at, (r, a)) for at, r, a in single], [single, [(start, ref, alt)]])
            if len(ref) == 3:
                edit.writings.append([(start, ref[:2], alt[:2]), single[2]])
        else:
            unit = draw(st.sampled_from(["A", "CA", "GAT"]))
            # an anchor, and behind the repeat a base, that do not go on with it
            times, size = draw(st.integers(2, 6)), draw(st.integers(1, 2))
            bases += "T" + unit * times + "C" if unit == "A" else "T" + unit * times + "T"
            change, longer = unit * size, draw(st.booleans())
            indels = []
            for shift in range(0, len(unit) * (times - (0 if longer else size)) + 1):
                at = start + shift
                anchor = bases[at]
                turned = change[shift % len(unit) :] + change[: shift % len(unit)]
                pair = (anchor, anchor + turned) if longer else (anchor + turned, anchor)
                indels.append((at, *pair))
            edit = Edit([(start, indels[0][1:])], [[indel] for indel in indels])
            if kind == "snp and indel":
                before = start - 1
                snp = (before, bases[before], rng.choice([b for b in "ACGT" if b != bases[before]]))
                edit.candidates.insert(0, (before, snp[1:]))
                joined = (before, snp[1] + indels[0][1], snp[2] + indels[0][2])
                edit.writings = [[snp, *writing] for writing in edit.writings] + [[joined]]
        chosen.append((edit, draw(st.booleans())))
    bases += "".join(rng.choice("ACGT") for _ in range(60))
    rows = []
    for edit, homozygous in chosen:
        writing = draw(st.sampled_from(edit.writings))
        if len(writing) == 1:
            left, right = draw(st.integers(0, 4)), draw(st.integers(0, 4))
            writing = [pad(*writing[0], bases, left, right)]
        rows.append((edit, writing, homozygous))
    return bases, rows


@settings(max_examples=300)
@given(donors())
def test_labels_do_not_depend_on_how_the_truth_is_written(
    donor: tuple[str, list[tuple[Edit, list[tuple[int, str, str]], bool]]],
) -> None:
    bases, rows = donor
    candidates = batch(*(site for edit, *_ in rows for site in edit.candidates))
    wanted = [
        [int(homozygous), 1] for edit, _, homozygous in rows for _ in range(len(edit.candidates))
    ]
    variants = [
        TruthVariant("a", start, (ref, alt), (int(homozygous), 1))
        for _, writing, homozygous in rows
        for start, ref, alt in writing
    ]
    run = run_of(candidates)
    found = haplotype_genotypes(candidates, run, variants, Contig(bases, "a"))
    assert found.tolist() == wanted


def test_the_positional_labeler_needs_the_same_writing() -> None:
    """What haplotypes give back, positions lose: a shifted, a joined and a split variant."""
    bases = "GTGTC" + "A" * 10 + "GTTGCTGGAC" * 4
    candidates = batch((4, ["CA", "C"]), (19, "CG"), (20, "TC"), (51, ["GG", "TT"]))
    variants = [
        truth(9, "AA,A", (0, 1)),
        truth(19, "CT,GC", (1, 1)),
        truth(51, "G,T", (0, 1)),
        truth(52, "G,T", (0, 1)),
    ]
    for variant in variants:
        assert bases.startswith(variant.alleles[0], variant.start)
    run = run_of(candidates)
    found = haplotype_genotypes(candidates, run, variants, Contig(bases, "a"))
    assert found.tolist() == [[0, 1], [1, 1], [1, 1], [0, 1]]
    assert positional_genotypes(candidates, variants).tolist() == [[0, 0]] * 4


class TestClasses:
    CLASSES = ClassField("type", ("ref", "class1", "class2"))

    def label(
        self, candidates: CandidateBatch, *variants: TruthVariant, inside: bool = True
    ) -> list[int]:
        plan = plan_images(candidates)
        known = np.full(len(candidates), inside)
        return class_labels(candidates, plan, known, variants, self.CLASSES).tolist()

    @pytest.mark.parametrize(
        ("alleles", "labels"),
        [
            ("A,C", [1]),
            ("A,G", [0]),
            ("AC,C", [0]),
            ("A,CA", [0]),
            # the image of two ALTs has the class of either
            ("A,C,G", [1, 0, 1]),
        ],
    )
    def test_the_class_of_the_truth(self, alleles: str, labels: list[int]) -> None:
        variant = TruthVariant("a", 10, ("A", "C"), (0, 1), "class1")
        assert self.label(batch((10, alleles.split(","))), variant) == labels

    def test_the_first_alt_counts(self) -> None:
        variant = TruthVariant("a", 30, ("ACT", "ACTGT", "A"), (1, 2), "class2")
        assert self.label(batch((30, ["ACT", "ACTGT", "A"])), variant) == [2, 0, 2]
        assert self.label(batch((30, ["ACT", "A"])), variant) == [0]

    def test_of_several_the_last_with_these_alleles(self) -> None:
        found = [
            TruthVariant("a", 10, ("A", alt), (0, 1), value)
            for alt, value in [("C", "class1"), ("C", "class2"), ("G", "class1")]
        ]
        assert self.label(batch((10, "AC")), *found) == [2]
        assert self.label(batch((10, "AT")), *found) == [0]

    def test_no_class(self) -> None:
        assert self.label(batch((10, "AC"))) == [0]
        variant = TruthVariant("a", 10, ("A", "C"), (0, 0), "other")
        assert self.label(batch((10, "AC")), variant) == [0]
        variant = TruthVariant("a", 10, ("A", "C"), (0, 1), "other")
        with pytest.raises(InputError, match=r"a:11: the truth has 'other' in INFO field type"):
            self.label(batch((10, "AC")), variant)
        assert self.label(batch((10, "AC")), variant, inside=False) == [0]
        with pytest.raises(InputError, match="has no value in INFO"):
            self.label(batch((10, "AC")), TruthVariant("a", 10, ("A", "C"), (0, 1)))


class TestLabeller:
    HEADER = """##fileformat=VCFv4.2
##contig=<ID=a,length=100>
##INFO=<ID=type,Number=A,Type=String,Description="Class">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts
"""
    LINES = (
        "a 3 . G T . PASS type=class2 GT 1/1",
        "a 11 . G T . PASS type=class1 GT 0/1",
        "a 12 . T G . LowQual type=class1 GT 0/1",
        "a 40 . T G . . type=class2 GT 0/1",
    )

    @pytest.fixture
    def truth(self, tmp_path: Path) -> Truth:
        write_fasta(tmp_path / "ref.fa", {"a": "ACGT" * 25})
        (tmp_path / "truth.vcf").write_text(
            self.HEADER + "".join(line.replace(" ", "\t") + "\n" for line in self.LINES)
        )
        packed = tmp_path / "truth.vcf.gz"
        pysam.tabix_compress(str(tmp_path / "truth.vcf"), str(packed))
        pysam.tabix_index(str(packed), preset="vcf")
        return Truth(packed, ("a",), ConfidentRegions([Region("a", 5, 20), Region("a", 39, 60)]))

    @pytest.mark.parametrize(
        ("scheme", "classes", "labels"),
        [
            ("haplotype", None, [DROPPED, 1, 0, 1, DROPPED]),
            ("positional", None, [DROPPED, 1, 0, 1, DROPPED]),
            ("haplotype", TestClasses.CLASSES, [DROPPED, 1, 0, 2, DROPPED]),
        ],
    )
    def test_outside_the_confident_regions_there_is_no_label(
        self, truth: Truth, scheme: Scheme, classes: ClassField | None, labels: list[int]
    ) -> None:
        candidates = batch((2, "GT"), (10, "GT"), (11, "TG"), (39, "TG"), (60, "AC"))
        truth = dataclasses.replace(truth, scheme=scheme, classes=classes)
        with Labeller(truth, truth.variants.with_name("ref.fa")) as labeller:
            found = labeller.label(run_of(candidates, 100), candidates, plan_images(candidates))
        assert found.images.tolist() == labels
        assert found.counts["candidates"] == 3
        assert found.counts["not confident"] == 2
        if classes:
            assert (found.genotypes == -1).all()
        else:
            assert found.genotypes.tolist() == [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]]
            assert found.counts["false"] == 1
        assert found.counts["truth"] == (2 if scheme == "haplotype" and not classes else 0)

    def test_a_field_that_the_truth_lacks(self, truth: Truth) -> None:
        truth = dataclasses.replace(truth, classes=ClassField("kind", ("ref", "class1")))
        with pytest.raises(InputError, match=r"no INFO field kind \(but type\)"):
            Labeller(truth, truth.variants.with_name("ref.fa"))


@given(intervals, intervals, st.integers(1, 9))
def test_covering_partitions_are_those_that_overlap(
    known: list[Region], asked: list[Region], size: int
) -> None:
    asked = merge(asked, "ab")
    confident = ConfidentRegions(known)
    found = list(partitions(confident.cover(asked, size), size))
    wanted = [part for part in partitions(asked, size) if confident.intersect([part])]
    assert found == wanted
