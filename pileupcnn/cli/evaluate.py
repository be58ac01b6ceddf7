"""``pileupcnn evaluate``: calls compared with a truth set."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pileupcnn.errors import OptionError

if TYPE_CHECKING:
    from pileupcnn.evaluate.summary import Summary


def run_evaluate(
    truth: str | Path,
    calls: str | Path,
    ref: str | Path,
    *,
    confident: str | Path | None = None,
    everywhere: bool = False,
    output: str | Path | None = None,
    plot: bool = False,
) -> Summary:
    """Compare calls with a truth set by genotype and haplotype.

    Parameters
    ----------
    truth, calls : path
        VCF or BCF; the first sample of each.
    ref : path
        Indexed FASTA that both were made on.
    confident : path, optional
        BED of where the truth is complete.
    everywhere : bool
        Whether to do without `confident`: all counts.
    output : path, optional
        Folder for tables and verdicts.
    plot : bool
        Whether a plot is drawn in `output`, too.

    Returns
    -------
    Summary

    Raises
    ------
    PileupCNNError
        For everything a user can mend.
    """
    from pileupcnn.evaluate.evaluation import judge, read_confident
    from pileupcnn.evaluate.report import Report
    from pileupcnn.evaluate.summary import Summary

    if (confident is None) != everywhere:
        raise OptionError(
            "give --confident, the BED of where the truth is complete: calls outside are not "
            "false, only unknown; or --no-confident if it is complete everywhere"
            if confident is None
            else "--confident and --no-confident: give one of the two"
        )
    if plot and output is None:
        raise OptionError("--plot needs a folder to draw in; give --output")
    regions = None if confident is None else read_confident(confident)
    summary = Summary()
    with nullcontext() if output is None else Report(output, plot=plot) as report:
        for variants in judge(truth, calls, ref, regions):
            if report is None:
                summary.add(variants)
            else:
                report.add(variants)
        if report is not None:
            summary = report.summary
    return summary


def summary_line(summary: Summary) -> str:
    """The outcome in one line."""
    from pileupcnn.evaluate.summary import KINDS

    parts = []
    for kind in KINDS:
        counts = summary.counts(kind)
        parts.append(
            f"{kind} truth {counts.truth:,} TP {counts.truth_tp:,} FN {counts.truth_fn:,} "
            f"FP {counts.query_fp:,} F1 {counts.f1:.4f}"
        )
    return "; ".join(parts)


@click.command("evaluate", short_help="Compare calls with a truth set.")
@click.option("--truth", required=True, help="True variants, VCF or BCF; its first sample.")
@click.option("--calls", required=True, help="Calls, VCF or BCF; their first sample.")
@click.option("--ref", required=True, help="Indexed FASTA that both were made on.")
@click.option("--confident", help="BED of where the truth is complete: only there is counted.")
@click.option(
    "--no-confident", "everywhere", is_flag=True, help="Do without: the truth is complete."
)
@click.option("--output", help="Folder for tables and each variant's verdict.")
@click.option("--plot", is_flag=True, help="Draw in it, too (needs the extra 'report').")
def evaluate(truth: str, calls: str, ref: str, **options: object) -> None:
    """Compare calls with a truth set by genotype and haplotype.

    Counts variants of PASS and unfiltered records that give the same two sequences, however
    they are written. Prints one line; --output takes summary.csv (hap.py's columns), strata.csv
    (by size and context), precision_recall.csv, reliability.csv and variants.tsv.gz.
    """
    click.echo(summary_line(run_evaluate(truth, calls, ref, **options)))  # type: ignore[arg-type]
