"""How often reads err: tables for the sequencer, from plain settings or from a profile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.kernels.profile import AFTER_STATES
from pileupcnn.kernels.repeats import MAX_UNITS
from pileupcnn.repeats import Repeats
from pileupcnn.simulate.profile import UNITS, Profile

SCORES = 94
"""Phred scores that FASTQ can write."""

Table = NDArray[np.float32]

# Chance of each wrong base, given an error; rows and columns A, C, G, T.
# Illumina's errors favour A>C and T>G, and are poor in C>G and G>C.
_SUBSTITUTION = np.array(
    [
        [0.0, 0.50, 0.28, 0.22],
        [0.40, 0.0, 0.22, 0.38],
        [0.38, 0.22, 0.0, 0.40],
        [0.22, 0.28, 0.50, 0.0],
    ]
)

# Observations that what is not seen, or seldom, is taken to rest on.
_PRIOR_BASES = 1_000.0
_PRIOR_CONTEXT = 20.0
_PRIOR_READS = 300.0
_PRIOR_PAIRS = 5.0


@dataclass(frozen=True, slots=True)
class Stutter:
    """How the polymerases of a library slip in tandem repeats.

    Attributes
    ----------
    chance : dict
        By period: (whole units, chance that a read has slipped), log-linear
        between the points.
    loss, double : float
        Of slips, the share that shortens, and that moves two units.
    """

    chance: dict[int, tuple[tuple[int, float], ...]]
    loss: float
    double: float

    def rate(self, period: int, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance that a read has slipped, by whole units, float64 like `units`."""
        at, values = zip(*self.chance[period], strict=True)
        return np.exp(np.interp(units, at, np.log(values)))

    def changes(self) -> NDArray[np.float64]:
        """Share of each change among the slips, float64 [2 MAX_UNITS], none left out."""
        one = np.zeros(2 * MAX_UNITS)
        one[MAX_UNITS - 1], one[MAX_UNITS] = self.loss, 1 - self.loss
        two = np.zeros(2 * MAX_UNITS)
        two[MAX_UNITS - 2], two[MAX_UNITS + 1] = self.loss, 1 - self.loss
        return (1 - self.double) * one + self.double * two


_LONG_UNITS = ((3, 1e-4), (6, 1e-3), (12, 0.01), (20, 0.03))

PCR_FREE = Stutter(
    {
        1: ((4, 2e-4), (5, 5e-4), (10, 0.01), (15, 0.04), (20, 0.08), (30, 0.2)),
        2: ((3, 2e-4), (5, 1e-3), (10, 0.015), (15, 0.05), (25, 0.12)),
        3: _LONG_UNITS,
        4: _LONG_UNITS,
    },
    loss=0.65,
    double=0.1,
)
"""A little more than NovaSeq reads of a PCR-free library show."""

PCR = Stutter(
    {
        1: ((4, 0.003), (5, 0.011), (7, 0.04), (8, 0.06), (10, 0.12), (12, 0.18), (25, 0.35)),
        2: ((3, 0.0025), (4, 0.005), (5, 0.015), (7, 0.035), (10, 0.12), (16, 0.2)),
        3: ((3, 1e-3), (6, 0.01), (12, 0.05)),
        4: ((3, 1e-3), (6, 0.01), (12, 0.05)),
    },
    loss=0.35,
    double=0.2,
)
"""Counted in HiSeq X reads of a library amplified many times (linked reads)."""


@dataclass(frozen=True, slots=True)
class Spoilage:
    """What a profile does not count, set by eye against NovaSeq reads where nothing varies.

    After a homopolymer a cluster's molecules are out of step, which spoils one
    base and leaves the next alone: some bases are hard, and the others make up
    for them. All reads of a strand read the same wrong base there.

    Attributes
    ----------
    hard : float
        Share of the bases after a homopolymer that are hard.
    hard_errors, other_errors : float
        Factors on the rate of errors of hard bases, and of the others.
    hard_draws : int
        A hard base has the lowest of so many more draws of its quality.
    spared : float
        Share of the others that have the higher of two draws.
    low : float
        Share of systematic errors that come with a low quality.
    hairpin : float
        Share of foreign ends that are the other strand near by, the others from anywhere.
    hairpin_span : float
        Width of the stretch around a read, in bp, that a hairpin's end comes from.
    """

    hard: float = 0.2
    hard_errors: float = 2.5
    other_errors: float = 0.5
    hard_draws: int = 2
    spared: float = 0.75
    low: float = 0.75
    hairpin: float = 0.5
    hairpin_span: float = 1_000.0


@dataclass(frozen=True, slots=True)
class ErrorTables:
    """What `pileupcnn.kernels.sequencer.Sequencer` draws from. K qualities, B bins.

    Chances of one of several are cumulative along the last axis.

    Attributes
    ----------
    qualities : uint8 [K], or None
    classes : float32 [2, RUN_CLASSES + 1, classes], or None
        By the longest homopolymer that a read goes past.
    first : float32 [2, classes, K], or None
        None, with the others, where qualities come from elsewhere.
    next : float32 [2, classes, B, K, K], or None
    after : float32 [2, classes, AFTER_STATES, K, K], or None
    accepted : float32 [3, 16, 4]
        Chance that a quality drawn is kept, by its group, two bases before,
        and base; else another one is drawn, so that contexts have their mix.
    rate : float32 [2, B, SCORES]
        Substitution errors per base by read number, bin of cycles, quality.
    factor : float32 [3, 16, 4]
        On that rate, by group of quality, two bases before, and base.
    wrong : float32 [3, 16, 4, 4]
        The base read, given an error.
    after_factor : float32 [AFTER_STATES + 1]
        On the rate, by place after a homopolymer; 1 first, for none.
    insertion, deletion : float
        Per base, anywhere.
    slips : float32 [4, UNITS, 2 MAX_UNITS]
        Chance of each change of a repeat, none left out; not cumulative.
    spoilage : Spoilage
    """

    qualities: NDArray[np.uint8] | None
    classes: Table | None
    first: Table | None
    next: Table | None
    after: Table | None
    accepted: Table
    rate: Table
    factor: Table
    wrong: Table
    after_factor: Table
    insertion: float
    deletion: float
    slips: Table
    spoilage: Spoilage = Spoilage()

    def slippage(self, repeats: Repeats) -> Table:
        """Cumulative chance of each change of repeats, then of none, [n, 2 MAX_UNITS + 1]."""
        units = np.minimum(repeats.units, UNITS - 1)
        chance = self.slips[repeats.period - 1, units].astype(float)
        # a repeat keeps at least a unit
        lost = np.arange(MAX_UNITS, 0, -1)
        chance[:, :MAX_UNITS][lost >= repeats.units[:, None]] = 0
        chance /= np.maximum(chance.sum(axis=1, keepdims=True) / 0.5, 1)
        cumulative = np.cumsum(chance, axis=1)
        return _table(np.column_stack((cumulative, np.ones(len(repeats)))))


def plain_tables(
    stutter: Stutter, stutter_scale: float, error_scale: float, indel_rate: float
) -> ErrorTables:
    """Errors as qualities claim them, whatever the context; qualities come from elsewhere."""
    claimed = _bounded(error_scale * _claimed())
    units = np.arange(UNITS)
    rates = np.stack([stutter.rate(period, units) for period in range(1, 5)])
    slips = rates[:, :, None] * stutter.changes() * stutter_scale
    return ErrorTables(
        qualities=None,
        classes=None,
        first=None,
        next=None,
        after=None,
        accepted=np.ones((3, 16, 4), np.float32),
        rate=_table(np.broadcast_to(claimed, (2, 1, SCORES))),
        factor=np.ones((3, 16, 4), np.float32),
        wrong=_table(np.broadcast_to(_cumulative(_SUBSTITUTION), (3, 16, 4, 4))),
        after_factor=np.ones(AFTER_STATES + 1, np.float32),
        insertion=indel_rate / 2,
        deletion=indel_rate / 2,
        slips=_table(slips),
    )


def profile_tables(profile: Profile, stutter_scale: float, error_scale: float) -> ErrorTables:
    """The errors of a profile; what it saw too little of leans on what is like it."""
    begun = profile.first.astype(float)
    first = begun.sum(axis=1)
    # reads past longer homopolymers lean on those past shorter ones
    classes = begun.sum(axis=3)
    for run in range(1, classes.shape[1]):
        shorter = classes[:, run - 1]
        classes[:, run] += 10 * shorter / np.maximum(shorter.sum(axis=1, keepdims=True), 1)
    after_factor = _after_factor(profile)
    rate = _rates(profile, after_factor)
    factor, wrong = _contexts(profile)
    plain = max(float(profile.plain_bases[0]), 1.0)
    insertion, deletion = (profile.indels.sum(axis=1) / plain).tolist()
    return ErrorTables(
        qualities=profile.qualities.astype(np.uint8),
        classes=_cumulative(classes),
        # a class without reads is never drawn
        first=_cumulative(first + first.sum(axis=1, keepdims=True) * 1e-6),
        next=_transitions(profile.next),
        after=_after(profile),
        accepted=_accepted(profile),
        rate=_table(_bounded(error_scale * rate)),
        factor=factor,
        wrong=wrong,
        after_factor=after_factor,
        insertion=insertion,
        deletion=deletion,
        slips=_table(_slips(profile) * stutter_scale),
    )


def _table(values: NDArray[np.floating]) -> Table:
    return np.ascontiguousarray(values, np.float32)


def _claimed() -> NDArray[np.float64]:
    return np.asarray(10 ** (-np.arange(SCORES) / 10))


def _bounded(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(rate, 0.75)


def _cumulative(weights: NDArray[np.float64]) -> Table:
    """Cumulative shares along the last axis; the last that may be drawn reaches past 1."""
    total = np.cumsum(weights, axis=-1)
    share = total / np.maximum(total[..., -1:], 1e-300)
    # rounding must not leave a gap below 1
    share[share >= 1 - 1e-12] = 2
    return _table(share)


def _transitions(counts: NDArray[np.uint64]) -> Table:
    """Chains of qualities: rare steps as in other cycles, then classes, then as they come."""
    steps = counts.astype(float)
    anywhere = steps.sum(axis=(1, 2), keepdims=True)
    anywhere += 1e-3 * _rows(anywhere.sum(axis=-2, keepdims=True))
    own = steps.sum(axis=2, keepdims=True) + _PRIOR_PAIRS * _rows(anywhere)
    return _cumulative(steps + _PRIOR_PAIRS * _rows(own))


def _after(profile: Profile) -> Table:
    """Chains after homopolymers: rare steps as after shorter ones, then as anywhere."""
    steps = profile.next_after_run.astype(float)
    usual = profile.next.astype(float).sum(axis=2)
    usual += _PRIOR_PAIRS * _rows(usual.sum(axis=1, keepdims=True))
    # a quality that nothing followed: as the qualities come
    usual += 1e-3 * _rows(usual.sum(axis=(-2,), keepdims=True))
    for state in range(3, AFTER_STATES):
        steps[:, :, state] += _PRIOR_PAIRS * _rows(steps[:, :, state - 3])
    return _cumulative(steps + _PRIOR_PAIRS * _rows(usual)[:, :, None])


def _rows(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares along the last axis; rows of nothing stay so."""
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300))


def _rates(profile: Profile, after_factor: Table) -> NDArray[np.float64]:
    """Errors per base [2, B, SCORES]: by read and cycle, leaning on the quality's own rate."""
    bases, wrong = profile.bases.astype(float), profile.mismatches.astype(float)
    scores = profile.qualities.astype(np.int64)
    claimed = _bounded(_claimed()[scores])
    overall = wrong.sum(axis=(0, 1)) + _PRIOR_BASES / 10 * claimed
    overall /= bases.sum(axis=(0, 1)) + _PRIOR_BASES / 10
    # what homopolymers add is on top
    after = profile.bases_after_run.astype(float)
    added = ((after_factor[1:, None] - 1) * after).sum(axis=0)
    added /= np.maximum(bases.sum(axis=(0, 1)), 1)
    rate = np.broadcast_to(_bounded(_claimed()), (*bases.shape[:2], SCORES)).copy()
    rate[:, :, scores] = (wrong + _PRIOR_BASES * overall) / (bases + _PRIOR_BASES) / (1 + added)
    return rate


def _contexts(profile: Profile) -> tuple[Table, Table]:
    counts = profile.context.astype(float)
    same = np.eye(4, dtype=bool)
    total = counts.sum(axis=3)
    errors = np.where(same, 0, counts)
    # the group's rate, and what is read in error whatever stands before
    rate = errors.sum(axis=(1, 2, 3)) / np.maximum(total.sum(axis=(1, 2)), 1)
    expected = total * rate[:, None, None]
    factor = (errors.sum(axis=3) + _PRIOR_CONTEXT) / (expected + _PRIOR_CONTEXT)
    factor /= (factor * total).sum(axis=(1, 2), keepdims=True) / np.maximum(
        total.sum(axis=(1, 2), keepdims=True), 1
    )
    pooled = errors.sum(axis=1, keepdims=True) + _PRIOR_CONTEXT * _SUBSTITUTION
    pooled /= pooled.sum(axis=3, keepdims=True)
    return _table(factor), _cumulative(errors + _PRIOR_CONTEXT * pooled)


def _accepted(profile: Profile) -> Table:
    """How much each group of qualities prefers a context, against the most preferred one."""
    total = profile.context.astype(float).sum(axis=3)
    # of the context's bases, the group's share; leaning on its share in all
    usual = total.sum(axis=(1, 2), keepdims=True) / max(total.sum(), 1)
    share = (total + _PRIOR_BASES * usual) / (total.sum(axis=0) + _PRIOR_BASES)
    preference = share / np.maximum(usual, 1e-300)
    return _table(preference / np.maximum(preference.max(axis=0), 1e-300))


def _after_factor(profile: Profile) -> Table:
    """Errors after homopolymers against those of the same qualities anywhere."""
    bases = profile.bases_after_run.astype(float)
    overall = profile.mismatches.sum(axis=(0, 1)) / np.maximum(profile.bases.sum(axis=(0, 1)), 1)
    expected = (bases * overall).sum(axis=1)
    found = profile.mismatches_after_run.astype(float).sum(axis=1)
    factor = (found + _PRIOR_CONTEXT) / (expected + _PRIOR_CONTEXT)
    return _table(np.concatenate(([1.0], factor)))


def _slips(profile: Profile) -> NDArray[np.float64]:
    """Chance of each change [4, UNITS, 2 MAX_UNITS].

    A repeat that few reads crossed leans on the curve of a library with or
    without amplification, whichever fits the repeats of its period that were
    seen better, scaled to these.
    """
    slips = np.zeros((4, UNITS, 2 * MAX_UNITS))
    units = np.arange(UNITS)
    moved = np.delete(profile.stutter.astype(float), MAX_UNITS, axis=2)
    every = moved.sum(axis=(0, 1)) + 20 * PCR_FREE.changes()
    for period in range(4):
        reads = profile.stutter[period].astype(float).sum(axis=1)
        found = moved[period].sum(axis=1)
        curves = []
        for stutter in (PCR_FREE, PCR):
            curve = stutter.rate(period + 1, units)
            curve *= (found.sum() + 5) / ((reads * curve).sum() + 5)
            curve = np.minimum(curve, 0.5)
            fit = found * np.log(curve) + (reads - found) * np.log1p(-curve)
            curves.append((float(fit.sum()), curve))
        curve = max(curves, key=lambda fitted: fitted[0])[1]
        chance = (found + _PRIOR_READS * curve) / (reads + _PRIOR_READS)
        changes = moved[period].sum(axis=0) + 20 * every / every.sum()
        slips[period] = chance[:, None] * changes / changes.sum()
    return slips


def unevenness(profile: Profile) -> tuple[float, float]:
    """How uneven coverage is beyond chance, as standard deviations of its logarithm.

    Returns
    -------
    haplotype : float
        Of each haplotype for itself, from the spread of allele balance.
    both : float
        Of both together, from the spread of windows' depth at one GC content.
    """
    sites, weight, deviation = profile.balance.astype(float)
    excess = max(0.0, (deviation / 1000 - sites) / max(weight, 1))
    haplotype = float(np.sqrt(2 * excess))
    windows, total, squares = profile.depth.astype(float).T
    known = windows > 0
    mean = total[known].sum() / max(windows[known].sum(), 1) / 100
    within = squares[known].sum() - (total[known] ** 2 / windows[known]).sum()
    variance = within / max(windows[known].sum(), 1) / 1e4
    both = variance / max(mean, 1e-9) ** 2 - 1 / max(mean, 1e-9) - haplotype**2 / 2
    return haplotype, float(np.sqrt(max(0.0, both)))
