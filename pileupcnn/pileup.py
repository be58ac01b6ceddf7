"""What a model's input looks like, and drawing it: pileup images of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import check_range
from pileupcnn.example_info import ExampleInfo
from pileupcnn.kernels.alt_align import AltAligner
from pileupcnn.kernels.channels import DRAWABLE
from pileupcnn.kernels.drawing import ALT_LAYOUTS, Drawer
from pileupcnn.reads import ReadBatch
from pileupcnn.realign import AlignmentSettings
from pileupcnn.reference import ReferenceWindow
from pileupcnn.samples import Support


class Channel(IntEnum):
    """The layers of an image; numbers and names are DeepVariant's, from 1,000 on our own.

    Its images show an insertion as one pixel, however long it is; `ALLELE_LENGTH`
    tells: by how many bases the ALTs that the image shows change the length, in the
    reference's rows and in those of reads that support one. In a repeat only reads that
    reach beyond it tell how long it is: `FLANK` shows by how many bases a read does, on
    the shorter side and up to 12, and in the reference's rows how long the stretch is in
    which the ALTs may lie, as far as the image goes. `NUMBERS` shows what the small model
    is told of the site, in the reads of the sample with the candidates, and of that sample
    (`small_model.pixels`): in the reference's rows, one number a pixel from the left, and
    blank elsewhere. (1002 and 1003 were others once.)
    """

    READ_BASE = 1
    BASE_QUALITY = 2
    MAPPING_QUALITY = 3
    STRAND = 4
    READ_SUPPORTS_VARIANT = 5
    BASE_DIFFERS_FROM_REF = 6
    HAPLOTYPE = 7
    ALLELE_FREQUENCY = 8
    DIFF_CHANNELS_ALTERNATE_ALLELE_1 = 9
    DIFF_CHANNELS_ALTERNATE_ALLELE_2 = 10
    READ_MAPPING_PERCENT = 11
    AVG_BASE_QUALITY = 12
    IDENTITY = 13
    GAP_COMPRESSED_IDENTITY = 14
    GC_CONTENT = 15
    IS_HOMOPOLYMER = 16
    HOMOPOLYMER_WEIGHTED = 17
    BLANK = 18
    INSERT_SIZE = 19
    BASE_CHANNELS_ALTERNATE_ALLELE_1 = 20
    BASE_CHANNELS_ALTERNATE_ALLELE_2 = 21
    MEAN_COVERAGE = 22
    BASE_METHYLATION = 23
    BASE_6MA = 24
    ALLELE_LENGTH = 1001
    NUMBERS = 1004
    FLANK = 1005


BASE_CHANNELS = tuple(Channel(number) for number in range(1, 7))
"""The six channels that all of DeepVariant's models have."""


OWN_CHANNELS = (
    *BASE_CHANNELS,
    Channel.INSERT_SIZE,
    Channel.ALLELE_LENGTH,
    Channel.FLANK,
    Channel.NUMBERS,
)
"""What networks of our own see unless told otherwise."""


class AltAlignedPileup(Enum):
    """Where an image shows the reads as aligned to its ALTs, as DeepVariant's flag."""

    NONE = "none"
    ROWS = "rows"
    DIFF_CHANNELS = "diff_channels"
    BASE_CHANNELS = "base_channels"

    @property
    def layers(self) -> tuple[Channel, ...]:
        """The layers that it adds, for the first and the second ALT."""
        if self is AltAlignedPileup.DIFF_CHANNELS:
            return (
                Channel.DIFF_CHANNELS_ALTERNATE_ALLELE_1,
                Channel.DIFF_CHANNELS_ALTERNATE_ALLELE_2,
            )
        if self is AltAlignedPileup.BASE_CHANNELS:
            return (
                Channel.BASE_CHANNELS_ALTERNATE_ALLELE_1,
                Channel.BASE_CHANNELS_ALTERNATE_ALLELE_2,
            )
        return ()


class TypesToAltAlign(Enum):
    """Candidates whose reads are aligned to their ALTs, as DeepVariant's flag."""

    INDELS = "indels"
    ALL = "all"


LATER: dict[str, bool] = {"later": True}
"""Metadata of settings that older bundles lack: they mean what the default says."""


@dataclass(frozen=True, slots=True)
class PileupSpec:
    """Geometry and layers of an image; defaults are DeepVariant's for WGS.

    Attributes
    ----------
    height : int
        Rows: `reference_rows` of the reference, then one a read.
    width : int
        Columns; odd, the variant's first base is in the middle one.
    channels : tuple of Channel
        Layers in order, without those that `alt_aligned_pileup` adds.
    reference_rows : int
        Identical rows that show the reference, on top.
    alt_aligned_pileup : AltAlignedPileup
        Rows: two more blocks of `height` rows below, for the first and the
        second ALT. Diff channels, base channels: two more layers, which are the
        sixth or the first of `channels` for the first and the second ALT.
    types_to_alt_align : TypesToAltAlign
        Other candidates have empty rows or layers there.
    sort_by_haplotypes : bool
        Rows are sorted by HP tag first.
    mean_coverage : float
        What the channel of that name shows; DeepVariant 1.9 leaves it at 0.
    sample_heights : tuple of int
        Rows of each sample, where an image stacks several, from the top; each
        has its own rows of the reference, and they add up to `height`. Empty
        for one sample.
    main_sample : int
        Which of these has the candidates, counted from 0.
    """

    height: int = 100
    width: int = 221
    channels: tuple[Channel, ...] = (*BASE_CHANNELS, Channel.INSERT_SIZE)
    reference_rows: int = 5
    alt_aligned_pileup: AltAlignedPileup = field(default=AltAlignedPileup.NONE, metadata=LATER)
    types_to_alt_align: TypesToAltAlign = field(default=TypesToAltAlign.INDELS, metadata=LATER)
    sort_by_haplotypes: bool = field(default=False, metadata=LATER)
    mean_coverage: float = field(default=0.0, metadata=LATER)
    sample_heights: tuple[int, ...] = field(default=(), metadata=LATER)
    main_sample: int = field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        check_range("height", self.height, 1, 10_000)
        check_range("width", self.width, 3, 10_001)
        for height in self.heights:
            check_range("reference_rows", self.reference_rows, 0, height - 1)
        check_range("mean_coverage", self.mean_coverage, 0, 1_000_000)
        check_range("main_sample", self.main_sample, 0, len(self.heights) - 1)
        if sum(self.heights) != self.height:
            raise ValueError(f"the samples' heights do not add up to {self.height}")
        if self.width % 2 == 0:
            raise ValueError(f"width {self.width} is even, so no column is in the middle")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError("channels are none, or one is there twice")
        if self.numbers_layer is not None and not self.reference_rows:
            raise ValueError("numbers are shown in the reference's rows, and there are none")
        if not DRAWABLE.issuperset(self.channels):
            raise ValueError("channels of alternate alleles belong to alt_aligned_pileup")
        if self.alt_aligned_pileup.layers and self.channels[: len(BASE_CHANNELS)] != BASE_CHANNELS:
            raise ValueError(
                f"alt_aligned_pileup {self.alt_aligned_pileup.value} needs channels that begin "
                "with the six base channels in order"
            )

    @property
    def layers(self) -> tuple[Channel, ...]:
        """All layers in order; the last axis of an image."""
        return (*self.channels, *self.alt_aligned_pileup.layers)

    @property
    def heights(self) -> tuple[int, ...]:
        """Rows of each sample."""
        return self.sample_heights or (self.height,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, layers."""
        blocks = 3 if self.alt_aligned_pileup is AltAlignedPileup.ROWS else 1
        return blocks * self.height, self.width, len(self.layers)

    @property
    def needs_haplotypes(self) -> bool:
        """Whether the reads' HP tags are shown or sorted by."""
        return self.sort_by_haplotypes or Channel.HAPLOTYPE in self.channels

    @property
    def needs_modifications(self) -> bool:
        """Whether the reads' modified bases are shown."""
        return not {Channel.BASE_METHYLATION, Channel.BASE_6MA}.isdisjoint(self.channels)

    @property
    def needs_frequencies(self) -> bool:
        """Whether the frequencies of alleles in a population are shown."""
        return Channel.ALLELE_FREQUENCY in self.channels

    @property
    def needs_survey(self) -> bool:
        """Whether anything of the whole sample is shown."""
        return self.numbers_layer is not None

    @property
    def numbers_layer(self) -> int | None:
        """The place of `Channel.NUMBERS` among the layers, if it is shown."""
        shown = Channel.NUMBERS in self.channels
        return self.channels.index(Channel.NUMBERS) if shown else None


MIN_HEIGHT_OF_ALT_ALIGNED = 75
"""Rows of DeepVariant's lowest image: three such on top of each other are alt-aligned rows."""


def spec_from_info(info: ExampleInfo, sample_heights: tuple[int, ...] = ()) -> PileupSpec:
    """What images with this description look like.

    What it does not tell has DeepVariant's defaults: the types of variants that
    are aligned to their ALTs, and that rows are not sorted by haplotypes.

    Parameters
    ----------
    info : ExampleInfo
        Of examples or a model. Channels that end in those of alternate alleles
        tell that these are shown as layers; rows of which each third could be an
        image tell that they are shown as rows.
    sample_heights : tuple of int
        As in `PileupSpec`; then alt-aligned rows are told by their number.

    Raises
    ------
    ValueError
        If there is no shape, or images of it cannot be drawn.
    """
    known = {int(channel) for channel in Channel}
    unknown = [number for number in info.channels if number not in known]
    if unknown:
        raise ValueError(f"its images have the channel {unknown[0]}, which is not drawn here")
    if info.shape is None or len(info.shape) != 3 or info.shape[2] != len(info.channels):
        raise ValueError(f"'shape' does not go with {len(info.channels)} channels")
    rows, width, _ = info.shape
    channels = tuple(map(Channel, info.channels))
    shown = AltAlignedPileup.NONE
    for layout in AltAlignedPileup:
        if layout.layers and channels[-len(layout.layers) :] == layout.layers:
            shown, channels = layout, channels[: -len(layout.layers)]
    height = sum(sample_heights) or rows
    third = rows // 3
    if shown is AltAlignedPileup.NONE and (
        rows == 3 * height
        if sample_heights
        else rows % 3 == 0 and third >= MIN_HEIGHT_OF_ALT_ALIGNED
    ):
        shown, height = AltAlignedPileup.ROWS, third
    if height * (3 if shown is AltAlignedPileup.ROWS else 1) != rows:
        raise ValueError(f"{rows} rows, which the samples' heights do not add up to")
    return PileupSpec(
        height, width, channels, alt_aligned_pileup=shown, sample_heights=sample_heights
    )


@dataclass(slots=True)
class ImagePlan:
    """The images that candidates need, in order.

    Attributes
    ----------
    candidate : int32 [m]
        Index into the `CandidateBatch`; the images of one candidate are neighbours.
    alts : int32 [m, 2]
        The ALTs an image shows as supported, counted from 0 among the
        candidate's ALTs; the second is -1 where the image shows one.
    """

    candidate: NDArray[np.int32]
    alts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.candidate)

    def where(self, kept: NDArray[np.bool_] | slice) -> ImagePlan:
        """The images that a mask, bool [m], or a slice keeps."""
        return ImagePlan(self.candidate[kept], self.alts[kept])


def plan_images(candidates: CandidateBatch) -> ImagePlan:
    """One image for each ALT, then one for each pair of ALTs, candidate by candidate."""
    alt_counts = np.diff(candidates.allele_offset) - 1
    if (alt_counts == 1).all():
        n = len(candidates)
        alts = np.zeros((n, 2), dtype=np.int32)
        alts[:, 1] = -1
        return ImagePlan(np.arange(n, dtype=np.int32), alts)
    owners: list[int] = []
    pairs: list[tuple[int, int]] = []
    for index, count in enumerate(alt_counts.tolist()):
        wanted = [(i, -1) for i in range(count)]
        wanted += [(i, j) for i in range(count) for j in range(i + 1, count)]
        owners += [index] * len(wanted)
        pairs += wanted
    return ImagePlan(
        np.array(owners, dtype=np.int32), np.array(pairs, dtype=np.int32).reshape(-1, 2)
    )


def make_drawer(
    spec: PileupSpec,
    min_base_quality: int,
    min_mapping_quality: int,
    alignment: AlignmentSettings | None = None,
) -> Drawer:
    """The kernel that draws images of `spec`; one for each thread.

    `alignment` says how reads are aligned to ALTs, if they are.
    """
    layout = ALT_LAYOUTS.index(spec.alt_aligned_pileup.value)
    aligner = None
    if layout:
        scores = alignment or AlignmentSettings()
        aligner = AltAligner(
            scores.match,
            scores.mismatch,
            scores.gap_open,
            scores.gap_extend,
            scores.kmer_size,
            scores.max_mismatches,
        )
    return Drawer(
        np.array(spec.heights, dtype=np.int32),
        spec.width,
        spec.reference_rows,
        np.array(spec.channels, dtype=np.int32),
        min_base_quality,
        min_mapping_quality,
        spec.sort_by_haplotypes,
        spec.mean_coverage,
        layout,
        spec.types_to_alt_align is TypesToAltAlign.ALL,
        aligner,
    )


def draw_images(
    drawer: Drawer,
    reads: ReadBatch,
    candidates: CandidateBatch,
    plan: ImagePlan,
    window: ReferenceWindow,
    images: NDArray[np.uint8],
    first: int = 0,
) -> None:
    """Draw the images ``first`` to ``first + len(images)`` of a plan, of one sample.

    Parameters
    ----------
    drawer : Drawer
        From `make_drawer`.
    reads, candidates, plan
        Of one run; an image shows reads of its candidate's partition only.
    window : ReferenceWindow
        Bases under all images.
    images : uint8 [n, height, width, channels]
        Overwritten. Rows that no read fills stay 0, and so do columns outside
        the contig (where DeepVariant drops the candidate).
    first : int
        Place in the plan of the first image.
    """
    support = candidates.support_offset, candidates.support
    draw_samples(drawer, [reads], [support], candidates, plan, window, images, first)


def number_pixels(images: NDArray[np.uint8], spec: PileupSpec) -> Iterator[NDArray[np.uint8]]:
    """Where images show `Channel.NUMBERS`: for each sample a view, [n, rows, width]; or none."""
    if spec.numbers_layer is not None:
        top = 0
        for height in spec.heights:
            yield images[:, top : top + spec.reference_rows, :, spec.numbers_layer]
            top += height


def write_numbers(images: NDArray[np.uint8], numbers: NDArray[np.uint8], spec: PileupSpec) -> None:
    """Fill in `Channel.NUMBERS` of drawn images, if they show it.

    Parameters
    ----------
    images : uint8 [n, height, width, channels]
    numbers : uint8 [n, k]
        Of each image; `k` is at most the width.
    spec : PileupSpec
    """
    for pixels in number_pixels(images, spec):
        pixels[:, :, : numbers.shape[1]] = numbers[:, None]


def draw_samples(
    drawer: Drawer,
    samples: Sequence[ReadBatch],
    supports: Sequence[Support],
    candidates: CandidateBatch,
    plan: ImagePlan,
    window: ReferenceWindow,
    images: NDArray[np.uint8],
    first: int = 0,
) -> None:
    """As `draw_images`, of several samples in the order of `PileupSpec.sample_heights`.

    `supports` are those of each sample's reads.
    """
    last = first + len(images)
    drawer.draw(
        samples,
        candidates,
        supports,
        plan.candidate[first:last],
        plan.alts[first:last],
        window.bases,
        window.start,
        window.contig_length,
        images,
    )
