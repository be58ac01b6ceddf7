from typing import Any

import numpy as np
from numpy.typing import NDArray

class Sequencer:
    def __init__(self, tables: Any, seed: int) -> None: ...
    def take(self, template: Any) -> None: ...
    def pairs(
        self,
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        flipped: NDArray[np.uint8],
        molecule: NDArray[np.uint64],
        length: NDArray[np.int32],
        foreign: NDArray[np.int32],
        mapping_quality: NDArray[np.int16],
        serial: int,
        scores: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    ) -> bytes: ...
