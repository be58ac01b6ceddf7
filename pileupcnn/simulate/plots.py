"""One page of plots of a profile; needs matplotlib, which the extra ``report`` installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OutputError
from pileupcnn.kernels.profile import CYCLE_BIN
from pileupcnn.kernels.repeats import MAX_UNITS
from pileupcnn.simulate.profile import GC_BINS, MAX_INSERT, READS, Profile

_READ_NAMES = ("read 1", "read 2")
_LEAST = 30  # reads or bases below which a point is noise, and not shown


def require_matplotlib() -> None:
    """Raise InputError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--plot needs matplotlib; install it with: pip install 'pileupcnn[report]'"
        ) from error


def plot_profile(profile: Profile, path: str | Path) -> None:
    """Draw a profile on one page.

    Parameters
    ----------
    profile : Profile
    path : path
        Its suffix says the format, such as ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    InputError
        If matplotlib is missing.
    OutputError
        If the page cannot be written, or not in this format.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 12), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, 3)
    drawers = (
        _qualities, _errors_by_quality, _errors_by_cycle,
        _stutter, _after_runs, _contexts,
        _inserts, _depth, _mapping_quality,
    )  # fmt: skip
    for axes, draw in zip(panels.flat, drawers, strict=True):
        draw(axes, profile)
    shares = ", ".join(f"{what} {profile.share(what):.2%}" for what in READS[1:])
    figure.suptitle(
        f"{profile.name}: {int(profile.reads[0]):,} reads; {shares}; clipped at the first cycle "
        f"{_clipped(profile, 0):.2%}, at the last {_clipped(profile, 1):.2%}"
    )
    try:
        figure.savefig(path, dpi=100)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: the plots cannot be written ({error}); check --plot") from error


def _clipped(profile: Profile, end: int) -> float:
    return float(profile.clips[end, 1:].sum() / max(profile.clips[end].sum(), 1))


def _rate(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """A share, NaN (not shown) where there is too little to tell."""
    total = whole.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = part.astype(float) / total
    share[total < _LEAST] = np.nan
    return share


def _title(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _cycles(profile: Profile) -> NDArray[Any]:
    return CYCLE_BIN * (np.arange(profile.bases.shape[1]) + 0.5)


def _qualities(axes: Any, profile: Profile) -> None:
    scores = profile.qualities.astype(float)
    arrived = profile.next.sum(axis=(1, 3)).astype(float)
    for number, name in enumerate(_READ_NAMES):
        mean = _rate((arrived[number] * scores).sum(axis=1), arrived[number].sum(axis=1))
        (line,) = axes.plot(_cycles(profile), mean, label=name)
        for share, style in ((0.05, ":"), (0.25, "--")):
            total = np.cumsum(arrived[number], axis=1)
            at = (total >= share * np.maximum(total[:, -1:], 1)).argmax(axis=1)
            lower = np.where(np.isnan(mean), np.nan, scores[at])
            axes.plot(_cycles(profile), lower, style, color=line.get_color())
    _title(axes, "Quality: mean, lower quarter (--) and twentieth (:)", "cycle", "Phred score")
    axes.legend()


def _errors_by_quality(axes: Any, profile: Profile) -> None:
    scores = profile.qualities.astype(float)
    for number, name in enumerate(_READ_NAMES):
        wrong, bases = profile.mismatches[number].sum(axis=0), profile.bases[number].sum(axis=0)
        axes.semilogy(scores, _rate(wrong, bases), "o-", label=name)
    axes.semilogy(scores, 10 ** (-scores / 10), "k:", label="as the quality claims")
    _title(axes, "Substitution errors by quality", "Phred score", "errors per base")
    axes.legend()


def _errors_by_cycle(axes: Any, profile: Profile) -> None:
    for number, name in enumerate(_READ_NAMES):
        wrong, bases = profile.mismatches[number].sum(axis=1), profile.bases[number].sum(axis=1)
        axes.semilogy(_cycles(profile), _rate(wrong, bases), label=name)
    _title(axes, "Substitution errors by cycle", "cycle", "errors per base")
    axes.legend()


def _stutter(axes: Any, profile: Profile) -> None:
    for period in range(4):
        counts = profile.stutter[period]
        total = counts.sum(axis=1)
        share = _rate(total - counts[:, MAX_UNITS], total)
        share[share == 0] = np.nan
        axes.semilogy(np.arange(len(share)), share, "o-", label=f"{period + 1} bp")
    _title(axes, "Reads that slipped in a repeat", "whole units", "share of reads")
    axes.legend(title="period")


def _after_runs(axes: Any, profile: Profile) -> None:
    rate = _rate(profile.mismatches_after_run.sum(axis=1), profile.bases_after_run.sum(axis=1))
    for cls, name in enumerate(("8-11 bp", "12-15 bp", "16 bp or more")):
        axes.plot(("1-10", "11-20", "21-40"), rate[3 * cls : 3 * cls + 3], "o-", label=name)
    overall = profile.mismatches.sum() / max(profile.bases.sum(), 1)
    axes.axhline(overall, color="k", linestyle=":", label="anywhere")
    axes.set_ylim(bottom=0)
    _title(axes, "Substitution errors after homopolymers", "bp after its end", "errors per base")
    axes.legend(title="homopolymer")


def _contexts(axes: Any, profile: Profile) -> None:
    counts = profile.context.sum(axis=0).astype(float)
    total = counts.sum(axis=2)
    # rows: two bases before; columns: true base and base read
    columns = [(true, read) for true in range(4) for read in range(4) if true != read]
    rate = np.stack([counts[:, t, r] / np.maximum(total[:, t], 1) for t, r in columns], axis=1)
    shown = axes.imshow(1e4 * rate, aspect="auto", cmap="magma_r")
    axes.set_xticks(range(12), [f"{'ACGT'[t]}>{'ACGT'[r]}" for t, r in columns], rotation=90)
    axes.set_yticks(range(16), [a + b for a in "ACGT" for b in "ACGT"])
    axes.figure.colorbar(shown, ax=axes, label="errors per 10,000 bases")
    _title(axes, "Substitution errors by context", "error", "two bases before")


def _inserts(axes: Any, profile: Profile) -> None:
    mean, deviation = profile.insert_moments()
    most = min(MAX_INSERT, int(mean + 5 * deviation))
    axes.step(np.arange(most + 1), profile.inserts[: most + 1] / profile.inserts.sum())
    _title(axes, f"Fragments: {mean:.0f} +- {deviation:.0f} bp", "length in bp", "share of pairs")


def _depth(axes: Any, profile: Profile) -> None:
    windows, total, squares = profile.depth.astype(float).T
    mean = _rate(total / 100, windows)
    spread = np.sqrt(np.maximum(_rate(squares / 1e4, windows) - mean**2, 0))
    content = np.linspace(0, 1, GC_BINS)
    axes.errorbar(content, mean, yerr=spread, fmt="o-", capsize=3)
    axes.set_ylim(bottom=0)
    _title(axes, "Depth: mean and deviation of 100 bp windows", "GC content of 400 bp", "reads")


def _mapping_quality(axes: Any, profile: Profile) -> None:
    counts = profile.mapping_quality[:61]
    axes.bar(np.arange(61), counts / max(profile.mapping_quality.sum(), 1), width=1)
    axes.set_yscale("log")
    _title(axes, "Mapping quality", "MAPQ", "share of reads")
