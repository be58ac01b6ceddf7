"""Allele counts of each partition, and the candidate variants among them.

The rules are those of DeepVariant 1.9's very sensitive caller, on the alleles
that `AlleleWalk` collects.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.vector cimport vector

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.walk cimport (
    DELETION,
    INSERTION,
    SOFT_CLIP,
    SUBSTITUTION,
    Allele,
    AlleleWalk,
    Group,
    is_base,
)

cdef class AlleleCounter(AlleleWalk):
    """Counts the alleles of a run of partitions, and collects candidates.

    Parameters
    ----------
    min_base_quality : int
    min_count_snps, min_count_indels : int
    min_fraction_snps, min_fraction_indels : float
        Compared as float32.
    keep_counts : bool
        Whether `position_counts` will be asked for.
    """

    cdef int32_t min_count_snps, min_count_indels
    cdef double min_fraction_snps, min_fraction_indels
    cdef vector[Group] kept
    cdef bint keep_counts
    # output
    cdef vector[int64_t] out_start, out_end, allele_offset, base_out, support_offset
    cdef vector[int32_t] out_partition, depth, allele_depth, support
    cdef vector[uint8_t] out_bases
    # of every position of every partition, if they are kept
    cdef vector[int32_t] position_reference, position_depth

    def __cinit__(
        self, int min_base_quality, int min_count_snps, int min_count_indels,
        float min_fraction_snps, float min_fraction_indels, bint keep_counts=False,
    ):
        self.keep_counts = keep_counts
        self.min_quality = min_base_quality
        self.min_count_snps, self.min_count_indels = min_count_snps, min_count_indels
        self.min_fraction_snps = min_fraction_snps
        self.min_fraction_indels = min_fraction_indels
        self.allele_offset.push_back(0)
        self.base_out.push_back(0)
        self.support_offset.push_back(0)

    def count(self, reads, const int64_t[::1] starts, const int64_t[::1] ends,
              const uint8_t[::1] reference, int64_t reference_start):
        """Count the partitions [starts[k], ends[k]) of a `ReadBatch`.

        `reference` holds the contig's bases from `reference_start` on: at
        least those under the partitions and under any read's deletions.
        """
        cdef int32_t k
        cdef double began
        cdef const int64_t[::1] offset = reads.partition_offset
        cdef const int32_t[::1] members = reads.partition_reads
        self._take(reads, reference, reference_start)
        with nogil:
            began = thread_seconds()
            for k in range(<int32_t>starts.shape[0]):
                if offset[k] == offset[k + 1]:
                    if self.keep_counts:
                        self._keep_zeros(ends[k] - starts[k])
                    continue
                self._collect(
                    &members[offset[k]], offset[k + 1] - offset[k], starts[k], ends[k]
                )
                if self.keep_counts:
                    self._keep_counts()
                self._call_partition(k)
            count_released(began)

    cdef int _keep_zeros(self, int64_t length) except -1 nogil:
        """Keep the counts of a partition without reads."""
        self.position_reference.resize(self.position_reference.size() + length, 0)
        self.position_depth.resize(self.position_depth.size() + length, 0)
        return 0

    cdef int _keep_counts(self) except -1 nogil:
        """Keep the counts of the partition whose alleles were collected last."""
        cdef int32_t p, i, depth
        for p in range(self.interval_length):
            depth = self.reference_count[p]
            for i in range(self.position_offset[p], self.position_offset[p + 1]):
                depth += not self.sorted_alleles[i].low_quality
            self.position_reference.push_back(self.reference_count[p])
            self.position_depth.push_back(depth)
        return 0

    cdef void _call_partition(self, int32_t k) noexcept nogil:
        cdef int32_t p, begin, end, i, total
        cdef uint8_t expected
        for p in range(self.interval_length):
            begin, end = self.position_offset[p], self.position_offset[p + 1]
            if end - begin < min(self.min_count_snps, self.min_count_indels) or end == begin:
                continue
            expected = self.reference[self.interval_start - self.reference_start + p]
            if not is_base(expected):
                continue
            self._group(begin, end)
            total = self.reference_count[p]
            for i in range(<int32_t>self.groups.size()):
                total += self.groups[i].count
            self.kept.clear()
            for i in range(<int32_t>self.groups.size()):
                if self._is_candidate(self.groups[i], total):
                    self.kept.push_back(self.groups[i])
            if self.kept.size():
                self._emit(k, p, expected, total)

    cdef bint _is_candidate(self, Group &group, int32_t total) noexcept nogil:
        cdef uint8_t type = self.sorted_alleles[group.begin].type
        if type == SOFT_CLIP or group.count == 0:
            return False
        if type == SUBSTITUTION:
            return (
                group.count >= self.min_count_snps
                and <double>group.count / total >= self.min_fraction_snps
            )
        return (
            group.count >= self.min_count_indels
            and <double>group.count / total >= self.min_fraction_indels
        )

    cdef void _emit(self, int32_t k, int32_t p, uint8_t expected, int32_t total) noexcept nogil:
        """Write one candidate: REF spans the longest deletion, ALTs ascend bytewise."""
        cdef int32_t i, j, longest = 0
        cdef int64_t tail = self.interval_start - self.reference_start + p + 1
        cdef Allele *allele
        cdef vector[vector[uint8_t]] alts
        cdef vector[int32_t] order
        for i in range(<int32_t>self.kept.size()):
            allele = &self.sorted_alleles[self.kept[i].begin]
            if allele.type == DELETION:
                longest = max(longest, allele.length)
        alts.resize(self.kept.size())
        for i in range(<int32_t>self.kept.size()):
            allele = &self.sorted_alleles[self.kept[i].begin]
            alts[i].push_back(allele.first)
            if allele.type == INSERTION:
                alts[i].insert(
                    alts[i].end(), self._tail(allele[0]), self._tail(allele[0]) + allele.length
                )
            for j in range(allele.length if allele.type == DELETION else 0, longest):
                alts[i].push_back(self.reference[tail + j])
            j = i
            order.push_back(i)
            while j > 0 and alts[i] < alts[order[j - 1]]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = i
        self.out_start.push_back(self.interval_start + p)
        self.out_end.push_back(self.interval_start + p + 1 + longest)
        self.out_partition.push_back(k)
        self.depth.push_back(total)
        self.out_bases.push_back(expected)
        for j in range(longest):
            self.out_bases.push_back(self.reference[tail + j])
        self._end_allele(self.reference_count[p])
        for i in range(<int32_t>order.size()):
            self.out_bases.insert(
                self.out_bases.end(), alts[order[i]].begin(), alts[order[i]].end()
            )
            for j in range(self.kept[order[i]].begin, self.kept[order[i]].end):
                self.support.push_back(self.sorted_alleles[j].read)
            self._end_allele(self.kept[order[i]].count)
        self.allele_offset.push_back(self.allele_depth.size())

    cdef void _end_allele(self, int32_t depth) noexcept nogil:
        self.allele_depth.push_back(depth)
        self.base_out.push_back(self.out_bases.size())
        self.support_offset.push_back(self.support.size())

    def arrays(self):
        """The candidates as a dict of arrays with the names of `CandidateBatch`'s attributes."""
        return {
            "start": copy_array(self.out_start.data(), self.out_start.size(), np.int64),
            "end": copy_array(self.out_end.data(), self.out_end.size(), np.int64),
            "partition": copy_array(self.out_partition.data(), self.out_partition.size(), np.int32),
            "depth": copy_array(self.depth.data(), self.depth.size(), np.int32),
            "allele_offset": copy_array(self.allele_offset.data(), self.allele_offset.size(), np.int64),
            "base_offset": copy_array(self.base_out.data(), self.base_out.size(), np.int64),
            "bases": copy_array(self.out_bases.data(), self.out_bases.size(), np.uint8),
            "allele_depth": copy_array(self.allele_depth.data(), self.allele_depth.size(), np.int32),
            "support_offset": copy_array(
                self.support_offset.data(), self.support_offset.size(), np.int64
            ),
            "support": copy_array(self.support.data(), self.support.size(), np.int32),
        }

    def position_counts(self):
        """Reads with the reference base, and with any allele, at each position, if they were kept.

        A dict with the names of `PositionCounts`'s attributes.
        """
        return {
            "reference": copy_array(
                self.position_reference.data(), self.position_reference.size(), np.int32
            ),
            "depth": copy_array(self.position_depth.data(), self.position_depth.size(), np.int32),
        }
