"""Modified bases of a read; see modifications.pyx."""

from libc.stdint cimport uint8_t
from pysam.libchtslib cimport bam1_t


cdef void read_modifications(
    bam1_t *record, const uint8_t *bases, uint8_t *methylation, uint8_t *methylation_6ma
) noexcept nogil
