"""A read's alignment to the reference from its alignment to a haplotype, and the haplotype's.

The two CIGARs are walked together base by base, as DeepVariant 1.9's
FastPassAligner does. CIGARs are in BAM's encoding and hold M, I, D and S only;
the haplotype is the target of the first and the query of the second.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_D, OP_I, OP_M, OP_S

cdef enum:
    NO_OP = 15
    ONE = 1 << 4


cdef int32_t shift_at(const vector[uint32_t] &cigar, int32_t at) noexcept nogil:
    """By how much base `at` of a haplotype is moved by the gaps and clips before it."""
    cdef int32_t shift = 0, begin = 0, length
    cdef uint32_t op
    cdef size_t k
    for k in range(cigar.size()):
        op, length = cigar[k] & 15, <int32_t>(cigar[k] >> 4)
        if op == OP_D:
            shift += length
            continue
        if op == OP_S:
            shift -= length
        if at < begin + length:
            # an inserted base has the place of the one that follows the insertion
            return shift - (at - begin) if op == OP_I else shift
        if op == OP_I:
            shift -= length
        begin += length
    return 0


cdef int _emit(Composer &state, uint32_t op, int32_t n, int32_t length) except -1 nogil:
    """Append an operation, cut where the read ends.

    An insertion and a deletion that meet cancel out, base by base: a match
    takes their place, before what is left of the longer of them.
    """
    cdef vector[uint32_t] *out = &state.cigar
    cdef uint32_t last = out.back() & 15 if out.size() else NO_OP
    cdef size_t at
    if op != OP_D:
        n = min(n, length - state.aligned)
    if n <= 0 or state.aligned == length:
        return 0
    if (op == OP_I and last == OP_D) or (op == OP_D and last == OP_I):
        at = out.size() - 1
        if at > 0 and out[0][at - 1] & 15 == OP_M:
            out[0][at - 1] += ONE
        else:
            out.insert(out.begin() + at, ONE | OP_M)
            at += 1
        out[0][at] -= ONE
        if out.back() >> 4 == 0:
            out.pop_back()
        if op == OP_I:
            state.aligned += 1
        return 0
    if op == last:
        out[0][out.size() - 1] += <uint32_t>n << 4
    else:
        out.push_back(<uint32_t>n << 4 | op)
    if op != OP_D:
        state.aligned += n


cdef uint32_t _stronger(uint32_t first, uint32_t second) noexcept nogil:
    """Which of two operations on one base shows: a clip, a deletion, an insertion, a match."""
    if first == OP_S or second == OP_S:
        return OP_S
    if first == OP_D or second == OP_D:
        return OP_D
    return OP_I if first == OP_I or second == OP_I else OP_M


cdef int _stack(vector[uint32_t] &to, const vector[uint32_t] &cigar) except -1 nogil:
    cdef size_t k
    to.clear()
    for k in range(cigar.size(), 0, -1):
        to.push_back(cigar[k - 1])


cdef uint32_t _pop(vector[uint32_t] &stack) noexcept nogil:
    cdef uint32_t operation = stack.back()
    stack.pop_back()
    return operation


cdef int _trim(vector[uint32_t] &haplotype, int32_t start) except -1 nogil:
    """Drop the first `start` haplotype bases, and a deletion that then comes first."""
    cdef uint32_t operation
    cdef int32_t length
    while start > 0 and haplotype.size():
        operation = _pop(haplotype)
        if operation & 15 != OP_D:
            length = <int32_t>(operation >> 4)
            if length > start:
                haplotype.push_back(<uint32_t>(length - start) << 4 | (operation & 15))
            start -= min(start, length)
    if haplotype.size() and haplotype.back() & 15 == OP_D:
        haplotype.pop_back()


cdef bint compose(
    Composer &state, const vector[uint32_t] &read, const vector[uint32_t] &haplotype,
    int32_t start, int32_t length,
) except -1 nogil:
    """Write `state.cigar`; False if there is none, as for a read that leaves its haplotype.

    Parameters
    ----------
    read, haplotype
        CIGARs of the read on the haplotype and of the haplotype on the reference.
    start
        First base of the haplotype that the read is aligned to.
    length
        Of the read.
    """
    cdef uint32_t r_op = NO_OP, h_op = NO_OP, operation
    cdef int32_t r_left = 0, h_left = 0, both
    state.cigar.clear()
    state.aligned = 0
    _stack(state.read, read)
    _stack(state.haplotype, haplotype)
    _trim(state.haplotype, start)
    if state.read.size() and state.read.back() & 15 == OP_S:
        _emit(state, OP_S, <int32_t>(_pop(state.read) >> 4), length)
    while (state.read.size() or state.haplotype.size()) and state.aligned < length:
        if state.read.size() and not state.haplotype.size() and h_left == 0:
            operation = _pop(state.read)
            _emit(state, operation & 15, <int32_t>(operation >> 4), length)
            continue
        if r_left == 0:
            if not state.read.size():
                break
            operation = _pop(state.read)
            r_op, r_left = operation & 15, <int32_t>(operation >> 4)
        if h_left == 0:
            operation = _pop(state.haplotype)
            h_op, h_left = operation & 15, <int32_t>(operation >> 4)
        while r_left > 0 and h_left > 0:
            if (r_op == OP_D and h_op == OP_I) or (r_op == OP_I and h_op == OP_D):
                r_left -= 1
                h_left -= 1
                if h_op == OP_D:
                    # the insertion fills the deletion: a match, once these two are used up
                    state.haplotype.push_back(ONE | OP_M)
                    state.read.push_back(ONE | OP_M)
                continue
            if r_op == OP_M and h_op == OP_M:
                both = min(r_left, h_left)
                _emit(state, OP_M, both, length)
                r_left -= both
                h_left -= both
                continue
            _emit(state, _stronger(r_op, h_op), 1, length)
            if r_op == OP_I:
                r_left -= 1
            elif h_op == OP_D:
                h_left -= 1
            else:
                r_left -= 1
                h_left -= 1
    if r_op == OP_S:
        while r_left > 0:
            _emit(state, OP_S, 1, length)
            r_left -= 1
    return not state.read.size() and r_left == 0 and state.aligned == length


cdef bint is_normalized(
    const vector[uint32_t] &cigar, const uint8_t *read, const uint8_t *reference,
    int32_t reference_length, int32_t offset,
) noexcept nogil:
    """Whether no gap can be moved left by its own length's last base.

    `offset` is where the alignment begins in the reference; where it is
    negative nothing is asked. Alignments that end past the reference fail.
    """
    cdef int32_t at = offset, used = 0, length
    cdef uint32_t op
    cdef size_t k
    if offset < 0:
        return True
    for k in range(cigar.size()):
        op, length = cigar[k] & 15, <int32_t>(cigar[k] >> 4)
        if op == OP_S:
            used += length
            continue
        if op == OP_I:
            if at > 0 and read[used + length - 1] == reference[at - 1]:
                return False
        else:
            if at + length > reference_length:
                return False
            if op == OP_D and used > 0 and reference[at + length - 1] == read[used - 1]:
                return False
            at += length
        if op != OP_D:
            used += length
    return True
