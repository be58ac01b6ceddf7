"""Realignment of a window's reads through its haplotypes: DeepVariant's fast-pass aligner.

As in DeepVariant 1.9, reads find their places on each haplotype by the k-mers
that they share with it, without gaps and with few mismatches; haplotypes that
such reads do not cover are given up. Reads without a place are aligned with
gaps, as is each haplotype that a read chooses to the reference. A read
follows its best haplotype, its best supported one among equals, and gets the
alignment that the two alignments give together.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_M
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.compose cimport compose, is_normalized, shift_at
from pileupcnn.kernels.seeded cimport SeededAligner, Target, set_target
from pileupcnn.kernels.vectors cimport fill

cdef enum:
    NEW = 0
    ALIGNED = 1
    NOT_ALIGNED = 2
    LARGEST_INT16 = 32767

# multiplier of the rolling hash of k-mers (any odd number does; this is from Knuth's MMIX)
cdef uint64_t FACTOR = 6364136223846793005ULL


cdef int32_t _mismatches(
    const uint8_t *first, const uint8_t *second, int32_t length, int32_t most
) noexcept nogil:
    """Pairs of different bases, N being like any; counting ends at `most` + 1."""
    cdef int32_t i = 0, stop, found = 0
    cdef uint64_t a, b
    while i < length:
        stop = min(i + 8, length)
        if stop == i + 8:
            memcpy(&a, first + i, 8)
            memcpy(&b, second + i, 8)
            if a == b:
                i = stop
                continue
        while i < stop:
            if first[i] != second[i] and first[i] != c"N" and second[i] != c"N":
                found += 1
                if found > most:
                    return found
            i += 1
    return found


cdef class WindowAligner(SeededAligner):
    """Realigns the reads of one window after the other.

    Parameters
    ----------
    match, mismatch, gap_open, gap_extend : int
        As in `SmithWaterman`.
    kmer : int
        Length of the k-mers that reads and haplotypes must share; shorter
        reads, and those of this length, are only aligned with gaps.
    max_mismatches : int
        Of a read that is placed without gaps.
    similarity : float
        Part of a read's bases that must be matched, for its score with gaps to count.
    forced : bool
        Align reads to a haplotype that is the reference even if none has a
        place there without gaps, and however low the score.
    """

    def __cinit__(
        self, int match, int mismatch, int gap_open, int gap_extend, int kmer,
        int max_mismatches, double similarity, bint forced=False,
    ):
        self.kmer, self.max_mismatches, self.similarity = kmer, max_mismatches, similarity
        self.forced = forced
        self.outgoing = 1
        cdef int i
        for i in range(kmer - 1):
            self.outgoing *= FACTOR

    cdef uint64_t _hash(self, const uint8_t *bases, uint64_t previous, bint roll) noexcept nogil:
        """Hash of a k-mer; `roll`: `previous` is the hash of the one a base before."""
        cdef uint64_t value = 0
        cdef int32_t i
        if roll:
            return (previous - (bases - 1)[0] * self.outgoing) * FACTOR + bases[self.kmer - 1]
        for i in range(self.kmer):
            value = value * FACTOR + bases[i]
        return value

    cdef int32_t _find(self, const uint8_t *bases, uint64_t value, bint add) except -2 nogil:
        """Number of a k-mer, with this hash, in the index; -1 if it is not there."""
        cdef size_t mask = self.slots.size() - 1, slot = (value ^ value >> 29) & mask
        cdef int32_t number = self.slots[slot]
        while number >= 0:
            if self.kmer_hash[number] == value and (
                memcmp(self.kmer_bases[number], bases, self.kmer) == 0
            ):
                return number
            slot = (slot + 1) & mask
            number = self.slots[slot]
        if add:
            number = <int32_t>self.kmer_hash.size()
            self.slots[slot] = number
            self.kmer_hash.push_back(value)
            self.kmer_bases.push_back(bases)
            self.kmer_next.push_back(-1)
            self.kmer_end.push_back(0)
        return number

    cdef int32_t _step(
        self, int32_t number, const uint8_t *bases, uint64_t *value, bint *hashed, bint add
    ) except -2 nogil:
        """Number of the k-mer at `bases`, that of the one a base before being `number`.

        `value` is that one's hash, if it is `hashed`: mostly the k-mer is the
        one that followed in an earlier read, and no hash is needed.
        """
        cdef int32_t following = self.kmer_next[number] if number >= 0 else -1
        if following >= 0 and (
            self.kmer_bases[following][self.kmer - 1] == bases[self.kmer - 1]
        ):
            hashed[0] = False
            return following
        value[0] = self._hash(bases, value[0], hashed[0])
        hashed[0] = True
        following = self._find(bases, value[0], add)
        if add and number >= 0 and self.kmer_next[number] < 0:
            self.kmer_next[number] = following
        return following

    cdef int _index(self, const vector[ReadBases] &reads) except -1 nogil:
        """List the occurrences of each k-mer, by read and offset."""
        cdef int32_t i, offset, number, k = self.kmer
        cdef size_t total = 0, size = 16, r, at
        cdef uint64_t value = 0
        cdef bint hashed
        for r in range(reads.size()):
            if reads[r].length > k:
                total += reads[r].length - k + 1
        while size < 2 * total:
            size *= 2
        fill(self.slots, size, -1)
        self.kmer_of.resize(total)
        self.kmer_hash.clear()
        self.kmer_bases.clear()
        self.kmer_next.clear()
        self.kmer_end.clear()
        at = 0
        for r in range(reads.size()):
            number, hashed = -1, False
            for offset in range(reads[r].length - k + 1 if reads[r].length > k else 0):
                number = self._step(number, reads[r].bases + offset, &value, &hashed, True)
                self.kmer_of[at] = number
                self.kmer_end[number] += 1
                at += 1
        # a counting sort: the ends are first the beginnings, and advance
        at = 0
        for r in range(self.kmer_end.size()):
            i = self.kmer_end[r]
            self.kmer_end[r] = <int32_t>at
            at += i
        self.occurrences.resize(total)
        at = 0
        for r in range(reads.size()):
            for offset in range(reads[r].length - k + 1 if reads[r].length > k else 0):
                number = self.kmer_of[at]
                self.occurrences[self.kmer_end[number]].read = <int32_t>r
                self.occurrences[self.kmer_end[number]].offset = offset
                self.kmer_end[number] += 1
                at += 1

    cdef int32_t _place(
        self, const vector[uint8_t] &haplotype, bint is_reference, int32_t prefix, int32_t suffix,
        const vector[ReadBases] &reads, Placement *placed,
    ) except -1 nogil:
        """Place reads on a haplotype without gaps; return the sum of their scores.

        The sum is 0, and nothing is placed, if a base of the window, unless
        the haplotype is the reference, is in no read placed by then, though
        the k-mer that begins there is in some read.
        """
        cdef int32_t n = <int32_t>haplotype.size(), k = self.kmer, total = 0, number = -1
        cdef int32_t i, j, r, start, length, misses, score
        cdef const uint8_t *bases = haplotype.data()
        cdef uint64_t value = 0
        cdef bint hashed = False
        fill(self.covered, n, 0)
        fill(self.tried, reads.size(), -1)
        for i in range(n - k + 1):
            number = self._step(number, bases + i, &value, &hashed, False)
            if number < 0:
                continue
            for j in range(self.kmer_end[number - 1] if number else 0, self.kmer_end[number]):
                r = self.occurrences[j].read
                start = max(0, i - self.occurrences[j].offset)
                # trying a place again changes nothing
                if start == self.tried[r]:
                    continue
                length = reads[r].length
                if start + length > n:
                    continue
                self.tried[r] = start
                misses = _mismatches(
                    bases + start, reads[r].bases, length, self.max_mismatches
                )
                if misses > self.max_mismatches:
                    continue
                memset(&self.covered[start], 1, length)
                score = self.match * (length - misses) - self.mismatch * misses
                if placed[r].score < score:
                    total += score - placed[r].score
                    placed[r].score, placed[r].start = score, start
            if not self.covered[i] and prefix <= i < n - suffix and not is_reference:
                total = 0
                break
        if total == 0:
            for r in range(<int32_t>reads.size()):
                placed[r].score = 0
        return total

    cdef bint _to_reference(
        self, Haplotype *haplotype, const vector[uint8_t] &bases
    ) except -1 nogil:
        """Align a haplotype to the reference, unless that was done before."""
        cdef bint found
        if haplotype.state == NEW:
            haplotype.state = NOT_ALIGNED
            self.set_seeded_query(bases.data(), <int32_t>bases.size())
            found = self.align_whole(self.reference)
            if not found:
                self.score(
                    self.reference.codes.data(), <int32_t>self.reference.codes.size(), 0
                )
                found = self.trace(self.reference.codes.data())
            if found:
                haplotype.state = ALIGNED
                haplotype.reference_begin = self.target_begin
                haplotype.cigar.assign(self.operations.begin(), self.operations.end())
        return haplotype.state == ALIGNED

    cdef bint _within_reference(
        self, Haplotype *haplotype, const vector[uint8_t] &bases, const vector[uint8_t] &codes
    ) except -1 nogil:
        """Whether a haplotype's alignment to the reference is without any difference."""
        cdef size_t n = codes.size(), at, m = self.reference.codes.size()
        for at in range(m - n + 1 if n <= m else 0):
            if memcmp(codes.data(), self.reference.codes.data() + at, n) == 0:
                break
        else:
            return False
        return (
            self._to_reference(haplotype, bases)
            and haplotype.cigar.size() == 1
            and memcmp(
                codes.data(), self.reference.codes.data() + haplotype.reference_begin, n
            ) == 0
        )

    cdef int _sort(self) except -1 nogil:
        """Order the haplotypes by support, keeping the order of equals."""
        cdef int32_t i, j
        self.order.resize(self.found.size())
        for i in range(<int32_t>self.found.size()):
            j = i
            while j > 0 and self.found[self.order[j - 1]].support > self.found[i].support:
                self.order[j] = self.order[j - 1]
                j -= 1
            self.order[j] = i

    cdef int32_t _choose(self, const int32_t *scores, size_t stride) noexcept nogil:
        """The haplotype of a read whose score on haplotype i is scores[i * stride]; -1 for none."""
        cdef int32_t chosen = -1, best = 0, score, i
        cdef size_t k
        for k in range(self.order.size()):
            i = self.order[k]
            score = scores[i * stride]
            if score > best or (best > 0 and score == best and not self.found[i].is_reference):
                chosen, best = i, score
        return chosen

    cdef int _score_gapped(self, int32_t index, int32_t known) except -1 nogil:
        """Score the query on a haplotype: exactly, if the score is `known` or more, else less."""
        cdef Target *target = &self.targets[index]
        cdef GappedScore *found = &self.gapped[index]
        cdef GappedScore *other
        cdef int32_t i, length
        found.score = 0
        if not self.find_part(target[0], known, &found.begin, &found.end):
            return 0
        length = found.end - found.begin
        for i in range(index):
            # haplotypes mostly differ where the read is not
            other = &self.gapped[i]
            if other.score > 0 and other.end - other.begin == length and memcmp(
                self.targets[i].codes.data() + other.begin, target.codes.data() + found.begin,
                length,
            ) == 0:
                found.score, found.by_bytes = other.score, other.by_bytes
                found.query_end = other.query_end
                found.target_end = other.target_end - other.begin + found.begin
                return 0
        found.score = self.score(target.codes.data() + found.begin, length, found.bound)
        found.query_end, found.target_end = self.query_end, self.target_end + found.begin
        found.by_bytes = self.by_bytes

    cdef bint _counts(self, int32_t index) noexcept nogil:
        """Whether reads may be aligned to a haplotype with gaps."""
        return self.found[index].support > 0 or (
            self.forced and self.found[index].is_reference
        )

    cdef int32_t _align_with_gaps(self, const ReadBases &read, int32_t least) except -2 nogil:
        """Align a read with gaps to all haplotypes that count; return the one to follow.

        The alignment to it is in `target_begin` and `operations`.
        """
        cdef int32_t i, n = <int32_t>self.found.size(), chosen, known = 0
        self.set_seeded_query(read.bases, read.length)
        fill(self.gapped, n, GappedScore(0, 0, 0, 0, 0, 0, 0))
        for i in range(n):
            if self._counts(i):
                self.gapped[i].bound = self.find_runs(self.targets[i])
                known = max(known, self.gapped[i].bound)
        while True:
            for i in range(n):
                if self._counts(i) and self.gapped[i].score >= 0:
                    self._score_gapped(i, known)
                    if self.gapped[i].score < least:
                        self.gapped[i].score = 0
            chosen = self._choose(&self.gapped[0].score, sizeof(GappedScore) // sizeof(int32_t))
            if chosen < 0:
                return -1
            self.best, self.by_bytes = self.gapped[chosen].score, self.gapped[chosen].by_bytes
            self.target_end = self.gapped[chosen].target_end
            self.query_end = self.gapped[chosen].query_end
            if self.trace(self.targets[chosen].codes.data()):
                return chosen
            # libssw finds no path: as if there were no alignment, and lower scores count
            self.gapped[chosen].score = -1
            known = 0

    cdef int32_t _least_score(self, int32_t length) noexcept nogil:
        """Least score with gaps that counts, for a window whose first read has this length."""
        cdef double least = (
            self.match * length * self.similarity - self.mismatch * length * (1 - self.similarity)
        )
        return 1 if least < 0 or self.forced else <int32_t>min(least, <double>LARGEST_INT16)

    cdef int align(
        self, const uint8_t *reference, int32_t reference_length, int64_t reference_start,
        int32_t prefix, int32_t suffix, const vector[vector[uint8_t]] &haplotypes,
        const vector[ReadBases] &reads,
    ) except -1 nogil:
        """Realign a window's reads; alignment.pxd says what it takes and gives."""
        cdef size_t n_reads = reads.size(), n = haplotypes.size(), i, r
        cdef int32_t chosen, start, offset, least
        cdef Haplotype *haplotype
        cdef bint placed
        fill(self.changed, n_reads, 0)
        fill(self.placed, n_reads, 0)
        fill(self.position, n_reads, -1)
        fill(self.cigar_offset, n_reads + 1, 0)
        self.cigar.clear()
        if n_reads == 0 or n == 0:
            return 0
        set_target(self.reference, reference, reference_length)
        self._index(reads)
        self.found.resize(n)
        self.targets.resize(n)
        fill(self.placements, n * n_reads, Placement(0, 0))
        for i in range(n):
            haplotype = &self.found[i]
            set_target(self.targets[i], haplotypes[i].data(), <int32_t>haplotypes[i].size())
            haplotype.is_reference = <int32_t>haplotypes[i].size() == reference_length and (
                memcmp(haplotypes[i].data(), reference, reference_length) == 0
            )
            haplotype.state = NEW
            haplotype.support = self._place(
                haplotypes[i], haplotype.is_reference, prefix, suffix, reads,
                &self.placements[i * n_reads],
            )
            haplotype.cigar.clear()
            if haplotype.is_reference:
                haplotype.state, haplotype.reference_begin = ALIGNED, 0
                haplotype.cigar.push_back(<uint32_t>reference_length << 4 | OP_M)
            elif haplotype.support > 0:
                haplotype.is_reference = self._within_reference(
                    haplotype, haplotypes[i], self.targets[i].codes
                )
        self._sort()
        least = self._least_score(reads[0].length)
        for r in range(n_reads):
            chosen = self._choose(
                &self.placements[r].score, n_reads * (sizeof(Placement) // sizeof(int32_t))
            )
            if chosen >= 0:
                start = self.placements[chosen * n_reads + r].start
                fill(self.on_haplotype, 1, <uint32_t>reads[r].length << 4 | OP_M)
            else:
                chosen = self._align_with_gaps(reads[r], least)
                start = self.target_begin
                self.on_haplotype.swap(self.operations)
            self.placed[r] = chosen >= 0
            if chosen >= 0 and self._to_reference(&self.found[chosen], haplotypes[chosen]):
                haplotype = &self.found[chosen]
                offset = haplotype.reference_begin + start + shift_at(haplotype.cigar, start)
                if (
                    compose(
                        self.composer, self.on_haplotype, haplotype.cigar, start, reads[r].length
                    )
                    and is_normalized(
                        self.composer.cigar, reads[r].bases, reference, reference_length, offset
                    )
                    and reference_start + offset >= 0
                ):
                    self.changed[r] = True
                    self.position[r] = reference_start + offset
                    self.cigar.insert(
                        self.cigar.end(), self.composer.cigar.begin(), self.composer.cigar.end()
                    )
            self.cigar_offset[r + 1] = self.cigar.size()

    def align_window(
        self, bytes reference, int64_t reference_start, int prefix, int suffix, list haplotypes,
        list reads,
    ):
        """Realign reads, all given as bytes of letters in either case.

        Parameters
        ----------
        reference : bytes
            Prefix, window and suffix.
        reference_start : int
            Contig position of the first, 0-based.
        prefix, suffix : int
            Their lengths.
        haplotypes : list of bytes
            Sorted; each with prefix and suffix.
        reads : list of bytes

        Returns
        -------
        list
            For each read its position, 0-based, and CIGAR; None for one that
            keeps its alignment.
        """
        cdef vector[vector[uint8_t]] bases
        cdef vector[ReadBases] pointers
        cdef ReadBases pointer
        cdef bytes text
        cdef const uint8_t *letters
        cdef double began
        cdef int i
        cdef int64_t k
        reference = reference.upper()
        reads = [text.upper() for text in reads]
        for text in haplotypes:
            text = text.upper()
            letters = text
            bases.push_back(vector[uint8_t]())
            bases.back().assign(letters, letters + len(text))
        for text in reads:
            pointer.bases, pointer.length = text, <int32_t>len(text)
            pointers.push_back(pointer)
        letters = reference
        cdef int32_t length = <int32_t>len(reference)
        with nogil:
            began = thread_seconds()
            self.align(letters, length, reference_start, prefix, suffix, bases, pointers)
            count_released(began)
        return [
            (
                self.position[i],
                "".join(
                    f"{self.cigar[k] >> 4}{'MIDNS'[self.cigar[k] & 15]}"
                    for k in range(self.cigar_offset[i], self.cigar_offset[i + 1])
                ),
            )
            if self.changed[i] else None
            for i in range(len(reads))
        ]
