from typing import Any

import numpy as np
from numpy.typing import NDArray
from pysam import AlignmentFile

SKIP_REASONS: tuple[str, ...]
RESERVOIR_SEED: int

class ReadSweep:
    def __init__(
        self,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        max_reads: int,
        min_mapping_quality: int,
        excluded_flags: int,
        read_haplotypes: bool = False,
        read_modifications: bool = False,
    ) -> None: ...
    def add_file(
        self,
        file: AlignmentFile,
        tid: int,
        file_size: int,
        read_groups: list[bytes],
        earliest: int = 0,
    ) -> tuple[str, int]: ...
    def arrays(self) -> dict[str, Any]: ...
    def skip_counts(self) -> dict[str, int]: ...
