class AltAligner:
    def __init__(
        self,
        match: int,
        mismatch: int,
        gap_open: int,
        gap_extend: int,
        kmer: int,
        max_mismatches: int,
    ) -> None: ...
