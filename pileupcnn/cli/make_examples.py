"""``pileupcnn make-examples``: aligned reads to files of images, the first of three stages."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pileupcnn.cli import common

if TYPE_CHECKING:
    from pileupcnn.calling import Statistics
    from pileupcnn.regions import Region
    from pileupcnn.stages.make_examples import Truth

logger = logging.getLogger(__name__)


def run_make_examples(
    ref: str | Path,
    reads: Sequence[str | Path],
    examples: str | Path,
    *,
    candidates: str | Path | None = None,
    gvcf: str | Path | None = None,
    gvcf_gq_binsize: int | None = None,
    haploid_contigs: Sequence[str] = (),
    par_regions: str | Path | None = None,
    regions: Sequence[str] = (),
    task: int | None = None,
    shard_scheme: Literal["blocks", "deepvariant"] = "blocks",
    truth: str | Path | None = None,
    confident: str | Path | None = None,
    model: str | Path | None = None,
    sample: str | None = None,
    threads: int = 1,
    deepvariant_compat: bool = False,
    overrides: dict[str, Any] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Statistics:
    """Write images of one sample's candidates.

    Parameters
    ----------
    ref, reads, regions, model, sample, threads, deepvariant_compat, overrides, progress
        As for `run_call`; the model's settings decide what is drawn.
    examples : path
        TFRecord file, or ``name@N[.ext]`` for N of them; compressed if it ends
        in ``.gz``.
    candidates : path, optional
        As many files for the candidates (DeepVariantCall).
    gvcf : path, optional
        As many files for reference-confidence blocks (Variant), of which and of
        the calls `run_postprocess_variants` makes a gVCF.
    gvcf_gq_binsize, haploid_contigs, par_regions
        As for `run_call`.
    task : int, optional
        Write only this one of the N files, counted from 0.
    shard_scheme : {"blocks", "deepvariant"}
        How the genome is dealt out: in blocks, which gives the very results of
        ``call``, or in single partitions, as DeepVariant does.
    truth, confident : path, optional
        Both or none: VCF and BED, for labelled examples.

    Returns
    -------
    Statistics
        Its `records` are the examples.

    Raises
    ------
    PileupCNNError
        If something the user can mend is wrong; then nothing is written.
    """
    from pileupcnn.calling import Statistics
    from pileupcnn.errors import OptionError
    from pileupcnn.model import DEFAULT_MODEL, load_bundle
    from pileupcnn.stages.make_examples import ExampleRun

    outputs = {"--examples": examples, "--candidates": candidates, "--gvcf": gvcf}
    example_files, candidate_files, block_files = _outputs(outputs, task)
    if gvcf is not None and truth is not None:
        raise OptionError("--gvcf is for calling, --truth for training; give one of them")
    if (truth is None) != (confident is None):
        raise OptionError("--truth and --confident go together: give both, or none of them")
    bundle = load_bundle(model or DEFAULT_MODEL)
    settings = common.override_settings(bundle, overrides or {})
    inputs = common.open_inputs(ref, reads, settings, sample, regions)
    haploid = common.haploid_regions(haploid_contigs, par_regions, inputs.reference_contigs)
    confidence = common.reference_confidence(gvcf, gvcf_gq_binsize, haploid)
    known, wanted = None, inputs.regions
    if truth is not None and confident is not None:
        known, wanted = _labelled(Path(truth), Path(confident), inputs)
    statistics = Statistics()
    total = sum(map(len, wanted)) // (1 if task is None else len(example_files))
    done = 0

    def report(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done, total)

    ExampleRun(
        reads,
        ref,
        settings,
        inputs.sample,
        wanted,
        known,
        threads=threads,
        drop_at_ends=deepvariant_compat,
        confidence=confidence,
        progress=report,
    ).write(
        example_files,
        candidate_files,
        statistics,
        reference_blocks=block_files,
        task=task,
        scheme=shard_scheme,
    )
    return statistics


def _outputs(outputs: Mapping[str, str | Path | None], task: int | None) -> list[list[Path]]:
    """Files of each output by its option, examples first; as many of each, or none."""
    from pileupcnn.errors import OptionError
    from pileupcnn.tfrecords import output_paths

    files = [[] if name is None else output_paths(name) for name in outputs.values()]
    examples, count = outputs["--examples"], len(files[0])
    for (option, name), paths in zip(outputs.items(), files, strict=True):
        if paths and len(paths) != count:
            raise OptionError(
                f"{option} {name}: {len(paths)} files, but --examples {examples} {count}; give "
                "both the same number of shards"
            )
    common.check_distinct(*outputs.items())
    if task is not None and task >= count:
        raise OptionError(
            f"--task {task}: --examples {examples} stands for {count} files, "
            "numbered from 0; give one of them, or more files as name@N"
        )
    return files


def _labelled(
    truth: Path, confident: Path, inputs: common.ReadInputs
) -> tuple[Truth, list[Region]]:
    """The truth, and where it is complete within the regions."""
    from pileupcnn.errors import InputError
    from pileupcnn.labels import ConfidentRegions
    from pileupcnn.regions import merge, read_bed
    from pileupcnn.stages.make_examples import Truth
    from pileupcnn.vcf import TruthReader

    contigs = list(inputs.contigs)
    TruthReader(truth, contigs).close()
    bed = ConfidentRegions(read_bed(confident, inputs.contigs))
    wanted = merge(bed.intersect(inputs.regions), contigs)
    if not wanted:
        raise InputError(
            f"{confident}: no interval on a contig of the reads within the regions; compare the "
            "contig names"
        )
    return Truth(truth, tuple(contigs), bed), wanted


@click.command()
@common.reads_options
@click.option(
    "--examples",
    required=True,
    help="TFRecord file to write, or name@N[.gz] for N shards; compressed by the suffix .gz.",
)
@click.option("--candidates", help="Write the candidates, too: as many files as --examples.")
@click.option(
    "--gvcf",
    help="Write reference blocks for a gVCF, too, for postprocess-variants: as many files.",
)
@common.binsize_option
@common.haploid_options
@common.regions_option
@click.option("--task", type=click.IntRange(0), help="Write this shard only.  [default: all]")
@click.option(
    "--shard-scheme",
    type=click.Choice(["blocks", "deepvariant"]),
    default="blocks",
    show_default=True,
    help="How the genome is dealt out to shards; deepvariant: in single partitions.",
)
@click.option("--truth", help="Indexed VCF or BCF with genotypes: examples get labels.")
@click.option("--confident", help="BED: where the truth is complete.")
@common.model_option
@common.sample_option
@common.threads_option
@common.compat_option
@common.quiet_option
@common.setting_options
def make_examples(
    ref: str,
    reads: tuple[str, ...],
    examples: str,
    candidates: str | None,
    gvcf: str | None,
    gvcf_gq_binsize: int | None,
    haploid_contigs: tuple[str, ...],
    par_regions: str | None,
    regions: tuple[str, ...],
    task: int | None,
    shard_scheme: Literal["blocks", "deepvariant"],
    truth: str | None,
    confident: str | None,
    model: str | None,
    sample: str | None,
    threads: int,
    deepvariant_compat: bool,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Draw images of candidate variants into TFRecord files of tf.Examples.

    The model decides what is drawn; it is not run. Beside each file lies
    FILE.example_info.json, which call-variants needs.
    """
    with common.progress_bar(show=sys.stderr.isatty() and not quiet) as progress:
        statistics = run_make_examples(
            ref,
            reads,
            examples,
            candidates=candidates,
            gvcf=gvcf,
            gvcf_gq_binsize=gvcf_gq_binsize,
            haploid_contigs=haploid_contigs,
            par_regions=par_regions,
            regions=regions,
            task=task,
            shard_scheme=shard_scheme,
            truth=truth,
            confident=confident,
            model=model,
            sample=sample,
            threads=threads,
            deepvariant_compat=deepvariant_compat,
            overrides=common.given(overrides),
            progress=progress,
        )
    if not quiet:
        for line in common.summary(statistics, "examples"):
            logger.info(line)
