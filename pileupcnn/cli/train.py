"""``pileupcnn train``: a model from aligned samples with their truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pileupcnn.cli import common

if TYPE_CHECKING:
    from pileupcnn.examples import ExampleSettings
    from pileupcnn.labels import Scheme
    from pileupcnn.networks import Device


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Table of training data: tab-separated columns reads, ref, truth, confident and, if "
    "wanted, regions, weight, split (train or validation). Without it, --store is read.",
)
@click.option(
    "--examples",
    multiple=True,
    help="Labelled TFRecords of examples (name@N for shards) in place of --data; repeatable.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for the model (OUTPUT/bundle) and the state of the training.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for the labelled images.  [default: OUTPUT/store]",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Model bundle to start from; gives architecture, image size and read settings.",
)
@click.option("--name", default="custom", show_default=True, help="Name of the model.")
@click.option("--architecture", help="Network to train.  [default: strided_reads]")
@click.option("--height", type=click.IntRange(10, 400), help="Image rows.  [default: 64]")
@click.option(
    "--width",
    type=click.IntRange(3, 999),
    help="Image columns; below 72 the images do not show the small model's numbers.  "
    "[default: 101]",
)
@click.option(
    "--realign/--no-realign",
    default=None,
    help="Realign reads around likely indels, in training and then in calling.  "
    "[default: --realign]",
)
@common.labeler_option
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True
)
@click.option(
    "--thin-reads",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the images shown with a random part of their reads.",
)
@click.option(
    "--flip-strands",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the images shown with forward and reverse reads exchanged.",
)
@click.option(
    "--bin-qualities",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the images shown with base qualities binned as by another machine, known or "
    "invented.",
)
@click.option(
    "--plain-share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the images that the small model is sure of, and right, shown in an epoch; each "
    "counts for those left out.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Epochs without a better validation loss before training stops.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@common.threads_option
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto")
def train(**options: object) -> None:
    """Train a model on reads whose variants are known (needs pileupcnn[train]).

    Draws labelled images of all runs of the table into a packed store, then
    trains on that. Killed at any time, the same command goes on where it was.
    """
    click.echo(run_train(**options))  # type: ignore[arg-type]


def run_train(
    *,
    output: Path,
    data: Path | None = None,
    examples: Sequence[str] = (),
    store: Path | None = None,
    init: Path | None = None,
    name: str = "custom",
    architecture: str | None = None,
    height: int | None = None,
    width: int | None = None,
    realign: bool | None = None,
    labeler: Scheme | None = None,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    thin_reads: float = 0.0,
    flip_strands: float = 0.0,
    bin_qualities: float = 0.0,
    plain_share: float = 0.2,
    patience: int = 5,
    seed: int = 1,
    threads: int = 1,
    device: Device = "auto",
) -> Path:
    """Train a model; the parameters are those of the command.

    Returns
    -------
    Path
        The bundle.

    Raises
    ------
    PileupCNNError
        If options do not go together, or an input or output cannot be used.
    """
    from pileupcnn.augment import Augmentation
    from pileupcnn.datasets import draw_store, pack_examples, read_runs
    from pileupcnn.errors import OptionError
    from pileupcnn.labels import DEFAULT_SCHEME
    from pileupcnn.model import is_name, load_bundle
    from pileupcnn.networks import ARCHITECTURES, DEFAULT_ARCHITECTURE, require_training_packages
    from pileupcnn.simulate.run import refuse_scoring
    from pileupcnn.store import PackedStore
    from pileupcnn.train import FitSettings, fit

    require_training_packages()
    if not is_name(name):
        raise OptionError("--name: must be printable, on one line")
    start = None if init is None else load_bundle(init)
    if start is not None and (architecture or height or width or realign is not None):
        raise OptionError(
            "--init gives architecture, image size and realignment; leave out --architecture, "
            "--height, --width and --realign"
        )
    architecture = start.architecture if start is not None else architecture or DEFAULT_ARCHITECTURE
    if architecture not in ARCHITECTURES:
        raise OptionError(
            f"--architecture {architecture}: choose one of {', '.join(sorted(ARCHITECTURES))}"
        )
    if start is not None and data is not None:
        spec = start.spec
        if spec.needs_frequencies or len(spec.heights) > 1:
            raise OptionError(
                f"--init {init}: its images show allele frequencies or several samples, which "
                "--data cannot draw; make labelled examples with 'pileupcnn make-examples' and "
                "give them with --examples"
            )
    store = store or output / "store"
    if data is not None and examples:
        raise OptionError("--data and --examples are two ways to give images; give one of them")
    if labeler is not None and data is None:
        raise OptionError("--labeler is for --data: other images have their labels; leave it out")
    if data is None and (height or width or realign is not None):
        raise OptionError(
            "--height, --width and --realign are for drawing; give --data or leave them out"
        )
    if examples:
        images = pack_examples(examples, store)
    elif data is not None:
        settings = (
            start.settings if start is not None else _settings(height, width, realign is not False)
        )
        runs = read_runs(data)
        for run in runs:
            refuse_scoring(run.reads)
        images = draw_store(runs, store, settings, threads, labeler or DEFAULT_SCHEME)
    else:
        images = PackedStore(store)
    if start is not None and images.settings != start.settings:
        raise OptionError(
            f"--init {init}: was trained with other reading or image settings than the store "
            f"{images.path}; choose another --store or draw it again with --data"
        )
    fit_settings = FitSettings(
        architecture=architecture,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augmentation=Augmentation(thin_reads, flip_strands, bin_qualities),
        plain_share=plain_share,
        patience=patience,
        seed=seed,
    )
    return fit(images, output, fit_settings, threads=threads, init=start, name=name, device=device)


def _settings(height: int | None, width: int | None, realign: bool) -> ExampleSettings:
    """Drawing settings for a new model."""
    from pileupcnn.errors import OptionError
    from pileupcnn.examples import ExampleSettings
    from pileupcnn.pileup import OWN_CHANNELS, Channel, PileupSpec
    from pileupcnn.realign import RealignSettings
    from pileupcnn.small_model import INPUTS

    width = width or 101
    if width % 2 == 0:
        raise OptionError(f"--width {width}: must be odd, the variant is in the middle column")
    # there is one number a column
    channels = tuple(c for c in OWN_CHANNELS if c != Channel.NUMBERS or width >= len(INPUTS))
    return ExampleSettings(
        pileup=PileupSpec(height=height or 64, width=width, channels=channels),
        realign=RealignSettings() if realign else None,
    )
