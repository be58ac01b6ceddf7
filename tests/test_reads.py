"""The scanner: each partition gets the reads that a query of its own would give."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pysam
import pytest

from pileupcnn.errors import InputError, OptionError
from pileupcnn.kernels.sweep import RESERVOIR_SEED
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner, check_headers
from pileupcnn.regions import Block, Region, partitions

ALL = ReadSettings(max_reads_per_partition=0)


def queried(path: Path, region: Region) -> list[str]:
    """Reads of one region by a query of its own, filtered as `ReadSettings` says."""
    names = []
    with pysam.AlignmentFile(str(path)) as file:
        for read in file.fetch(region.contig, region.start, region.end):
            apart = (
                read.is_paired
                and not read.is_proper_pair
                and not read.mate_is_unmapped
                and read.next_reference_id != read.reference_id
            )
            flags = pysam.FUNMAP | pysam.FSECONDARY | pysam.FQCFAIL | pysam.FDUP
            if read.flag & (flags | pysam.FSUPPLEMENTARY) or read.mapping_quality < 5 or apart:
                continue
            names.append(f"{read.query_name}/{int(read.is_paired and not read.is_read1)}")
    return names


def members(batch: ReadBatch, k: int) -> list[str]:
    first, last = batch.partition_offset[k : k + 2]
    return [batch.name(i) for i in batch.partition_reads[first:last]]


@pytest.fixture
def reference(testdata: Path) -> Path:
    return testdata / "ref.fa"


@pytest.fixture
def halves(testdata: Path, tmp_path: Path) -> list[Path]:
    """The sample's reads, dealt out to two files."""
    paths = [tmp_path / "one.bam", tmp_path / "two.bam"]
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as file:
        outputs = [pysam.AlignmentFile(str(path), "wb", template=file) for path in paths]
        for number, read in enumerate(file):
            outputs[number % 3 == 0].write(read)
        for output in outputs:
            output.close()
    for path in paths:
        pysam.index(str(path))
    return paths


@pytest.mark.parametrize("size", [1_000, 137, 20_000])
def test_partitions_get_what_queries_give(testdata: Path, reference: Path, size: int) -> None:
    path = testdata / "sample.bam"
    with Scanner([path], reference, ALL) as scanner:
        run = tuple(partitions([Region("ctg1", 3_210, 15_000)], size))
        batch = scanner.scan(run)
    for k, partition in enumerate(run):
        assert members(batch, k) == queried(path, partition)


def test_files_come_one_after_the_other(halves: list[Path], reference: Path) -> None:
    run = tuple(partitions([Region("ctg1", 0, 9_000)]))
    with Scanner(halves, reference, ALL) as scanner:
        batch = scanner.scan(run)
    for k, partition in enumerate(run):
        assert members(batch, k) == [n for path in halves for n in queried(path, partition)]


def test_a_panel_reads_only_near_its_intervals(testdata: Path, reference: Path) -> None:
    random.seed(5)
    starts = sorted(random.sample(range(100, 59_000, 300), 20))
    block = Block(0, tuple(Region("ctg1", start, start + 120) for start in starts))
    path = testdata / "sample.bam"
    with Scanner([path], reference, ALL) as scanner:
        for run in block.runs():
            batch = scanner.scan(run)
            for k, partition in enumerate(run):
                assert members(batch, k) == queried(path, partition)
            # nothing is kept that no partition holds
            assert set(batch.partition_reads.tolist()) == set(range(len(batch)))


def test_cram_gives_the_reads_of_the_bam(testdata: Path, reference: Path) -> None:
    run = tuple(partitions([Region("ctg2", 0, 15_000)]))
    batches = []
    for name in ("sample.bam", "sample.cram"):
        with Scanner([testdata / name], reference, ALL) as scanner:
            batches.append(scanner.scan(run))
    for name in ReadBatch.__slots__:
        ours, theirs = (getattr(batch, name) for batch in batches)
        if name != "contig":
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_reservoir_is_numpys_algorithm_r(testdata: Path, reference: Path) -> None:
    cap = 60
    run = tuple(partitions([Region("ctg1", 20_000, 24_000)]))
    path = testdata / "sample.bam"
    with Scanner([path], reference, ReadSettings(max_reads_per_partition=cap)) as scanner:
        batch = scanner.scan(run)
    for k, partition in enumerate(run):
        state = np.random.RandomState(RESERVOIR_SEED)
        sample: list[str] = []
        for number, name in enumerate(queried(path, partition)):
            if len(sample) < cap:
                sample.append(name)
            elif (slot := state.randint(0, number + 1)) < cap:
                sample[slot] = name
        assert members(batch, k) == sample


def test_memory_of_deep_data_is_bounded(tmp_path: Path, reference: Path, testdata: Path) -> None:
    """Reads that fell out of every reservoir are given up, and the rest stay intact."""
    path = tmp_path / "deep.bam"
    with (
        pysam.AlignmentFile(str(testdata / "sample.bam")) as file,
        pysam.AlignmentFile(str(path), "wb", template=file) as deep,
    ):
        for read in file.fetch("ctg1", 10_000, 14_000):
            name = read.query_name
            for copy in range(40):
                read.query_name = f"{name}.{copy}"
                deep.write(read)
    pysam.index(str(path))
    run = tuple(partitions([Region("ctg1", 10_000, 14_000)]))
    with Scanner([path], reference, ReadSettings(max_reads_per_partition=500)) as scanner:
        batch = scanner.scan(run)
    assert len(batch) <= 4 * 500
    with pysam.AlignmentFile(str(path)) as file:
        reads = {
            f"{r.query_name}/{int(not r.is_read1)}": r for r in file.fetch("ctg1", 10_000, 14_000)
        }
    for i in range(len(batch)):
        read = reads[batch.name(i)]
        first, last = batch.base_offset[i : i + 2]
        assert batch.bases[first:last].tobytes().decode() == read.query_sequence
        assert batch.qualities[first:last].tolist() == list(read.query_qualities)
        ops = batch.cigar[batch.cigar_offset[i] : batch.cigar_offset[i + 1]]
        assert [(int(op) & 15, int(op) >> 4) for op in ops] == read.cigartuples
        assert (batch.start[i], batch.end[i]) == (read.reference_start, read.reference_end)
        assert batch.fragment_length[i] == read.template_length


def test_skipped_reads_are_counted_once(testdata: Path, reference: Path) -> None:
    path = testdata / "sample.bam"
    for size in (500, 4_000):
        with Scanner([path], reference, ReadSettings(min_mapping_quality=61)) as scanner:
            for partition in partitions([Region("ctg1", 0, 60_000)], size):
                scanner.scan((partition,))
            skipped = scanner.skipped
        assert skipped == {"low mapping quality": len(queried(path, Region("ctg1", 0, 60_000)))}


def two_samples(testdata: Path, path: Path) -> None:
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as file:
        header = file.header.to_dict()
        header["RG"] = [{"ID": "a", "SM": "ann"}, {"ID": "b", "SM": "bob"}]
        with pysam.AlignmentFile(str(path), "wb", header=header) as output:
            for number, read in enumerate(file):
                read.set_tag("RG", "ab"[number % 2])
                output.write(read)
    pysam.index(str(path))


def test_one_sample_of_several(testdata: Path, tmp_path: Path, reference: Path) -> None:
    path = tmp_path / "both.bam"
    two_samples(testdata, path)
    with pytest.raises(InputError, match="ann, bob"):
        Scanner([path], reference, ALL)
    with pytest.raises(OptionError, match="carl"):
        Scanner([path], reference, ALL, sample="carl")
    run = (Region("ctg1", 5_000, 6_000),)
    shares = []
    for sample in ("ann", "bob"):
        with Scanner([path], reference, ALL, sample=sample) as scanner:
            assert scanner.sample == sample
            shares.append(members(scanner.scan(run), 0))
    assert sorted(shares[0] + shares[1]) == sorted(queried(path, run[0]))
    assert all(shares)


def test_a_name_given_replaces_the_only_one(testdata: Path, reference: Path) -> None:
    with Scanner([testdata / "sample.bam"], reference, ALL, sample="other") as scanner:
        assert scanner.sample == "other"


def test_sound_headers_raise_no_warning(testdata: Path, reference: Path) -> None:
    assert check_headers([testdata / "sample.cram"], reference, ["ctg1", "ctg2"]) == []


def aligned(
    header: pysam.AlignmentHeader, number: int, start: int, cigar: str
) -> pysam.AlignedSegment:
    """A forward read of A's."""
    read = pysam.AlignedSegment(header)
    read.query_name = f"r{number}"
    read.reference_id = 0
    read.reference_start = start
    read.mapping_quality = 60
    read.cigarstring = cigar
    read.query_sequence = "A" * read.infer_query_length()
    read.query_qualities = pysam.qualitystring_to_array("I" * len(read.query_sequence))
    return read


def made_bam(path: Path, reads: list[tuple[int, str]], length: int = 2_000_000) -> Path:
    """A BAM of one contig, and a FASTA of N beside it."""
    header = pysam.AlignmentHeader.from_dict({"SQ": [{"SN": "c", "LN": length}]})
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for number, (start, cigar) in enumerate(reads):
            file.write(aligned(header, number, start, cigar))
    pysam.index(str(path))
    fasta = path.with_suffix(".fa")
    fasta.write_text(">c\n" + "N" * length + "\n")
    pysam.faidx(str(fasta))
    return fasta


def test_a_sweep_after_an_empty_one_loses_nothing(tmp_path: Path) -> None:
    """The empty run's index bin holds records right of the next run, and later in the file."""
    path = tmp_path / "islands.bam"
    starts = [*range(1_180_000, 1_190_000, 4), *[1_310_650] * 300]
    fasta = made_bam(path, [(start, "150M") for start in starts])
    with Scanner([path], fasta, ALL) as scanner:
        for start in range(1_100_000, 1_400_000, 64_000):
            run = tuple(partitions([Region("c", start, start + 64_000)]))
            with Scanner([path], fasta, ALL) as fresh:
                assert len(scanner.scan(run)) == len(fresh.scan(run))


def test_operations_of_length_zero_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "zero.bam"
    fasta = made_bam(path, [(100, "50M0I50M0D"), (100, "0S100M")], 3_000)
    with Scanner([path], fasta, ALL) as scanner:
        batch = scanner.scan((Region("c", 0, 1_000),))
    assert [int(op) >> 4 for op in batch.cigar] == [50, 50, 100]


@pytest.mark.parametrize("tag", [("RG", 1, "i"), ("RG", "x", "A"), None])
def test_reads_of_no_proper_group_are_another_sample_s(
    testdata: Path, tmp_path: Path, reference: Path, tag: tuple[str, object, str] | None
) -> None:
    path = tmp_path / "odd.bam"
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as file:
        header = file.header.to_dict()
        header["RG"] = [{"ID": "a", "SM": "ann"}, {"ID": "b", "SM": "bob"}]
        with pysam.AlignmentFile(str(path), "wb", header=header) as output:
            for read in file.fetch("ctg1", 0, 5_000):
                read.set_tag("RG", None)
                if tag is not None:
                    read.set_tag(*tag)
                output.write(read)
    pysam.index(str(path))
    with Scanner([path], reference, ALL, sample="ann") as scanner:
        assert len(scanner.scan((Region("ctg1", 0, 4_000),))) == 0


@pytest.mark.parametrize(
    "wrong",
    [{"max_reads_per_partition": -1}, {"partition_size": 0}, {"min_mapping_quality": 256}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReadSettings(**wrong)
