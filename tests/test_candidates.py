"""All that is listed of the reads at candidates: against the slow reference and DeepVariant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from deepvariant import oracle_paths, parse_span, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import REVERSE, Read, is_used, overlaps
from reference.counting import Allele, Position, count_alleles
from reference.drawing import image_alts
from reference.support import (
    UNCALLED,
    Described,
    count_tracked,
    describe_candidates,
    features,
)
from strategies import Scene, scenes, to_batch

from pileupcnn.candidates import CandidateBatch, CandidateSettings, Detail, find_candidates
from pileupcnn.examples import ExampleMaker, ExampleSettings, RunExamples
from pileupcnn.messages.convert import candidate_site, encode_candidate
from pileupcnn.pileup import plan_images
from pileupcnn.reads import ReadBatch
from pileupcnn.realign import RealignSettings
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Block, Region, partitions
from pileupcnn.small_model import FEATURES
from pileupcnn.small_model import features as small_model_features

Show = Callable[[str], None]
Listed = dict[str, tuple[bool, int, int, bool]]
"""Low quality, quality, MAPQ and strand, by read."""

GOLDEN = "golden.calling_candidates.tfrecord.gz"
REALIGN = ExampleSettings(realign=RealignSettings())


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Print in spite of pytest."""

    def shown(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return shown


def listed(reads: ReadBatch, indices: np.ndarray, low: np.ndarray, quality: np.ndarray) -> Listed:
    """What we say of some reads."""
    found = {
        reads.name(i): (
            bool(a),
            int(b),
            int(reads.mapping_quality[i]),
            bool(reads.flag[i] & REVERSE),
        )
        for i, a, b in zip(indices, low, quality, strict=True)
    }
    assert len(found) == len(indices)
    return found


def expected(alleles: dict[str, Allele]) -> Listed:
    """The same from the reference."""
    return {k: (a.low_quality, a.quality, a.mapq, a.reverse) for k, a in alleles.items()}


def described(found: CandidateBatch, reads: ReadBatch, i: int) -> tuple[Any, ...]:
    """Site, AD, DP, support by allele, context."""
    details = found.details
    assert details is not None
    first, last = found.allele_offset[i : i + 2].tolist()
    bounds = itertools.pairwise(found.support_offset[first : last + 1].tolist())
    ours = found.support, details.low_quality, details.base_quality
    others = details.uncalled, details.uncalled_low_quality, details.uncalled_base_quality
    reference, *alts = [listed(reads, *(part[a:b] for part in ours)) for a, b in bounds]
    support = dict(zip(found.alleles(i)[1:], alts, strict=True))
    a, b = details.uncalled_offset[i : i + 2].tolist()
    if a < b:
        support[UNCALLED] = listed(reads, *(part[a:b] for part in others))
    positions = range(found.start[i] - 25, found.start[i] + 26)
    context = dict(zip(positions, details.context[i].tolist(), strict=True))
    return (
        found.start[i],
        found.alleles(i),
        found.depth[i],
        found.allele_depths(i),
        support,
        reference,
        {position: value for position, value in context.items() if value >= 0},
    )


def as_described(one: Described) -> tuple[Any, ...]:
    """The same from the reference."""
    candidate = one.candidate
    return (
        candidate.start,
        (candidate.ref, *candidate.alts),
        candidate.depth,
        candidate.allele_depths,
        {key: expected(alleles) for key, alleles in one.support.items()},
        expected(one.reference),
        one.context,
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), track=st.booleans())
def test_all_reads_at_candidates_are_the_reference_s(scene: Scene, track: bool) -> None:
    compare(scene, track)


def compare(scene: Scene, track: bool) -> int:
    """Compare the candidates of a scene; how many there are."""
    reads = [read for read in scene.reads if is_used(read)]
    batch = to_batch(reads, scene.partitions)
    bases = np.frombuffer(scene.contig.encode(), np.uint8)
    window = ReferenceWindow("c", 0, bases, len(scene.contig))
    run = tuple(Region("c", *span) for span in scene.partitions)
    detail = Detail.REFERENCE if track else Detail.SUPPORT
    found = find_candidates(batch, run, window, CandidateSettings(), detail, with_counts=True)
    count = count_tracked if track else count_alleles
    positions: list[Position] = []
    theirs = []
    for start, end in scene.partitions:
        pool = [read for read in reads if overlaps(read, start, end)]
        counts = count(pool, scene.contig, start, end)
        theirs += describe_candidates(counts, start)
        positions += counts
    assert [described(found, batch, i) for i in range(len(found))] == list(
        map(as_described, theirs)
    )
    assert found.counts is not None
    assert found.counts.reference.tolist() == [at.reference_reads for at in positions]
    assert found.counts.depth.tolist() == [at.depth for at in positions]
    if track:
        numbers = small_model_features(found, batch, plan_images(found))
        assert numbers.tolist() == [
            features(one, shown) for one in theirs for shown in image_alts(len(one.candidate.alts))
        ]
    return len(found)


def test_the_later_of_twins_counts_even_if_it_is_like_the_reference() -> None:
    """Listed reads overwrite their twins' alleles, so that a candidate may go, or a count."""
    contig = "GATTACAGGCTTAACCGGATATCGCG"
    span = contig[4:20]
    other = f"{span[:6]}C{span[7:]}"

    def read(name: str, bases: str, quality: int = 40) -> Read:
        return Read(name, 0, 4, 60, 0, 0, (("M", 16),), bases, (quality,) * 16)

    def scene(*reads: Read) -> Scene:
        return Scene(contig, ((0, len(contig)),), reads)

    both = read("a", other), read("b", other)
    assert compare(scene(*both, read("c", other), read("a", span)), True) == 1
    assert compare(scene(*both, read("a", span)), True) == 0
    assert compare(scene(*both, read("a", span)), False) == 1
    assert compare(scene(read("a", span), *both), True) == 1
    assert compare(scene(*both, read("c", span, 5), read("d", span, 9)), True) == 1


def test_without_detail_nothing_more_is_listed(testdata: Path) -> None:
    run = tuple(partitions([Region("ctg1", 0, 20_000)]))
    found = {}
    for detail in Detail:
        paths = [testdata / "sample.bam"], testdata / "ref.fa"
        with ExampleMaker(*paths, ExampleSettings(), detail=detail) as maker:
            found[detail] = maker.run_examples(run).candidates
    plain, more, most = found.values()
    assert plain.details is None
    np.testing.assert_array_equal(plain.support, more.support)
    assert len(more.support) < len(most.support)
    assert most.details is not None
    assert len(most.details.low_quality) == len(most.support)


# ---- against DeepVariant ----


def made_runs(shared: Path, name: str, detail: Detail) -> Iterator[tuple[RunExamples, str]]:
    """The runs of one set, realigned, and the sample's name."""
    folder, bam, fasta = oracle_paths(shared, "na12878" if name == "golden" else name)
    if name == "golden":
        spans = list(partitions([Region("chr20", 9_999_999, 10_010_000)]))
    elif name == "sim30x_first_200kb":
        spans = list(partitions([Region("chr20", 5_000_000, 5_200_000)]))
    else:
        spans = [Region(*parse_span(row[0])) for row in rows_of(folder / "partitions.tsv")]
    with ExampleMaker([bam], fasta, REALIGN, detail=detail) as maker:
        for run in Block(0, tuple(spans)).runs():
            yield maker.run_examples(run), maker.sample


def without_order(call: dict[str, Any]) -> dict[str, Any]:
    """A candidate's message with its reads as sets."""
    support = {key: sorted(names) for key, names in call["allele_support"].items()}
    more = {
        key: sorted(reads, key=lambda read: read["read_name"])
        for key, reads in call["allele_support_ext"].items()
    }
    return {**call, "allele_support": support, "allele_support_ext": more}


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "count"), [("golden", 78), ("na12878", 287), ("sim30x_first_200kb", 258)]
)
def test_candidate_files_are_deepvariant_s_in_all_fields(
    shared: Path, golden: Path, read_examples: ModuleType, show: Show, name: str, count: int
) -> None:
    path = oracle_paths(shared, name)[0] / "candidates.tfrecord.gz"
    if name == "golden":
        path = golden / GOLDEN
    theirs = list(map(read_examples.parse_dvcall, read_examples.records(str(path))))
    ours = [
        read_examples.parse_dvcall(
            encode_candidate(
                made.candidates, made.reads, i, candidate_site(made.candidates, i, sample)
            )
        )
        for made, sample in made_runs(shared, name, Detail.SUPPORT)
        for i in range(len(made.candidates))
    ]
    equal = sum(without_order(a) == without_order(b) for a, b in zip(ours, theirs, strict=False))
    show(f"{name}: candidates from the reads, all fields {equal}/{len(theirs)} (ours {len(ours)})")
    assert equal == len(ours) == len(theirs) == count


@pytest.mark.golden
@pytest.mark.parametrize(("name", "count"), [("na12878", 304), ("sim30x_first_200kb", 274)])
def test_small_model_features_are_deepvariant_s(
    shared: Path, show: Show, name: str, count: int
) -> None:
    path = oracle_paths(shared, name)[0] / "small_model_features.tsv"
    with open(path) as table:
        header = next(table).rstrip("\n").split("\t")
    theirs = {tuple(row[:5]): tuple(map(int, row[5:])) for row in rows_of(path)}
    ours = {}
    for made, _ in made_runs(shared, name, Detail.REFERENCE):
        found = made.candidates
        numbers = small_model_features(found, made.reads, made.plan).tolist()
        shown = [",".join(str(i) for i in alts if i >= 0) for alts in made.plan.alts.tolist()]
        for index, alts, row in zip(made.plan.candidate, shown, numbers, strict=True):
            ref, *others = found.alleles(index)
            site = found.contig, str(found.start[index] + 1), ref, ",".join(others), alts
            ours[site] = tuple(row)
    equal = sum(ours.get(key) == row for key, row in theirs.items())
    show(f"{name}: small-model features {equal}/{len(theirs)} (ours {len(ours)})")
    assert tuple(header[5:]) == FEATURES
    assert equal == len(ours) == len(theirs) == count
