from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.kernels.walk import AlleleWalk
from pileupcnn.reads import ReadBatch

CONTEXT: int

class AlleleCounter(AlleleWalk):
    def __init__(
        self,
        min_base_quality: int,
        min_count_snps: int,
        min_count_indels: int,
        min_fraction_snps: float,
        min_fraction_indels: float,
        detail: int = 0,
        keep_counts: bool = False,
    ) -> None: ...
    def count(
        self,
        reads: ReadBatch,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        reference: NDArray[np.uint8],
        reference_start: int,
    ) -> None: ...
    def arrays(self) -> dict[str, NDArray[Any]]: ...
    def details(self) -> dict[str, NDArray[Any]]: ...
    def position_counts(self) -> dict[str, NDArray[np.int32]]: ...
