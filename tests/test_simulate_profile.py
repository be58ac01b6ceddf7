"""Reads that follow a profile: what the profile says comes out again, artefacts one by one."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pysam
import pytest

from pileupcnn.cli.simulate import run_simulate
from pileupcnn.errors import InputError, OptionError
from pileupcnn.kernels.repeats import MAX_UNITS
from pileupcnn.kernels.sequencer import Sequencer
from pileupcnn.regions import Region
from pileupcnn.repeats import find_repeats
from pileupcnn.simulate.donor import Donor, Segment
from pileupcnn.simulate.errors import PCR, plain_tables, profile_tables, unevenness
from pileupcnn.simulate.libraries import SequencingSettings, plan_library
from pileupcnn.simulate.population import PopulationSettings, invent
from pileupcnn.simulate.profile import UNITS, Profile, load_profile
from pileupcnn.simulate.profiling import learn_profile
from pileupcnn.simulate.qualities import PlainQualities
from pileupcnn.simulate.reads import make_template, simulate_fastq

needs_bwa = pytest.mark.skipif(shutil.which("bwa") is None, reason="needs bwa (apt install bwa)")

LENGTH = 60_000


def with_runs(length: int, seed: int = 1, spacing: int = 300) -> bytes:
    """Random sequence with a homopolymer of 6 to 18 bp every `spacing` bp or so."""
    rng = np.random.default_rng(seed)
    pieces: list[bytes] = []
    acgt = np.frombuffer(b"ACGT", np.uint8)
    for _ in range(length * 2 // spacing + 2):
        pieces.append(acgt[rng.integers(0, 4, int(rng.integers(spacing // 2, spacing)))].tobytes())
        pieces.append(acgt[rng.integers(4)].tobytes() * int(rng.integers(6, 19)))
    return b"".join(pieces)[:length]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "ref.fa"
    path.write_text(f">one\n{with_runs(LENGTH, spacing=2_000).decode()}\n")
    pysam.faidx(str(path))
    return path


def one_segment(bases: bytes) -> Donor:
    sequence = np.frombuffer(bases, np.uint8)
    return Donor([Segment(Region("one", 0, len(bases)), bases, [], (sequence, sequence))], [])


def reads_of(
    bases: bytes, profile: Profile | None, seed: int = 1, **options: object
) -> list[tuple[str, str, str]]:
    """Name with its comment, bases and qualities of each read, mates by turns."""
    settings = SequencingSettings(**options)  # type: ignore[arg-type]
    qualities = None if profile else PlainQualities()
    rng = np.random.default_rng(seed)
    text = b"".join(simulate_fastq(one_segment(bases), settings, qualities, rng, profile))
    lines = text.decode().splitlines()
    return list(zip(lines[::4], lines[1::4], lines[3::4], strict=True))


@needs_bwa
@pytest.mark.parametrize("name", ["novaseq", "hiseqx"])
def test_a_profile_comes_out_again(name: str, reference: Path, tmp_path: Path) -> None:
    output = tmp_path / "donor"
    run_simulate(reference, output, profile=name, depth=60, snp_rate=5e-4, seed=2)
    wanted, found = load_profile(name), learn_profile([output / "reads.bam"], reference)
    assert [found.read_length(n) for n in (1, 2)] == [wanted.read_length(n) for n in (1, 2)]
    for got, want in zip(found.insert_moments(), wanted.insert_moments(), strict=True):
        assert got == pytest.approx(want, rel=0.1)
    assert set(found.qualities.tolist()) <= set(wanted.qualities.tolist())

    def by_quality(profile: Profile) -> dict[int, tuple[float, float]]:
        bases = profile.bases.sum(axis=(0, 1)).astype(float)
        wrong = profile.mismatches.sum(axis=(0, 1)).astype(float)
        return {
            int(q): (w / max(b, 1), b / bases.sum())
            for q, w, b in zip(profile.qualities, wrong, bases, strict=True)
        }

    mine, theirs = by_quality(found), by_quality(wanted)
    for quality, (rate, share) in theirs.items():
        if share > 0.005:
            assert mine[quality][0] == pytest.approx(rate, rel=0.35), quality
            assert mine[quality][1] == pytest.approx(share, rel=0.5), quality
    # a seventh of the reads slip in those of an amplified library, too few in others
    units = slice(9, 14) if name == "hiseqx" else slice(4, 14)
    moved = np.delete(found.stutter[0, units], MAX_UNITS, axis=1).sum()
    slipped = moved / found.stutter[0, units].sum()
    chance = profile_tables(wanted, 1.0, 1.0).slips[0, units].sum(axis=1)
    reads = found.stutter[0, units].sum(axis=1)
    assert slipped == pytest.approx(float((chance * reads).sum() / reads.sum()), rel=0.4)
    if name == "hiseqx":  # there are errors enough to compare contexts
        rates = [
            p.context.sum(axis=0) / p.context.sum(axis=(0, 3))[:, :, None] for p in (found, wanted)
        ]
        errors = [rate[:, ~np.eye(4, dtype=bool)].ravel() for rate in rates]
        assert np.corrcoef(*errors)[0, 1] > 0.8
    assert found.share("unmarked") == pytest.approx(wanted.share("unmarked"), abs=0.05)
    assert found.clips[:, 20:].sum() / found.clips.sum() == pytest.approx(
        wanted.clips[:, 20:].sum() / wanted.clips.sum(), abs=0.02
    )


def test_tables_are_chances() -> None:
    for name in ("novaseq", "hiseqx"):
        tables = profile_tables(load_profile(name), 1.0, 1.0)
        for table in (tables.classes, tables.first, tables.next, tables.after, tables.wrong):
            assert table is not None
            assert np.isfinite(table).all()
            assert (np.diff(table, axis=-1) >= 0).all()
            assert (table[..., -1] > 1).all()
        assert tables.accepted.min() > 0
        assert tables.accepted.max(axis=0) == pytest.approx(np.ones((16, 4)))
        # what is read in error is never the true base
        steps = np.diff(np.minimum(tables.wrong, 1), axis=-1, prepend=0)
        assert steps[:, :, range(4), range(4)].max() < 1e-6
        assert 0 <= tables.rate.min() <= tables.rate.max() <= 0.75
        assert (tables.slips.sum(axis=2) <= 0.5 + 1e-6).all()


def test_a_profile_of_hardly_any_reads_still_simulates(testdata: Path) -> None:
    small = learn_profile([testdata / "sample.bam"], testdata / "ref.fa", ["ctg2:9,000-9,050"])
    records = reads_of(with_runs(8_000), small, depth=5)
    assert len(records) > 100
    assert {ord(c) - 33 for _, _, q in records for c in q} <= set(small.qualities.tolist())


def test_reads_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("hiseqx")
    library = plan_library(SequencingSettings(), profile, np.random.default_rng(1))
    sequence = np.frombuffer(with_runs(5_000), np.uint8)
    start = np.arange(100, 4_000, 37)
    count = len(start)

    def read(first: int, last: int) -> bytes:
        sequencer = Sequencer(library.tables, 11)
        sequencer.take(make_template(sequence, library))
        rows = slice(first, last)
        return sequencer.pairs(
            start[rows],
            start[rows] + 400,
            np.zeros(count, np.uint8)[rows],
            np.arange(count, dtype=np.uint64)[rows],
            np.full((count, 2), 100, np.int32)[rows],
            np.zeros((count, 2, 2), np.int32)[rows],
            np.full(count, -1, np.int16)[rows],
            first,
        )

    assert read(0, 40) + read(40, count) == read(0, count)


def test_short_fragments_end_in_adapter() -> None:
    bases = with_runs(20_000)
    records = reads_of(
        bases, load_profile("novaseq"), depth=20, error_scale=0, foreign_rate=0, read_length=150
    )
    adapters = ("AGATCGGAAGAGCACACGTCTG", "AGATCGGAAGAGCGTCGTGTAG")
    shown = [sum(a in read for _, read, _ in records[n::2]) for n, a in enumerate(adapters)]
    wanted = load_profile("novaseq").inserts[40:128].sum() / load_profile("novaseq").inserts.sum()
    for count in shown:
        assert count / (len(records) / 2) == pytest.approx(float(wanted), abs=0.004)


# ---- each artefact alone ----


def test_error_and_stutter_scales() -> None:
    bases = b"G" + b"T" * 16 + b"C"
    bases = with_runs(1_500, 3) + bases + with_runs(1_500, 4)
    runs = find_repeats(np.frombuffer(bases, np.uint8))
    profile = load_profile("hiseqx")
    one, two, none = (profile_tables(profile, s, s).slippage(runs)[:, -2] for s in (1, 2, 0))
    assert (two >= one).all()
    assert (none == 0).all()
    assert two[one < 0.2] == pytest.approx(2 * one[one < 0.2], rel=1e-4)
    with pytest.raises(OptionError, match="--pcr"):
        plan_library(SequencingSettings(pcr=True), profile, np.random.default_rng(1))
    assert plain_tables(PCR, 1.0, 1.0, 0.0).slips.shape == (4, UNITS, 2 * MAX_UNITS)


def test_after_a_homopolymer_some_bases_are_hard_for_all_reads() -> None:
    profile = load_profile("novaseq")
    library = plan_library(SequencingSettings(stutter_scale=0), profile, np.random.default_rng(1))
    rng = np.random.default_rng(5)
    acgt = np.frombuffer(b"ACGT", np.uint8)
    run = np.full(20, ord("A"), np.uint8)
    sequence = np.concatenate((acgt[rng.integers(0, 4, 50)], run, acgt[rng.integers(0, 4, 400)]))
    sequencer = Sequencer(library.tables, 11)
    sequencer.take(make_template(sequence, library))
    count = 4_000
    text = sequencer.pairs(
        np.zeros(count, np.int64),
        np.full(count, 400),
        np.zeros(count, np.uint8),
        np.arange(count, dtype=np.uint64),
        np.full((count, 2), 140, np.int32),
        np.zeros((count, 2, 2), np.int32),
        np.full(count, -1, np.int16),
        0,
    )
    lines = text.splitlines()
    reads = np.array([list(line) for line in lines[1::8]], np.uint8)[:, 75:]
    scores = np.array([list(line) for line in lines[3::8]], np.uint8)[:, 75:] - 33
    wrong = reads != sequence[75:140]
    errors = wrong.sum(axis=0)
    hard = np.argsort(errors)[-len(errors) // 5 :]
    assert errors[hard].sum() > 0.6 * errors.sum()
    assert np.median(errors[hard]) > 0.1 * count
    assert (scores[wrong] < 15).mean() > 0.8
    for at in hard[errors[hard] > 0.1 * count]:
        seen = np.bincount(reads[wrong[:, at], at])
        assert seen.max() > 0.9 * errors[at]


def test_foreign_ends_only_where_asked() -> None:
    bases = with_runs(20_000)
    complement = bases.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1].decode()
    forward = bases.decode()
    options: dict[str, object] = {"error_scale": 0, "indel_rate": 0, "stutter_scale": 0}

    def broken(rate: float) -> float:
        reads = [read for _, read, _ in reads_of(bases, None, foreign_rate=rate, **options)]
        return float(np.mean([r not in forward and r not in complement for r in reads]))

    assert broken(0.0) == 0
    assert broken(0.2) == pytest.approx(0.2, abs=0.03)


def test_duplicates_share_what_the_polymerase_did() -> None:
    bases = with_runs(20_000)
    profile = dataclasses.replace(load_profile("novaseq"))
    records = reads_of(
        bases, profile, duplicate_rate=0.3, error_scale=0, stutter_scale=20, foreign_rate=0.05
    )
    pairs = [(a[1], b[1]) for a, b in zip(records[::2], records[1::2], strict=True)]
    assert len(set(pairs)) / len(pairs) == pytest.approx(0.7, abs=0.03)


def test_low_mapping_qualities_come_in_stretches() -> None:
    profile = load_profile("hiseqx")
    records = reads_of(with_runs(200_000), profile, depth=10, low_mapping_quality=0.2)
    marked = [" mq:i:" in name for name, _, _ in records]
    assert np.mean(marked) == pytest.approx(0.2, abs=0.1)
    values = [int(name.rpartition(":")[2]) for name, _, _ in records if " mq:i:" in name]
    assert max(values) < 60
    usual = reads_of(with_runs(200_000), profile, depth=10, low_mapping_quality=0)
    assert not any(" " in name for name, _, _ in usual)


def test_imbalance_spreads_the_haplotypes() -> None:
    first = with_runs(200_000)
    second = with_runs(200_000, 9)
    arrays = tuple(np.frombuffer(text, np.uint8) for text in (first, second))
    donor = Donor([Segment(Region("one", 0, len(first)), first, [], arrays)], [])

    places = {first[i : i + 40]: i for i in range(len(first) - 40)}

    def spread(imbalance: float) -> float:
        rng = np.random.default_rng(1)
        settings = SequencingSettings(imbalance=imbalance, error_scale=0, indel_rate=0)
        text = b"".join(simulate_fastq(donor, settings, PlainQualities(), rng))
        at = [places.get(read[:40], -1) for read in text.splitlines()[1::4]]
        depth = np.bincount([p // 500 for p in at if p >= 0], minlength=400)[2:-2]
        return float(depth.std() / depth.mean())

    assert spread(0.6) > 1.5 * spread(0.0)
    haplotype, both = unevenness(load_profile("hiseqx"))
    assert 0.1 < haplotype < 0.3
    assert 0 <= both < 0.3


@needs_bwa
def test_contamination_is_another_persons(reference: Path, tmp_path: Path) -> None:
    def strange(share: float) -> float:
        output = tmp_path / f"donor{share}"
        run_simulate(
            reference, output, depth=60, contamination=share, population=False, error_scale=0
        )
        with pysam.VariantFile(str(output / "truth.vcf.gz")) as truth:
            assert not list(truth)
        with pysam.AlignmentFile(str(output / "reads.bam")) as reads:
            return float(np.mean([read.get_tag("NM") > 0 for read in reads]))

    clean, dirty = strange(0.0), strange(0.1)
    # one SNP in 1,000 bp: a seventh of the foreign reads have one
    assert 0.004 < dirty - clean < 0.04


def test_neighbours_change_together() -> None:
    bases = with_runs(200_000)
    settings = PopulationSettings(snp_rate=2e-3, cluster_share=0, mnp_share=0.3, two_alt_snps=0)
    region = Region("one", 0, len(bases))
    taken = np.zeros(len(bases), bool)
    found = sorted(
        invent(region, bases, settings, taken, np.random.default_rng(1)), key=lambda v: v.start
    )
    snps = {v.start: v for v in found if {len(a) for a in v.alleles} == {1}}
    pairs = [(v, snps[v.start + 1]) for v in snps.values() if v.start + 1 in snps]
    assert len(pairs) > 60
    assert np.mean([a.genotype == b.genotype for a, b in pairs]) > 0.95


# ---- options ----


def test_options_that_contradict_each_other(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--qualities-from"):
        run_simulate(reference, tmp_path / "d", profile="novaseq", qualities_from="x.bam")
    with pytest.raises(OptionError, match="--pcr"):
        run_simulate(reference, tmp_path / "d", profile="novaseq", pcr=True)
    with pytest.raises(InputError, match="hiseqx, novaseq"):
        run_simulate(reference, tmp_path / "d", profile="absent")
    assert not (tmp_path / "d").exists()
