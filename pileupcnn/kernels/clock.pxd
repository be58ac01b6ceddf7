"""Processor time of a thread outside the interpreter lock."""

cdef double thread_seconds() noexcept nogil
cdef void count_released(double began) noexcept nogil
