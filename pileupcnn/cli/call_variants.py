"""``pileupcnn call-variants``: images to the network's answers, the second of three stages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pileupcnn.cli import common

if TYPE_CHECKING:
    from pileupcnn.classifiers import Classifier

logger = logging.getLogger(__name__)


def run_call_variants(
    examples: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    threads: int = 1,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> int:
    """Classify the images in files of examples.

    Parameters
    ----------
    examples : sequence of path
        Files, or names of shards as `tfrecords.find_shards` takes them, in any
        order. Shards must be complete, unless the output is itself named as a
        shard.
    output : path
        TFRecord file; compressed if its name ends in ``.gz``.
    model, threads, batch_size, device
        As for `run_call`.

    Returns
    -------
    int
        Images.

    Raises
    ------
    PileupCNNError
        If something the user can mend is wrong; then nothing is written.
    """
    from pileupcnn.classifiers import load_classifier, load_model
    from pileupcnn.stages.call_variants import classify_files
    from pileupcnn.tfrecords import Shards, find_shards

    network = load_model(model)
    # a part of the shards makes a part of the answers, of which the next stage wants all
    files = find_shards(examples, whole=Shards.parse_file(output) is None)

    def make_classifier() -> Classifier:
        return load_classifier(network, device, threads, batch_size)

    return classify_files(
        files, output, network.spec, make_classifier, joint=network.joint, threads=threads
    )


@click.command()
@click.option(
    "--examples",
    required=True,
    multiple=True,
    help="File of examples, or name@N[.gz]; repeatable.",
)
@click.option("--output", "-o", required=True, help="TFRecord file to write: .tfrecord[.gz].")
@common.model_option
@common.threads_option
@common.network_options
@common.quiet_option
def call_variants(
    examples: tuple[str, ...],
    output: str,
    model: str | None,
    threads: int,
    batch_size: int | None,
    device: Literal["auto", "cpu", "gpu"],
    quiet: bool,
) -> None:
    """Let the network classify the images that make-examples drew.

    Reads DeepVariant's files, too, if the model has the same channels.
    """
    images = run_call_variants(
        examples, output, model=model, threads=threads, batch_size=batch_size, device=device
    )
    if not quiet:
        logger.info(f"images: {images:,}")
