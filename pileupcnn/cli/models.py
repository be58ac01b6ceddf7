"""``pileupcnn models``: which models there are, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click


def run_models(paths: Sequence[Path] = (), card: bool = False) -> str:
    """Describe models; the parameters are those of the command.

    Returns
    -------
    str
        A line each, or their cards.

    Raises
    ------
    PileupCNNError
        If one of them is no bundle.
    """
    from pileupcnn.model import DEFAULT_MODEL, load_bundle

    bundles = [load_bundle(path) for path in paths or sorted(DEFAULT_MODEL.parent.iterdir())]
    if card:
        return "\n".join(bundle.card() for bundle in bundles)
    lines = []
    for bundle in bundles:
        height, width, channels = bundle.spec.shape
        parts = [
            f"{height}x{width}x{channels}",
            "realigned" if bundle.settings.realign else "not realigned",
            "with small model" if bundle.small_model else "no small model",
            f"sha256 {bundle.sha256[:12]}",
            str(bundle.path),
        ]
        lines.append(f"{bundle.name}\t" + "\t".join(parts))
    return "\n".join(lines)


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--card", is_flag=True, help="Print the models' cards, as Markdown.")
def models(paths: tuple[Path, ...], card: bool) -> None:
    """List models: those of the package, or the bundles in PATHS."""
    click.echo(run_models(paths, card))
