from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.kernels.alignment import WindowAligner
from pileupcnn.kernels.assembly import Assembler
from pileupcnn.kernels.windows import WindowSelector
from pileupcnn.reads import ReadBatch

STATES: tuple[str, ...]

class Realigner:
    def __init__(
        self,
        selector: WindowSelector,
        assembler: Assembler,
        aligner: WindowAligner,
        max_read_length: int,
        max_window_size: int,
        margin: int,
        list_windows: bool = False,
    ) -> None: ...
    def realign(
        self,
        reads: ReadBatch,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        reference: NDArray[np.uint8],
        reference_start: int,
        contig_length: int,
    ) -> None: ...
    def arrays(self) -> dict[str, NDArray[Any]]: ...
    def window_arrays(self) -> dict[str, NDArray[Any]]: ...

def append_slices(
    values: NDArray[np.uint8],
    offset: NDArray[np.int64],
    source: NDArray[np.int32],
    new_offset: NDArray[np.int64],
) -> NDArray[np.uint8]: ...
