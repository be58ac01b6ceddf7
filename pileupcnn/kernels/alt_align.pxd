"""Reads aligned to what the contig would be with an ALT allele; see alt_align.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.alignment cimport ReadBases, WindowAligner
from pileupcnn.kernels.trimming cimport Pool, Trimmed


cdef class AltAligner:
    cdef WindowAligner aligner
    # the haplotype: contig with the ALT in place, from `start` on; and the pool's reads aligned
    # to it, without those that cannot be
    cdef int64_t start
    cdef vector[vector[uint8_t]] haplotype
    cdef Pool pool
    cdef vector[ReadBases] reads

    cdef int set_haplotype(
        self, const uint8_t *reference, int64_t reference_start, int64_t contig_length,
        int64_t start, int64_t end, const uint8_t *alt, int64_t alt_length, int64_t reach,
    ) except -1 nogil
    cdef int align(self, const Pool &pool, const uint8_t *bases) except -1 nogil
    cdef int _add(
        self, Trimmed read, const uint32_t *begin, const uint32_t *end
    ) except -1 nogil
