"""Writing variants into aligned reads, and reads as FASTQ for aligning them again.

A variant is written where a read, in the order of sequencing, comes to its
anchor; what follows moves, the last bases fall off or the reference fills in,
and qualities stay with their cycles. So do errors of low quality.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_D, OP_EQ, OP_I, OP_M, OP_N, OP_S, OP_X
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.fastq cimport append_record

cdef enum:
    REVERSE = 0x10

cdef uint8_t[256] COMPLEMENT
cdef int _i
for _i in range(256):
    COMPLEMENT[_i] = _i
for _i in range(4):
    COMPLEMENT[b"ACGT"[_i]] = b"TGCA"[_i]


cdef inline bint known(uint8_t base) noexcept nogil:
    return base == b"A" or base == b"C" or base == b"G" or base == b"T"


def throw_coins(const uint8_t[::1] names, const int64_t[::1] name_offset, uint64_t seed):
    """A fair coin for each fragment, by its name: uint8 [n], 0 or 1."""
    coins = np.empty(name_offset.shape[0] - 1, np.uint8)
    cdef uint8_t[::1] coin = coins
    cdef int64_t i, j
    cdef uint64_t h
    with nogil:
        for i in range(coin.shape[0]):
            # FNV-1a, then SplitMix64's finaliser
            h = <uint64_t>1469598103934665603 ^ seed
            for j in range(name_offset[i], name_offset[i + 1]):
                h = (h ^ names[j]) * <uint64_t>1099511628211
            h = (h ^ (h >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
            h = (h ^ (h >> 27)) * <uint64_t>0x94D049BB133111EB
            coin[i] = (h ^ (h >> 31)) & 1
    return coins


cdef class Planter:
    """Writes variants into the reads of one batch.

    Parameters
    ----------
    reads : ReadBatch
    reference : uint8
        ASCII, of the window.
    reference_start : int
    sure : int
        Mismatches of lower quality stay with their cycle as errors.
    """

    cdef readonly object reads
    cdef int64_t[::1] read_start, base_offset, cigar_offset
    cdef uint16_t[::1] flag
    cdef uint8_t[::1] read_bases, qualities
    cdef uint32_t[::1] cigar
    cdef const uint8_t[::1] reference
    cdef int64_t reference_start
    cdef int sure
    cdef vector[int64_t] position
    cdef vector[uint8_t] source, score, written

    def __cinit__(self, reads, const uint8_t[::1] reference, int64_t reference_start, int sure):
        self.sure = sure
        self.reads = reads
        self.read_start, self.flag = reads.start, reads.flag
        self.base_offset, self.cigar_offset = reads.base_offset, reads.cigar_offset
        self.read_bases, self.qualities, self.cigar = reads.bases, reads.qualities, reads.cigar
        self.reference, self.reference_start = reference, reference_start

    cdef int _walk(self, int64_t read) except -1 nogil:
        """Reference position of each base of a read; -1: none."""
        cdef int64_t at = self.read_start[read], i, query = 0
        cdef uint32_t op, length, j
        self.position.assign(self.base_offset[read + 1] - self.base_offset[read], -1)
        for i in range(self.cigar_offset[read], self.cigar_offset[read + 1]):
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            if op == OP_M or op == OP_EQ or op == OP_X:
                for j in range(length):
                    self.position[query + j] = at + j
                at += length
                query += length
            elif op == OP_I or op == OP_S:
                query += length
            elif op == OP_D or op == OP_N:
                at += length
        return 0

    def plant(self, const uint8_t[::1] used, forward, reverse):
        """Write variants into reads.

        Parameters
        ----------
        used : uint8 [n]
            Reads that have them.
        forward, reverse : tuple of arrays
            The variants as reads on either strand meet them, in that order:
            ``anchor`` (int64: position after which the sequence changes; that
            of the base itself for a substitution), ``change`` (int64: bases
            won, or lost if negative; 0 for a substitution), ``offset``
            (int64 [v + 1]) and ``text`` (uint8: what is won, in the order in
            which it is met but on the forward strand).

        Returns
        -------
        uint8
            All bases, as `ReadBatch.bases`.
        """
        planted = np.array(self.reads.bases)
        cdef uint8_t[::1] target = planted
        cdef const int64_t[::1] anchor_f = forward[0], change_f = forward[1], offset_f = forward[2]
        cdef const uint8_t[::1] text_f = forward[3]
        cdef const int64_t[::1] anchor_r = reverse[0], change_r = reverse[1], offset_r = reverse[2]
        cdef const uint8_t[::1] text_r = reverse[3]
        cdef int64_t i, j, length
        cdef bint back, touched
        cdef double began
        with nogil:
            began = thread_seconds()
            for i in range(used.shape[0]):
                if not used[i]:
                    continue
                self._walk(i)
                back = self.flag[i] & REVERSE != 0
                if back:
                    touched = self._plant(i, -1, anchor_r, change_r, offset_r, text_r)
                else:
                    touched = self._plant(i, 1, anchor_f, change_f, offset_f, text_f)
                if touched:
                    length = <int64_t>self.written.size()
                    for j in range(length):
                        target[self.base_offset[i] + (length - 1 - j if back else j)] = (
                            self.written[j]
                        )
            count_released(began)
        return planted

    cdef int _plant(
        self, int64_t read, int64_t step, const int64_t[::1] anchor, const int64_t[::1] change,
        const int64_t[::1] offset, const uint8_t[::1] text,
    ) except -1 nogil:
        """Write into `written`, in the order of sequencing; whether there was anything to."""
        cdef int64_t first = self.base_offset[read], length = <int64_t>self.position.size()
        cdef int64_t cycle, query, at, v = 0, low, high, middle, j, beyond = -1, moved = -1, trailing = 0
        cdef int64_t variants = anchor.shape[0]
        cdef uint8_t base
        cdef bint touched = False
        # the first variant that the read may meet
        at = -1
        for cycle in range(length):
            query = cycle if step > 0 else length - 1 - cycle
            if self.position[query] >= 0:
                at = self.position[query]
                break
        if at < 0:
            return 0
        low, high = 0, variants
        while low < high:
            middle = (low + high) // 2
            if (anchor[middle] - at) * step < 0:
                low = middle + 1
            else:
                high = middle
        v = low
        self.written.clear()
        cycle = 0
        while cycle < length and <int64_t>self.written.size() < length:
            query = cycle if step > 0 else length - 1 - cycle
            at = self.position[query]
            base = self.read_bases[first + query]
            if at < 0:
                trailing += 1
                self.written.push_back(base)
                cycle += 1
                continue
            trailing, beyond = 0, at
            while v < variants and (anchor[v] - at) * step < 0:
                v += 1
            if moved >= 0 and self._erroneous(read, query):
                # the error is this cycle's, not the sequence's
                base = self.reference[at - self.reference_start]
            if v < variants and anchor[v] == at and change[v] == 0:
                touched = True
                if base == self.reference[at - self.reference_start]:
                    base = text[offset[v]]
                v += 1
            self.written.push_back(base)
            cycle += 1
            if v < variants and anchor[v] == at:
                touched = True
                if moved < 0:
                    moved = cycle
                if change[v] > 0:
                    for j in range(offset[v], offset[v + 1]):
                        self.written.push_back(text[j])
                else:
                    j = -change[v]
                    while j and cycle < length:
                        query = cycle if step > 0 else length - 1 - cycle
                        if self.position[query] >= 0:
                            beyond = self.position[query]
                        cycle += 1
                        j -= 1
                    # bases lost past the end of what was read
                    beyond += j * step
                v += 1
        if not touched:
            return 0
        beyond += (trailing + 1) * step
        while <int64_t>self.written.size() < length:
            at = beyond - self.reference_start
            base = b"A"
            if 0 <= at < self.reference.shape[0] and known(self.reference[at]):
                base = self.reference[at]
            while v < variants and (anchor[v] - beyond) * step < 0:
                v += 1
            if v < variants and anchor[v] == beyond and change[v] == 0:
                base = text[offset[v]]
            self.written.push_back(base)
            beyond += step
        self.written.resize(length)
        if moved >= 0:
            for cycle in range(moved, length):
                query = cycle if step > 0 else length - 1 - cycle
                if self.position[query] >= 0 and self._erroneous(read, query):
                    base = self.read_bases[first + query]
                    if base == self.written[cycle]:
                        base = self.reference[self.position[query] - self.reference_start]
                    self.written[cycle] = base
        return 1

    cdef bint _erroneous(self, int64_t read, int64_t query) noexcept nogil:
        """Whether a base is an error for sure: unlike the reference, and of low quality."""
        cdef int64_t first = self.base_offset[read]
        cdef uint8_t true = self.reference[self.position[query] - self.reference_start]
        cdef uint8_t base = self.read_bases[first + query]
        return (
            self.qualities[first + query] < self.sure and base != true and known(true) and known(base)
        )

    def fastq(
        self, const uint8_t[::1] used, const uint8_t[::1] bases, const int64_t[::1] place,
    ):
        """Reads as they left the sequencer, mates together, those without one last.

        Parameters
        ----------
        used : uint8 [n]
            Reads to write; no two of one name and number.
        bases : uint8
            As `plant` returns them.
        place : int64 [n]
            1-based position where each belongs, written as ``mp:i:``; its
            mapping quality is written as ``mq:i:``.

        Returns
        -------
        bytes
        """
        cdef const uint8_t[::1] names = self.reads.names, number = self.reads.read_number
        cdef const uint8_t[::1] mapping_quality = self.reads.mapping_quality
        cdef const int64_t[::1] name_offset = self.reads.name_offset
        cdef unordered_map[string, int64_t] waiting
        cdef vector[int64_t] mate
        cdef string text, name
        cdef int64_t i, n = used.shape[0], other
        cdef double began
        with nogil:
            began = thread_seconds()
            mate.assign(n, -1)
            for i in range(n):
                if not used[i]:
                    continue
                name.assign(
                    <const char *>&names[name_offset[i]], name_offset[i + 1] - name_offset[i]
                )
                if waiting.count(name):
                    other = waiting[name]
                    waiting.erase(name)
                    if number[other] != number[i]:
                        mate[i], mate[other] = other, i
                else:
                    waiting[name] = i
            for i in range(n):
                # a pair comes where its later read does
                if used[i] and 0 <= mate[i] < i:
                    other = mate[i]
                    if number[i] < number[other]:
                        self._append(text, i, bases, names, name_offset, mapping_quality, place)
                        self._append(text, other, bases, names, name_offset, mapping_quality, place)
                    else:
                        self._append(text, other, bases, names, name_offset, mapping_quality, place)
                        self._append(text, i, bases, names, name_offset, mapping_quality, place)
            for i in range(n):
                if used[i] and mate[i] < 0:
                    self._append(text, i, bases, names, name_offset, mapping_quality, place)
            count_released(began)
        return <bytes>text

    cdef int _append(
        self, string &text, int64_t i, const uint8_t[::1] bases, const uint8_t[::1] names,
        const int64_t[::1] name_offset, const uint8_t[::1] mapping_quality,
        const int64_t[::1] place,
    ) except -1 nogil:
        cdef int64_t first = self.base_offset[i], length = self.base_offset[i + 1] - first, j
        cdef bint back = self.flag[i] & REVERSE != 0
        cdef char comment[64]
        cdef int size = snprintf(
            comment, 64, b" mq:i:%d\tmp:i:%lld", <int>mapping_quality[i], <long long>place[i]
        )
        cdef string name
        name.assign(<const char *>&names[name_offset[i]], name_offset[i + 1] - name_offset[i])
        name.append(comment, size)
        self.source.resize(length)
        self.score.resize(length)
        for j in range(length):
            if back:
                self.source[j] = COMPLEMENT[bases[first + length - 1 - j]]
                self.score[j] = self.qualities[first + length - 1 - j]
            else:
                self.source[j] = bases[first + j]
                self.score[j] = self.qualities[first + j]
        append_record(
            text, name.data(), name.size(), self.source.data(), self.score.data(), length
        )
        return 0
