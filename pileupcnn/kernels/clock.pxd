"""Processor time of a thread outside the interpreter lock."""

cpdef double thread_seconds() noexcept nogil
cpdef void count_released(double began) noexcept nogil
