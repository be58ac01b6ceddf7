"""Pileup images: one row a read, one column a reference base, one layer a channel.

Trimming, down-sampling, row order and the layout of images with alignments to
the ALTs are DeepVariant 1.9's (its make_examples_native, pileup_image_native
and pileup_channel_lib). One deviation: where an image leaves its contig,
columns outside stay blank.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from libcpp.algorithm cimport sort
from libcpp.vector cimport vector

from pileupcnn.kernels.alt_align cimport AltAligner
from pileupcnn.kernels.channels cimport (
    ALLELE_FREQUENCY,
    BASE_6MA,
    BASE_COLOUR,
    BASE_METHYLATION,
    DIFFERS_FROM_REF,
    FLANK,
    HAPLOTYPE,
    MATCHES_REF,
    MEAN_COVERAGE,
    QUALITY_COLOUR,
    Layers,
    ShownRead,
    layers_of,
    read_value,
    reference_values,
    values_along,
)
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.mersenne cimport shuffle
from pileupcnn.kernels.trimming cimport Pool, Trimmed, trim
from pileupcnn.kernels.vectors cimport fill

ROW_SEED = 2101079370
"""Seed of the choice of rows where a pileup is deeper than the image, DeepVariant's."""

OVERLAP_MARGIN = 5
"""Reads this many bp away from the variant still count as overlapping it."""

ALT_LAYOUTS = ("none", "rows", "diff_channels", "base_channels")
"""Where alignments to the ALTs are shown: nowhere, below, or in two more layers."""

cdef uint64_t _ROW_SEED = ROW_SEED
cdef int64_t _OVERLAP_MARGIN = OVERLAP_MARGIN

cdef enum:
    NO_ALTS = 0
    ALT_ROWS = 1
    DIFF_CHANNELS = 2
    BASE_CHANNELS = 3
    # the places of the channels that are shown so among all
    DIFF_PLACE = 5
    BASE_PLACE = 0
    MEAN_COVERAGE_VALUE = 200


cdef struct Row:
    # a drawn read: its place among the drawn and what the rows are sorted by
    int32_t haplotype
    int64_t start
    const uint8_t *name
    int32_t name_length
    uint8_t number
    int32_t drawn


cdef bint row_before(const Row &a, const Row &b) noexcept nogil:
    cdef int order
    if a.haplotype != b.haplotype:
        return a.haplotype < b.haplotype
    if a.start != b.start:
        return a.start < b.start
    order = memcmp(a.name, b.name, min(a.name_length, b.name_length))
    if order == 0:
        order = a.name_length - b.name_length
    if order:
        return order < 0
    return a.number < b.number


cdef struct Backdrop:
    # what the reads of an image are compared with: bases at [start, end) of the contig, or of what
    # it would be with an ALT
    const uint8_t *bases
    int64_t start
    int64_t end


cdef class Drawer:
    """Draws images of one shape; a thread's own.

    Parameters
    ----------
    heights : int32 [s]
        Rows of each sample, its rows of the reference included.
    width, reference_rows : int
    channels : int32 [c]
        Channel numbers, all in `channels.DRAWABLE`.
    min_base_quality, min_mapping_quality : int
    sort_by_haplotypes : bool
    mean_coverage : float
    alt_layout : int
        Place in `ALT_LAYOUTS`.
    align_all : bool
        Align to the ALTs of SNPs, too.
    aligner : AltAligner, optional
        Needed for all layouts but the first.
    """

    cdef int32_t width, reference_rows, min_quality, min_mapq, alt_layout, total_height, depth
    cdef bint sort_by_haplotypes, align_all, shows_frequency, shows_methylation, shows_6ma
    cdef bint shows_flank
    cdef bint needs_haplotype
    cdef int32_t mean_coverage
    cdef vector[int32_t] heights
    cdef Layers layers, alt_layers
    cdef AltAligner aligner
    # a sample's reads, set by `_take`
    cdef const int64_t[::1] start, end, base_offset, cigar_offset, name_offset, partition_offset
    cdef const uint8_t[::1] bases, qualities, names, mapq, number, methylation, methylation_6ma
    cdef const uint32_t[::1] cigar
    cdef const int32_t[::1] partition_reads, fragment_length, twin, haplotype
    cdef const unsigned short[::1] flag
    # candidates and reference, set by `draw`
    cdef const int64_t[::1] variant_start, variant_end, allele_offset, allele_bases_offset
    cdef const int64_t[::1] support_offset
    cdef const int32_t[::1] partition, support
    cdef const uint8_t[::1] allele_bases, reference
    cdef const float[::1] allele_frequency
    cdef int64_t reference_start, contig_length
    # of the image that is drawn: the tract in which its ALTs may lie
    cdef int64_t tract_start, tract_end
    # scratch of one image: whether a read's first ALT is shown (2) or not (1), the frequency of its
    # first that is (-1: it has none), reads, rows
    cdef vector[uint8_t] listed
    cdef vector[float] frequency
    cdef Pool pool
    cdef vector[int32_t] order
    cdef vector[Row] rows
    cdef vector[uint8_t] drawn, fixed, along, column
    cdef Backdrop backdrop
    cdef ShownRead shown

    def __cinit__(
        self, const int32_t[::1] heights, int width, int reference_rows,
        const int32_t[::1] channels, int min_base_quality, int min_mapping_quality,
        bint sort_by_haplotypes=False, double mean_coverage=0, int alt_layout=NO_ALTS,
        bint align_all=False, AltAligner aligner=None,
    ):
        cdef int32_t i, tallest = 0, place = 0
        self.width, self.reference_rows = width, reference_rows
        self.total_height = 0
        for i in range(heights.shape[0]):
            self.heights.push_back(heights[i])
            self.total_height += heights[i]
            tallest = max(tallest, heights[i])
        self.min_quality, self.min_mapq = min_base_quality, min_mapping_quality
        self.sort_by_haplotypes, self.mean_coverage = sort_by_haplotypes, <int32_t>mean_coverage
        self.alt_layout, self.align_all, self.aligner = alt_layout, align_all, aligner
        if alt_layout != NO_ALTS and aligner is None:
            raise ValueError("alignments to the ALTs need an aligner")
        self.layers = layers_of(channels)
        self.depth = self.layers.count
        if alt_layout == DIFF_CHANNELS or alt_layout == BASE_CHANNELS:
            place = DIFF_PLACE if alt_layout == DIFF_CHANNELS else BASE_PLACE
            if place >= channels.shape[0]:
                raise ValueError(f"{channels.shape[0]} channels are too few for this layout")
            self.alt_layers = layers_of(channels[place:place + 1])
            self.depth += 2
        else:
            self.alt_layers = self.layers
        for i in range(self.layers.count):
            self.shows_frequency |= channels[i] == ALLELE_FREQUENCY
            self.shows_methylation |= channels[i] == BASE_METHYLATION
            self.shows_flank |= channels[i] == FLANK
            self.shows_6ma |= channels[i] == BASE_6MA
            self.needs_haplotype |= channels[i] == HAPLOTYPE
        self.needs_haplotype |= sort_by_haplotypes
        self.fixed.resize(self.layers.count)
        self.column.resize(width)
        self.drawn.resize(<size_t>(tallest - reference_rows + 1) * width * self.layers.count)

    def draw(
        self, samples, candidates, supports, const int32_t[::1] candidate,
        const int32_t[:, ::1] alts, const uint8_t[::1] reference, int64_t reference_start,
        int64_t contig_length, uint8_t[:, :, :, ::1] images,
    ):
        """Draw image ``i`` of candidate ``candidate[i]`` and its ALTs ``alts[i]``.

        Parameters
        ----------
        samples : list of ReadBatch
            One for each of `heights`.
        candidates : CandidateBatch
        supports : list of (int64 [a + 1], int32)
            For each sample the reads that support the candidates' alleles, as
            `CandidateBatch` has them.
        candidate, alts : int32 [n], int32 [n, 2]
        reference : uint8
            The contig's bases from `reference_start` on, at least those under
            all images and reads that may be drawn.
        reference_start, contig_length : int
        images : uint8 [n, height, width, channels]
            What it holds is lost.
        """
        cdef int64_t i, n = candidate.shape[0], top = 0
        cdef int k
        cdef double began
        self._take_candidates(candidates)
        self.reference, self.reference_start = reference, reference_start
        self.contig_length = contig_length
        if n:
            memset(&images[0, 0, 0, 0], 0, images.size)
        for k in range(len(samples)):
            self._take(samples[k])
            self.support_offset, self.support = supports[k]
            with nogil:
                began = thread_seconds()
                for i in range(n):
                    self._draw_sample(
                        candidate[i], &alts[i, 0], self.heights[k], &images[i, top, 0, 0]
                    )
                count_released(began)
            top += self.heights[k]

    cdef _take(self, reads):
        self.start, self.end, self.twin = reads.start, reads.end, reads.twin
        self.base_offset, self.cigar_offset = reads.base_offset, reads.cigar_offset
        self.name_offset, self.names = reads.name_offset, reads.names
        self.bases, self.qualities, self.cigar = reads.bases, reads.qualities, reads.cigar
        self.mapq, self.number, self.flag = reads.mapping_quality, reads.read_number, reads.flag
        self.fragment_length = reads.fragment_length
        self.partition_offset, self.partition_reads = reads.partition_offset, reads.partition_reads
        if self.needs_haplotype:
            self.haplotype = _wanted(reads.haplotype, "HP tags")
        if self.shows_methylation:
            self.methylation = _wanted(reads.methylation, "methylation")
        if self.shows_6ma:
            self.methylation_6ma = _wanted(reads.methylation_6ma, "methylation")
        fill(self.listed, self.start.shape[0], 0)
        fill(self.frequency, self.start.shape[0] if self.shows_frequency else 0, -1)

    cdef _take_candidates(self, candidates):
        self.variant_start, self.variant_end = candidates.start, candidates.end
        self.partition, self.allele_offset = candidates.partition, candidates.allele_offset
        self.allele_bases_offset, self.allele_bases = candidates.base_offset, candidates.bases
        if self.shows_frequency:
            self.allele_frequency = _wanted(candidates.allele_frequency, "allele frequencies")

    cdef int _draw_sample(
        self, int32_t c, const int32_t *alts, int32_t height, uint8_t *image
    ) except -1 nogil:
        """Draw one sample's rows, from the contig's and the ALTs' point of view."""
        cdef int64_t start = self.variant_start[c]
        cdef int32_t k, layer
        cdef uint8_t *below
        self._collect(self.partition[c], start, self.variant_end[c])
        self._list(c, alts)
        self.shown.tract_length = self.tract_end - self.tract_start
        self.backdrop.bases, self.backdrop.start = &self.reference[0], self.reference_start
        self.backdrop.end = self.contig_length
        self._draw_block(self.pool, self.layers, start, height, image, 0)
        if self.alt_layout != NO_ALTS and self._is_aligned(c):
            for k in range(2):
                if alts[k] < 0 or not self._align(c, alts[k]):
                    if self.alt_layout != ALT_ROWS and k == 1:
                        # what shows the second ALT repeats the first where there is none
                        self._repeat_layer(image, height, self.layers.count)
                    break
                below, layer = image, self.layers.count + k
                if self.alt_layout == ALT_ROWS:
                    below += <int64_t>(k + 1) * self.total_height * self.width * self.depth
                    layer = 0
                self._draw_block(self.aligner.pool, self.alt_layers, start, height, below, layer)
        self._unlist(c)

    cdef void _list(self, int32_t c, const int32_t *alts) noexcept nogil:
        """Note for each read the first ALT that lists it, and how long the shown ones are."""
        cdef int64_t j, first = self.allele_offset[c] + 1, change
        cdef int32_t a, read
        cdef bint is_shown
        cdef uint8_t mark
        self.shown.length_change = 0
        self.tract_start, self.tract_end = self.contig_length, 0
        for a in range(<int32_t>(self.allele_offset[c + 1] - first)):
            is_shown = a == alts[0] or a == alts[1]
            mark = 2 if is_shown else 1
            if is_shown:
                change = self._length(first + a) - self._length(first - 1)
                self.shown.length_change = max(
                    self.shown.length_change, change if change >= 0 else -change
                )
                if self.shows_flank:
                    self._widen_tract(c, first + a)
            for j in range(self.support_offset[first + a], self.support_offset[first + a + 1]):
                read = self.twin[self.support[j]]
                if self.listed[read] == 0:
                    self.listed[read] = mark
                if self.shows_frequency and is_shown and self.frequency[read] < 0:
                    self.frequency[read] = self.allele_frequency[first + a]

    cdef void _widen_tract(self, int32_t c, int64_t allele) noexcept nogil:
        """Add to the image's tract where the change to an allele may lie as well.

        An insertion or deletion may lie as far to either side as the reference
        repeats it, which is looked for within the image.
        """
        cdef int64_t first = self.allele_offset[c]
        cdef const uint8_t *bases = &self.allele_bases[self.allele_bases_offset[first]]
        cdef const uint8_t *others = &self.allele_bases[self.allele_bases_offset[allele]]
        cdef int64_t n = self._length(first), m = self._length(allele), front = 0, begin, end
        cdef int64_t half = (self.width - 1) // 2, start = self.variant_start[c], size
        cdef const uint8_t *changed
        cdef int64_t i = 0
        # what both begin or end in is no part of the change
        while front < min(n, m) and bases[front] == others[front]:
            front += 1
        while n > front and m > front and bases[n - 1] == others[m - 1]:
            n -= 1
            m -= 1
        begin, end = start + front, start + n
        if n == front or m == front:
            changed = (bases if n > front else others) + front
            size = max(n, m) - front
            # on by a base while that is the changed bases' next, read in a circle
            while end < min(start + half, self.contig_length) and (
                self._at(end) == changed[i % size]
            ):
                end += 1
                i += 1
            i = 0
            while begin > max(start - half, 0) and self._at(begin - 1) == changed[size - 1 - i % size]:
                begin -= 1
                i += 1
        self.tract_start, self.tract_end = min(self.tract_start, begin), max(self.tract_end, end)

    cdef inline uint8_t _at(self, int64_t position) noexcept nogil:
        return self.reference[position - self.reference_start]

    cdef inline int64_t _length(self, int64_t allele) noexcept nogil:
        return self.allele_bases_offset[allele + 1] - self.allele_bases_offset[allele]

    cdef void _unlist(self, int32_t c) noexcept nogil:
        cdef int64_t j
        for j in range(
            self.support_offset[self.allele_offset[c]],
            self.support_offset[self.allele_offset[c + 1]],
        ):
            self.listed[self.twin[self.support[j]]] = 0
            if self.shows_frequency:
                self.frequency[self.twin[self.support[j]]] = -1

    cdef int _collect(self, int32_t k, int64_t start, int64_t end) except -1 nogil:
        """The partition's reads near the variant, cut to the image's window."""
        cdef int64_t i, half = (self.width - 1) // 2
        cdef int64_t left = max(start - half, 0), right = min(end + half, self.contig_length)
        cdef int32_t read
        self.pool.reads.clear()
        self.pool.operations.clear()
        for i in range(self.partition_offset[k], self.partition_offset[k + 1]):
            read = self.partition_reads[i]
            if (
                start - _OVERLAP_MARGIN < self.end[read]
                and end + _OVERLAP_MARGIN > self.start[read]
            ):
                trim(
                    self.pool, read, self.start[read], self.base_offset[read],
                    &self.cigar[self.cigar_offset[read]],
                    self.cigar_offset[read + 1] - self.cigar_offset[read], left, right,
                )

    cdef bint _is_aligned(self, int32_t c) noexcept nogil:
        """Whether reads are aligned to the candidate's ALTs."""
        cdef int64_t a
        if self.align_all:
            return True
        for a in range(self.allele_offset[c], self.allele_offset[c + 1]):
            if self._length(a) > 1:
                return True
        return False

    cdef bint _align(self, int32_t c, int32_t alt) except -1 nogil:
        """Align the pool to an ALT, unless that leaves too few bases for an image."""
        cdef int64_t allele = self.allele_offset[c] + 1 + alt
        cdef int64_t begin = self.allele_bases_offset[allele]
        self.aligner.set_haplotype(
            &self.reference[0], self.reference_start, self.contig_length, self.variant_start[c],
            self.variant_end[c], &self.allele_bases[begin],
            self.allele_bases_offset[allele + 1] - begin, (self.width - 1) // 2,
        )
        if <int64_t>self.aligner.haplotype[0].size() < self.width:
            return False
        self.backdrop.bases, self.backdrop.start = (
            self.aligner.haplotype[0].data(), self.aligner.start
        )
        self.backdrop.end = self.aligner.start + <int64_t>self.aligner.haplotype[0].size()
        self.aligner.align(self.pool, &self.bases[0] if self.bases.shape[0] else NULL)
        return True

    cdef int _draw_block(
        self, const Pool &pool, const Layers &layers, int64_t start, int32_t height,
        uint8_t *image, int32_t layer,
    ) except -1 nogil:
        """Draw reference and reads as the layers from `layer` on of the rows from `image` on."""
        cdef int64_t row_bytes = <int64_t>self.width * self.depth
        cdef int32_t i
        if self.reference_rows:
            self._draw_reference(layers, start, self.drawn.data())
            for i in range(self.reference_rows):
                self._lay_out(layers, self.drawn.data(), image + i * row_bytes, layer)
        self._draw_reads(
            pool, layers, start, height - self.reference_rows,
            image + self.reference_rows * row_bytes, layer,
        )
        for i in range(layers.count):
            if layers.channels[i] == MEAN_COVERAGE:
                self._draw_coverage(height, image, layer + i)

    cdef inline void _lay_out(
        self, const Layers &layers, const uint8_t *row, uint8_t *target, int32_t layer
    ) noexcept nogil:
        """Copy a row into its place, between other layers if there are any."""
        cdef int32_t column
        if layers.count == self.depth:
            memcpy(target, row, <size_t>self.width * self.depth)
            return
        for column in range(self.width):
            memcpy(
                target + <int64_t>column * self.depth + layer,
                row + <int64_t>column * layers.count, layers.count,
            )

    cdef void _repeat_layer(self, uint8_t *image, int32_t height, int32_t layer) noexcept nogil:
        cdef int64_t i
        for i in range(<int64_t>height * self.width):
            image[i * self.depth + layer + 1] = image[i * self.depth + layer]

    cdef void _draw_coverage(self, int32_t height, uint8_t *image, int32_t layer) noexcept nogil:
        """As many rows as the sample's mean coverage are lit, reads or not."""
        cdef int64_t i
        for i in range(
            <int64_t>self.reference_rows * self.width,
            <int64_t>min(self.mean_coverage + self.reference_rows, height) * self.width,
        ):
            image[i * self.depth + layer] = MEAN_COVERAGE_VALUE

    cdef void _draw_reference(
        self, const Layers &layers, int64_t variant_start, uint8_t *row
    ) noexcept nogil:
        """The reference's row; the columns outside the contig stay blank."""
        cdef int64_t origin = variant_start - (self.width - 1) // 2
        cdef int32_t first = <int32_t>max(0, -origin), column, i
        cdef int32_t n = <int32_t>min(self.width, self.backdrop.end - origin) - first
        cdef const uint8_t *bases = self.backdrop.bases + (origin + first - self.backdrop.start)
        memset(row, 0, <size_t>self.width * layers.count)
        for i in range(layers.count):
            reference_values(
                layers.channels[i], bases, n, self.shown, self.column.data()
            )
            for column in range(n):
                row[<int64_t>(first + column) * layers.count + i] = self.column[column]

    cdef int _draw_reads(
        self, const Pool &pool, const Layers &layers, int64_t variant_start, int32_t limit,
        uint8_t *image, int32_t layer,
    ) except -1 nogil:
        """Draw reads until the rows are full, then lay the rows out in order."""
        cdef size_t i
        cdef int32_t read, k
        cdef int64_t row_bytes = <int64_t>self.width * layers.count
        cdef uint8_t *target
        cdef Row row
        self.order.resize(pool.reads.size())
        for i in range(pool.reads.size()):
            self.order[i] = <int32_t>i
        if <int64_t>self.order.size() > limit:
            shuffle(self.order.data(), <int32_t>self.order.size(), _ROW_SEED)
        self.rows.clear()
        for i in range(self.order.size()):
            if <int32_t>self.rows.size() == limit:
                break
            k = self.order[i]
            row.drawn = <int32_t>self.rows.size()
            target = self.drawn.data() + row.drawn * row_bytes
            memset(target, 0, row_bytes)
            if self._draw_read(pool.reads[k], pool, layers, variant_start, target):
                read = pool.reads[k].read
                row.haplotype = max(0, self.haplotype[read]) if self.sort_by_haplotypes else 0
                row.start = self.start[read]
                row.name = &self.names[self.name_offset[read]]
                row.name_length = <int32_t>(
                    self.name_offset[read + 1] - self.name_offset[read]
                )
                row.number = self.number[read]
                self.rows.push_back(row)
        sort(self.rows.begin(), self.rows.end(), row_before)
        for i in range(self.rows.size()):
            self._lay_out(
                layers, self.drawn.data() + self.rows[i].drawn * row_bytes,
                image + <int64_t>i * self.width * self.depth, layer,
            )

    cdef void _show(self, const Trimmed &trimmed, const Pool &pool) noexcept nogil:
        """Tell the channels what they may want to know of a read."""
        cdef int32_t read = trimmed.read
        self.shown.bases = &self.bases[trimmed.first_base]
        self.shown.qualities = &self.qualities[trimmed.first_base]
        if self.shows_methylation:
            self.shown.methylation = &self.methylation[trimmed.first_base]
        if self.shows_6ma:
            self.shown.methylation_6ma = &self.methylation_6ma[trimmed.first_base]
        self.shown.length = trimmed.length
        self.shown.operations = pool.operations.data() + trimmed.begin
        self.shown.operation_count = trimmed.end - trimmed.begin
        self.shown.mapping_quality = self.mapq[read]
        self.shown.reverse = self.flag[read] & 0x10 != 0
        self.shown.fragment_length = self.fragment_length[read]
        self.shown.haplotype = self.haplotype[read] if self.needs_haplotype else 0
        self.shown.flank = min(
            self.tract_start - self.start[read], self.end[read] - self.tract_end
        )
        self.shown.supports = self.listed[self.twin[read]] == 2
        self.shown.allele_frequency = (
            self.frequency[self.twin[read]] if self.shows_frequency else -1
        )

    cdef bint _draw_read(
        self, const Trimmed &trimmed, const Pool &pool, const Layers &layers,
        int64_t variant_start, uint8_t *row,
    ) except -1 nogil:
        """Draw one read; false if its base at the variant is too poor to be shown.

        An insertion or deletion is one pixel at the base before it, with the
        quality of its first inserted base, or of the read's base before it.
        """
        cdef int64_t position = trimmed.position, base = trimmed.first_base, j
        cdef int32_t i, k
        cdef uint32_t op, length
        cdef bint drawn = True
        if self.mapq[trimmed.read] < self.min_mapq:
            return False
        self._show(trimmed, pool)
        for i in range(layers.count):
            self.fixed[i] = read_value(layers.channels[i], self.shown)
        if layers.along.size():
            self.along.resize(layers.along.size() * trimmed.length)
            for k in range(<int32_t>layers.along.size()):
                values_along(
                    layers.channels[layers.along[k]], self.shown,
                    self.along.data() + <int64_t>k * trimmed.length,
                )
        for i in range(trimmed.begin, trimmed.end):
            op, length = pool.operations[i] & 15, pool.operations[i] >> 4
            if op == 0 or op == 7 or op == 8:
                drawn = self._draw_match(
                    trimmed, layers, position, base, length, variant_start, row
                )
                position += length
                base += length
            elif op == 1 or op == 4:
                if op == 1 and position > 0:
                    drawn = self._draw_gap(
                        trimmed, layers, position - 1, base, variant_start, row
                    )
                base += length
            elif op == 2 or op == 3:
                if op == 2 and base > trimmed.first_base:
                    drawn = self._draw_gap(
                        trimmed, layers, position - 1, base - 1, variant_start, row
                    )
                position += length
            if not drawn:
                return False
        return True

    cdef inline bint _draw_match(
        self, const Trimmed &trimmed, const Layers &layers, int64_t position, int64_t base,
        int64_t length, int64_t variant_start, uint8_t *row,
    ) noexcept nogil:
        """Draw bases that are aligned to as many of the backdrop; false as in `_draw_read`."""
        cdef int64_t column = position - variant_start + (self.width - 1) // 2
        cdef int64_t first = max(0, max(-column, -position)), i
        cdef int64_t n = min(length, self.width - column) - first
        cdef int32_t depth = layers.count
        cdef size_t k
        cdef uint8_t *pixels
        cdef const uint8_t *bases
        cdef const uint8_t *values
        if n <= 0:
            return True
        position += first
        base += first
        if 0 <= variant_start - position < n and (
            self.qualities[base + variant_start - position] < self.min_quality
        ):
            return False
        pixels = row + (column + first) * depth
        # what does not vary, in strides that double
        memcpy(pixels, self.fixed.data(), depth)
        i = 1
        while i < n:
            memcpy(pixels + i * depth, pixels, min(i, n - i) * depth)
            i *= 2
        bases = &self.bases[base]
        if layers.base >= 0:
            for i in range(n):
                pixels[i * depth + layers.base] = BASE_COLOUR[bases[i]]
        if layers.quality >= 0:
            values = &self.qualities[base]
            for i in range(n):
                pixels[i * depth + layers.quality] = QUALITY_COLOUR[values[i]]
        if layers.differs >= 0:
            values = self.backdrop.bases + (position - self.backdrop.start)
            for i in range(n):
                pixels[i * depth + layers.differs] = (
                    MATCHES_REF if bases[i] == values[i] else DIFFERS_FROM_REF
                )
        for k in range(layers.along.size()):
            values = self.along.data() + k * trimmed.length + (base - trimmed.first_base)
            for i in range(n):
                pixels[i * depth + layers.along[k]] = values[i]
        return True

    cdef bint _draw_gap(
        self, const Trimmed &trimmed, const Layers &layers, int64_t position, int64_t base,
        int64_t variant_start, uint8_t *row,
    ) noexcept nogil:
        """Draw the pixel of an insertion or deletion; false as in `_draw_read`."""
        cdef int64_t column = position - variant_start + (self.width - 1) // 2
        cdef uint8_t *pixel = row + column * layers.count
        cdef size_t k
        if column < 0 or column >= self.width or position < 0:
            return True
        if position == variant_start and self.qualities[base] < self.min_quality:
            return False
        memcpy(pixel, self.fixed.data(), layers.count)
        if layers.base >= 0:
            pixel[layers.base] = 0
        if layers.quality >= 0:
            pixel[layers.quality] = QUALITY_COLOUR[self.qualities[base]]
        if layers.differs >= 0:
            pixel[layers.differs] = DIFFERS_FROM_REF
        for k in range(layers.along.size()):
            pixel[layers.along[k]] = self.along[
                k * trimmed.length + <size_t>(base - trimmed.first_base)
            ]
        return True


cdef object _wanted(values, what):
    """What an image shows must have been read."""
    if values is None:
        raise ValueError(f"the images show {what}, but the reads or candidates come without")
    return values
