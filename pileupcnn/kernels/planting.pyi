import numpy as np
from numpy.typing import NDArray

from pileupcnn.reads import ReadBatch

_Variants = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]

def throw_coins(
    names: NDArray[np.uint8], name_offset: NDArray[np.int64], seed: int
) -> NDArray[np.uint8]: ...

class Planter:
    reads: ReadBatch
    def __init__(
        self, reads: ReadBatch, reference: NDArray[np.uint8], reference_start: int, sure: int
    ) -> None: ...
    def plant(
        self, used: NDArray[np.uint8], forward: _Variants, reverse: _Variants
    ) -> NDArray[np.uint8]: ...
    def fastq(
        self, used: NDArray[np.uint8], bases: NDArray[np.uint8], place: NDArray[np.int64]
    ) -> bytes: ...
