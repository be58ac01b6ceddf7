"""``pileupcnn postprocess-variants``: the network's answers to a VCF, the last of three stages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from pileupcnn.cli import common

logger = logging.getLogger(__name__)


def run_postprocess_variants(
    ref: str | Path,
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    small_model_calls: Sequence[str | Path] = (),
    nonvariant: Sequence[str | Path] = (),
    gvcf: str | Path | None = None,
    haploid_contigs: Sequence[str] = (),
    par_regions: str | Path | None = None,
    sample: str | None = None,
) -> int:
    """Make the records of a VCF from what the network said.

    Parameters
    ----------
    ref : path
        Indexed FASTA; its contigs are those of the header.
    inputs : sequence of path
        Files, or names of shards as `tfrecords.find_shards` takes them, in any
        order; shards must be complete.
    output : path
        As for `run_call`.
    small_model_calls : sequence of path
        What the small model said instead, likewise.
    nonvariant : sequence of path
        Files of reference-confidence blocks, named like `inputs`; with `gvcf`.
    gvcf : path, optional
        Another such output: the gVCF.
    haploid_contigs, par_regions
        As for `run_call`.
    sample : str, optional
        Name in the output; by default the inputs' own.

    Returns
    -------
    int
        Records.

    Raises
    ------
    PileupCNNError
        If something the user can mend is wrong; then nothing is written.
    """
    from pileupcnn import __version__
    from pileupcnn.errors import InputError, OptionError
    from pileupcnn.gvcf import VariantFiles, make_way
    from pileupcnn.reads import DEFAULT_SAMPLE
    from pileupcnn.reference import Reference
    from pileupcnn.stages.postprocess_variants import (
        inspect,
        records,
        sample_of,
        sample_of_blocks,
    )
    from pileupcnn.tfrecords import find_shards
    from pileupcnn.vcf import Record

    if (gvcf is None) != (not nonvariant):
        raise OptionError("--nonvariant and --gvcf go together: give both, or none of them")
    common.check_distinct(("--output", output), ("--gvcf", gvcf))
    with Reference(ref) as reference:
        contigs = reference.lengths
        haploid = common.haploid_regions(haploid_contigs, par_regions, contigs)
        blocks = find_shards(nonvariant) if nonvariant else []
        files = [inspect(path, contigs) for path in find_shards([*inputs, *small_model_calls])]
        partial = [file.path for file in files if file.has_small_model_calls]
        # they may be among the inputs, too
        given = small_model_calls or any(
            file.has_model_ids and not file.has_small_model_calls for file in files
        )
        if partial and not given:
            raise InputError(
                f"{partial[0]}: a small model answered for other images of this run; give what "
                "make-examples wrote beside the examples with --small-model-calls"
            )
        name = sample_of(files) or sample_of_blocks(blocks)
        count = 0
        stream = records(files, contigs, reference_blocks=blocks, sample=name, haploid=haploid)
        with VariantFiles(
            output,
            gvcf,
            sample or name or DEFAULT_SAMPLE,
            contigs,
            f"pileupcnn {__version__}",
            with_model_ids=bool(small_model_calls) or any(file.has_model_ids for file in files),
        ) as out:
            for item in make_way(stream, reference.base):
                out.write(item)
                count += isinstance(item, Record)
    return count


@click.command()
@click.option("--ref", required=True, help="Reference, indexed FASTA (plain or bgzipped).")
@click.option(
    "--input",
    "inputs",
    required=True,
    multiple=True,
    help="File that call-variants or call --task wrote, or name@N[.gz]; repeatable.",
)
@click.option(
    "--small-model-calls",
    multiple=True,
    help="File of the small model's answers, which make-examples wrote, or name@N[.gz]; "
    "repeatable.",
)
@click.option(
    "--output",
    "-o",
    required=True,
    help="VCF to write: .vcf, .vcf.gz (with .tbi or .csi) or .bcf (with .csi); - is stdout.",
)
@click.option(
    "--nonvariant",
    multiple=True,
    help="File that make-examples --gvcf or call --task --gvcf wrote, or name@N[.gz]; repeatable.",
)
@click.option("--gvcf", help="gVCF to write, too; as --output. Needs --nonvariant.")
@common.haploid_options
@click.option("--sample", help="Sample's name in the VCF.  [default: the inputs' own]")
@common.quiet_option
def postprocess_variants(
    ref: str,
    inputs: tuple[str, ...],
    small_model_calls: tuple[str, ...],
    output: str,
    nonvariant: tuple[str, ...],
    gvcf: str | None,
    haploid_contigs: tuple[str, ...],
    par_regions: str | None,
    sample: str | None,
    quiet: bool,
) -> None:
    """Gather the network's answers for one sample into a VCF, and a gVCF.

    Reads DeepVariant's files, too.
    """
    count = run_postprocess_variants(
        ref,
        inputs,
        output,
        small_model_calls=small_model_calls,
        nonvariant=nonvariant,
        gvcf=gvcf,
        haploid_contigs=haploid_contigs,
        par_regions=par_regions,
        sample=sample,
    )
    if not quiet:
        logger.info(f"records: {count:,}")
