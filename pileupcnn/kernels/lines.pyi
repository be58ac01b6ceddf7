import numpy as np
from numpy.typing import NDArray

def format_blocks(
    contig: bytes,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    base: NDArray[np.uint8],
    called: NDArray[np.uint8],
    genotype_quality: NDArray[np.int32],
    min_depth: NDArray[np.int32],
    log10_likelihoods: NDArray[np.float64],
) -> bytes: ...
