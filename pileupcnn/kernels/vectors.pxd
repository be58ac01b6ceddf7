"""What Cython's own declaration of C++ vectors lacks."""

from libcpp.vector cimport vector

cdef extern from *:
    """
    #include <vector>
    template <class T, class V>
    static inline void pileupcnn_fill(std::vector<T> &items, size_t n, const V &value) {
        items.assign(n, value);
    }
    """
    # the same as items.assign(n, value), which is declared so that want of memory aborts
    void fill "pileupcnn_fill"[T, V](vector[T] &items, size_t n, const V &value) except + nogil
