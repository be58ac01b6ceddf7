"""Local alignment with affine gaps, with the choices that libssw 1.2.5 makes among equals.

The score is Smith and Waterman's with Gotoh's gaps, computed column by column
of the target with the query striped over the lanes of a vector (Farrar, 2007).
DeepVariant aligns with libssw (Zhao et al., 2013), so this is the same in all
that shows in an alignment:

- A deletion is not opened from a cell that an insertion reached across the end
  of a stripe. A stripe is a 16th of the query, or an 8th once a score does not fit
  8 bits less the mismatch penalty, so lanes are counted as there.
- The alignment ends in the first target column that reaches the best score,
  there at the first query base; it begins, by the same rule run backwards, at
  the last possible column.
- Between begin and end the path is that of a banded alignment, the band doubled
  until it holds the score: a pair before a gap, a deletion before an insertion,
  and a gap extended before one opened.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libcpp.algorithm cimport reverse
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_D, OP_I, OP_M, OP_S
from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.vectors cimport fill

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    #include <vector>

    // Lanes of words and of bytes. Bytes hold no negative numbers: they stop at 0.
    typedef int16_t pileupcnn_words __attribute__((vector_size(16), aligned(2), may_alias));
    typedef uint8_t pileupcnn_bytes __attribute__((vector_size(16), aligned(1), may_alias));

    static inline pileupcnn_words pileupcnn_less(pileupcnn_words a, pileupcnn_words b) {
        return a - b;
    }
    static inline pileupcnn_bytes pileupcnn_less(pileupcnn_bytes a, pileupcnn_bytes b) {
        return (a > b ? a : b) - b;
    }

    // One pass over a target, from `target` on by `step`. The profile has, for each letter, what
    // each query base adds to the score, then what it takes from it. `rows` has room for four
    // vectors a row. Returns the best score, with the first column and in it the first row that
    // reach it; stops after a column that reaches `limit`.
    template <class T, class vector_t>
    static int pileupcnn_striped(
        const T *profile, int32_t query_length, const uint8_t *target, int32_t length,
        int32_t step, int open_cost, int extend_cost, int limit, T *rows, int32_t *column,
        int32_t *row
    ) {
        const int lanes = sizeof(vector_t) / sizeof(T);
        const size_t segment = (query_length + lanes - 1) / lanes, size = segment * lanes;
        // this column, the one before and the one of the best score, which may be the one before
        T *stored = rows, *loaded = rows + size, *best_column = rows + 2 * size;
        T *gaps = rows + 3 * size;
        const vector_t zero = {}, open = zero + (T)open_cost, extend = zero + (T)extend_cost;
        T shifted[lanes + 1] = {0};
        int best = 0;
        memset(rows, 0, 4 * size * sizeof(T));
        *column = -1;
        for (int32_t at = 0; at < length; at++, target += step) {
            const T *gain = profile + *target * 2 * size, *cost = gain + size;
            vector_t down = zero, highest = zero, h, e;
            // the diagonal of a lane's first row is the last row of the lane before
            memcpy(shifted + 1, stored + size - lanes, sizeof(h));
            memcpy(&h, shifted, sizeof(h));
            T *spare = loaded;
            loaded = stored;
            stored = spare;
            if (spare == best_column)
                stored = rows + 3 * size - (loaded - rows) - (best_column - rows);
            for (size_t j = 0; j < size; j += lanes) {
                h += *(const vector_t *)(gain + j);
                if (sizeof(T) == 1) h = pileupcnn_less(h, *(const vector_t *)(cost + j));
                e = *(vector_t *)(gaps + j);
                h = h > e ? h : e;
                if (sizeof(T) > 1) h = h > zero ? h : zero;
                // an insertion is extended rather than opened anew behind another
                vector_t opened = pileupcnn_less(h, open);
                h = h > down ? h : down;
                highest = highest > h ? highest : h;
                *(vector_t *)(stored + j) = h;
                h = pileupcnn_less(h, open);
                e = pileupcnn_less(e, extend);
                *(vector_t *)(gaps + j) = e > h ? e : h;
                down = pileupcnn_less(down, extend);
                down = down > opened ? down : opened;
                h = *(vector_t *)(loaded + j);
            }
            // insertions that run on into the next lane; deletions are not opened from these
            for (int k = 0; k < lanes; k++) {
                memcpy(shifted + 1, &down, sizeof(h));
                memcpy(&down, shifted, sizeof(h));
                bool live = false;
                for (size_t j = 0; j < size; j += lanes) {
                    h = *(vector_t *)(stored + j);
                    e = pileupcnn_less(h, open);
                    e = e > zero ? e : zero;
                    // what `down` has more than a gap opened here
                    e = (down > e ? down : e) - e;
                    uint64_t words[2];
                    memcpy(words, &e, sizeof(words));
                    live = (words[0] | words[1]) != 0;
                    if (!live) break;
                    h = h > down ? h : down;
                    highest = highest > h ? highest : h;
                    *(vector_t *)(stored + j) = h;
                    down = pileupcnn_less(down, extend);
                }
                if (!live) break;
            }
            int top = 0;
            for (int k = 0; k < lanes; k++) top = highest[k] > top ? highest[k] : top;
            if (top > best) {
                best = top;
                *column = at;
                best_column = stored;
                if (best >= limit) break;
            }
        }
        *row = query_length;
        for (size_t j = 0; j < segment; j++)
            for (int k = 0; k < lanes; k++)
                if (best_column[j * lanes + k] == best && (int32_t)(j + k * segment) < *row)
                    *row = (int32_t)(j + k * segment);
        return best;
    }
    static int pileupcnn_by_words(
        const int16_t *profile, int32_t query_length, const uint8_t *target, int32_t length,
        int32_t step, int open, int extend, int limit, int16_t *rows, int32_t *column, int32_t *row
    ) {
        return pileupcnn_striped<int16_t, pileupcnn_words>(
            profile, query_length, target, length, step, open, extend, limit, rows, column, row);
    }
    static int pileupcnn_by_bytes(
        const uint8_t *profile, int32_t query_length, const uint8_t *target, int32_t length,
        int32_t step, int open, int extend, int limit, int16_t *rows, int32_t *column, int32_t *row
    ) {
        return pileupcnn_striped<uint8_t, pileupcnn_bytes>(
            profile, query_length, target, length, step, open, extend, limit, (uint8_t *)rows,
            column, row);
    }
    // The profile of a query for `pileupcnn_striped`, of no cost where T has negative numbers.
    // Rows past the query score 0.
    template <class T, int lanes>
    static void pileupcnn_profile(
        const uint8_t *query, int32_t n, int match, int mismatch, std::vector<T> &profile
    ) {
        const size_t segment = (n + lanes - 1) / lanes, size = segment * lanes;
        profile.assign(5 * 2 * size, 0);
        for (int letter = 0; letter < 5; letter++) {
            T *gain = profile.data() + letter * 2 * size, *cost = gain + size;
            for (int lane = 0; lane < lanes; lane++)
                for (size_t j = 0, i = lane * segment; j < segment && i < (size_t)n; j++, i++) {
                    bool equal = query[i] == letter && letter < 4;
                    if (sizeof(T) == 1) cost[j * lanes + lane] = equal ? 0 : mismatch;
                    gain[j * lanes + lane] = equal ? match : sizeof(T) == 1 ? 0 : -mismatch;
                }
        }
    }
    static void pileupcnn_word_profile(
        const uint8_t *query, int32_t n, int match, int mismatch, std::vector<int16_t> &profile
    ) { pileupcnn_profile<int16_t, 8>(query, n, match, mismatch, profile); }
    static void pileupcnn_byte_profile(
        const uint8_t *query, int32_t n, int match, int mismatch, std::vector<uint8_t> &profile
    ) { pileupcnn_profile<uint8_t, 16>(query, n, match, mismatch, profile); }
    """
    int pileupcnn_by_words(
        const int16_t *profile, int32_t query_length, const uint8_t *target, int32_t length,
        int32_t step, int gap_open, int gap_extend, int limit, int16_t *rows, int32_t *column,
        int32_t *row
    ) except + nogil
    int pileupcnn_by_bytes(
        const uint8_t *profile, int32_t query_length, const uint8_t *target, int32_t length,
        int32_t step, int gap_open, int gap_extend, int limit, int16_t *rows, int32_t *column,
        int32_t *row
    ) nogil
    void pileupcnn_word_profile(
        const uint8_t *query, int32_t n, int match, int mismatch, vector[int16_t] &profile
    ) except + nogil
    void pileupcnn_byte_profile(
        const uint8_t *query, int32_t n, int match, int mismatch, vector[uint8_t] &profile
    ) except + nogil

cdef enum:
    # most lanes of a vector
    LANES = 16
    # largest score of a pass over words, far from where int16 ends
    LARGEST = 30000
    NO_LIMIT = 1 << 30
    # directions: whether the gap of either kind was opened in the cell before, and how the
    # best score of the cell came about
    INSERTION_OPENS = 1
    DELETION_OPENS = 2
    FROM_INSERTION = 4
    FROM_DELETION = 8

cdef uint8_t CODES[256]
cdef int _letter
for _letter in range(256):
    CODES[_letter] = 4
# libssw's table, as DeepVariant's, has A for U
for _letter, _code in zip(b"ACGTUacgtu", (0, 1, 2, 3, 0) * 2):
    CODES[_letter] = _code


cdef int encode(const uint8_t *bases, int32_t length, vector[uint8_t] &codes) except -1 nogil:
    """Codes of bases, as `SmithWaterman` takes targets."""
    cdef int32_t i
    codes.resize(length)
    for i in range(length):
        codes[i] = CODES[bases[i]]


cdef class SmithWaterman:
    """Aligns one query after the other, each to any number of targets.

    `set_query`, then `score` for the best score and where it ends, then, with
    the target last scored, `trace` for the beginning and the CIGAR.

    Parameters
    ----------
    match, mismatch, gap_open, gap_extend : int
        Score of a pair of equal bases of A, C, G and T; penalties of any other
        pair, of a gap's first base and of each further one, as positive numbers.
        Scores must fit bytes: match at most mismatch, and none over 100.
    """

    def __cinit__(self, int match, int mismatch, int gap_open, int gap_extend, *_, **__):
        self.match, self.mismatch = match, mismatch
        self.gap_open, self.gap_extend = gap_open, gap_extend

    cdef int set_query(self, const uint8_t *query, int32_t length) except -1 nogil:
        """Take a query, as ASCII."""
        encode(query, length, self.query)
        self.words_ready = self.bytes_ready = False

    cdef int32_t score(
        self, const uint8_t *target, int32_t length, int32_t known
    ) except -1 nogil:
        """Best score with a target (codes); `query_end` and `target_end` are its end.

        `known`: the score of some alignment without gaps, to save time, or 0.
        """
        cdef int32_t n = <int32_t>self.query.size(), overflow = 255 - self.mismatch
        self.best = 0
        if n == 0 or length == 0 or self.match * min(n, length) > LARGEST:
            return 0
        self.rows.resize(4 * (n + LANES))
        self.by_bytes = known < overflow
        if self.by_bytes:
            if not self.bytes_ready:
                pileupcnn_byte_profile(
                    self.query.data(), n, self.match, self.mismatch, self.byte_profile
                )
                self.bytes_ready = True
            self.best = pileupcnn_by_bytes(
                self.byte_profile.data(), n, target, length, 1, self.gap_open, self.gap_extend,
                overflow, self.rows.data(), &self.target_end, &self.query_end,
            )
            self.by_bytes = self.best < overflow
        if not self.by_bytes:
            if not self.words_ready:
                pileupcnn_word_profile(
                    self.query.data(), n, self.match, self.mismatch, self.word_profile
                )
                self.words_ready = True
            self.best = pileupcnn_by_words(
                self.word_profile.data(), n, target, length, 1, self.gap_open, self.gap_extend,
                NO_LIMIT, self.rows.data(), &self.target_end, &self.query_end,
            )
        return self.best

    cdef bint trace(self, const uint8_t *target) except -1 nogil:
        """Beginning and CIGAR (in `operations`) of the alignment that `score` found.

        False if libssw finds none: its pass backwards may miss the score of
        that forwards, by the rule for deletions next to insertions.
        """
        cdef int32_t n = self.query_end + 1, m = self.target_end + 1, row = 0, column = 0, best
        self.operations.clear()
        if self.best == 0:
            return False
        self.reversed_query.assign(self.query.begin(), self.query.begin() + n)
        reverse(self.reversed_query.begin(), self.reversed_query.end())
        self.rows.resize(4 * (n + LANES))
        if self.by_bytes:
            pileupcnn_byte_profile(
                self.reversed_query.data(), n, self.match, self.mismatch, self.back_bytes
            )
            best = pileupcnn_by_bytes(
                self.back_bytes.data(), n, target + m - 1, m, -1, self.gap_open, self.gap_extend,
                self.best, self.rows.data(), &column, &row,
            )
        else:
            pileupcnn_word_profile(
                self.reversed_query.data(), n, self.match, self.mismatch, self.back_words
            )
            best = pileupcnn_by_words(
                self.back_words.data(), n, target + m - 1, m, -1, self.gap_open, self.gap_extend,
                self.best, self.rows.data(), &column, &row,
            )
        if best < self.best:
            return False
        self.query_begin, self.target_begin = self.query_end - row, self.target_end - column
        return self._path(target)

    cdef bint _path(self, const uint8_t *target) except -1 nogil:
        """CIGAR of the alignment whose score and ends are known."""
        cdef int32_t n = self.query_end - self.query_begin + 1
        cdef int32_t m = self.target_end - self.target_begin + 1
        cdef int32_t width = max(n - m, m - n) + 1, longest = max(n, m)
        self.operations.clear()
        while self._fill(
            self.query.data() + self.query_begin, n, target + self.target_begin, m, width
        ) < self.best and 2 * width <= longest:
            width *= 2
        return self._walk(n, m, width)

    cdef int32_t _fill(
        self, const uint8_t *query, int32_t n, const uint8_t *target, int32_t m, int32_t width
    ) except -1 nogil:
        """Directions of the cells at most `width` off the diagonal; returns the highest score."""
        cdef int32_t i, j, first, last, diagonal, left, deletion, insertion, opened, gap, pair
        cdef int32_t highest = 0
        cdef int64_t line = 2 * width + 1
        cdef uint8_t direction
        cdef uint8_t *cells
        cdef int32_t *above
        cdef int32_t *above_gap
        self.directions.resize(line * n)
        fill(self.above, m, 0)
        fill(self.above_gap, m, 0)
        above, above_gap = self.above.data(), self.above_gap.data()
        for i in range(n):
            first, last = max(0, i - width), min(m - 1, i + width)
            # cell (i, j) lies at j - i + width of its line; outside the band all is 0
            cells = self.directions.data() + line * i - i + width
            diagonal = above[first - 1] if first > 0 else 0
            left = deletion = 0
            for j in range(first, last + 1):
                direction = 0
                opened, insertion = above[j] - self.gap_open, above_gap[j] - self.gap_extend
                if opened > insertion:
                    insertion = opened
                    direction |= INSERTION_OPENS
                above_gap[j] = insertion
                opened, deletion = left - self.gap_open, deletion - self.gap_extend
                if opened > deletion:
                    deletion = opened
                    direction |= DELETION_OPENS
                pair = diagonal + (
                    self.match if query[i] == target[j] and query[i] < 4 else -self.mismatch
                )
                gap = max(max(insertion, deletion), 0)
                if gap > pair:
                    direction |= (
                        FROM_INSERTION if insertion > deletion and insertion > 0 else FROM_DELETION
                    )
                    pair = gap
                diagonal = above[j]
                above[j] = left = pair
                highest = max(highest, pair)
                cells[j] = direction
        return highest

    cdef bint _walk(self, int32_t n, int32_t m, int32_t width) except -1 nogil:
        """Follow the directions back from the last cell, and write `operations`."""
        cdef int32_t i = n - 1, j = m - 1, run = 0, op = OP_M, previous = OP_M, used = 0
        cdef int64_t line = 2 * width + 1
        cdef uint8_t direction
        cdef uint8_t within = 0
        cdef vector[uint32_t] *out = &self.operations
        cdef size_t k
        if self.query_end + 1 < <int32_t>self.query.size():
            out.push_back(<uint32_t>(self.query.size() - self.query_end - 1) << 4 | OP_S)
        while i >= 0 and j > 0:
            if max(j - i, i - j) > width:
                return False
            direction = self.directions[line * i + j - i + width]
            if within == 0:
                within = direction & (FROM_INSERTION | FROM_DELETION)
            if within == 0:
                op = OP_M
                i -= 1
                j -= 1
            elif within == FROM_INSERTION:
                op = OP_I
                i -= 1
                if direction & INSERTION_OPENS:
                    within = 0
            else:
                op = OP_D
                j -= 1
                if direction & DELETION_OPENS:
                    within = 0
            if op == previous:
                run += 1
            else:
                if run:
                    out.push_back(<uint32_t>run << 4 | previous)
                previous, run = op, 1
        # the first base of the target is always paired
        if op == OP_M:
            out.push_back(<uint32_t>(run + 1) << 4 | OP_M)
        else:
            out.push_back(<uint32_t>run << 4 | op)
            out.push_back(1 << 4 | OP_M)
        if self.query_begin > 0:
            out.push_back(<uint32_t>self.query_begin << 4 | OP_S)
        reverse(out.begin(), out.end())
        for k in range(out.size()):
            if out[0][k] & 15 != OP_D:
                used += out[0][k] >> 4
        return used == <int32_t>self.query.size()

    def align(self, const uint8_t[::1] query, const uint8_t[::1] target):
        """Align two sequences, bytes of ASCII letters.

        Returns
        -------
        tuple or None
            Score; begin and last base of the aligned part of the target and of
            the query, both inclusive; CIGAR in BAM's encoding as a list, with
            soft clips. None if there is no alignment.
        """
        cdef bint found = False
        cdef double began
        if query.shape[0] == 0 or target.shape[0] == 0:
            return None
        with nogil:
            began = thread_seconds()
            encode(&target[0], <int32_t>target.shape[0], self.target_codes)
            self.set_query(&query[0], <int32_t>query.shape[0])
            if self.score(self.target_codes.data(), <int32_t>target.shape[0], 0) > 0:
                found = self.trace(self.target_codes.data())
            count_released(began)
        if not found:
            return None
        return (
            self.best, self.target_begin, self.target_end, self.query_begin, self.query_end,
            list(self.operations),
        )
