"""Half-real donors: what is written into reads and reference, and what stays."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pysam
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pileupcnn.cli.plant import plant as command
from pileupcnn.cli.plant import run_plant
from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.kernels.planting import Planter, throw_coins
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.reference import Reference
from pileupcnn.regions import Region, partitions, read_bed
from pileupcnn.simulate.alignment import FAR, _apply_comment
from pileupcnn.simulate.donor import EDGE, apply
from pileupcnn.simulate.planting import (
    CLEARANCE,
    DENSE,
    PLANTED_FILES,
    SURE,
    PlantedWindow,
    lift,
    plant_window,
    planted_bases,
    read_variants,
)
from pileupcnn.simulate.population import PopulationSettings
from pileupcnn.simulate.variants import DonorVariant, settle
from pileupcnn.vcf import TruthReader

needs_bwa = pytest.mark.skipif(shutil.which("bwa") is None, reason="needs bwa (apt install bwa)")

VERY_DENSE = dataclasses.replace(DENSE, snp_rate=4e-3, indel_rate=3e-3, two_alt_indels=0.3)
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def batch(reads: list[tuple[int, str, bool, list[tuple[int, int]], list[int]]]) -> ReadBatch:
    """Reads given as start, bases, whether reverse, CIGAR and qualities; mates by twos."""
    count = len(reads)
    bases = "".join(read[1] for read in reads).encode()
    names = [f"f{i // 2}".encode() for i in range(count)]
    cigars = [[length << 4 | op for op, length in read[3]] for read in reads]

    def offsets(lengths: list[int]) -> np.ndarray:
        return np.cumsum([0, *lengths], dtype=np.int64)

    start = np.array([read[0] for read in reads], np.int64)
    span = [sum(n for op, n in read[3] if op in (0, 2)) for read in reads]
    return ReadBatch(
        contig="c",
        start=start,
        end=start + np.array(span, np.int64),
        flag=np.array([0x10 if read[2] else 0 for read in reads], np.uint16),
        mapping_quality=np.full(count, 37, np.uint8),
        fragment_length=np.zeros(count, np.int32),
        haplotype=np.zeros(count, np.int32),
        read_number=np.array([i % 2 for i in range(count)], np.uint8),
        twin=np.arange(count, dtype=np.int32),
        base_offset=offsets([len(read[1]) for read in reads]),
        bases=np.frombuffer(bases, np.uint8).copy(),
        qualities=np.array([q for read in reads for q in read[4]], np.uint8),
        cigar_offset=offsets([len(cigar) for cigar in cigars]),
        cigar=np.array([word for cigar in cigars for word in cigar], np.uint32),
        name_offset=offsets(list(map(len, names))),
        names=np.frombuffer(b"".join(names), np.uint8).copy(),
        partition_offset=np.array([0, count], np.int64),
        partition_reads=np.arange(count, dtype=np.int32),
    )


def planted(
    reads: ReadBatch, bases: str, variants: list[DonorVariant], haplotype: int = 1
) -> list[str]:
    """The reads' bases once the haplotype's variants are written into all of them."""
    reference = np.frombuffer(bases.encode(), np.uint8)
    forward, reverse = read_variants(variants, haplotype, bases.encode(), 0)
    used = np.ones(len(reads), np.uint8)
    text = Planter(reads, reference, 0, SURE).plant(used, forward, reverse).tobytes().decode()
    bounds = reads.base_offset.tolist()
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


@given(st.data())
@settings(max_examples=400)
def test_a_read_without_errors_becomes_the_haplotypes(data: st.DataObject) -> None:
    unit = st.sampled_from(["A", "C", "G", "AC", "AAC", "T"])
    pieces = data.draw(st.lists(st.tuples(unit, st.integers(1, 7)), min_size=12, max_size=30))
    bases = "".join(u * n for u, n in pieces)
    at = data.draw(st.integers(1, len(bases) - 2))
    kind = data.draw(st.sampled_from(["snp", "insertion", "deletion"]))
    if kind == "snp":
        alleles = (bases[at], data.draw(st.sampled_from(sorted(set("ACGT") - {bases[at]}))))
    elif kind == "insertion":
        won = data.draw(st.text(alphabet="ACGT", min_size=1, max_size=5))
        alleles = (bases[at], bases[at] + won)
    else:
        alleles = (bases[at : at + data.draw(st.integers(2, 6))], bases[at])
    region = Region("c", 0, len(bases))
    variants = settle([DonorVariant("c", at, alleles, (0, 1))], bases.encode(), region)
    if not variants:
        return
    changed = apply(bases.encode(), variants, region, 1).tobytes().decode()
    (forward, _, _, _), (reverse, _, _, _) = read_variants(variants, 1, bases.encode(), 0)
    length = data.draw(st.integers(1, 25))
    start = data.draw(st.integers(0, max(0, len(bases) - length)))
    end = min(len(bases), start + length)
    length = end - start
    growth = len(changed) - len(bases)
    cigar, quality = [(0, length)], [30] * length
    reads = batch([(start, bases[start:end], back, cigar, quality) for back in (False, True)])
    left, right = planted(reads, bases, variants)
    # a read that begins before the variant shows the haplotype, another one no change
    expected = bases[start:end]
    if start <= forward[0]:
        expected = changed[start : start + length]
    if len(expected) == length:
        assert left == expected
    expected = bases[start:end]
    if end - 1 >= reverse[0]:
        expected = changed[max(0, end + growth - length) : end + growth]
    if len(expected) == length:
        assert right == expected


def test_both_placements_of_an_indel_give_one_haplotype() -> None:
    bases = b"GCTTAAAAACG"
    variants = [
        DonorVariant("c", 3, ("TAA", "T"), (1, 0)),
        DonorVariant("c", 3, ("T", "TA"), (0, 1)),
    ]
    forward, reverse = read_variants(variants, 0, bases, 0)
    assert (forward[0].tolist(), forward[1].tolist()) == ([3], [-2])
    assert (reverse[0].tolist(), reverse[1].tolist()) == ([9], [-2])
    forward, reverse = read_variants(variants, 1, bases, 0)
    assert (forward[0].tolist(), forward[3].tobytes()) == ([3], b"A")
    assert (reverse[0].tolist(), reverse[3].tobytes()) == ([9], b"A")


def test_slips_that_a_read_has_stay() -> None:
    bases = "GCTGAAAAAAAACGTCCATG"
    # the read lost an A, which the aligner put at the left end
    read = bases[:4] + bases[5:]
    reads = batch([(0, read, False, [(0, 4), (2, 1), (0, 15)], [30] * 19)])
    deletion = [DonorVariant("c", 3, ("GA", "G"), (0, 1))]
    insertion = [DonorVariant("c", 3, ("G", "GA"), (0, 1))]
    assert planted(reads, bases, deletion)[0].startswith("GCTG" + "A" * 6 + "CG")
    assert planted(reads, bases, insertion)[0].startswith("GCTG" + "A" * 8 + "CG")


def test_errors_of_low_quality_stay_with_their_cycle() -> None:
    bases = "GCTGACCATGCATTGCAGTC"
    read = bases[:8] + "A" + bases[9:12] + "C" + bases[13:16]
    quality = [30] * 8 + [10] + [30] * 7
    reads = batch([(0, read, False, [(0, 16)], quality)])
    insertion = [DonorVariant("c", 3, ("G", "GTT"), (0, 1))]
    # the error at cycle 8 stays, the surely different base at 12 moves with the sequence
    (found,) = planted(reads, bases, insertion)
    expected = list("GCTGTT" + bases[4:12] + "C" + bases[13:14])[:16]
    expected[8] = "A" if expected[8] != "A" else bases[8]
    assert found == "".join(expected)


def test_an_erroneous_base_is_not_made_a_variant() -> None:
    bases = "GCTGACCATGCATTGCAGTC"
    reads = batch([(0, "GCTGT", False, [(0, 5)], [30] * 5), (0, "GCTGA", True, [(0, 5)], [30] * 5)])
    snp = [DonorVariant("c", 4, ("A", "C"), (0, 1))]
    assert planted(reads, bases, snp) == ["GCTGT", "GCTGC"]


def test_coins_are_fair_and_the_fragments() -> None:
    names = [f"read{i}".encode() for i in range(4_000)]
    offset = np.cumsum([0, *map(len, names)], dtype=np.int64)
    text = np.frombuffer(b"".join(names), np.uint8)
    coins = throw_coins(text, offset, 1)
    assert set(coins.tolist()) == {0, 1}
    assert coins.mean() == pytest.approx(0.5, abs=0.03)
    other = throw_coins(text, offset, 2)
    assert np.mean(coins == other) == pytest.approx(0.5, abs=0.03)
    assert (throw_coins(text, offset, 1) == coins).all()


def test_lift_follows_changes() -> None:
    changes = [
        DonorVariant("c", 105, ("ACG", "A"), (1, 1)),
        DonorVariant("c", 110, ("G", "GTT"), (1, 1)),
    ]
    at = np.array([100, 105, 106, 107, 108, 110, 111, 120])
    assert lift(at, 100, changes).tolist() == [0, 5, 6, 6, 6, 8, 11, 20]
    assert lift(at, 100, []).tolist() == [0, 5, 6, 7, 8, 10, 11, 20]


@pytest.mark.parametrize(
    ("flag", "position", "comment", "expected"),
    [
        (0, 100, b"\tmq:i:7\tmp:i:150", b"7"),
        (0, 100, b"\tmq:i:7", b"7"),
        (4, 0, b"\tmq:i:7\tmp:i:150", b"60"),
        (16, 100 + FAR + 51, b"\tmq:i:7\tmp:i:100", None),
        (0, 100, b"", b"60"),
    ],
)
def test_comments_set_mapping_qualities(
    flag: int, position: int, comment: bytes, expected: bytes | None
) -> None:
    contig = b"*" if flag & 4 else b"c"
    line = b"\t".join([b"r", b"%d" % flag, contig, b"%d" % position, b"60", b"4M", b"*", b"NM:i:0"])
    found = _apply_comment(line + comment + b"\n")
    if expected is None:
        assert found == b""
    else:
        assert found == line.replace(b"\t60\t", b"\t" + expected + b"\t") + b"\n"
    assert _apply_comment(b"@PG\tID:bwa\n") == b""
    assert _apply_comment(b"@SQ\tSN:c\n") == b"@SQ\tSN:c\n"


# ---- testdata ----


@pytest.fixture(scope="module")
def window(testdata: Path) -> PlantedWindow:
    with (
        Reference(testdata / "ref.fa") as reference,
        TruthReader(testdata / "truth.vcf.gz") as truth,
    ):
        confident = ConfidentRegions(read_bed(testdata / "confident.bed"))
        rng = np.random.default_rng(5)
        return plant_window(
            Region("ctg1", 2_000, 28_000), reference, truth, confident, VERY_DENSE, rng
        )


def test_nothing_is_planted_near_real_variants_or_edges(
    window: PlantedWindow, testdata: Path
) -> None:
    with TruthReader(testdata / "truth.vcf.gz") as truth:
        real = truth.fetch(window.region)
    assert len(window.planted) > 20
    for variant in window.planted:
        assert window.region.start + EDGE <= variant.start
        assert variant.end <= window.region.end - EDGE
        for other in real:
            end = other.start + len(other.alleles[0])
            assert variant.start >= end + CLEARANCE or variant.end <= other.start - CLEARANCE
    kinds = Counter(variant.genotype[0] == variant.genotype[1] for variant in window.planted)
    assert min(kinds.values()) >= 5


def test_what_the_truth_cannot_have_is_not_confident(tmp_path: Path) -> None:
    """A SNP within a deletion, one without a genotype beside it, and one that is all right."""
    rng = np.random.default_rng(3)
    bases = "".join("ACGT"[i] for i in rng.integers(0, 4, 8_000))
    bases = bases[:3_000] + "TACGTC" + bases[3_006:]
    (tmp_path / "ref.fa").write_text(f">c\n{bases}\n")
    pysam.faidx(str(tmp_path / "ref.fa"))
    other = {base: "C" if base != "C" else "G" for base in "ACGT"}
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=c,length=8000>"]
    lines += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS"]
    for start, length, genotype in ((3_000, 6, "0/1"), (3_003, 1, "0/1"), (3_020, 1, "./.")):
        ref = bases[start : start + length]
        alt = ref[0] if length > 1 else other[ref]
        lines.append(f"c\t{start + 1}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t{genotype}")
    ref = bases[6_000]
    lines.append(f"c\t6001\t.\t{ref}\t{other[ref]}\t.\t.\t.\tGT\t0/1")
    (tmp_path / "truth.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(tmp_path / "truth.vcf"), preset="vcf")
    whole = Region("c", 0, 8_000)
    with (
        Reference(tmp_path / "ref.fa") as reference,
        TruthReader(tmp_path / "truth.vcf.gz") as truth,
    ):
        none = PopulationSettings(snp_rate=0, indel_rate=0)
        found = plant_window(whole, reference, truth, ConfidentRegions([whole]), none, rng)
    assert [v.start for v in found.truth] == [3_000, 6_000]
    edges = [(r.start, r.end) for r in found.confident]
    assert edges == [
        (EDGE, 3_003 - CLEARANCE),
        (3_021 + CLEARANCE, 8_000 - EDGE),
    ]


def test_the_truth_undoes_the_changes(window: PlantedWindow, testdata: Path) -> None:
    whole = Region(window.name, 0, len(window.changed))
    assert all(window.changed[v.start : v.end].decode() == v.alleles[0] for v in window.truth)
    # the haplotypes that the truth describes are those of real and planted variants
    with TruthReader(testdata / "truth.vcf.gz") as truth:
        real = [v for v in truth.fetch(window.region) if v.start < window.region.end - EDGE]
    inner = [v for v in window.truth if v.start < len(window.changed) - EDGE]
    assert len(inner) == len(real) + len(window.planted)
    homozygous = window.homozygous()
    starts = {int(window.lift(np.array([v.start]))[0]) for v in homozygous}
    undone = [v for v in window.truth if any(abs(v.start - at) < 50 for at in starts)]
    undone = [v for v in undone if v.genotype == (1, 1)]
    assert len(undone) == len(homozygous)
    assert apply(window.changed, undone, whole, 0).tobytes() == window.bases
    assert all(0 <= r.start < r.end <= len(window.changed) - EDGE for r in window.confident)


def test_reads_carry_what_their_coin_says(window: PlantedWindow, testdata: Path) -> None:
    options = ReadSettings(min_mapping_quality=0, max_reads_per_partition=0)
    with Scanner([testdata / "sample.bam"], testdata / "ref.fa", options) as scanner:
        reads = scanner.scan(tuple(partitions([window.region])))
    planter = Planter(reads, np.frombuffer(window.bases, np.uint8), window.region.start, SURE)
    used, haplotype, bases = planted_bases(window, reads, planter, 7)
    heterozygous = [v for v in window.planted if v.genotype[0] != v.genotype[1]]
    snps = [v for v in heterozygous if {len(a) for a in v.alleles} == {1}]
    carriers = others = 0
    touched = np.zeros(len(reads), bool)
    for variant in heterozygous:
        touched |= (reads.start < variant.end + 60) & (reads.end > variant.start - 60)
    same = [
        (bases[a:b] == reads.bases[a:b]).all()
        for a, b in zip(reads.base_offset[:-1], reads.base_offset[1:], strict=True)
    ]
    assert np.all(np.array(same)[~touched | (used == 0)])
    by_name: dict[str, set[int]] = {}
    for index in np.flatnonzero(used).tolist():
        by_name.setdefault(reads.name(index)[:-2], set()).add(int(haplotype[index]))
    assert all(len(coins) == 1 for coins in by_name.values())
    for variant in snps:
        for index in np.flatnonzero(
            (used == 1) & (reads.start <= variant.start - 40) & (reads.end > variant.start + 40)
        ).tolist():
            cigar = reads.cigar[reads.cigar_offset[index] : reads.cigar_offset[index + 1]]
            if len(cigar) != 1:
                continue
            near = [
                v for v in heterozygous if v is not variant and abs(v.start - variant.start) < 160
            ]
            if near:
                continue
            at = int(reads.base_offset[index]) + variant.start - int(reads.start[index])
            if chr(reads.bases[at]) != variant.alleles[0]:
                continue
            allele = variant.genotype[haplotype[index]]
            assert chr(bases[at]) == variant.alleles[allele]
            carriers, others = carriers + (allele > 0), others + (allele == 0)
    total = carriers + others
    assert total > 80
    assert carriers / total == pytest.approx(0.5, abs=4 * 0.5 / total**0.5)


def reads_of(path: Path) -> dict[tuple[str, int], pysam.AlignedSegment]:
    with pysam.AlignmentFile(str(path)) as file:
        return {
            (read.query_name, int(read.is_read2)): read
            for read in file
            if not read.flag & (pysam.FSUPPLEMENTARY | pysam.FSECONDARY | pysam.FDUP)
        }


def given_inputs(testdata: Path) -> dict[str, object]:
    return {
        "ref": testdata / "ref.fa",
        "reads": [testdata / "sample.bam"],
        "truth": testdata / "truth.vcf.gz",
        "confident": testdata / "confident.bed",
    }


@needs_bwa
def test_planted_reads_keep_qualities_and_mapping_qualities(testdata: Path, tmp_path: Path) -> None:
    # mapping qualities that no realignment would give
    changed = tmp_path / "changed.bam"
    with (
        pysam.AlignmentFile(str(testdata / "sample.bam")) as reads,
        pysam.AlignmentFile(str(changed), "wb", template=reads) as out,
    ):
        for number, read in enumerate(reads):
            read.mapping_quality = number % 50
            out.write(read)
    pysam.index(str(changed))
    inputs = given_inputs(testdata) | {"reads": [changed], "regions": ["ctg1:2,001-14,000"]}
    output = tmp_path / "donor"
    assert run_plant(**inputs, output=output, snp_rate=2e-3)  # type: ignore[arg-type]
    assert sorted(path.name for path in output.iterdir()) == sorted(PLANTED_FILES)
    before, after = reads_of(changed), reads_of(output / "reads.bam")
    assert len(after) > 2_000
    strings = 0
    for key, read in after.items():
        old = before[key] if key in before else before[key[0], 1 - key[1]]
        if not read.is_paired:
            old = next(
                before[key[0], n]
                for n in (0, 1)
                if (key[0], n) in before
                and before[key[0], n].get_forward_qualities() == read.get_forward_qualities()
            )
        assert read.mapping_quality == old.mapping_quality
        assert read.get_forward_qualities() == old.get_forward_qualities()
        strings += read.get_forward_sequence() == old.get_forward_sequence()
    assert 0.5 < strings / len(after) < 1
    whole = [r for r in before.values() if r.reference_name == "ctg1"]
    inside = [r for r in whole if r.reference_start >= 2_000 and r.reference_end <= 14_000]
    assert len(after) / len(inside) > 0.99
    # reads fit the reference and the truth: bases that differ are few
    with (
        Reference(output / "reference.fa") as reference,
        TruthReader(output / "truth.vcf.gz") as truth,
    ):
        name, length = next(iter(reference.lengths.items()))
        assert name == "ctg1_2001_14000"
        variants = truth.fetch(Region(name, 0, length))
    assert len(variants) > 20


@needs_bwa
def test_plantings_differ_by_seed_only(testdata: Path, tmp_path: Path) -> None:
    inputs = given_inputs(testdata) | {"regions": ["ctg2:1-12,000"]}

    def digests(name: str, **options: object) -> dict[str, str]:
        run_plant(**inputs, output=tmp_path / name, **options)  # type: ignore[arg-type]
        return {
            file: hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest()
            for file in PLANTED_FILES
        }

    first = digests("a", seed=3)
    assert digests("b", seed=3, threads=2) == first
    other = digests("c", seed=4)
    for file in ("reads.bam", "reference.fa", "truth.vcf.gz"):
        assert other[file] != first[file]
    assert not run_plant(**inputs, output=tmp_path / "a", seed=3)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="other parameters"):
        run_plant(**inputs, output=tmp_path / "a", seed=5)  # type: ignore[arg-type]


@needs_bwa
def test_held_out_regions_are_not_touched(
    testdata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = (Region("ctg1", 8_000, 50_000), Region("ctg2", 0, 20_000))
    monkeypatch.setattr("pileupcnn.simulate.planting.HELD_OUT", held_out)
    run_plant(**given_inputs(testdata), output=tmp_path / "donor")  # type: ignore[arg-type]
    with Reference(tmp_path / "donor" / "reference.fa") as reference:
        names = [name.split("_") for name in reference.lengths]
    assert names
    for contig, start, end in names:
        assert contig == "ctg1"
        assert int(end) <= 8_000 or int(start) > 50_000
    originals = reads_of(testdata / "sample.bam")
    for name, number in reads_of(tmp_path / "donor" / "reads.bam"):
        found = [originals[k] for k in ((name, number), (name, 1 - number)) if k in originals]
        assert any(
            r.reference_name == "ctg1" and (r.reference_end <= 8_000 or r.reference_start >= 50_000)
            for r in found
        )
    # what is left is planted in pieces where it is long
    monkeypatch.setattr("pileupcnn.simulate.planting.LONGEST_WINDOW", 4_500)
    run_plant(**given_inputs(testdata), output=tmp_path / "pieces")  # type: ignore[arg-type]
    with Reference(tmp_path / "pieces" / "reference.fa") as reference:
        pieces = [name.split("_") for name in reference.lengths]
    assert len(pieces) > len(names)
    assert all(3 * EDGE < int(end) - int(start) + 2 <= 4_501 for _, start, end in pieces)
    with pytest.raises(OptionError, match="held-out"):
        run_plant(
            **given_inputs(testdata),  # type: ignore[arg-type]
            output=tmp_path / "other",
            regions=["ctg1:10,001-40,000"],
        )


@needs_bwa
def test_command_line(testdata: Path, tmp_path: Path) -> None:
    arguments = ["--output", str(tmp_path / "donor"), "--regions", "ctg2:1-12,000"]
    for name, value in given_inputs(testdata).items():
        arguments += [f"--{name}", str(value[0] if isinstance(value, list) else value)]
    for said in ("planted", "kept"):
        result = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        assert said in result.output


def test_bad_inputs_are_one_sentence(testdata: Path, tmp_path: Path) -> None:
    inputs = given_inputs(testdata)
    for name in ("truth", "confident", "ref"):
        with pytest.raises(InputError, match="absent"):
            run_plant(**(inputs | {name: tmp_path / "absent"}), output=tmp_path / "o")  # type: ignore[arg-type]
    (tmp_path / "empty.bed").touch()
    with pytest.raises(InputError, match=r"empty\.bed: no interval"):
        run_plant(**(inputs | {"confident": tmp_path / "empty.bed"}), output=tmp_path / "o")  # type: ignore[arg-type]
    assert not (tmp_path / "o").exists()
