"""What a model's input looks like, and drawing it: pileup images of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, layers."""
        return self.height, self.width, len(self.channels)

    @property
    def max_reads(self) -> int:
        """Rows left for reads."""
        return self.height - self.reference_rows
