"""Simulated donors: variants, haplotypes, reads, masking, resuming."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import time
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pileupcnn.cli.simulate import run_simulate
from pileupcnn.cli.simulate import simulate as command
from pileupcnn.cli.train import run_train
from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.reference import Reference
from pileupcnn.regions import Region
from pileupcnn.repeats import find_repeats
from pileupcnn.simulate.alignment import _lines
from pileupcnn.simulate.donor import (
    HELD_OUT,
    Donor,
    DonorSettings,
    Segment,
    apply,
    make_donor,
    subtract,
)
from pileupcnn.simulate.errors import PCR, PCR_FREE, plain_tables
from pileupcnn.simulate.libraries import SequencingSettings
from pileupcnn.simulate.population import MAX_INDEL, PopulationSettings, invent
from pileupcnn.simulate.qualities import PlainQualities, sample_qualities, source_identity
from pileupcnn.simulate.reads import simulate_fastq
from pileupcnn.simulate.run import Simulation, refuse_scoring
from pileupcnn.simulate.variants import (
    DonorVariant,
    normalise,
    phased,
    settle,
    shift_end,
    write_truth,
)
from pileupcnn.vcf import TruthReader, TruthVariant

needs_bwa = pytest.mark.skipif(shutil.which("bwa") is None, reason="needs bwa (apt install bwa)")

DENSE = PopulationSettings(snp_rate=3e-3, indel_rate=1e-3, two_alt_indels=0.3, two_alt_snps=0.05)
EXACT = SequencingSettings(error_scale=0, indel_rate=0)


def random_bases(length: int, seed: int = 1) -> bytes:
    rng = np.random.default_rng(seed)
    return np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, length)].tobytes()


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A contig with repeats and one without; the second one's first half is N."""
    first = random_bases(20_000) + b"A" * 15 + random_bases(5_000, 2) + b"AC" * 12
    first += random_bases(5_000, 3)
    second = b"N" * 6_000 + random_bases(6_000, 4)
    path = tmp_path / "ref.fa"
    path.write_text(f">one\n{first.decode()}\n>two\n{second.decode().lower()}\n")
    pysam.faidx(str(path))
    return path


def one_segment(bases: bytes) -> Donor:
    sequence = np.frombuffer(bases, np.uint8)
    region = Region("c", 0, len(bases))
    return Donor([Segment(region, bases, [], (sequence, sequence))], [])


def parse_fastq(text: bytes) -> list[tuple[str, str, str]]:
    lines = text.decode().splitlines()
    assert all(line.startswith("@") for line in lines[::4])
    return list(zip(lines[::4], lines[1::4], lines[3::4], strict=True))


# ---- repeats ----


def test_repeats_of_each_period() -> None:
    text = b"GCAAAAAGTCACACACTGGTAGTAGTAGCCTTCCTTCCTTCGNNNNNNACGT"
    found = find_repeats(np.frombuffer(text, np.uint8))
    listed = [
        (text[a:b].decode(), p)
        for a, b, p in zip(found.start, found.end, found.period, strict=True)
    ]
    assert listed == [("AAAAA", 1), ("CACACAC", 2), ("GTAGTAGTAG", 3), ("CCTTCCTTCCTTC", 4)]
    assert found.units.tolist() == [5, 3, 3, 3]


@given(st.text(alphabet="ACN", max_size=60))
def test_repeats_agree_with_a_slow_search(text: str) -> None:
    found = find_repeats(np.frombuffer(text.encode(), np.uint8))
    slow = set()
    for period, least in ((1, 4), (2, 3), (3, 3), (4, 3)):
        for start in range(len(text)):
            end = start + period
            while end < len(text) and text[end] == text[end - period]:
                end += 1
            unit = text[start : start + period]
            before = start - 1
            starts_here = start == 0 or text[before] != text[before + period : start + period]
            plain = all(unit != unit[:k] * (period // k) for k in (1, 2) if k < period)
            whole = "N" not in text[start:end] and end - start >= period * least
            if starts_here and plain and whole:
                slow.add((start, end, period))
    listed = zip(found.start, found.end, found.period, strict=True)
    assert {tuple(map(int, repeat)) for repeat in listed} == slow


def test_long_repeats_slip_more() -> None:
    runs = find_repeats(np.frombuffer(b"G".join(b"A" * n for n in (5, 10, 15, 20)), np.uint8))
    free, twice, amplified = (
        plain_tables(stutter, scale, 1.0, 0.0).slippage(runs)
        for stutter, scale in ((PCR_FREE, 1.0), (PCR_FREE, 2.0), (PCR, 1.0))
    )
    assert free[:, -2] == pytest.approx([5e-4, 0.01, 0.04, 0.08])
    assert (amplified[:, -2] > 3 * free[:, -2]).all()
    assert twice[:, -2] == pytest.approx([1e-3, 0.02, 0.08, 0.16])
    assert (free[:, -1] == 1).all()


# ---- variants ----


@given(st.data())
@settings(max_examples=300)
def test_normalise_keeps_the_haplotype_and_is_leftmost(data: st.DataObject) -> None:
    bases = data.draw(st.text(alphabet="AC", min_size=2, max_size=30))
    start = data.draw(st.integers(0, len(bases) - 1))
    ref = bases[start : start + data.draw(st.integers(1, 6))]
    alt = data.draw(st.text(alphabet="AC", min_size=1, max_size=6))
    found = normalise(bases.encode(), start, (ref, alt)) if ref != alt else None
    if found is None:
        return
    at, (new_ref, new_alt) = found
    assert bases[at : at + len(new_ref)] == new_ref
    assert (
        bases[:at] + new_alt + bases[at + len(new_ref) :]
        == bases[:start] + alt + bases[start + len(ref) :]
    )
    assert new_ref[-1] != new_alt[-1] or min(len(new_ref), len(new_alt)) == 0
    assert min(len(new_ref), len(new_alt)) == 1 or new_ref[0] != new_alt[0]
    assert normalise(bases.encode(), at, (new_ref, new_alt)) == found


def test_shift_end_spans_the_repeat() -> None:
    bases = b"GCAAAAATG"
    assert shift_end(bases, 1, ("CA", "C")) == 7
    assert shift_end(bases, 1, ("C", "CAA")) == 7
    assert shift_end(bases, 1, ("CAA", "CA", "C")) == 7
    assert shift_end(bases, 7, ("T", "C")) == 8


def test_settle_drops_conflicts_wrong_references_and_unused_alts() -> None:
    region, bases = Region("c", 100, 110), b"GCAAAAATGC"
    kept = settle(
        [
            DonorVariant("c", 104, ("AA", "A"), (0, 1)),  # left-aligned to 101
            DonorVariant("c", 102, ("A", "T"), (1, 1)),  # overlaps it
            DonorVariant("c", 107, ("T", "A", "C"), (0, 2)),  # one ALT unused
            DonorVariant("c", 108, ("T", "A"), (0, 1)),  # the reference has G
            DonorVariant("c", 99, ("A", "C"), (0, 1)),  # outside
            DonorVariant("c", 109, ("CA", "C"), (0, 1)),  # reaches out
        ],
        bases,
        region,
    )
    assert kept == [
        DonorVariant("c", 101, ("CA", "C"), (0, 1)),
        DonorVariant("c", 107, ("T", "C"), (0, 1)),
    ]
    assert apply(bases, kept, region, 0).tobytes() == bases
    assert apply(bases, kept, region, 1).tobytes() == b"GCAAAACGC"


def test_written_truth_is_read_back(tmp_path: Path) -> None:
    variants = [
        DonorVariant("c", 4, ("A", "C", "T"), (2, 1)),
        DonorVariant("c", 9, ("AC", "A"), (1, 1)),
        DonorVariant("c", 20, ("G", "GTT"), (0, 1)),
    ]
    path = tmp_path / "truth.vcf.gz"
    write_truth(path, variants, {"c": 100, "d": 50}, "me")
    rng = np.random.default_rng(1)
    with TruthReader(path) as truth:
        found = phased(truth.fetch(Region("c", 0, 100)), rng)
    assert [(v.start, v.alleles) for v in found] == [(v.start, v.alleles) for v in variants]
    assert [sorted(v.genotype) for v in found] == [[1, 2], [1, 1], [0, 1]]


def test_truth_gets_both_phases_and_absent_variants_go() -> None:
    truth = [
        TruthVariant("c", 4, ("A", "C"), (0, 1)),
        TruthVariant("c", 5, ("A", "C"), (0, 0)),
        TruthVariant("c", 6, ("A", "C"), (-1, 1)),
    ]
    drawn = [phased(truth, np.random.default_rng(seed)) for seed in range(20)]
    assert {len(variants) for variants in drawn} == {1}
    assert {variants[0].genotype for variants in drawn} == {(0, 1), (1, 0)}


def test_invented_variants_are_of_all_kinds() -> None:
    bases = random_bases(100_000) + b"A" * 12 + random_bases(100_000, 2)
    region = Region("c", 0, len(bases))
    taken = np.zeros(len(bases), bool)
    taken[:50_000] = True
    found = invent(region, bases, DENSE, taken, np.random.default_rng(1))
    assert all(v.start >= 50_000 for v in found)
    snps = [v for v in found if {len(a) for a in v.alleles} == {1}]
    indels = [v for v in found if v not in snps]
    assert 300 < len(snps) < 700
    assert 70 < len(indels) < 200
    assert sum(len(v.alleles) == 3 for v in found) > 5
    assert max(max(map(len, v.alleles)) for v in indels) <= MAX_INDEL + 1
    hom = sum(v.genotype == (1, 1) for v in found) / len(found)
    assert hom == pytest.approx(1 / 2.6, abs=0.08)
    assert settle(found, bases, region) == sorted(found, key=lambda v: v.start)


# ---- donors ----


def test_haplotypes_hold_exactly_the_truth(reference: Path) -> None:
    with Reference(reference) as fasta:
        regions = [Region("one", 0, 30_039), Region("two", 0, 12_000)]
        donor = make_donor(
            fasta, regions, DonorSettings(population=DENSE), np.random.default_rng(3)
        )
        for segment, region in zip(donor.segments, regions, strict=True):
            assert segment.variants
            for haplotype in (0, 1):
                text = fasta.fetch(region.contig, region.start, region.end).decode()
                for variant in reversed(segment.variants):
                    allele = variant.alleles[variant.genotype[haplotype]]
                    assert text[variant.start : variant.end] == variant.alleles[0]
                    text = text[: variant.start] + allele + text[variant.end :]
                assert segment.haplotypes[haplotype].tobytes().decode() == text


def test_confident_regions_leave_edges_and_n_out(reference: Path) -> None:
    with Reference(reference) as fasta:
        donor = make_donor(
            fasta,
            [Region("one", 100, 20_000), Region("two", 0, 12_000)],
            DonorSettings(population=None),
            np.random.default_rng(3),
        )
    confident = [region for segment in donor.segments for region in segment.confident()]
    assert confident == [Region("one", 1_100, 19_000), Region("two", 6_000, 11_000)]


def test_iupac_bases_are_resolved(tmp_path: Path) -> None:
    bases = random_bases(3_000)
    path = tmp_path / "ref.fa"
    path.write_text(f">c\n{bases[:1500].decode()}R{bases[1501:].decode()}\n")
    pysam.faidx(str(path))
    with Reference(path) as fasta:
        settings_ = DonorSettings(population=None)
        donor = make_donor(fasta, [Region("c", 0, 3_000)], settings_, np.random.default_rng(1))
    first, second = donor.segments[0].haplotypes
    assert chr(first[1500]) in "AG"
    assert first.tobytes() == second.tobytes()


def test_held_out_regions_are_masked() -> None:
    assert set(HELD_OUT) == {
        Region("chr20", 4_990_000, 6_010_000),
        Region("chr20", 6_990_000, 8_010_000),
        Region("chr20", 10_000_000, 10_100_000),
        Region("chr21", 16_700_000, 16_800_000),
        Region("20", 20_525_000, 20_605_000),
    }
    left = subtract([Region("chr20", 0, 10_000_000), Region("chr21", 0, 9_000_000)], HELD_OUT)
    assert left == [
        Region("chr20", 0, 4_990_000),
        Region("chr20", 6_010_000, 6_990_000),
        Region("chr20", 8_010_000, 10_000_000),
        Region("chr21", 0, 9_000_000),
    ]
    assert subtract([Region("chr20", 5_000_000, 6_000_000)], HELD_OUT) == []


def test_long_regions_are_sequenced_in_pieces(
    reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pileupcnn.simulate.run.LONGEST_SEGMENT", 5_000)
    simulation = Simulation(reference, ("one:1,001-12,000",))
    with Reference(reference) as fasta:
        pieces = simulation.covered(fasta)
        donor = make_donor(fasta, pieces, DonorSettings(), np.random.default_rng(1))
    assert [(piece.start, piece.end) for piece in pieces] == [
        (1_000, 6_000),
        (6_000, 11_000),
        (11_000, 12_000),
    ]
    # the last is too short to be confident anywhere
    assert [segment.region for segment in donor.segments] == pieces[:2]


def test_no_region_left_is_an_option_error(reference: Path) -> None:
    with Reference(reference) as fasta, pytest.raises(OptionError, match="no region"):
        make_donor(fasta, [Region("two", 0, 7_000)], DonorSettings(), np.random.default_rng(1))


def test_duplications_are_diverged_copies(reference: Path) -> None:
    with Reference(reference) as fasta:
        donor = make_donor(
            fasta,
            [Region("one", 0, 20_000)],
            DonorSettings(population=None, duplications=5),
            np.random.default_rng(1),
        )
    assert len(donor.copies) == 5
    bases = donor.segments[0].bases
    for copy in donor.copies:
        inner = copy[1_000:-1_000].tobytes()
        assert 900 < len(inner) < 5_200
        # most 12-mers are the reference's: about 2 % of the bases differ
        words = [inner[i : i + 12] in bases for i in range(0, len(inner) - 12, 7)]
        assert 0.5 < np.mean(words) < 0.97


# ---- reads ----


def test_reads_without_errors_are_the_haplotype() -> None:
    bases = random_bases(20_000)
    chunks = simulate_fastq(one_segment(bases), EXACT, PlainQualities(), np.random.default_rng(2))
    records = parse_fastq(b"".join(chunks))
    assert len(records) * 150 / len(bases) == pytest.approx(30, rel=0.15)
    names = [name for name, _, _ in records]
    assert names[::2] == names[1::2]
    assert len(set(names)) == len(names) / 2
    complement = bases.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1].decode()
    forward = bases.decode()
    on_forward = [read in forward for _, read, _ in records]
    # a random sequence has few and short repeats, which hardly slip
    assert (
        np.mean([f or r in complement for f, (_, r, _) in zip(on_forward, records, strict=True)])
        > 0.99
    )
    assert np.mean(on_forward) == pytest.approx(0.5, abs=0.05)
    pairs = zip(on_forward[::2], on_forward[1::2], strict=True)
    assert np.mean([a != b for a, b in pairs]) > 0.98


def test_error_rate_is_what_qualities_claim() -> None:
    bases = random_bases(30_000)
    table = bytes.maketrans(b"ACGT", b"TGCA")
    exact, noisy = (
        parse_fastq(
            b"".join(
                simulate_fastq(
                    one_segment(bases),
                    SequencingSettings(error_scale=scale, indel_rate=0),
                    PlainQualities(),
                    np.random.default_rng(2),
                )
            )
        )
        for scale in (0.0, 1.0)
    )
    forward, reverse = bases.decode(), bases.translate(table)[::-1].decode()
    assert all(r in forward or r in reverse for _, r, _ in exact[:200])
    wrong = claimed = total = 0.0
    for _, read, quality in noisy[:3_000]:
        for strand in (forward, reverse):
            # found by any error-free 30-mer
            for offset in range(0, 121, 30):
                at = strand.find(read[offset : offset + 30]) - offset
                if at >= 0 and at + offset >= offset:
                    truth = strand[at : at + 150]
                    wrong += sum(a != b for a, b in zip(read, truth, strict=False))
                    claimed += sum(10 ** (-(ord(c) - 33) / 10) for c in quality)
                    total += 150
                    break
            else:
                continue
            break
    assert total > 3_000 * 150 * 0.95
    assert wrong / claimed == pytest.approx(1, abs=0.2)


def test_slippage_changes_long_runs_only() -> None:
    left, right = random_bases(1_500, 5), random_bases(1_500, 6)
    bases = left + b"G" + b"T" * 18 + b"C" + right
    settings_ = SequencingSettings(depth=2_000, error_scale=0, indel_rate=0)
    text = b"".join(
        simulate_fastq(one_segment(bases), settings_, PlainQualities(), np.random.default_rng(1))
    )
    flank = 8
    found: dict[int, int] = {}
    for _, read, _ in parse_fastq(text):
        for oriented in (read, read.translate(str.maketrans("ACGT", "TGCA"))[::-1]):
            start = oriented.find(left[-flank:].decode() + "G")
            end = oriented.find("C" + right[:flank].decode())
            if 0 <= start < end:
                length = end - start - flank - 1
                found[length] = found.get(length, 0) + 1
    spanning = sum(found.values())
    slipped = 1 - found[18] / spanning
    assert spanning > 500
    assert 0.02 < slipped < 0.2
    assert found.get(17, 0) > found.get(19, 0) > 0
    assert set(found) <= {16, 17, 18, 19, 20}


def test_same_seed_same_reads() -> None:
    def digest(seed: int) -> str:
        chunks = simulate_fastq(
            one_segment(random_bases(5_000)),
            SequencingSettings(),
            PlainQualities(),
            np.random.default_rng(seed),
        )
        return hashlib.sha256(b"".join(chunks)).hexdigest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


def test_no_read_shows_n(reference: Path) -> None:
    with Reference(reference) as fasta:
        region = [Region("two", 0, 12_000)]
        donor = make_donor(fasta, region, DonorSettings(), np.random.default_rng(1))
    text = b"".join(simulate_fastq(donor, EXACT, PlainQualities(), np.random.default_rng(1)))
    assert not any("N" in read for _, read, _ in parse_fastq(text))


def test_profile_falls_with_the_cycle_and_read_two_is_worse() -> None:
    rng = np.random.default_rng(1)
    first, second = (PlainQualities().draw(number, 5_000, 150, rng) for number in (1, 2))
    assert first.shape == (5_000, 150)
    assert first.dtype == np.uint8
    assert first.min() >= 2
    assert first.max() == 41
    assert first[:, 10:40].mean() > first[:, 110:].mean() + 1
    assert first.mean() > second.mean() > 30


def test_qualities_come_from_a_bam_in_sequencing_order(testdata: Path) -> None:
    bam = testdata / "sample.bam"
    source = sample_qualities(f"{bam}:ctg1:5001-20,000", 100, testdata / "ref.fa")
    drawn = source.draw(2, 50, 100, np.random.default_rng(1))
    assert drawn.shape == (50, 100)
    real = {
        bytes((read.query_qualities[::-1] if read.is_reverse else read.query_qualities)[:100])
        for read in pysam.AlignmentFile(str(bam))
        if read.is_read2
    }
    assert all(row.tobytes() in real for row in drawn)
    with pytest.raises(InputError, match="--read-length"):
        sample_qualities(str(bam), 151, testdata / "ref.fa")
    with pytest.raises(InputError, match="read"):
        sample_qualities(str(testdata / "absent.bam"), 100, testdata / "ref.fa")
    with pytest.raises(OptionError, match="nowhere"):
        sample_qualities(f"{bam}:nowhere", 100, testdata / "ref.fa")
    with pytest.raises(OptionError, match="qualities-from"):
        sample_qualities("reads.txt", 100, testdata / "ref.fa")


def test_reads_that_lend_qualities_are_told_apart(tmp_path: Path) -> None:
    for folder, size in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "reads.bam").write_bytes(b"x" * size)
    same, moved, changed = (source_identity(f"{tmp_path}/{name}/reads.bam") for name in "abc")
    assert same == moved != changed
    assert source_identity(f"{tmp_path}/a/reads.bam:chr1:1-5") != same
    with pytest.raises(InputError, match="check --qualities-from"):
        source_identity(f"{tmp_path}/reads.bam")


def test_a_program_is_ended_when_its_lines_are_not_wanted() -> None:
    began = time.monotonic()
    lines = _lines(["sh", "-c", "echo a; exec sleep 60"])
    assert next(lines) == b"a\n"
    lines.close()
    assert time.monotonic() - began < 30


# ---- the whole ----


def file_digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@needs_bwa
def test_run_is_deterministic_and_resumes(reference: Path, tmp_path: Path) -> None:
    options = {"regions": ["one:2,001-12,000"], "depth": 10, "seed": 5, "duplications": 1}
    cache = tmp_path / "index"
    first, second = tmp_path / "a", tmp_path / "b"
    assert run_simulate(reference, first, bwa_index=cache, **options)
    assert run_simulate(reference, second, bwa_index=cache, threads=2, **options)
    made = file_digests(first)
    assert made == file_digests(second)
    assert set(made) == {
        "reads.bam", "reads.bam.bai", "truth.vcf.gz", "truth.vcf.gz.tbi", "confident.bed",
        "params.json",
    }  # fmt: skip
    assert not run_simulate(reference, first, bwa_index=cache, **options)
    with pytest.raises(OutputError, match="other parameters"):
        run_simulate(reference, first, bwa_index=cache, **{**options, "seed": 6})
    (second / "params.json").unlink()  # as after a kill
    assert run_simulate(reference, second, bwa_index=cache, **options)
    assert made == file_digests(second)
    assert sorted(path.name for path in reference.parent.glob("ref.fa*")) == [
        "ref.fa",
        "ref.fa.fai",
    ]
    with pysam.AlignmentFile(str(first / "reads.bam")) as reads:
        assert "PG" not in reads.header.to_dict()
        assert reads.header.to_dict()["RG"][0]["SM"] == "SIM"
        inside = [read.reference_start for read in reads.fetch("one")]
    assert min(inside) >= 2_000
    assert max(inside) < 12_000
    assert (first / "confident.bed").read_text() == "one\t3000\t11000\n"


@needs_bwa
def test_mask_keeps_held_out_bases_out(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = (Region("one", 8_000, 16_000),)
    monkeypatch.setattr("pileupcnn.simulate.run.HELD_OUT", held_out)
    run_simulate(reference, tmp_path / "donor", regions=["one"], depth=5, snp_rate=5e-3)
    with pysam.AlignmentFile(str(tmp_path / "donor" / "reads.bam")) as reads:
        assert reads.count("one", 8_000, 16_000) == 0
        assert reads.count("one") > 100
    with pysam.VariantFile(str(tmp_path / "donor" / "truth.vcf.gz")) as truth:
        assert not list(truth.fetch("one", 8_000, 16_000))
        assert len(list(truth.fetch("one"))) > 20
    assert (tmp_path / "donor" / "confident.bed").read_text().splitlines() == [
        "one\t1000\t7000",
        "one\t17000\t29039",
    ]


@needs_bwa
def test_scoring_donors_cover_held_out_regions_and_are_not_trained_on(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pileupcnn.simulate.run.HELD_OUT", (Region("one", 8_000, 16_000),))
    folder = tmp_path / "donor"
    run_simulate(reference, folder, regions=["one"], depth=5, for_scoring=True)
    with pysam.AlignmentFile(str(folder / "reads.bam")) as reads:
        assert reads.count("one", 8_000, 16_000) > 50
    data = tmp_path / "runs.tsv"
    columns = ("reads", "ref", "truth", "confident")
    paths = (folder / "reads.bam", reference, folder / "truth.vcf.gz", folder / "confident.bed")
    data.write_text("\t".join(columns) + "\n" + "\t".join(map(str, paths)) + "\n")
    with pytest.raises(InputError, match="--for-scoring"):
        run_train(output=tmp_path / "model", data=data)
    refuse_scoring(reference)


@needs_bwa
def test_command_line(reference: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "donor")
    arguments = ["--ref", str(reference), "--output", output, "--regions", "one:1-6000"]
    arguments += ["--depth", "8", "--no-population", "--sample", "me", "--no-mask"]
    for said in ("simulated", "kept"):
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        assert said in result.output
    with pysam.VariantFile(f"{output}/truth.vcf.gz") as truth:
        assert list(truth.header.samples) == ["me"]
        assert not list(truth)


def test_missing_bwa_is_one_sentence(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt install bwa"):
        run_simulate(reference, tmp_path / "donor")
    assert not (tmp_path / "donor").exists()


def test_short_inserts_are_an_option_error(reference: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--insert-mean"):
        run_simulate(reference, tmp_path / "donor", insert_mean=100)


@pytest.mark.parametrize(
    "region", [str(r) for r in HELD_OUT if r.contig == "chr20" and r.end < 10_000_000]
)
def test_held_out_regions_of_the_shared_reference(
    shared: Path, tmp_path: Path, region: str
) -> None:
    reference = shared / "data" / "GRCh38_chr20_chr21_10Mb" / "grch38.chr20_and_21_10M.fa.gz"
    with pytest.raises(OptionError, match="held-out"):
        run_simulate(reference, tmp_path / "donor", regions=[region])


# ---- testdata ----


def test_testdata_is_small_and_has_all_kinds_of_variants(testdata: Path) -> None:
    assert sum(path.stat().st_size for path in testdata.iterdir()) < 3_000_000
    with pysam.VariantFile(str(testdata / "truth.vcf.gz")) as truth:
        records = [(r.contig, r.pos, r.alleles) for r in truth]
    snps = [r for r in records if {len(a) for a in r[2]} == {1}]
    assert len(snps) > 130
    assert len(records) - len(snps) > 45
    assert sum(len(alleles) > 2 for _, _, alleles in records) >= 5
    assert max(len(a) for _, _, alleles in records for a in alleles) >= 30
    near = [b[1] - a[1] for a, b in itertools.pairwise(records) if a[0] == b[0]]
    assert sum(distance <= 20 for distance in near) >= 5
    with Reference(testdata / "ref.fa") as fasta:
        for contig, position, alleles in records:
            ref = fasta.fetch(contig, position - 1, position - 1 + len(alleles[0])).decode()
            assert ref == alleles[0]
            assert normalise(
                fasta.fetch(contig, 0, fasta.lengths[contig]), position - 1, alleles
            ) == (position - 1, alleles)


def test_testdata_cram_holds_the_reads_of_the_bam(testdata: Path) -> None:
    def listed(name: str) -> list[tuple[object, ...]]:
        path, fasta = str(testdata / name), str(testdata / "ref.fa")
        with pysam.AlignmentFile(path, reference_filename=fasta) as reads:
            assert "tmp" not in str(reads.header)
            return [
                (r.query_name, r.flag, r.reference_start, r.cigarstring, r.query_sequence)
                for r in reads
            ]

    bam = listed("sample.bam")
    assert listed("sample.cram") == bam
    assert len(bam) * 150 / 80_000 == pytest.approx(30, rel=0.1)
