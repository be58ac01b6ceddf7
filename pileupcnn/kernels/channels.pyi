DRAWABLE: frozenset[int]
MIN_ALLELE_FREQUENCY: float
