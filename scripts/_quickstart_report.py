"""Last step of scripts/quickstart: first records, and the accuracy line."""

from __future__ import annotations

import gzip
import sys
from itertools import islice
from pathlib import Path

from pileupcnn.cli.evaluate import run_evaluate

MIN_SNP_F1 = 0.97
MIN_INDEL_F1 = 0.90
RECORDS_SHOWN = 8


def main(calls: Path, truth: Path, bed: Path, ref: Path) -> int:
    """Print the report; 1 if the calls are worse than they should be."""
    print(f"First records of {calls}:")
    with gzip.open(calls, "rt") as lines:
        records = (line for line in lines if not line.startswith("##"))
        print("".join(islice(records, RECORDS_SHOWN + 1)))
    summary = run_evaluate(truth, calls, ref, confident=bed)
    snp, indel = summary.counts("SNP"), summary.counts("INDEL")
    good = snp.f1 >= MIN_SNP_F1 and indel.f1 >= MIN_INDEL_F1
    parts = [
        f"{kind} F1 {c.f1:.4f} ({c.truth} true, {c.truth_fn} missed, {c.query_fp} false)"
        for kind, c in (("SNP", snp), ("indel", indel))
    ]
    verdict = "ok" if good else f"TOO LOW, at least {MIN_SNP_F1} and {MIN_INDEL_F1} are expected"
    print(f"quickstart: {', '.join(parts)}: {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:5])))
