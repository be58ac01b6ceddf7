"""Mersenne Twisters, as NumPy's RandomState and C++'s std::mt19937_64 run them."""

from libc.stdint cimport int32_t, uint32_t, uint64_t


cdef struct Twister32:
    uint32_t words[624]
    int next


cdef struct Twister64:
    uint64_t words[312]
    int next


cdef void seed32(Twister32 *twister, uint32_t seed) noexcept nogil
cdef uint32_t below32(Twister32 *twister, uint32_t bound) noexcept nogil
cdef void seed64(Twister64 *twister, uint64_t seed) noexcept nogil
cdef void shuffle(int32_t *items, int32_t n, uint64_t seed) noexcept nogil
