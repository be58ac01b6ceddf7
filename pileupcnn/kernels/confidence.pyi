from typing import Any

import numpy as np
from numpy.typing import NDArray

def find_blocks(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    reference_count: NDArray[np.int32],
    depth: NDArray[np.int32],
    bases: NDArray[np.uint8],
    bases_start: int,
    haploid: NDArray[np.uint8],
    quality: NDArray[np.int32],
    level: NDArray[np.int32],
    max_depth: int,
) -> dict[str, NDArray[Any]]: ...
