"""Our images against DeepVariant's, drawn from its candidates and the reads as aligned.

DeepVariant realigned the reads first, so not all rows can be equal; how many
are is known from an independent emulation, and more would be as wrong as fewer.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pileupcnn.candidates import CandidateBatch
from pileupcnn.examples import ExampleMaker, ExampleSettings, RunExamples
from pileupcnn.kernels import mersenne
from pileupcnn.kernels.channels import DRAWABLE
from pileupcnn.kernels.drawing import ALT_LAYOUTS
from pileupcnn.pileup import AltAlignedPileup, Channel, plan_images
from pileupcnn.regions import Region, partitions

REGION = Region("chr20", 9_999_999, 10_010_000)


def candidate_batch(decoded: list[dict[str, Any]], made: RunExamples) -> CandidateBatch:
    """DeepVariant's candidates as ours, their reads found by name."""
    index = {made.reads.name(i): i for i in range(len(made.reads))}
    starts = [candidate["variant"]["start"] for candidate in decoded]
    alleles = [[c["variant"]["ref"], *c["variant"]["alts"]] for c in decoded]
    support = [
        [index[name] for name in candidate["allele_support"].get(allele, [])] if i else []
        for candidate, row in zip(decoded, alleles, strict=True)
        for i, allele in enumerate(row)
    ]
    flat = [allele for row in alleles for allele in row]
    return CandidateBatch(
        contig=REGION.contig,
        start=np.array(starts, np.int64),
        end=np.array([s + len(row[0]) for s, row in zip(starts, alleles, strict=True)], np.int64),
        partition=np.array([(s - REGION.start) // 1_000 for s in starts], np.int32),
        depth=np.zeros(len(starts), np.int32),
        allele_offset=np.cumsum([0, *map(len, alleles)], dtype=np.int64),
        base_offset=np.cumsum([0, *map(len, flat)], dtype=np.int64),
        bases=np.frombuffer("".join(flat).encode(), np.uint8),
        allele_depth=np.zeros(len(flat), np.int32),
        support_offset=np.cumsum([0, *map(len, support)], dtype=np.int64),
        support=np.array([read for row in support for read in row], np.int32),
        matches=0,
        mismatches=0,
    )


@pytest.mark.golden
def test_rows_equal_those_of_deepvariant(
    shared: Path, golden: Path, read_examples: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shared / "data" / "NA12878_HiSeq_50x_hg19_chr20"
    decoded = [
        read_examples.parse_dvcall(record)
        for record in read_examples.records(str(golden / "golden.calling_candidates.tfrecord.gz"))
    ]
    with ExampleMaker(
        [data / "NA12878_S1.chr20.10_10p1mb.bam"],
        data / "ucsc.hg19.chr20.unittest.fasta.gz",
        ExampleSettings(),
    ) as maker:
        made = maker.run_examples(tuple(partitions([REGION])))
        made.candidates = candidate_batch(decoded, made)
        made.plan = plan_images(made.candidates)
        images = made.draw(0, len(made.plan))
    counts: Counter[str] = Counter()
    expected = list(read_examples.records(str(golden / "golden.calling_examples.tfrecord.gz")))
    assert len(expected) == len(made.plan)
    for i, record in enumerate(expected):
        example = read_examples.parse_example(record)
        variant = read_examples.parse_variant(example["variant/encoded"][1][0])
        shown = read_examples.parse_indices(example["alt_allele_indices/encoded"][1][0])
        assert variant["start"] == made.candidates.start[made.plan.candidate[i]]
        assert shown == [alt for alt in made.plan.alts[i].tolist() if alt >= 0]
        image = np.frombuffer(example["image/encoded"][1][0], np.uint8).reshape(100, 221, 7)
        equal = (image == images[i]).all(axis=(1, 2))
        blank = ~image.any(axis=(1, 2))
        counts["reference"] += int(equal[:5].sum())
        counts["read"] += int((equal & ~blank)[5:].sum())
        counts["blank"] += int((equal & blank).sum())
        counts["whole"] += bool(equal.all())
    with capsys.disabled():
        print(
            f"\ngolden rows: reference {counts['reference']}/420, read {counts['read']}/4309, "
            f"blank {counts['blank']}/3671, whole images {counts['whole']}/84"
        )
    assert counts == {"reference": 420, "read": 2_869, "blank": 3_636, "whole": 7}


@pytest.mark.golden
def test_shuffle_is_libcxxs(golden: Path) -> None:
    vectors = json.loads((golden / "shuffle.libcxx14.json").read_text())
    sizes = [int(key) for key in vectors if key.isdigit()]
    assert sizes
    for n in sizes:
        assert mersenne.permutation(n, vectors["seed"]).tolist() == vectors[str(n)]


def test_kernel_and_package_know_the_same_channels() -> None:
    of_alts = {layer for layout in AltAlignedPileup for layer in layout.layers}
    assert set(Channel) - of_alts == DRAWABLE
    assert tuple(layout.value for layout in AltAlignedPileup) == ALT_LAYOUTS


def test_reservoir_draws_are_numpys() -> None:
    bounds = np.arange(1, 3_000, dtype=np.uint32)
    state = np.random.RandomState(609314161)
    assert mersenne.bounded(609314161, bounds).tolist() == [state.randint(0, n) for n in bounds]
