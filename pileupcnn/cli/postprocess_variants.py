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
    from pileupcnn.reads import DEFAULT_SAMPLE
    from pileupcnn.reference import Reference
    from pileupcnn.stages.postprocess_variants import inspect, records, sample_of
    from pileupcnn.tfrecords import find_shards
    from pileupcnn.vcf import VcfWriter

    with Reference(ref) as reference:
        contigs = reference.lengths
    files = [inspect(path, contigs) for path in find_shards([*inputs, *small_model_calls])]
    name = sample_of(files)
    count = 0
    source = f"pileupcnn {__version__}"
    with VcfWriter(
        output,
        sample or name or DEFAULT_SAMPLE,
        contigs,
        source,
        with_model_ids=bool(small_model_calls) or any(file.has_model_ids for file in files),
    ) as writer:
        for record in records(files, contigs):
            writer.write(record)
            count += 1
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
    help="VCF to write: .vcf, .vcf.gz (with .tbi) or .bcf (with .csi); - is stdout.",
)
@click.option("--sample", help="Sample's name in the VCF.  [default: the inputs' own]")
@common.quiet_option
def postprocess_variants(
    ref: str,
    inputs: tuple[str, ...],
    small_model_calls: tuple[str, ...],
    output: str,
    sample: str | None,
    quiet: bool,
) -> None:
    """Gather the network's answers for one sample into a VCF.

    Reads DeepVariant's files, too.
    """
    count = run_postprocess_variants(
        ref, inputs, output, small_model_calls=small_model_calls, sample=sample
    )
    if not quiet:
        logger.info(f"records: {count:,}")
