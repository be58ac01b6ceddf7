"""``pileupcnn call``: aligned reads to a VCF, in one stream."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pileupcnn.cli import common

if TYPE_CHECKING:
    from pileupcnn.calling import CallRun
    from pileupcnn.model import Model
    from pileupcnn.scanning import Statistics

logger = logging.getLogger(__name__)

RECORD_SUFFIXES = (".tfrecord", ".tfrecord.gz")
"""Outputs that ``postprocess-variants`` reads."""


def run_call(
    ref: str | Path,
    reads: Sequence[str | Path],
    output: str | Path,
    *,
    regions: Sequence[str] = (),
    model: str | Path | None = None,
    sample: str | None = None,
    gvcf: str | Path | None = None,
    gvcf_gq_binsize: int | None = None,
    haploid_contigs: Sequence[str] = (),
    par_regions: str | Path | None = None,
    task: str | None = None,
    threads: int = 1,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    deepvariant_compat: bool = False,
    small_model: bool = True,
    population_vcf: Sequence[str | Path] = (),
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
        ``.vcf``, ``.vcf.gz`` or ``.bcf``; ``-`` for text on standard output;
        ``.tfrecord`` or ``.tfrecord.gz`` for `run_postprocess_variants`.
    regions : sequence of str
        ``contig:start-end`` (1-based) or BED files; empty for all contigs.
    model : path, optional
        Directory of a model bundle, or of a SavedModel that DeepVariant released
        (its graph is executed); the package's own bundle by default.
    sample : str, optional
        Which sample, where the reads hold several; else its name in the output.
    gvcf : path, optional
        Write a gVCF, too: a name like that of `output`, which decides whether
        both are VCFs or both for `run_postprocess_variants`.
    gvcf_gq_binsize : int, optional
        Width of the bins of GQ in which positions share a block of the gVCF.
    haploid_contigs : sequence of str
        Contigs of which there is one copy; commas or blanks separate several in one.
    par_regions : path, optional
        BED of their regions of which there are two.
    task : str, optional
        ``K/N`` to do only the blocks ``i`` with ``i % N == K``.
    threads : int
        Threads in all.
    batch_size : int, optional
        Images classified at once; by default what suits the engine.
    device : {"auto", "cpu", "gpu"}
    deepvariant_compat : bool
        Drop candidates whose image would leave the contig.
    small_model : bool
        Let the model's small model answer, if it has one.
    population_vcf : sequence of path
        For models that see allele frequencies: VCF or BCF with INFO/AF, one for
        all contigs or one for each.
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
    from pileupcnn import calling
    from pileupcnn.classifiers import load_classifier, load_model
    from pileupcnn.errors import OptionError
    from pileupcnn.scanning import Statistics

    part = calling.Task(*common.parse_task(task)) if task else calling.Task()
    to_records = _is_record_file(output)
    if task and not to_records:
        raise OptionError(
            f"--output {output}: variants of several tasks may overlap, so a --task writes no VCF; "
            "end the name in .tfrecord.gz and give the files of all tasks to "
            "'pileupcnn postprocess-variants'"
        )
    if gvcf is not None and _is_record_file(gvcf) != to_records:
        raise OptionError(
            f"--gvcf {gvcf}: --output {output} is {'no' if not to_records else 'a'} file for "
            "postprocess-variants; end both names in .tfrecord.gz, or both in .vcf.gz"
        )
    common.check_distinct(("--output", output), ("--gvcf", gvcf))
    network = load_model(model)
    if not small_model:
        network = network.without_small_model()
    settings = common.override_settings(network, overrides or {})
    inputs = common.open_inputs(
        ref, reads, settings, sample, regions, population_vcf, network.small_model
    )
    haploid = common.haploid_regions(haploid_contigs, par_regions, inputs.reference_contigs)
    confidence = common.reference_confidence(gvcf, gvcf_gq_binsize, haploid)
    total = sum(map(len, inputs.regions))
    statistics = Statistics()
    done = 0

    def report(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done, total // part.count)

    def make_run() -> CallRun:
        with statistics.timed("start"):
            classifier = load_classifier(network, device, threads, batch_size)
        return calling.CallRun(
            reads,
            ref,
            settings,
            inputs.sample,
            classifier,
            network.joint,
            inputs.regions,
            part,
            threads=threads,
            drop_at_ends=deepvariant_compat,
            small_model=network.small_model,
            confidence=confidence,
            haploid=haploid,
            population=population_vcf,
            survey=inputs.survey,
            progress=report,
        )

    if to_records:
        _write_outputs(output, gvcf, make_run, statistics)
    else:
        _write_vcf(output, gvcf, make_run, statistics, inputs, network)
    return statistics


def _is_record_file(output: str | Path) -> bool:
    """Whether an output, or the shard of one, is a TFRecord file by its name."""
    from pileupcnn.tfrecords import Shards

    shard = Shards.parse_file(output)
    return (f"{shard[0].stem}{shard[0].suffix}" if shard else str(output)).endswith(RECORD_SUFFIXES)


def _write_vcf(
    output: str | Path,
    gvcf: str | Path | None,
    make_run: Callable[[], CallRun],
    statistics: Statistics,
    inputs: common.ReadInputs,
    model: Model,
) -> None:
    """The records as a VCF; that it can be written is seen before the network is loaded."""
    from pileupcnn import __version__
    from pileupcnn.gvcf import VariantFiles, make_way
    from pileupcnn.reference import Reference

    source = f"pileupcnn {__version__} model={model.name} sha256={model.sha256}"
    with (
        Reference(inputs.reference) as reference,
        VariantFiles(
            output,
            gvcf,
            inputs.sample,
            inputs.reference_contigs,
            source,
            with_model_ids=model.small_model is not None,
        ) as files,
    ):
        run = make_run()
        with closing(run.records(statistics)) as stream:
            for item in make_way(stream, reference.base):
                with statistics.timed("write"):
                    files.write(item)


def _write_outputs(
    output: str | Path,
    gvcf: str | Path | None,
    make_run: Callable[[], CallRun],
    statistics: Statistics,
) -> None:
    """The network's answers and any reference blocks, for ``postprocess-variants``."""
    from pileupcnn.tfrecords import RecordWriter

    with ExitStack() as stack:
        answers = stack.enter_context(RecordWriter(output))
        reference = None if gvcf is None else stack.enter_context(RecordWriter(gvcf))
        stream = stack.enter_context(closing(make_run().outputs(statistics)))
        for encoded in stream:
            with statistics.timed("write"):
                if isinstance(encoded, bytes):
                    answers.write(encoded)
                elif reference is not None:
                    for block in encoded:
                        reference.write(block)
        for writer in filter(None, (answers, reference)):
            writer.complete()


@click.command()
@common.reads_options
@click.option(
    "--output",
    "-o",
    required=True,
    help="VCF to write: .vcf, .vcf.gz (with .tbi or .csi) or .bcf (with .csi); - is stdout. Or "
    ".tfrecord[.gz], for postprocess-variants.",
)
@common.regions_option
@common.model_option
@common.sample_option
@click.option(
    "--gvcf",
    help="gVCF to write, too: .vcf, .vcf.gz or .bcf; or .tfrecord[.gz] where --output is one.",
)
@common.binsize_option
@common.haploid_options
@click.option(
    "--task", metavar="K/N", help="Do part K (from 0) of N, into a .tfrecord[.gz].  [default: all]"
)
@common.threads_option
@common.network_options
@common.compat_option
@common.small_model_option
@common.population_option
@common.quiet_option
@common.setting_options
def call(
    ref: str,
    reads: tuple[str, ...],
    output: str,
    regions: tuple[str, ...],
    model: str | None,
    sample: str | None,
    gvcf: str | None,
    gvcf_gq_binsize: int | None,
    haploid_contigs: tuple[str, ...],
    par_regions: str | None,
    task: str | None,
    threads: int,
    batch_size: int | None,
    device: Literal["auto", "cpu", "gpu"],
    deepvariant_compat: bool,
    small_model: bool,
    population_vcf: tuple[str, ...],
    quiet: bool,
    **overrides: Any,
) -> None:
    """Call small variants: aligned reads of one sample to a VCF.

    One stream, no intermediate files; the same bytes for any number of threads.
    """
    with common.progress_bar(show=not quiet) as progress:
        statistics = run_call(
            ref,
            reads,
            output,
            regions=regions,
            model=model,
            sample=sample,
            gvcf=gvcf,
            gvcf_gq_binsize=gvcf_gq_binsize,
            haploid_contigs=haploid_contigs,
            par_regions=par_regions,
            task=task,
            threads=threads,
            batch_size=batch_size,
            device=device,
            deepvariant_compat=deepvariant_compat,
            small_model=small_model,
            population_vcf=population_vcf,
            overrides=common.given(overrides),
            progress=progress,
        )
    if not quiet:
        for line in common.summary(statistics, "records"):
            logger.info(line)
