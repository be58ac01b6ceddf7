"""Smith-Waterman where shared seeds leave something to find; see seeded.pyx."""

from libc.stdint cimport int32_t, uint8_t
from libcpp.vector cimport vector

from pileupcnn.kernels.smith_waterman cimport SmithWaterman


cdef struct Run:
    # equal pairs in a row: query bases [begin, end) with the target bases `diagonal` further on
    int32_t begin
    int32_t end
    int32_t diagonal


cdef struct Target:
    vector[uint8_t] codes
    # the seed that ends at each base, listed when it is first wanted
    vector[int32_t] seeds
    # of the query at hand
    vector[Run] runs


cdef class SeededAligner(SmithWaterman):
    # bases that one of loss makes up for, see `run_length`
    cdef double bases_by_pair, bases_by_gap, bases_by_clip
    # swap_loss[64 + k]: least loss by an insertion next to a deletion that is longer by k
    cdef int32_t swap_loss[129]
    cdef vector[int32_t] query_seeds, seed_slots, seed_next

    cdef int set_seeded_query(self, const uint8_t *query, int32_t length) except -1 nogil
    cdef int32_t find_runs(self, Target &target) except -1 nogil
    cdef int32_t run_length(self, int32_t length, int32_t loss) noexcept nogil
    cdef bint find_part(
        self, const Target &target, int32_t known, int32_t *begin, int32_t *end
    ) noexcept nogil
    cdef bint align_whole(self, Target &target) except -1 nogil
    cdef int32_t _without_gaps(self, const vector[uint8_t] &codes, int32_t diagonal) noexcept nogil
    cdef int32_t _joined(self, const Run &first, const Run &second) noexcept nogil
    cdef int32_t _gap_loss(self, int32_t shift) noexcept nogil
    cdef int32_t _loss_of_both(self, int32_t shift, int32_t gaps) noexcept nogil
    cdef int32_t _loss_of_swap(self, int32_t shift) noexcept nogil


cdef int set_target(Target &target, const uint8_t *bases, int32_t length) except -1 nogil
