class WindowSelector:
    def __init__(
        self,
        min_mapping_quality: int,
        min_base_quality: int,
        min_support: int,
        min_reads: int,
        max_reads: int,
        expansion: int,
        distance: int,
    ) -> None: ...
