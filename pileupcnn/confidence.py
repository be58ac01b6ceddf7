"""How sure the reads make us of the reference, position by position, in blocks: for a gVCF.

The rules are those of DeepVariant 1.9 (its ``variant_caller``). Of n reads at
a position r have the reference base; a base is wrong with a probability of
`ERROR_RATE`. How many copies of the reference base the sample has is then a
matter of three likelihoods, of which there are few: they are tabulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import PositionCounts
from pileupcnn.errors import check_range
from pileupcnn.kernels.confidence import find_blocks
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import DIPLOID, HaploidRegions, Region

ERROR_RATE = float(np.float32(0.001))
"""Probability of a wrong base; DeepVariant keeps it as a float32."""

MAX_DEPTH = 100
"""Deeper positions are scaled down to so many reads."""

MAX_QUALITY = 50
"""Highest GQ of a block."""

BIN_SIZE = 5
"""Default width of the bins of GQ within which positions share a block."""

IMPOSSIBLE = -999.0
"""log10 likelihood of a heterozygous genotype where there is one copy."""

ANY_ALLELE = "<*>"
"""The ALT of a block: stands for every allele that is not named."""

_LN_10 = math.log(10.0)


@dataclass(slots=True)
class ReferenceBlocks:
    """Consecutive reference-confidence blocks of one contig, as a structure of arrays.

    Attributes
    ----------
    contig : str
    start, end : int64 [n]
        0-based half-open; ascending, without overlaps.
    base : uint8 [n]
        First base of the reference, ASCII.
    called : bool [n]
        Whether the genotype is ``0/0``; it is ``./.`` where another is likelier.
    genotype_quality : int32 [n]
        GQ: Phred-scaled probability that the sample is not ``0/0``, the lowest
        of the block's positions.
    min_depth : int32 [n]
        Fewest reads at a position.
    log10_likelihoods : float64 [n, 3]
        Of 0/0, 0/1 and 1/1 where GQ is lowest; 1 is any other allele.
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    base: NDArray[np.uint8]
    called: NDArray[np.bool_]
    genotype_quality: NDArray[np.int32]
    min_depth: NDArray[np.int32]
    log10_likelihoods: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def first(self) -> int:
        """Start of the first block."""
        return int(self.start[0])

    def part(self, first: int, last: int) -> ReferenceBlocks:
        """Blocks `first` to `last` (exclusive), as views."""
        return ReferenceBlocks(
            self.contig,
            self.start[first:last],
            self.end[first:last],
            self.base[first:last],
            self.called[first:last],
            self.genotype_quality[first:last],
            self.min_depth[first:last],
            self.log10_likelihoods[first:last],
        )


def reference_confidence(
    reference: int, depth: int, *, haploid: bool = False
) -> tuple[int, tuple[float, float, float]]:
    """GQ of 0/0, and the log10 likelihoods of 0/0, 0/1 and 1/1, scaled to a sum of 1.

    GQ is that of 0/0 even where another genotype is likelier. The order of the
    operations is DeepVariant's, to the last bit.

    Parameters
    ----------
    reference, depth : int
        Reads with the reference base, and with any allele; at most `MAX_DEPTH`.
    haploid : bool
        Whether there is one copy only: 0/1 is then impossible.
    """
    other = depth - reference
    wrong, right = math.log(ERROR_RATE) / _LN_10, math.log1p(-ERROR_RATE) / _LN_10
    if depth == 0:
        raw = [-1.0, -1.0, -1.0]
    else:
        raw = [
            reference * right + other * wrong,
            -depth * math.log(2) / _LN_10,
            reference * wrong + other * right,
        ]
    if haploid:
        raw[1] = IMPOSSIBLE
    best = max(raw)
    total = 0.0
    for value in raw:
        total += 10.0 ** (value - best)
    scale = best + math.log10(total)
    none, one, two = (min(value - scale, 0.0) for value in raw)
    wrong_call = 1 - 10.0**none
    quality = -10 * math.log10(wrong_call) if wrong_call > 0 else MAX_QUALITY
    return int(min(math.floor(quality), MAX_QUALITY)), (none, one, two)


class ReferenceConfidence:
    """Makes the blocks of runs; shared by all threads.

    Consecutive positions of a partition are in one block if their GQs are in
    the same bin. A position where 0/0 is not the likeliest genotype is a block
    of its own. Positions whose reference base is not A, C, G or T are in none.

    Parameters
    ----------
    bin_size : int
        GQs 1 to `bin_size` are one bin, the next as many the next one, and so
        on; GQ 0 is a bin of its own.
    haploid : HaploidRegions
    """

    def __init__(self, bin_size: int = BIN_SIZE, haploid: HaploidRegions = DIPLOID) -> None:
        check_range("bin_size", bin_size, 1, MAX_QUALITY)
        self._haploid = haploid
        entries = [
            reference_confidence(reference, depth, haploid=single)
            for single in (False, True)
            for depth in range(MAX_DEPTH + 1)
            for reference in range(depth + 1)
        ]
        self._quality = np.array([quality for quality, _ in entries], np.int32)
        self._likelihoods = np.array([likelihoods for _, likelihoods in entries])
        self._called = self._likelihoods.max(axis=1) == self._likelihoods[:, 0]
        bins = (self._quality + bin_size - 1) // bin_size
        self._level = np.where(self._called, bins, -1).astype(np.int32)

    def blocks(
        self, run: tuple[Region, ...], counts: PositionCounts, window: ReferenceWindow
    ) -> ReferenceBlocks:
        """The blocks of a run of partitions; none crosses a partition's edge.

        Parameters
        ----------
        run : tuple of Region
        counts : PositionCounts
            Those of the run.
        window : ReferenceWindow
            At least the bases of the run.
        """
        contig = run[0].contig
        found = find_blocks(
            np.array([partition.start for partition in run], np.int64),
            np.array([partition.end for partition in run], np.int64),
            counts.reference,
            counts.depth,
            window.bases,
            window.start,
            self._haploid_mask(window),
            self._quality,
            self._level,
            MAX_DEPTH,
        )
        entry = found["entry"]
        return ReferenceBlocks(
            contig,
            found["start"],
            found["end"],
            window.bases[found["start"] - window.start],
            self._called[entry],
            self._quality[entry],
            found["min_depth"],
            self._likelihoods[entry],
        )

    def _haploid_mask(self, window: ReferenceWindow) -> NDArray[np.uint8]:
        """Where in a window there is one copy; empty for a diploid contig."""
        if window.contig not in self._haploid.contigs:
            return np.empty(0, np.uint8)
        mask = np.ones(len(window.bases), np.uint8)
        for region in self._haploid.pseudoautosomal(window.contig):
            mask[max(region.start - window.start, 0) : max(region.end - window.start, 0)] = 0
        return mask
