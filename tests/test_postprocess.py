"""Probabilities to records: DeepVariant's golden file, single rules, properties."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from math import log10
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pileupcnn.postprocess import (
    MIN_PROBABILITY,
    Image,
    PostprocessSettings,
    genotype,
    resolve_overlaps,
)
from pileupcnn.vcf import Record, format_record

HET = (0.0001, 0.9998, 0.0001)
HOM = (0.0001, 0.0001, 0.9998)
REF = (0.9998, 0.0001, 0.0001)


def likelihoods(record: Record) -> list[int]:
    """PL as it is printed."""
    return [int(value) for value in format_record(record).split(":")[-1].split(",")]


def genotype_order(alleles: int) -> list[tuple[int, int]]:
    return [(i, j) for j in range(alleles) for i in range(j + 1)]


# ---------------------------------------------------------------- golden


@pytest.mark.golden
def test_golden_records(golden: Path, read_examples: ModuleType) -> None:
    """84 images' probabilities of DeepVariant give its 78 records, text for text."""
    images: dict[tuple[str, int], list[Image]] = defaultdict(list)
    variants = {}
    path = golden / "golden.postprocess_single_site_input-00000-of-00001.tfrecord.gz"
    for raw in read_examples.records(path):
        output = read_examples.parse_cvo(raw)
        variant = output["variant"]
        key = variant["reference_name"], variant["start"]
        variants[key] = variant
        images[key].append((tuple(output["alt_allele_indices"]), output["genotype_probabilities"]))
    called = []
    for (contig, start), variant in sorted(variants.items()):
        info = variant["calls"][0]["info"]
        alleles = [variant["ref"], *variant["alts"]]
        depth, depths = info["DP"][0], info["AD"]
        called.append(genotype(contig, start, alleles, depth, depths, images[contig, start]))
    ours = [format_record(record) for record in resolve_overlaps(called)]
    text = (golden / "golden.postprocess_single_site_output.vcf").read_text()
    theirs = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{equal}/{len(theirs)} records equal, from {sum(map(len, images.values()))} images")
    assert ours == theirs
    assert (equal, sum(map(len, images.values()))) == (78, 84)


# ---------------------------------------------------------------- one candidate


def test_heterozygous() -> None:
    record = genotype("c", 9, ("A", "C"), 20, (10, 10), [((0,), HET)])
    assert format_record(record) == (
        "c\t10\t.\tA\tC\t40\tPASS\t.\tGT:GQ:DP:AD:VAF:PL\t0/1:37:20:10,10:0.5:39,0,39\n"
    )


def test_certainty_is_capped() -> None:
    record = genotype("c", 0, ("A", "C"), 9, (0, 9), [((0,), (0.0, 0.0, 1.0))])
    assert record.genotype_quality == 99
    assert record.quality == 99.0308995
    assert record.log10_likelihoods == (log10(MIN_PROBABILITY), log10(MIN_PROBABILITY), 0.0)
    assert likelihoods(record) == [99, 99, 0]


@pytest.mark.parametrize(
    ("probabilities", "filters", "pair"),
    [
        ((0.999, 0.0005, 0.0005), ("RefCall",), (0, 0)),
        # the rounded GQ is compared: 19.6 counts as 20
        ((0.989, 0.006, 0.005), ("RefCall",), (0, 0)),
        ((0.988, 0.007, 0.005), ("RefCall",), (-1, -1)),
        ((0.4, 0.35, 0.25), ("RefCall",), (-1, -1)),
        ((0.3, 0.4, 0.3), ("PASS",), (0, 1)),
        # first of equals, as argmax takes it
        ((0.4, 0.4, 0.2), ("RefCall",), (-1, -1)),
        ((0.2, 0.4, 0.4), ("PASS",), (0, 1)),
    ],
)
def test_filters(
    probabilities: tuple[float, ...], filters: tuple[str, ...], pair: tuple[int, int]
) -> None:
    record = genotype("c", 0, ("A", "C"), 10, (8, 2), [((0,), probabilities)])
    assert (record.filters, record.genotype) == (filters, pair)


def test_low_quality() -> None:
    strict = PostprocessSettings(qual_filter=10.0)
    images = [((0,), (0.3, 0.4, 0.3))]
    assert genotype("c", 0, ("A", "C"), 9, (5, 4), images, strict).filters == ("LowQual",)
    weak = [((0,), (0.33, 0.34, 0.33))]
    assert genotype("c", 0, ("A", "C"), 9, (5, 4), weak).filters == ("PASS",)


def test_homref_threshold_is_an_option() -> None:
    images = [((0,), (0.6, 0.3, 0.1))]
    lenient = PostprocessSettings(min_gq_homref=0.0)
    assert genotype("c", 0, ("A", "C"), 9, (8, 1), images, lenient).genotype == (0, 0)


@pytest.mark.parametrize("alleles", [("A", "C"), ("A", "C", "G")])
def test_no_reads_no_call(alleles: tuple[str, ...]) -> None:
    """As many likelihoods as genotypes, so that bcftools norm can split the site."""
    alts = range(len(alleles) - 1)
    shown = [(alt,) for alt in alts] + list(itertools.combinations(alts, 2))
    images = [(alts_shown, HET) for alts_shown in shown]
    record = genotype("c", 0, alleles, 0, (0,) * len(alleles), images)
    assert (record.filters, record.genotype) == (("NoCall",), (-1, -1))
    assert record.genotype_quality == 0
    assert likelihoods(record) == [0] * len(genotype_order(len(alleles)))
    assert record.allele_fractions == (0.0,) * len(alts)


# ---------------------------------------------------------------- several ALTs


def test_lowest_probability_of_each_genotype() -> None:
    first, second, both = (0.1, 0.8, 0.1), (0.2, 0.5, 0.3), (0.05, 0.15, 0.8)
    images = [((0, 1), both), ((1,), second), ((0,), first)]
    record = genotype("c", 0, ("A", "C", "G"), 20, (2, 10, 8), images)
    expected = [0.05, 0.15, 0.1, 0.15, 0.8, 0.3]
    total = sum(expected)
    assert record.log10_likelihoods == pytest.approx([log10(p / total) for p in expected])
    assert record.genotype == (1, 2)


def test_joint_images_bound_every_genotype() -> None:
    """Reads of a homozygous deletion, two of which have slipped once more."""
    slipped = [
        ((0,), (0.01, 0.2, 0.79)),
        ((1,), (0.6, 0.35, 0.05)),
        ((0, 1), (0.001, 0.009, 0.99)),
    ]
    alleles, depths = ("CAA", "CA", "C"), (1, 22, 2)
    # no image but that of both says something of both in DeepVariant
    assert genotype("c", 0, alleles, 25, depths, slipped).genotype == (1, 2)
    record = genotype("c", 0, alleles, 25, depths, slipped, joint=True)
    assert (record.alleles, record.genotype) == (("CAA", "CA", "C"), (1, 1))
    bounds = [0.001, 0.009, 0.6, 0.009, 0.2, 0.01]
    total = sum(bounds)
    assert record.log10_likelihoods == pytest.approx([log10(p / total) for p in bounds])


@st.composite
def joint_images(draw: Any) -> list[Image]:
    """What is said of two to four ALTs."""
    alts = range(draw(st.integers(2, 4)))
    weights = st.tuples(*[st.floats(1e-6, 1.0)] * 3)
    shown = [(alt,) for alt in alts] + list(itertools.combinations(alts, 2))
    images: list[Image] = [
        (them, [weight / sum(said) for weight in said])
        for them, said in ((them, draw(weights)) for them in shown)
    ]
    return draw(st.permutations(images))


@given(joint_images(), st.floats(0.1, 5), st.booleans())
def test_joint_by_hand(images: list[Image], least: float, haploid: bool) -> None:
    """Each genotype is as likely as the image that leaves it least; ALTs that are unlikely go."""
    alleles = ("A", "C", "G", "T", "AC")[: max(shown[-1] for shown, _ in images) + 2]
    bounds = {
        (i, j): min(p[(i - 1 in shown) + (j - 1 in shown)] for shown, p in images)
        for i, j in genotype_order(len(alleles))
        if i == j or not haploid
    }
    total = sum(bounds.values())
    best = max(bounds, key=bounds.__getitem__)
    there = {
        alt: -10 * log10(1 - sum(p for pair, p in bounds.items() if alt in pair) / total)
        for alt in range(1, len(alleles))
    }
    # the likeliest of ALTs and of genotypes are not decided by the last bit
    for values in (there.values(), bounds.values()):
        second, first = sorted(values)[-2:]
        assume(first - second > 1e-6)
    assume(all(abs(quality - least) > 1e-6 for quality in there.values()))
    kept = [alt for alt in there if alt in best or there[alt] >= least]
    kept = [0, *(kept or [max(there, key=there.__getitem__)])]
    record = genotype(
        *("c", 0, alleles, 9, [9] * len(alleles), images),
        PostprocessSettings(multi_allelic_qual_filter=least, min_gq_homref=0),
        joint=True,
        haploid=haploid,
    )
    assert record.alleles == tuple(alleles[allele] for allele in kept)
    assert tuple(kept[allele] for allele in record.genotype) == best
    assert [10**value for value in record.log10_likelihoods] == pytest.approx(
        [bounds.get((kept[i], kept[j]), 0) / total for i, j in genotype_order(len(kept))], abs=1e-9
    )
    # what was dropped counts
    assert 10 ** (-record.quality / 10) == pytest.approx(bounds[0, 0] / total, abs=1e-7)
    error = 1 - bounds[best] / total
    assert record.genotype_quality == pytest.approx(-10 * log10(error), abs=0.51)


def test_weak_alt_is_pruned() -> None:
    """Its depth and fraction go; those of the others stay; sums run to 1 again."""
    images = [((0,), (0.95, 0.04, 0.01)), ((1,), (0.0, 0.6, 0.3)), ((0, 1), HET)]
    record = genotype("c", 0, ("A", "C", "G"), 20, (9, 3, 8), images)
    assert record.alleles == ("A", "G")
    assert record.allele_depths == (9, 8)
    assert record.allele_fractions == (0.4,)
    assert record.depth == 20
    assert 10 ** record.log10_likelihoods[1] == pytest.approx(0.6 / 0.9)


def test_best_alt_stays_when_all_are_weak() -> None:
    images = [((0,), (0.97, 0.02, 0.01)), ((1,), (0.96, 0.02, 0.02)), ((0, 1), REF)]
    record = genotype("c", 0, ("A", "C", "G"), 20, (16, 2, 2), images)
    assert record.alleles == ("A", "G")
    tie = [((0,), REF), ((1,), REF), ((0, 1), REF)]
    assert genotype("c", 0, ("A", "C", "G"), 20, (16, 2, 2), tie).alleles == ("A", "C")
    everything = PostprocessSettings(multi_allelic_qual_filter=0.0)
    kept = genotype("c", 0, ("A", "C", "G"), 20, (16, 2, 2), tie, everything)
    assert kept.alleles == ("A", "C", "G")


def test_contradicting_images_say_nothing() -> None:
    never = [((0,), (0.0, 1.0, 0.0)), ((1,), (0.0, 0.0, 1.0)), ((0, 1), (1.0, 0.0, 0.0))]
    record = genotype("c", 0, ("A", "C", "G"), 20, (4, 8, 8), never)
    assert record.log10_likelihoods == pytest.approx([log10(1 / 6)] * 6)


@pytest.mark.parametrize(
    ("alleles", "strong", "expected"),
    [
        (("CAA", "CA", "C"), (0, 1), ("CAA", "CA", "C")),
        (("CAA", "CA", "C"), (0,), ("CA", "C")),
        (("CAA", "CA", "TAA"), (1,), ("C", "T")),
        (("CACA", "CA", "CACACA"), (0,), ("CAC", "C")),
        # the common start stays: only a suffix is cut
        (("ACG", "ACT", "A"), (0,), ("ACG", "ACT")),
    ],
)
def test_common_suffix_is_cut(
    alleles: tuple[str, ...], strong: tuple[int, ...], expected: tuple[str, ...]
) -> None:
    images = [((alt,), HET if alt in strong else REF) for alt in (0, 1)]
    record = genotype("c", 5, alleles, 30, (10, 10, 10), [*images, ((0, 1), HET)])
    assert record.alleles == expected
    assert (record.start, record.end) == (5, 5 + len(expected[0]))


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_images_must_be_complete(count: int) -> None:
    images = [((0,), HET)] * count
    with pytest.raises(ValueError, match=r"c:8: \d images for 2 ALT alleles"):
        genotype("c", 7, ("A", "C", "G"), 20, (0, 10, 10), images)


# ---------------------------------------------------------------- overlapping calls


def call(
    start: int,
    probabilities: tuple[float, ...],
    ref: str = "A",
    alts: tuple[str, ...] = ("T",),
    contig: str = "c",
) -> Record:
    """A record of the most likely genotype."""
    order = genotype_order(len(alts) + 1)
    best = max(range(len(order)), key=probabilities.__getitem__)
    return Record(
        contig=contig,
        start=start,
        alleles=(ref, *alts),
        quality=30.0,
        filters=("PASS",),
        genotype=order[best],
        genotype_quality=30,
        depth=20,
        allele_depths=(10, *(10 for _ in alts)),
        allele_fractions=tuple(0.5 for _ in alts),
        log10_likelihoods=tuple(log10(max(p, MIN_PROBABILITY)) for p in probabilities),
    )


def resolved(records: list[Record]) -> list[Record]:
    return list(resolve_overlaps(records))


def test_compatible_calls_stay() -> None:
    calls = [call(0, HET, "AAAA", ("A",)), call(2, HET)]
    assert resolved(calls) == calls


def test_calls_apart_stay() -> None:
    calls = [call(0, HOM, "AAAA", ("A",)), call(4, HOM), call(0, HOM, contig="d")]
    assert resolved(calls) == calls


def test_deletion_and_snp() -> None:
    """A sure homozygous deletion leaves no room; the doubtful SNP in it gives way."""
    deletion = call(0, (1e-6, 1e-6, 1 - 2e-6), "AAAA", ("A",))
    snp = call(2, (0.1, 0.7, 0.2))
    first, second = resolved([deletion, snp])
    assert (first.genotype, second.genotype) == ((1, 1), (0, 0))
    # what is not a genotype or a likelihood stays, as in DeepVariant
    assert replace(second, genotype=(0, 1), log10_likelihoods=snp.log10_likelihoods) == snp
    assert likelihoods(second)[0] == 0


def test_marginals_by_hand() -> None:
    """Two calls over one base: the six allowed combinations, summed on paper."""
    x, y = (0.05, 0.35, 0.6), (0.02, 0.58, 0.4)
    first, second = resolved([call(0, x, "AAA", ("A",)), call(1, y)])
    allowed = {(i, j): x[i] * y[j] for i in range(3) for j in range(3) if i + j <= 2}
    total = sum(allowed.values())
    for position, record in ((0, first), (1, second)):
        expected = [
            sum(p for key, p in allowed.items() if key[position] == copies) / total
            for copies in range(3)
        ]
        assert [10**gl for gl in record.log10_likelihoods] == pytest.approx(expected)
    assert (first.genotype, second.genotype) == ((0, 1), (0, 1))


def test_marginals_that_disagree_leave_all() -> None:
    """The best combination must be made of each call's own best genotype."""
    # best pair: 2 + 0 copies, but over all combinations the second call is 0/1
    x, y = (0.001, 0.48, 0.519), (0.31, 0.345, 0.345)
    calls = [call(0, x, "AAA", ("A",)), call(1, y)]
    allowed = {(i, j): x[i] * y[j] for i in range(3) for j in range(3) if i + j <= 2}
    joint = max(allowed, key=allowed.__getitem__)
    single = [
        max(range(3), key=lambda c: sum(p for k, p in allowed.items() if k[place] == c))
        for place in (0, 1)
    ]
    if joint == tuple(single):
        pytest.fail("the example shows nothing")
    assert resolved(calls) == calls


def test_tie_takes_the_first_combination() -> None:
    """Equal calls: one must go, and neither is preferred by its own marginals."""
    p = (0.01, 0.01, 0.98)
    first, second = resolved([call(0, p, "AA", ("A",)), call(1, p)])
    # joint best is (0, 2); marginals are equal, first argmax of both is 0 copies
    assert (first.genotype, second.genotype) == ((1, 1), (1, 1))


def test_multi_allelic_call_keeps_both_alts() -> None:
    both = call(0, (1e-8, 1e-6, 1e-6, 1e-6, 1 - 3e-6 - 2e-8, 1e-8), "AAA", ("A", "AA"))
    snp = call(1, (0.1, 0.8, 0.1))
    first, second = resolved([both, snp])
    assert (first.genotype, second.genotype) == ((1, 2), (0, 0))
    assert sum(10**gl for gl in first.log10_likelihoods) == pytest.approx(1.0)


def test_reference_calls_do_not_link_groups() -> None:
    """A reference call between stays where it is, and overlaps count nothing."""
    long_ref = call(0, REF, "A" * 20, ("A",))
    deletion = call(1, (1e-6, 1e-6, 1 - 2e-6), "AAAAA", ("A",))
    reference = replace(call(2, REF), genotype=(-1, -1))
    snp, later = call(3, (0.1, 0.7, 0.2)), call(10, HOM)
    got = resolved([long_ref, deletion, reference, snp, later])
    assert [record.start for record in got] == [0, 1, 2, 3, 10]
    assert got[0] is long_ref
    assert got[2] is reference
    assert got[3].genotype == (0, 0)
    assert got[4] is later


def test_groups_of_more_than_twelve_stay() -> None:
    deletion = call(0, (1e-6, 1e-6, 1 - 2e-6), "A" * 30, ("A",))
    snps = [call(start, (0.3, 0.4, 0.3)) for start in range(1, 13)]
    assert resolved([deletion, *snps]) == [deletion, *snps]
    twelve = resolved([deletion, *snps[:11]])
    assert [record.genotype for record in twelve] == [(1, 1)] + [(0, 0)] * 11


def test_largest_group_takes_no_time() -> None:
    """At most 3 ** 12 combinations, whatever the number of ALTs."""
    deletion = call(0, (0.3, 0.3, 0.4), "A" * 30, ("A",))
    wide = (0.1, 0.1, 0.05, 0.1, 0.6, 0.05)
    snps = [call(start, wide, "A", ("C", "G")) for start in range(1, 12)]
    began = time.process_time()
    assert len(resolved([deletion, *snps])) == 12
    assert time.process_time() - began < 10


def test_streaming_holds_only_the_open_group() -> None:
    """A record comes out as soon as the next one does not overlap it."""
    taken = []

    def records() -> Iterator[Record]:
        for start in (0, 10, 20):
            taken.append(start)
            yield call(start, HET, "AAA", ("A",))
            taken.append(start + 1)
            yield call(start + 1, REF)

    stream = resolve_overlaps(records())
    assert next(stream).start == 0
    assert taken == [0, 1, 10]
    assert [record.start for record in stream] == [1, 10, 11, 20, 21]


# ---------------------------------------------------------------- properties

probability = st.floats(0, 1, allow_nan=False)


def triples() -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(probability, probability, probability).map(
        lambda p: tuple(x / sum(p) for x in p) if sum(p) > 1e-300 else (1.0, 0.0, 0.0)
    )


@st.composite
def sites(draw: st.DrawFn) -> tuple[tuple[str, ...], list[int], list[Image]]:
    alleles = draw(
        st.lists(st.text("ACGT", min_size=1, max_size=6), min_size=2, max_size=5, unique=True)
    )
    alts = range(len(alleles) - 1)
    shown = [(alt,) for alt in alts] + list(itertools.combinations(alts, 2))
    images: list[Image] = [(alts_shown, draw(triples())) for alts_shown in shown]
    depths = draw(st.lists(st.integers(0, 3), min_size=len(alleles), max_size=len(alleles)))
    return tuple(alleles), depths, images


@given(sites())
def test_any_site_is_a_valid_record(site: tuple[tuple[str, ...], list[int], list[Image]]) -> None:
    alleles, depths, images = site
    record = genotype("c", 100, alleles, sum(depths), depths, images)
    count = len(record.alleles)
    assert 2 <= count <= len(alleles)
    assert len(set(record.alleles)) == count
    assert all(record.alleles)
    assert all(-1 <= allele < count for allele in record.genotype)
    assert record.genotype == tuple(sorted(record.genotype))
    assert 0 <= record.genotype_quality <= 99
    assert record.quality is not None
    assert 0 <= record.quality <= 99.0309
    pls = likelihoods(record)
    assert min(pls) == 0
    assert len(pls) == len(genotype_order(count))
    assert len(record.allele_depths) == count == len(record.allele_fractions) + 1
    if record.filters == ("PASS",):
        assert pls[genotype_order(count).index(record.genotype)] == 0
    # images in another order say the same
    assert genotype("c", 100, alleles, sum(depths), depths, images[::-1]) == record


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    records = []
    for contig in ("c", "d"):
        for start in sorted(draw(st.sets(st.integers(0, 25), max_size=7))):
            ref = "A" * draw(st.sampled_from([1, 1, 1, 2, 4, 9]))
            alts = draw(st.sampled_from([("T",), ("TT",), ("T", "C")]))
            size = len(genotype_order(len(alts) + 1))
            weights = draw(st.lists(st.floats(1e-3, 1), min_size=size, max_size=size))
            records.append(call(start, tuple(w / sum(weights) for w in weights), ref, alts, contig))
    return records


def slow_resolution(records: list[Record]) -> list[tuple[int, int]]:
    """Genotypes by plain enumeration of every genotype of every call of a group."""
    result = [record.genotype for record in records]
    calls = [i for i, record in enumerate(records) if max(record.genotype) > 0]
    groups: list[list[int]] = []
    end = 0
    for i in calls:
        if groups and records[groups[-1][0]].contig == records[i].contig and records[i].start < end:
            groups[-1].append(i)
            end = max(end, records[i].end)
        else:
            groups.append([i])
            end = records[i].end
    for group in groups:
        if len(group) > 5 or coverage([records[i] for i in group]) <= 2:
            continue
        options = [genotype_order(len(records[i].alleles)) for i in group]
        sums: list[dict[tuple[int, int], float]] = [defaultdict(float) for _ in group]
        best, top = None, -1.0
        for pairs in itertools.product(*options):
            trial = [replace(records[i], genotype=p) for i, p in zip(group, pairs, strict=True)]
            if coverage(trial) > 2:
                continue
            weight = 1.0
            for record in trial:
                order = genotype_order(len(record.alleles))
                weight *= 10 ** record.log10_likelihoods[order.index(record.genotype)]
            for table, pair in zip(sums, pairs, strict=True):
                table[pair] += weight
            if weight > top:
                best, top = pairs, weight
        assert best is not None
        if all(max(t, key=t.__getitem__) == pair for t, pair in zip(sums, best, strict=True)):
            for i, pair in zip(group, best, strict=True):
                result[i] = pair
    return result


def coverage(records: list[Record]) -> int:
    """Most ALT copies over one base."""
    return max(
        sum(
            sum(allele > 0 for allele in record.genotype)
            for record in records
            if record.start <= base < record.end
        )
        for base in range(40)
    )


@given(record_lists())
def test_resolution_of_any_stream(records: list[Record]) -> None:
    got = resolved(records)
    assert [(r.contig, r.start, r.alleles) for r in got] == [
        (r.contig, r.start, r.alleles) for r in records
    ]
    for before, after in zip(records, got, strict=True):
        if before is not after:
            over = [
                r for r in got if r.contig == after.contig and max(r.genotype) > 0
            ]  # calls that share a base with the edited one
            near = [r for r in over if r.start < after.end and after.start < r.end]
            clipped = [
                replace(
                    r,
                    start=max(r.start, after.start),
                    alleles=("A" * (min(r.end, after.end) - max(r.start, after.start)), "T"),
                )
                for r in near
            ]
            assert not clipped or coverage(clipped) <= 2
    # one record at a time or all at once: the same, as nothing but the open group counts
    assert [
        r for part in ("c", "d") for r in resolved([x for x in records if x.contig == part])
    ] == got


@given(record_lists())
def test_resolution_equals_plain_enumeration(records: list[Record]) -> None:
    """Genotypes agree, but for groups the slow way would take too long for."""
    records = [r for r in records if r.contig == "c"][:5]
    assert [r.genotype for r in resolved(records)] == slow_resolution(records)
