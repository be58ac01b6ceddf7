"""Sequencing templates: read pairs with qualities, errors, slips and foreign ends, as FASTQ.

Every read has a generator of its own, seeded by its number, and so has every
molecule: what its polymerase did is the same in both of its reads and in its
duplicates. Nothing depends on how fragments are cut into batches.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf
from libcpp.string cimport string
from libcpp.vector cimport vector

from pileupcnn.kernels.clock cimport count_released, thread_seconds
from pileupcnn.kernels.fastq cimport append_record

from pileupcnn.kernels.profile import CYCLE_BIN, QUALITY_GROUPS
from pileupcnn.kernels.repeats import MAX_UNITS

cdef int _BIN = CYCLE_BIN, _MAX_UNITS = MAX_UNITS
cdef int _LOW = QUALITY_GROUPS[0], _HIGH = QUALITY_GROUPS[1]

cdef int _TRIES = 8  # draws of a quality until one is kept

# what Illumina's reads show past the end of a short fragment
cdef bytes _READ_1 = b"AGATCGGAAGAGCACACGTCTGAACTCCAGTCAC"
cdef bytes _READ_2 = b"AGATCGGAAGAGCGTCGTGTAGGGAAAGAGTGTA"
cdef const uint8_t *ADAPTERS[2]
ADAPTERS[0] = _READ_1
ADAPTERS[1] = _READ_2
cdef int ADAPTER = 34

cdef uint8_t[256] _CODE
cdef const char *_LETTERS = b"ACGTN"
cdef int _i
for _i in range(256):
    _CODE[_i] = 4
for _i in range(4):
    _CODE[b"ACGT"[_i]] = _i


cdef inline uint64_t mixed(uint64_t x) noexcept nogil:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    return x ^ (x >> 31)


cdef inline double uniform(uint64_t *state) noexcept nogil:
    """A number of [0, 1) from SplitMix64."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    return <double>(mixed(state[0]) >> 11) * (1.0 / 9007199254740992.0)


cdef inline int drawn(const float *cumulative, int n, double u) noexcept nogil:
    """The first of `n` whose cumulative chance exceeds `u`."""
    cdef int low = 0, high = n - 1, middle
    while low < high:
        middle = (low + high) >> 1
        if cumulative[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


cdef class Sequencer:
    """Reads fragments with the errors of one library.

    Parameters
    ----------
    tables : pileupcnn.simulate.errors.ErrorTables
    seed : int
        64 bits.
    """

    cdef uint64_t seed
    cdef bint chain
    cdef int scores_in_use, low, bins, quality_bins, classes
    cdef double insertion, deletion
    cdef int hard, hard_draws
    cdef double hard_errors, other_errors, spared, low_share, hairpin, hairpin_span
    cdef const uint8_t[::1] qualities
    cdef const float[:, :, ::1] class_chance, first, rate, factor, accepted
    cdef const float[:, :, :, :, ::1] following, after
    cdef const float[:, :, :, ::1] wrong
    cdef const float[::1] after_factor
    # the template
    cdef const uint8_t[::1] sequence
    cdef const int32_t[:, ::1] entered
    cdef const int32_t[::1] period
    cdef const float[:, ::1] slip
    cdef const uint8_t[:, ::1] state, distance, hot, prone
    cdef int least_run
    # one read
    cdef vector[uint8_t] read, score

    def __cinit__(self, tables, seed):
        self.seed = seed
        self.chain = tables.first is not None
        if self.chain:
            self.qualities, self.class_chance = tables.qualities, tables.classes
            self.first, self.following, self.after = tables.first, tables.next, tables.after
            self.scores_in_use, self.classes = len(tables.qualities), tables.classes.shape[2]
            self.quality_bins = tables.next.shape[2]
            # the best of the low ones
            self.low = max(int((tables.qualities < _LOW).sum()) - 1, 0)
        self.rate, self.factor, self.wrong = tables.rate, tables.factor, tables.wrong
        self.accepted = tables.accepted
        self.bins = tables.rate.shape[1]
        self.after_factor = tables.after_factor
        self.insertion, self.deletion = tables.insertion, tables.deletion
        spoilage = tables.spoilage
        self.hard, self.hard_draws = round(255 * spoilage.hard), spoilage.hard_draws
        self.hard_errors, self.other_errors = spoilage.hard_errors, spoilage.other_errors
        self.spared, self.low_share = spoilage.spared, spoilage.low
        self.hairpin, self.hairpin_span = spoilage.hairpin, spoilage.hairpin_span

    def take(self, template):
        """Look at a `pileupcnn.simulate.reads.Template`."""
        self.sequence, self.entered = template.sequence, template.entered
        self.period, self.slip = template.period, template.slip
        self.state, self.distance = template.state, template.distance
        self.hot, self.prone = template.hot, template.prone
        self.least_run = template.least_run

    def pairs(
        self, const int64_t[::1] start, const int64_t[::1] end, const uint8_t[::1] flipped,
        const uint64_t[::1] molecule, const int32_t[:, ::1] length, const int32_t[:, :, ::1] foreign,
        const int16_t[::1] mapping_quality, int64_t serial, scores=None,
    ):
        """Read both ends of fragments.

        Parameters
        ----------
        start, end : int64 [n]
            Fragments on the template.
        flipped : uint8 [n]
            Whether read 1 is the right one.
        molecule : uint64 [n]
            Fragments of one molecule have the same number.
        length : int32 [n, 2]
            Of reads 1 and 2.
        foreign : int32 [n, 2, 2]
            Bases at the first and at the last cycles that come from elsewhere.
        mapping_quality : int16 [n]
            Written as the comment ``mq:i:``; -1 for none.
        serial : int
            Number of the first fragment, which names it.
        scores : two uint8 arrays [n, at least length], optional
            Phred scores, where the library has no chain of qualities.

        Returns
        -------
        bytes
            Interleaved FASTQ.
        """
        cdef const uint8_t[:, ::1] one, two
        if not self.chain:
            one, two = scores
        cdef string text
        cdef int64_t i, n = start.shape[0], most = 0
        cdef int number
        cdef char name[64]
        cdef int name_length
        cdef double began
        with nogil:
            began = thread_seconds()
            for i in range(n):
                most = max(most, length[i, 0] + length[i, 1])
            text.reserve(n * (2 * most + 60))
            for i in range(n):
                if mapping_quality[i] < 0:
                    name_length = snprintf(name, 64, b"%08lld", <long long>(serial + i))
                else:
                    name_length = snprintf(
                        name, 64, b"%08lld mq:i:%d", <long long>(serial + i),
                        <int>mapping_quality[i],
                    )
                for number in range(2):
                    if not self.chain:
                        self.score.resize(length[i, number])
                        self._given(
                            &one[i, 0] if number == 0 else &two[i, 0], length[i, number]
                        )
                    self._sequence(
                        start[i], end[i], flipped[i] != (number == 1), number, molecule[i],
                        length[i, number], foreign[i, number, 0], foreign[i, number, 1],
                        mixed(self.seed + 2 * (serial + i) + number),
                    )
                    append_record(
                        text, name, name_length, self.read.data(), self.score.data(),
                        length[i, number],
                    )
            count_released(began)
        return <bytes>text

    cdef int _given(self, const uint8_t *scores, int32_t length) except -1 nogil:
        self.score.assign(scores, scores + length)
        return 0

    cdef int _slipped(self, int32_t repeat, uint64_t molecule) noexcept nogil:
        """By how many bases a molecule differs in a repeat."""
        cdef uint64_t state = mixed(self.seed ^ mixed(molecule) ^ (<uint64_t>repeat << 20))
        cdef double u = uniform(&state)
        cdef int change
        # no slip is the last of the table's changes, and nearly always so
        change = drawn(&self.slip[repeat, 0], 2 * _MAX_UNITS + 1, u)
        if change == 2 * _MAX_UNITS:
            return 0
        change = change - _MAX_UNITS if change < _MAX_UNITS else change - _MAX_UNITS + 1
        return change * self.period[repeat]

    cdef int _sequence(
        self, int64_t start, int64_t end, bint reverse, int number, uint64_t molecule,
        int32_t length, int32_t head, int32_t tail, uint64_t state,
    ) except -1 nogil:
        """One read, in the order of sequencing, into `read` and `score`."""
        cdef int64_t size = self.sequence.shape[0], step = -1 if reverse else 1
        cdef int64_t p = end - 1 if reverse else start, at, extra_at = 0, away = 0, away_step = 1
        cdef int64_t skipped_to = -1
        cdef int32_t cycle, repeat, extra = 0, change, adapter = 0
        cdef int cls = 0, previous = -1, score, bin_, place, group, one = 4, other = 4, code, read
        cdef int strand = 1 if reverse else 0, tries
        cdef bint hard
        cdef bint own
        cdef double u, chance
        cdef uint64_t origin
        cdef uint8_t byte
        self.read.resize(length)
        if self.chain:
            self.score.resize(length)
            cls = drawn(
                &self.class_chance[number, self._longest_run(p, step, strand, length), 0],
                self.classes, uniform(&state),
            )
        if 0 <= p - 2 * step < size and 0 <= p - step < size:
            other = self._base(p - 2 * step, strand)
            one = self._base(p - step, strand)
        if head or tail:
            # the other strand near by, as of a hairpin, or anything
            origin = mixed(self.seed ^ mixed(molecule + 1) ^ (<uint64_t>number << 40))
            u = uniform(&origin)
            if uniform(&origin) < self.hairpin:
                away = <int64_t>(p + (u - 0.5) * self.hairpin_span)
                away_step = -step
            else:
                away = <int64_t>(u * size)
                away_step = step
        for cycle in range(length):
            own, at = False, -1
            if cycle < head or cycle >= length - tail:
                if away < 0 or away >= size:
                    away = <int64_t>(uniform(&state) * size)
                code = self._base(away, 1 if away_step < 0 else 0)
                away += away_step
            elif extra:
                own, at = True, extra_at
                code = self._base(at, strand)
                extra_at += step
                extra -= 1
            elif start <= p < end:
                own = True
                repeat = self.entered[strand, p]
                if repeat >= 0 and p != skipped_to:
                    change = self._slipped(repeat, molecule)
                    skipped_to = p
                    if change < 0:
                        p -= change * step
                    elif change > 0:
                        extra, extra_at = change, p
                u = uniform(&state)
                if u < self.insertion:
                    code = <int>(uniform(&state) * 4)
                    at = p
                else:
                    if u < self.insertion + self.deletion:
                        p += step
                    if extra:
                        at = extra_at
                        extra_at += step
                        extra -= 1
                    elif 0 <= p < size:
                        at = p
                        p += step
                    code = self._base(at, strand) if at >= 0 else 4
            else:
                code = _CODE[ADAPTERS[number][adapter]] if adapter < ADAPTER else 0
                adapter += 1
            if code > 3:
                code = <int>(uniform(&state) * 4)
            place = 0
            if own and at >= 0 and cycle >= self.distance[strand, at] + self.least_run:
                place = self.state[strand, at]
            hard = place and self.prone[strand, at] < self.hard
            if self.chain:
                for tries in range(_TRIES):
                    score = self._next_score(number, cls, cycle, place, previous, uniform(&state))
                    if place:
                        score = self._spoilt_or_spared(
                            hard, score, number, cls, cycle, place, previous, &state
                        )
                    byte = self.qualities[score]
                    group = 0 if byte < _LOW else 1 if byte < _HIGH else 2
                    if one > 3 or other > 3 or (
                        uniform(&state) < self.accepted[group, 4 * other + one, code]
                    ):
                        break
                previous = score
                byte = self.qualities[score]
                self.score[cycle] = byte
            else:
                byte = self.score[cycle]
            group = 0 if byte < _LOW else 1 if byte < _HIGH else 2
            bin_ = min(cycle // _BIN, self.bins - 1)
            chance = self.rate[number, bin_, byte] * self.after_factor[place]
            if one < 4 and other < 4:
                chance *= self.factor[group, 4 * other + one, code]
            if place:
                chance *= self.hard_errors if hard else self.other_errors
            read = code
            u = uniform(&state)
            if u < chance and hard:
                read = self._out_of_step(at, step, strand, code)
            elif u < chance:
                # context 0 where there is none: at the very start of a template
                read = drawn(
                    &self.wrong[group, 4 * other + one if one < 4 and other < 4 else 0, code, 0],
                    4, uniform(&state),
                )
            elif own and at >= 0 and self.hot[strand, at] and (
                uniform(&state) * 255 < self.hot[strand, at]
            ):
                read = (code + 1 + <int>(mixed(at) % 3)) & 3
                if self.chain and byte >= _LOW and uniform(&state) < self.low_share:
                    self.score[cycle] = self.qualities[self.low]
            self.read[cycle] = _LETTERS[read]
            other, one = one, code
        return 0

    cdef inline int _spoilt_or_spared(
        self, bint hard, int score, int number, int cls, int32_t cycle, int place, int previous,
        uint64_t *state,
    ) noexcept nogil:
        """The quality of a base after a homopolymer, by whether it is a hard one."""
        cdef int draw, again
        if not hard and uniform(state) < 1 - self.spared:
            return score
        for draw in range(self.hard_draws if hard else 1):
            again = self._next_score(number, cls, cycle, place, previous, uniform(state))
            score = min(score, again) if hard else max(score, again)
        return score

    cdef int _out_of_step(self, int64_t at, int64_t step, int strand, int code) noexcept nogil:
        """What is read at a hard base: one near by, or some other; the same in all reads."""
        cdef int number = self.prone[strand, at], back = 1 + number % 3, other = code
        # half of them lag, a quarter are ahead
        if number % 4 < 2 and 0 <= at - back * step < self.sequence.shape[0]:
            other = self._base(at - back * step, strand)
        elif number % 4 == 2 and 0 <= at + step < self.sequence.shape[0]:
            other = self._base(at + step, strand)
        if other == code or other > 3:
            other = (code + 1 + number % 3) & 3
        return other

    cdef int _longest_run(
        self, int64_t p, int64_t step, int strand, int32_t length
    ) noexcept nogil:
        """Class of the longest homopolymer that a read without indels goes past; 0 for none."""
        cdef int32_t cycle
        cdef int run = 0
        for cycle in range(self.least_run, length):
            if not 0 <= p + cycle * step < self.sequence.shape[0]:
                break
            if cycle >= self.distance[strand, p + cycle * step] + self.least_run:
                run = max(run, (self.state[strand, p + cycle * step] + 2) // 3)
        return run

    cdef inline int _base(self, int64_t at, int strand) noexcept nogil:
        cdef int code = _CODE[self.sequence[at]]
        return 3 - code if strand and code < 4 else code

    cdef inline int _next_score(
        self, int number, int cls, int32_t cycle, int place, int previous, double u
    ) noexcept nogil:
        cdef int n = self.scores_in_use
        if previous < 0:
            return drawn(&self.first[number, cls, 0], n, u)
        if place:
            return drawn(&self.after[number, cls, place - 1, previous, 0], n, u)
        return drawn(
            &self.following[number, cls, min(cycle // _BIN, self.quality_bins - 1), previous, 0],
            n, u,
        )
