"""A first look at a sample: what a single site cannot tell of the library it is from.

How deep the sample usually is says whether a site has more reads than it
should, as where the donor has a copy that the reference lacks. How often reads
slip in repeats says how many of them it takes to believe an indel. Both are
taken from some short stretches, spread evenly over what is to be called.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby

import numpy as np

from pileupcnn.kernels.repeats import repeat_changes
from pileupcnn.reads import ReadBatch, Scanner
from pileupcnn.reference import Reference, ReferenceWindow
from pileupcnn.regions import Region, partitions
from pileupcnn.repeats import CROSSING_FLANK, find_repeats

STRETCH = 3_000
"""bp that are looked at in one place."""

STRETCHES = 48
"""Places in the first round; each further round looks at as many as all before it."""

MOST_STRETCHES = 3_072
"""Places in all rounds together, where there are few reads, as of a panel."""

ENOUGH_BASES = 4_000_000
"""Aligned bases with which no other round follows."""

CONTIG_STRETCHES = 16
"""Places of a contig for its own depth: sex chromosomes and aneuploidies are not copies."""

LONG_CONTIG = 1_000_000
"""bp to be called on a contig for it to have its own depth."""

MIN_BASES = 50_000
"""Aligned bases below which no depth is the usual one."""

MAX_UNEVENNESS = 1.2
"""Where half of the reads lie in depths of more than so many times what half of the places have,
the reads are those of enriched targets: no depth is the usual one. Whole genomes are at 1.1 or
below from 2x on, log-normal depths at the exponential of their variance."""

SLIP_UNITS = (7, 12)
"""Shortest and longest homopolymers, in bp, in which slips are counted."""

# a homopolymer counts if so many reads cross it, and not more than so large a share of them, or one
# read, have another length than most: else it may be heterozygous
_LEAST_READS = 6
_MAX_OTHERS = 0.2

# what few reads lean on: a rate between libraries with and without amplification
_PRIOR_SLIPS, _PRIOR_READS = 1.0, 200.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What a sample is like.

    Attributes
    ----------
    depth : float
        Mean number of usable reads at the positions of a partition; half of the
        reads lie in partitions with this or less. 0 if there is no usual depth.
    slip_rate : float
        Share of the reads across homopolymers of `SLIP_UNITS` that have another
        length than most have there.
    contig_depth : mapping of str to float
        The same as `depth` of contigs that have their own.
    """

    depth: float
    slip_rate: float
    contig_depth: Mapping[str, float] = field(default_factory=dict)

    def usual_depth(self, contig: str) -> float:
        """On a contig; 0 if there is none."""
        return self.contig_depth.get(contig, self.depth)

    @property
    def slip_quality(self) -> float:
        """`slip_rate`, Phred-scaled."""
        return -10 * math.log10(self.slip_rate)


def take_survey(scanner: Scanner, reference: Reference, regions: Sequence[Region]) -> Survey:
    """Look at a sample.

    Parameters
    ----------
    scanner : Scanner
        Of its reads.
    reference : Reference
    regions : sequence of Region
        What is to be called, all of it, in order: parts of one run must see the same.

    Raises
    ------
    InputError
        If a file turns out to be damaged.
    """
    tally = _Tally(scanner, reference)
    for pieces in rounds(regions, STRETCHES):
        tally.look(pieces)
        if tally.bases >= ENOUGH_BASES:
            break
    depth, own = tally.usual_depth(), {}
    contigs = [(contig, list(parts)) for contig, parts in groupby(regions, lambda r: r.contig)]
    if depth and len(contigs) > 1:
        for contig, parts in contigs:
            if sum(map(len, parts)) >= LONG_CONTIG:
                there = _Tally(scanner, reference)
                there.look(next(rounds(parts, CONTIG_STRETCHES)))
                if usual := there.usual_depth():
                    own[contig] = usual
    scanner.skipped.clear()
    return Survey(depth, tally.slip_rate(), own)


def rounds(regions: Sequence[Region], count: int) -> Iterator[list[Region]]:
    """Stretches of `STRETCH` bp: first `count`, evenly spread, then between these.

    No more than fit side by side, or `MOST_STRETCHES`. One that reaches the end of
    a region goes on in the next, in another piece.
    """
    lengths = list(map(len, regions))
    total = sum(lengths)
    count = max(1, min(count, total // STRETCH))
    # where each region begins if all are laid end to end
    begins = [0, *accumulate(lengths)]

    def pieces(starts: Sequence[int]) -> list[Region]:
        found = []
        for start in starts:
            end, at = start + STRETCH, bisect_right(begins, start) - 1
            while at < len(regions) and begins[at] < end:
                region = regions[at]
                first, last = max(start - begins[at], 0), min(end - begins[at], len(region))
                found.append(Region(region.contig, region.start + first, region.start + last))
                at += 1
        return found

    yield pieces([i * total // count for i in range(count)])
    while 2 * count <= min(MOST_STRETCHES, total // STRETCH):
        yield pieces([(2 * i + 1) * total // (2 * count) for i in range(count)])
        count *= 2


class _Tally:
    """The sums of a survey in the making."""

    def __init__(self, scanner: Scanner, reference: Reference) -> None:
        self.bases = 0
        self._scanner, self._reference = scanner, reference
        # aligned bases and length of each partition with reads
        self._partitions: list[tuple[int, int]] = []
        self._slips = self._crossings = 0

    def look(self, pieces: Sequence[Region]) -> None:
        """Count the reads of some pieces."""
        for piece in pieces:
            run = tuple(partitions([piece], self._scanner.settings.partition_size))
            reads = self._scanner.scan(run)
            if len(reads):
                self._count_depth(reads, run)
                # a tract that is longer than those that count is seen to be so
                margin = SLIP_UNITS[1] + 1
                first, last = piece.start - margin, piece.end + margin
                window = self._reference.window(piece.contig, first, last)
                self._count_slips(reads, piece, window)

    def _count_depth(self, reads: ReadBatch, run: Sequence[Region]) -> None:
        for k, partition in enumerate(run):
            own = reads.partition_reads[reads.partition_offset[k] : reads.partition_offset[k + 1]]
            first = np.maximum(reads.start[own], partition.start)
            last = np.minimum(reads.end[own], partition.end)
            bases = int(np.maximum(last - first, 0).sum())
            if bases:
                self._partitions.append((bases, len(partition)))
            self.bases += bases

    def _count_slips(self, reads: ReadBatch, piece: Region, window: ReferenceWindow) -> None:
        """Slips in the homopolymers that begin in a piece."""
        repeats = find_repeats(window.bases)
        start, end = repeats.start + window.start, repeats.end + window.start
        least, most = SLIP_UNITS
        chosen = (repeats.period == 1) & (end - start >= least) & (end - start <= most)
        chosen &= (start >= piece.start) & (start < piece.end)
        used = np.ones(len(reads), np.uint8)
        counts = repeat_changes(
            reads, used, start[chosen], end[chosen], repeats.period[chosen], CROSSING_FLANK
        ).astype(np.int64)
        total = counts.sum(axis=1)
        others = total - counts.max(axis=1, initial=0)
        plain = (total >= _LEAST_READS) & (others <= np.maximum(1, _MAX_OTHERS * total))
        self._slips += int(others[plain].sum())
        self._crossings += int(total[plain].sum())

    def usual_depth(self) -> float:
        """As `Survey.depth`."""
        if self.bases < MIN_BASES:
            return 0.0
        bases, length = np.array(self._partitions, float).T
        order = np.argsort(bases / length, kind="stable")
        depth = (bases / length)[order]
        of_reads, of_places = (
            float(depth[np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)])
            for weight in (bases, length)
        )
        return of_reads if of_reads <= MAX_UNEVENNESS * of_places else 0.0

    def slip_rate(self) -> float:
        """As `Survey.slip_rate`."""
        return (self._slips + _PRIOR_SLIPS) / (self._crossings + _PRIOR_READS)
