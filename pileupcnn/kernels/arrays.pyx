"""From C++ vectors to NumPy arrays."""

import numpy as np

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from pileupcnn.kernels.clock cimport count_released, thread_seconds


cdef object copy_array(const void *data, size_t n, dtype):
    """A new array of `n` items of `dtype` with the bytes at `data`."""
    array = np.empty(n, dtype=dtype)
    cdef uint8_t[::1] view = array.view(np.uint8)
    cdef double began
    if n:
        with nogil:
            began = thread_seconds()
            memcpy(&view[0], data, view.shape[0])
            count_released(began)
    return array
