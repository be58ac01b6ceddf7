"""The windows of a partition whose reads are to be realigned, the slow way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reference import Read
from reference.counting import DELETION, SUBSTITUTION, count_alleles


def find_windows(
    reads: Sequence[Read],
    contig: str,
    start: int,
    end: int,
    expansion: int = 20,
    distance: int = 80,
    support: int = 2,
    most: int = 300,
) -> list[tuple[int, int]]:
    """Start and end of each window of the partition ``[start, end)``."""
    start, end = max(0, start - expansion), min(len(contig), end + expansion)
    good = [read for read in reads if read.mapq >= 20]
    touched: Counter[int] = Counter()
    for position, count in enumerate(count_alleles(good, contig, start, end, 20), start):
        sums = Counter((a.bases, a.type) for a in count.alleles.values() if not a.low_quality)
        for (bases, kind), number in sums.items():
            if number < support:
                continue
            n = len(bases) - 1
            if kind == SUBSTITUTION:
                span = range(position, position + 1)
            elif kind == DELETION:
                span = range(position + 1, position + 1 + n)
            else:
                span = range(position + 1 - n, position + 1 + n)
            touched.update({i: number for i in span if start <= i < end})
    windows: list[tuple[int, int]] = []
    for position in sorted(i for i, number in touched.items() if support <= number <= most):
        if windows and position <= windows[-1][1] + distance:
            windows[-1] = windows[-1][0], position + distance
        else:
            windows.append((position - distance, position + distance))
    return windows
