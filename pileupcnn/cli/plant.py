"""``pileupcnn plant``: half-real donors, known variants planted into real reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pileupcnn.cli.common import (
    progress_bar,
    quiet_option,
    reads_options,
    regions_option,
    threads_option,
)


def run_plant(
    ref: str | Path,
    reads: Sequence[str | Path],
    truth: str | Path,
    confident: str | Path,
    output: str | Path,
    *,
    regions: Sequence[str] = (),
    snp_rate: float | None = None,
    indel_rate: float | None = None,
    het_ratio: float | None = None,
    mask: bool = True,
    sample: str = "PLANTED",
    seed: int = 1,
    threads: int = 1,
    quiet: bool = True,
) -> bool:
    """Plant variants into real reads and their reference, and align the reads again.

    Parameters
    ----------
    ref : path
        Indexed FASTA that the reads were aligned to.
    reads : sequence of path
        Indexed BAM or CRAM files of one sample.
    truth : path
        Indexed VCF with the sample's real variants.
    confident : path
        BED in which the truth is complete.
    output : path
        Folder for reference.fa, reads.bam, truth.vcf.gz, confident.bed and
        params.json.
    regions : sequence of str
        As ``--regions``; empty for all of `confident`.
    snp_rate, indel_rate, het_ratio : float, optional
        Planted sites per bp, heterozygous per homozygous ones; by default as
        `pileupcnn.simulate.planting.DENSE`.
    mask : bool
        Whether regions held out from training are left out.
    sample : str
    seed : int
    threads : int
    quiet : bool
        Whether there is no progress bar.

    Returns
    -------
    bool
        False if `output` held this very donor already.

    Raises
    ------
    PileupCNNError
        For everything a user can mend.
    """
    import dataclasses

    from pileupcnn.simulate.planting import DENSE, Planting, plant

    rates = {"snp_rate": snp_rate, "indel_rate": indel_rate, "het_ratio": het_ratio}
    given = {name: value for name, value in rates.items() if value is not None}
    planting = Planting(
        reads=tuple(map(Path, reads)),
        reference=Path(ref),
        truth=Path(truth),
        confident=Path(confident),
        regions=tuple(regions),
        mask=mask,
        population=dataclasses.replace(DENSE, **given),
        sample=sample,
        seed=seed,
    )
    with progress_bar(show=not quiet, unit="read") as progress:
        return plant(planting, Path(output), threads, progress)


@click.command("plant", short_help="Plant known variants into real reads.")
@reads_options
@click.option("--truth", required=True, help="Indexed VCF with the sample's real variants.")
@click.option("--confident", required=True, help="BED in which the truth is complete.")
@click.option("--output", required=True, help="Folder for reads, truth and changed reference.")
@regions_option
@click.option("--snp-rate", type=click.FloatRange(0, 0.01), help="SNPs per bp  [default: 0.0015]")
@click.option(
    "--indel-rate", type=click.FloatRange(0, 0.01), help="Indels per bp  [default: 0.0006]"
)
@click.option(
    "--het-ratio", type=click.FloatRange(0), help="Heterozygous per homozygous  [default: 1.6]"
)
@click.option(
    "--mask/--no-mask",
    default=True,
    help="Leave out the regions held out for testing  [default: --mask]",
)
@click.option("--sample", default="PLANTED", show_default=True, help="Name in the new files.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@threads_option
@quiet_option
def plant(output: str, quiet: bool, **options: object) -> None:
    """Plant known variants into real reads: a half-real donor (needs bwa).

    Homozygous ones change the reference under the reads, heterozygous ones are written into
    half of the fragments; then the reads are aligned again. Errors, qualities and mapping
    qualities stay real. None is planted within 300 bp of a real variant. The folder holds
    reference.fa, reads.bam, truth.vcf.gz and confident.bed, each region a contig of its own.
    """
    made = run_plant(output=output, quiet=quiet, **options)  # type: ignore[arg-type]
    if not quiet:
        click.echo(f"{output}: {'planted' if made else 'already there, kept'}", err=True)
