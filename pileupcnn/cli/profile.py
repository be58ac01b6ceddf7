"""``pileupcnn profile``: what a sequencer's reads look like, for simulating more of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pileupcnn.cli.common import progress_bar, quiet_option, reads_options, regions_option


def run_profile(
    ref: str | Path,
    reads: Sequence[str | Path],
    output: str | Path,
    *,
    regions: Sequence[str] = (),
    plot: str | Path | None = None,
    quiet: bool = True,
) -> dict[str, int]:
    """Learn a profile from aligned reads, without a truth.

    Parameters
    ----------
    ref : path
        Indexed FASTA, plain or bgzipped.
    reads : sequence of path
        Indexed BAM or CRAM files of one sample.
    output : path
        The profile, a ``.npz`` file; its stem is the profile's name.
    regions : sequence of str
        As ``--regions``; empty for all contigs.
    plot : path, optional
        A page of plots, in the format that its suffix names.
    quiet : bool
        Whether there is no progress bar.

    Returns
    -------
    dict of str to int
        Reads, bases and repeats that the profile rests on.

    Raises
    ------
    PileupCNNError
        For everything a user can mend.
    """
    from pileupcnn.errors import OptionError
    from pileupcnn.simulate.plots import plot_profile, require_matplotlib
    from pileupcnn.simulate.profile import save_profile
    from pileupcnn.simulate.profiling import learn_profile

    output = Path(output)
    if output.suffix != ".npz":
        raise OptionError(f"--output {output}: a profile's name ends in .npz")
    if plot is not None:
        require_matplotlib()
    with progress_bar(show=not quiet) as progress:
        profile = learn_profile(reads, ref, regions, name=output.stem, progress=progress)
    save_profile(profile, output)
    if plot is not None:
        plot_profile(profile, plot)
    return {
        "reads": int(profile.reads[0]),
        "bases": int(profile.bases.sum()),
        "repeats": int(profile.repeats[:, :, 0].sum()),
    }


@click.command("profile", short_help="Learn what a sequencer's reads look like.")
@reads_options
@click.option("--output", required=True, help="The profile, a .npz file.")
@regions_option
@click.option("--plot", help="Page of plots, .png, .svg or .pdf (needs the extra 'report').")
@quiet_option
def profile(output: str, quiet: bool, **options: object) -> None:
    """Learn a sequencing profile from aligned reads; no truth is needed.

    Qualities, errors, indels and slips in repeats, fragments, depth, clips and mapping
    qualities, as counts. Sites that look like variants are left out. For 'simulate --profile'.
    """
    found = run_profile(output=output, quiet=quiet, **options)  # type: ignore[arg-type]
    if not quiet:
        counts = ", ".join(f"{value:,} {what}" for what, value in found.items())
        click.echo(f"{output}: {counts}", err=True)
