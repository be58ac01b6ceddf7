"""Allele counts of each partition, and the candidate variants among them.

The rules are those of DeepVariant 1.9's AlleleCounter and very sensitive
caller. A read's CIGAR is walked into alleles, each at one position: a matching
base, a substitution, or an insertion, deletion or soft clip anchored at the
base before it, which takes that base's place. Matching bases are only counted;
the rest, a few hundred a partition, are kept, sorted by position and grouped.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp
from libcpp.vector cimport vector

from pileupcnn.kernels.arrays cimport copy_array
from pileupcnn.kernels.clock cimport count_released, thread_seconds

# the operations of a CIGAR, as BAM numbers them, and the types of an allele, as DeepVariant does
cdef enum:
    OP_M = 0
    OP_I = 1
    OP_D = 2
    OP_N = 3
    OP_S = 4
    OP_H = 5
    OP_P = 6
    OP_EQ = 7
    OP_X = 8
    SUBSTITUTION = 2
    INSERTION = 3
    DELETION = 4
    SOFT_CLIP = 5

cdef uint8_t IS_BASE[256]
cdef int _i
for _i in range(256):
    IS_BASE[_i] = _i in b"ACGT"


cdef struct Allele:
    # one read's allele: `first` is its first base (for anchored ones the base before),
    # the other `length` bases start at `at` in the reads' bases or in the reference
    int32_t position
    int32_t read
    uint8_t type
    uint8_t low_quality
    uint8_t first
    int32_t length
    int64_t at


cdef struct Group:
    # the reads with one allele at one position: a slice of the sorted alleles
    int32_t begin
    int32_t end
    int32_t count


cdef class AlleleCounter:
    """Counts the alleles of a run of partitions, and collects candidates.

    Parameters
    ----------
    min_base_quality : int
    min_count_snps, min_count_indels : int
    min_fraction_snps, min_fraction_indels : float
        Compared as float32.
    """

    cdef int32_t min_quality, min_count_snps, min_count_indels
    cdef double min_fraction_snps, min_fraction_indels
    # input, set by `count`
    cdef const int64_t[::1] start, base_offset, cigar_offset, partition_offset
    cdef const uint8_t[::1] bases, qualities, reference
    cdef const uint32_t[::1] cigar
    cdef const int32_t[::1] partition_reads, twin
    cdef int64_t reference_start
    # one partition
    cdef int64_t interval_start
    cdef int32_t interval_length
    cdef vector[int32_t] reference_count
    cdef vector[Allele] alleles, sorted_alleles
    cdef vector[int32_t] position_offset
    cdef vector[Group] groups, kept
    cdef Allele pending
    cdef bint may_repeat
    # output
    cdef vector[int64_t] out_start, out_end, allele_offset, base_out, support_offset
    cdef vector[int32_t] out_partition, depth, allele_depth, support
    cdef vector[uint8_t] out_bases
    cdef readonly int64_t matches
    cdef readonly int64_t mismatches

    def __cinit__(
        self, int min_base_quality, int min_count_snps, int min_count_indels,
        float min_fraction_snps, float min_fraction_indels,
    ):
        self.min_quality = min_base_quality
        self.min_count_snps, self.min_count_indels = min_count_snps, min_count_indels
        self.min_fraction_snps = min_fraction_snps
        self.min_fraction_indels = min_fraction_indels
        self.allele_offset.push_back(0)
        self.base_out.push_back(0)
        self.support_offset.push_back(0)
        self.matches = self.mismatches = 0

    def count(self, reads, const int64_t[::1] starts, const int64_t[::1] ends,
              const uint8_t[::1] reference, int64_t reference_start):
        """Count the partitions [starts[k], ends[k]) of a `ReadBatch`.

        `reference` holds the contig's bases from `reference_start` on: at
        least those under the partitions and under any read's deletions.
        """
        cdef int32_t k
        cdef double began
        self.start, self.twin = reads.start, reads.twin
        self.base_offset, self.bases, self.qualities = (
            reads.base_offset, reads.bases, reads.qualities
        )
        self.cigar_offset, self.cigar = reads.cigar_offset, reads.cigar
        self.partition_offset, self.partition_reads = reads.partition_offset, reads.partition_reads
        self.reference, self.reference_start = reference, reference_start
        with nogil:
            began = thread_seconds()
            for k in range(<int32_t>starts.shape[0]):
                self._count_partition(k, starts[k], ends[k])
                self._sort_alleles()
                if self.may_repeat or self._has_twins(k):
                    self._drop_overwritten()
                self._call_partition(k)
            count_released(began)

    cdef void _count_partition(self, int32_t k, int64_t start, int64_t end) noexcept nogil:
        cdef int64_t i
        self.interval_start = start
        self.interval_length = <int32_t>(end - start)
        self.reference_count.assign(self.interval_length, 0)
        self.alleles.clear()
        self.may_repeat = False
        for i in range(self.partition_offset[k], self.partition_offset[k + 1]):
            self._walk(self.partition_reads[i])

    cdef void _walk(self, int32_t read) noexcept nogil:
        """Add the alleles of one read; an allele is pending until the next one.

        Two neighbours at one position: the later takes the place of the
        earlier, so an indel that of its anchor base.
        """
        cdef int64_t off = self.start[read] - self.interval_start, at = self.base_offset[read]
        cdef int64_t first_base = at, i
        cdef uint32_t op, length
        self.pending.position = -1
        self.pending.read = read
        for i in range(self.cigar_offset[read], self.cigar_offset[read + 1]):
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            if op == OP_M or op == OP_EQ or op == OP_X:
                self._match(read, off, at, length)
                off += length
                at += length
            elif op == OP_I or op == OP_S:
                self._anchored(
                    read, INSERTION if op == OP_I else SOFT_CLIP, off, at, length, at == first_base
                )
                at += length
            elif op == OP_D:
                self._anchored(read, DELETION, off, at, length, at == first_base)
                off += length
            elif op == OP_N or op == OP_P:
                off += length
            if off >= self.interval_length + 1:
                break
        self._commit()

    cdef void _match(self, int32_t read, int64_t off, int64_t at, uint32_t length) noexcept nogil:
        cdef int64_t first = max(0, -off), last = min(<int64_t>length, self.interval_length - off)
        cdef int64_t i, shift = self.interval_start - self.reference_start + off
        cdef uint8_t base, expected
        if first >= last:
            return
        # all but the last are settled at once: only the last can be an anchor
        self._commit_unless_at(off + first)
        for i in range(first, last):
            base, expected = self.bases[at + i], self.reference[shift + i]
            if not IS_BASE[base]:
                continue
            if base == expected:
                if self.qualities[at + i] >= self.min_quality:
                    self.reference_count[off + i] += 1
                    self.matches += 1
                    if i == last - 1:
                        self.pending.position = <int32_t>(off + i)
                        self.pending.type = 0
                elif i == last - 1:
                    self.pending.position = -1
            else:
                if self.qualities[at + i] >= self.min_quality and IS_BASE[expected]:
                    self.mismatches += 1
                self.pending.position = <int32_t>(off + i)
                self.pending.type = SUBSTITUTION
                self.pending.low_quality = self.qualities[at + i] < self.min_quality
                self.pending.first = base
                self.pending.length = 0
                self.pending.at = at + i
                if i < last - 1:
                    self._commit()

    cdef void _commit_unless_at(self, int64_t position) noexcept nogil:
        if self.pending.position != position:
            self._commit()
        elif self.pending.type == 0:
            self.reference_count[position] -= 1
        self.pending.position = -1

    cdef void _commit(self) noexcept nogil:
        """Keep the pending allele; a matching base is in the counts already."""
        if self.pending.position >= 0 and self.pending.type:
            self.alleles.push_back(self.pending)
        self.pending.position = -1

    cdef void _commit_before_skipped(self) noexcept nogil:
        """Commit before an allele with an unknown base, which itself does not count.

        What follows may have the position of what is committed, and then
        replaces it: one read has one allele at a position.
        """
        self._commit()
        self.may_repeat = True

    cdef void _anchored(
        self, int32_t read, uint8_t type, int64_t off, int64_t at, uint32_t length, bint at_start
    ) noexcept nogil:
        """An insertion, deletion or soft clip; its position is the base before it."""
        cdef int64_t position = off - 1, i, total = 0, source = at
        cdef int64_t shift = self.interval_start - self.reference_start
        cdef uint8_t anchor = 0
        if position < 0 or position >= self.interval_length:
            self._commit()
            return
        if not at_start:
            anchor = self.bases[at - 1]
        elif shift + position >= 0:
            anchor = self.reference[shift + position]
        if not IS_BASE[anchor]:
            self._commit_before_skipped()
            return
        if type == DELETION:
            source = shift + off
            if source + length > self.reference.shape[0]:
                self._commit_before_skipped()
                return
            for i in range(length):
                if not IS_BASE[self.reference[source + i]]:
                    self._commit_before_skipped()
                    return
        else:
            for i in range(length):
                if not IS_BASE[self.bases[at + i]]:
                    self._commit_before_skipped()
                    return
                total += self.qualities[at + i]
        self._commit_unless_at(position)
        self.pending.position = <int32_t>position
        self.pending.type = type
        self.pending.low_quality = type != DELETION and total < self.min_quality * <int64_t>length
        self.pending.first = anchor
        self.pending.length = <int32_t>length
        self.pending.at = source

    cdef void _sort_alleles(self) noexcept nogil:
        """Counting sort by position, in the order of the reads."""
        cdef size_t i
        cdef int32_t p
        self.position_offset.assign(self.interval_length + 2, 0)
        for i in range(self.alleles.size()):
            self.position_offset[self.alleles[i].position + 2] += 1
        for p in range(self.interval_length):
            self.position_offset[p + 2] += self.position_offset[p + 1]
        self.sorted_alleles.resize(self.alleles.size())
        for i in range(self.alleles.size()):
            p = self.alleles[i].position
            self.sorted_alleles[self.position_offset[p + 1]] = self.alleles[i]
            self.position_offset[p + 1] += 1

    cdef bint _has_twins(self, int32_t k) noexcept nogil:
        """Whether two reads of the partition have the same name and number."""
        cdef int64_t i
        for i in range(self.partition_offset[k], self.partition_offset[k + 1]):
            if self.twin[self.partition_reads[i]] != self.partition_reads[i]:
                return True
        return False

    cdef void _drop_overwritten(self) noexcept nogil:
        """Of two alleles of a read, or of twins, at one position only the later counts."""
        cdef int32_t p, i, j, begin = 0, end, kept = 0
        for p in range(self.interval_length):
            end = self.position_offset[p + 1]
            for i in range(begin, end):
                for j in range(i + 1, end):
                    if (
                        self.twin[self.sorted_alleles[j].read]
                        == self.twin[self.sorted_alleles[i].read]
                    ):
                        break
                else:
                    self.sorted_alleles[kept] = self.sorted_alleles[i]
                    kept += 1
            begin = end
            self.position_offset[p + 1] = kept

    cdef int _compare(self, Allele &a, Allele &b) noexcept nogil:
        """Order by bases, then by type."""
        cdef int order = <int>a.first - <int>b.first
        cdef int32_t shared = min(a.length, b.length)
        if order == 0 and shared:
            order = memcmp(self._tail(a), self._tail(b), shared)
        if order == 0:
            order = a.length - b.length
        return order if order else <int>a.type - <int>b.type

    cdef const uint8_t *_tail(self, Allele &allele) noexcept nogil:
        """The bases after the first; not for an allele that has none."""
        if allele.type == DELETION:
            return &self.reference[allele.at]
        return &self.bases[allele.at]

    cdef void _call_partition(self, int32_t k) noexcept nogil:
        cdef int32_t p, begin, end, i, total
        cdef uint8_t expected
        for p in range(self.interval_length):
            begin, end = self.position_offset[p], self.position_offset[p + 1]
            if end - begin < min(self.min_count_snps, self.min_count_indels) or end == begin:
                continue
            expected = self.reference[self.interval_start - self.reference_start + p]
            if not IS_BASE[expected]:
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

    cdef void _group(self, int32_t begin, int32_t end) noexcept nogil:
        """Sort the alleles of one position and split them into equal ones."""
        cdef int32_t i, j
        cdef Allele held
        cdef Group group
        # insertion sort: stable, and few alleles but for real variants, whose are equal
        for i in range(begin + 1, end):
            held = self.sorted_alleles[i]
            j = i
            while j > begin and self._compare(self.sorted_alleles[j - 1], held) > 0:
                self.sorted_alleles[j] = self.sorted_alleles[j - 1]
                j -= 1
            self.sorted_alleles[j] = held
        self.groups.clear()
        group.begin, group.count = begin, 0
        for i in range(begin, end):
            group.count += not self.sorted_alleles[i].low_quality
            if i == end - 1 or self._compare(self.sorted_alleles[i], self.sorted_alleles[i + 1]):
                group.end = i + 1
                self.groups.push_back(group)
                group.begin, group.count = i + 1, 0

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
