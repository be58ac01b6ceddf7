from typing import Any

import numpy as np
from numpy.typing import NDArray

class Matcher:
    def __init__(
        self,
        *,
        reference_takes_base: bool,
        cheapest: bool,
        max_haplotypes: int,
        max_steps: int,
    ) -> None: ...
    def match(
        self,
        first: Any,
        second: Any,
        first_offset: NDArray[np.int64],
        second_offset: NDArray[np.int64],
        window_start: NDArray[np.int64],
        window_end: NDArray[np.int64],
        reference: NDArray[np.uint8],
        reference_start: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8]]: ...
