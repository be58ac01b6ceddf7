class AlleleWalk:
    matches: int
    mismatches: int
