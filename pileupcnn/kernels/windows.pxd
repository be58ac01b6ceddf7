"""The windows of a partition whose reads are to be realigned; see windows.pyx."""

from libc.stdint cimport int32_t, int64_t
from libcpp.vector cimport vector

from pileupcnn.kernels.walk cimport AlleleWalk, Group


cdef struct Window:
    # 0-based half-open; may leave the contig
    int64_t start
    int64_t end


cdef class WindowSelector(AlleleWalk):
    cdef int32_t min_support, min_reads, max_reads
    cdef int64_t expansion, distance
    cdef vector[int32_t] counter
    # result of the last `_select`, ascending, not overlapping
    cdef vector[Window] windows

    cdef int _select(
        self, const int32_t *reads, int64_t n, int64_t start, int64_t end, int64_t contig_length
    ) except -1 nogil
    cdef int _count_position(self, int32_t p) except -1 nogil
    cdef void _add(self, int64_t first, int64_t last, int32_t count) noexcept nogil
    cdef int _cluster(self) except -1 nogil
