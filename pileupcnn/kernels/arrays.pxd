"""From C++ vectors to NumPy arrays."""

cdef object copy_array(const void *data, size_t n, dtype)
