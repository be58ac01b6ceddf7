import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.reads import ReadBatch

class FeatureCounter:
    def fill(
        self,
        reads: ReadBatch,
        candidates: CandidateBatch,
        candidate: NDArray[np.int32],
        alts: NDArray[np.int32],
        features: NDArray[np.int32],
    ) -> None: ...
