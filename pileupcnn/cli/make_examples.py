"""``pileupcnn make-examples``: aligned reads to files of images, the first of three stages."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pileupcnn.cli import common

if TYPE_CHECKING:
    from pileupcnn.labels import ClassField, Scheme, Truth
    from pileupcnn.regions import Region
    from pileupcnn.scanning import Statistics

logger = logging.getLogger(__name__)


def run_make_examples(
    ref: str | Path,
    reads: Sequence[str | Path],
    examples: str | Path,
    *,
    candidates: str | Path | None = None,
    small_model_calls: str | Path | None = None,
    gvcf: str | Path | None = None,
    gvcf_gq_binsize: int | None = None,
    haploid_contigs: Sequence[str] = (),
    par_regions: str | Path | None = None,
    regions: Sequence[str] = (),
    task: int | None = None,
    shard_scheme: Literal["blocks", "deepvariant"] = "blocks",
    truth: str | Path | None = None,
    confident: str | Path | None = None,
    labeler: Scheme | None = None,
    classes: str | None = None,
    classes_field: str | None = None,
    model: str | Path | None = None,
    sample: str | None = None,
    threads: int = 1,
    deepvariant_compat: bool = False,
    small_model: bool = True,
    population_vcf: Sequence[str | Path] = (),
    overrides: dict[str, Any] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> Statistics:
    """Write images of one sample's candidates.

    Parameters
    ----------
    ref, reads, regions, model, sample, threads, deepvariant_compat, small_model,
    population_vcf, progress
        As for `run_call`.
    overrides : dict, optional
        As for `run_call`, and settings of the image; else the model's decide what is drawn.
    examples : path
        TFRecord file, or ``name@N[.ext]`` for N of them; compressed if it ends
        in ``.gz``.
    candidates : path, optional
        As many files for the candidates (DeepVariantCall).
    small_model_calls : path, optional
        As many files for the answers of the model's small model, without any if
        it has none; by default beside the examples if it has one, in
        ``NAME_call_variant_outputs.ext``. Not with a truth.
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
    labeler : {"haplotype", "positional"}, optional
        How candidates get their true genotypes.
    classes, classes_field : str, optional
        Both or none: label with one of these classes (comma-separated, three
        at most), which the truth has in this INFO field.

    Returns
    -------
    Statistics
        Its `records` are the examples.

    Raises
    ------
    PileupCNNError
        If something the user can mend is wrong; then nothing is written.
    """
    from pileupcnn.classifiers import load_model
    from pileupcnn.errors import OptionError
    from pileupcnn.labels import DEFAULT_SCHEME
    from pileupcnn.scanning import Statistics
    from pileupcnn.simulate.run import refuse_scoring
    from pileupcnn.stages.make_examples import ExampleRun

    outputs = {
        "--examples": examples,
        "--candidates": candidates,
        "--small-model-calls": small_model_calls,
        "--gvcf": gvcf,
    }
    example_files, candidate_files, answer_files, block_files = _outputs(outputs, task)
    for option, path in (("--gvcf", gvcf), ("--small-model-calls", small_model_calls)):
        if path is not None and truth is not None:
            raise OptionError(f"{option} is for calling, --truth for training; give one of them")
    if (truth is None) != (confident is None):
        raise OptionError("--truth and --confident go together: give both, or none of them")
    if truth is None and (classes or classes_field or labeler):
        raise OptionError("--labeler and --classes are for labels: give --truth and --confident")
    own_classes = _own_classes(classes, classes_field, labeler)
    chosen = load_model(model)
    if not small_model:
        chosen = chosen.without_small_model()
    answering = chosen.small_model if truth is None else None
    if answering and not answer_files:
        answer_files = _beside(example_files)
    settings = common.override_settings(chosen, overrides or {}, new_model=truth is not None)
    inputs = common.open_inputs(ref, reads, settings, sample, regions, population_vcf, answering)
    haploid = common.haploid_regions(haploid_contigs, par_regions, inputs.reference_contigs)
    confidence = common.reference_confidence(gvcf, gvcf_gq_binsize, haploid)
    known, wanted = None, inputs.regions
    if truth is not None and confident is not None:
        for path in reads:
            refuse_scoring(path)
        known, wanted = _labelled(
            Path(truth), Path(confident), inputs, settings.reads.partition_size
        )
        known = replace(known, scheme=labeler or DEFAULT_SCHEME, classes=own_classes)
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
        chosen.joint,
        known,
        threads=threads,
        drop_at_ends=deepvariant_compat,
        small_model=answering,
        confidence=confidence,
        population=population_vcf,
        survey=inputs.survey,
        progress=report,
    ).write(
        example_files,
        candidate_files,
        statistics,
        small_model_calls=answer_files,
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


def _own_classes(
    classes: str | None, field: str | None, labeler: Scheme | None
) -> ClassField | None:
    """What --classes and --classes-field say."""
    from pileupcnn.errors import OptionError
    from pileupcnn.labels import ClassField
    from pileupcnn.messages.convert import LABELS

    if classes is None and field is None:
        return None
    if classes is None or field is None:
        raise OptionError("--classes and --classes-field go together: give both, or none of them")
    if labeler is not None:
        raise OptionError("--labeler is for genotypes, --classes need none; leave one of them out")
    names = tuple(classes.split(","))
    if not 2 <= len(names) <= LABELS or len(set(names)) < len(names) or not all(names):
        raise OptionError(
            f"--classes {classes}: give two or {LABELS} names, all different, with commas between"
        )
    return ClassField(field, names)


def _beside(examples: Sequence[Path]) -> list[Path]:
    """Files for the small model's answers beside files of examples, named as DeepVariant does."""
    from pileupcnn.errors import OptionError
    from pileupcnn.tfrecords import Shards

    files = []
    for path in examples:
        # the number of a shard may come before the suffix, or after it
        shard = Shards.parse_file(path)
        whole = Path(shard[0].stem) if shard else path
        stem = whole.name.partition(".")[0]
        calls = path.with_name(f"{stem}_call_variant_outputs{path.name.removeprefix(stem)}")
        if path.exists() and not path.is_file():
            if str(path) != os.devnull:
                raise OptionError(
                    f"--examples {path}: the model's small model writes a file beside it, and this "
                    "is no regular file; name one with --small-model-calls"
                )
            calls = path
        files.append(calls)
    return files


def _labelled(
    truth: Path, confident: Path, inputs: common.ReadInputs, partition_size: int
) -> tuple[Truth, list[Region]]:
    """The truth, and the regions' partitions of which it knows something."""
    from pileupcnn.errors import InputError
    from pileupcnn.labels import ConfidentRegions, Truth
    from pileupcnn.regions import read_bed
    from pileupcnn.vcf import TruthReader

    contigs = list(inputs.contigs)
    TruthReader(truth, contigs).close()
    bed = ConfidentRegions(read_bed(confident, inputs.contigs))
    known = ConfidentRegions(bed.intersect(inputs.regions))
    wanted = known.cover(inputs.regions, partition_size)
    if not wanted:
        raise InputError(
            f"{confident}: no interval on a contig of the reads within the regions; compare the "
            "contig names"
        )
    return Truth(truth, tuple(contigs), known), wanted


@click.command()
@common.reads_options
@click.option(
    "--examples",
    required=True,
    help="TFRecord file to write, or name@N[.gz] for N shards; compressed by the suffix .gz.",
)
@click.option("--candidates", help="Write the candidates, too: as many files as --examples.")
@click.option(
    "--small-model-calls",
    help="Files for what the model's small model answers, as many as --examples.  [default: beside "
    "these if it has one, NAME_call_variant_outputs]",
)
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
    help="How the genome is dealt out to shards; deepvariant: in single partitions, which "
    "postprocess-variants has to sort in memory.",
)
@click.option("--truth", help="Indexed VCF or BCF with genotypes: examples get labels.")
@click.option("--confident", help="BED: where the truth is complete.")
@common.labeler_option
@click.option(
    "--classes",
    help="Labels are places in this list (a,b,c), not genotypes; the first: no variant.",
)
@click.option("--classes-field", help="INFO field of the truth that names the class.")
@common.model_option
@common.sample_option
@common.threads_option
@common.compat_option
@common.small_model_option
@common.population_option
@common.quiet_option
@common.setting_options
@common.pileup_options
def make_examples(
    ref: str,
    reads: tuple[str, ...],
    examples: str,
    candidates: str | None,
    small_model_calls: str | None,
    gvcf: str | None,
    gvcf_gq_binsize: int | None,
    haploid_contigs: tuple[str, ...],
    par_regions: str | None,
    regions: tuple[str, ...],
    task: int | None,
    shard_scheme: Literal["blocks", "deepvariant"],
    truth: str | None,
    confident: str | None,
    labeler: Scheme | None,
    classes: str | None,
    classes_field: str | None,
    model: str | None,
    sample: str | None,
    threads: int,
    deepvariant_compat: bool,
    small_model: bool,
    population_vcf: tuple[str, ...],
    quiet: bool,
    **overrides: Any,
) -> None:
    """Draw images of candidate variants into TFRecord files of tf.Examples.

    The model decides what is drawn; it is not run. Beside each file lies
    FILE.example_info.json, which call-variants needs.
    """
    with common.progress_bar(show=not quiet) as progress:
        statistics = run_make_examples(
            ref,
            reads,
            examples,
            candidates=candidates,
            small_model_calls=small_model_calls,
            gvcf=gvcf,
            gvcf_gq_binsize=gvcf_gq_binsize,
            haploid_contigs=haploid_contigs,
            par_regions=par_regions,
            regions=regions,
            task=task,
            shard_scheme=shard_scheme,
            truth=truth,
            confident=confident,
            labeler=labeler,
            classes=classes,
            classes_field=classes_field,
            model=model,
            sample=sample,
            threads=threads,
            deepvariant_compat=deepvariant_compat,
            small_model=small_model,
            population_vcf=population_vcf,
            overrides=common.given(overrides),
            progress=progress,
        )
    if not quiet:
        for line in common.summary(statistics, "examples"):
            logger.info(line)
        if statistics.answered:
            logger.info("postprocess-variants needs those, too, as --small-model-calls")
