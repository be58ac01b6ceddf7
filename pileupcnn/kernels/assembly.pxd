"""Haplotypes of a window by local assembly; see assembly.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector


cdef enum Assembly:
    ASSEMBLED = 0
    REFERENCE_ONLY = 1
    TOO_MANY = 2
    NO_GRAPH = 3


cdef struct Stretch:
    # bases of a run that equal the reference: text[begin:end] is text[begin + shift:end + shift]
    int32_t begin
    int32_t end
    int32_t shift


cdef struct Run:
    # good bases of a read, text[begin:end], with a slice of the stretches
    int32_t begin
    int32_t end
    int32_t first
    int32_t last


cdef struct Plain:
    # a run that equals the reference from end to end, text[begin:end]
    int32_t begin
    int32_t end


cdef struct Slot:
    uint64_t hash
    uint32_t build
    int32_t node


cdef struct Node:
    # a k-mer: where in the text it stands, and for each base that may follow (A, C, G, T and
    # one other) how often it does, and the k-mer with that base as its last, -1 if not known
    int32_t at
    int32_t weight[5]
    int32_t target[5]
    uint8_t other


cdef class Assembler:
    cdef int32_t min_k, max_k, step_k, min_mapping_quality, min_quality, min_weight, max_paths
    # one window: bases of the reference around it, then of the runs; prefix_hash[i] is of text[:i]
    cdef vector[uint8_t] text
    cdef vector[uint64_t] prefix_hash
    cdef vector[Stretch] stretches
    cdef vector[Run] runs
    cdef vector[Plain] plain
    cdef int32_t length, window_begin, window_end
    # one graph
    cdef int32_t k
    cdef uint64_t power
    cdef vector[Slot] table
    cdef size_t mask
    cdef uint32_t build
    cdef vector[Node] nodes
    cdef int32_t node_count
    cdef vector[int32_t] ids, step, degree, order, paths
    # the hash's powers, by k
    cdef vector[uint64_t] powers
    # results of the last `_assemble`: the k chosen (0 without a graph), and the haplotypes
    # if there are others than the reference, sorted bytewise
    cdef int32_t chosen_k
    cdef vector[vector[uint8_t]] haplotypes

    cdef int _start(
        self, const uint8_t *reference, int32_t length, int32_t window_begin, int32_t window_end
    ) except -1 nogil
    cdef int _add_read(
        self, const uint8_t *bases, const uint8_t *qualities, int32_t length, int64_t start,
        const uint32_t *cigar, int64_t operations, uint8_t mapping_quality,
    ) except -1 nogil
    cdef int _end_run(
        self, const uint8_t *bases, int32_t begin, int32_t end, size_t first
    ) except -1 nogil
    cdef int _assemble(self) except -1 nogil
    cdef int32_t _smallest_k(self, int32_t largest) noexcept nogil
    cdef void _set_k(self, int32_t k) noexcept nogil
    cdef int32_t _intern(self, int32_t at) noexcept nogil
    cdef int _build(self) except -1 nogil
    cdef void _thread(self, Run &run) noexcept nogil
    cdef bint _sort(self) except -1 nogil
    cdef int _enumerate(self) except -1 nogil
    cdef int _successors(self, int32_t node, int *codes) noexcept nogil
    cdef int32_t _kept(self) noexcept nogil
