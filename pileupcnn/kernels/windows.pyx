"""The windows of a partition whose reads are to be realigned.

DeepVariant 1.9's window selector with the model VARIANT_READS: alleles that
several reads share count for the positions they touch, positions with enough
of them are candidates, and near candidates make one window.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from pileupcnn.kernels.vectors cimport fill
from pileupcnn.kernels.walk cimport DELETION, SUBSTITUTION, AlleleWalk


cdef class WindowSelector(AlleleWalk):
    """Selects windows, for other kernels: call `_take`, then `_select` for each partition.

    Parameters
    ----------
    min_mapping_quality, min_base_quality : int
        Reads and bases below do not count.
    min_support : int
        Reads that must share an allele.
    min_reads, max_reads : int
        Reads at a position that make it a candidate.
    expansion : int
        Positions this many bp outside the partition are looked at, too.
    distance : int
        A window reaches so far beyond its candidates; twice as far from each
        other they are still one window's.
    """

    def __cinit__(
        self, int min_mapping_quality, int min_base_quality, int min_support, int min_reads,
        int max_reads, int expansion, int distance,
    ):
        self.min_mapping_quality, self.min_quality = min_mapping_quality, min_base_quality
        self.min_support, self.min_reads, self.max_reads = min_support, min_reads, max_reads
        self.expansion, self.distance = expansion, distance

    cdef int _select(
        self, const int32_t *reads, int64_t n, int64_t start, int64_t end, int64_t contig_length
    ) except -1 nogil:
        """Find `windows` of the partition [start, end), which has `n` reads."""
        cdef int32_t p
        self._collect(
            reads, n, max(0, start - self.expansion), min(contig_length, end + self.expansion)
        )
        fill(self.counter, self.interval_length, 0)
        for p in range(self.interval_length):
            if self.position_offset[p + 1] - self.position_offset[p] >= self.min_support:
                self._count_position(p)
        self._cluster()

    cdef int _count_position(self, int32_t p) except -1 nogil:
        """Add the alleles at `p` that enough reads share to the positions they touch."""
        cdef size_t i
        cdef int64_t length
        cdef uint8_t type
        self._group(self.position_offset[p], self.position_offset[p + 1])
        for i in range(self.groups.size()):
            if self.groups[i].count < self.min_support:
                continue
            type = self.sorted_alleles[self.groups[i].begin].type
            length = self.sorted_alleles[self.groups[i].begin].length
            if type == SUBSTITUTION:
                self._add(p, p + 1, self.groups[i].count)
            elif type == DELETION:
                self._add(p + 1, p + 1 + length, self.groups[i].count)
            else:
                self._add(p + 1 - length, p + 1 + length, self.groups[i].count)

    cdef void _add(self, int64_t first, int64_t last, int32_t count) noexcept nogil:
        cdef int64_t p
        for p in range(max(0, first), min(last, <int64_t>self.interval_length)):
            self.counter[p] += count

    cdef int _cluster(self) except -1 nogil:
        """Join candidate positions to windows."""
        cdef int64_t p, position, last = 0
        cdef Window window
        self.windows.clear()
        for p in range(self.interval_length):
            if self.counter[p] < self.min_reads or self.counter[p] > self.max_reads:
                continue
            position = self.interval_start + p
            if self.windows.empty() or position > last + 2 * self.distance:
                window.start = position - self.distance
                self.windows.push_back(window)
            self.windows.back().end = position + self.distance
            last = position
