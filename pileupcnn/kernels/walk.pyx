"""Alleles of a partition's reads, sorted by position and grouped.

The rules are those of DeepVariant 1.9's AlleleCounter. A read's CIGAR is walked
into alleles, each at one position: a matching base, a substitution, or an
insertion, deletion or soft clip anchored at the base before it, which takes
that base's place. Matching bases are only counted; the rest, a few hundred a
partition, are kept, sorted by position and grouped.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from pileupcnn.kernels.cigar cimport OP_D, OP_EQ, OP_I, OP_M, OP_N, OP_P, OP_S, OP_X
from pileupcnn.kernels.vectors cimport fill

cdef class AlleleWalk:
    """What those who count alleles share: `min_quality` and `min_mapping_quality` are theirs."""

    cdef _take(self, reads, const uint8_t[::1] reference, int64_t reference_start):
        """Look at a `ReadBatch`, and at the contig's bases from `reference_start` on.

        At least those under the intervals and under any read's deletions.
        """
        self.start, self.end, self.twin = reads.start, reads.end, reads.twin
        self.mapping_quality = reads.mapping_quality
        self.base_offset, self.bases, self.qualities = (
            reads.base_offset, reads.bases, reads.qualities
        )
        self.cigar_offset, self.cigar = reads.cigar_offset, reads.cigar
        self.reference, self.reference_start = reference, reference_start

    cdef int _collect(
        self, const int32_t *reads, int64_t n, int64_t start, int64_t end
    ) except -1 nogil:
        """The alleles in [start, end) of those of `n` reads that overlap it."""
        cdef int64_t i
        self.interval_start = start
        self.interval_length = <int32_t>(end - start)
        fill(self.reference_count, self.interval_length, 0)
        self.alleles.clear()
        self.may_repeat = False
        for i in range(n):
            if (
                self.mapping_quality[reads[i]] >= self.min_mapping_quality
                and self.start[reads[i]] < end and self.end[reads[i]] > start
            ):
                self._walk(reads[i])
        self._sort_alleles()
        self.may_repeat = self.may_repeat or self._has_twins(reads, n)
        if self.may_repeat:
            self._drop_overwritten()

    cdef int _walk(self, int32_t read) except -1 nogil:
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

    cdef int _match(self, int32_t read, int64_t off, int64_t at, uint32_t length) except -1 nogil:
        cdef int64_t first = max(0, -off), last = min(<int64_t>length, self.interval_length - off)
        cdef int64_t i, shift = self.interval_start - self.reference_start + off
        cdef uint8_t base, expected
        if first >= last:
            return 0
        # all but the last are settled at once: only the last can be an anchor
        self._commit_unless_at(off + first)
        for i in range(first, last):
            base, expected = self.bases[at + i], self.reference[shift + i]
            if not is_base(base):
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
                if self.qualities[at + i] >= self.min_quality and is_base(expected):
                    self.mismatches += 1
                self.pending.position = <int32_t>(off + i)
                self.pending.type = SUBSTITUTION
                self.pending.quality = self.qualities[at + i]
                self.pending.low_quality = self.pending.quality < self.min_quality
                self.pending.first = base
                self.pending.length = 0
                self.pending.at = at + i
                if i < last - 1:
                    self._commit()

    cdef int _commit_unless_at(self, int64_t position) except -1 nogil:
        if self.pending.position != position:
            self._commit()
        elif self.pending.type == 0:
            self.reference_count[position] -= 1
        self.pending.position = -1

    cdef int _commit(self) except -1 nogil:
        """Keep the pending allele; a matching base is in the counts already."""
        if self.pending.position >= 0 and self.pending.type:
            self.alleles.push_back(self.pending)
        self.pending.position = -1

    cdef int _commit_before_skipped(self) except -1 nogil:
        """Commit before an allele with an unknown base, which itself does not count.

        What follows may have the position of what is committed, and then
        replaces it: one read has one allele at a position.
        """
        self._commit()
        self.may_repeat = True

    cdef int _anchored(
        self, int32_t read, uint8_t type, int64_t off, int64_t at, uint32_t length, bint at_start
    ) except -1 nogil:
        """An insertion, deletion or soft clip; its position is the base before it."""
        cdef int64_t position = off - 1, i, total = 0, source = at
        cdef int64_t shift = self.interval_start - self.reference_start
        cdef uint8_t anchor = 0
        if position < 0 or position >= self.interval_length:
            self._commit()
            return 0
        if not at_start:
            anchor = self.bases[at - 1]
        elif shift + position >= 0:
            anchor = self.reference[shift + position]
        if not is_base(anchor):
            self._commit_before_skipped()
            return 0
        if type == DELETION:
            source = shift + off
            if source + length > self.reference.shape[0]:
                self._commit_before_skipped()
                return 0
            for i in range(length):
                if not is_base(self.reference[source + i]):
                    self._commit_before_skipped()
                    return 0
        else:
            for i in range(length):
                if not is_base(self.bases[at + i]):
                    self._commit_before_skipped()
                    return 0
                total += self.qualities[at + i]
        self._commit_unless_at(position)
        self.pending.position = <int32_t>position
        self.pending.type = type
        self.pending.low_quality = type != DELETION and total < self.min_quality * <int64_t>length
        if type == DELETION:
            self.pending.quality = self.qualities[at if at_start else at - 1]
        else:
            self.pending.quality = <uint8_t>(total // max(1, <int64_t>length))
        self.pending.first = anchor
        self.pending.length = <int32_t>length
        self.pending.at = source

    cdef int _sort_alleles(self) except -1 nogil:
        """Counting sort by position, in the order of the reads."""
        cdef size_t i
        cdef int32_t p
        fill(self.position_offset, self.interval_length + 2, 0)
        for i in range(self.alleles.size()):
            self.position_offset[self.alleles[i].position + 2] += 1
        for p in range(self.interval_length):
            self.position_offset[p + 2] += self.position_offset[p + 1]
        self.sorted_alleles.resize(self.alleles.size())
        for i in range(self.alleles.size()):
            p = self.alleles[i].position
            self.sorted_alleles[self.position_offset[p + 1]] = self.alleles[i]
            self.position_offset[p + 1] += 1

    cdef bint _has_twins(self, const int32_t *reads, int64_t n) noexcept nogil:
        """Whether two of the reads have the same name and number."""
        cdef int64_t i
        for i in range(n):
            if self.twin[reads[i]] != reads[i]:
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

    cdef int _group(self, int32_t begin, int32_t end) except -1 nogil:
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
