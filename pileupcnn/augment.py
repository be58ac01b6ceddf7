"""Training images changed in ways in which real ones differ: depth, strand, quality bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateSettings
from pileupcnn.errors import OptionError, check_range
from pileupcnn.kernels.channels import STRAND_VALUES, SUPPORTS_VALUE, quality_values
from pileupcnn.labels import SNP
from pileupcnn.pileup import AltAlignedPileup, Channel, PileupSpec, number_pixels
from pileupcnn.small_model import FEATURES, INPUTS

MIN_READS = 8
"""Images with fewer reads are not thinned."""

MIN_KEPT = 0.2
"""Smallest share of its reads with which an image may be shown."""

QUALITY_BINS = (
    ((3, 2), (18, 12), (30, 23), (256, 37)),
    ((2, 2), (10, 6), (20, 15), (25, 22), (30, 27), (35, 33), (40, 37), (256, 40)),
)
"""Binnings of base qualities: upper bounds, exclusive, and what qualities below become.

Illumina's four levels (NovaSeq) and eight levels (HiSeq X and later HiSeqs).
"""

RANDOM_BINNINGS = 62
"""Invented binnings beside these, as of machines that are not known."""

_INVENTION_SEED = 62


STRAND_NUMBERS = {
    "num_reads_supports_ref": "ref_reverse_strand_ratio",
    "num_reads_supports_alt": "alt_reverse_strand_ratio",
}
"""Numbers that tell strands, by the counts of reads that they are of."""

QUALITY_NUMBERS = ("ref_base_quality", "alt_base_quality")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Shares of the training images that are changed.

    Attributes
    ----------
    thin_reads : float
        Shown with a random part of their reads (a fifth at least), as at a lower
        depth; those that would be no candidates any more stay as they are.
    flip_strands : float
        Shown with forward and reverse reads exchanged.
    bin_qualities : float
        Shown with base qualities binned as by another machine, half of them by an
        invented one.
    """

    thin_reads: float = 0.0
    flip_strands: float = 0.0
    bin_qualities: float = 0.0

    def __post_init__(self) -> None:
        check_range("thin_reads", self.thin_reads, 0, 1)
        check_range("flip_strands", self.flip_strands, 0, 1)
        check_range("bin_qualities", self.bin_qualities, 0, 1)


class Augmenter:
    """Changes batches of images in place.

    Numbers that an image shows (`Channel.NUMBERS`) change with it, or are blank:
    all of the site where reads were taken, mean base qualities where these were
    binned.

    Parameters
    ----------
    augmentation : Augmentation
    spec : PileupSpec
        Of the images; what concerns a layer that they lack is left out.
    candidates : CandidateSettings
        When an image would be no candidate any more.

    Raises
    ------
    OptionError
        If images that stack several blocks of rows are to be changed.
    """

    def __init__(
        self, augmentation: Augmentation, spec: PileupSpec, candidates: CandidateSettings
    ) -> None:
        stacked = spec.sample_heights or spec.alt_aligned_pileup is AltAlignedPileup.ROWS
        if stacked and augmentation != Augmentation():
            raise OptionError(
                "--thin-reads, --flip-strands and --bin-qualities change images of one block of "
                "rows, not those with several samples or alt-aligned rows; leave them out"
            )
        self._shares, self._spec, self._candidates = augmentation, spec, candidates
        self._strands = np.arange(256, dtype=np.uint8)
        self._strands[list(STRAND_VALUES)] = STRAND_VALUES[::-1]
        rng = np.random.default_rng(_INVENTION_SEED)
        self._bins = [_binned(bins) for bins in QUALITY_BINS]
        self._invented = [_binned(_invent_bins(rng)) for _ in range(RANDOM_BINNINGS)]

    def __call__(
        self,
        images: NDArray[np.uint8],
        rows: NDArray[np.int64],
        kinds: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> None:
        """Change some images of a batch.

        Parameters
        ----------
        images : uint8 [n, height, width, channels]
        rows : int64 [n]
            Rows of each that are not blank.
        kinds : uint8 [n]
            `labels.SNP` or `labels.INDEL`.
        rng : Generator
            The same state gives the same changes.
        """
        draws = rng.random((3, len(images)))
        if self._shares.thin_reads and Channel.READ_SUPPORTS_VARIANT in self._spec.channels:
            thinned = [
                int(index)
                for index in np.flatnonzero(draws[0] < self._shares.thin_reads)
                if self._thin(
                    images[index, self._spec.reference_rows : rows[index]],
                    bool(kinds[index] == SNP),
                    rng,
                )
            ]
            self._forget(images, thinned, FEATURES)
        flipped = draws[1] < self._shares.flip_strands
        self._map(images, flipped, Channel.STRAND, self._strands)
        self._flip_numbers(images, flipped)
        binned = np.flatnonzero(draws[2] < self._shares.bin_qualities)
        self._forget(images, binned, QUALITY_NUMBERS)
        known = rng.random(len(binned)) < 0.5
        for tables, mine in ((self._bins, binned[known]), (self._invented, binned[~known])):
            chosen = rng.integers(len(tables), size=len(mine))
            for number in np.unique(chosen):
                self._map(images, mine[chosen == number], Channel.BASE_QUALITY, tables[number])

    def _map(
        self,
        images: NDArray[np.uint8],
        chosen: NDArray[np.bool_] | NDArray[np.int64],
        channel: Channel,
        table: NDArray[np.uint8],
    ) -> None:
        """Look the reads' pixels of a layer up in a table."""
        if channel in self._spec.channels:
            layer = self._spec.channels.index(channel)
            top = self._spec.reference_rows
            images[chosen, top:, :, layer] = table[images[chosen, top:, :, layer]]

    def _forget(
        self,
        images: NDArray[np.uint8],
        chosen: Sequence[int] | NDArray[np.int64],
        names: Sequence[str],
    ) -> None:
        """Blank some of the `INPUTS` that chosen images show."""
        columns = np.array([INPUTS.index(name) for name in names])
        for pixels in number_pixels(images, self._spec):
            if len(chosen):
                rows = np.arange(pixels.shape[1])
                pixels[np.ix_(np.asarray(chosen), rows, columns)] = 0

    def _flip_numbers(self, images: NDArray[np.uint8], chosen: NDArray[np.bool_]) -> None:
        """Percentages of reverse reads become those of forward ones."""
        for pixels in number_pixels(images, self._spec):
            for count, ratio in STRAND_NUMBERS.items():
                reads = pixels[chosen, :, INPUTS.index(count)].astype(np.int64)
                column = pixels[chosen, :, INPUTS.index(ratio)].astype(np.int64)
                # percentages are cut to integers
                reverse = -(-column * reads // 100)
                # of no reads it is 0, and stays so
                flipped = 100 * (reads - reverse) // np.maximum(reads, 1)
                pixels[chosen, :, INPUTS.index(ratio)] = flipped

    def _thin(self, reads: NDArray[np.uint8], is_snp: bool, rng: np.random.Generator) -> bool:
        """Take a random part of an image's rows, in place; whether there is less now."""
        if len(reads) < MIN_READS:
            return False
        kept = rng.random(len(reads)) < rng.uniform(MIN_KEPT, 1)
        layer = self._spec.channels.index(Channel.READ_SUPPORTS_VARIANT)
        shown = (reads[kept, :, layer] == SUPPORTS_VALUE).any(axis=1).sum()
        limits = self._candidates
        count = limits.min_count_snps if is_snp else limits.min_count_indels
        fraction = limits.min_fraction_snps if is_snp else limits.min_fraction_indels
        if shown < count or shown < fraction * kept.sum():
            return False
        left = reads[kept]
        reads[: len(left)] = left
        reads[len(left) :] = 0
        return not kept.all()


def _invent_bins(rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """Three to eight levels, each somewhere within its bin."""
    count = int(rng.integers(3, 9))
    bounds = np.sort(rng.choice(np.arange(4, 38), count - 1, replace=False)).tolist()
    lows, highs = [2, *bounds], [*bounds, 42]
    levels = [int(rng.integers(low, high)) for low, high in zip(lows, highs, strict=True)]
    return tuple(zip([*bounds, 256], levels, strict=True))


def _binned(bins: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    """Pixels of qualities to those of binned ones, uint8 [256]; 0, a blank one, stays."""
    values = quality_values()
    table = np.arange(256, dtype=np.uint8)
    # from the highest down: of the qualities that share a pixel the lowest decides
    for quality in range(255, 0, -1):
        level = next(level for bound, level in bins if quality < bound)
        table[values[quality]] = values[level]
    return table
