"""Reference-confidence blocks: runs of positions that are alike, from their read counts.

The rules are those of DeepVariant 1.9's gVCF records.
"""

import numpy as np

from libc.math cimport ceil
from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp cimport bool as cbool
from libcpp.vector cimport vector

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.walk cimport is_base


def find_blocks(
    const int64_t[::1] starts, const int64_t[::1] ends,
    const int32_t[::1] reference_count, const int32_t[::1] depth,
    const uint8_t[::1] bases, int64_t bases_start, const uint8_t[::1] haploid,
    const int32_t[::1] quality, const int32_t[::1] level, int32_t max_depth,
):
    """Split the partitions [starts[k], ends[k]) into blocks; see `ReferenceConfidence`.

    `reference_count` and `depth` belong to the partitions' positions, one
    partition after another; `bases`, and `haploid` if it is not empty, to the
    contig's positions from `bases_start` on. `quality` and `level` are tables
    by entry: the GQ, and what neighbours in a block have in common, or -1 for
    positions that are blocks of their own. The entry of n reads, r of them with
    the reference base, is n (n + 1) / 2 + r, less deep ones before deeper ones
    up to `max_depth`, and then the same for one copy instead of two.

    Returns a dict of arrays: start, end, entry (that of the lowest GQ, the
    first of equals) and min_depth of each block.
    """
    cdef vector[int64_t] start, end
    cdef vector[int32_t] entry, min_depth
    cdef int32_t single = (max_depth + 1) * (max_depth + 2) // 2
    cdef int32_t found, n, r
    cdef int64_t k, position, at, counted = 0
    cdef cbool going
    cdef double began
    with nogil:
        began = thread_seconds()
        for k in range(starts.shape[0]):
            going = False
            for position in range(starts[k], ends[k]):
                at = position - bases_start
                n, r = depth[counted], reference_count[counted]
                counted += 1
                if not is_base(bases[at]):
                    going = False
                    continue
                if n > max_depth:
                    r = <int32_t>ceil(<double>r / n * max_depth)
                    found = max_depth
                else:
                    found = n
                found = found * (found + 1) // 2 + r
                if haploid.shape[0] and haploid[at]:
                    found += single
                if going and level[found] == level[entry.back()] and level[found] >= 0:
                    end[end.size() - 1] += 1
                    min_depth[min_depth.size() - 1] = min(min_depth.back(), n)
                    if quality[found] < quality[entry.back()]:
                        entry[entry.size() - 1] = found
                    continue
                going = True
                start.push_back(position)
                end.push_back(position + 1)
                entry.push_back(found)
                min_depth.push_back(n)
        count_released(began)
    return {
        "start": copy_array(start.data(), start.size(), np.int64),
        "end": copy_array(end.data(), end.size(), np.int64),
        "entry": copy_array(entry.data(), entry.size(), np.int32),
        "min_depth": copy_array(min_depth.data(), min_depth.size(), np.int32),
    }
