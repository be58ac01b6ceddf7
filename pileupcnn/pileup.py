"""What a model's input looks like, and drawing it: pileup images of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import check_range
from pileupcnn.example_info import ExampleInfo
from pileupcnn.kernels.drawing import Drawer
from pileupcnn.reads import ReadBatch
from pileupcnn.reference import ReferenceWindow


class Channel(IntEnum):
    """The layers of an image; numbers and names are DeepVariant's."""

    READ_BASE = 1
    BASE_QUALITY = 2
    MAPPING_QUALITY = 3
    STRAND = 4
    READ_SUPPORTS_VARIANT = 5
    BASE_DIFFERS_FROM_REF = 6
    INSERT_SIZE = 19


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
        Layers in order; the last axis of an image.
    reference_rows : int
        Identical rows that show the reference, on top.
    """

    height: int = 100
    width: int = 221
    channels: tuple[Channel, ...] = (
        Channel.READ_BASE,
        Channel.BASE_QUALITY,
        Channel.MAPPING_QUALITY,
        Channel.STRAND,
        Channel.READ_SUPPORTS_VARIANT,
        Channel.BASE_DIFFERS_FROM_REF,
        Channel.INSERT_SIZE,
    )
    reference_rows: int = 5

    def __post_init__(self) -> None:
        check_range("height", self.height, 1, 10_000)
        check_range("width", self.width, 3, 10_001)
        check_range("reference_rows", self.reference_rows, 0, self.height - 1)
        if self.width % 2 == 0:
            raise ValueError(f"width {self.width} is even, so no column is in the middle")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError("channels are none, or one is there twice")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, layers."""
        return self.height, self.width, len(self.channels)

    @property
    def max_reads(self) -> int:
        """Rows left for reads."""
        return self.height - self.reference_rows


def spec_from_info(info: ExampleInfo) -> PileupSpec:
    """The images that an ``example_info.json`` describes.

    Raises
    ------
    ValueError
        If they cannot be drawn.
    """
    known = {int(channel) for channel in Channel}
    unknown = [number for number in info.channels if number not in known]
    if unknown:
        raise ValueError(f"its images have the channel {unknown[0]}, which is not drawn here")
    if info.shape is None or len(info.shape) != 3 or info.shape[2] != len(info.channels):
        raise ValueError(f"'shape' does not go with {len(info.channels)} channels")
    return PileupSpec(info.shape[0], info.shape[1], tuple(map(Channel, info.channels)))


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

    def where(self, kept: NDArray[np.bool_]) -> ImagePlan:
        """The images that a mask, bool [m], keeps."""
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


def make_drawer(spec: PileupSpec, min_base_quality: int, min_mapping_quality: int) -> Drawer:
    """The kernel that draws images of `spec`; one for each thread."""
    return Drawer(
        spec.height,
        spec.width,
        spec.reference_rows,
        np.array(spec.channels, dtype=np.int32),
        min_base_quality,
        min_mapping_quality,
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
    """Draw the images ``first`` to ``first + len(images)`` of a plan.

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
    last = first + len(images)
    drawer.draw(
        reads,
        candidates,
        plan.candidate[first:last],
        plan.alts[first:last],
        window.bases,
        window.start,
        window.contig_length,
        images,
    )
