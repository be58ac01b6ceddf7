"""Alleles of a partition's reads, sorted by position and grouped; see walk.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

# the types of an allele, as DeepVariant numbers them; a pending matching base has 0
cdef enum:
    REFERENCE = 1
    SUBSTITUTION = 2
    INSERTION = 3
    DELETION = 4
    SOFT_CLIP = 5


cdef inline bint is_base(uint8_t base) noexcept nogil:
    return base == 65 or base == 67 or base == 71 or base == 84  # A C G T


cdef struct Allele:
    # one read's allele: `first` is its first base (for anchored ones the base before),
    # the other `length` bases start at `at` in the reads' bases or in the reference; `quality` is
    # the mean over its own bases, cut to an integer, for a deletion that of the base before
    int32_t position
    int32_t read
    uint8_t type
    uint8_t low_quality
    uint8_t quality
    uint8_t first
    int32_t length
    int64_t at


cdef struct Group:
    # the reads with one allele at one position: a slice of the sorted alleles
    int32_t begin
    int32_t end
    int32_t count


cdef class AlleleWalk:
    cdef int32_t min_quality, min_mapping_quality
    # input, set by `_take`
    cdef const int64_t[::1] start, end, base_offset, cigar_offset
    cdef const uint8_t[::1] bases, qualities, mapping_quality, reference
    cdef const uint32_t[::1] cigar
    cdef const int32_t[::1] twin
    cdef int64_t reference_start
    # one interval: `sorted_alleles[position_offset[p]:position_offset[p + 1]]` are those at p
    cdef int64_t interval_start
    cdef int32_t interval_length
    cdef vector[int32_t] reference_count
    cdef vector[Allele] alleles, sorted_alleles
    cdef vector[int32_t] position_offset
    cdef vector[Group] groups
    cdef Allele pending
    # whether some read, or twins, may have several alleles at a position of the interval
    cdef bint may_repeat
    cdef readonly int64_t matches
    cdef readonly int64_t mismatches

    cdef _take(self, reads, const uint8_t[::1] reference, int64_t reference_start)
    cdef int _collect(
        self, const int32_t *reads, int64_t n, int64_t start, int64_t end
    ) except -1 nogil
    cdef int _walk(self, int32_t read) except -1 nogil
    cdef int _match(self, int32_t read, int64_t off, int64_t at, uint32_t length) except -1 nogil
    cdef int _commit_unless_at(self, int64_t position) except -1 nogil
    cdef int _commit(self) except -1 nogil
    cdef int _commit_before_skipped(self) except -1 nogil
    cdef int _anchored(
        self, int32_t read, uint8_t type, int64_t off, int64_t at, uint32_t length, bint at_start
    ) except -1 nogil
    cdef int _sort_alleles(self) except -1 nogil
    cdef bint _has_twins(self, const int32_t *reads, int64_t n) noexcept nogil
    cdef void _drop_overwritten(self) noexcept nogil
    cdef int _compare(self, Allele &a, Allele &b) noexcept nogil
    cdef const uint8_t *_tail(self, Allele &allele) noexcept nogil
    cdef int _group(self, int32_t begin, int32_t end) except -1 nogil
