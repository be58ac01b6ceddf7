"""What the reference is like where a variant lies: repeats, in which callers err most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from pileupcnn.repeats import find_repeats

Context = Literal["homopolymer", "STR", "other"]

CONTEXTS: tuple[Context, ...] = get_args(Context)

MIN_HOMOPOLYMER = 6
"""Shortest run of one base, in bp."""

MIN_STR_UNITS = 4
"""Fewest units of two to four bp."""

_MARGIN = 24
"""bp looked at on either side: more than the shortest repeats are long."""


def contexts(bases: str, start: int, reaches: Sequence[tuple[int, int]]) -> list[Context]:
    """The context of each variant.

    Parameters
    ----------
    bases : str
        Reference from `start` on.
    start : int
    reaches : sequence of (int, int)
        Where each variant may be written. It is in a repeat that this, or a
        base beside it, overlaps; a homopolymer goes before another repeat.
    """
    if not reaches:
        return []
    # the places one after another, N between them, so that repeats are sought once
    pieces, places, length = [], [], 0
    for left, right in reaches:
        begin = max(left - _MARGIN - start, 0)
        piece = bases[begin : right + _MARGIN - start]
        shift = length - begin - start
        places.append((left + shift, right + shift))
        pieces.append(piece)
        length += len(piece) + 1
    repeats = find_repeats(np.frombuffer("N".join(pieces).encode(), np.uint8))
    lefts, rights = np.array(places, np.int64).T
    found = np.zeros(len(reaches), np.int64)
    for value, chosen in (
        (2, (repeats.period > 1) & (repeats.units >= MIN_STR_UNITS)),
        (1, (repeats.period == 1) & (repeats.units >= MIN_HOMOPOLYMER)),
    ):
        first = np.searchsorted(np.sort(repeats.end[chosen]), lefts, side="left")
        last = np.searchsorted(repeats.start[chosen], rights, side="right")
        found[last > first] = value
    names: tuple[Context, ...] = ("other", "homopolymer", "STR")
    return [names[value] for value in found.tolist()]
