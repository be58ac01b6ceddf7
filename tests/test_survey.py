"""The first look at a sample: where it looks, and what it says, against slow counts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pileupcnn import survey
from pileupcnn.reads import ReadSettings, Scanner
from pileupcnn.reference import Reference
from pileupcnn.regions import Region
from pileupcnn.repeats import CROSSING_FLANK, find_repeats
from pileupcnn.survey import (
    MOST_STRETCHES,
    STRETCH,
    STRETCHES,
    Survey,
    rounds,
    take_survey,
)


def survey_of(
    reads: Path | list[Path], reference: Path, regions: list[Region], **options: int
) -> Survey:
    files = reads if isinstance(reads, list) else [reads]
    with (
        Scanner(files, reference, ReadSettings(**options)) as scanner,  # type: ignore[arg-type]
        Reference(reference) as fasta,
    ):
        found = take_survey(scanner, fasta, regions)
        assert not scanner.skipped
        return found


@st.composite
def targets(draw: st.DrawFn) -> list[Region]:
    """Merged regions of one or two contigs."""
    found, sizes = [], st.integers(1, draw(st.sampled_from([50, 5_000, 1_000_000])))
    for contig in ("a", "b"):
        at = 0
        for _ in range(draw(st.integers(0 if contig == "b" else 1, 20))):
            start = at + draw(sizes)
            at = start + draw(sizes)
            found.append(Region(contig, start, at))
    return found


@given(targets(), st.integers(1, STRETCHES))
@settings(max_examples=100)
def test_stretches_lie_side_by_side_in_the_regions(regions: list[Region], count: int) -> None:
    total = sum(map(len, regions))
    found = list(rounds(regions, count))
    pieces = [piece for one in found for piece in one]
    assert sum(map(len, pieces)) <= min(total, MOST_STRETCHES * STRETCH)
    # whole stretches, but for one that is cut where all regions end
    first = sum(map(len, found[0]))
    assert first == min(total, STRETCH * max(1, min(count, total // STRETCH)))
    for piece in pieces:
        assert 0 < len(piece) <= STRETCH
        assert any(
            region.contig == piece.contig
            and region.start <= piece.start
            and piece.end <= region.end
            for region in regions
        )
    ordered = sorted(pieces, key=lambda piece: (piece.contig, piece.start))
    for one, other in pairwise(ordered):
        assert one.contig != other.contig or one.end <= other.start


def test_the_first_stretches_are_spread_evenly() -> None:
    first = next(rounds([Region("a", 1_000_000, 4_000_000_000)], STRETCHES))
    assert len(first) == STRETCHES
    apart = np.diff([piece.start for piece in first])
    assert apart.max() - apart.min() <= 1
    assert apart.min() > 80_000_000


def test_a_stretch_goes_on_in_the_next_region() -> None:
    targets = [Region("a", at, at + 200) for at in range(0, 100_000, 1_000)]
    pieces = [piece for one in rounds(targets, STRETCHES) for piece in one]
    assert sum(map(len, pieces)) == 18_000


def test_depth_is_that_of_the_usual_read(testdata: Path) -> None:
    found = survey_of(testdata / "sample.bam", testdata / "ref.fa", [Region("ctg1", 0, 60_000)])
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as reads:
        slow = [
            sum(
                min(read.reference_end, end) - max(read.reference_start, start)
                for read in reads.fetch("ctg1", start, end)
                if not read.flag & 0xF00 and read.mapping_quality >= 5
            )
            / (end - start)
            for start, end in ((at, at + 1_000) for at in range(0, 60_000, 1_000))
        ]
    assert found.depth == pytest.approx(median(slow), rel=0.05)


def test_slips_are_those_of_a_slow_count(testdata: Path) -> None:
    region = Region("ctg1", 0, STRETCH)
    found = survey_of(testdata / "sample.bam", testdata / "ref.fa", [region])
    slips = crossings = 0
    with (
        pysam.AlignmentFile(str(testdata / "sample.bam")) as reads,
        pysam.FastaFile(str(testdata / "ref.fa")) as fasta,
    ):
        repeats = find_repeats(np.frombuffer(fasta.fetch("ctg1").upper().encode(), np.uint8))
        for start, end, period in zip(repeats.start, repeats.end, repeats.period, strict=True):
            if period > 1 or not 7 <= end - start <= 12 or end > region.end:
                continue
            lengths = Counter(
                sum(
                    (length if op == pysam.CINS else -length)
                    for op, length, at in indels(read)
                    if start <= at <= end
                )
                for read in reads.fetch("ctg1", start, end)
                if not read.flag & 0xF00
                and read.mapping_quality >= 5
                and read.reference_start + CROSSING_FLANK <= start
                and end + CROSSING_FLANK <= read.reference_end
            )
            total = lengths.total()
            others = total - max(lengths.values(), default=0)
            if total >= 6 and others <= max(1, 0.2 * total):
                slips, crossings = slips + others, crossings + total
    assert crossings > 20
    assert found.slip_rate == pytest.approx((slips + 1) / (crossings + 200))


def indels(read: pysam.AlignedSegment) -> list[tuple[int, int, int]]:
    """Operation, length and position of each."""
    found, at = [], read.reference_start
    for op, length in read.cigartuples or []:
        if op in (pysam.CINS, pysam.CDEL):
            found.append((op, length, at))
        at += length if op in (pysam.CMATCH, pysam.CDEL) else 0
    return found


def write_reads(folder: Path, depths: list[int] | dict[str, list[int]]) -> tuple[Path, Path]:
    """Reads of a contig c, or of several, so many over each kilobase in turn."""
    contigs = depths if isinstance(depths, dict) else {"c": depths}
    lengths = {name: 1_000 * len(own) for name, own in contigs.items()}
    (folder / "ref.fa").write_text(
        "".join(f">{name}\n{'ACGT' * (size // 4)}\n" for name, size in lengths.items())
    )
    pysam.faidx(str(folder / "ref.fa"))
    header = pysam.AlignmentHeader.from_references(list(lengths), list(lengths.values()))
    with pysam.AlignmentFile(str(folder / "r.bam"), "wb", header=header) as out:
        for number, own in enumerate(contigs.values()):
            for at in range(0, 1_000 * len(own), 100):
                for i in range(own[at // 1_000]):
                    read = pysam.AlignedSegment(header)
                    read.query_name = f"r{at}.{i}"
                    read.reference_id, read.reference_start = number, at
                    read.mapping_quality, read.cigarstring = 60, "100M"
                    read.query_sequence = "ACGT" * 25
                    read.query_qualities = pysam.qualitystring_to_array("I" * 100)
                    out.write(read)
    pysam.index(str(folder / "r.bam"))
    return folder / "r.bam", folder / "ref.fa"


def test_a_copy_that_the_reference_lacks_is_not_usual(tmp_path: Path) -> None:
    paths = write_reads(tmp_path, [20] * 50 + [40] * 10)
    assert survey_of(*paths, [Region("c", 0, 60_000)]).depth == 20


def test_places_without_reads_do_not_count(tmp_path: Path) -> None:
    paths = write_reads(tmp_path, [0] * 40 + [20] * 20)
    assert survey_of(*paths, [Region("c", 0, 60_000)]).depth == 20


@pytest.mark.parametrize(("sigma", "is_usual"), [(0.2, True), (0.7, False)])
def test_enriched_targets_have_no_usual_depth(tmp_path: Path, sigma: float, is_usual: bool) -> None:
    rng = np.random.default_rng(1)
    paths = write_reads(tmp_path, np.rint(np.exp(rng.normal(3, sigma, 60))).astype(int).tolist())
    assert (survey_of(*paths, [Region("c", 0, 60_000)]).depth > 0) == is_usual


def test_no_reads_are_no_error(tmp_path: Path) -> None:
    paths = write_reads(tmp_path, [0] * 10)
    assert survey_of(*paths, [Region("c", 0, 10_000)]) == Survey(0.0, 1 / 200)


def test_it_looks_further_where_little_is_found(tmp_path: Path) -> None:
    """Three kilobases in a hundred have reads."""
    paths = write_reads(tmp_path, ([0] * 9 + [30] * 3 + [0] * 88) * 8)
    first = next(rounds([Region("c", 0, 800_000)], STRETCHES))
    covered = range(9_000, 800_000, 100_000)
    assert not any(s.start < at + 3_000 and at < s.end for s in first for at in covered)
    assert survey_of(*paths, [Region("c", 0, 800_000)]).depth == 30


def test_few_reads_say_nothing_of_depth(tmp_path: Path) -> None:
    paths = write_reads(tmp_path, [30] * 2)
    assert survey_of(*paths, [Region("c", 0, 1_000)]).depth == 0
    assert survey_of(*paths, [Region("c", 0, 2_000)]).depth == 30


def test_a_long_contig_has_a_depth_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "LONG_CONTIG", 12_000)
    depths = {"a": [20] * 60, "m": [100] * 5, "x": [10] * 12}
    paths = write_reads(tmp_path, depths)
    wanted = [Region(name, 0, 1_000 * len(own)) for name, own in depths.items()]
    found = survey_of(*paths, wanted)
    assert found.depth == 20
    assert found.contig_depth == {"a": 20, "x": 10}
    assert [found.usual_depth(name) for name in depths] == [20, 20, 10]
    assert survey_of(*paths, wanted[2:]) == Survey(10, found.slip_rate)


def test_cram_and_several_files_are_surveyed_alike(testdata: Path, tmp_path: Path) -> None:
    regions = [Region("ctg1", 0, 30_000), Region("ctg1", 40_000, 60_000)]
    whole = survey_of(testdata / "sample.bam", testdata / "ref.fa", regions)
    assert whole.depth > 0
    assert survey_of(testdata / "sample.cram", testdata / "ref.fa", regions) == whole
    parts = [tmp_path / "one.bam", tmp_path / "two.bam"]
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as reads:
        files = [pysam.AlignmentFile(str(part), "wb", template=reads) for part in parts]
        for i, read in enumerate(reads):
            files[i % 2].write(read)
        for file, part in zip(files, parts, strict=True):
            file.close()
            pysam.index(str(part))
    assert survey_of(parts, testdata / "ref.fa", regions) == whole


def test_the_cap_on_reads_holds(tmp_path: Path) -> None:
    paths = write_reads(tmp_path, [60] * 6)
    found = survey_of(*paths, [Region("c", 0, 6_000)], max_reads_per_partition=300)
    assert found.depth == pytest.approx(30, rel=0.02)
