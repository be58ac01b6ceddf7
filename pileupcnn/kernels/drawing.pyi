import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.reads import ReadBatch

ROW_SEED: int
OVERLAP_MARGIN: int
MIN_TRIMMED_SPAN: int
DRAWABLE: frozenset[int]
STRAND_VALUES: tuple[int, int]
SUPPORTS_VALUE: int

def quality_values() -> NDArray[np.uint8]: ...

class Drawer:
    def __init__(
        self,
        height: int,
        width: int,
        reference_rows: int,
        channels: NDArray[np.int32],
        min_base_quality: int,
        min_mapping_quality: int,
    ) -> None: ...
    def draw(
        self,
        reads: ReadBatch,
        candidates: CandidateBatch,
        candidate: NDArray[np.int32],
        alts: NDArray[np.int32],
        reference: NDArray[np.uint8],
        reference_start: int,
        contig_length: int,
        images: NDArray[np.uint8],
    ) -> None: ...
