import numpy as np
from numpy.typing import NDArray

PANEL: int

def dense(
    rows: NDArray[np.float32],
    panels: NDArray[np.float32],
    bias: NDArray[np.float32],
    relu: bool,
    out: NDArray[np.float32],
) -> None: ...
