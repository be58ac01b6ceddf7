"""Stand-ins for the network, and the stages run with them."""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.cli.call import run_call
from pileupcnn.cli.call_variants import run_call_variants
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.cli.postprocess_variants import run_postprocess_variants
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import save_bundle
from pileupcnn.pileup import PileupSpec
from pileupcnn.reads import ReadSettings
from pileupcnn.realign import RealignSettings
from pileupcnn.small_model import INPUTS, DenseNetwork, SmallModel


class PlaceClassifier:
    """Says something else of an image wherever it lies in a batch.

    A network does so in the last bits, which few records show; this shows every
    image that is classified with other neighbours.
    """

    def __init__(self, model: Any, device: str, threads: int, batch_size: int | None) -> None:
        self.at_once = batch_size or 32

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert 0 < len(images) <= self.at_once
        seeds = (self.seed(image, place, len(images)) for place, image in enumerate(images))
        # mostly variants: where these overlap, genotypes are mended
        shares = [np.random.default_rng(seed).dirichlet([0.2, 0.3, 0.5]) for seed in seeds]
        return np.array(shares, np.float32)

    def seed(self, image: NDArray[np.uint8], place: int, count: int) -> list[int]:
        return [zlib.crc32(image.tobytes()), place, count]


class ImageClassifier(PlaceClassifier):
    """Says the same of an image wherever it lies."""

    def seed(self, image: NDArray[np.uint8], place: int, count: int) -> list[int]:
        return [zlib.crc32(image.tobytes())]


class SureClassifier(PlaceClassifier):
    """Says of each image that both haplotypes have what it shows, more or less surely."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        doubts = [zlib.crc32(image.tobytes()) % 89 / 900 + 1e-3 for image in images]
        return np.array([(doubt, doubt, 1 - 2 * doubt) for doubt in doubts], np.float32)


def make_bundle(
    path: Path,
    *,
    partition_size: int,
    spec: PileupSpec | None = None,
    realign: RealignSettings | None = None,
    small_model: SmallModel | None = None,
) -> Path:
    """A model bundle that only says what images it wants."""
    settings = ExampleSettings(
        reads=ReadSettings(partition_size=partition_size),
        pileup=spec or PileupSpec(height=20, width=31),
        realign=realign,
    )
    save_bundle(
        path,
        name="stand-in",
        architecture="strided",
        settings=settings,
        weights=[np.zeros(1, np.float32)],
        onnx=b"none",
        training={},
        small_model=small_model,
    )
    return path


def plain_small_model() -> SmallModel:
    """It goes by the share of reads with the ALTs alone: sure near a half, and near all."""
    kernel = np.zeros((len(INPUTS), 3), np.float32)
    kernel[INPUTS.index("alt_indices_variant_allele_frequency")] = [-0.5, 0, 0.5]
    return SmallModel(DenseNetwork([kernel, np.array([10, 0, -37], np.float32)]))


def records(vcf: str | Path) -> list[str]:
    """The lines of a VCF but for its source line."""
    with pysam.VariantFile(str(vcf)) as file:
        header = str(file.header).splitlines()
        return [line for line in header if not line.startswith("##source=")] + [
            str(record) for record in file
        ]


def by_call(folder: Path, inputs: dict[str, Any], **options: Any) -> list[str]:
    """The records of ``call``."""
    output = folder / "call.vcf.gz"
    run_call(**inputs, output=output, **options)
    return records(output)


def by_stages(
    folder: Path,
    inputs: dict[str, Any],
    shards: int,
    *,
    suffix: str = ".gz",
    threads: int = 1,
    **options: Any,
) -> list[str]:
    """The records of the three stages, a file for each."""
    examples, output = f"{folder}/examples.tfrecord@{shards}{suffix}", folder / "stages.vcf.gz"
    answers = folder / f"answers.tfrecord{suffix}"
    run_make_examples(**inputs, examples=examples, threads=threads, **options)
    run_call_variants([examples], answers, model=inputs["model"], threads=threads)
    calls = small_model_calls(folder, "examples", shards, suffix)
    run_postprocess_variants(inputs["ref"], [answers], output, small_model_calls=calls)
    return records(output)


def small_model_calls(folder: Path, stem: str, shards: int, suffix: str = "") -> list[Path]:
    """The small model's answers beside the examples, if there are any."""
    tail = f"_call_variant_outputs.tfrecord-*-of-{shards:05d}{suffix}"
    found = sorted(folder.glob(f"{stem}{tail}"))
    assert len(found) in (0, shards)
    return found


def by_shards(
    folder: Path, inputs: dict[str, Any], shards: int, shuffle: random.Random, **options: Any
) -> list[str]:
    """The same, each shard made, classified and gathered by itself, in any order."""
    numbers = list(range(shards))
    answers = []
    for number in shuffle.sample(numbers, shards):
        tail = f"-{number:05d}-of-{shards:05d}"
        examples = f"{folder}/example.tfrecord@{shards}"
        run_make_examples(**inputs, examples=examples, task=number, **options)
        answers.append(f"{folder}/answer{tail}.tfrecord.gz")
        run_call_variants([f"{folder}/example.tfrecord{tail}"], answers[-1], model=inputs["model"])
    output = folder / "shards.bcf"
    calls = small_model_calls(folder, "example", shards)
    run_postprocess_variants(
        inputs["ref"],
        shuffle.sample(answers, shards),
        output,
        small_model_calls=shuffle.sample(calls, len(calls)),
    )
    return records(output)


def by_tasks(folder: Path, inputs: dict[str, Any], tasks: int, **options: Any) -> list[str]:
    """The records of ``call --task`` for all tasks, gathered."""
    for number in range(tasks):
        output = f"{folder}/task-{number:05d}-of-{tasks:05d}.tfrecord.gz"
        run_call(**inputs, output=output, task=f"{number}/{tasks}", **options)
    output = folder / "tasks.vcf"
    run_postprocess_variants(inputs["ref"], [f"{folder}/task@{tasks}.tfrecord.gz"], output)
    return records(output)


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
