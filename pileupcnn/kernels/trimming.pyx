"""Reads cut to an image's window, as in DeepVariant 1.9's alt_aligned_pileup_lib."""

from libc.stdint cimport int32_t, int64_t, uint32_t

MIN_TRIMMED_SPAN = 15
"""Reads with fewer reference bases left inside the image's window are not drawn."""

cdef int64_t _MIN_TRIMMED_SPAN = MIN_TRIMMED_SPAN


cdef inline bint advances_reference(uint32_t op) noexcept nogil:
    return op == 0 or op == 2 or op == 3 or op == 7 or op == 8  # M D N = X


cdef inline bint advances_read(uint32_t op) noexcept nogil:
    return op == 0 or op == 1 or op == 4 or op == 7 or op == 8  # M I S = X


cdef bint trim(
    Pool &pool, int32_t read, int64_t start, int64_t first_base, const uint32_t *cigar,
    int64_t operations, int64_t left_edge, int64_t right_edge,
) except -1 nogil:
    """Cut a read to [left_edge, right_edge) and add it to the pool, if enough of it is left."""
    cdef int64_t left = max(left_edge - start, 0), advance, length_left = 0
    cdef int64_t need = max(0, right_edge - max(left_edge, start)), span = 0, i = 0
    cdef uint32_t op, length
    cdef Trimmed kept
    kept.read = read
    kept.position = left_edge if left else start
    kept.first_base = first_base
    kept.begin = <int32_t>pool.operations.size()
    # drop what lies left of the window; an operation across its edge keeps the rest
    while i < operations and left > 0:
        op, length = cigar[i] & 15, cigar[i] >> 4
        advance = length if advances_reference(op) else 0
        if advance > left:
            break
        left -= advance
        if advances_read(op):
            kept.first_base += length
        i += 1
    # copy until the window is full; clips and insertions cost nothing
    while i < operations:
        op, length = cigar[i] & 15, cigar[i] >> 4
        if left > 0:
            length -= <uint32_t>left
            if advances_read(op):
                kept.first_base += left
            left = 0
        advance = length if advances_reference(op) else 0
        if advance > need:
            length = <uint32_t>need
            advance = need
            i = operations
        pool.operations.push_back(length << 4 | op)
        need -= advance
        span += advance
        if advances_read(op):
            length_left += length
        i += 1
    kept.end = <int32_t>pool.operations.size()
    kept.length = <int32_t>length_left
    if span < _MIN_TRIMMED_SPAN or length_left == 0:
        pool.operations.resize(kept.begin)
        return False
    pool.reads.push_back(kept)
    return True
