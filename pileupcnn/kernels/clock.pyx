"""Processor time of a thread outside the interpreter lock.

Each kernel adds what it spent in its ``with nogil`` block to a counter of its
thread, and so does who calls another library that lets go of the lock, so that the
share of the time that holds it can be told.
"""

from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec


cdef extern from *:
    """
    static thread_local double pileupcnn_released = 0.0;
    """
    double pileupcnn_released


cpdef double thread_seconds() noexcept nogil:
    """Processor time of the calling thread so far."""
    cdef timespec now
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cpdef void count_released(double began) noexcept nogil:
    """Count the time since `began`, a value of `thread_seconds`, as outside the lock."""
    global pileupcnn_released
    pileupcnn_released += thread_seconds() - began


def released_seconds():
    """Seconds that the calling thread has run without the lock so far."""
    return pileupcnn_released
