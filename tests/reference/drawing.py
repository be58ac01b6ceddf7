"""One pileup image, the slow way."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reference import (
    CONSUMES_READ,
    CONSUMES_REFERENCE,
    REVERSE,
    Read,
    overlaps,
    read_length,
    reference_length,
)
from reference.sampling import shuffled

COLOURS = {"A": 250, "G": 180, "T": 100, "C": 30}
CHANNELS = 7
READ_OVERLAP_BUFFER = 5
MIN_TRIMMED_LENGTH = 15


class Variant(Protocol):
    """What is drawn around; `support` has the keys of each ALT's reads."""

    start: int
    end: int
    alts: tuple[str, ...]
    support: dict[str, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Size of an image in rows and columns."""

    height: int = 100
    width: int = 221
    reference_rows: int = 5

    @property
    def half(self) -> int:
        """Columns on either side of the variant's first base."""
        return (self.width - 1) // 2


def scaled(value: int, cap: int) -> int:
    """``254 * value / cap`` truncated, in float32."""
    return int(np.float32(254) * (np.float32(min(value, cap)) / np.float32(cap)))


def image_alts(n_alts: int) -> list[tuple[int, ...]]:
    """Which ALTs the images of one site show, in order."""
    pairs = itertools.combinations(range(n_alts + 1), 2)
    return [tuple(allele - 1 for allele in pair if allele > 0) for pair in pairs]


def trim_front(cigar: list[tuple[str, int]], excess: int) -> tuple[list[tuple[str, int]], int]:
    """Drop `excess` reference bases; the rest of the CIGAR and the read bases dropped."""
    rest, skipped = list(cigar), 0
    while excess > 0 and rest:
        op, length = rest.pop(0)
        on_reference = length if op in CONSUMES_REFERENCE else 0
        if on_reference > excess:
            rest.insert(0, (op, length - excess))
            length = excess
        skipped += length if op in CONSUMES_READ else 0
        excess -= min(on_reference, excess)
    return rest, skipped


def trim_back(cigar: list[tuple[str, int]], needed: int) -> list[tuple[str, int]]:
    """Keep `needed` reference bases; the operation beyond them is kept with what is left."""
    kept = []
    for op, length in cigar:
        on_reference = length if op in CONSUMES_REFERENCE else 0
        if on_reference > needed:
            kept.append((op, needed))
            break
        kept.append((op, length))
        needed -= on_reference
    return kept


def trim(read: Read, start: int, end: int) -> Read | None:
    """Cut a read to ``[start, end)``; None if too little is left."""
    excess = max(start - read.start, 0)
    rest, skipped = trim_front(list(read.cigar), excess)
    cigar = trim_back(rest, end - max(start, read.start))
    length = read_length(cigar)
    if reference_length(cigar) < MIN_TRIMMED_LENGTH or length == 0:
        return None
    return dataclasses.replace(
        read,
        start=start if excess else read.start,
        cigar=tuple(cigar),
        bases=read.bases[skipped : skipped + length],
        qualities=read.qualities[skipped : skipped + length],
    )


def pixels(read: Read) -> list[tuple[int, int, str]]:
    """Reference position, read index and character of every pixel, in drawing order."""
    drawn = []
    position, index = read.start, 0
    for op, length in read.cigar:
        if op in "M=X":
            drawn.extend((position + i, index + i, read.bases[index + i]) for i in range(length))
            position += length
            index += length
        elif op in "IS":
            if op == "I" and position > 0:
                drawn.append((position - 1, index, "*"))
            index += length
        elif op in "DN":
            if op == "D" and index > 0:
                drawn.append((position - 1, index - 1, "*"))
            position += length
    return drawn


def supports(read: Read, variant: Variant, shown: Collection[int]) -> bool:
    """Whether the first ALT that lists the read is one the image shows."""
    for i, alt in enumerate(variant.alts):
        if read.key in variant.support.get(alt, ()):
            return i in shown
    return False


def draw_read(
    read: Read,
    variant: Variant,
    shown: Collection[int],
    contig: str,
    geometry: Geometry,
    min_base_quality: int,
) -> NDArray[np.uint8] | None:
    """The row of one trimmed read, [width, channels]; None if it cannot be drawn."""
    row = np.zeros((geometry.width, CHANNELS), np.uint8)
    mapping_quality = scaled(read.mapq, 60)
    strand = 240 if read.flag & REVERSE else 70
    support = 254 if supports(read, variant, shown) else 152
    insert_size = scaled(abs(read.tlen), 1000)
    for position, index, character in pixels(read):
        column = position - (variant.start - geometry.half)
        if not 0 <= column < geometry.width or position < 0:
            continue
        quality = read.qualities[index]
        if position == variant.start and quality < min_base_quality:
            return None
        row[column] = (
            COLOURS.get(character, 0),
            scaled(quality, 40),
            mapping_quality,
            strand,
            support,
            50 if character == contig[position] else 254,
            insert_size,
        )
    return row


def reference_row(start: int, contig: str, geometry: Geometry) -> NDArray[np.uint8]:
    """The row of the reference, [width, channels]; blank outside the contig."""
    row = np.zeros((geometry.width, CHANNELS), np.uint8)
    for column in range(geometry.width):
        position = start - geometry.half + column
        if 0 <= position < len(contig):
            row[column] = (COLOURS.get(contig[position], 0), 254, 254, 70, 152, 50, 254)
    return row


def draw_image(
    pool: Sequence[Read],
    variant: Variant,
    shown: Collection[int],
    contig: str,
    geometry: Geometry | None = None,
    min_base_quality: int = 10,
    min_mapping_quality: int = 5,
) -> NDArray[np.uint8]:
    """The image of the ALTs `shown` (indices) of one variant.

    Parameters
    ----------
    pool : sequence of Read
        The reads of the variant's partition, in the pool's order.
    variant : Variant
    shown : collection of int
    contig : str
        All its bases.
    geometry : Geometry, optional
    min_base_quality, min_mapping_quality : int
        A read below either at the variant's first base has no row.

    Returns
    -------
    uint8 array [height, width, channels]
    """
    geometry = geometry or Geometry()
    image = np.zeros((geometry.height, geometry.width, CHANNELS), np.uint8)
    image[: geometry.reference_rows] = reference_row(variant.start, contig, geometry)

    window_start = max(variant.start - geometry.half, 0)
    window_end = min(variant.end + geometry.half, len(contig))
    reach = variant.start - READ_OVERLAP_BUFFER, variant.end + READ_OVERLAP_BUFFER
    trimmed = []
    for read in pool:
        if overlaps(read, *reach):
            cut = trim(read, window_start, window_end)
            if cut is not None:
                trimmed.append((read.start, cut))

    limit = geometry.height - geometry.reference_rows
    order = shuffled(len(trimmed)) if len(trimmed) > limit else list(range(len(trimmed)))
    rows = []
    for i in order:
        if len(rows) == limit:
            break
        original_start, read = trimmed[i]
        if read.mapq < min_mapping_quality:
            continue
        row = draw_read(read, variant, shown, contig, geometry, min_base_quality)
        if row is not None:
            rows.append(((original_start, read.name.encode(), read.number), row))
    rows.sort(key=lambda item: item[0])
    for i, (_, row) in enumerate(rows):
        image[geometry.reference_rows + i] = row
    return image
