import numpy as np
from numpy.typing import NDArray

DRAWABLE: frozenset[int]
MIN_ALLELE_FREQUENCY: float
STRAND_VALUES: tuple[int, int]
SUPPORTS_VALUE: int

def quality_values() -> NDArray[np.uint8]: ...
