"""``pileupcnn call``: aligned reads to a VCF, in one stream."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from pileupcnn.calling import Statistics
    from pileupcnn.examples import ExampleSettings
    from pileupcnn.model import Bundle

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
"""Images classified at once; part of what makes output reproducible."""


def run_call(
    ref: str | Path,
    reads: Sequence[str | Path],
    output: str | Path,
    *,
    regions: Sequence[str] = (),
    model: str | Path | None = None,
    sample: str | None = None,
    threads: int = 1,
    batch_size: int = BATCH_SIZE,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    deepvariant_compat: bool = False,
    overrides: dict[str, Any] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Statistics:
    """Call the variants of one sample.

    Parameters
    ----------
    ref : path
        Indexed FASTA, plain or bgzipped.
    reads : sequence of path
        Indexed BAM or CRAM files of one sample.
    output : path
        ``.vcf``, ``.vcf.gz`` or ``.bcf``; ``-`` for text on standard output.
    regions : sequence of str
        ``contig:start-end`` (1-based) or BED files; empty for all contigs.
    model : path, optional
        Directory of a model bundle; the one of the package by default.
    sample : str, optional
        Which sample, where the reads hold several; else its name in the output.
    threads : int
        Threads in all.
    batch_size : int
        Images classified at once.
    device : {"auto", "cpu", "gpu"}
    deepvariant_compat : bool
        Drop candidates whose image would leave the contig.
    overrides : dict, optional
        Reading settings to use in place of the model's, by name.
    progress : callable, optional
        Told base pairs done and in all, after each block.

    Returns
    -------
    Statistics
        Seconds by stage, reads skipped, candidates and records.

    Raises
    ------
    PileupCNNError
        If something the user can mend is wrong; then nothing is written.
    """
    from pileupcnn import __version__, calling
    from pileupcnn.examples import ExampleMaker
    from pileupcnn.model import DEFAULT_MODEL, Classifier, load_bundle
    from pileupcnn.reads import check_headers
    from pileupcnn.regions import resolve_regions
    from pileupcnn.vcf import VcfWriter

    bundle = load_bundle(model or DEFAULT_MODEL)
    settings = _override(bundle, overrides or {})
    with ExampleMaker(reads, ref, settings, sample) as maker:
        contigs, name = maker.contigs, maker.sample
        header_contigs = maker.reference.lengths
    wanted = resolve_regions(regions, contigs)
    for warning in check_headers(reads, ref, {region.contig for region in wanted}):
        logger.warning(warning)
    total = sum(map(len, wanted))
    statistics = calling.Statistics()
    done = 0

    def report(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done, total)

    source = f"pileupcnn {__version__} model={bundle.name} sha256={bundle.sha256}"
    with VcfWriter(output, name, header_contigs, source) as writer:
        with statistics.timed("start"):
            classifier = Classifier(bundle, device, threads, batch_size)
        stream = calling.call_blocks(
            reads,
            ref,
            name,
            settings,
            classifier,
            wanted,
            statistics,
            threads=threads,
            drop_at_ends=deepvariant_compat,
            progress=report,
        )
        with closing(stream):
            for record in stream:
                with statistics.timed("write"):
                    writer.write(record)
    return statistics


def _override(bundle: Bundle, overrides: dict[str, Any]) -> ExampleSettings:
    """The bundle's settings with some replaced, which is worth a warning."""
    settings = bundle.settings
    for name, value in overrides.items():
        for part in ("reads", "candidates"):
            group = getattr(settings, part)
            if hasattr(group, name):
                if getattr(group, name) != value:
                    logger.warning(
                        f"--{name.replace('_', '-')} {value}: the model was trained with "
                        f"{getattr(group, name)}, its probabilities may no longer hold"
                    )
                settings = dataclasses.replace(
                    settings, **{part: dataclasses.replace(group, **{name: value})}
                )
    return settings


def _summary(statistics: Statistics) -> list[str]:
    """What a run did, in lines."""
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in statistics.seconds.items())
    skipped = ", ".join(f"{value:,} {reason}" for reason, value in statistics.skipped.items())
    lines = [
        f"stage seconds: {stages}",
        f"GIL held: {statistics.gil_share:.1%} of block time at most",
        f"reads skipped: {skipped or 'none'}",
        f"candidates: {statistics.candidates:,}, records: {statistics.records:,}",
    ]
    if statistics.dropped:
        lines.append(f"candidates dropped at contig ends: {statistics.dropped:,}")
    return lines


@click.command()
@click.option("--ref", required=True, help="Reference, indexed FASTA (plain or bgzipped).")
@click.option(
    "--reads",
    required=True,
    multiple=True,
    help="Indexed BAM or CRAM; repeat for several files of one sample.",
)
@click.option(
    "--output",
    "-o",
    required=True,
    help="VCF to write: .vcf, .vcf.gz (with .tbi) or .bcf (with .csi); - is stdout.",
)
@click.option(
    "--regions",
    multiple=True,
    help="contig, contig:start-end (1-based) or BED file; repeatable.  [default: all]",
)
@click.option("--model", help="Directory of a model bundle.  [default: the package's own]")
@click.option("--sample", help="Sample to call, or the name to give it.  [default: from @RG]")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Threads in all, TensorFlow's too.",
)
@click.option(
    "--batch-size",
    default=BATCH_SIZE,
    show_default=True,
    type=click.IntRange(1),
    help="Images classified at once.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "gpu"]),
    help="Where the network runs.",
)
@click.option(
    "--deepvariant-compat", is_flag=True, help="Drop candidates whose image would leave the contig."
)
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option(
    "--min-mapping-quality",
    type=click.IntRange(0, 255),
    help="Smallest MAPQ of a read.  [default for this and below: the model's]",
)
@click.option("--min-base-quality", type=click.IntRange(0, 93), help="Bases below do not count.")
@click.option("--min-count-snps", type=click.IntRange(1), help="Fewest reads of a SNP allele.")
@click.option("--min-count-indels", type=click.IntRange(1), help="Fewest reads of an indel.")
@click.option(
    "--min-fraction-snps",
    type=click.FloatRange(0, 1),
    help="Smallest share of the reads of a SNP allele.",
)
@click.option(
    "--min-fraction-indels",
    type=click.FloatRange(0, 1),
    help="Smallest share of the reads of an indel.",
)
@click.option("--partition-size", type=click.IntRange(1), help="Length of a partition in bp.")
@click.option(
    "--max-reads-per-partition",
    type=click.IntRange(0),
    help="Cap by reservoir sampling; 0 for none.",
)
@click.option("--keep-duplicates/--no-keep-duplicates", default=None)
@click.option("--keep-secondary/--no-keep-secondary", default=None)
@click.option("--keep-supplementary/--no-keep-supplementary", default=None)
def call(
    ref: str,
    reads: tuple[str, ...],
    output: str,
    regions: tuple[str, ...],
    model: str | None,
    sample: str | None,
    threads: int,
    batch_size: int,
    device: Literal["auto", "cpu", "gpu"],
    deepvariant_compat: bool,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Call small variants: aligned reads of one sample to a VCF.

    One stream, no intermediate files; the same bytes for any number of threads.
    """
    from tqdm import tqdm

    show = sys.stderr.isatty() and not quiet
    with tqdm(unit="bp", unit_scale=True, disable=not show, smoothing=0.05) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        statistics = run_call(
            ref,
            reads,
            output,
            regions=regions,
            model=model,
            sample=sample,
            threads=threads,
            batch_size=batch_size,
            device=device,
            deepvariant_compat=deepvariant_compat,
            overrides={name: value for name, value in overrides.items() if value is not None},
            progress=progress,
        )
    if not quiet:
        for line in _summary(statistics):
            logger.info(line)
