import numpy as np
from numpy.typing import NDArray

from pileupcnn.reads import ReadBatch

MAX_UNITS: int

def repeat_changes(
    reads: ReadBatch,
    used: NDArray[np.uint8],
    tract_start: NDArray[np.int64],
    tract_end: NDArray[np.int64],
    period: NDArray[np.int64],
    flank: int,
) -> NDArray[np.uint32]: ...
