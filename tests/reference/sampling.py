"""Random choices as DeepVariant makes them: NumPy's and the C++ libraries' generators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

RESERVOIR_SEED = 609314161
PILEUP_SEED = 2101079370
MASK64 = (1 << 64) - 1


def reservoir(items: Sequence[T], size: int, seed: int = RESERVOIR_SEED) -> list[T]:
    """Vitter's algorithm R: at most `size` of `items`; 0 keeps all."""
    if size == 0:
        return list(items)
    random = np.random.RandomState(seed)
    sample: list[T] = []
    for i, item in enumerate(items):
        if len(sample) < size:
            sample.append(item)
        else:
            j = random.randint(0, i + 1)
            if j < size:
                sample[j] = item
    return sample


class MersenneTwister64:
    """``std::mt19937_64``: Matsumoto and Nishimura's 64-bit Mersenne Twister."""

    def __init__(self, seed: int) -> None:
        state = [seed & MASK64]
        for i in range(1, 312):
            previous = state[-1]
            state.append((6364136223846793005 * (previous ^ (previous >> 62)) + i) & MASK64)
        self.state = state
        self.index = 312

    def next(self) -> int:
        """The next 64 random bits."""
        if self.index == 312:
            self._refill()
        x = self.state[self.index]
        self.index += 1
        x ^= (x >> 29) & 0x5555555555555555
        x ^= (x << 17) & 0x71D67FFFEDA60000
        x ^= (x << 37) & 0xFFF7EEE000000000
        return x ^ (x >> 43)

    def _refill(self) -> None:
        state, low = self.state, (1 << 31) - 1
        for i in range(312):
            x = (state[i] & (MASK64 ^ low)) | (state[(i + 1) % 312] & low)
            state[i] = state[(i + 156) % 312] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0)
        self.index = 0


def uniform(generator: MersenneTwister64, bound: int) -> int:
    """libc++'s ``uniform_int_distribution`` over ``[0, bound)``."""
    bits = (bound - 1).bit_length()
    if bits == 0:
        return 0
    while True:
        value = generator.next() & ((1 << bits) - 1)
        if value < bound:
            return value


def shuffled(n: int, seed: int = PILEUP_SEED) -> list[int]:
    """What libc++'s ``std::shuffle`` makes of ``0 .. n - 1``."""
    generator = MersenneTwister64(seed)
    order = list(range(n))
    for first in range(n - 1):
        other = first + uniform(generator, n - first)
        order[first], order[other] = order[other], order[first]
    return order
