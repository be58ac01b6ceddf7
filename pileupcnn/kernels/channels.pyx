"""The layers of an image and their values: DeepVariant 1.9's channels, and some of our own.

Values are shares of 254, computed in float32 and truncated in the order in
which DeepVariant does it: a percentage is truncated first, and its share again.
"""

import numpy as np

from libc.math cimport log2, log10
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

DRAWABLE = frozenset(
    {READ_BASE, BASE_QUALITY, MAPPING_QUALITY, STRAND, READ_SUPPORTS_VARIANT,
     BASE_DIFFERS_FROM_REF, HAPLOTYPE, ALLELE_FREQUENCY, READ_MAPPING_PERCENT, AVG_BASE_QUALITY,
     IDENTITY, GAP_COMPRESSED_IDENTITY, GC_CONTENT, IS_HOMOPOLYMER, HOMOPOLYMER_WEIGHTED, BLANK,
     INSERT_SIZE, MEAN_COVERAGE, BASE_METHYLATION, BASE_6MA, ALLELE_LENGTH, NUMBERS,
     FLANK}
)
"""Numbers of the channels that can be drawn from a read; the others are drawn from an alignment
to an ALT."""

MIN_ALLELE_FREQUENCY = 0.00001
"""Alleles that are no more frequent show as absent."""

cdef enum:
    FORWARD_STRAND = 70
    REVERSE_STRAND = 240
    SUPPORTS = 254
    SUPPORTS_NOT = 152
    FULL = 254
    MEAN_COVERAGE_REFERENCE = 255
    MAX_HAPLOTYPE = 2
    MAX_BASE_QUALITY = 40
    MAX_MAPPING_QUALITY = 60
    MAX_AVERAGE_QUALITY = 93
    MAX_PERCENT = 100
    MAX_INSERT_SIZE = 1000
    MIN_HOMOPOLYMER = 3
    MAX_HOMOPOLYMER = 30
    MAX_MODIFICATION = 255
    LENGTH_DOUBLING = 42
    MAX_FLANK = 12

STRAND_VALUES = (FORWARD_STRAND, REVERSE_STRAND)
"""Of pixels of forward and of reverse reads."""

SUPPORTS_VALUE = SUPPORTS
"""Of pixels of reads that support an ALT of the image."""

cdef float _MIN_ALLELE_FREQUENCY = <float>MIN_ALLELE_FREQUENCY
cdef float _LOG_MIN_ALLELE_FREQUENCY = <float>log10(_MIN_ALLELE_FREQUENCY)


cdef uint8_t scaled(int value, int cap) noexcept nogil:
    """min(value, cap) of cap as a share of 254, in float32, truncated."""
    return <uint8_t><int>(<float>254 * (<float>min(value, cap) / <float>cap))


cdef int percent(int part, int whole) noexcept nogil:
    """In float32 and truncated: less by one than expected for some, such as 53 of 100."""
    return <int>(<float>part / <float>whole * <float>100)


cdef int _i
memset(BASE_COLOUR, 0, 256)
BASE_COLOUR[<int>b'A'], BASE_COLOUR[<int>b'G'] = 250, 180
BASE_COLOUR[<int>b'T'], BASE_COLOUR[<int>b'C'] = 100, 30
for _i in range(256):
    QUALITY_COLOUR[_i] = scaled(_i, MAX_BASE_QUALITY)


def quality_values():
    """Pixels of base qualities from 0 to 255; uint8 [256]."""
    return np.array([QUALITY_COLOUR[quality] for quality in range(256)], dtype=np.uint8)


cdef Layers layers_of(const int32_t[::1] channels):
    """What is to be drawn of `channels`."""
    cdef Layers layers
    cdef int32_t i
    layers.count = <int32_t>channels.shape[0]
    layers.base = layers.quality = layers.differs = -1
    for i in range(layers.count):
        layers.channels.push_back(channels[i])
        if channels[i] == READ_BASE:
            layers.base = i
        elif channels[i] == BASE_QUALITY:
            layers.quality = i
        elif channels[i] == BASE_DIFFERS_FROM_REF:
            layers.differs = i
        elif channels[i] in (IS_HOMOPOLYMER, HOMOPOLYMER_WEIGHTED, BASE_METHYLATION, BASE_6MA):
            layers.along.push_back(i)
    return layers


cdef uint8_t _frequency_colour(float frequency) noexcept nogil:
    """By the logarithm: 0 for the least frequency that shows, 254 for 1."""
    cdef float logarithm
    if frequency <= _MIN_ALLELE_FREQUENCY:
        return 0
    logarithm = <float>log10(frequency)
    return <uint8_t><int>(
        (_LOG_MIN_ALLELE_FREQUENCY - logarithm) / _LOG_MIN_ALLELE_FREQUENCY * <float>254
    )


cdef uint8_t _length_colour(int64_t change) noexcept nogil:
    """By the logarithm: one base is 42, 31 are 210, from 65 on 254."""
    return <uint8_t><int>min(<double>FULL, LENGTH_DOUBLING * log2(1.0 + change))


cdef int _matched(const ShownRead &read) noexcept nogil:
    """Bases in M and =."""
    cdef int total = 0
    cdef int32_t i
    for i in range(read.operation_count):
        if read.operations[i] & 15 == 0 or read.operations[i] & 15 == 7:
            total += <int>(read.operations[i] >> 4)
    return total


cdef int _matched_or_event(const ShownRead &read) noexcept nogil:
    """Bases in M, = and X, and insertions and deletions."""
    cdef int total = 0
    cdef int32_t i
    cdef uint32_t op
    for i in range(read.operation_count):
        op = read.operations[i] & 15
        if op == 0 or op == 7 or op == 8:
            total += <int>(read.operations[i] >> 4)
        elif op == 1 or op == 2:
            total += 1
    return total


cdef int _gc_percent(const uint8_t *bases, int32_t n) noexcept nogil:
    cdef int total = 0
    cdef int32_t i
    for i in range(n):
        total += bases[i] == c"G" or bases[i] == c"C"
    return percent(total, n)


cdef int _average(const uint8_t *qualities, int32_t n) noexcept nogil:
    cdef int total = 0
    cdef int32_t i
    for i in range(n):
        total += qualities[i]
    return <int>(<float>total / <float>n)


cdef void _homopolymers(
    const uint8_t *bases, int32_t n, bint weighted, uint8_t *values
) noexcept nogil:
    """For each base its run of equal ones: whether it is long, or how long."""
    cdef int32_t begin = 0, i
    cdef uint8_t value
    for i in range(1, n + 1):
        if i < n and bases[i] == bases[begin]:
            continue
        if weighted:
            # DeepVariant keeps the length in a byte
            value = scaled((i - begin) & 0xFF, MAX_HOMOPOLYMER)
        else:
            value = FULL if i - begin >= MIN_HOMOPOLYMER else 0
        memset(values + begin, value, i - begin)
        begin = i


cdef uint8_t read_value(int32_t channel, const ShownRead &read) noexcept nogil:
    """What every pixel of a read holds in a layer that does not vary along it, else 0."""
    if channel == MAPPING_QUALITY:
        return scaled(read.mapping_quality, MAX_MAPPING_QUALITY)
    if channel == STRAND:
        return REVERSE_STRAND if read.reverse else FORWARD_STRAND
    if channel == READ_SUPPORTS_VARIANT:
        return SUPPORTS if read.supports else SUPPORTS_NOT
    if channel == INSERT_SIZE:
        return scaled(
            read.fragment_length if read.fragment_length >= 0 else -read.fragment_length,
            MAX_INSERT_SIZE,
        )
    if channel == HAPLOTYPE:
        return scaled(read.haplotype, MAX_HAPLOTYPE)
    if channel == ALLELE_FREQUENCY:
        return _frequency_colour(read.allele_frequency)
    if channel == READ_MAPPING_PERCENT or channel == IDENTITY:
        return scaled(percent(_matched(read), read.length), MAX_PERCENT)
    if channel == GAP_COMPRESSED_IDENTITY:
        return scaled(percent(_matched(read), _matched_or_event(read)), MAX_PERCENT)
    if channel == AVG_BASE_QUALITY:
        return scaled(_average(read.qualities, read.length), MAX_AVERAGE_QUALITY)
    if channel == GC_CONTENT:
        return scaled(_gc_percent(read.bases, read.length), MAX_PERCENT)
    if channel == ALLELE_LENGTH:
        return _length_colour(read.length_change) if read.supports else 0
    if channel == FLANK:
        return scaled(<int>max(0, min(read.flank, <int64_t>MAX_FLANK)), MAX_FLANK)
    return 0


cdef void values_along(int32_t channel, const ShownRead &read, uint8_t *values) noexcept nogil:
    """The values of a layer of `Layers.along`, one a base of the read."""
    cdef const uint8_t *modified
    cdef int32_t i
    if channel == IS_HOMOPOLYMER or channel == HOMOPOLYMER_WEIGHTED:
        _homopolymers(read.bases, read.length, channel == HOMOPOLYMER_WEIGHTED, values)
        return
    modified = read.methylation if channel == BASE_METHYLATION else read.methylation_6ma
    for i in range(read.length):
        values[i] = scaled(modified[i], MAX_MODIFICATION)


cdef void reference_values(
    int32_t channel, const uint8_t *bases, int32_t n, const ShownRead &shown, uint8_t *values
) noexcept nogil:
    """The values of the reference's rows, one a column."""
    cdef int32_t i
    if channel == READ_BASE:
        for i in range(n):
            values[i] = BASE_COLOUR[bases[i]]
    elif channel == STRAND:
        memset(values, FORWARD_STRAND, n)
    elif channel == READ_SUPPORTS_VARIANT:
        memset(values, SUPPORTS_NOT, n)
    elif channel == BASE_DIFFERS_FROM_REF:
        memset(values, MATCHES_REF, n)
    elif channel == GC_CONTENT:
        memset(values, scaled(_gc_percent(bases, n), MAX_PERCENT), n)
    elif channel == IS_HOMOPOLYMER or channel == HOMOPOLYMER_WEIGHTED:
        _homopolymers(bases, n, channel == HOMOPOLYMER_WEIGHTED, values)
    elif channel == MEAN_COVERAGE:
        memset(values, MEAN_COVERAGE_REFERENCE, n)
    elif channel == ALLELE_LENGTH:
        memset(values, _length_colour(shown.length_change), n)
    elif channel == FLANK:
        memset(values, _length_colour(shown.tract_length), n)
    elif channel in (HAPLOTYPE, ALLELE_FREQUENCY, BLANK, BASE_METHYLATION, BASE_6MA, NUMBERS):
        memset(values, 0, n)
    else:
        memset(values, FULL, n)
