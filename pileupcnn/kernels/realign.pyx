"""Realignment of a run's reads, partition by partition.

The order of work is that of DeepVariant 1.9's Realigner: select the windows of
a partition, assemble the haplotypes of each, give each read to the window it
overlaps most, align the reads of a window through its haplotypes.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy
from libcpp.vector cimport vector

from pileupcnn.kernels.alignment cimport ReadBases, WindowAligner
from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.assembly cimport ASSEMBLED, Assembler
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.windows cimport Window, WindowSelector

STATES = ("assembled", "refonly", "overflow", "nograph", "skipped")
"""What becomes of a window: the first four as `Assembly` numbers them."""

cdef enum:
    SKIPPED = 4


cdef class Realigner:
    """Realigns the reads of one run of partitions.

    Parameters
    ----------
    selector : WindowSelector
    assembler : Assembler
    aligner : WindowAligner
    max_read_length : int
        Longer reads keep their alignment and come first; 0 for no limit.
    max_window_size : int
        Longer windows are skipped.
    margin : int
        Reads are aligned to a stretch of the reference that reaches so far
        beyond the window and its reads.
    list_windows : bool
        Keep what became of each window, for `window_arrays`.
    """

    cdef WindowSelector selector
    cdef Assembler assembler
    cdef WindowAligner aligner
    cdef int64_t max_read_length, max_window_size, margin
    cdef bint list_windows
    # input
    cdef const int64_t[::1] start, end, base_offset, cigar_offset
    cdef const uint8_t[::1] bases, qualities, mapping_quality, reference
    cdef const uint32_t[::1] cigar
    cdef int64_t reference_start, contig_length
    # one partition: the reads to realign, the windows kept with their haplotypes, and for each
    # of these and at last those of none the reads
    cdef vector[int32_t] short_reads
    cdef vector[Window] windows
    cdef vector[vector[vector[uint8_t]]] haplotypes
    cdef vector[vector[int32_t]] groups
    # one window
    cdef vector[ReadBases] group_bases
    # output: the order of reads in the partitions, and the changed ones, which are copies
    cdef vector[int32_t] order, source
    cdef vector[int64_t] new_start, new_end, new_cigar_offset
    cdef vector[uint32_t] new_cigar
    # output: all windows
    cdef vector[int64_t] window_start, window_end
    cdef vector[int32_t] window_partition, window_state, window_reads, window_k, haplotype_count
    cdef vector[int64_t] haplotype_end
    cdef vector[uint8_t] haplotype_bases

    def __cinit__(
        self, WindowSelector selector, Assembler assembler, WindowAligner aligner,
        int max_read_length, int max_window_size, int margin, bint list_windows=False,
    ):
        self.selector, self.assembler, self.aligner = selector, assembler, aligner
        self.max_read_length, self.max_window_size = max_read_length, max_window_size
        self.margin, self.list_windows = margin, list_windows
        self.new_cigar_offset.push_back(0)

    def realign(self, reads, const int64_t[::1] starts, const int64_t[::1] ends,
                const uint8_t[::1] reference, int64_t reference_start, int64_t contig_length):
        """Realign the reads of the partitions [starts[k], ends[k]) of a `ReadBatch`.

        `reference` holds the contig's bases from `reference_start` on: those
        under the partitions and the reads, and around them as far as the
        selector and `margin` may reach.
        """
        cdef const int64_t[::1] offset = reads.partition_offset
        cdef const int32_t[::1] members = reads.partition_reads
        cdef int32_t k
        cdef double began
        self.start, self.end = reads.start, reads.end
        self.base_offset, self.bases, self.qualities = (
            reads.base_offset, reads.bases, reads.qualities
        )
        self.cigar_offset, self.cigar = reads.cigar_offset, reads.cigar
        self.mapping_quality = reads.mapping_quality
        self.reference, self.reference_start = reference, reference_start
        self.contig_length = contig_length
        self.selector._take(reads, reference, reference_start)
        with nogil:
            began = thread_seconds()
            for k in range(<int32_t>starts.shape[0]):
                if offset[k] < offset[k + 1]:
                    self._realign_partition(
                        k, &members[offset[k]], offset[k + 1] - offset[k], starts[k], ends[k]
                    )
            count_released(began)

    cdef void _realign_partition(
        self, int32_t k, const int32_t *reads, int64_t n, int64_t start, int64_t end
    ) noexcept nogil:
        cdef int64_t i
        cdef size_t j
        self.short_reads.clear()
        for i in range(n):
            if 0 < self.max_read_length < self._length(reads[i]):
                self.order.push_back(reads[i])
            else:
                self.short_reads.push_back(reads[i])
        self.selector._select(
            self.short_reads.data(), self.short_reads.size(), start, end, self.contig_length
        )
        self.windows.clear()
        self.haplotypes.clear()
        for j in range(self.selector.windows.size()):
            self._assemble(k, self.selector.windows[j])
        if self.windows.empty():
            self.order.insert(self.order.end(), self.short_reads.begin(), self.short_reads.end())
            return
        self._assign()
        self.order.insert(self.order.end(), self.groups.back().begin(), self.groups.back().end())
        for j in range(self.windows.size()):
            if not self.groups[j].empty():
                self._align(j)

    cdef int64_t _length(self, int32_t read) noexcept nogil:
        return self.base_offset[read + 1] - self.base_offset[read]

    cdef void _assemble(self, int32_t k, Window window) noexcept nogil:
        """Assemble one window; keep it if it has haplotypes beside the reference."""
        cdef int64_t low = window.start, high = window.end, longest = 0, base
        cdef size_t i
        cdef int32_t read, count = 0, state
        if (
            window.end - window.start > self.max_window_size
            or window.start < 0 or window.end > self.contig_length
        ):
            self._list_window(k, window, SKIPPED, 0)
            return
        # as much of the reference around the window as may spare k-mers their hash
        for i in range(self.short_reads.size()):
            read = self.short_reads[i]
            if self.start[read] < window.end and self.end[read] > window.start:
                count += 1
                low, high = min(low, self.start[read]), max(high, self.end[read])
                longest = max(longest, self._length(read))
        low = max(low, window.start - longest, self.reference_start)
        high = min(
            high, window.end + longest, self.reference_start + <int64_t>self.reference.shape[0]
        )
        self.assembler._start(
            &self.reference[low - self.reference_start], <int32_t>(high - low),
            <int32_t>(window.start - low), <int32_t>(window.end - low),
        )
        for i in range(self.short_reads.size()):
            read = self.short_reads[i]
            if self.start[read] < window.end and self.end[read] > window.start:
                base = self.base_offset[read]
                self.assembler._add_read(
                    &self.bases[base], &self.qualities[base], <int32_t>self._length(read),
                    self.start[read] - low, &self.cigar[self.cigar_offset[read]],
                    self.cigar_offset[read + 1] - self.cigar_offset[read],
                    self.mapping_quality[read],
                )
        state = self.assembler._assemble()
        self._list_window(k, window, state, count)
        if state == ASSEMBLED:
            self.windows.push_back(window)
            self.haplotypes.push_back(self.assembler.haplotypes)

    cdef void _assign(self) noexcept nogil:
        """Give each read to the window that it overlaps most, to the first of equals."""
        cdef size_t i, j, best
        cdef int64_t overlap, largest
        cdef int32_t read
        self.groups.resize(self.windows.size() + 1)
        for j in range(self.groups.size()):
            self.groups[j].clear()
        for i in range(self.short_reads.size()):
            read = self.short_reads[i]
            best, largest = self.windows.size(), 0
            for j in range(self.windows.size()):
                overlap = min(self.end[read], self.windows[j].end) - max(
                    self.start[read], self.windows[j].start
                )
                if overlap > largest:
                    best, largest = j, overlap
            self.groups[best].push_back(read)

    cdef void _align(self, size_t window) noexcept nogil:
        """Align the reads of one window; those that change are copied."""
        cdef vector[int32_t] *group = &self.groups[window]
        cdef int64_t first = self.windows[window].start, last = self.windows[window].end, low, high
        cdef const uint8_t *reference
        cdef size_t i
        cdef int32_t read
        cdef ReadBases read_bases
        cdef vector[vector[uint8_t]] *haplotypes = &self.haplotypes[window]
        low, high = first, last
        self.group_bases.clear()
        for i in range(group.size()):
            read = group[0][i]
            low, high = min(low, self.start[read]), max(high, self.end[read])
            read_bases.bases = &self.bases[self.base_offset[read]]
            read_bases.length = <int32_t>self._length(read)
            self.group_bases.push_back(read_bases)
        low = max(0, low - self.margin)
        high = min(self.contig_length, high + self.margin)
        # DeepVariant gives up a window that touches the contig's end
        if high <= last:
            self.order.insert(self.order.end(), group.begin(), group.end())
            return
        reference = &self.reference[low - self.reference_start]
        for i in range(haplotypes.size()):
            haplotypes[0][i].insert(haplotypes[0][i].begin(), reference, reference + (first - low))
            haplotypes[0][i].insert(
                haplotypes[0][i].end(), reference + (last - low), reference + (high - low)
            )
        self.aligner.align(
            reference, <int32_t>(high - low), low, <int32_t>(first - low), <int32_t>(high - last),
            haplotypes[0], self.group_bases,
        )
        for i in range(group.size()):
            if self.aligner.changed[i] and self._differs(group[0][i], i):
                self._copy(group[0][i], i)
            else:
                self.order.push_back(group[0][i])

    cdef bint _differs(self, int32_t read, size_t i) noexcept nogil:
        """Whether the aligner's result `i` is another alignment than that of `read`."""
        cdef int64_t begin = self.aligner.cigar_offset[i]
        cdef int64_t n = self.aligner.cigar_offset[i + 1] - begin
        return (
            self.aligner.position[i] != self.start[read]
            or n != self.cigar_offset[read + 1] - self.cigar_offset[read]
            or memcmp(
                &self.aligner.cigar[begin], &self.cigar[self.cigar_offset[read]],
                n * sizeof(uint32_t),
            ) != 0
        )

    cdef void _copy(self, int32_t read, size_t i) noexcept nogil:
        """Put a copy of `read` with the aligner's result `i` in its place."""
        cdef int64_t j, end = self.aligner.position[i]
        cdef uint32_t op, length
        for j in range(self.aligner.cigar_offset[i], self.aligner.cigar_offset[i + 1]):
            self.new_cigar.push_back(self.aligner.cigar[j])
            op, length = self.aligner.cigar[j] & 15, self.aligner.cigar[j] >> 4
            if op == 0 or op == 2:  # M D
                end += length
        self.order.push_back(<int32_t>(self.start.shape[0] + <int64_t>self.source.size()))
        self.source.push_back(read)
        self.new_start.push_back(self.aligner.position[i])
        self.new_end.push_back(end)
        self.new_cigar_offset.push_back(self.new_cigar.size())

    cdef void _list_window(
        self, int32_t k, Window window, int32_t state, int32_t count
    ) noexcept nogil:
        cdef size_t i
        if not self.list_windows:
            return
        self.window_partition.push_back(k)
        self.window_start.push_back(window.start)
        self.window_end.push_back(window.end)
        self.window_state.push_back(state)
        self.window_reads.push_back(count)
        self.window_k.push_back(0 if state == SKIPPED else self.assembler.chosen_k)
        if state == ASSEMBLED:
            for i in range(self.assembler.haplotypes.size()):
                self.haplotype_bases.insert(
                    self.haplotype_bases.end(), self.assembler.haplotypes[i].begin(),
                    self.assembler.haplotypes[i].end(),
                )
                self.haplotype_end.push_back(self.haplotype_bases.size())
        self.haplotype_count.push_back(<int32_t>self.haplotype_end.size())

    def arrays(self):
        """The reads of each partition, and the copies of changed reads.

        `partition_reads` counts the copies after the batch's own reads;
        `source` says which of these a copy is of.
        """
        return {
            "partition_reads": copy_array(self.order.data(), self.order.size(), np.int32),
            "source": copy_array(self.source.data(), self.source.size(), np.int32),
            "start": copy_array(self.new_start.data(), self.new_start.size(), np.int64),
            "end": copy_array(self.new_end.data(), self.new_end.size(), np.int64),
            "cigar_offset": copy_array(
                self.new_cigar_offset.data(), self.new_cigar_offset.size(), np.int64
            ),
            "cigar": copy_array(self.new_cigar.data(), self.new_cigar.size(), np.uint32),
        }

    def window_arrays(self):
        """All windows; `haplotype_count` and `haplotype_end` are running totals."""
        n = self.window_start.size()
        return {
            "partition": copy_array(self.window_partition.data(), n, np.int32),
            "start": copy_array(self.window_start.data(), n, np.int64),
            "end": copy_array(self.window_end.data(), n, np.int64),
            "state": copy_array(self.window_state.data(), n, np.int32),
            "reads": copy_array(self.window_reads.data(), n, np.int32),
            "k": copy_array(self.window_k.data(), n, np.int32),
            "haplotype_count": copy_array(self.haplotype_count.data(), n, np.int32),
            "haplotype_end": copy_array(
                self.haplotype_end.data(), self.haplotype_end.size(), np.int64
            ),
            "haplotype_bases": copy_array(
                self.haplotype_bases.data(), self.haplotype_bases.size(), np.uint8
            ),
        }


def append_slices(
    const uint8_t[::1] values,
    const int64_t[::1] offset,
    const int32_t[::1] source,
    const int64_t[::1] new_offset,
):
    """Values of variable length, with those of the reads `source` again at the end.

    Parameters
    ----------
    values : uint8
        Read ``i`` has ``values[offset[i]:offset[i + 1]]``.
    offset : int64 [n + 1]
    source : int32 [m]
    new_offset : int64 [n + m + 1]
        Where the values of each read, then of each copy, lie in the result.
    """
    array = np.empty(new_offset[new_offset.shape[0] - 1], np.uint8)
    cdef uint8_t[::1] view = array
    cdef Py_ssize_t i, n = offset.shape[0] - 1
    cdef double began
    if not view.shape[0]:
        return array
    with nogil:
        began = thread_seconds()
        if offset[n]:
            memcpy(&view[0], &values[0], offset[n])
        for i in range(source.shape[0]):
            if new_offset[n + i + 1] > new_offset[n + i]:
                memcpy(
                    &view[new_offset[n + i]],
                    &values[offset[source[i]]],
                    new_offset[n + i + 1] - new_offset[n + i],
                )
        count_released(began)
    return array
