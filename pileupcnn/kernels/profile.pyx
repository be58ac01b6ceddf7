"""Counting what a sequencer does: qualities, errors, indels and slips of reads in batches.

Reads come as the arrays of a `ReadBatch`, reference and marks as arrays over
the window. Cycles, contexts and bases are those that the sequencer saw: for a
read on the reverse strand the reference's complement, from right to left.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp.vector cimport vector

from pileupcnn.kernels.cigar cimport OP_D, OP_EQ, OP_I, OP_M, OP_N, OP_S, OP_X
from pileupcnn.kernels.clock cimport count_released, thread_seconds

CYCLE_BIN = 10
"""Cycles that share a table."""

CYCLE_BINS = 32
"""Tables; later cycles use the last one."""

QUALITIES = 64
"""Phred scores told apart, from 0; higher ones count as the last."""

READ_CLASSES = (0.0015, 0.003, 0.006, 0.015, 0.05)
"""Mean error probabilities that part reads into classes, best first."""

RUN_CLASSES = 3
"""Classes of homopolymers by length."""

AFTER_STATES = 3 * RUN_CLASSES
"""Places after homopolymers: three distances for each class."""

QUALITY_GROUPS = (15, 27)
"""Qualities at which the tables of contexts change."""

cdef enum:
    REVERSE = 0x10

cdef int _BIN = CYCLE_BIN, _BINS = CYCLE_BINS, _QUALITIES = QUALITIES, _CLASSES = 6
cdef int _LOW = QUALITY_GROUPS[0], _HIGH = QUALITY_GROUPS[1]
cdef double[5] _EDGES = READ_CLASSES
cdef double[256] _ERROR
cdef uint8_t[256] _CODE
cdef int _i
for _i in range(256):
    _ERROR[_i] = 10.0 ** (-0.1 * _i)
    _CODE[_i] = 4
for _i in range(4):
    _CODE[b"ACGT"[_i]] = _i


cdef inline int64_t magnitude(int64_t value) noexcept nogil:
    return -value if value < 0 else value


cdef struct Event:
    int64_t position  # of the first base deleted, or of the base after the insertion
    int32_t change


cdef class ReadProfiler:
    """Counts over the batches that it is given.

    Call `take` with a batch, then any of the other methods.

    Attributes
    ----------
    counts : dict of str to uint64 array
        Named as in `pileupcnn.simulate.profile.Profile`, with `QUALITIES` and
        `CYCLE_BINS` for the sizes of their axes.
    """

    cdef readonly dict counts
    cdef int64_t[::1] read_start, base_offset, cigar_offset
    cdef uint16_t[::1] flag
    cdef uint8_t[::1] read_number, read_bases, qualities
    cdef uint32_t[::1] cigar
    cdef const uint8_t[::1] used, begins, reference
    cdef int64_t reference_start, start, end
    cdef vector[int64_t] position
    cdef vector[uint8_t] place
    cdef vector[Event] events
    cdef int64_t aligned_end

    def __cinit__(self):
        shapes = {
            "first": (2, RUN_CLASSES + 1, _CLASSES, QUALITIES),
            "next": (2, _CLASSES, CYCLE_BINS, QUALITIES, QUALITIES),
            "next_after_run": (2, _CLASSES, AFTER_STATES, QUALITIES, QUALITIES),
            "bases": (2, CYCLE_BINS, QUALITIES),
            "mismatches": (2, CYCLE_BINS, QUALITIES),
            "bases_after_run": (AFTER_STATES, QUALITIES),
            "mismatches_after_run": (AFTER_STATES, QUALITIES),
            "context": (3, 16, 4, 4),
            "indels": (2, 5),
            "plain_bases": (1,),
        }
        self.counts = {name: np.zeros(shape, np.uint64) for name, shape in shapes.items()}

    def take(
        self, reads, const uint8_t[::1] used, const uint8_t[::1] begins,
        const uint8_t[::1] reference, int64_t reference_start, int64_t start, int64_t end,
    ):
        """Look at a batch.

        Parameters
        ----------
        reads : ReadBatch
        used : uint8 [n]
            Whether a read counts.
        begins : uint8 [n]
            Whether its qualities do: each read in one batch only.
        reference : uint8
            ASCII, under all reads.
        reference_start : int
        start, end : int
            Positions that are counted.
        """
        self.read_start, self.flag = reads.start, reads.flag
        self.base_offset, self.cigar_offset = reads.base_offset, reads.cigar_offset
        self.read_number, self.read_bases = reads.read_number, reads.bases
        self.qualities, self.cigar = reads.qualities, reads.cigar
        self.used, self.begins = used, begins
        self.reference, self.reference_start = reference, reference_start
        self.start, self.end = start, end

    cdef int _walk(self, int64_t read) except -1 nogil:
        """Reference position of each base of a read (-1: none), and its indels."""
        cdef int64_t at = self.read_start[read], i, query = 0
        cdef uint32_t op, length, j
        cdef Event event
        self.position.assign(self.base_offset[read + 1] - self.base_offset[read], -1)
        self.events.clear()
        for i in range(self.cigar_offset[read], self.cigar_offset[read + 1]):
            op, length = self.cigar[i] & 15, self.cigar[i] >> 4
            if op == OP_M or op == OP_EQ or op == OP_X:
                for j in range(length):
                    self.position[query + j] = at + j
                at += length
                query += length
            elif op == OP_I:
                event.position, event.change = at, <int32_t>length
                self.events.push_back(event)
                query += length
            elif op == OP_D:
                event.position, event.change = at, -<int32_t>length
                self.events.push_back(event)
                at += length
            elif op == OP_S:
                query += length
            elif op == OP_N:
                at += length
        self.aligned_end = at
        return 0

    def pile(self, int min_quality):
        """Alleles by position and strand.

        Returns
        -------
        uint32 [end - start, 2, 6]
            Reads that show A, C, G or T with `min_quality`, a deletion that
            begins there, or an insertion just before; forward, then reverse.
        """
        counts = np.zeros((self.end - self.start, 2, 6), np.uint32)
        cdef uint32_t[:, :, ::1] count = counts
        cdef int64_t i, q, at, first
        cdef size_t e
        cdef int strand
        cdef uint8_t code
        cdef double began
        with nogil:
            began = thread_seconds()
            for i in range(self.used.shape[0]):
                if not self.used[i]:
                    continue
                self._walk(i)
                strand = 1 if self.flag[i] & REVERSE else 0
                first = self.base_offset[i]
                for q in range(<int64_t>self.position.size()):
                    at = self.position[q]
                    if at < self.start or at >= self.end:
                        continue
                    code = _CODE[self.read_bases[first + q]]
                    if code < 4 and self.qualities[first + q] >= min_quality:
                        count[at - self.start, strand, code] += 1
                for e in range(self.events.size()):
                    at = self.events[e].position
                    if self.start <= at < self.end:
                        count[at - self.start, strand, 5 if self.events[e].change > 0 else 4] += 1
            count_released(began)
        return counts

    def count(
        self, const uint8_t[::1] masked, const uint8_t[::1] repeat,
        const uint8_t[:, ::1] state, const uint8_t[:, ::1] distance, int least_run,
    ):
        """Count qualities, errors and indels.

        Parameters
        ----------
        masked, repeat : uint8 [end - start]
            Positions that do not count, and those in repeats, where no indels do.
        state, distance : uint8 [2, reference]
            Place after a homopolymer (0: none, else from 1) and bases since
            its end, reading forward and reverse.
        least_run : int
            Bases of the homopolymer that a read must have seen.
        """
        cdef uint64_t[:, :, :, ::1] first = self.counts["first"]
        cdef uint64_t[:, :, ::1] bases = self.counts["bases"], wrong = self.counts["mismatches"]
        cdef uint64_t[:, :, :, :, ::1] following = self.counts["next"]
        cdef uint64_t[:, :, :, :, ::1] after = self.counts["next_after_run"]
        cdef uint64_t[:, :, :, ::1] context = self.counts["context"]
        cdef uint64_t[:, ::1] after_bases = self.counts["bases_after_run"]
        cdef uint64_t[:, ::1] after_wrong = self.counts["mismatches_after_run"]
        cdef uint64_t[:, ::1] indels = self.counts["indels"]
        cdef uint64_t[::1] plain = self.counts["plain_bases"]
        cdef int64_t i, q, at, off, begin, length, cycle, ahead
        cdef size_t e
        cdef int number, strand, quality, previous, group, place, cls, bin_, step, two, size, run
        cdef uint8_t true, read, one, other
        cdef double error, began
        with nogil:
            began = thread_seconds()
            for i in range(self.used.shape[0]):
                if not self.used[i]:
                    continue
                self._walk(i)
                strand = 1 if self.flag[i] & REVERSE else 0
                step = -1 if strand else 1
                number = self.read_number[i]
                begin, length = self.base_offset[i], <int64_t>self.position.size()
                error = 0
                for q in range(length):
                    error += _ERROR[self.qualities[begin + q]]
                cls = 0
                while cls < _CLASSES - 1 and error >= _EDGES[cls] * length:
                    cls += 1
                previous, run = -1, 0
                self.place.assign(length, 0)
                for cycle in range(length):
                    at = self.position[length - 1 - cycle if strand else cycle]
                    off = at - self.reference_start
                    if at >= 0 and cycle >= distance[strand, off] + least_run:
                        place = state[strand, off]
                        self.place[cycle] = place
                        run = max(run, (place + 2) // 3)
                for cycle in range(length):
                    q = length - 1 - cycle if strand else cycle
                    at = self.position[q]
                    off = at - self.reference_start
                    quality = min(self.qualities[begin + q], _QUALITIES - 1)
                    bin_ = min(cycle // _BIN, _BINS - 1)
                    place = self.place[cycle]
                    if self.begins[i]:
                        if previous < 0:
                            first[number, run, cls, quality] += 1
                        elif place:
                            after[number, cls, place - 1, previous, quality] += 1
                        else:
                            following[number, cls, bin_, previous, quality] += 1
                    previous = quality
                    if at < self.start or at >= self.end or masked[at - self.start]:
                        continue
                    true = _CODE[self.reference[off]]
                    read = _CODE[self.read_bases[begin + q]]
                    if true > 3 or read > 3:
                        continue
                    bases[number, bin_, quality] += 1
                    wrong[number, bin_, quality] += true != read
                    if place:
                        after_bases[place - 1, quality] += 1
                        after_wrong[place - 1, quality] += true != read
                    plain[0] += not repeat[at - self.start]
                    ahead = off - 2 * step
                    if ahead < 0 or ahead >= self.reference.shape[0]:
                        continue
                    one, other = _CODE[self.reference[ahead]], _CODE[self.reference[off - step]]
                    if one > 3 or other > 3:
                        continue
                    if strand:
                        one, other, true, read = 3 - one, 3 - other, 3 - true, 3 - read
                    two = 4 * one + other
                    group = 0 if quality < _LOW else 1 if quality < _HIGH else 2
                    context[group, two, true, read] += 1
                for e in range(self.events.size()):
                    at = self.events[e].position
                    if at < self.start or at >= self.end or masked[at - self.start] or (
                        repeat[at - self.start]
                    ):
                        continue
                    size = min(magnitude(self.events[e].change), 5)
                    indels[0 if self.events[e].change > 0 else 1, size - 1] += 1
            count_released(began)
