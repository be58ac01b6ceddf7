"""How reads across tandem repeats differ from the reference in length."""

import numpy as np

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_D, OP_EQ, OP_I, OP_M, OP_N, OP_X
from pileupcnn.kernels.clock cimport count_released, thread_seconds

MAX_UNITS = 4
"""Longest change of a repeat that is counted, in units."""

cdef int _MAX_UNITS = MAX_UNITS


cdef struct Indel:
    int64_t position  # of the first base deleted, or of the base after the insertion
    int64_t change


cdef int64_t _indels(
    const uint32_t[::1] cigar, int64_t first, int64_t last, int64_t at, vector[Indel] &indels
) except -1 nogil:
    """List a read's indels; its end on the reference."""
    cdef int64_t i
    cdef uint32_t op, length
    cdef Indel indel
    indels.clear()
    for i in range(first, last):
        op, length = cigar[i] & 15, cigar[i] >> 4
        if op == OP_I or op == OP_D:
            indel.position, indel.change = at, length if op == OP_I else -<int64_t>length
            indels.push_back(indel)
        if op == OP_M or op == OP_EQ or op == OP_X or op == OP_D or op == OP_N:
            at += length
    return at


def repeat_changes(
    reads, const uint8_t[::1] used, const int64_t[::1] tract_start, const int64_t[::1] tract_end,
    const int64_t[::1] period, int flank,
):
    """By how many units reads across each repeat differ from the reference.

    Parameters
    ----------
    reads : ReadBatch
    used : uint8 [n]
        Whether a read counts.
    tract_start, tract_end, period : int64 [t]
        Repeats, by start.
    flank : int
        Aligned bases that a read must have on either side.

    Returns
    -------
    uint32 [t, 2 * MAX_UNITS + 2]
        Reads by change, from ``-MAX_UNITS``; the last are those of another
        change, or by part of a unit.
    """
    counts = np.zeros((tract_start.shape[0], 2 * MAX_UNITS + 2), np.uint32)
    cdef uint32_t[:, ::1] count = counts
    cdef const int64_t[::1] read_start = reads.start, cigar_offset = reads.cigar_offset
    cdef const uint32_t[::1] cigar = reads.cigar
    cdef int64_t i, t, low, high, middle, end, change, most, tracts = tract_start.shape[0]
    cdef size_t k
    cdef vector[Indel] indels
    cdef double began
    with nogil:
        began = thread_seconds()
        for i in range(used.shape[0]):
            if not used[i]:
                continue
            end = _indels(cigar, cigar_offset[i], cigar_offset[i + 1], read_start[i], indels)
            low, high = 0, tracts
            while low < high:
                middle = (low + high) // 2
                if tract_start[middle] < read_start[i] + flank:
                    low = middle + 1
                else:
                    high = middle
            t = low
            while t < tracts and tract_start[t] < end:
                if tract_end[t] + flank <= end:
                    change = 0
                    for k in range(indels.size()):
                        if tract_start[t] <= indels[k].position <= tract_end[t]:
                            change += indels[k].change
                    most = _MAX_UNITS * period[t]
                    if change % period[t] or change > most or change < -most:
                        count[t, 2 * _MAX_UNITS + 1] += 1
                    else:
                        count[t, change // period[t] + _MAX_UNITS] += 1
                t += 1
        count_released(began)
    return counts
