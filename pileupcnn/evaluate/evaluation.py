"""A call set against a truth set, from files to counts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pileupcnn.errors import InputError
from pileupcnn.evaluate.matching import Judged, judge_contig
from pileupcnn.evaluate.reading import MAX_ALLELE, VariantStream
from pileupcnn.evaluate.summary import Summary
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reference import Reference
from pileupcnn.regions import read_bed

logger = logging.getLogger(__name__)


def judge(
    truth: str | Path,
    calls: str | Path,
    ref: str | Path,
    confident: ConfidentRegions | None,
) -> Iterator[list[Judged]]:
    """Judge every variant of both files, some thousands at a time.

    Parameters
    ----------
    truth, calls : path
        VCF or BCF; see `VariantStream` for what counts.
    ref : path
        Indexed FASTA that both were made on.
    confident : ConfidentRegions or None
        Where variants count; None for everywhere.

    Raises
    ------
    InputError
        If a file cannot be used, or they do not fit each other.
    """
    with (
        Reference(ref) as reference,
        VariantStream(truth, reference, "--truth", confident) as ours,
        VariantStream(calls, reference, "--calls") as theirs,
    ):
        if confident is not None:
            _check_regions(confident, reference)
        for contig in reference.lengths:
            yield from judge_contig(
                contig, ours.of(contig), theirs.of(contig), reference, confident
            )
        for stream in (ours, theirs):
            stream.finish()
            for number, what in (
                (stream.too_long, f"with alleles of more than {MAX_ALLELE:,} bp"),
                (stream.outside, "after the end of the reference's contig"),
            ):
                if number:
                    logger.warning(f"{stream.path}: {number:,} records {what} left out")


def evaluate(
    truth: str | Path,
    calls: str | Path,
    ref: str | Path,
    confident: ConfidentRegions | None,
) -> Summary:
    """Counts of a comparison; parameters and errors as of `judge`."""
    summary = Summary()
    for variants in judge(truth, calls, ref, confident):
        summary.add(variants)
    return summary


def read_confident(path: str | Path) -> ConfidentRegions:
    """Confident regions of a BED file.

    Raises
    ------
    InputError
        If it cannot be read or is empty.
    """
    regions = read_bed(path)
    if not regions:
        raise InputError(f"{path}: no interval; nothing would count")
    return ConfidentRegions(regions)


def _check_regions(confident: ConfidentRegions, reference: Reference) -> None:
    named = {region.contig for region in confident.regions}
    if named.isdisjoint(reference.lengths):
        raise InputError(
            f"the confident regions name {', '.join(sorted(named)[:3]) or 'no contig'}, the "
            f"reference {', '.join(list(reference.lengths)[:3])}; give a BED of the reference's "
            "assembly (20 and chr20 are different names)"
        )
