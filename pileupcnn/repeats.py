"""Tandem repeats of a sequence: where polymerases slip and indels arise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_UNITS = {1: 4, 2: 3, 3: 3, 4: 3}
"""Fewest whole units of each period (bp) that count as a repeat."""

CROSSING_FLANK = 10
"""Aligned bases that a read must have on either side of a repeat to tell its length: nearer to an
end the aligner hides a slip."""

_BASES = np.frombuffer(b"ACGT", np.uint8)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Tandem repeats of one sequence, by start.

    Attributes
    ----------
    start, end : int64 [n]
        Tract in the sequence, 0-based half-open; its last unit may be partial.
    period : int64 [n]
        Unit length in bp, 1 to 4.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    period: NDArray[np.int64]

    @property
    def units(self) -> NDArray[np.int64]:
        """Whole units of each tract, int64 [n]."""
        return (self.end - self.start) // self.period

    def __len__(self) -> int:
        return len(self.start)


def find_repeats(bases: NDArray[np.uint8]) -> Repeats:
    """Find homopolymers and repeats of two to four bp.

    A tract is a longest stretch in which each base equals the one a period
    before; stretches that a shorter period explains are not listed again.

    Parameters
    ----------
    bases : uint8 [length]
        ASCII, upper case. Other letters than A, C, G and T break repeats.
    """
    parts = [_of_period(bases, period) for period in MIN_UNITS]
    start, end, period = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((period, start))
    return Repeats(start[order], end[order], period[order])


def _of_period(
    bases: NDArray[np.uint8], period: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    known = np.isin(bases, _BASES)
    same = (bases[period:] == bases[:-period]) & known[period:]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    start, end = edges[::2], edges[1::2] + period
    long_enough = end - start >= period * MIN_UNITS[period]
    start, end = start[long_enough], end[long_enough]
    for shorter in range(1, period):
        if period % shorter == 0:
            # the unit itself is a repeat, e.g. ACAC of period 4
            offsets = np.arange(period - shorter)
            unit = start[:, None] + offsets
            simpler = (bases[unit] == bases[unit + shorter]).all(axis=1)
            start, end = start[~simpler], end[~simpler]
    return start, end, np.full(len(start), period)


LEAST_RUN = 8
"""Shortest homopolymer that disturbs what is read after it, in bp."""

AFTER_RUN = 100
"""Bases after a homopolymer that it disturbs."""

_RUN_EDGES = (12, 16)
_AFTER_EDGES = (15, 40)


def after_runs(
    bases: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Bases that are read shortly after a long homopolymer.

    Parameters
    ----------
    bases : uint8 [length]
        ASCII, upper case.

    Returns
    -------
    state : uint8 [2, length]
        For reads on the forward and on the reverse strand: 0, or from 1 on three
        classes of the run's length, and of the distance within these.
    distance : uint8 [2, length]
        Bases since the run's end, from 1; 0 where none.
    """
    repeats = find_repeats(bases)
    runs = (repeats.period == 1) & (repeats.end - repeats.start >= LEAST_RUN)
    start, end = repeats.start[runs], repeats.end[runs]
    longer = np.searchsorted(_RUN_EDGES, end - start, side="right")
    state = np.zeros((2, len(bases)), np.uint8)
    distance = np.zeros((2, len(bases)), np.uint8)
    for cls in range(len(_RUN_EDGES) + 1):
        # longer runs and nearer ones last, so that they prevail
        mine = longer == cls
        for away in range(AFTER_RUN, 0, -1):
            place = 1 + 3 * cls + np.searchsorted(_AFTER_EDGES, away - 1, side="right")
            for strand, at in enumerate((end[mine] - 1 + away, start[mine] - away)):
                at = at[(at >= 0) & (at < len(bases))]
                state[strand, at] = place
                distance[strand, at] = away
    return state, distance
