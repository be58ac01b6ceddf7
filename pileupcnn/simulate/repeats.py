"""Tandem repeats of a sequence: where polymerases slip and indels arise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_UNITS = {1: 4, 2: 3, 3: 3, 4: 3}
"""Fewest whole units of each period (bp) that count as a repeat."""

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
