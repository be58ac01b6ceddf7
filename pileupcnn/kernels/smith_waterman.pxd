"""Local alignment with affine gaps; see smith_waterman.pyx."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from libcpp.vector cimport vector


cdef class SmithWaterman:
    cdef int32_t match, mismatch, gap_open, gap_extend
    # the query as codes (0 to 3 for A, C, G, T; 4 for all else), and its striped profiles
    cdef vector[uint8_t] query, reversed_query, target_codes
    cdef vector[int16_t] word_profile, back_words, rows
    cdef vector[uint8_t] byte_profile, back_bytes
    cdef bint words_ready, bytes_ready
    # banded alignment: the row above, and a byte of directions a cell
    cdef vector[int32_t] above, above_gap
    cdef vector[uint8_t] directions
    # results of `score` and `trace`: a score of 0 says that there is no alignment
    cdef int32_t best, query_begin, query_end, target_begin, target_end
    cdef bint by_bytes
    cdef vector[uint32_t] operations

    cdef int set_query(self, const uint8_t *query, int32_t length) except -1 nogil
    cdef int32_t score(
        self, const uint8_t *target, int32_t length, int32_t known
    ) except -1 nogil
    cdef bint trace(self, const uint8_t *target) except -1 nogil
    cdef bint _path(self, const uint8_t *target) except -1 nogil
    cdef int32_t _fill(
        self, const uint8_t *query, int32_t n, const uint8_t *target, int32_t m, int32_t width
    ) except -1 nogil
    cdef bint _walk(self, int32_t n, int32_t m, int32_t width) except -1 nogil


cdef int encode(const uint8_t *bases, int32_t length, vector[uint8_t] &codes) except -1 nogil
