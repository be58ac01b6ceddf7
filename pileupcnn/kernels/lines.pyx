"""Reference-confidence blocks as lines of VCF: tens of thousands a megabase."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libcpp.string cimport string, to_string

from pileupcnn.kernels.clock cimport count_released, thread_seconds


def format_blocks(
    bytes contig, const int64_t[::1] start, const int64_t[::1] end, const uint8_t[::1] base,
    const uint8_t[::1] called, const int32_t[::1] genotype_quality,
    const int32_t[::1] min_depth, const double[:, ::1] log10_likelihoods,
):
    """The lines, each with its newline; the arguments are `ReferenceBlocks`'s attributes."""
    cdef string head = contig, text
    cdef double best, value, began
    cdef int64_t i
    cdef int j
    with nogil:
        began = thread_seconds()
        for i in range(start.shape[0]):
            text.append(head)
            text.append(b"\t")
            text.append(to_string(start[i] + 1))
            text.append(b"\t.\t")
            text.push_back(<char>base[i])
            text.append(b"\t<*>\t0\t.\tEND=")
            text.append(to_string(end[i]))
            text.append(b"\tGT:GQ:MIN_DP:PL\t")
            text.append(b"0/0:" if called[i] else b"./.:")
            text.append(to_string(genotype_quality[i]))
            text.append(b":")
            text.append(to_string(min_depth[i]))
            best = max(
                log10_likelihoods[i, 0], log10_likelihoods[i, 1], log10_likelihoods[i, 2]
            )
            for j in range(3):
                value = -10 * (log10_likelihoods[i, j] - best)
                text.append(b"," if j else b":")
                text.append(to_string(<int64_t>value))
            text.append(b"\n")
        count_released(began)
    return <bytes>text
