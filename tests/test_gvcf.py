"""gVCFs: DeepVariant's own records, blocks and merging against a slow reference, coverage."""

from __future__ import annotations

import bisect
import dataclasses
import gzip
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest
from deepvariant import oracle_paths
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import is_used, overlaps
from reference.confidence import joined_blocks, left_of_blocks, position_blocks
from reference.counting import count_alleles
from stages import ImageClassifier, SureClassifier, make_bundle, records
from strategies import Scene, scenes, to_batch, write_bam, write_fasta

from pileupcnn import classifiers
from pileupcnn.candidates import CandidateSettings, find_candidates
from pileupcnn.cli.call import run_call
from pileupcnn.cli.call_variants import run_call_variants
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.cli.postprocess_variants import run_postprocess_variants
from pileupcnn.confidence import (
    MAX_DEPTH,
    ReferenceBlocks,
    ReferenceConfidence,
    reference_confidence,
)
from pileupcnn.errors import InputError, OptionError, OutputError, PileupCNNError
from pileupcnn.examples import ExampleMaker, ExampleSettings
from pileupcnn.gvcf import Item, interleave, make_way, with_any_allele
from pileupcnn.messages.convert import decode_block, encode_blocks, read_blocks
from pileupcnn.postprocess import resolve_overlaps
from pileupcnn.realign import RealignSettings
from pileupcnn.reference import Reference, ReferenceWindow
from pileupcnn.regions import HaploidRegions, Region, blocks
from pileupcnn.tfrecords import RecordWriter, read_records
from pileupcnn.vcf import Record, VcfWriter, format_record, format_reference

SETTINGS = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
BLOCKS = "golden.postprocess_gvcf_input.tfrecord.gz"
ANSWERS = "golden.postprocess_single_site_input@1.tfrecord.gz"
ORACLE_BLOCKS = {
    "na12878": 924,
    "fuzz3": 1_220,
    "fuzz5": 861,
    "fuzz6": 3_208,
    "fuzz7": 2_673,
    "sim30x_1Mb": 38_462,
}
HG19 = "data/NA12878_HiSeq_50x_hg19_chr20/ucsc.hg19.chr20.unittest.fasta.gz"

needs_bcftools = pytest.mark.skipif(
    shutil.which("bcftools") is None, reason="needs bcftools (apt: bcftools)"
)


def lines_of(path: Path) -> list[str]:
    """The records of a text VCF, packed or not."""
    data = path.read_bytes()
    text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return [line for line in text.decode().splitlines() if not line.startswith("#")]


# ---------------------------------------------------------------- DeepVariant's own


def as_rows(block: Any) -> list[tuple[Any, ...]]:
    """Blocks, one tuple each, with likelihoods as they are."""
    return [
        (block.contig, *row[:-1], tuple(row[-1]))
        for row in zip(
            *(
                getattr(block, name).tolist()
                for name in (
                    *("start", "end", "base", "called", "genotype_quality", "min_depth"),
                    "log10_likelihoods",
                )
            ),
            strict=True,
        )
    ]


@pytest.mark.golden
@pytest.mark.parametrize("name", ["golden", *ORACLE_BLOCKS])
def test_blocks_from_reads_are_deepvariants(
    shared: Path, golden: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With realignment; likelihoods equal as doubles."""
    folder, reads, reference = oracle_paths(shared, "na12878" if name == "golden" else name)
    path = golden / BLOCKS if name == "golden" else folder / "gvcf.tfrecord.gz"
    theirs = [as_rows(single(block))[0] for block in read_blocks(path)]
    spans = {
        "golden": Region("chr20", 9_999_999, 10_010_000),
        "na12878": Region("chr20", 10_000_000, 10_100_000),
        "sim30x_1Mb": Region("chr20", 5_000_000, 6_000_000),
    }
    ours = []
    example_settings = ExampleSettings(realign=RealignSettings())
    with ExampleMaker(
        [reads], reference, example_settings, confidence=ReferenceConfidence()
    ) as maker:
        whole = [Region(contig, 0, length) for contig, length in maker.contigs.items()]
        for block in blocks([spans[name]] if name in spans else whole):
            for run in block.runs():
                found = maker.run_examples(run).reference_blocks
                assert found is not None
                ours += as_rows(found)
    equal = len(set(ours) & set(theirs))
    with capsys.disabled():
        print(f"\nreference blocks, {name}: {equal}/{len(theirs)} equal, {len(ours)} ours")
    assert ours == theirs
    assert len(theirs) == {**ORACLE_BLOCKS, "golden": 235}[name]


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["diploid", "haploid"])
@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz"])
def test_golden_gvcf(
    tmp_path: Path,
    shared: Path,
    golden: Path,
    kind: str,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_postprocess_variants(
        shared / HG19,
        [golden / ANSWERS],
        tmp_path / f"out{suffix}",
        nonvariant=[golden / BLOCKS],
        gvcf=tmp_path / f"out.g{suffix}",
        haploid_contigs=["chr20"] if kind == "haploid" else [],
    )
    prefix = "golden.haploid_chr20" if kind == "haploid" else "golden"
    for ours, theirs, number in (
        (f"out{suffix}", f"{prefix}.postprocess_single_site_output.vcf", 78),
        (f"out.g{suffix}", f"{prefix}.postprocess_gvcf_output.g.vcf", 228),
    ):
        got, expected = lines_of(tmp_path / ours), lines_of(golden / theirs)
        equal = sum(a == b for a, b in zip(got, expected, strict=True))
        with capsys.disabled():
            print(f"\n{theirs}: {equal}/{len(expected)} lines equal")
        assert got == expected
        assert len(got) == number


@pytest.mark.golden
def test_golden_par_is_diploid(tmp_path: Path, shared: Path, golden: Path) -> None:
    """Calls and blocks: a haploid contig that is wholly PAR is a diploid one."""
    par = tmp_path / "par.bed"
    par.write_text("chr20\t0\t63025520\n")
    run_postprocess_variants(
        shared / HG19,
        [golden / ANSWERS],
        tmp_path / "out.vcf",
        haploid_contigs=["chr20"],
        par_regions=par,
    )
    expected = golden / "golden.postprocess_single_site_output.vcf"
    assert lines_of(tmp_path / "out.vcf") == lines_of(expected)


@pytest.mark.golden
def test_golden_blocks_are_written_again(golden: Path) -> None:
    """Decoded, encoded and decoded once more they are the same."""
    for data in read_records(golden / BLOCKS):
        block = decode_block(data)
        (again,) = encode_blocks(single(block), block.sample)
        assert decode_block(again) == block


def single(block: Any) -> ReferenceBlocks:
    """One block of a file as arrays."""
    return ReferenceBlocks(
        block.contig,
        np.array([block.start]),
        np.array([block.end]),
        np.array([block.base], np.uint8),
        np.array([block.called]),
        np.array([block.genotype_quality], np.int32),
        np.array([block.min_depth], np.int32),
        np.array([block.log10_likelihoods]),
    )


# ---------------------------------------------------------------- blocks


def test_confidence_by_hand() -> None:
    """Without reads nothing is known; GQ is that of 0/0, whatever is likelier."""
    third = pytest.approx(np.log10(1 / 3))
    assert reference_confidence(0, 0) == (1, (third, third, third))
    gq, (none, one, two) = reference_confidence(0, 0, haploid=True)
    assert (gq, none, two) == (3, pytest.approx(np.log10(0.5)), pytest.approx(np.log10(0.5)))
    assert one < -990
    assert reference_confidence(10, 20)[0] == 0
    assert reference_confidence(100, 100)[0] == 50
    assert reference_confidence(3, 3)[0] == 9
    assert reference_confidence(3, 3, haploid=True)[0] == 50


@SETTINGS
@given(
    scene=scenes(),
    bin_size=st.sampled_from([1, 5, 7, 50]),
    haploid=st.sampled_from(["no", "yes", "part"]),
)
def test_blocks_are_the_reference_s(scene: Scene, bin_size: int, haploid: str) -> None:
    reads = [read for read in scene.reads if is_used(read)]
    run = tuple(Region("c", start, end) for start, end in scene.partitions)
    half = len(scene.contig) // 2
    regions = HaploidRegions(
        [] if haploid == "no" else ["c"],
        [Region("c", half, half + 20), Region("d", 0, 9)] if haploid == "part" else [],
    )
    bases = np.frombuffer(scene.contig.encode(), np.uint8)
    window = ReferenceWindow("c", 0, bases, len(bases))
    batch = to_batch(reads, scene.partitions)
    found = find_candidates(batch, run, window, CandidateSettings(), with_counts=True)
    assert found.counts is not None
    got = ReferenceConfidence(bin_size, regions).blocks(run, found.counts, window)
    expected = []
    for start, end in scene.partitions:
        pool = [read for read in reads if overlaps(read, start, end)]
        counts = count_alleles(pool, scene.contig, start, end)
        single_blocks = position_blocks(
            counts, start, lambda position: regions.cover("c", position)
        )
        expected += joined_blocks(single_blocks, bin_size)
    assert [row[:-1] for row in as_rows(got)] == [
        ("c", b.start, b.end, ord(b.base), b.called, b.quality, b.depth) for b in expected
    ]
    for ours, block in zip(got.log10_likelihoods, expected, strict=True):
        theirs = [float(value) for value in block.likelihoods]
        assert [value for value in ours.tolist() if value > -600] == pytest.approx(
            [value for value in theirs if value > -600], rel=1e-9, abs=1e-12
        )
        assert (ours < -600).tolist() == [value < -600 for value in theirs]


def test_deep_positions_are_scaled() -> None:
    """Rounded up, as DeepVariant does it; MIN_DP is the true depth."""
    counts = type("Counts", (), {})()
    counts.reference = np.array([300, 7, 0], np.int32)
    counts.depth = np.array([300, 101, 5_000], np.int32)
    window = ReferenceWindow("c", 0, np.frombuffer(b"ACG", np.uint8), 3)
    got = ReferenceConfidence().blocks((Region("c", 0, 3),), counts, window)
    assert got.min_depth.tolist() == [300, 101, 5_000]
    scaled = [(100, 100), (7, 100), (0, 100)]
    expected = [reference_confidence(*pair)[1] for pair in scaled]
    assert [tuple(row) for row in got.log10_likelihoods.tolist()] == expected
    assert MAX_DEPTH == 100


@pytest.mark.parametrize("size", [0, 51])
def test_bins_have_a_width(size: int) -> None:
    with pytest.raises(ValueError, match=f"bin_size {size} is not from 1 to 50"):
        ReferenceConfidence(size)


# ---------------------------------------------------------------- merging


def block_arrays(contig: str, spans: list[tuple[int, int]]) -> ReferenceBlocks:
    """Blocks with the spans given, each with values of its own."""
    numbers = np.arange(len(spans))
    return ReferenceBlocks(
        contig,
        np.array([start for start, _ in spans], np.int64),
        np.array([end for _, end in spans], np.int64),
        np.array([base_at(contig, start) for start, _ in spans], np.uint8),
        numbers % 3 > 0,
        (numbers % 50).astype(np.int32),
        (numbers % 70).astype(np.int32),
        np.stack([-numbers / 7, -numbers / 5, -numbers / 3], axis=1).reshape(-1, 3),
    )


def base_at(contig: str, position: int) -> int:
    return ord("ACGT"[(position * 7 + len(contig)) % 4])


def a_record(contig: str, start: int, length: int, pair: tuple[int, int] = (0, 1)) -> Record:
    return Record(
        contig=contig,
        start=start,
        alleles=("A" * length, "T"),
        quality=3.0,
        filters=("PASS",),
        genotype=pair,
        genotype_quality=3,
        depth=2,
        allele_depths=(1, 1),
        allele_fractions=(0.5,),
        log10_likelihoods=(-2.0, -0.1, -1.0),
    )


@st.composite
def contig_layers(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Spans of blocks (apart, sorted) and of records (sorted by start, some overlapping)."""
    blocks_, at = [], 0
    for gap, length in draw(
        st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 9]), st.integers(1, 12)), max_size=12)
    ):
        blocks_.append((at + gap, at + gap + length))
        at += gap + length
    spans = draw(
        st.lists(st.tuples(st.integers(0, 90), st.sampled_from([1, 1, 1, 2, 5, 20])), max_size=10)
    )
    return blocks_, sorted((start, start + length) for start, length in spans)


@SETTINGS
@given(
    layers=st.dictionaries(st.sampled_from("abc"), contig_layers(), max_size=3),
    cut=st.integers(1, 4),
    source=st.randoms(),
)
def test_blocks_make_way(layers: dict[str, Any], cut: int, source: random.Random) -> None:
    """What is left is what no record covers, with the block's own values; in order."""
    rank = {contig: index for index, contig in enumerate("abc")}
    called, chunks, expected = [], [], []
    for contig in sorted(layers):
        spans, covered = layers[contig]
        whole = block_arrays(contig, spans)
        chunks += [whole.part(i, min(i + cut, len(spans))) for i in range(0, len(spans), cut)]
        called += [a_record(contig, start, end - start) for start, end in covered]
        for start, end, index in left_of_blocks(spans, covered):
            row = list(as_rows(whole)[index])
            row[1:4] = start, end, base_at(contig, start)
            expected.append(tuple(row))
    stream = list(make_way(resolve_overlaps(interleave(called, chunks, rank)), base_at))
    got = [row for item in stream if isinstance(item, ReferenceBlocks) for row in as_rows(item)]
    assert got == expected
    assert [(r.contig, r.start) for r in stream if isinstance(r, Record)] == [
        (r.contig, r.start) for r in called
    ]
    places = [
        place
        for item in stream
        for place in (
            [(item.contig, item.start)]
            if isinstance(item, Record)
            else [(item.contig, start) for start in item.start.tolist()]
        )
    ]
    assert places == sorted(places)


def test_merging_holds_little() -> None:
    """A block comes out as soon as the stream is past it, however far the next call is."""
    taken: list[int] = []

    def stream() -> Iterator[Item]:
        yield a_record("c", 5, 10)
        for start in range(0, 100_000, 100):
            taken.append(start)
            yield block_arrays("c", [(start + 20, start + 110)])

    merged = make_way(resolve_overlaps(stream()), base_at)
    first, second = next(merged), next(merged)
    assert isinstance(first, Record)
    assert isinstance(second, ReferenceBlocks)
    assert len(taken) == 2


def test_records_have_the_unnamed_allele() -> None:
    record = dataclasses.replace(
        a_record("c", 4, 2, (1, 2)),
        alleles=("AC", "A", "ACC"),
        allele_depths=(1, 5, 6),
        allele_fractions=(0.4, 0.5),
        log10_likelihoods=(-3.0, -2.0, -4.0, -2.5, -0.25, -9.0),
    )
    assert format_record(with_any_allele(record)) == (
        "c\t5\t.\tAC\tA,ACC,<*>\t3\tPASS\t.\tGT:GQ:DP:AD:VAF:PL\t"
        "1/2:3:2:1,5,6,0:0.4,0.5,0:27,17,37,22,0,87,990,990,990,990\n"
    )


@SETTINGS
@given(
    st.lists(
        st.tuples(
            *(st.integers(0, 2**40), st.integers(1, 10**9), st.sampled_from(b"ACGT")),
            *(st.booleans(), st.integers(0, 50), st.integers(0, 2**31 - 1)),
            st.tuples(*[st.floats(-9999, 0)] * 3),
        ),
        max_size=5,
    ),
    st.sampled_from(["c", "HLA-A*01:01", "b\udcffd"]),
)
def test_text_of_blocks(rows: list[tuple[Any, ...]], contig: str) -> None:
    """The kernel writes what Python's own formatting would."""
    columns = list(zip(*rows, strict=True)) or [()] * 7
    kinds = (np.int64, np.int64, np.uint8, np.bool_, np.int32, np.int32)
    arrays = [np.array(c, kind) for c, kind in zip(columns[:6], kinds, strict=True)]
    arrays[1] += arrays[0]
    likelihoods = np.array(columns[6], np.float64).reshape(-1, 3)
    expected = "".join(
        f"{contig}\t{start + 1}\t.\t{chr(base)}\t<*>\t0\t.\tEND={start + length}\t"
        f"GT:GQ:MIN_DP:PL\t{'0/0' if called else './.'}:{quality}:{depth}:"
        f"{','.join(str(int(-10 * (value - max(values)))) for value in values)}\n"
        for start, length, base, called, quality, depth, values in rows
    )
    got = format_reference(ReferenceBlocks(contig, *arrays, likelihoods))
    assert got == expected.encode("utf-8", "surrogateescape")


# ---------------------------------------------------------------- every base once


@st.composite
def region_lists(draw: st.DrawFn, length: int) -> list[tuple[int, int]]:
    """Disjoint intervals of a contig, not touching."""
    edges = sorted(draw(st.sets(st.integers(0, length), min_size=2, max_size=6)))
    edges = edges[: len(edges) // 2 * 2]
    return [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]


@settings(SETTINGS, max_examples=40)
@given(scene=scenes(), data=st.data(), compat=st.booleans(), sure=st.booleans())
def test_every_base_is_covered_once(
    tmp_path_factory: pytest.TempPathFactory,
    scene: Scene,
    data: st.DataObject,
    compat: bool,
    sure: bool,
) -> None:
    """Each A, C, G, T of the called regions lies in one block, or under records, never both.

    Under several records only where these overlap each other; outside the
    regions only under the REF of a deletion that begins inside. No N or IUPAC
    code is covered.
    """
    folder = tmp_path_factory.mktemp("scene")
    write_fasta(folder / "ref.fa", {"c": scene.contig, "d": "ACGT" * 10})
    write_bam(folder / "reads.bam", {"c": len(scene.contig), "d": 40}, scene.reads)
    spans = data.draw(region_lists(len(scene.contig)))
    bed = folder / "r.bed"
    bed.write_text("".join(f"c\t{start}\t{end}\n" for start, end in spans) + "d\t3\t9\n")
    size = data.draw(st.integers(1, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "load_classifier", SureClassifier if sure else ImageClassifier)
        # bases here are mismatched often: reads that do not fit are no matter
        patch.setattr("pileupcnn.examples.MAX_MISMATCH_SHARE", 1.0)
        run_call(
            folder / "ref.fa",
            [folder / "reads.bam"],
            folder / "o.vcf",
            gvcf=folder / "o.g.vcf",
            regions=[str(bed)],
            model=make_bundle(folder / "bundle", partition_size=size),
            deepvariant_compat=compat,
        )
    calls = [line.split("\t") for line in lines_of(folder / "o.vcf")]
    in_blocks: Counter[tuple[str, int]] = Counter()
    in_records: Counter[tuple[str, int]] = Counter()
    starts = set()
    for fields in (line.split("\t") for line in lines_of(folder / "o.g.vcf")):
        contig, start, ref, alt = fields[0], int(fields[1]) - 1, fields[3], fields[4]
        sequence = scene.contig if contig == "c" else "ACGT" * 10
        if alt == "<*>":
            end = int(fields[7].removeprefix("END="))
            assert ref == sequence[start]
            in_blocks.update((contig, position) for position in range(start, end))
        else:
            assert ref == sequence[start : start + len(ref)]
            starts.add((contig, start))
            in_records.update((contig, start + i) for i in range(len(ref)))
    assert starts == {(fields[0], int(fields[1]) - 1) for fields in calls}
    called = {("d", position) for position in range(3, 9)}
    called |= {("c", position) for start, end in spans for position in range(start, end)}
    plain = {
        place
        for place in called
        if (scene.contig if place[0] == "c" else "ACGT" * 10)[place[1]] in "ACGT"
    }
    assert in_blocks.keys() | (in_records.keys() & called) == plain
    assert not in_blocks.keys() & in_records.keys()
    assert set(in_blocks.values()) <= {1}
    overlapping = Counter(
        (fields[0], int(fields[1]) - 1 + i) for fields in calls for i in range(len(fields[3]))
    )
    assert in_records == overlapping
    assert starts <= called


# ---------------------------------------------------------------- call, stages, formats


Inputs = dict[str, Any]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of 6,400 bp: 14 of them."""
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", partition_size=100)


@pytest.fixture
def inputs(testdata: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setattr(classifiers, "load_classifier", ImageClassifier)
    par = tmp_path / "par.bed"
    par.write_text("ctg2\t3000\t9000\n")
    return {
        "ref": testdata / "ref.fa",
        "reads": [testdata / "sample.bam"],
        "model": bundle,
        "haploid_contigs": ["ctg2"],
        "par_regions": par,
    }


def called(folder: Path, inputs: Inputs, name: str = "call", **options: Any) -> tuple[Path, Path]:
    """VCF and gVCF of ``call``."""
    output, gvcf = folder / f"{name}.vcf.gz", folder / f"{name}.g.vcf.gz"
    run_call(**{**inputs, "output": output, "gvcf": gvcf, **options})
    return output, gvcf


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("scheme", ["blocks", "deepvariant"])
def test_stages_and_tasks_give_the_gvcf_of_call(
    tmp_path: Path, inputs: Inputs, shards: int, scheme: Any
) -> None:
    output, gvcf = called(tmp_path, inputs, threads=2)
    calls_only = tmp_path / "alone.vcf.gz"
    run_call(**inputs, output=calls_only)
    assert output.read_bytes() == calls_only.read_bytes()
    haploid = {name: inputs.pop(name) for name in ("haploid_contigs", "par_regions")}

    def gathered(answers: list[str], nonvariant: list[str], suffix: str) -> None:
        run_postprocess_variants(
            inputs["ref"],
            answers,
            tmp_path / f"s.vcf{suffix}",
            nonvariant=nonvariant,
            gvcf=tmp_path / f"s.g.vcf{suffix}",
            **haploid,
        )
        assert records(tmp_path / f"s.vcf{suffix}") == records(output)
        assert records(tmp_path / f"s.g.vcf{suffix}") == records(gvcf)

    examples, blocks_ = f"{tmp_path}/e@{shards}.gz", f"{tmp_path}/n@{shards}.gz"
    run_make_examples(
        **inputs, **haploid, examples=examples, gvcf=blocks_, shard_scheme=scheme, threads=2
    )
    run_call_variants([examples], tmp_path / "a.tfrecord.gz", model=inputs["model"])
    gathered([f"{tmp_path}/a.tfrecord.gz"], [blocks_], ".gz")
    if scheme == "blocks":
        numbers = list(range(shards))
        random.Random(shards).shuffle(numbers)
        tails = [f"-{number:05d}-of-{shards:05d}.tfrecord.gz" for number in numbers]
        for number, tail in zip(numbers, tails, strict=True):
            run_call(
                **inputs,
                **haploid,
                output=f"{tmp_path}/t{tail}",
                gvcf=f"{tmp_path}/tn{tail}",
                task=f"{number}/{shards}",
            )
        gathered([f"{tmp_path}/t{t}" for t in tails], [f"{tmp_path}/tn{t}" for t in tails], "")


@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bytes_for_any_threads(tmp_path: Path, inputs: Inputs, threads: int) -> None:
    serial = called(tmp_path, inputs)
    again = called(tmp_path, inputs, "threads", threads=threads)
    assert [p.read_bytes() for p in serial] == [p.read_bytes() for p in again]


def test_haploid_calls_and_blocks(tmp_path: Path, inputs: Inputs) -> None:
    """Nothing heterozygous outside the PAR; elsewhere the records of a diploid call."""
    haploid = [line.split("\t") for line in lines_of(called(tmp_path, inputs)[1])]
    del inputs["haploid_contigs"], inputs["par_regions"]
    diploid = [line.split("\t") for line in lines_of(called(tmp_path, inputs, "d")[1])]

    def is_haploid(fields: list[str]) -> bool:
        return fields[0] == "ctg2" and not 3_000 < int(fields[1]) <= 9_000

    single_copy = [fields for fields in haploid if is_haploid(fields)]
    kinds = {fields[9].split(":")[0] for fields in single_copy}
    assert kinds <= {"0/0", "1/1", "./.", "2/2"}
    assert {"0/0", "1/1"} <= kinds
    likelihoods = [
        int(fields[9].split(":")[-1].split(",")[1]) for fields in single_copy if fields[4] == "<*>"
    ]
    assert min(likelihoods) > 9_000
    assert [f for f in haploid if not is_haploid(f)] == [f for f in diploid if not is_haploid(f)]


def test_bins(tmp_path: Path, inputs: Inputs) -> None:
    """Wider bins make fewer blocks, over the same bases."""
    sizes, spans = [], []
    for size in (1, 5, 50):
        lines = lines_of(called(tmp_path, inputs, str(size), gvcf_gq_binsize=size)[1])
        sizes.append(len(lines))
        blocks_ = [line.split("\t") for line in lines if "END=" in line]
        spans.append(sum(int(f[7].removeprefix("END=")) - int(f[1]) + 1 for f in blocks_))
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(set(spans)) == 1


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf"])
def test_formats_and_indexes(tmp_path: Path, inputs: Inputs, suffix: str) -> None:
    expected = lines_of(called(tmp_path, inputs)[1])
    gvcf = tmp_path / f"o.g{suffix}"
    run_call(**inputs, output=tmp_path / "o.vcf", gvcf=gvcf)
    with pysam.VariantFile(str(gvcf)) as file:
        assert [str(record).rstrip("\n") for record in file] == expected
    index = {".vcf": None, ".vcf.gz": ".tbi", ".bcf": ".csi"}[suffix]
    if index is None:
        return
    assert Path(f"{gvcf}{index}").is_file()
    starts = [int(line.split("\t")[1]) for line in expected if line.startswith("ctg1\t")]
    # a block is found from its middle
    wide = max(pairwise(starts), key=lambda pair: pair[1] - pair[0])
    middle = sum(wide) // 2
    with pysam.VariantFile(str(gvcf)) as file:
        (found,) = file.fetch("ctg1", middle - 1, middle)
        assert found.pos == starts[bisect.bisect(starts, middle) - 1]
        assert found.stop >= middle


def test_gvcf_on_standard_output(
    tmp_path: Path, inputs: Inputs, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    expected = lines_of(called(tmp_path, inputs)[1])
    run_call(**inputs, output=tmp_path / "o.vcf", gvcf="-")
    shown = capfdbinary.readouterr().out.decode().splitlines()
    assert [line for line in shown if not line.startswith("#")] == expected


# ---------------------------------------------------------------- joint callers

GLNEXUS_FIELDS = {"GT": "1", "GQ": "1", "DP": "1", "MIN_DP": "1", "AD": "R", "PL": "G"}
"""FORMAT fields that GLnexus's preset DeepVariantWGS reads, and their Number.

Its `liftover_fields` take DP of MIN_DP or DP, AD, GQ and PL; MIN_DP is the depth of a
reference block (`ref_dp_format`), AD that of alleles (`allele_dp_format`). A reference
block is a record with one ALT, a symbolic one. Other conditions below are those on which
it loads a record (its `validate_bcf`).
"""


def check_for_glnexus(path: Path, contigs: dict[str, int]) -> Counter[str]:
    """What GLnexus asks of a gVCF; how many records of each kind there are."""
    kinds: Counter[str] = Counter()
    with pysam.VariantFile(str(path)) as file:
        header = file.header
        assert {c.name: c.length for c in header.contigs.values()} == contigs
        assert len(header.samples) == 1
        assert header.info["END"].type == "Integer"
        for name, number in GLNEXUS_FIELDS.items():
            assert str(header.formats[name].number) == number
            assert header.formats[name].type == ("String" if name == "GT" else "Integer")
        last = (-1, -1)
        for record in file:
            assert (record.rid, record.pos) >= last
            last = record.rid, record.pos
            assert record.stop <= contigs[record.contig]
            alleles = record.alleles or ()
            assert len(set(alleles)) == len(alleles) >= 2
            assert alleles[-1] == "<*>"
            assert all(set(allele) <= set("ACGT") for allele in alleles[:-1])
            sample = record.samples[0]
            assert len(sample["GT"]) == 2
            assert all(index is None or index < len(alleles) for index in sample["GT"])
            assert len(sample["PL"]) == len(alleles) * (len(alleles) + 1) // 2
            assert min(sample["PL"]) == 0
            assert sample["GQ"] >= 0
            if len(alleles) == 2:
                kinds["blocks"] += 1
                assert len(record.ref) == 1
                assert record.rlen == record.stop - record.start
                assert "END" in str(record).split("\t")[7]
                assert sample["MIN_DP"] >= 0
            else:
                kinds["variants"] += 1
                assert record.rlen == len(record.ref)
                assert sample["DP"] >= 0
                assert len(sample["AD"]) == len(alleles)
    return kinds


def test_fields_that_glnexus_reads(tmp_path: Path, inputs: Inputs) -> None:
    lengths = {"ctg1": 60_000, "ctg2": 20_000}
    kinds = check_for_glnexus(called(tmp_path, inputs)[1], lengths)
    assert kinds["variants"] == len(lines_of(tmp_path / "call.vcf.gz"))
    assert kinds["blocks"] > 1_000


@needs_bcftools
def test_bcftools_takes_it(tmp_path: Path, inputs: Inputs) -> None:
    _, gvcf = called(tmp_path, inputs)

    def bcftools(*arguments: str) -> list[str]:
        done = subprocess.run(["bcftools", *arguments], capture_output=True, text=True, check=True)
        assert not [line for line in done.stderr.splitlines() if line.startswith("[W")]
        return [line for line in done.stdout.splitlines() if not line.startswith("#")]

    assert bcftools("view", str(gvcf)) == lines_of(gvcf)
    ref = shutil.copy(inputs["ref"], tmp_path / "ref.fa")
    shutil.copy(f"{inputs['ref']}.fai", f"{ref}.fai")
    expanded = bcftools("convert", "--gvcf2vcf", "--fasta-ref", str(ref), str(gvcf))
    positions = [tuple(line.split("\t")[:2]) for line in expanded]
    # a deletion's own bases are under one line of it
    spans = [line.split("\t") for line in lines_of(gvcf)]
    in_blocks = sum(int(f[7].removeprefix("END=")) - int(f[1]) + 1 for f in spans if f[4] == "<*>")
    variants = sum(f[4] != "<*>" for f in spans)
    assert len(positions) == in_blocks + variants


# ---------------------------------------------------------------- what can go wrong


def fails(run: Callable[[], object], folder: Path, *says: str, kind: type) -> None:
    """It must end with one sentence that holds every part of `says`, and leave nothing."""
    before = sorted(folder.iterdir())
    with pytest.raises(PileupCNNError) as caught:
        run()
    assert caught.type is kind, caught.value
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "says", "kind"),
    [
        ({"gvcf": "o.vcf.gz"}, ["--gvcf", "o.vcf.gz", "--output"], OptionError),
        ({"gvcf": "./o.vcf.gz"}, ["the same file as --output"], OptionError),
        ({"gvcf": "-", "output": "-"}, ["--gvcf -", "--output"], OptionError),
        ({"gvcf": "o.g.txt"}, ["--gvcf o.g.txt", ".vcf.gz or .bcf"], OptionError),
        ({"gvcf": "no/o.g.vcf"}, ["no/o.g.vcf", "another --gvcf"], OutputError),
        ({"gvcf": "."}, ["--gvcf", "suffix"], OptionError),
        ({"gvcf": "o.tfrecord.gz"}, ["o.tfrecord.gz", "both"], OptionError),
        ({"gvcf": "g.vcf", "output": "o.tfrecord"}, ["g.vcf", "both"], OptionError),
        ({"gvcf": None, "gvcf_gq_binsize": 5}, ["--gvcf-gq-binsize", "--gvcf"], OptionError),
        ({"gvcf_gq_binsize": 99}, ["--gvcf-gq-binsize", "99", "from 1 to 50"], OptionError),
        ({"haploid_contigs": ["chrX"]}, ["chrX", "ctg1, ctg2"], OptionError),
        ({"haploid_contigs": ["ctg2,,ctg3"]}, ["ctg3"], OptionError),
        ({"haploid_contigs": []}, ["--par-regions", "--haploid-contigs"], OptionError),
        ({"haploid_contigs": ["ctg1"]}, ["par.bed", "ctg1"], InputError),
        ({"par_regions": "absent.bed"}, ["absent.bed"], InputError),
        ({"par_regions": "broken.bed"}, ["broken.bed, line 1"], InputError),
    ],
)
def test_options_that_cannot_be_used(
    tmp_path: Path,
    inputs: Inputs,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    says: list[str],
    kind: type,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.bed").write_text("ctg2 3 4\n")
    given_ = {"output": "o.vcf.gz", "gvcf": "o.g.vcf.gz", **inputs, **options}
    fails(lambda: run_call(**given_), tmp_path, *says, kind=kind)


def test_stages_with_options_that_cannot_be_used(tmp_path: Path, inputs: Inputs) -> None:
    def make(**options: Any) -> Callable[[], object]:
        return lambda: run_make_examples(
            **{"examples": f"{tmp_path}/e@2", "gvcf": f"{tmp_path}/n@2", **inputs, **options}
        )

    fails(make(gvcf=f"{tmp_path}/n@3"), tmp_path, "--gvcf", "3 files", kind=OptionError)
    fails(make(gvcf=f"{tmp_path}/e@2"), tmp_path, "--examples", "same", kind=OptionError)
    fails(make(truth="t.vcf.gz", confident="c.bed"), tmp_path, "--truth", kind=OptionError)
    fails(make(gvcf=None, gvcf_gq_binsize=3), tmp_path, "--gvcf", kind=OptionError)
    fails(make(haploid_contigs=["chrY"]), tmp_path, "chrY", kind=OptionError)
    for given_ in ({"gvcf": tmp_path / "g.vcf"}, {"nonvariant": [tmp_path / "n"]}):
        fails(
            lambda given_=given_: run_postprocess_variants(
                inputs["ref"], [tmp_path / "a"], tmp_path / "o.vcf", **given_
            ),
            tmp_path,
            "--nonvariant and --gvcf",
            kind=OptionError,
        )


@pytest.fixture
def files(tmp_path: Path, inputs: Inputs) -> Path:
    """Answers a and blocks n@2 of a part of the data."""
    folder = tmp_path / "files"
    folder.mkdir()
    inputs["regions"] = ["ctg2"]
    run_make_examples(**inputs, examples=folder / "e@2", gvcf=folder / "n@2")
    run_call_variants([folder / "e@2"], folder / "a", model=inputs["model"])
    return folder


def test_blocks_that_do_not_belong_together(files: Path, inputs: Inputs) -> None:
    def gather() -> None:
        run_postprocess_variants(
            inputs["ref"],
            [files / "a"],
            files / "o.vcf.gz",
            nonvariant=[files / "n@2"],
            gvcf=files / "o.g.vcf.gz",
        )

    path = files / "n-00001-of-00002"
    payloads = list(read_records(path))
    blocks_ = [decode_block(payload) for payload in payloads]

    def rewrite(*changed: bytes) -> None:
        with RecordWriter(path) as out:
            for payload in changed:
                out.write(payload)

    def changed(**values: Any) -> bytes:
        block = dataclasses.replace(blocks_[0], **values)
        return encode_blocks(single(block), block.sample)[0]

    gather()
    for output in files.glob("o.*"):
        output.unlink()
    rewrite(payloads[1], payloads[0], *payloads[2:])
    fails(gather, files, path.name, "out of order", kind=InputError)
    rewrite(payloads[0], *payloads)
    fails(gather, files, path.name, "overlaps another", "each once", kind=InputError)
    rewrite(changed(sample="bob"), *payloads[1:])
    fails(gather, files, path.name, "'bob'", kind=InputError)
    rewrite(*payloads, changed(start=10**7, end=10**7 + 1))
    fails(gather, files, path.name, "10,000,001", "--ref", kind=InputError)
    rewrite(*payloads, changed(contig="chrZ"))
    fails(gather, files, path.name, "chrZ", "--ref", kind=InputError)
    likelihoods = (float("nan"), 0.0, 0.0)
    for wrong in (
        {"base": ord("N")},
        {"end": blocks_[0].start},
        {"min_depth": -1},
        {"log10_likelihoods": likelihoods},
    ):
        rewrite(*payloads, changed(**wrong))
        number = f"record {len(payloads) + 1} is not a reference block"
        fails(gather, files, path.name, number, kind=InputError)
    shutil.copy(files / "a", path)
    fails(gather, files, path.name, "record 1 is not a reference block", kind=InputError)
    path.write_bytes(b"".join([path.read_bytes()[:-3]]))
    fails(gather, files, path.name, kind=InputError)
    path.unlink()
    fails(gather, files, path.name, "missing", kind=InputError)


def test_blocks_without_any_call(tmp_path: Path, inputs: Inputs) -> None:
    """The sample's name is then the blocks'."""
    inputs.update(regions=["ctg1:1-50"], sample="X")
    _, gvcf = called(tmp_path, inputs)
    assert lines_of(gvcf)
    run_make_examples(**inputs, examples=tmp_path / "e", gvcf=tmp_path / "n")
    run_call_variants([tmp_path / "e"], tmp_path / "a", model=inputs["model"])
    run_postprocess_variants(
        inputs["ref"],
        [tmp_path / "a"],
        tmp_path / "s.vcf",
        nonvariant=[tmp_path / "n"],
        gvcf=tmp_path / "s.g.vcf",
    )
    assert records(tmp_path / "s.g.vcf") == records(gvcf)
    # and it may be replaced
    run_postprocess_variants(
        inputs["ref"],
        [tmp_path / "a"],
        tmp_path / "s.vcf",
        nonvariant=[tmp_path / "n"],
        gvcf=tmp_path / "y.g.vcf",
        sample="Y",
    )
    assert records(tmp_path / "y.g.vcf")[-1] == records(gvcf)[-1]


@pytest.mark.parametrize("broken", ["o.vcf.gz", "o.g.vcf.gz"])
def test_both_appear_or_none(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """One of the two cannot be completed: the other does not appear, either."""
    complete = VcfWriter._complete

    def fail(self: VcfWriter) -> None:
        if self.path.name == broken:
            raise OSError(28, os.strerror(28))
        complete(self)

    monkeypatch.setattr(VcfWriter, "_complete", fail)
    option = "--output" if broken == "o.vcf.gz" else "--gvcf"
    fails(
        lambda: called(tmp_path, inputs, "o"),
        tmp_path,
        f"{broken}: cannot be written (No space left on device)",
        option,
        kind=OutputError,
    )


def test_single_bases_of_the_reference(tmp_path: Path) -> None:
    bases = "".join(random.Random(1).choices("ACGTN", k=150_000))
    write_fasta(tmp_path / "r.fa", {"c": bases, "d": "ACG"})
    with Reference(tmp_path / "r.fa") as reference:
        for position in (0, 65_535, 65_536, 149_999, 5):
            assert reference.base("c", position) == ord(bases[position])
        assert reference.base("d", 2) == ord("G")
        assert reference.base("c", 2) == ord(bases[2])
