"""Smith-Waterman where shared seeds leave something to find: the same results, sooner.

What an alignment's score lacks to that of all query bases in equal pairs is
its loss. Runs of equal pairs end at mismatches, gaps and clips, each of which
has its price, so an alignment of small loss has a long run; the two sequences
share few of these, and most of the matrix need not be computed.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.smith_waterman cimport SmithWaterman, encode
from pileupcnn.kernels.vectors cimport fill

cdef enum:
    # bases of a seed, and slots of the table of the query's
    SEED = 10
    SLOTS = 4096
    # longest gaps next to each other that are considered, and a loss that none is kept for
    SWAPS = 64
    UNLIKELY_LOSS = 1 << 20


cdef int set_target(Target &target, const uint8_t *bases, int32_t length) except -1 nogil:
    """Take a target, as ASCII."""
    encode(bases, length, target.codes)
    target.seeds.clear()
    target.runs.clear()


cdef int _list_seeds(const vector[uint8_t] &codes, vector[int32_t] &seeds) except -1 nogil:
    """The SEED bases that end at each base, as a number; -1 where one is not A, C, G or T."""
    cdef int32_t i, clean = 0, n = <int32_t>codes.size()
    cdef uint32_t value = 0
    seeds.resize(n)
    for i in range(n):
        value = (value << 2 | codes[i] & 3) & ((1 << 2 * SEED) - 1)
        clean = clean + 1 if codes[i] < 4 else 0
        seeds[i] = <int32_t>value if clean >= SEED else -1


cdef class SeededAligner(SmithWaterman):
    """A `SmithWaterman` that bounds where a query can be aligned; same parameters."""

    def __cinit__(self, int match, int mismatch, int gap_open, int gap_extend, *_, **__):
        cdef int32_t inserted, deleted, both, loss, instead
        # a mismatch and the first base of an insertion use a base up besides ending a run
        self.bases_by_pair = 1 / <double>min(match + mismatch, match + gap_open)
        self.bases_by_gap = 1 / <double>gap_open
        self.bases_by_clip = 1 / <double>match
        # An insertion next to a deletion is worth a look only if it is as good as pairs in place
        # of the shorter, all of them unequal, and one gap.
        for both in range(2 * SWAPS + 1):
            self.swap_loss[both] = UNLIKELY_LOSS
        for inserted in range(1, SWAPS + 1):
            for deleted in range(1, SWAPS + 1):
                both = min(inserted, deleted)
                loss = self._gap_loss(deleted) + self._gap_loss(-inserted)
                instead = both * (match + mismatch) + self._gap_loss(deleted - inserted)
                if loss <= instead:
                    both = deleted - inserted + SWAPS
                    self.swap_loss[both] = min(self.swap_loss[both], loss)

    cdef int32_t _gap_loss(self, int32_t shift) noexcept nogil:
        """Loss by a deletion of so many bases, or by an insertion of as many if negative."""
        if shift == 0:
            return 0
        if shift > 0:
            return self.gap_open + (shift - 1) * self.gap_extend
        return self.gap_open - (shift + 1) * self.gap_extend - shift * self.match

    cdef int set_seeded_query(self, const uint8_t *query, int32_t length) except -1 nogil:
        """Take a query, as ASCII, and chain its seeds by their hash."""
        cdef int32_t i, slot
        self.set_query(query, length)
        _list_seeds(self.query, self.query_seeds)
        fill(self.seed_slots, SLOTS, -1)
        self.seed_next.resize(length)
        for i in range(length):
            if self.query_seeds[i] >= 0:
                slot = self.query_seeds[i] % SLOTS
                self.seed_next[i] = self.seed_slots[slot]
                self.seed_slots[slot] = i

    cdef int32_t find_runs(self, Target &target) except -1 nogil:
        """List the runs of a seed's length or more; return the score of a good alignment.

        That one has at most one gap, between two runs.
        """
        cdef int32_t i, j, seed, n = <int32_t>self.query.size(), m = <int32_t>target.codes.size()
        cdef const uint8_t *query = self.query.data()
        cdef const uint8_t *codes = target.codes.data()
        cdef Run run
        cdef size_t k, longest = 0
        cdef int32_t best
        target.runs.clear()
        if target.seeds.size() != target.codes.size():
            _list_seeds(target.codes, target.seeds)
        for j in range(m):
            seed = target.seeds[j]
            if seed < 0:
                continue
            i = self.seed_slots[seed % SLOTS]
            while i >= 0:
                # each run is found by its first seed
                if self.query_seeds[i] == seed and (
                    i < SEED or j < SEED or query[i - SEED] != codes[j - SEED]
                    or query[i - SEED] > 3
                ):
                    run.begin, run.end, run.diagonal = i - SEED + 1, i + 1, j - i
                    while run.end < n and run.end + run.diagonal < m and (
                        query[run.end] == codes[run.end + run.diagonal] and query[run.end] < 4
                    ):
                        run.end += 1
                    target.runs.push_back(run)
                i = self.seed_next[i]
        if target.runs.size() == 0:
            return 0
        for k in range(target.runs.size()):
            run = target.runs[k]
            if run.end - run.begin > target.runs[longest].end - target.runs[longest].begin:
                longest = k
        best = self._without_gaps(target.codes, target.runs[longest].diagonal)
        for k in range(target.runs.size()):
            if target.runs[k].begin < target.runs[longest].begin:
                best = max(best, self._joined(target.runs[k], target.runs[longest]))
            else:
                best = max(best, self._joined(target.runs[longest], target.runs[k]))
        return best

    cdef int32_t _without_gaps(
        self, const vector[uint8_t] &codes, int32_t diagonal
    ) noexcept nogil:
        """Best score on a diagonal."""
        cdef int32_t i, score = 0, best = 0
        for i in range(
            max(0, -diagonal), min(<int32_t>self.query.size(), <int32_t>codes.size() - diagonal)
        ):
            if self.query[i] == codes[i + diagonal] and self.query[i] < 4:
                score += self.match
                best = max(best, score)
            else:
                score = max(0, score - self.mismatch)
        return best

    cdef int32_t _joined(self, const Run &first, const Run &second) noexcept nogil:
        """Score of two runs, the second cut to begin after the first, and a gap between them."""
        cdef int32_t gap = second.diagonal - first.diagonal
        cdef int32_t after = first.end + max(-gap, 0), begin = max(second.begin, after)
        if gap == 0 or second.end <= begin:
            return 0
        return (
            self.match * (first.end - first.begin + second.end - begin)
            - self.mismatch * (begin - after)
            - self.gap_open - self.gap_extend * (max(gap, -gap) - 1)
        )

    cdef int32_t run_length(self, int32_t length, int32_t loss) noexcept nogil:
        """The length that some run has in every alignment of so many query bases and such a loss.

        Runs of up to r bases: the first, and one more for every mismatch or
        gap, pay for `length` at most r + loss x the largest of r by a
        deletion, r + 1 by a mismatch or an inserted base and 1 by a clipped one.
        """
        cdef int32_t shorter = 0
        while shorter < length and length > shorter + loss * max(
            max(shorter * self.bases_by_gap, (shorter + 1) * self.bases_by_pair),
            self.bases_by_clip,
        ):
            shorter += 1
        return shorter

    cdef bint find_part(
        self, const Target &target, int32_t known, int32_t *begin, int32_t *end
    ) noexcept nogil:
        """The part of a target that all alignments of score `known` or more lie in.

        False if there is no such alignment. Beside the diagonal of its run an
        alignment is off by no more than the deletions that its loss can pay for.
        """
        cdef int32_t n = <int32_t>self.query.size(), loss = self.match * n - known
        cdef int32_t least = self.run_length(n, loss), low = 0, high = 0, shift = 0
        cdef bint found = False
        cdef size_t k
        begin[0], end[0] = 0, <int32_t>target.codes.size()
        if least < SEED:
            return True
        for k in range(target.runs.size()):
            if target.runs[k].end - target.runs[k].begin >= least:
                low = min(low, target.runs[k].diagonal) if found else target.runs[k].diagonal
                high = max(high, target.runs[k].diagonal) if found else target.runs[k].diagonal
                found = True
        if found:
            if loss >= self.gap_open:
                shift = (loss - self.gap_open) // self.gap_extend + 1
            begin[0] = max(begin[0], low - shift)
            end[0] = min(end[0], high + n + shift)
        return found

    cdef int32_t _loss_of_both(self, int32_t shift, int32_t gaps) noexcept nogil:
        """Least loss by insertions and deletions that differ by `shift` and have both so many
        bases."""
        cdef int32_t inserted = max(gaps, gaps - shift)
        return self._gap_loss(-inserted) + self._gap_loss(inserted + shift)

    cdef int32_t _loss_of_swap(self, int32_t shift) noexcept nogil:
        """Least loss by gaps that shift by so much, with an insertion next to a deletion."""
        cdef int32_t k, least = self._gap_loss(SWAPS)
        for k in range(2 * SWAPS + 1):
            least = min(least, self.swap_loss[k] + self._gap_loss(shift - (k - SWAPS)))
        return least

    cdef bint align_whole(self, Target &target) except -1 nogil:
        """Align the query, whose ends are those of the target, from end to end.

        False, and nothing is known, unless this is bound to be what `score` and
        `trace` give.
        """
        cdef int32_t n = <int32_t>self.query.size(), m = <int32_t>target.codes.size()
        cdef int32_t same = min(n, m), prefix = 0, suffix = 0, width = max(n - m, m - n) + 1
        cdef int32_t wider = width, loss, first, last
        cdef const uint8_t *query = self.query.data()
        cdef const uint8_t *codes = target.codes.data()
        cdef Run *run
        cdef size_t k
        while prefix < same and query[prefix] == codes[prefix] and query[prefix] < 4:
            prefix += 1
        while suffix < same and (
            query[n - 1 - suffix] == codes[m - 1 - suffix] and query[n - 1 - suffix] < 4
        ):
            suffix += 1
        # so that a run of one part does not reach into the other, where a repeat is shortened
        prefix, suffix = min(prefix, n - suffix), min(suffix, n - prefix)
        if prefix < SEED or suffix < SEED:
            return False
        self.best = self._fill(query, n, codes, m, width)
        loss = self.match * n - self.best
        if self._loss_of_swap(m - n) <= loss:
            return False
        # a path that leaves the band has gaps of both kinds
        while self._loss_of_both(m - n, wider - width + 2) <= loss:
            wider += 1
        if wider > width:
            self.best = self._fill(query, n, codes, m, wider)
            loss = self.match * n - self.best
        # An alignment of no larger loss has runs of these lengths in prefix and suffix. If they
        # lie on the diagonals of these only, the best one goes on there to the ends.
        first, last = self.run_length(prefix, loss), self.run_length(suffix, loss)
        if first < SEED or last < SEED:
            return False
        self.find_runs(target)
        for k in range(target.runs.size()):
            run = &target.runs[k]
            if (run.diagonal != 0 and min(run.end, prefix) - run.begin >= first) or (
                run.diagonal != m - n and run.end - max(run.begin, n - suffix) >= last
            ):
                return False
        self.query_begin = self.target_begin = 0
        self.query_end, self.target_end = n - 1, m - 1
        return self._path(codes)
