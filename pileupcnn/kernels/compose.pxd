"""From alignments to haplotypes to alignments to the reference; see compose.pyx."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libcpp.vector cimport vector


cdef struct Composer:
    # what is left of both CIGARs, last operation first, and the result with its query length
    vector[uint32_t] read
    vector[uint32_t] haplotype
    vector[uint32_t] cigar
    int32_t aligned


cdef int32_t shift_at(const vector[uint32_t] &cigar, int32_t at) noexcept nogil
cdef bint compose(
    Composer &state, const vector[uint32_t] &read, const vector[uint32_t] &haplotype,
    int32_t start, int32_t length,
) except -1 nogil
cdef bint is_normalized(
    const vector[uint32_t] &cigar, const uint8_t *read, const uint8_t *reference,
    int32_t reference_length, int32_t offset,
) noexcept nogil
