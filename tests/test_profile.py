"""Profiles: counting against a slow reference, files, what is left out, plots."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner

from pileupcnn.cli.profile import profile as command
from pileupcnn.cli.profile import run_profile
from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.kernels.profile import CYCLE_BIN, ReadProfiler
from pileupcnn.kernels.repeats import MAX_UNITS, repeat_changes
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.reference import Reference, ReferenceWindow
from pileupcnn.regions import Region, partitions
from pileupcnn.repeats import LEAST_RUN, after_runs, find_repeats
from pileupcnn.simulate.profile import READS, Profile, built_in, load_profile, save_profile
from pileupcnn.simulate.profiling import learn_profile

COMPLEMENT = str.maketrans("ACGT", "TGCA")
STRETCH = Region("ctg1", 2_000, 8_000)


@pytest.fixture(scope="module")
def learned(testdata: Path) -> Profile:
    return learn_profile([testdata / "sample.bam"], testdata / "ref.fa", name="testdata")


def scanned(testdata: Path) -> tuple[ReadBatch, ReferenceWindow]:
    """The stretch's reads, and the bases under them."""
    settings = ReadSettings(min_mapping_quality=0, max_reads_per_partition=0)
    with (
        Scanner([testdata / "sample.bam"], testdata / "ref.fa", settings) as scanner,
        Reference(testdata / "ref.fa") as reference,
    ):
        batch = scanner.scan(tuple(partitions([STRETCH])))
        return batch, reference.window("ctg1", STRETCH.start - 1_000, STRETCH.end + 1_000)


def profiler(testdata: Path) -> tuple[ReadProfiler, bytes, int]:
    """A profiler that has taken the stretch's reads, all used, and the bases under them."""
    batch, window = scanned(testdata)
    found = ReadProfiler()
    ones = np.ones(len(batch), np.uint8)
    found.take(
        batch, ones, ones, window.bases, window.start, STRETCH.start, STRETCH.end
    )  # fmt: skip
    return found, window.bases.tobytes(), window.start


def stretch_reads(testdata: Path) -> list[pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(testdata / "sample.bam")) as reads:
        found = list(reads.fetch(STRETCH.contig, STRETCH.start, STRETCH.end))
    return [r for r in found if not r.flag & (pysam.FSUPPLEMENTARY | pysam.FSECONDARY)]


def test_pile_agrees_with_a_slow_count(testdata: Path) -> None:
    found, _, _ = profiler(testdata)
    slow = np.zeros((len(STRETCH), 2, 6), int)
    for read in stretch_reads(testdata):
        position, query = read.reference_start, 0
        for op, length in read.cigartuples:
            if op == pysam.CMATCH:
                for i in range(length):
                    base = "ACGT".find(read.query_sequence[query + i])
                    inside = STRETCH.start <= position + i < STRETCH.end
                    if inside and base >= 0 and read.query_qualities[query + i] >= 10:
                        slow[position + i - STRETCH.start, int(read.is_reverse), base] += 1
            elif op in (pysam.CINS, pysam.CDEL) and STRETCH.start <= position < STRETCH.end:
                kind = 5 if op == pysam.CINS else 4
                slow[position - STRETCH.start, int(read.is_reverse), kind] += 1
            position += length if op in (pysam.CMATCH, pysam.CDEL) else 0
            query += length if op in (pysam.CMATCH, pysam.CINS, pysam.CSOFT_CLIP) else 0
    assert slow[..., 4:].sum() > 20
    assert (found.pile(10) == slow).all()


def test_counts_agree_with_a_slow_count(testdata: Path) -> None:
    found, text, offset = profiler(testdata)
    rng = np.random.default_rng(1)
    masked = (rng.random(len(STRETCH)) < 0.2).astype(np.uint8)
    bases = np.frombuffer(text, np.uint8)
    state, distance = after_runs(bases)
    found.count(masked, masked, state, distance, LEAST_RUN)
    counted: Counter[tuple[int, ...]] = Counter()
    pairs: Counter[tuple[int, ...]] = Counter()
    after: Counter[tuple[int, ...]] = Counter()
    begun: Counter[tuple[int, ...]] = Counter()
    contexts: Counter[tuple[str, str, str]] = Counter()
    for read in stretch_reads(testdata):
        number, strand = int(read.is_read2), int(read.is_reverse)
        places = read.get_reference_positions(full_length=True)
        qualities, sequence = list(read.query_qualities), read.query_sequence
        mean = sum(10 ** (-q / 10) for q in qualities) / len(qualities)
        cls = sum(mean >= edge for edge in (0.0015, 0.003, 0.006, 0.015, 0.05))
        order = range(len(places))[:: -1 if strand else 1]
        previous, run = None, 0
        for cycle, i in enumerate(order):
            at, quality = places[i], qualities[i]
            place = 0
            if at is not None and cycle >= distance[strand, at - offset] + LEAST_RUN:
                place = int(state[strand, at - offset])
                run = max(run, (place + 2) // 3)
            if previous is not None and place == 0:
                pairs[number, cls, cycle // CYCLE_BIN, previous, quality] += 1
            previous = quality
            if at is None or not STRETCH.start <= at < STRETCH.end or masked[at - STRETCH.start]:
                continue
            true, base = chr(text[at - offset]), sequence[i]
            if true not in "ACGT" or base not in "ACGT":
                continue
            counted[number, cycle // CYCLE_BIN, quality, int(true != base)] += 1
            if place:
                after[place - 1, quality] += 1
            if strand:
                before = text[at - offset + 1 : at - offset + 3].decode()[::-1]
                key = tuple(s.translate(COMPLEMENT) for s in (before, true, base))
            else:
                key = (text[at - offset - 2 : at - offset].decode(), true, base)
            contexts[key] += set(key[0]) <= set("ACGT")
        begun[number, run, cls, qualities[order[0]]] += 1
    wrong = {key: n for key, n in counted.items() if key[3]}
    assert sum(wrong.values()) > 100
    assert after
    for (number, cycle, quality, _), n in wrong.items():
        assert found.counts["mismatches"][number, cycle, quality] == n
        total = n + counted[number, cycle, quality, 0]
        assert found.counts["bases"][number, cycle, quality] == total
    assert found.counts["mismatches"].sum() == sum(wrong.values())
    assert found.counts["bases"].sum() == sum(counted.values())
    assert {k: int(found.counts["next"][k]) for k in pairs} == pairs
    assert found.counts["next"].sum() == pairs.total()
    assert {k: int(found.counts["first"][k]) for k in begun} == begun
    assert len({run for _, run, _, _ in begun}) > 2
    assert {k: int(found.counts["bases_after_run"][k]) for k in after} == after
    context = found.counts["context"].sum(axis=0)
    for (before, true, base), n in contexts.items():
        if n:
            row = 4 * "ACGT".index(before[0]) + "ACGT".index(before[1])
            assert context[row, "ACGT".index(true), "ACGT".index(base)] == n


def test_repeat_changes_agree_with_a_slow_count(testdata: Path) -> None:
    batch, window = scanned(testdata)
    repeats = find_repeats(window.bases)
    start, end = repeats.start + window.start, repeats.end + window.start
    slow = np.zeros((len(repeats), 2 * MAX_UNITS + 2), int)
    for read in stretch_reads(testdata):
        events, position = [], read.reference_start
        for op, length in read.cigartuples:
            if op in (pysam.CINS, pysam.CDEL):
                events.append((position, length if op == pysam.CINS else -length))
            position += length if op in (pysam.CMATCH, pysam.CDEL) else 0
        for row in range(len(repeats)):
            if read.reference_start + 10 <= start[row] and end[row] + 10 <= read.reference_end:
                change = sum(c for at, c in events if start[row] <= at <= end[row])
                units, rest = divmod(change, int(repeats.period[row]))
                column = units + MAX_UNITS if not rest and abs(units) <= MAX_UNITS else -1
                slow[row, column] += 1
    assert slow[:, :MAX_UNITS].sum() > 10
    assert slow[:, -1].sum() > 0
    used = np.ones(len(batch), np.uint8)
    assert (repeat_changes(batch, used, start, end, repeats.period, 10) == slow).all()


def test_after_runs_marks_both_directions() -> None:
    text = b"GATC" * 3 + b"A" * 12 + b"GCTC" * 35
    state, distance = after_runs(np.frombuffer(text, np.uint8))
    assert state[0].tolist() == [0] * 24 + [4] * 15 + [5] * 25 + [6] * 60 + [0] * 40
    assert distance[0].tolist() == [0] * 24 + list(range(1, 101)) + [0] * 40
    assert state[1].tolist() == [4] * 12 + [0] * 152
    assert distance[1].tolist() == list(range(12, 0, -1)) + [0] * 152


def test_what_the_simulator_put_in_comes_out(learned: Profile) -> None:
    mean, deviation = learned.insert_moments()
    assert mean == pytest.approx(450, abs=8)
    assert deviation == pytest.approx(100, abs=6)
    assert learned.read_length(1) == learned.read_length(2) == 150
    assert learned.qualities.tolist() == [2, 7, 11, 22, 27, 32, 37, 41]
    # errors at the rate that qualities claim; the aligner clips some at the ends of reads
    rate = learned.mismatches.sum(axis=(0, 1)) / learned.bases.sum(axis=(0, 1))
    claimed = 10 ** (-learned.qualities.astype(float) / 10)
    assert rate[1:5] == pytest.approx(claimed[1:5], rel=0.2)
    # no variant is left among the errors: 170 heterozygous ones would be 2,500 of them
    assert rate[-1] == pytest.approx(claimed[-1], rel=0.6)
    assert learned.share("duplicates") == 0
    assert learned.share("unmarked") < 1e-3
    assert learned.repeats[:, :, 1].sum() < 0.2 * learned.repeats.sum()
    assert learned.balance[0] > 50


def test_stutter_grows_with_length(learned: Profile) -> None:
    counts = learned.stutter[0].astype(float)
    slipped = counts.sum(axis=1) - counts[:, MAX_UNITS]
    short, long = slice(4, 8), slice(9, 18)
    assert slipped[short].sum() / counts[short].sum() < 0.005
    assert 0.005 < slipped[long].sum() / counts[long].sum() < 0.1


def test_file_is_small_read_back_and_the_same_each_time(learned: Profile, tmp_path: Path) -> None:
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    save_profile(learned, first)
    save_profile(learned, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 200_000
    found = load_profile(str(first))
    for field in dataclasses.fields(Profile):
        assert np.array_equal(getattr(found, field.name), getattr(learned, field.name)), field.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def rewrite(path: Path, **changes: object) -> None:
    """Replace arrays of a profile; None removes one."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = np.asarray(value)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def header(**values: object) -> np.ndarray:
    fields = {"format": "pileupcnn-profile", "version": 1, "name": "x"} | values
    return np.frombuffer(json.dumps(fields).encode(), np.uint8)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"header": None}, "no profile"),
        ({"header": header(format="other")}, "no profile"),
        ({"header": header(version=2)}, "version 2"),
        ({"header": header(name=7)}, "no name"),
        ({"reads": None}, "reads"),
        ({"extra": [1]}, "extra"),
        ({"reads": [1.5] * 6}, "float64"),
        ({"reads": np.ones(5, np.uint8)}, "shape"),
        ({"inserts": np.zeros(2_001, np.uint8)}, "no pairs"),
        ({"qualities": np.full(8, 30, np.uint8)}, "ascend"),
        ({"next": np.ones((1,), np.uint8)}, "qualities or cycles"),
    ],
)
def test_damaged_profiles_are_refused(
    learned: Profile, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    path = tmp_path / "p.npz"
    save_profile(learned, path)
    rewrite(path, **changes)
    with pytest.raises(InputError, match=says):
        load_profile(str(path))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04half"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="built-in"):
        load_profile(str(path))
    with pytest.raises(InputError, match="built-in"):
        load_profile("absent")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        load_profile(str(path))


def test_regions_without_reads_are_an_input_error(testdata: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no properly paired reads"):
        run_profile(
            testdata / "ref.fa",
            [testdata / "sample.bam"],
            tmp_path / "p.npz",
            regions=["ctg1:30,001-30,010"],
        )
    assert not (tmp_path / "p.npz").exists()
    with pytest.raises(OptionError, match="npz"):
        run_profile(testdata / "ref.fa", [testdata / "sample.bam"], tmp_path / "p.json")
    with pytest.raises(OutputError, match="--output"):
        run_profile(
            testdata / "ref.fa",
            [testdata / "sample.bam"],
            tmp_path / "absent" / "p.npz",
            regions=["ctg2"],
        )


def test_command_line(testdata: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.npz"
    arguments = ["--ref", str(testdata / "ref.fa"), "--reads", str(testdata / "sample.cram")]
    arguments += ["--output", str(output), "--regions", "ctg2"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "reads" in result.output
    found = load_profile(str(output))
    assert found.name == "p"
    assert 3_000 < found.reads[READS.index("reads")] < 5_000


def test_plots_are_drawn(learned: Profile, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib (the extra 'report')")
    from pileupcnn.simulate.plots import plot_profile

    plot_profile(learned, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="--plot"):
        plot_profile(learned, tmp_path / "p.wrong")


def test_plots_need_matplotlib(
    testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match="report"):
        run_profile(
            testdata / "ref.fa",
            [testdata / "sample.bam"],
            tmp_path / "p.npz",
            plot=tmp_path / "p.png",
        )


def test_built_in_profiles_load() -> None:
    assert built_in() == ["hiseqx", "novaseq"]
    assert load_profile("novaseq").read_length(1) == 150
    hiseqx = load_profile("hiseqx")
    assert (hiseqx.read_length(1), hiseqx.read_length(2)) == (128, 150)
