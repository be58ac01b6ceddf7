"""The slow reference itself, against DeepVariant's own files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pysam
import pytest
from deepvariant import ORACLE_SETS, image_digest, oracle_partitions, support_digest, to_read
from numpy.typing import NDArray
from reference import Read, is_used, overlaps
from reference.counting import Candidate, count_alleles, find_candidates
from reference.drawing import draw_image, image_alts
from reference.sampling import MersenneTwister64, reservoir, shuffled

pytestmark = pytest.mark.golden

CONTIG = "chr20"
PARTITIONS = [
    (start, min(start + 1_000, 10_010_000)) for start in range(9_999_999, 10_010_000, 1_000)
]
REFERENCE_ROWS = 5


@dataclass(frozen=True)
class GoldenVariant:
    """A candidate of DeepVariant's, as `draw_image` takes it."""

    start: int
    end: int
    ref: str
    alts: tuple[str, ...]
    depth: int
    support: dict[str, frozenset[str]]


@pytest.fixture(scope="module")
def contig(shared: Path) -> str:
    path = shared / "data/NA12878_HiSeq_50x_hg19_chr20/ucsc.hg19.chr20.unittest.fasta.gz"
    with pysam.FastaFile(str(path)) as fasta:
        return fasta.fetch(CONTIG).upper()


@pytest.fixture(scope="module")
def pools(shared: Path) -> list[list[Read]]:
    """The unrealigned reads of each partition."""
    path = shared / "data/NA12878_HiSeq_50x_hg19_chr20/NA12878_S1.chr20.10_10p1mb.bam"
    with pysam.AlignmentFile(str(path)) as bam:
        fetched = bam.fetch(CONTIG, PARTITIONS[0][0], PARTITIONS[-1][1])
        reads = [to_read(record) for record in fetched if not record.is_unmapped]
    used = [read for read in reads if is_used(read)]
    return [
        reservoir([read for read in used if overlaps(read, start, end)], 1_500)
        for start, end in PARTITIONS
    ]


@pytest.fixture(scope="module")
def golden_variants(golden: Path, read_examples: ModuleType) -> list[GoldenVariant]:
    path = golden / "golden.calling_candidates.tfrecord.gz"
    variants = []
    for record in read_examples.records(path):
        call = read_examples.parse_dvcall(record)
        variant = call["variant"]
        variants.append(
            GoldenVariant(
                start=variant["start"],
                end=variant["end"],
                ref=variant["ref"],
                alts=tuple(variant["alts"]),
                depth=variant["calls"][0]["info"]["DP"][0],
                support={alt: frozenset(names) for alt, names in call["allele_support"].items()},
            )
        )
    return variants


@pytest.fixture(scope="module")
def golden_images(golden: Path, read_examples: ModuleType) -> dict[tuple, NDArray[np.uint8]]:
    """Images by start, ALTs and the indices shown."""
    images = {}
    for record in read_examples.records(golden / "golden.calling_examples.tfrecord.gz"):
        example = read_examples.parse_example(record)
        variant = read_examples.parse_variant(example["variant/encoded"][1][0])
        shown = read_examples.parse_indices(example["alt_allele_indices/encoded"][1][0])
        image = np.frombuffer(example["image/encoded"][1][0], np.uint8)
        key = variant["start"], tuple(variant["alts"]), tuple(shown)
        images[key] = image.reshape(example["image/shape"][1])
    return images


def pool_of(pools: list[list[Read]], position: int) -> list[Read]:
    """The reads of the partition that holds a position."""
    for (start, end), pool in zip(PARTITIONS, pools, strict=True):
        if start <= position < end:
            return pool
    raise AssertionError(position)


def test_generator_and_shuffle_are_libcxx_s(golden: Path) -> None:
    vectors = json.loads((golden / "shuffle.libcxx14.json").read_text())
    generator = MersenneTwister64(vectors["seed"])
    first = vectors["mt19937_64_first10"]
    assert [generator.next() for _ in first] == first
    for size in ("96", "97", "120"):
        assert shuffled(int(size), vectors["seed"]) == vectors[size]


def test_candidates_without_realignment_are_nearly_the_golden_ones(
    pools: list[list[Read]], contig: str, golden_variants: list[GoldenVariant]
) -> None:
    """The golden ones come from realigned reads: most, not all, agree."""
    ours: dict[tuple[int, str, tuple[str, ...]], Candidate] = {}
    for (start, end), pool in zip(PARTITIONS, pools, strict=True):
        for candidate in find_candidates(pool, contig, start, end):
            ours[candidate.start, candidate.ref, candidate.alts] = candidate
    theirs = {(variant.start, variant.ref, variant.alts): variant for variant in golden_variants}
    assert len(theirs) == 78
    shared_sites = ours.keys() & theirs.keys()
    same_depth = [key for key in shared_sites if ours[key].depth == theirs[key].depth]
    same_support = [
        key
        for key in shared_sites
        if all(ours[key].support[alt] == theirs[key].support[alt] for alt in key[2])
    ]
    print(
        f"candidates: {len(ours)}, golden {len(theirs)}, in common {len(shared_sites)}, "
        f"with equal DP {len(same_depth)}, with equal support {len(same_support)}"
    )
    assert len(shared_sites) >= 65
    assert len(same_support) >= 40


def test_images_without_realignment_have_the_expected_equal_rows(
    pools: list[list[Read]],
    contig: str,
    golden_variants: list[GoldenVariant],
    golden_images: dict[tuple, NDArray[np.uint8]],
) -> None:
    equal: Counter[str] = Counter()
    total: Counter[str] = Counter()
    drawn = whole = 0
    for variant in golden_variants:
        pool = pool_of(pools, variant.start)
        for shown in image_alts(len(variant.alts)):
            ours = draw_image(pool, variant, shown, contig)
            theirs = golden_images[variant.start, variant.alts, shown]
            drawn += 1
            whole += np.array_equal(ours, theirs)
            for i, (our_row, their_row) in enumerate(zip(ours, theirs, strict=True)):
                kind = "reference" if i < REFERENCE_ROWS else "read" if their_row.any() else "blank"
                total[kind] += 1
                equal[kind] += np.array_equal(our_row, their_row)
    print(f"rows equal: {dict(equal)} of {dict(total)}; whole images: {whole} of {drawn}")
    assert drawn == len(golden_images) == 84
    assert total == {"reference": 420, "read": 4_309, "blank": 3_671}
    assert equal == {"reference": 420, "read": 2_869, "blank": 3_636}
    assert whole == 7


def support_with_uncalled(
    candidate: Candidate, reads: list[Read], contig: str
) -> dict[str, set[str]]:
    """The support lists as DeepVariant writes them: with the reads of no ALT."""
    count = count_alleles(reads, contig, candidate.start, candidate.start + 1)[0]
    called = set().union(*candidate.support.values())
    uncalled = {"UNCALLED_ALLELE": count.alleles.keys() - called}
    return {**candidate.support, **{key: keys for key, keys in uncalled.items() if keys}}


@pytest.mark.parametrize(
    ("name", "n_candidates", "n_images"),
    [answer for answer in ORACLE_SETS if answer[0] in ("fuzz3", "fuzz6", "fuzz7")],
)
def test_candidates_and_images_of_realigned_reads_are_deepvariant_s(
    shared: Path, name: str, n_candidates: int, n_images: int
) -> None:
    """All of them: deep pools, contig ends, N, every operation, duplicates."""
    totals = np.zeros(2, int)
    for partition in oracle_partitions(shared, name):
        contig, pool = partition.contig, partition.pool
        counted = [pool[i] for i in partition.counted]
        candidates = find_candidates(counted, contig, partition.start, partition.end)
        found, images = {}, {}
        for candidate in candidates:
            site = candidate.start, candidate.ref, candidate.alts
            digest = support_digest(support_with_uncalled(candidate, counted, contig))
            found[site] = candidate.depth, candidate.allele_depths, digest
            if candidate.start >= 110 and candidate.start + 111 <= len(contig):
                for shown in image_alts(len(candidate.alts)):
                    image = draw_image(pool, candidate, shown, contig)
                    images[site, shown] = image_digest(image)
        assert found == partition.candidates
        assert images == partition.images
        totals += len(found), len(images)
    assert totals.tolist() == [n_candidates, n_images]
