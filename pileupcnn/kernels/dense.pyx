"""A dense layer, whose result for a row depends on that row and the weights only.

Each sum runs over the inputs in their order, in float32: other rows, their
number and the number of cores make no difference, as they do to the last bits
of a product by a BLAS library.
"""

from pileupcnn.kernels.clock cimport count_released, thread_seconds

cdef extern from *:
    """
    typedef float pileupcnn_floats __attribute__((vector_size(16), aligned(4), may_alias));

    // Sums of eight outputs of four rows: panel has the weights input by input.
    static inline void pileupcnn_four_rows(
        const float *const *rows, const float *panel, size_t inputs, float *sums
    ) {
        pileupcnn_floats held[4][2] = {};
        for (size_t k = 0; k < inputs; k++) {
            const pileupcnn_floats *weights = (const pileupcnn_floats *)(panel + 8 * k);
            for (int r = 0; r < 4; r++)
                for (int j = 0; j < 2; j++) held[r][j] += rows[r][k] * weights[j];
        }
        for (int r = 0; r < 4; r++)
            for (int j = 0; j < 2; j++) *(pileupcnn_floats *)(sums + 8 * r + 4 * j) = held[r][j];
    }
    """
    void pileupcnn_four_rows(
        const float **rows, const float *panel, size_t inputs, float *sums
    ) nogil

cdef enum:
    _PANEL = 8

PANEL = _PANEL
"""Outputs that are computed together."""


def dense(const float[:, ::1] rows, const float[:, :, ::1] panels, const float[::1] bias,
          bint relu, float[:, ::1] out):
    """Compute a layer's outputs.

    Parameters
    ----------
    rows : float32 [n, inputs]
    panels : float32 [p, inputs, PANEL]
        Weights of `PANEL` outputs at a time, the last ones filled up with zeros.
    bias : float32 [outputs]
    relu : bool
        Set negative outputs to 0.
    out : float32 [n, outputs]
        Overwritten.
    """
    cdef Py_ssize_t n = rows.shape[0], outputs = bias.shape[0], p, first, r, j, at
    cdef const float *four[4]
    cdef float sums[4 * _PANEL]
    cdef float value
    cdef double began
    with nogil:
        began = thread_seconds()
        for p in range(panels.shape[0]):
            for first in range(0, n, 4):
                for r in range(4):
                    four[r] = &rows[min(first + r, n - 1), 0]
                pileupcnn_four_rows(four, &panels[p, 0, 0], rows.shape[1], sums)
                for r in range(min(<Py_ssize_t>4, n - first)):
                    for j in range(min(<Py_ssize_t>_PANEL, outputs - p * _PANEL)):
                        at = p * _PANEL + j
                        value = sums[_PANEL * r + j] + bias[at]
                        out[first + r, at] = 0 if relu and value < 0 else value
        count_released(began)
