"""Mersenne Twisters and what is drawn from them.

The generators are Matsumoto and Nishimura's MT19937 and its 64-bit sister.
Reads are sampled exactly as DeepVariant samples them: a partition's reservoir
with NumPy's legacy ``RandomState.randint``, an image's rows with libc++'s
``std::shuffle`` over ``std::mt19937_64``.
"""

import numpy as np


cdef void seed32(Twister32 *twister, uint32_t seed) noexcept nogil:
    cdef int i
    cdef uint32_t word = seed
    for i in range(624):
        twister.words[i] = word
        word = <uint32_t>1812433253 * (word ^ (word >> 30)) + i + 1
    twister.next = 624


cdef void _twist32(Twister32 *twister) noexcept nogil:
    cdef int i
    cdef uint32_t y
    cdef uint32_t *w = twister.words
    for i in range(624):
        y = (w[i] & <uint32_t>0x80000000) | (w[(i + 1) % 624] & <uint32_t>0x7FFFFFFF)
        w[i] = w[(i + 397) % 624] ^ (y >> 1) ^ (<uint32_t>0x9908B0DF if y & 1 else 0)
    twister.next = 0


cdef uint32_t below32(Twister32 *twister, uint32_t bound) noexcept nogil:
    """A number in [0, bound): draws masked to the bit length until one fits."""
    cdef uint32_t top = bound - 1, mask = bound - 1, y
    if top == 0:
        return 0
    mask |= mask >> 1
    mask |= mask >> 2
    mask |= mask >> 4
    mask |= mask >> 8
    mask |= mask >> 16
    while True:
        if twister.next == 624:
            _twist32(twister)
        y = twister.words[twister.next]
        twister.next += 1
        y ^= y >> 11
        y ^= (y << 7) & <uint32_t>0x9D2C5680
        y ^= (y << 15) & <uint32_t>0xEFC60000
        y ^= y >> 18
        y &= mask
        if y <= top:
            return y


cdef void seed64(Twister64 *twister, uint64_t seed) noexcept nogil:
    cdef int i
    twister.words[0] = seed
    for i in range(1, 312):
        twister.words[i] = (
            <uint64_t>6364136223846793005 * (twister.words[i - 1] ^ (twister.words[i - 1] >> 62)) + i
        )
    twister.next = 312


cdef uint64_t _next64(Twister64 *twister) noexcept nogil:
    cdef int i
    cdef uint64_t y
    cdef uint64_t *w = twister.words
    if twister.next == 312:
        for i in range(312):
            y = (w[i] & <uint64_t>0xFFFFFFFF80000000) | (w[(i + 1) % 312] & <uint64_t>0x7FFFFFFF)
            w[i] = w[(i + 156) % 312] ^ (y >> 1) ^ (<uint64_t>0xB5026F5AA96619E9 if y & 1 else 0)
        twister.next = 0
    y = w[twister.next]
    twister.next += 1
    y ^= (y >> 29) & <uint64_t>0x5555555555555555
    y ^= (y << 17) & <uint64_t>0x71D67FFFEDA60000
    y ^= (y << 37) & <uint64_t>0xFFF7EEE000000000
    y ^= y >> 43
    return y


cdef void shuffle(int32_t *items, int32_t n, uint64_t seed) noexcept nogil:
    """Shuffle in place as libc++'s std::shuffle does with a fresh std::mt19937_64.

    Each step swaps the first of the rest with one of the rest; a number below
    ``left`` is the lowest bits of a draw, redrawn until it fits.
    """
    cdef Twister64 twister
    cdef int32_t first, pick, held
    cdef uint64_t left, mask, draw
    seed64(&twister, seed)
    for first in range(n - 1):
        left = n - first
        mask = left - 1
        mask |= mask >> 1
        mask |= mask >> 2
        mask |= mask >> 4
        mask |= mask >> 8
        mask |= mask >> 16
        draw = _next64(&twister) & mask
        while draw >= left:
            draw = _next64(&twister) & mask
        pick = first + <int32_t>draw
        held = items[first]
        items[first] = items[pick]
        items[pick] = held


def permutation(int n, seed):
    """What `shuffle` makes of 0 to n - 1, as an int32 array."""
    items = np.arange(n, dtype=np.int32)
    cdef int32_t[::1] view = items
    cdef uint64_t start = seed
    if n:
        shuffle(&view[0], n, start)
    return items


def bounded(seed, bounds):
    """Numbers below each of `bounds` in turn, from one `Twister32`; uint32 array."""
    cdef Twister32 twister
    cdef uint32_t[::1] limits = np.ascontiguousarray(bounds, dtype=np.uint32)
    drawn = np.empty(len(limits), dtype=np.uint32)
    cdef uint32_t[::1] view = drawn
    cdef Py_ssize_t i
    seed32(&twister, seed)
    for i in range(limits.shape[0]):
        view[i] = below32(&twister, limits[i])
    return drawn
