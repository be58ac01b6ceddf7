from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def permutation(n: int, seed: int) -> NDArray[np.int32]: ...
def bounded(seed: int, bounds: Sequence[int] | NDArray[np.uint32]) -> NDArray[np.uint32]: ...
