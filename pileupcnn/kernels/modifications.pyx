"""Modified bases of a read, from its tags MM, ML and MN.

The SAM specification's optional fields describe them; which reads and groups
count is as in DeepVariant's sam_reader: 5mC from ``C+m``, 6mA from ``A+a`` and
``T-a``, and nothing where the tags do not fit the bases, as after hard clips.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset
from pysam.libchtslib cimport bam1_t


cdef extern from "htslib/sam.h" nogil:
    uint8_t *bam_aux_get(const bam1_t *record, const char *tag)
    int64_t bam_aux2i(const uint8_t *value)
    char *bam_aux2Z(const uint8_t *value)
    uint32_t bam_auxB_len(const uint8_t *value)
    int64_t bam_auxB2i(const uint8_t *value, uint32_t index)

cdef enum:
    F_REVERSE = 0x10


cdef uint8_t _complement(uint8_t base) noexcept nogil:
    if base == c"A":
        return c"T"
    if base == c"T":
        return c"A"
    if base == c"C":
        return c"G"
    return c"C" if base == c"G" else base


cdef uint8_t *_target(
    const char *group, int32_t length, uint8_t *methylation, uint8_t *methylation_6ma
) noexcept nogil:
    """Where the probabilities of a group go, by its code; NULL if they are not wanted."""
    if length == 4 and (group[3] == c"." or group[3] == c"?"):
        length = 3
    if length != 3:
        return NULL
    if group[0] == c"C" and group[1] == c"+" and group[2] == c"m":
        return methylation
    if group[2] == c"a" and (
        (group[0] == c"A" and group[1] == c"+") or (group[0] == c"T" and group[1] == c"-")
    ):
        return methylation_6ma
    return NULL


cdef int32_t _find(
    const uint8_t *bases, int32_t n, bint reverse, uint8_t wanted, int32_t at, int64_t skip
) noexcept nogil:
    """The place in sequencing order, from `at` on, of base `wanted` number `skip`; -1: none."""
    cdef uint8_t base
    while at < n:
        base = _complement(bases[n - 1 - at]) if reverse else bases[at]
        if base == wanted:
            if skip == 0:
                return at
            skip -= 1
        at += 1
    return -1


cdef void read_modifications(
    bam1_t *record, const uint8_t *bases, uint8_t *methylation, uint8_t *methylation_6ma
) noexcept nogil:
    """Write the probabilities (in 256ths) that bases are modified; the targets are all 0.

    `bases` are the record's, as ASCII in its order; so are the results.
    """
    cdef uint8_t *mm = bam_aux_get(record, "MM")
    cdef uint8_t *ml = bam_aux_get(record, "ML")
    cdef uint8_t *mn = bam_aux_get(record, "MN")
    cdef int32_t n = record.core.l_qseq, at
    cdef bint reverse = record.core.flag & F_REVERSE != 0
    cdef const char *text
    cdef const char *group
    cdef uint8_t *target
    cdef int64_t skip
    cdef uint32_t used = 0, known
    if mm == NULL or ml == NULL or ml[0] != c"B" or (mn != NULL and bam_aux2i(mn) != n):
        return
    text = bam_aux2Z(mm)
    if text == NULL:
        return
    known = bam_auxB_len(ml)
    while text[0]:
        group = text
        while text[0] and text[0] != c"," and text[0] != c";":
            text += 1
        target = _target(group, <int32_t>(text - group), methylation, methylation_6ma)
        at = 0
        while text[0] == c",":
            text += 1
            skip = 0 if c"0" <= text[0] <= c"9" else n
            while c"0" <= text[0] <= c"9":
                skip = min(skip * 10 + text[0] - c"0", <int64_t>n)
                text += 1
            if target != NULL:
                at = _find(bases, n, reverse, group[0], at, skip)
                if at < 0 or used >= known:
                    memset(methylation, 0, n)
                    memset(methylation_6ma, 0, n)
                    return
                _set(&target[n - 1 - at if reverse else at], bam_auxB2i(ml, used))
                at += 1
            used += 1
        while text[0] and text[0] != c";":
            text += 1
        if text[0]:
            text += 1


cdef void _set(uint8_t *target, int64_t value) noexcept nogil:
    if target[0] < value:
        target[0] = <uint8_t>value
