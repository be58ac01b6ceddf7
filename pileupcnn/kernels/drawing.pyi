from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.kernels.alt_align import AltAligner
from pileupcnn.reads import ReadBatch

ROW_SEED: int
OVERLAP_MARGIN: int
ALT_LAYOUTS: tuple[str, ...]

class Drawer:
    def __init__(
        self,
        heights: NDArray[np.int32],
        width: int,
        reference_rows: int,
        channels: NDArray[np.int32],
        min_base_quality: int,
        min_mapping_quality: int,
        sort_by_haplotypes: bool = False,
        mean_coverage: float = 0,
        alt_layout: int = 0,
        align_all: bool = False,
        aligner: AltAligner | None = None,
    ) -> None: ...
    def draw(
        self,
        samples: Sequence[ReadBatch],
        candidates: CandidateBatch,
        supports: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]],
        candidate: NDArray[np.int32],
        alts: NDArray[np.int32],
        reference: NDArray[np.uint8],
        reference_start: int,
        contig_length: int,
        images: NDArray[np.uint8],
    ) -> None: ...
