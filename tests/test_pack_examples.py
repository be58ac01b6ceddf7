"""Training from files of labelled examples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.datasets import pack_examples
from pileupcnn.errors import InputError
from pileupcnn.model import load_bundle
from pileupcnn.pileup import AltAlignedPileup, TypesToAltAlign


@pytest.mark.golden
def test_deepvariant_s_training_examples_are_packed(
    golden: Path, read_examples: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "golden.training_examples.tfrecord.gz"
    shutil.copy(golden / path.name, path)
    # the golden file has no description of its own, but the images of the calling one
    info = "golden.calling_examples.tfrecord.gz.example_info.json"
    shutil.copy(golden / info, f"{path}.example_info.json")
    store = pack_examples([path], tmp_path / "store")
    assert np.bincount(store.label, minlength=3).tolist() == [1, 12, 36]
    expected = [
        read_examples.parse_example(record)["image/encoded"][1][0]
        for record in read_examples.records(str(path))
    ]
    batches = store.batches(np.arange(len(store)), 7)
    images = np.concatenate([images for images, _ in batches])
    assert [image.tobytes() for image in images] == expected


def test_what_is_packed_is_what_was_made(testdata: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.tfrecord@2.gz"
    truth = {"truth": testdata / "truth.vcf.gz", "confident": testdata / "confident.bed"}
    inputs = testdata / "ref.fa", [testdata / "sample.bam"]
    run_make_examples(*inputs, made, **truth)
    store = pack_examples([made], tmp_path / "store")
    assert len(store.runs) == 2
    assert store.spec == load_bundle().spec
    assert min(np.bincount(store.label, minlength=3)[1:]) > 0
    again = pack_examples([made], tmp_path / "store")
    assert len(again) == len(store)


def test_examples_without_labels_are_refused(testdata: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.tfrecord.gz"
    run_make_examples(
        testdata / "ref.fa", [testdata / "sample.bam"], made, regions=["ctg2:1-9,000"]
    )
    with pytest.raises(InputError, match="without a label"):
        pack_examples([made], tmp_path / "store")
    Path(f"{made}.example_info.json").unlink()
    with pytest.raises(InputError, match=r"example_info\.json"):
        pack_examples([made], tmp_path / "store")


def test_images_of_other_settings_are_known_again(testdata: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.tfrecord.gz"
    settings = {
        "alt_aligned_pileup": "rows",
        "types_to_alt_align": "all",
        "sort_by_haplotypes": True,
        "realign": False,
        "min_count_snps": 3,
    }
    run_make_examples(
        testdata / "ref.fa",
        [testdata / "sample.bam"],
        made,
        truth=testdata / "truth.vcf.gz",
        confident=testdata / "confident.bed",
        overrides=settings,
    )
    store = pack_examples([made], tmp_path / "store")
    height, width, channels = load_bundle().spec.shape
    assert store.spec.shape == (3 * height, width, channels)
    assert store.spec.alt_aligned_pileup is AltAlignedPileup.ROWS
    assert store.spec.types_to_alt_align is TypesToAltAlign.ALL
    assert store.spec.sort_by_haplotypes
    assert store.settings.realign is None
    assert store.settings.candidates.min_count_snps == 3

    info = Path(f"{made}.example_info.json")
    fields = json.loads(info.read_text())
    for wrong, message in (
        ({"settings": 1}, "does not describe"),
        ({"settings": {}}, "cannot be drawn"),
        ({"shape": [height, width, channels]}, "are not those of its 'settings'"),
    ):
        info.write_text(json.dumps({**fields, **wrong}))
        with pytest.raises(InputError, match=message):
            pack_examples([made], tmp_path / "store")
