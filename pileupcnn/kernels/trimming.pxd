"""Reads cut to an image's window; see trimming.pyx."""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libcpp.vector cimport vector


cdef struct Trimmed:
    # a read cut to a window: it begins at `position` of the reference, with base `first_base` of
    # the batch; its `length` bases have the operations [begin, end) of those of its pool
    int32_t read
    int64_t position
    int64_t first_base
    int32_t length
    int32_t begin
    int32_t end


cdef struct Pool:
    # the reads of one image, in order, with their operations (as in BAM)
    vector[Trimmed] reads
    vector[uint32_t] operations


cdef bint trim(
    Pool &pool, int32_t read, int64_t start, int64_t first_base, const uint32_t *cigar,
    int64_t operations, int64_t left_edge, int64_t right_edge,
) except -1 nogil
