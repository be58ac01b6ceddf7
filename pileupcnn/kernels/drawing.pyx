"""Pileup images: one row a read, one column a reference base, one layer a channel.

Pixel values, trimming, down-sampling and row order are DeepVariant 1.9's
(channels of its pileup_channel_lib, trimming of its alt_aligned_pileup_lib).
One deviation: where an image leaves its contig, columns outside stay blank.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from libcpp.algorithm cimport sort
from libcpp.vector cimport vector

from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.mersenne cimport shuffle
from pileupcnn.kernels.vectors cimport fill

ROW_SEED = 2101079370
"""Seed of the choice of rows where a pileup is deeper than the image, DeepVariant's."""

OVERLAP_MARGIN = 5
"""Reads this many bp away from the variant still count as overlapping it."""

MIN_TRIMMED_SPAN = 15
"""Reads with fewer reference bases left inside the image's window are not drawn."""

cdef uint64_t _ROW_SEED = ROW_SEED
cdef int64_t _OVERLAP_MARGIN = OVERLAP_MARGIN
cdef int64_t _MIN_TRIMMED_SPAN = MIN_TRIMMED_SPAN

cdef enum:
    READ_BASE = 1
    BASE_QUALITY = 2
    MAPPING_QUALITY = 3
    STRAND = 4
    READ_SUPPORTS_VARIANT = 5
    BASE_DIFFERS_FROM_REF = 6
    INSERT_SIZE = 19
    FORWARD_STRAND = 70
    REVERSE_STRAND = 240
    SUPPORTS = 254
    SUPPORTS_NOT = 152
    MATCHES_REF = 50
    DIFFERS_FROM_REF = 254
    FULL = 254
    INDEL = 42  # '*': the character of a pixel that stands for an indel

DRAWABLE = frozenset(
    {READ_BASE, BASE_QUALITY, MAPPING_QUALITY, STRAND, READ_SUPPORTS_VARIANT,
     BASE_DIFFERS_FROM_REF, INSERT_SIZE}
)
"""Numbers of the channels that can be drawn."""

STRAND_VALUES = (FORWARD_STRAND, REVERSE_STRAND)
"""Of pixels of forward and of reverse reads."""

SUPPORTS_VALUE = SUPPORTS
"""Of pixels of reads that support an ALT of the image."""


def quality_values():
    """Pixels of base qualities from 0 to 255; uint8 [256]."""
    return np.array([QUALITY_COLOUR[quality] for quality in range(256)], dtype=np.uint8)


cdef uint8_t scaled(int value, int cap) noexcept nogil:
    """min(value, cap) of cap as a share of 254, in float32, truncated."""
    return <uint8_t>(<float>254 * (<float>min(value, cap) / <float>cap))


cdef uint8_t BASE_COLOUR[256]
cdef uint8_t QUALITY_COLOUR[256]
cdef uint8_t MAPQ_COLOUR[256]
cdef int _i
memset(BASE_COLOUR, 0, 256)
BASE_COLOUR[<int>b'A'], BASE_COLOUR[<int>b'G'] = 250, 180
BASE_COLOUR[<int>b'T'], BASE_COLOUR[<int>b'C'] = 100, 30
for _i in range(256):
    QUALITY_COLOUR[_i] = scaled(_i, 40)
    MAPQ_COLOUR[_i] = scaled(_i, 60)


cdef inline bint advances_reference(uint32_t op) noexcept nogil:
    return op == 0 or op == 2 or op == 3 or op == 7 or op == 8  # M D N = X


cdef inline bint advances_read(uint32_t op) noexcept nogil:
    return op == 0 or op == 1 or op == 4 or op == 7 or op == 8  # M I S = X


cdef struct Row:
    # a drawn read: its place among the drawn and what the rows are sorted by
    int64_t start
    const uint8_t *name
    int32_t name_length
    uint8_t number
    int32_t drawn


cdef bint row_before(const Row &a, const Row &b) noexcept nogil:
    cdef int order
    if a.start != b.start:
        return a.start < b.start
    order = memcmp(a.name, b.name, min(a.name_length, b.name_length))
    if order == 0:
        order = a.name_length - b.name_length
    if order:
        return order < 0
    return a.number < b.number


cdef struct Trimmed:
    # a read cut to the image's window; its operations are in Drawer.operations
    int32_t read
    int64_t position
    int64_t first_base
    int32_t begin
    int32_t end


cdef class Drawer:
    """Draws images of one shape; a thread's own.

    Parameters
    ----------
    height, width, reference_rows : int
    channels : int32 [c]
        Channel numbers, all in `DRAWABLE`.
    min_base_quality, min_mapping_quality : int
    """

    cdef int32_t height, width, reference_rows, channel_count, min_quality, min_mapq
    cdef int32_t base_layer, quality_layer, differs_layer
    cdef vector[int32_t] channels
    # input, set by `draw`
    cdef const int64_t[::1] start, end, base_offset, cigar_offset, name_offset, partition_offset
    cdef const uint8_t[::1] bases, qualities, names, mapq, number, reference
    cdef const uint32_t[::1] cigar
    cdef const int32_t[::1] partition_reads, fragment_length, twin
    cdef const unsigned short[::1] flag
    cdef int64_t reference_start, contig_length
    # scratch of one image
    cdef vector[uint8_t] drawn, fixed, supports
    cdef vector[uint32_t] operations
    cdef vector[Trimmed] pool
    cdef vector[int32_t] order
    cdef vector[Row] rows

    def __cinit__(
        self, int height, int width, int reference_rows, const int32_t[::1] channels,
        int min_base_quality, int min_mapping_quality,
    ):
        cdef int i
        self.height, self.width, self.reference_rows = height, width, reference_rows
        self.channel_count = <int32_t>channels.shape[0]
        self.min_quality, self.min_mapq = min_base_quality, min_mapping_quality
        self.base_layer = self.quality_layer = self.differs_layer = -1
        for i in range(self.channel_count):
            self.channels.push_back(channels[i])
            if channels[i] == READ_BASE:
                self.base_layer = i
            elif channels[i] == BASE_QUALITY:
                self.quality_layer = i
            elif channels[i] == BASE_DIFFERS_FROM_REF:
                self.differs_layer = i
        self.fixed.resize(self.channel_count)
        self.drawn.resize(<size_t>(height - reference_rows) * width * self.channel_count)

    def draw(
        self, reads, candidates, const int32_t[::1] candidate, const int32_t[:, ::1] alts,
        const uint8_t[::1] reference, int64_t reference_start, int64_t contig_length,
        uint8_t[:, :, :, ::1] images,
    ):
        """Draw image ``i`` of candidate ``candidate[i]`` and its ALTs ``alts[i]``.

        `images` is uint8 [n, height, width, channels]; what it holds is lost.
        `reference` has the contig's bases from `reference_start` on, at least
        those under all images.
        """
        cdef const int64_t[::1] variant_start = candidates.start
        cdef const int64_t[::1] variant_end = candidates.end
        cdef const int64_t[::1] allele_offset = candidates.allele_offset
        cdef const int64_t[::1] support_offset = candidates.support_offset
        cdef const int32_t[::1] partition = candidates.partition
        cdef const int32_t[::1] support = candidates.support
        cdef int64_t i, first
        cdef int32_t c, k
        cdef double began
        self._take(reads)
        self.reference, self.reference_start = reference, reference_start
        self.contig_length = contig_length
        fill(self.supports, self.start.shape[0], 0)
        with nogil:
            began = thread_seconds()
            for i in range(candidate.shape[0]):
                c = candidate[i]
                self._collect(partition[c], variant_start[c], variant_end[c])
                for k in range(2):
                    first = allele_offset[c] + 1 + alts[i, k]
                    if alts[i, k] >= 0:
                        self._mark(support, support_offset[first], support_offset[first + 1], 1)
                memset(&images[i, 0, 0, 0], 0, self.height * self.width * self.channel_count)
                self._draw_reference(variant_start[c], &images[i, 0, 0, 0])
                self._draw_reads(variant_start[c], &images[i, self.reference_rows, 0, 0])
                for k in range(2):
                    first = allele_offset[c] + 1 + alts[i, k]
                    if alts[i, k] >= 0:
                        self._mark(support, support_offset[first], support_offset[first + 1], 0)
            count_released(began)

    cdef _take(self, reads):
        self.start, self.end, self.twin = reads.start, reads.end, reads.twin
        self.base_offset, self.cigar_offset = reads.base_offset, reads.cigar_offset
        self.name_offset, self.names = reads.name_offset, reads.names
        self.bases, self.qualities, self.cigar = reads.bases, reads.qualities, reads.cigar
        self.mapq, self.number, self.flag = reads.mapping_quality, reads.read_number, reads.flag
        self.fragment_length = reads.fragment_length
        self.partition_offset, self.partition_reads = reads.partition_offset, reads.partition_reads

    cdef void _mark(
        self, const int32_t[::1] support, int64_t begin, int64_t end, uint8_t value
    ) noexcept nogil:
        cdef int64_t j
        for j in range(begin, end):
            self.supports[self.twin[support[j]]] = value

    cdef int _collect(self, int32_t k, int64_t start, int64_t end) except -1 nogil:
        """The partition's reads near the variant, cut to the image's window."""
        cdef int64_t i, half = (self.width - 1) // 2
        cdef int64_t left = max(start - half, 0), right = min(end + half, self.contig_length)
        cdef int32_t read
        self.pool.clear()
        self.operations.clear()
        for i in range(self.partition_offset[k], self.partition_offset[k + 1]):
            read = self.partition_reads[i]
            if (
                start - _OVERLAP_MARGIN < self.end[read]
                and end + _OVERLAP_MARGIN > self.start[read]
            ):
                self._trim(read, left, right)
        self.order.resize(self.pool.size())
        for i in range(<int64_t>self.pool.size()):
            self.order[i] = <int32_t>i
        if self.order.size() > <size_t>(self.height - self.reference_rows):
            shuffle(self.order.data(), <int32_t>self.order.size(), _ROW_SEED)

    cdef int _trim(self, int32_t read, int64_t left_edge, int64_t right_edge) except -1 nogil:
        """Cut a read to [left_edge, right_edge); keep it if enough of it is left."""
        cdef int64_t left = max(left_edge - self.start[read], 0), advance, base_count = 0
        cdef int64_t need = max(0, right_edge - max(left_edge, self.start[read])), span = 0
        cdef int64_t i = self.cigar_offset[read], last = self.cigar_offset[read + 1]
        cdef uint32_t op, length
        cdef Trimmed kept
        kept.read = read
        kept.position = left_edge if left else self.start[read]
        kept.first_base = self.base_offset[read]
        kept.begin = <int32_t>self.operations.size()
        length = 0
        # drop what lies left of the window; an operation across its edge keeps the rest
        while i < last and left > 0:
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            advance = length if advances_reference(op) else 0
            if advance > left:
                break
            left -= advance
            if advances_read(op):
                kept.first_base += length
            i += 1
        # copy until the window is full; clips and insertions cost nothing
        while i < last:
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            if left > 0:
                length -= <uint32_t>left
                if advances_read(op):
                    kept.first_base += left
                left = 0
            advance = length if advances_reference(op) else 0
            if advance > need:
                length = <uint32_t>need
                advance = need
                i = last
            self.operations.push_back(length << 4 | op)
            need -= advance
            span += advance
            if advances_read(op):
                base_count += length
            i += 1
        kept.end = <int32_t>self.operations.size()
        if span >= _MIN_TRIMMED_SPAN and base_count > 0:
            self.pool.push_back(kept)
        else:
            self.operations.resize(kept.begin)

    cdef void _draw_reference(self, int64_t variant_start, uint8_t *image) noexcept nogil:
        """The reference rows, identical; the columns outside the contig stay blank."""
        cdef int32_t column, layer, i, channel
        cdef int64_t position
        cdef uint8_t *pixel
        cdef uint8_t value
        cdef int64_t row_bytes = <int64_t>self.width * self.channel_count
        if self.reference_rows == 0:
            return
        for column in range(self.width):
            position = variant_start - (self.width - 1) // 2 + column
            if position < 0 or position >= self.contig_length:
                continue
            pixel = image + <int64_t>column * self.channel_count
            for layer in range(self.channel_count):
                channel = self.channels[layer]
                if channel == READ_BASE:
                    value = BASE_COLOUR[self.reference[position - self.reference_start]]
                elif channel == STRAND:
                    value = FORWARD_STRAND
                elif channel == READ_SUPPORTS_VARIANT:
                    value = SUPPORTS_NOT
                elif channel == BASE_DIFFERS_FROM_REF:
                    value = MATCHES_REF
                else:
                    value = FULL
                pixel[layer] = value
        for i in range(1, self.reference_rows):
            memcpy(image + i * row_bytes, image, row_bytes)

    cdef int _draw_reads(self, int64_t variant_start, uint8_t *image) except -1 nogil:
        """Draw reads until the rows are full, then lay the rows out in order."""
        cdef size_t i
        cdef int32_t limit = self.height - self.reference_rows, read
        cdef int64_t row_bytes = <int64_t>self.width * self.channel_count
        cdef uint8_t *target
        cdef Row row
        self.rows.clear()
        for i in range(self.order.size()):
            if <int32_t>self.rows.size() == limit:
                break
            row.drawn = <int32_t>self.rows.size()
            target = self.drawn.data() + row.drawn * row_bytes
            memset(target, 0, row_bytes)
            if self._draw_read(self.pool[self.order[i]], variant_start, target):
                read = self.pool[self.order[i]].read
                row.start = self.start[read]
                row.name = &self.names[self.name_offset[read]]
                row.name_length = <int32_t>(
                    self.name_offset[read + 1] - self.name_offset[read]
                )
                row.number = self.number[read]
                self.rows.push_back(row)
        sort(self.rows.begin(), self.rows.end(), row_before)
        for i in range(self.rows.size()):
            memcpy(image + i * row_bytes, self.drawn.data() + self.rows[i].drawn * row_bytes,
                   row_bytes)

    cdef void _set_fixed(self, int32_t read) noexcept nogil:
        """What every pixel of a read holds in the layers that do not vary along it."""
        cdef int32_t layer, channel, size
        cdef uint8_t value
        for layer in range(self.channel_count):
            channel = self.channels[layer]
            value = 0
            if channel == MAPPING_QUALITY:
                value = MAPQ_COLOUR[self.mapq[read]]
            elif channel == STRAND:
                value = REVERSE_STRAND if self.flag[read] & 0x10 else FORWARD_STRAND
            elif channel == READ_SUPPORTS_VARIANT:
                value = SUPPORTS if self.supports[self.twin[read]] else SUPPORTS_NOT
            elif channel == INSERT_SIZE:
                size = self.fragment_length[read]
                value = scaled(size if size >= 0 else -size, 1000)
            self.fixed[layer] = value

    cdef bint _draw_read(
        self, Trimmed &trimmed, int64_t variant_start, uint8_t *row
    ) noexcept nogil:
        """Draw one read; false if its base at the variant is too poor to be shown.

        An insertion or deletion is one pixel at the base before it, with the
        quality of its first inserted base, or of the read's base before it.
        """
        cdef int64_t position = trimmed.position, base = trimmed.first_base, j
        cdef int32_t i
        cdef uint32_t op, length
        cdef bint drawn = True
        if self.mapq[trimmed.read] < self.min_mapq:
            return False
        self._set_fixed(trimmed.read)
        for i in range(trimmed.begin, trimmed.end):
            op, length = self.operations[i] & 15, self.operations[i] >> 4
            if op == 0 or op == 7 or op == 8:
                for j in range(length):
                    drawn = drawn and self._pixel(
                        position + j, base + j, self.bases[base + j], variant_start, row
                    )
                position += length
                base += length
            elif op == 1 or op == 4:
                if op == 1 and position > 0:
                    drawn = drawn and self._pixel(position - 1, base, INDEL, variant_start, row)
                base += length
            elif op == 2 or op == 3:
                if op == 2 and base > trimmed.first_base:
                    drawn = drawn and self._pixel(
                        position - 1, base - 1, INDEL, variant_start, row
                    )
                position += length
            if not drawn:
                return False
        return True

    cdef inline bint _pixel(
        self, int64_t position, int64_t base, uint8_t shown, int64_t variant_start, uint8_t *row
    ) noexcept nogil:
        cdef int64_t column = position - variant_start + (self.width - 1) // 2
        cdef uint8_t *pixel
        if column < 0 or column >= self.width or position < 0:
            return True
        if position == variant_start and self.qualities[base] < self.min_quality:
            return False
        pixel = row + column * self.channel_count
        memcpy(pixel, self.fixed.data(), self.channel_count)
        if self.base_layer >= 0:
            pixel[self.base_layer] = BASE_COLOUR[shown]
        if self.quality_layer >= 0:
            pixel[self.quality_layer] = QUALITY_COLOUR[self.qualities[base]]
        if self.differs_layer >= 0:
            pixel[self.differs_layer] = (
                MATCHES_REF if shown == self.reference[position - self.reference_start]
                else DIFFERS_FROM_REF
            )
        return True
