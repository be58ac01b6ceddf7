import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.kernels.walk import AlleleWalk
from pileupcnn.reads import ReadBatch

class SupportFinder(AlleleWalk):
    def __init__(self, min_base_quality: int) -> None: ...
    def find(
        self,
        reads: ReadBatch,
        candidates: CandidateBatch,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        reference: NDArray[np.uint8],
        reference_start: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]: ...

def match_names(first: ReadBatch, second: ReadBatch) -> NDArray[np.int32]: ...
