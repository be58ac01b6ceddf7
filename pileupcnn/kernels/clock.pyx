"""Processor time of a thread outside the interpreter lock.

Each kernel adds what it spent in its ``with nogil`` block to a counter of its
thread, so that the share of the time that holds the lock can be told.
"""

from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec


cdef extern from *:
    """
    static thread_local double pileupcnn_released = 0.0;
    """
    double pileupcnn_released


cdef double thread_seconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef void count_released(double began) noexcept nogil:
    """Add the time since `began`, a value of `thread_seconds`."""
    global pileupcnn_released
    pileupcnn_released += thread_seconds() - began


def released_seconds():
    """Seconds that kernels have run without the lock in the calling thread so far."""
    return pileupcnn_released
