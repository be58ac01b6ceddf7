import numpy as np
from numpy.typing import NDArray

class Assembler:
    def __init__(
        self,
        min_k: int,
        max_k: int,
        step_k: int,
        min_mapping_quality: int,
        min_base_quality: int,
        min_edge_weight: int,
        max_paths: int,
    ) -> None: ...

def assemble(
    assembler: Assembler,
    reference: NDArray[np.uint8],
    window_begin: int,
    window_end: int,
    bases: NDArray[np.uint8],
    qualities: NDArray[np.uint8],
    offset: NDArray[np.int64],
    start: NDArray[np.int64],
    mapping_quality: NDArray[np.uint8],
) -> tuple[int, int, list[bytes]]: ...
