"""``pileupcnn workflow``: a folder with the Snakemake pipeline."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

SOURCE = Path(__file__).resolve().parent.parent / "workflow"
"""The pipeline's files, part of the package."""


def run_workflow(folder: str | Path) -> Path:
    """Write the pipeline's files into a new or empty folder.

    Parameters
    ----------
    folder : path

    Returns
    -------
    Path
        The configuration to fill in.

    Raises
    ------
    OutputError
        If the folder holds something, or cannot be written.
    """
    from pileupcnn.errors import OutputError

    folder = Path(folder)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder}: is there and not an empty folder; choose another name")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
            shutil.copytree(SOURCE, Path(made) / "workflow", copy_function=shutil.copyfile)
            if folder.exists():
                folder.rmdir()
            (Path(made) / "workflow").rename(folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}); choose a folder on a disk with space "
            "that you may write to"
        ) from error
    return folder / "config" / "config.yaml"


@click.command()
@click.argument("folder", metavar="DIR")
def workflow(folder: str) -> None:
    """Write the Snakemake pipeline into the new folder DIR.

    Many samples, each dealt out to many jobs, on one machine or a cluster.
    """
    config = run_workflow(folder)
    click.echo(f"fill in {config}, then run in {folder}: snakemake --cores 8")
