"""Realignment of a window's reads through its haplotypes; see alignment.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libcpp.vector cimport vector

from pileupcnn.kernels.compose cimport Composer
from pileupcnn.kernels.seeded cimport SeededAligner, Target


cdef struct ReadBases:
    # a read's bases: ASCII, upper case, not copied, to stay in place while `align` runs
    const uint8_t *bases
    int32_t length


cdef struct Occurrence:
    # where a k-mer of the index lies
    int32_t read
    int32_t offset


cdef struct Placement:
    # a read on a haplotype without gaps; a score of 0 says that it has no place there
    int32_t score
    int32_t start


cdef struct GappedScore:
    # of a read on a haplotype: what `score` found, in which part of the haplotype, and the score
    # of an alignment known before
    int32_t score
    int32_t begin
    int32_t end
    int32_t target_end
    int32_t query_end
    int32_t by_bytes
    int32_t bound


cdef struct Haplotype:
    # the sum of the scores of the reads placed on it, and its alignment to the reference:
    # not yet sought, found, or none
    int32_t support
    bint is_reference
    int32_t state
    int32_t reference_begin
    vector[uint32_t] cigar


cdef class WindowAligner(SeededAligner):
    # Results of the last `align`. Read i is changed if changed[i]: it begins at position[i] of
    # the contig (0-based) and has the CIGAR cigar[cigar_offset[i]:cigar_offset[i + 1]] (as in
    # BAM: M, I, D and S only). Unchanged reads have position -1 and no operations. A changed
    # read's new alignment may be equal to its old one. placed[i]: the read has an alignment to
    # some haplotype, from which one to the reference may or may not have followed.
    cdef vector[uint8_t] changed, placed
    cdef vector[int64_t] position
    cdef vector[int64_t] cigar_offset
    cdef vector[uint32_t] cigar

    # `reference`: prefix + window + suffix, `reference_length` bases from contig position
    # `reference_start`; `prefix`, `suffix`: the lengths of these; `haplotypes`: each with prefix
    # and suffix put on, sorted bytewise; `reads`: those assigned to the window, in input order.
    # Old alignments do not matter here. Nothing is kept between calls but memory.
    cdef int align(
        self, const uint8_t *reference, int32_t reference_length, int64_t reference_start,
        int32_t prefix, int32_t suffix, const vector[vector[uint8_t]] &haplotypes,
        const vector[ReadBases] &reads,
    ) except -1 nogil

    # the rest is this class's own: parameters, and FACTOR to the power of kmer - 1
    cdef int32_t kmer, max_mismatches
    cdef double similarity
    cdef bint forced
    cdef uint64_t outgoing
    # the index: k-mers by number, in an open hash table; where those of number i lie is in
    # occurrences[kmer_end[i - 1]:kmer_end[i]]; kmer_next is one that follows in some read, or -1
    cdef vector[int32_t] slots, kmer_of, kmer_next, kmer_end
    cdef vector[uint64_t] kmer_hash
    cdef vector[const uint8_t *] kmer_bases
    cdef vector[Occurrence] occurrences
    # placements[i * reads + r]: read r on haplotype i; bases of the haplotype at hand in placed
    # reads, and the place last tried for each read
    cdef vector[Placement] placements
    cdef vector[uint8_t] covered
    cdef vector[int32_t] tried
    cdef vector[Haplotype] found
    cdef vector[Target] targets
    cdef Target reference
    cdef vector[int32_t] order
    cdef vector[GappedScore] gapped
    cdef vector[uint32_t] on_haplotype
    cdef Composer composer

    cdef uint64_t _hash(self, const uint8_t *bases, uint64_t previous, bint roll) noexcept nogil
    cdef int32_t _find(self, const uint8_t *bases, uint64_t value, bint add) except -2 nogil
    cdef int32_t _step(
        self, int32_t number, const uint8_t *bases, uint64_t *value, bint *hashed, bint add
    ) except -2 nogil
    cdef int _index(self, const vector[ReadBases] &reads) except -1 nogil
    cdef int32_t _place(
        self, const vector[uint8_t] &haplotype, bint is_reference, int32_t prefix, int32_t suffix,
        const vector[ReadBases] &reads, Placement *placed,
    ) except -1 nogil
    cdef bint _to_reference(
        self, Haplotype *haplotype, const vector[uint8_t] &bases
    ) except -1 nogil
    cdef bint _within_reference(
        self, Haplotype *haplotype, const vector[uint8_t] &bases, const vector[uint8_t] &codes
    ) except -1 nogil
    cdef int _sort(self) except -1 nogil
    cdef int32_t _choose(self, const int32_t *scores, size_t stride) noexcept nogil
    cdef int _score_gapped(self, int32_t index, int32_t known) except -1 nogil
    cdef bint _counts(self, int32_t index) noexcept nogil
    cdef int32_t _align_with_gaps(self, const ReadBases &read, int32_t least) except -2 nogil
    cdef int32_t _least_score(self, int32_t length) noexcept nogil
