"""Modified bases, against pysam's own reading of the tags."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pysam
import pytest
from numpy.typing import NDArray
from strategies import write_fasta

from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.regions import Region

LENGTH = 200


def scan(path: Path, records: list[dict]) -> ReadBatch:
    """Write reads of one contig, given as attributes and tags, and scan them."""
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": "c", "LN": LENGTH}],
        "RG": [{"ID": "rg", "SM": "sample"}],
    }
    write_fasta(path / "ref.fa", {"c": "A" * LENGTH})
    with pysam.AlignmentFile(str(path / "reads.bam"), "wb", header=header) as bam:
        for number, fields in enumerate(records):
            record = pysam.AlignedSegment(bam.header)
            record.query_name = f"r{number}"
            record.reference_id = 0
            record.reference_start = 10
            record.mapping_quality = 60
            record.query_sequence = fields["bases"]
            record.cigartuples = [(0, len(fields["bases"]))]
            record.query_qualities = [40] * len(fields["bases"])
            record.flag = 16 if fields.get("reverse") else 0
            for tag, value in fields.get("tags", {}).items():
                record.set_tag(tag, value)
            bam.write(record)
    pysam.index(str(path / "reads.bam"))
    with Scanner(
        [path / "reads.bam"], path / "ref.fa", ReadSettings(), modifications=True
    ) as scanner:
        return scanner.scan((Region("c", 0, LENGTH),))


def of_read(values: NDArray[np.uint8] | None, batch: ReadBatch, index: int) -> list[int]:
    """One read's part."""
    assert values is not None
    return values[batch.base_offset[index] : batch.base_offset[index + 1]].tolist()


def tags_of(bases: str, reverse: bool, rng: random.Random) -> dict:
    """MM and ML for some of the bases, in several groups."""
    complement = str.maketrans("ACGT", "TGCA")
    sequenced = bases.translate(complement)[::-1] if reverse else bases
    text, values = "", []
    for group in rng.sample(["C+m", "C+m?", "C+h.", "A+a", "T-a", "N+n", "C+mh"], 4):
        n = len(sequenced) if group[0] == "N" else sequenced.count(group[0])
        chosen = sorted(rng.sample(range(n), rng.randrange(n + 1)))
        skips = [b - a - 1 for a, b in zip([-1, *chosen], chosen, strict=False)]
        text += ",".join([group, *map(str, skips)]) + ";"
        values += [rng.choice([0, 1, 100, 127, 128, 255]) for _ in chosen]
    return {"MM": text, "ML": np.array(values, np.uint8).tolist() or [0]}


def expected(record: pysam.AlignedSegment) -> tuple[list[int], list[int]]:
    """5mC and 6mA by pysam, of groups that name one modification."""
    found = [0] * record.query_length, [0] * record.query_length
    for (base, strand, code), places in (record.modified_bases or {}).items():
        reverse = strand != int(record.is_reverse)
        key = base, "-" if reverse else "+", code
        target = {("C", "+", "m"): 0, ("A", "+", "a"): 1, ("T", "-", "a"): 1}.get(key)
        if target is not None:
            for at, value in places:
                found[target][at] = max(found[target][at], value)
    return found


def test_probabilities_are_pysams(tmp_path: Path) -> None:
    rng = random.Random(7)
    records = []
    while len(records) < 200:
        bases = "".join(rng.choices("ACGT", k=rng.randrange(20, 60)))
        tags = tags_of(bases, reverse := rng.random() < 0.5, rng)
        # DeepVariant does not read groups of several modifications, nor does it count them so
        if "mh" not in tags["MM"] and not (tags["MM"].count("C+m") > 1):
            records.append({"bases": bases, "reverse": reverse, "tags": tags})
    batch = scan(tmp_path, records)
    assert len(batch) == len(records)
    with pysam.AlignmentFile(str(tmp_path / "reads.bam")) as bam:
        for i, record in enumerate(bam):
            methylation, methylation_6ma = expected(record)
            assert of_read(batch.methylation, batch, i) == methylation
            assert of_read(batch.methylation_6ma, batch, i) == methylation_6ma
    assert batch.methylation is not None
    assert batch.methylation_6ma is not None
    assert (batch.methylation > 0).sum() > 200
    assert (batch.methylation_6ma > 0).sum() > 200


BASES = "ACCGTACGTCATTACGGCAT"


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"MM": "C+m,1,0;", "ML": [200, 100]}, {2: 200, 6: 100}),
        ({"MM": "C+m,1,0;", "ML": [200, 100], "MN": 20}, {2: 200, 6: 100}),
        # hard-clipped since, so that nothing fits
        ({"MM": "C+m,1,0;", "ML": [200, 100], "MN": 30}, {}),
        ({"MM": "C+m,1,0,7;", "ML": [200, 100, 3]}, {}),
        ({"MM": "C+m,1,0;", "ML": [200]}, {}),
        ({"MM": "C+m,1,0;"}, {}),
        ({"ML": [200, 100]}, {}),
        ({"MM": "C+m;", "ML": [200]}, {}),
        ({"MM": "", "ML": [200]}, {}),
        ({"MM": "C+h,0;C+m,1,0;", "ML": [9, 200, 100]}, {2: 200, 6: 100}),
        ({"MM": "C+m,99999999999999999999;", "ML": [9]}, {}),
        ({"MM": "C+m,x;", "ML": [9]}, {}),
        ({"MM": 5, "ML": [9]}, {}),
        ({"MM": "C+m,0;", "ML": "text"}, {}),
    ],
)
def test_tags_that_do_not_fit_say_nothing(tags: dict, wanted: dict, tmp_path: Path) -> None:
    batch = scan(tmp_path, [{"bases": BASES, "tags": tags}])
    values = of_read(batch.methylation, batch, 0)
    assert {i: value for i, value in enumerate(values) if value} == wanted


def test_nothing_is_read_unless_wanted(tmp_path: Path) -> None:
    scan(tmp_path, [{"bases": BASES, "tags": {"MM": "C+m,1;", "ML": [200], "HP": 2}}])
    with Scanner([tmp_path / "reads.bam"], tmp_path / "ref.fa", ReadSettings()) as scanner:
        batch = scanner.scan((Region("c", 0, LENGTH),))
    assert batch.methylation is None
    assert batch.methylation_6ma is None
    assert batch.haplotype is None
