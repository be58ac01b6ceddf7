"""The layers of an image and their values; see channels.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

# DeepVariant's numbers of the channels; from 1,000 on our own
cdef enum:
    READ_BASE = 1
    BASE_QUALITY = 2
    MAPPING_QUALITY = 3
    STRAND = 4
    READ_SUPPORTS_VARIANT = 5
    BASE_DIFFERS_FROM_REF = 6
    HAPLOTYPE = 7
    ALLELE_FREQUENCY = 8
    READ_MAPPING_PERCENT = 11
    AVG_BASE_QUALITY = 12
    IDENTITY = 13
    GAP_COMPRESSED_IDENTITY = 14
    GC_CONTENT = 15
    IS_HOMOPOLYMER = 16
    HOMOPOLYMER_WEIGHTED = 17
    BLANK = 18
    INSERT_SIZE = 19
    MEAN_COVERAGE = 22
    BASE_METHYLATION = 23
    BASE_6MA = 24
    ALLELE_LENGTH = 1001
    NUMBERS = 1004
    FLANK = 1005
    MATCHES_REF = 50
    DIFFERS_FROM_REF = 254


cdef struct Layers:
    # what is drawn: the channels in order; where those lie that follow the read's bases (-1 for
    # none), and those with a value for each base that needs the whole read
    vector[int32_t] channels
    int32_t count
    int32_t base
    int32_t quality
    int32_t differs
    vector[int32_t] along


cdef struct ShownRead:
    # a read as it is drawn: cut to the window, and aligned to what the image shows
    const uint8_t *bases
    const uint8_t *qualities
    const uint8_t *methylation
    const uint8_t *methylation_6ma
    int32_t length
    const uint32_t *operations
    int32_t operation_count
    uint8_t mapping_quality
    bint reverse
    int32_t fragment_length
    int32_t haplotype
    bint supports
    int64_t flank
    float allele_frequency
    # of the image: the largest change of length of its ALTs, and the length of the stretch in which
    # they may lie as well
    int64_t length_change
    int64_t tract_length


cdef uint8_t BASE_COLOUR[256]
cdef uint8_t QUALITY_COLOUR[256]

cdef Layers layers_of(const int32_t[::1] channels)
cdef uint8_t read_value(int32_t channel, const ShownRead &read) noexcept nogil
cdef void values_along(int32_t channel, const ShownRead &read, uint8_t *values) noexcept nogil
cdef void reference_values(
    int32_t channel, const uint8_t *bases, int32_t n, const ShownRead &shown, uint8_t *values
) noexcept nogil
