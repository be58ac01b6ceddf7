"""One pileup image, the slow way: one pixel, one channel after the other."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

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
from reference.aligning import fast_placements, is_normalized, local_alignment, merged
from reference.sampling import shuffled

COLOURS = {"A": 250, "G": 180, "T": 100, "C": 30}
WGS_CHANNELS = (1, 2, 3, 4, 5, 6, 19)
DIFFERS, BASE = 5, 0
"""Places of the channels that alt-aligned layers show."""
READ_OVERLAP_BUFFER = 5
MIN_TRIMMED_LENGTH = 15


class Variant(Protocol):
    """What is drawn around; `support` has the keys of each ALT's reads."""

    start: int
    end: int
    ref: str
    alts: tuple[str, ...]
    support: dict[str, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Style:
    """What is drawn, and of which reads.

    Attributes
    ----------
    channels : tuple of int
        DeepVariant's numbers, without those of alt-aligned layers.
    layout : str
        ``none``, ``rows``, ``diff_channels`` or ``base_channels``.
    all_types : bool
        Align to the ALTs of SNPs, too.
    sort_by_haplotypes : bool
    mean_coverage : float
    frequencies : dict of str to float
        Of ALTs.
    min_base_quality, min_mapping_quality : int
        A read below either at the variant's first base has no row.
    """

    channels: tuple[int, ...] = WGS_CHANNELS
    layout: str = "none"
    all_types: bool = False
    sort_by_haplotypes: bool = False
    mean_coverage: float = 0
    frequencies: Mapping[str, float] = dataclasses.field(default_factory=dict)
    min_base_quality: int = 10
    min_mapping_quality: int = 5


class Backdrop(NamedTuple):
    """What reads are compared with: bases from a position on."""

    start: int
    bases: str


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
    """``254 * value / cap`` truncated, in float32; a larger value counts as the cap."""
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
        methylation=read.methylation[skipped : skipped + length],
        methylation_6ma=read.methylation_6ma[skipped : skipped + length],
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


def percentage(part: int, whole: int) -> int:
    """In float32, truncated."""
    return int(np.float32(part) / np.float32(whole) * np.float32(100))


def operations(read: Read, kinds: str) -> list[int]:
    """Lengths of the operations of some kinds."""
    return [length for op, length in read.cigar if op in kinds]


def gc_percentage(bases: str) -> int:
    """Share of G and C."""
    return percentage(bases.count("G") + bases.count("C"), len(bases))


def run_lengths(bases: str) -> list[int]:
    """For each base the length of the run of equal ones that it is in."""
    return [len(run) for run in map("".join, runs_of(bases)) for _ in run]


def runs_of(bases: str) -> list[list[str]]:
    """Equal neighbours together."""
    return [list(run) for _, run in itertools.groupby(bases)]


def frequency_colour(frequency: float) -> int:
    """By the logarithm, in float32."""
    least = np.float32(0.00001)
    if np.float32(frequency) <= least:
        return 0
    low, high = (np.float32(math.log10(float(np.float32(v)))) for v in (least, frequency))
    return int((low - high) / low * np.float32(254))


def frequency_of(
    read: Read, variant: Variant, shown: Collection[int], frequencies: Mapping[str, float]
) -> float:
    """Frequency of the first ALT that lists the read and that the image shows."""
    for i, alt in enumerate(variant.alts):
        if i in shown and read.key in variant.support.get(alt, ()):
            return frequencies.get(alt, 0)
    return 0


def length_colour(variant: Variant, shown: Collection[int]) -> int:
    """By the logarithm of the largest change of length among the ALTs shown."""
    change = max(abs(len(variant.alts[i]) - len(variant.ref)) for i in shown)
    return int(min(254, 42 * math.log2(1 + change)))


def read_pixel(
    channel: int,
    read: Read,
    index: int,
    character: str,
    under: str,
    variant: Variant,
    shown: Collection[int],
    style: Style,
) -> int:
    """One channel of one pixel of a trimmed read; `under` is the backdrop's base there."""
    matched = sum(operations(read, "M="))
    if channel == 1:
        return COLOURS.get(character, 0)
    if channel == 2:
        return scaled(read.qualities[index], 40)
    if channel == 3:
        return scaled(read.mapq, 60)
    if channel == 4:
        return 240 if read.flag & REVERSE else 70
    if channel == 5:
        return 254 if supports(read, variant, shown) else 152
    if channel == 6:
        return 50 if character == under else 254
    if channel == 7:
        return scaled(read.hp, 2) % 256
    if channel == 8:
        return frequency_colour(frequency_of(read, variant, shown, style.frequencies))
    if channel in (11, 13):
        return scaled(percentage(matched, len(read.bases)), 100)
    if channel == 12:
        mean = np.float32(sum(read.qualities)) / np.float32(len(read.qualities))
        return scaled(int(mean), 93)
    if channel == 14:
        events = len(operations(read, "ID"))
        return scaled(percentage(matched, matched + sum(operations(read, "X")) + events), 100)
    if channel == 15:
        return scaled(gc_percentage(read.bases), 100)
    if channel == 16:
        return 254 if run_lengths(read.bases)[index] >= 3 else 0
    if channel == 17:
        return scaled(run_lengths(read.bases)[index] % 256, 30)
    if channel in (18, 22):
        return 0
    if channel == 19:
        return scaled(abs(read.tlen), 1000)
    if channel == 23:
        return scaled(read.methylation[index], 255) if read.methylation else 0
    if channel == 24:
        return scaled(read.methylation_6ma[index], 255) if read.methylation_6ma else 0
    if channel == 1001:
        return length_colour(variant, shown) if supports(read, variant, shown) else 0
    raise ValueError(channel)


def reference_pixel(
    channel: int, bases: str, index: int, variant: Variant, shown: Collection[int]
) -> int:
    """One channel of one pixel of the reference's rows, which show `bases`."""
    if channel == 1:
        return COLOURS.get(bases[index], 0)
    if channel == 15:
        return scaled(gc_percentage(bases), 100)
    if channel == 16:
        return 254 if run_lengths(bases)[index] >= 3 else 0
    if channel == 17:
        return scaled(run_lengths(bases)[index] % 256, 30)
    if channel == 1001:
        return length_colour(variant, shown)
    return {4: 70, 5: 152, 6: 50, 7: 0, 8: 0, 18: 0, 22: 255, 23: 0, 24: 0}.get(channel, 254)


def draw_read(
    read: Read,
    variant: Variant,
    shown: Collection[int],
    backdrop: Backdrop,
    geometry: Geometry,
    style: Style,
) -> NDArray[np.uint8] | None:
    """The row of one trimmed read, [width, channels]; None if it cannot be drawn."""
    if read.mapq < style.min_mapping_quality:
        return None
    row = np.zeros((geometry.width, len(style.channels)), np.uint8)
    for position, index, character in pixels(read):
        column = position - (variant.start - geometry.half)
        if not 0 <= column < geometry.width or position < 0:
            continue
        if position == variant.start and read.qualities[index] < style.min_base_quality:
            return None
        under = backdrop.bases[position - backdrop.start]
        row[column] = [
            read_pixel(channel, read, index, character, under, variant, shown, style)
            for channel in style.channels
        ]
    return row


def reference_row(
    variant: Variant,
    shown: Collection[int],
    backdrop: Backdrop,
    geometry: Geometry,
    channels: Sequence[int],
) -> NDArray[np.uint8]:
    """The row of the reference, [width, channels]; blank outside the contig."""
    row = np.zeros((geometry.width, len(channels)), np.uint8)
    first = variant.start - geometry.half - backdrop.start
    columns = [c for c in range(geometry.width) if 0 <= first + c < len(backdrop.bases)]
    bases = "".join(backdrop.bases[first + column] for column in columns)
    for index, column in enumerate(columns):
        row[column] = [
            reference_pixel(channel, bases, index, variant, shown) for channel in channels
        ]
    return row


def draw_block(
    trimmed: Sequence[tuple[int, Read]],
    variant: Variant,
    shown: Collection[int],
    backdrop: Backdrop,
    geometry: Geometry,
    style: Style,
) -> NDArray[np.uint8]:
    """Reference and reads (with their starts before they were trimmed) of one sample."""
    image = np.zeros((geometry.height, geometry.width, len(style.channels)), np.uint8)
    image[: geometry.reference_rows] = reference_row(
        variant, shown, backdrop, geometry, style.channels
    )
    limit = geometry.height - geometry.reference_rows
    order = shuffled(len(trimmed)) if len(trimmed) > limit else list(range(len(trimmed)))
    rows = []
    for i in order:
        if len(rows) == limit:
            break
        original_start, read = trimmed[i]
        row = draw_read(read, variant, shown, backdrop, geometry, style)
        if row is not None:
            haplotype = max(read.hp, 0) if style.sort_by_haplotypes else 0
            rows.append(((haplotype, original_start, read.name.encode(), read.number), row))
    rows.sort(key=lambda item: item[0])
    for i, (_, row) in enumerate(rows):
        image[geometry.reference_rows + i] = row
    if 22 in style.channels:
        lit = min(int(style.mean_coverage) + geometry.reference_rows, geometry.height)
        image[geometry.reference_rows : lit, :, style.channels.index(22)] = 200
    return image


def trimmed_reads(
    pool: Sequence[Read], variant: Variant, contig: str, geometry: Geometry
) -> list[tuple[int, Read]]:
    """The reads near the variant, cut to the image's window, with their starts before."""
    window_start = max(variant.start - geometry.half, 0)
    window_end = min(variant.end + geometry.half, len(contig))
    reach = variant.start - READ_OVERLAP_BUFFER, variant.end + READ_OVERLAP_BUFFER
    trimmed = []
    for read in pool:
        if overlaps(read, *reach):
            cut = trim(read, window_start, window_end)
            if cut is not None:
                trimmed.append((read.start, cut))
    return trimmed


def align_to(haplotype: Backdrop, reads: Sequence[tuple[int, Read]]) -> list[tuple[int, Read]]:
    """Reads aligned to a haplotype; without those that cannot be."""
    placed = fast_placements(
        haplotype.bases, is_reference=True, prefix=0, suffix=0, reads=[r.bases for _, r in reads]
    )
    aligned = []
    for number, (original_start, read) in enumerate(reads):
        if number in placed:
            start, cigar = placed[number][1], [("M", len(read.bases))]
        else:
            found = local_alignment(read.bases, haplotype.bases)
            if found is None:
                continue
            start, cigar = found.target_begin, list(found.cigar)
        cigar = merged(cigar, [("M", len(haplotype.bases))], start, len(read.bases))
        if cigar and is_normalized(cigar, read.bases, haplotype.bases, start):
            read = dataclasses.replace(read, start=haplotype.start + start, cigar=tuple(cigar))
        aligned.append((original_start, read))
    return aligned


def alt_blocks(
    trimmed: Sequence[tuple[int, Read]],
    variant: Variant,
    shown: Sequence[int],
    contig: str,
    geometry: Geometry,
    style: Style,
) -> list[NDArray[np.uint8]]:
    """What the image of one sample would be if each ALT were the reference; none if not aligned."""
    blocks: list[NDArray[np.uint8]] = []
    if style.all_types or any(len(allele) > 1 for allele in (variant.ref, *variant.alts)):
        for i in shown:
            first = max(variant.start - geometry.half, 0)
            haplotype = (
                contig[first : variant.start]
                + variant.alts[i]
                + contig[variant.end : variant.end + geometry.half]
            )
            if len(haplotype) < geometry.width:
                break
            backdrop = Backdrop(first, haplotype)
            aligned = align_to(backdrop, trimmed)
            blocks.append(draw_block(aligned, variant, shown, backdrop, geometry, style))
    return blocks


def draw_image(
    pool: Sequence[Read],
    variant: Variant,
    shown: Sequence[int],
    contig: str,
    geometry: Geometry | None = None,
    style: Style | None = None,
) -> NDArray[np.uint8]:
    """The image of the ALTs `shown` (indices) of one variant.

    Parameters
    ----------
    pool : sequence of Read
        The reads of the variant's partition, in the pool's order.
    variant : Variant
    shown : sequence of int
    contig : str
        All its bases.
    geometry : Geometry, optional
    style : Style, optional

    Returns
    -------
    uint8 array [height, width, channels]
        Rows: three times as high. Alt-aligned layers: two more channels.
    """
    geometry, style = geometry or Geometry(), style or Style()
    trimmed = trimmed_reads(pool, variant, contig, geometry)
    image = draw_block(trimmed, variant, shown, Backdrop(0, contig), geometry, style)
    if style.layout == "none":
        return image
    blocks = alt_blocks(trimmed, variant, shown, contig, geometry, style)
    if style.layout == "rows":
        blocks += [np.zeros_like(image)] * (2 - len(blocks))
        return np.concatenate([image, *blocks])
    place = DIFFERS if style.layout == "diff_channels" else BASE
    layers = [block[..., place] for block in blocks] or [np.zeros_like(image[..., 0])]
    return np.concatenate([image, np.stack([layers[0], layers[-1]], axis=2)], axis=2)
