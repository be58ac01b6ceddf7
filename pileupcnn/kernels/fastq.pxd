"""Writing FASTQ records."""

from libc.stdint cimport int64_t, uint8_t
from libcpp.string cimport string


cdef inline void append_record(
    string &text, const char *name, size_t name_length, const uint8_t *bases,
    const uint8_t *scores, int64_t length,
) noexcept nogil:
    """Append a record; `name` may be followed by a comment, `scores` are Phred scores."""
    cdef int64_t i
    text.push_back(b"@")
    text.append(name, name_length)
    text.push_back(b"\n")
    text.append(<const char *>bases, length)
    text.append(b"\n+\n", 3)
    for i in range(length):
        text.push_back(<char>(scores[i] + 33))
    text.push_back(b"\n")
