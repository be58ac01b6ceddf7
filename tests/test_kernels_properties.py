"""Kernels against the slow reference, on random reads."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deepvariant import ORACLE_SETS, image_digest, oracle_partitions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import Read, is_used, overlaps
from reference.counting import Candidate, Thresholds
from reference.counting import find_candidates as reference_candidates
from reference.drawing import Geometry, draw_image, image_alts
from strategies import Scene, geometries, offsets, scenes, to_batch, write_bam, write_fasta

from pileupcnn.candidates import CandidateBatch, CandidateSettings, find_candidates
from pileupcnn.pileup import ImagePlan, PileupSpec, draw_images, make_drawer, plan_images
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Region

SETTINGS = settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@lru_cache(maxsize=4)
def whole_window(contig: str, name: str = "c") -> ReferenceWindow:
    """All of a contig."""
    bases = np.frombuffer(contig.encode(), np.uint8)
    return ReferenceWindow(name, 0, bases, len(contig))


def regions_of(scene: Scene) -> tuple[Region, ...]:
    """The scene's partitions as the package takes them."""
    return tuple(Region("c", start, end) for start, end in scene.partitions)


def used_reads(scene: Scene) -> list[Read]:
    """The reads that pass the filters."""
    return [read for read in scene.reads if is_used(read)]


def as_reference_candidates(
    reads: ReadBatch, candidates: CandidateBatch
) -> list[tuple[int, Candidate]]:
    """Partition and candidate, in the reference's form."""
    found = []
    for i in range(len(candidates)):
        ref, *alts = candidates.alleles(i)
        first = candidates.allele_offset[i]
        supporters = {}
        for j, alt in enumerate(alts, first + 1):
            a, b = candidates.support_offset[j], candidates.support_offset[j + 1]
            supporters[alt] = frozenset(reads.name(k) for k in candidates.support[a:b])
        assert candidates.support_offset[first] == candidates.support_offset[first + 1]
        candidate = Candidate(
            start=int(candidates.start[i]),
            end=int(candidates.end[i]),
            ref=ref,
            alts=tuple(alts),
            depth=int(candidates.depth[i]),
            allele_depths=candidates.allele_depths(i),
            support=supporters,
        )
        found.append((int(candidates.partition[i]), candidate))
    return found


def expected_candidates(
    scene: Scene, reads: list[Read], min_quality: int = 10, limits: Thresholds | None = None
) -> list[tuple[int, Candidate]]:
    """What the reference finds in each partition."""
    return [
        (i, candidate)
        for i, (start, end) in enumerate(scene.partitions)
        for candidate in reference_candidates(
            [read for read in reads if overlaps(read, start, end)],
            scene.contig,
            start,
            end,
            min_quality,
            limits,
        )
    ]


def draw(
    reads: ReadBatch,
    candidates: CandidateBatch,
    plan: ImagePlan,
    window: ReferenceWindow,
    geometry: Geometry,
    cut: int = 0,
    **settings: Any,
) -> NDArray[np.uint8]:
    """All images of a plan, drawn in two goes: those before `cut`, and the rest."""
    spec = PileupSpec(
        geometry.height, geometry.width, reference_rows=geometry.reference_rows, **settings
    )
    drawer = make_drawer(spec, min_base_quality=10, min_mapping_quality=5)
    # what was in the array before must not show
    images = np.full((len(plan), *spec.shape), 7, np.uint8)
    draw_images(drawer, reads, candidates, plan, window, images[:cut], 0)
    draw_images(drawer, reads, candidates, plan, window, images[cut:], cut)
    return images


@SETTINGS
@given(scene=scenes())
def test_candidates_are_the_reference_s(scene: Scene) -> None:
    reads = used_reads(scene)
    batch = to_batch(reads, scene.partitions)
    window = whole_window(scene.contig)
    found = find_candidates(batch, regions_of(scene), window, CandidateSettings())
    assert as_reference_candidates(batch, found) == expected_candidates(scene, reads)


def test_one_read_has_one_allele_at_a_position() -> None:
    """A skipped insertion separates mismatch and deletion, which share their anchor."""
    contig = "GATTACAGGCTTAACCGGATATCGCGTTAGCACTGACCATG"
    cigar = ("M", 10), ("I", 2), ("D", 3), ("M", 10)
    bases = "CAGGCTTAAG" + "NA" + "ATATCGCGTT"
    reads = [Read(name, 0, 5, 60, 0, 0, cigar, bases, (40,) * len(bases)) for name in "ab"]
    scene = Scene(contig, ((0, len(contig)),), tuple(reads))
    batch = to_batch(reads, scene.partitions)
    window = whole_window(contig)
    found = find_candidates(batch, regions_of(scene), window, CandidateSettings())
    expected = expected_candidates(scene, reads)
    assert [(c.ref, c.alts, c.depth) for _, c in expected] == [("CCGG", ("A",), 2)]
    assert as_reference_candidates(batch, found) == expected


@SETTINGS
@given(
    scene=scenes(),
    min_quality=st.sampled_from([0, 10, 20, 41]),
    counts=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    fractions=st.tuples(
        st.sampled_from([0.0, 0.1, 0.12, 0.2, 0.3, 0.5, 1.0]),
        st.sampled_from([0.0, 0.06, 0.1, 0.25, 0.5, 1.0]),
    ),
)
def test_candidates_follow_their_settings(
    scene: Scene,
    min_quality: int,
    counts: tuple[int, int],
    fractions: tuple[float, float],
) -> None:
    reads = used_reads(scene)
    batch = to_batch(reads, scene.partitions)
    chosen = CandidateSettings(min_quality, *counts, *fractions)
    found = find_candidates(batch, regions_of(scene), whole_window(scene.contig), chosen)
    limits = Thresholds(*counts, *fractions)
    expected = expected_candidates(scene, reads, min_quality, limits)
    assert as_reference_candidates(batch, found) == expected


@SETTINGS
@given(scene=scenes(max_copies=40), geometry=geometries, share=st.floats(0, 1))
def test_images_are_the_reference_s(scene: Scene, geometry: Geometry, share: float) -> None:
    reads = used_reads(scene)
    batch = to_batch(reads, scene.partitions)
    window = whole_window(scene.contig)
    found = find_candidates(batch, regions_of(scene), window, CandidateSettings())
    plan = plan_images(found)
    images = draw(batch, found, plan, window, geometry, int(share * len(plan)))
    drawn = 0
    for partition, candidate in as_reference_candidates(batch, found):
        start, end = scene.partitions[partition]
        pool = [read for read in reads if overlaps(read, start, end)]
        for shown in image_alts(len(candidate.alts)):
            assert tuple(i for i in plan.alts[drawn].tolist() if i >= 0) == shown
            expected = draw_image(pool, candidate, shown, scene.contig, geometry)
            np.testing.assert_array_equal(images[drawn], expected, err_msg=repr(candidate))
            drawn += 1
    assert drawn == len(plan)


def test_nothing_is_drawn_before_the_contig() -> None:
    """A deletion at position 0 after an insertion would have its anchor at -1."""
    contig = "GATTACAGGCTTAACCGGATATCGCGTTAGC"
    cigar = ("I", 2), ("D", 3), ("M", 27)
    bases = "AC" + contig[3:8] + "T" + contig[9:30]
    reads = [Read(name, 0, 0, 60, 0, 0, cigar, bases, (40,) * len(bases)) for name in "ab"]
    batch = to_batch(reads, [(0, 30)])
    window = whole_window(contig)
    found = find_candidates(batch, (Region("c", 0, 30),), window, CandidateSettings())
    (candidate,) = (c for _, c in as_reference_candidates(batch, found))
    geometry = Geometry(height=10, width=41)
    image = draw(batch, found, plan_images(found), window, geometry)[0]
    assert not image[:, : geometry.half - candidate.start].any()
    np.testing.assert_array_equal(image, draw_image(reads, candidate, (0,), contig, geometry))


def narrow_window(scene: Scene, reads: list[Read], margin: int) -> ReferenceWindow:
    """The bases under partitions and reads, and `margin` on either side."""
    start = min([scene.partitions[0][0], *(read.start for read in reads)])
    end = max([scene.partitions[-1][1], *(read.end for read in reads)])
    start, end = max(start - margin, 0), min(end + margin, len(scene.contig))
    bases = np.frombuffer(scene.contig[start:end].encode(), np.uint8)
    return ReferenceWindow("c", start, bases, len(scene.contig))


@SETTINGS
@given(scene=scenes(), geometry=geometries)
def test_the_window_s_extent_does_not_matter(scene: Scene, geometry: Geometry) -> None:
    reads = used_reads(scene)
    batch = to_batch(reads, scene.partitions)
    results = []
    for window in whole_window(scene.contig), narrow_window(scene, reads, geometry.half):
        found = find_candidates(batch, regions_of(scene), window, CandidateSettings())
        images = draw(batch, found, plan_images(found), window, geometry)
        results.append((as_reference_candidates(batch, found), images.tobytes()))
    assert results[0] == results[1]


@SETTINGS
@given(scene=scenes(max_copies=20), cap=st.sampled_from([0, 3, 10, 1_500]), data=st.data())
def test_scanner_reads_what_was_written(
    scene: Scene, cap: int, data: st.DataObject, tmp_path: Path
) -> None:
    """One or two files, filtered, with a reservoir for each partition."""
    cut = data.draw(st.integers(0, len(scene.reads)))
    parts = [scene.reads[:cut], scene.reads[cut:]] if 0 < cut < len(scene.reads) else [scene.reads]
    contigs = {"c": len(scene.contig), "elsewhere": 50}
    fasta = tmp_path / "ref.fa"
    write_fasta(fasta, {"c": scene.contig, "elsewhere": "A" * 50})
    paths = [tmp_path / f"reads{i}.bam" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_bam(path, contigs, part)
    chosen = ReadSettings(max_reads_per_partition=cap)
    with Scanner(paths, fasta, chosen, haplotypes=True) as scanner:
        batch = scanner.scan(regions_of(scene))
    first, last = scene.partitions[0][0], scene.partitions[-1][1]
    reads = [read for read in used_reads(scene) if overlaps(read, first, last)]
    expected = to_batch(reads, scene.partitions, cap)
    for k in range(len(scene.partitions)):
        ours, theirs = (
            [
                read_at(one, i)
                for i in one.partition_reads[slice(*one.partition_offset[k : k + 2])].tolist()
            ]
            for one in (batch, expected)
        )
        assert ours == theirs


def read_at(batch: ReadBatch, i: int) -> tuple:
    """Everything about one read of a batch, its twin by name."""
    bases = slice(*batch.base_offset[i : i + 2])
    cigar = slice(*batch.cigar_offset[i : i + 2])
    scalars = (
        batch.start[i],
        batch.end[i],
        batch.flag[i],
        batch.mapping_quality[i],
        batch.fragment_length[i],
    )
    assert batch.haplotype is not None
    scalars = *scalars, batch.haplotype[i]
    assert batch.name(batch.twin[i]) == batch.name(i)
    return (
        batch.name(i),
        *map(int, scalars),
        batch.bases[bases].tobytes(),
        batch.qualities[bases].tobytes(),
        tuple(batch.cigar[cigar].tolist()),
    )


@pytest.mark.golden
@pytest.mark.parametrize(("name", "n_candidates", "n_images"), ORACLE_SETS)
def test_kernels_on_realigned_reads_are_deepvariant_s(
    shared: Path, name: str, n_candidates: int, n_images: int
) -> None:
    """Candidates and images of DeepVariant's own program, from the reads it had in hand."""
    settings = CandidateSettings()
    totals = np.zeros(2, int)
    for partition in oracle_partitions(shared, name):
        span = partition.start, partition.end
        everything = range(len(partition.pool))
        batch = to_batch(partition.pool, [span], pools=[list(everything)])
        # reads moved out of the partition do not count, but are drawn
        counted = dataclasses.replace(
            batch,
            partition_offset=offsets([len(partition.counted)]),
            partition_reads=np.array(partition.counted, np.int32),
        )
        window = whole_window(partition.contig)
        found = find_candidates(counted, (Region("c", *span),), window, settings)
        plan = plan_images(found)
        images = draw(batch, found, plan, window, Geometry())
        answers, digests = {}, {}
        candidates = as_reference_candidates(batch, found)
        for image, owner, shown in zip(images, plan.candidate, plan.alts.tolist(), strict=True):
            candidate = candidates[owner][1]
            site = candidate.start, candidate.ref, candidate.alts
            answers[site] = candidate.depth, candidate.allele_depths
            if candidate.start >= 110 and candidate.start + 111 <= len(partition.contig):
                digests[site, tuple(i for i in shown if i >= 0)] = image_digest(image)
        assert answers == {site: found[:2] for site, found in partition.candidates.items()}
        assert digests == partition.images
        totals += len(answers), len(digests)
    assert totals.tolist() == [n_candidates, n_images]


OUT_OF_MEMORY = """
import resource
import numpy as np
from reference import Read
from strategies import to_batch
from pileupcnn.candidates import CandidateSettings, find_candidates
from pileupcnn.realign import RealignSettings, realign_reads
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Region

length = 2**31 - 8
read = Read("r", 0, 0, 60, 0, 0, (("M", 8),), "A" * 8, (40,) * 8)
reads = to_batch([read], [(0, length)])
window = ReferenceWindow("c", 0, np.zeros(length, np.uint8), length)
run = (Region("c", 0, length),)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
for work in (
    lambda: find_candidates(reads, run, window, CandidateSettings()),
    lambda: realign_reads(reads, run, window, RealignSettings()),
):
    try:
        work()
    except MemoryError:
        print("MemoryError")
"""


def test_want_of_memory_is_an_error() -> None:
    """Counts of a partition of 2 Gb take 8 GB; what cannot be had must not pass for no reads."""
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["MemoryError"] * 2, done.stderr
