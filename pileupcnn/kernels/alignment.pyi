from pileupcnn.kernels.seeded import SeededAligner

class WindowAligner(SeededAligner):
    def __init__(
        self,
        match: int,
        mismatch: int,
        gap_open: int,
        gap_extend: int,
        kmer: int,
        max_mismatches: int,
        similarity: float,
        forced: bool = False,
    ) -> None: ...
    def align_window(
        self,
        reference: bytes,
        reference_start: int,
        prefix: int,
        suffix: int,
        haplotypes: list[bytes],
        reads: list[bytes],
    ) -> list[tuple[int, str] | None]: ...
