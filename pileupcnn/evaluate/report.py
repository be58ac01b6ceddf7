"""What a comparison leaves in a folder: tables, each variant's verdict, and a plot on request."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from pileupcnn.errors import OutputError
from pileupcnn.evaluate.matching import Judged
from pileupcnn.evaluate.summary import KINDS, SCORES, Counts, Kind, Summary, strata_names
from pileupcnn.resources import Finishing
from pileupcnn.simulate.plots import require_matplotlib

SUMMARY, STRATA, CURVE, RELIABILITY, VARIANTS, PLOT = (
    "summary.csv",
    "strata.csv",
    "precision_recall.csv",
    "reliability.csv",
    "variants.tsv.gz",
    "plot.png",
)

SUMMARY_COLUMNS = (
    "Type",
    "Filter",
    "TRUTH.TOTAL",
    "TRUTH.TP",
    "TRUTH.FN",
    "QUERY.TOTAL",
    "QUERY.FP",
    "QUERY.UNK",
    "FP.gt",
    "FP.al",
    "METRIC.Recall",
    "METRIC.Precision",
    "METRIC.Frac_NA",
    "METRIC.F1_Score",
    "TRUTH.TOTAL.TiTv_ratio",
    "QUERY.TOTAL.TiTv_ratio",
    "TRUTH.TOTAL.het_hom_ratio",
    "QUERY.TOTAL.het_hom_ratio",
)
"""hap.py's."""

VARIANT_COLUMNS = (
    "side",
    "contig",
    "position",
    "ref",
    "alt",
    "genotype",
    "type",
    "context",
    "verdict",
    "mismatch",
    "qual",
    "gq",
)


class Report(Finishing):
    """Write a folder of results; a context manager.

    Files appear under their names when the ``with`` block ends well, the
    summary last; a file of an earlier comparison is replaced.

    Parameters
    ----------
    folder : path
        Made if missing.
    plot : bool
        Whether `PLOT` is drawn.

    Raises
    ------
    InputError
        If matplotlib is needed and missing.
    OutputError
        If the folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, plot: bool = False) -> None:
        self.folder, self._plot = Path(folder), plot
        self._made = not self.folder.exists()
        if plot:
            require_matplotlib()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(prefix=".evaluating-", dir=self.folder))
            self._variants: TextIO = gzip.open(  # noqa: SIM115 - _complete or _abandon closes it
                self._scratch / VARIANTS, "wt", compresslevel=2, newline=""
            )
        except OSError as error:
            raise self._failure(error) from error
        self._summary = Summary()
        self._write_row(VARIANT_COLUMNS)

    @property
    def summary(self) -> Summary:
        """Counts of what was added."""
        return self._summary

    def add(self, variants: Sequence[Judged]) -> None:
        """Count variants and write their verdicts; in order."""
        self._summary.add(variants)
        try:
            for variant in variants:
                self._write_row(variant_row(variant))
        except OSError as error:
            raise self._failure(error) from error

    def _write_row(self, row: Iterable[str]) -> None:
        self._variants.write("\t".join(row) + "\n")

    def _complete(self) -> None:
        self._variants.close()
        _write_csv(self._scratch / STRATA, strata_rows(self._summary))
        _write_csv(self._scratch / CURVE, curve_rows(self._summary))
        _write_csv(self._scratch / RELIABILITY, reliability_rows(self._summary))
        _write_csv(self._scratch / SUMMARY, summary_rows(self._summary))
        if self._plot:
            draw(self._summary, self._scratch / PLOT)

    def _publish(self) -> None:
        if not self._plot:
            # one of an earlier comparison would be taken for this one's
            (self.folder / PLOT).unlink(missing_ok=True)
        drawn = (PLOT,) if self._plot else ()
        for name in (VARIANTS, STRATA, CURVE, RELIABILITY, *drawn, SUMMARY):
            os.replace(self._scratch / name, self.folder / name)
        self._scratch.rmdir()

    def _abandon(self) -> None:
        # what is not written yet may fail once more, and would hide why
        with suppress(OSError):
            self._variants.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._made:
            try:
                self.folder.rmdir()
            except OSError:
                return  # something else has come to lie in it

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.folder}: cannot be written ({error.strerror or error}); choose another --output"
        )


def variant_row(variant: Judged) -> tuple[str, ...]:
    """One line of `VARIANTS`, in the order of `VARIANT_COLUMNS`."""
    own = variant.primitive
    return (
        variant.side,
        variant.contig,
        str(own.position + 1),
        own.ref,
        ",".join(own.alts),
        own.shown,
        "INDEL" if own.is_indel else "SNP",
        "." if variant.side == "truth" and variant.verdict == "." else variant.context,
        variant.verdict,
        variant.mismatch or ".",
        "." if own.quality is None else f"{own.quality:g}",
        "." if own.genotype_quality is None else f"{own.genotype_quality:g}",
    )


def _write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def summary_rows(summary: Summary) -> list[Sequence[object]]:
    """`SUMMARY_COLUMNS`, then a line for indels and one for SNPs."""
    rows: list[Sequence[object]] = [SUMMARY_COLUMNS]
    for kind in reversed(KINDS):
        counts = summary.counts(kind)
        ratios = [
            summary.ratio(side, kind, *traits)
            for traits in (("ti", "tv"), ("het", "hom"))
            for side in ("truth", "calls")
        ]
        rows.append((kind, "PASS", *_counts_cells(counts), *map(_number, ratios)))
    return rows


def _counts_cells(counts: Counts) -> tuple[object, ...]:
    """The columns from TRUTH.TOTAL to METRIC.F1_Score."""
    return (
        counts.truth,
        counts.truth_tp,
        counts.truth_fn,
        counts.query,
        counts.query_fp,
        counts.query_unknown,
        counts.fp_genotype,
        counts.fp_allele,
        _number(counts.recall),
        _number(counts.precision),
        _number(counts.query_unknown / counts.query if counts.query else 0.0),
        _number(counts.f1),
    )


def strata_rows(summary: Summary) -> list[Sequence[object]]:
    """The counts by type, size in bp and context; ``*`` is any."""
    rows: list[Sequence[object]] = [("Type", "Size", "Context", *SUMMARY_COLUMNS[2:14])]
    for kind in KINDS:
        classes: list[tuple[str, int | None, Any]] = [("*", None, None)]
        classes += [("*", None, context) for _, size, context in strata_names() if size == 0][1:]
        if kind == "INDEL":
            classes += strata_names()
        for name, size, context in classes:
            counts = summary.counts(kind, size, context)
            rows.append((kind, name, context or "*", *_counts_cells(counts)))
    return rows


def curve_rows(summary: Summary) -> list[Sequence[object]]:
    """Recall and precision by least score."""
    rows: list[Sequence[object]] = [("Score", "Type", "At least", "Recall", "Precision")]
    for score in SCORES:
        for kind in KINDS:
            for value, recall, precision in summary.curve(score, kind):
                rows.append((score, kind, value, _number(recall), _number(precision)))
    return rows


def reliability_rows(summary: Summary) -> list[Sequence[object]]:
    """Called records by GQ: how many, how many wrong, and how many wrong by their GQ."""
    rows: list[Sequence[object]] = [("GQ from", "GQ below", "Records", "Wrong", "Expected wrong")]
    for row in summary.reliability():
        below = "" if row.below is None else row.below
        rows.append((row.least, below, row.records, row.wrong, f"{row.expected:.4g}"))
    return rows


def draw(summary: Summary, path: Path) -> None:
    """Draw precision against recall by score, errors by class of indel, and reliability."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5), layout="constrained")
    FigureCanvasAgg(figure)
    curves, errors, reliability = figure.subplots(1, 3)
    _draw_curves(curves, summary)
    _draw_errors(errors, summary)
    _draw_reliability(reliability, summary)
    figure.savefig(path, dpi=100)


def _draw_curves(axes: Any, summary: Summary) -> None:
    styles: tuple[tuple[str, Kind, str, str], ...] = (
        ("QUAL", "SNP", "C0", "-"),
        ("QUAL", "INDEL", "C1", "-"),
        ("GQ", "SNP", "C0", "--"),
        ("GQ", "INDEL", "C1", "--"),
    )
    for score, kind, colour, dashes in styles:
        points = summary.curve(score, kind)
        if points:
            _, recall, precision = zip(*points, strict=True)
            axes.plot(recall, precision, dashes, color=colour, label=f"{kind} by {score}")
    for kind, colour in zip(KINDS, ("C0", "C1"), strict=True):
        counts = summary.counts(kind)
        label = f"{kind}, all calls: F1 {counts.f1:.4f}"
        axes.plot(
            [counts.recall], [counts.precision], "o", color=colour, label=label, clip_on=False
        )
    lowest = min(min(summary.counts(k).recall, summary.counts(k).precision) for k in KINDS)
    least = max(0.0, 1 - 3 * (1 - min(lowest, 0.99)))
    limits = (least, 1 + 0.02 * (1 - least))
    axes.set(xlabel="recall", ylabel="precision", xlim=limits, ylim=limits)
    axes.set_title("Precision and recall")
    axes.legend(loc="lower left")


def _draw_errors(axes: Any, summary: Summary) -> None:
    classes: list[tuple[str, Counts]] = [("SNP", summary.counts("SNP"))]
    classes += [
        (f"indel {name} bp\n{context}", summary.counts("INDEL", size, context))
        for name, size, context in strata_names()
        if context
    ]
    classes = [(name, counts) for name, counts in classes if counts.truth or counts.query_fp]
    names = [f"{name} ({counts.truth:,})" for name, counts in classes]
    missed = [counts.truth_fn for _, counts in classes]
    axes.barh(names, missed, color="C0", label="missed (FN)")
    false = [counts.query_fp for _, counts in classes]
    axes.barh(names, false, left=missed, color="C3", label="false (FP)")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set(xlabel="variants", title="Errors by class (truth variants)")
    axes.legend()


def _draw_reliability(axes: Any, summary: Summary) -> None:
    rows = [row for row in summary.reliability() if row.records]
    axes.set_title("Reliability of GQ")
    if not rows:
        axes.text(0.5, 0.5, "the calls have no GQ", ha="center", va="center")
        axes.set_axis_off()
        return
    names = [f"{r.least}-{r.below}" if r.below else f">= {r.least}" for r in rows]
    places = range(len(rows))
    floor = min([1e-4, *(row.expected / row.records for row in rows if row.expected)])
    for shift, label, colour, values in (
        (-0.2, "by GQ", "C7", [row.expected / row.records for row in rows]),
        (0.2, "seen", "C3", [row.wrong / row.records for row in rows]),
    ):
        axes.bar([at + shift for at in places], values, 0.4, color=colour, label=label)
    for at, row in enumerate(rows):
        height = max(row.wrong / row.records, floor)
        axes.text(at + 0.2, height, f"{row.wrong}/{row.records:,}", ha="center", va="bottom")
    axes.set(yscale="log", ylim=(floor / 2, 2), xlabel="GQ", ylabel="share of records wrong")
    axes.set_xticks(list(places), names)
    axes.legend()
