"""`pileupcnn call` end to end on testdata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pysam
import pytest

from pileupcnn.cli.call import run_call
from pileupcnn.regions import parse_region
from pileupcnn.runners import run

Call = Callable[..., list[str]]


@pytest.fixture
def call(testdata: Path, tmp_path: Path) -> Call:
    """Calls testdata and returns the records' lines; keywords replace `run_call`'s."""

    def records(**options: object) -> list[str]:
        inputs = {
            "ref": testdata / "ref.fa",
            "reads": [testdata / "sample.bam"],
            "output": tmp_path / "out.vcf",
            "device": "cpu",
        }
        output = Path(str({**inputs, **options}["output"]))
        run_call(**{**inputs, **options})  # type: ignore[arg-type]
        return [line for line in output.read_text().splitlines() if not line.startswith("#")]

    return records


@pytest.fixture(scope="module")
def whole(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The records of a plain call of all of testdata."""
    output = tmp_path_factory.mktemp("whole") / "out.vcf"
    run_call(testdata / "ref.fa", [testdata / "sample.bam"], output, device="cpu")
    return [line for line in output.read_text().splitlines() if not line.startswith("#")]


def passing(lines: list[str]) -> set[tuple[str, ...]]:
    """Contig, position, REF, ALT and GT of PASS records."""
    rows = [line.split("\t") for line in lines]
    return {
        (row[0], row[1], row[3], row[4], row[9].split(":")[0]) for row in rows if row[6] == "PASS"
    }


def test_finds_what_was_planted(whole: list[str], testdata: Path) -> None:
    with pysam.VariantFile(str(testdata / "truth.vcf.gz")) as truth:
        planted = {
            (r.contig, str(r.pos), r.ref, ",".join(r.alts), "/".join(map(str, sorted(g))))
            for r in truth
            for g in [r.samples[0]["GT"]]
        }
    found = passing(whole)
    assert len(planted & found) > 0.9 * len(planted)
    assert len(found - planted) < 0.1 * len(planted)


@pytest.mark.parametrize("threads", [2, 3])
def test_bytes_do_not_depend_on_threads(testdata: Path, tmp_path: Path, threads: int) -> None:
    outputs = [tmp_path / "serial.vcf.gz", tmp_path / "threads.vcf.gz"]
    for output, n in zip(outputs, (1, threads), strict=True):
        run_call(
            testdata / "ref.fa",
            [testdata / "sample.bam"],
            output,
            regions=["ctg1:1-30,000", "ctg2"],
            threads=n,
            device="cpu",
            overrides={"partition_size": 100},  # several blocks
        )
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_cram_gives_the_records_of_the_bam(call: Call, whole: list[str], testdata: Path) -> None:
    assert call(reads=[testdata / "sample.cram"]) == whole


def test_bcf_holds_the_records_of_the_vcf(whole: list[str], testdata: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.bcf"
    run_call(testdata / "ref.fa", [testdata / "sample.bam"], output, device="cpu")
    assert Path(f"{output}.csi").exists()
    with pysam.VariantFile(str(output)) as records:
        assert [str(record).rstrip("\n") for record in records] == whole


def test_regions_give_a_part_of_the_whole(call: Call, whole: list[str]) -> None:
    # the grid of partitions is anchored at a region's start
    part = call(regions=["ctg1:20,001-25,000"])
    assert part
    assert passing(part) == {
        row for row in passing(whole) if row[0] == "ctg1" and 20_000 < int(row[1]) <= 25_000
    }


def test_variants_at_contig_ends_are_drawn_unless_told(call: Call, whole: list[str]) -> None:
    inside = call(deepvariant_compat=True)
    assert set(inside) <= set(whole)
    lengths = {"ctg1": 60_000, "ctg2": 20_000}
    for line in set(whole) - set(inside):
        contig, position = line.split("\t")[:2]
        assert not 50 < int(position) <= lengths[contig] - 50


def test_progress_reaches_the_end(testdata: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    run_call(
        testdata / "ref.fa",
        [testdata / "sample.bam"],
        tmp_path / "out.vcf",
        device="cpu",
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (80_000, 80_000)
    assert told == sorted(told)


def test_region_text() -> None:
    lengths = {"chr1": 1_000, "HLA:A:01": 50}
    assert parse_region("chr1:11-1,000", lengths).start == 10
    assert parse_region("HLA:A:01", lengths).end == 50
    assert len(parse_region("chr1:7", lengths)) == 1


class Squarer:
    """A worker that squares, and fails on 13."""

    open = 0

    def __init__(self) -> None:
        Squarer.open += 1

    def __call__(self, item: int) -> int:
        if item == 13:
            raise ValueError("thirteen")
        return item * item

    def close(self) -> None:
        Squarer.open -= 1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_runner_keeps_order_and_closes_its_workers(threads: int) -> None:
    assert list(run(Squarer, range(12), threads)) == [i * i for i in range(12)]
    assert Squarer.open == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_runner_raises_in_the_place_of_the_item(threads: int) -> None:
    def endless() -> Iterator[int]:
        i = 0
        while True:
            yield i
            i += 1

    seen: list[int] = []
    with pytest.raises(ValueError, match="thirteen"):
        seen.extend(run(Squarer, endless(), threads))
    assert seen == [i * i for i in range(13)]
    assert Squarer.open == 0
