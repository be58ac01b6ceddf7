"""``pileupcnn simulate``: a donor with known variants, its reads aligned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pileupcnn.cli.common import progress_bar, quiet_option, threads_option


def run_simulate(
    ref: str | Path,
    output: str | Path,
    *,
    regions: Sequence[str] = (),
    truth: str | Path | None = None,
    population: bool | None = None,
    snp_rate: float = 1e-3,
    indel_rate: float = 1 / 7000,
    duplications: int = 0,
    contamination: float = 0.0,
    depth: float = 30.0,
    profile: str | None = None,
    read_length: int | None = None,
    insert_mean: float | None = None,
    insert_sd: float | None = None,
    qualities_from: str | None = None,
    error_scale: float = 1.0,
    pcr: bool = False,
    stutter_scale: float | None = None,
    foreign_rate: float | None = None,
    duplicate_rate: float | None = None,
    imbalance: float | None = None,
    low_mapping_quality: float | None = None,
    mask: bool = True,
    bwa_index: str | Path | None = None,
    sample: str = "SIM",
    seed: int = 1,
    threads: int = 1,
    quiet: bool = True,
    for_scoring: bool = False,
) -> bool:
    """Simulate a donor and its aligned reads.

    Parameters
    ----------
    ref : path
        Indexed FASTA, plain or bgzipped.
    output : path
        Folder for reads.bam, truth.vcf.gz, confident.bed and params.json.
    regions : sequence of str
        As ``--regions``; empty for all contigs.
    truth : path, optional
        Indexed VCF whose first sample's variants the donor has.
    population : bool, optional
        Whether variants are invented; by default only without `truth`.
    snp_rate, indel_rate : float
        Invented sites per bp.
    duplications : int
        Segments with a diverged second copy that the reference lacks.
    contamination : float
        Share of the reads that are another, invented person's.
    profile : str, optional
        File of ``pileupcnn profile``, or a built-in one's name.
    depth, read_length, insert_mean, insert_sd, error_scale, pcr, stutter_scale, foreign_rate, \
duplicate_rate, imbalance, low_mapping_quality
        As `pileupcnn.simulate.libraries.SequencingSettings`.
    qualities_from : str, optional
        BAM or CRAM (with ``:region``) whose quality strings are used.
    mask : bool
        Whether regions held out from training are left out.
    bwa_index : path, optional
        Folder for bwa's index; by default ``bwa-index`` beside `output`.
    sample : str
    seed : int
    threads : int
    quiet : bool
        Whether there is no progress bar.
    for_scoring : bool
        Whether held-out regions are simulated all the same; training refuses
        such a donor.

    Returns
    -------
    bool
        False if `output` held this very donor already.

    Raises
    ------
    PileupCNNError
        For everything a user can mend.
    """
    from pileupcnn.simulate.donor import DonorSettings
    from pileupcnn.simulate.libraries import SequencingSettings
    from pileupcnn.simulate.population import PopulationSettings
    from pileupcnn.simulate.run import Simulation, simulate

    if population is None:
        population = truth is None
    rates = PopulationSettings(snp_rate=snp_rate, indel_rate=indel_rate)
    output = Path(output)
    simulation = Simulation(
        reference=Path(ref),
        regions=tuple(regions),
        mask=mask,
        donor=DonorSettings(
            truth=None if truth is None else Path(truth),
            population=rates if population else None,
            duplications=duplications,
            contamination=contamination,
        ),
        sequencing=SequencingSettings(
            depth=depth,
            read_length=read_length,
            insert_mean=insert_mean,
            insert_sd=insert_sd,
            error_scale=error_scale,
            pcr=pcr,
            stutter_scale=stutter_scale,
            foreign_rate=foreign_rate,
            duplicate_rate=duplicate_rate,
            imbalance=imbalance,
            low_mapping_quality=low_mapping_quality,
        ),
        profile=profile,
        qualities_from=qualities_from,
        sample=sample,
        seed=seed,
        for_scoring=for_scoring,
    )
    cache = output.absolute().parent / "bwa-index" if bwa_index is None else Path(bwa_index)
    with progress_bar(show=not quiet, unit="read") as progress:
        return simulate(simulation, output, cache, threads, progress)


@click.command("simulate", short_help="Simulate a donor with known variants and its reads.")
@click.option("--ref", required=True, help="Indexed FASTA, plain or bgzipped.")
@click.option("--output", required=True, help="Folder for reads, truth and confident regions.")
@click.option("--regions", multiple=True, help="contig:start-end or a BED file; repeatable.")
@click.option("--truth", help="Indexed VCF whose first sample's variants the donor has.")
@click.option(
    "--population/--no-population",
    default=None,
    help="Invent variants [default: only without --truth].",
)
@click.option(
    "--snp-rate",
    type=click.FloatRange(0, 0.01),
    default=1e-3,
    show_default=True,
    help="Invented SNPs per bp.",
)
@click.option(
    "--indel-rate",
    type=click.FloatRange(0, 0.01),
    default=1 / 7000,
    show_default="1/7000",
    help="Invented indels per bp.",
)
@click.option(
    "--duplications",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Segments with a diverged second copy that the reference lacks.",
)
@click.option(
    "--contamination",
    type=click.FloatRange(0, 0.5),
    default=0.0,
    show_default=True,
    help="Share of the reads that are another, invented person's.",
)
@click.option("--depth", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True)
@click.option(
    "--profile",
    help="Library learned from real reads: a file of 'pileupcnn profile', or hiseqx or novaseq "
    "[default: plain settings].",
)
@click.option(
    "--read-length", type=click.IntRange(30, 500), help="[default: the profile's, or 150]"
)
@click.option("--insert-mean", type=click.FloatRange(30), help="[default: the profile's, or 450]")
@click.option("--insert-sd", type=click.FloatRange(0), help="[default: the profile's, or 100]")
@click.option(
    "--qualities-from",
    metavar="BAM[:REGION]",
    help="Without a profile: take whole quality strings from these reads [default: HiSeq X like].",
)
@click.option(
    "--error-scale",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Factor on the substitution errors of the profile, or that the qualities claim.",
)
@click.option(
    "--pcr/--pcr-free",
    default=False,
    help="Without a profile: whether the library was amplified, so that repeats stutter ten times "
    "as much [default: --pcr-free].",
)
@click.option(
    "--stutter-scale",
    type=click.FloatRange(0),
    help="Factor on slips in repeats [default: 1 with a profile, else drawn from 0.5 to 2].",
)
@click.option(
    "--foreign-rate",
    type=click.FloatRange(0, 1),
    help="Share of reads with an end from elsewhere [default: the profile's, or 0].",
)
@click.option(
    "--duplicate-rate",
    type=click.FloatRange(0, 0.9),
    help="Share of fragments that are unmarked duplicates [default: the profile's, or 0].",
)
@click.option(
    "--imbalance",
    type=click.FloatRange(0, 2),
    help="Deviation of the logarithm of each haplotype's depth [default: the profile's, or 0].",
)
@click.option(
    "--low-mapping-quality",
    type=click.FloatRange(0, 0.5),
    help="Share of reads with a low MAPQ, in stretches [default: the profile's, or 0].",
)
@click.option(
    "--mask/--no-mask",
    default=True,
    help="Leave out the GRCh38 regions held out for testing [default: --mask].",
)
@click.option(
    "--for-scoring",
    is_flag=True,
    help="Cover regions held out for testing, too; nothing can be trained on the donor.",
)
@click.option("--bwa-index", help="Folder for bwa's index [default: bwa-index beside --output].")
@click.option("--sample", default="SIM", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@threads_option
@quiet_option
def simulate(output: str, quiet: bool, **options: object) -> None:
    """Simulate a donor with known variants and its aligned reads (needs bwa).

    Writes reads.bam, truth.vcf.gz and confident.bed with their indexes. A folder that
    already holds the donor with these options is kept. The same seed gives the same files.
    """
    made = run_simulate(output=output, quiet=quiet, **options)  # type: ignore[arg-type]
    if not quiet:
        click.echo(f"{output}: {'simulated' if made else 'already there, kept'}", err=True)
