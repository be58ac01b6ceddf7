"""Reads aligned to what the contig would be with an ALT allele, for alt-aligned pileups.

As in DeepVariant 1.9's CreateAltAlignedImages: the reads as cut to the image's
window are aligned by the fast-pass aligner, which is made to find an alignment
even where few of them fit.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from pileupcnn.kernels.alignment cimport ReadBases, WindowAligner
from pileupcnn.kernels.trimming cimport Pool, Trimmed


cdef class AltAligner:
    """Aligns the reads of one image after the other; a thread's own.

    Parameters
    ----------
    match, mismatch, gap_open, gap_extend, kmer, max_mismatches : int
        As in `WindowAligner`.
    """

    def __cinit__(
        self, int match, int mismatch, int gap_open, int gap_extend, int kmer, int max_mismatches
    ):
        self.aligner = WindowAligner(
            match, mismatch, gap_open, gap_extend, kmer, max_mismatches, 0, forced=True
        )
        self.haplotype.resize(1)

    cdef int set_haplotype(
        self, const uint8_t *reference, int64_t reference_start, int64_t contig_length,
        int64_t start, int64_t end, const uint8_t *alt, int64_t alt_length, int64_t reach,
    ) except -1 nogil:
        """Put an ALT in place of [start, end), with `reach` bases of the contig on either side."""
        cdef vector[uint8_t] *bases = &self.haplotype[0]
        cdef int64_t last = min(end + reach, contig_length)
        self.start = max(start - reach, 0)
        bases.assign(
            reference + (self.start - reference_start), reference + (start - reference_start)
        )
        bases.insert(bases.end(), alt, alt + alt_length)
        bases.insert(
            bases.end(), reference + (end - reference_start), reference + (last - reference_start)
        )

    cdef int align(self, const Pool &pool, const uint8_t *bases) except -1 nogil:
        """Align the reads of a pool, whose bases lie at `bases`, to the haplotype.

        What has an alignment that cannot be used keeps the one it has.
        """
        cdef size_t i
        cdef Trimmed read
        cdef ReadBases letters
        cdef const uint32_t *begin
        self.reads.clear()
        for i in range(pool.reads.size()):
            letters.bases = bases + pool.reads[i].first_base
            letters.length = pool.reads[i].length
            self.reads.push_back(letters)
        self.aligner.align(
            self.haplotype[0].data(), <int32_t>self.haplotype[0].size(), self.start, 0, 0,
            self.haplotype, self.reads,
        )
        self.pool.reads.clear()
        self.pool.operations.clear()
        for i in range(pool.reads.size()):
            if not self.aligner.placed[i]:
                continue
            read = pool.reads[i]
            if self.aligner.changed[i]:
                read.position = self.aligner.position[i]
                begin = self.aligner.cigar.data()
                self._add(
                    read, begin + self.aligner.cigar_offset[i],
                    begin + self.aligner.cigar_offset[i + 1],
                )
            else:
                begin = pool.operations.data()
                self._add(read, begin + read.begin, begin + read.end)

    cdef int _add(
        self, Trimmed read, const uint32_t *begin, const uint32_t *end
    ) except -1 nogil:
        read.begin = <int32_t>self.pool.operations.size()
        self.pool.operations.insert(self.pool.operations.end(), begin, end)
        read.end = <int32_t>self.pool.operations.size()
        self.pool.reads.push_back(read)
