"""Model cards: what a model is for, and what it was trained and checked on, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pileupcnn.examples import ExampleSettings
from pileupcnn.small_model import SmallModelSettings


def model_card(
    name: str,
    architecture: str,
    settings: ExampleSettings,
    training: Mapping[str, Any],
    small_model: SmallModelSettings | None,
) -> str:
    """The card of a model; what `training` lacks is left out.

    Parameters
    ----------
    name, architecture, settings, training, small_model
        As a bundle has them.
    """
    height, width, _ = settings.pileup.shape
    channels = ", ".join(channel.name.lower() for channel in settings.pileup.channels)
    realigned = "after local realignment" if settings.realign else "as aligned"
    parts = [
        f"# Model {name}",
        "Genotypes of small germline variants (SNPs and short indels) of one diploid sample, from "
        "short reads.",
        f"Network '{architecture}' on images of {height} x {width} pixels ({channels}), of reads "
        f"{realigned} with MAPQ {settings.reads.min_mapping_quality} or more.",
        _data(training),
        _history(training),
        _small(training, small_model),
        _reliability(training),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _data(training: Mapping[str, Any]) -> str:
    """Which runs it saw, and how many images of each class."""
    runs = training.get("runs")
    if not runs:
        return ""
    # as `store.split_images` has it
    unsaid = "train" if any(run["split"] == "validation" for run in runs) else "last tenth"
    rows = [
        (run["name"], f"{run['images']:,}", run["split"] or unsaid, f"{run['weight']:g}")
        for run in runs
    ]
    counts = [
        f"{what}: "
        + ", ".join(f"{count:,} {label}" for label, count in training[key].items())
        + "."
        for what, key in (("Training", "training_images"), ("Validation", "validation_images"))
        if key in training
    ]
    table = _table(("reads", "images", "part", "counts an epoch"), rows)
    return f"## Data\n\n{' '.join(counts)}\n\n{table}"


def _history(training: Mapping[str, Any]) -> str:
    """Losses and errors by epoch."""
    history = training.get("history")
    if not history:
        return ""
    rows = [
        (
            epoch["epoch"],
            f"{epoch['training_loss']:.5f}",
            f"{epoch['loss']:.5f}",
            *(sum(epoch["errors"].get(kind, {}).values()) for kind in ("SNP", "indel")),
        )
        for epoch in history
    ]
    table = _table(
        ("epoch", "training loss", "validation loss", "SNP errors", "indel errors"), rows
    )
    best = training.get("best_epoch")
    return f"## Training\n\nThe weights are those after epoch {best}.\n\n{table}"


def _small(training: Mapping[str, Any], settings: SmallModelSettings | None) -> str:
    """Where no image is drawn."""
    figures = training.get("small_model")
    if settings is None or not figures:
        return ""
    whole, slopes = training.get("validation"), training.get("calibration", {}).get("slopes", ())
    within = ""
    if whole and len(slopes) == 2:
        errors = sum(sum(counts.values()) for counts in whole["errors"].values())
        within = (
            f" Its logits are part of the network's, {slopes[1]:.2f} to {slopes[0]:.2f}; with them "
            f"the validation loss is {whole['loss']:.5f}, and {errors:,} images are wrong."
        )
    return (
        "## Small model\n\n"
        f"Answers without an image from a GQ of {settings.min_gq_snps:g} (SNPs) or "
        f"{settings.min_gq_indels:g} (others) on, at sites of up to {settings.max_depth} reads: "
        f"{figures['sure']:.0%} of the validation images, {figures['wrong_where_sure']} of them "
        f"wrong (the network: {figures['network_wrong_there']}).{within}"
    )


def _reliability(training: Mapping[str, Any]) -> str:
    """Whether it is as often wrong as it says."""
    bins = training.get("reliability")
    if not bins:
        return ""
    rows = [
        (
            f"{row['low']:g}-{row['high']:g}",
            f"{row['count']:,}",
            row["wrong"],
            f"{row['expected']:.1f}",
        )
        for row in bins
    ]
    table = _table(("Phred-scaled confidence", "images", "wrong", "expected"), rows)
    return f"## Calibration\n\nOf validation images, which also fitted the scaling.\n\n{table}"
