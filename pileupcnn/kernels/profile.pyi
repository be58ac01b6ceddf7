import numpy as np
from numpy.typing import NDArray

from pileupcnn.reads import ReadBatch

CYCLE_BIN: int
CYCLE_BINS: int
QUALITIES: int
READ_CLASSES: tuple[float, ...]
RUN_CLASSES: int
AFTER_STATES: int
QUALITY_GROUPS: tuple[int, int]

class ReadProfiler:
    counts: dict[str, NDArray[np.uint64]]
    def take(
        self,
        reads: ReadBatch,
        used: NDArray[np.uint8],
        begins: NDArray[np.uint8],
        reference: NDArray[np.uint8],
        reference_start: int,
        start: int,
        end: int,
    ) -> None: ...
    def pile(self, min_quality: int) -> NDArray[np.uint32]: ...
    def count(
        self,
        masked: NDArray[np.uint8],
        repeat: NDArray[np.uint8],
        state: NDArray[np.uint8],
        distance: NDArray[np.uint8],
        least_run: int,
    ) -> None: ...
