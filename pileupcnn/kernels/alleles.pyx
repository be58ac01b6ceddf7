"""Allele counts of each partition, and the candidate variants among them.

The rules are those of DeepVariant 1.9's very sensitive caller, on the alleles
that `AlleleWalk` collects.
"""

import numpy as np

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.cigar cimport OP_D, OP_H, OP_I, OP_N, OP_P, OP_S
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.walk cimport (
    DELETION,
    INSERTION,
    REFERENCE,
    SOFT_CLIP,
    SUBSTITUTION,
    Allele,
    AlleleWalk,
    Group,
    is_base,
)

cdef enum:
    _CONTEXT = 25
    # of candidates.Detail
    WITH_REFERENCE = 2

CONTEXT = _CONTEXT
"""So many positions on either side of a candidate are its context."""


cdef class AlleleCounter(AlleleWalk):
    """Counts the alleles of a run of partitions, and collects candidates.

    Parameters
    ----------
    min_base_quality : int
    min_count_snps, min_count_indels : int
    min_fraction_snps, min_fraction_indels : float
        Compared as float32.
    detail : int
        A `candidates.Detail`.
    keep_counts : bool
        Whether `position_counts` will be asked for.
    """

    cdef int32_t min_count_snps, min_count_indels
    cdef double min_fraction_snps, min_fraction_indels
    cdef vector[Group] kept
    cdef int detail
    # with detail: how many reads have an entry at each position of the partition; at one position
    # those alleles as they were collected, then with the matching bases, and of these the reads
    cdef vector[int32_t] entries
    cdef vector[Allele] collected, present, matching
    cdef bint keep_counts
    # output
    cdef vector[int64_t] out_start, out_end, allele_offset, base_out, support_offset
    cdef vector[int32_t] out_partition, depth, allele_depth, support
    cdef vector[uint8_t] out_bases
    # output with detail
    cdef vector[uint8_t] low_quality, base_quality, uncalled_low_quality, uncalled_base_quality
    cdef vector[int64_t] uncalled_offset
    cdef vector[int32_t] uncalled
    cdef vector[int8_t] context
    # of every position of every partition, if they are kept
    cdef vector[int32_t] position_reference, position_depth

    def __cinit__(
        self, int min_base_quality, int min_count_snps, int min_count_indels,
        float min_fraction_snps, float min_fraction_indels, int detail=0, bint keep_counts=False,
    ):
        self.keep_counts = keep_counts
        self.min_quality = min_base_quality
        self.min_count_snps, self.min_count_indels = min_count_snps, min_count_indels
        self.min_fraction_snps = min_fraction_snps
        self.min_fraction_indels = min_fraction_indels
        self.allele_offset.push_back(0)
        self.base_out.push_back(0)
        self.support_offset.push_back(0)
        self.uncalled_offset.push_back(0)
        self.detail = detail

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
                self._call_partition(k, &members[offset[k]], offset[k + 1] - offset[k])
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

    cdef int _call_partition(self, int32_t k, const int32_t *reads, int64_t n) except -1 nogil:
        cdef int32_t p, begin, end, total
        cdef uint8_t expected
        cdef size_t first = self.out_start.size()
        if self.detail:
            self.entries.resize(self.interval_length)
            for p in range(self.interval_length):
                self.entries[p] = self.position_offset[p + 1] - self.position_offset[p]
        for p in range(self.interval_length):
            begin, end = self.position_offset[p], self.position_offset[p + 1]
            if end - begin < min(self.min_count_snps, self.min_count_indels) or end == begin:
                continue
            expected = self.reference[self.interval_start - self.reference_start + p]
            if not is_base(expected):
                continue
            if self.detail == WITH_REFERENCE:
                self.collected.assign(
                    self.sorted_alleles.begin() + begin, self.sorted_alleles.begin() + end
                )
            total = self._keep(p, begin, end)
            if self.detail == WITH_REFERENCE and self.kept.size():
                end = self._match_reference(p, begin, reads, n)
                total = self._keep(p, begin, end)
                if self.keep_counts:
                    # a twin's matching base may have taken an allele's place
                    self.position_depth[
                        self.position_depth.size() - self.interval_length + p
                    ] = total
            if self.kept.size():
                self._emit(k, p, expected, total)
        if self.detail:
            self._list_contexts(first)

    cdef int32_t _keep(self, int32_t p, int32_t begin, int32_t end) except -1 nogil:
        """Group the alleles at `p`, keep those that become ALTs, and return the depth."""
        cdef int32_t total = self.reference_count[p]
        cdef size_t i
        self._group(begin, end)
        for i in range(self.groups.size()):
            total += self.groups[i].count
        self.kept.clear()
        for i in range(self.groups.size()):
            if self._is_candidate(self.groups[i], total):
                self.kept.push_back(self.groups[i])
        return total

    cdef int32_t _match_reference(
        self, int32_t p, int32_t begin, const int32_t *reads, int64_t n
    ) except -1 nogil:
        """List the reads `matching` the reference at `p`, low-quality ones included.

        A read has one allele at a position: the matching base only if it has no
        other there. Of twins, too, only the later's allele is left. Returns
        where the alleles at `p` that are left end, from `begin` on.
        """
        cdef size_t i, j = 0
        cdef int32_t end = begin
        cdef int64_t r
        cdef Allele matching
        self.present.clear()
        for r in range(n):
            if j < self.collected.size() and self.collected[j].read == reads[r]:
                self.present.push_back(self.collected[j])
                j += 1
            elif self._shows_reference(reads[r], p, &matching):
                self.present.push_back(matching)
        self.matching.clear()
        for i in range(self.present.size()):
            if self.may_repeat and self._is_overwritten(i):
                continue
            if self.present[i].type == REFERENCE:
                self.matching.push_back(self.present[i])
            else:
                self.sorted_alleles[end] = self.present[i]
                end += 1
        self.entries[p] = <int32_t>self.matching.size() + end - begin
        return end

    cdef bint _is_overwritten(self, size_t i) noexcept nogil:
        """Whether a later twin of its read has an allele at the same position."""
        cdef int32_t twin = self.twin[self.present[i].read]
        cdef size_t j
        for j in range(i + 1, self.present.size()):
            if self.twin[self.present[j].read] == twin:
                return True
        return False

    cdef bint _shows_reference(self, int32_t read, int32_t p, Allele *allele) noexcept nogil:
        """Whether a read's base at `p` is the reference's; then its allele."""
        cdef int64_t left = self.interval_start + p - self.start[read]
        cdef int64_t at = self.base_offset[read], i
        cdef uint32_t op, length
        if left < 0 or self.end[read] <= self.interval_start:
            return False
        for i in range(self.cigar_offset[read], self.cigar_offset[read + 1]):
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            if op == OP_I or op == OP_S:
                at += length
            elif op != OP_H:
                # as in the walk padding counts for the reference, too
                if left < length:
                    if op == OP_D or op == OP_N or op == OP_P:
                        return False
                    break
                left -= length
                if op != OP_D and op != OP_N and op != OP_P:
                    at += length
        else:
            return False
        at += left
        allele.position, allele.read, allele.type, allele.length = p, read, REFERENCE, 0
        allele.first, allele.quality, allele.at = self.bases[at], self.qualities[at], at
        allele.low_quality = allele.quality < self.min_quality
        return allele.first == self.reference[self.interval_start - self.reference_start + p]

    cdef int _list_contexts(self, size_t first) except -1 nogil:
        """Shares of reads unlike the reference around candidates, from `first` on: the partition's.

        In percent, cut to integers, as DeepVariant counts: reads listed as
        matching count among those unlike the reference and once more in the depth.
        """
        cdef size_t i
        cdef int64_t p, depth
        for i in range(first, self.out_start.size()):
            for p in range(
                self.out_start[i] - self.interval_start - _CONTEXT,
                self.out_start[i] - self.interval_start + _CONTEXT + 1,
            ):
                if not 0 <= p < self.interval_length:
                    self.context.push_back(-1)
                    continue
                depth = self.reference_count[p] + self.entries[p]
                self.context.push_back(
                    <int8_t>(100 * <int64_t>self.entries[p] // depth if depth else 0)
                )

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

    cdef int _emit(self, int32_t k, int32_t p, uint8_t expected, int32_t total) except -1 nogil:
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
        if self.detail == WITH_REFERENCE:
            self._list_reads(
                self.matching.data(), self.matching.size(), self.support, self.low_quality,
                self.base_quality,
            )
        self._end_allele(self.reference_count[p])
        for i in range(<int32_t>order.size()):
            self.out_bases.insert(
                self.out_bases.end(), alts[order[i]].begin(), alts[order[i]].end()
            )
            self._list_reads(
                &self.sorted_alleles[self.kept[order[i]].begin],
                self.kept[order[i]].end - self.kept[order[i]].begin, self.support,
                self.low_quality, self.base_quality,
            )
            self._end_allele(self.kept[order[i]].count)
        self.allele_offset.push_back(self.allele_depth.size())
        if self.detail:
            for i in range(<int32_t>self.groups.size()):
                if not self._is_candidate(self.groups[i], total):
                    self._list_reads(
                        &self.sorted_alleles[self.groups[i].begin],
                        self.groups[i].end - self.groups[i].begin, self.uncalled,
                        self.uncalled_low_quality, self.uncalled_base_quality,
                    )
            self.uncalled_offset.push_back(self.uncalled.size())

    cdef int _list_reads(
        self, const Allele *alleles, size_t n, vector[int32_t] &reads, vector[uint8_t] &low_quality,
        vector[uint8_t] &base_quality,
    ) except -1 nogil:
        """Append the reads of `n` alleles, and what is said of each."""
        cdef size_t i
        for i in range(n):
            reads.push_back(alleles[i].read)
            low_quality.push_back(alleles[i].low_quality)
            base_quality.push_back(alleles[i].quality)

    cdef int _end_allele(self, int32_t depth) except -1 nogil:
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

    def details(self):
        """More of the same candidates, with the names of `SupportDetails`'s attributes."""
        n_support, n_uncalled = self.low_quality.size(), self.uncalled.size()
        context = copy_array(self.context.data(), self.context.size(), np.int8)
        return {
            "low_quality": copy_array(self.low_quality.data(), n_support, np.uint8),
            "base_quality": copy_array(self.base_quality.data(), n_support, np.uint8),
            "uncalled_offset": copy_array(
                self.uncalled_offset.data(), self.uncalled_offset.size(), np.int64
            ),
            "uncalled": copy_array(self.uncalled.data(), n_uncalled, np.int32),
            "uncalled_low_quality": copy_array(
                self.uncalled_low_quality.data(), n_uncalled, np.uint8
            ),
            "uncalled_base_quality": copy_array(
                self.uncalled_base_quality.data(), n_uncalled, np.uint8
            ),
            "context": context.reshape(-1, 2 * CONTEXT + 1),
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
