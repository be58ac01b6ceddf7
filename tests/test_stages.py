"""The stages over files: the same records as ``call``; what is wrong with files is told."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pysam
import pytest
from stages import (
    ImageClassifier,
    PlaceClassifier,
    SureClassifier,
    by_call,
    by_shards,
    by_stages,
    by_tasks,
    contents,
    make_bundle,
    records,
    small_model_calls,
)

from pileupcnn import classifiers, model
from pileupcnn.cli import main
from pileupcnn.cli.call import run_call
from pileupcnn.cli.call_variants import run_call_variants
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.cli.postprocess_variants import run_postprocess_variants
from pileupcnn.datasets import pack_examples
from pileupcnn.errors import InputError, ModelError, OptionError, OutputError, PileupCNNError
from pileupcnn.example_info import read_info
from pileupcnn.examples import ExampleMaker, ExampleSettings
from pileupcnn.labels import Scheme
from pileupcnn.messages.convert import (
    decode_call,
    decode_variant,
    encode_call,
    read_calls,
    read_examples,
    site_to_variant,
    variant_to_site,
)
from pileupcnn.pileup import AltAlignedPileup, Channel, PileupSpec
from pileupcnn.realign import RealignSettings
from pileupcnn.regions import Region, partitions
from pileupcnn.settings_json import from_json, to_json
from pileupcnn.tfrecords import RecordWriter, read_records

Show = Callable[[str], None]
Inputs = dict[str, Any]


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "network" not in request.fixturenames:
        monkeypatch.setattr(classifiers, "load_classifier", PlaceClassifier)


@pytest.fixture
def network() -> None:
    """Asked for by tests that need the real one."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of 6,400 bp: 14 of them."""
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", partition_size=100)


@pytest.fixture
def inputs(testdata: Path, bundle: Path) -> Inputs:
    return {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "model": bundle}


def variant_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


# ---- the records of call ----


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_stages_give_the_records_of_call(tmp_path: Path, inputs: Inputs, shards: int) -> None:
    expected = by_call(tmp_path, inputs, threads=2)
    assert len(variant_lines(expected)) == 253
    assert by_stages(tmp_path, inputs, shards) == expected
    assert by_stages(tmp_path, inputs, shards, suffix="", threads=3) == expected
    assert by_shards(tmp_path, inputs, shards, random.Random(shards)) == expected
    assert by_tasks(tmp_path, inputs, shards, threads=2) == expected


def test_more_shards_than_blocks(tmp_path: Path, inputs: Inputs) -> None:
    expected = by_call(tmp_path, inputs)
    assert by_stages(tmp_path, inputs, 20) == expected
    described = json.loads(
        (tmp_path / f"examples.tfrecord-{19:05d}-of-00020.gz.example_info.json").read_text()
    )
    assert described["shape"] is None
    assert described["blocks"] == []


def test_overlaps_across_blocks_are_resolved(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion reaches from one task's block into another's, over a variant there."""
    monkeypatch.setattr(classifiers, "load_classifier", SureClassifier)
    fields = [line.split("\t") for line in variant_lines(by_call(tmp_path, inputs))]
    spans = [(f[0], int(f[1]) - 1, int(f[1]) - 1 + len(f[3])) for f in fields]
    pairs = [(a, b) for a, b in itertools.pairwise(spans) if a[0] == b[0] and b[1] < a[2]]
    assert pairs
    inputs["model"] = make_bundle(tmp_path / "bundle", partition_size=1)
    for (contig, start, _), (_, edge, _) in pairs:
        # blocks of 64 bp, one of which ends where the second variant begins
        inputs["regions"] = [f"{contig}:{edge - 255}-{edge + 256}"]
        assert edge - 256 <= start < edge
        expected = by_call(tmp_path, inputs)
        genotypes = [line.split("\t")[-1].split(":")[0] for line in variant_lines(expected)]
        assert set(genotypes) > {"1/1"}  # as the network says, it would be 1/1 everywhere
        assert by_stages(tmp_path, inputs, 3) == expected
        assert by_shards(tmp_path, inputs, 3, random.Random(1)) == expected
        assert by_tasks(tmp_path, inputs, 3) == expected


@pytest.mark.parametrize(
    ("reads", "options"),
    [
        ("sample.cram", {}),
        ("sample.bam", {"deepvariant_compat": True}),
        ("sample.bam", {"regions": ["ctg2:1,000-9,000", "ctg1:5,000-5,200", "ctg1:30,000-50,000"]}),
        ("sample.bam", {"sample": "other"}),
    ],
    ids=["cram", "ends", "regions", "sample"],
)
def test_what_call_takes_the_stages_take(
    tmp_path: Path, testdata: Path, inputs: Inputs, reads: str, options: dict[str, Any]
) -> None:
    inputs["reads"] = [testdata / reads]
    before = contents(testdata)
    expected = by_call(tmp_path, inputs, **options)
    assert by_stages(tmp_path, inputs, 3, **options) == expected
    assert by_tasks(tmp_path, inputs, 3, **options) == expected
    assert contents(testdata) == before


LAYOUTS: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    ({"alt_aligned_pileup": "rows"}, (60, 31, 7)),
    ({"alt_aligned_pileup": "diff_channels", "types_to_alt_align": "all"}, (20, 31, 9)),
    ({"alt_aligned_pileup": "base_channels", "sort_by_haplotypes": True}, (20, 31, 9)),
    ({"channels": ["read_base", "gc_content", "base_6ma"], "height": 12, "width": 9}, (12, 9, 3)),
    ({"channels": ["mean_coverage", "haplotype"], "mean_coverage": 4.0}, (20, 31, 2)),
]


@pytest.mark.parametrize(("chosen", "shape"), LAYOUTS, ids=lambda value: "-".join(map(str, value)))
def test_options_draw_what_a_model_with_these_settings_sees(
    tmp_path: Path, inputs: Inputs, chosen: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    spec = from_json(PileupSpec, {**to_json(PileupSpec(height=20, width=31)), **chosen}, "pileup")
    by_model = {**inputs, "model": make_bundle(tmp_path / "m", partition_size=100, spec=spec)}
    regions = {"regions": ["ctg1"]}
    run_make_examples(**inputs, examples=tmp_path / "a", overrides=chosen, **regions)
    run_make_examples(**by_model, examples=tmp_path / "b", **regions)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    described = read_info(tmp_path / "a")
    assert described is not None
    assert described.shape == shape == spec.shape
    assert described.channels == tuple(map(int, spec.layers))
    example = next(iter(read_examples(tmp_path / "a")))
    assert example.image.shape == shape
    assert by_stages(tmp_path, by_model, 3, **regions) == by_call(tmp_path, by_model, **regions)


def test_allele_frequencies_need_a_population(
    tmp_path: Path, inputs: Inputs, testdata: Path
) -> None:
    channels = {"channels": ["allele_frequency"]}
    with pytest.raises(OptionError, match="--population-vcf"):
        run_make_examples(**inputs, examples=tmp_path / "a", overrides=channels)
    population = tmp_path / "population.vcf"
    with (
        pysam.VariantFile(str(testdata / "truth.vcf.gz")) as truth,
        pysam.VariantFile(str(population), "w", drop_samples=True) as output,
    ):
        for name, contig in truth.header.contigs.items():
            output.header.contigs.add(name, length=contig.length)
        output.header.info.add("AF", "A", "Float", "Frequency")
        for record in truth:
            copy = (
                output.new_record(
                    record.contig, record.start, record.stop, record.alleles, info={"AF": 0.1}
                )
                if len(record.alts) == 1
                else None
            )
            if copy is not None:
                output.write(copy)
    pysam.tabix_index(str(population), preset="vcf", force=True)
    given = {"population_vcf": [f"{population}.gz"]}
    run_make_examples(**inputs, examples=tmp_path / "a", overrides=channels, **given)
    # that of 0.1, where a read shows an allele that the truth has, too
    images = [example.image for example in read_examples(tmp_path / "a")]
    shown = [set(np.unique(image).tolist()) for image in images]
    assert set().union(*shown) == {0, 203}
    assert sum(203 in values for values in shown) > len(images) / 2
    with pytest.raises(OptionError, match="leave it out"):
        run_make_examples(**inputs, examples=tmp_path / "a", **given)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"width": 20}, ["--width", "even"]),
        ({"channels": ["read_base"], "alt_aligned_pileup": "diff_channels"}, ["six base channels"]),
        ({"channels": ["base_channels_alternate_allele_1"]}, ["--channels", "alt_aligned_pileup"]),
        ({"height": 5}, ["--height", "reference_rows"]),
    ],
)
def test_images_that_cannot_be(
    tmp_path: Path, inputs: Inputs, chosen: dict[str, Any], says: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        run_make_examples(**inputs, examples=tmp_path / "a", overrides=chosen)
    for part in says:
        assert part in str(caught.value)


def test_channels_on_the_command_line(
    tmp_path: Path, inputs: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        *("make-examples", "--ref", str(inputs["ref"]), "--reads", str(inputs["reads"][0])),
        *("--model", str(inputs["model"]), "--regions", "ctg1:1-2000", "--quiet"),
        *("--examples", str(tmp_path / "a"), "--channels"),
    ]
    with pytest.raises(SystemExit) as end:
        main([*command, "BASE_CHANNELS,haplotype, 19"])
    assert not end.value.code
    described = read_info(tmp_path / "a")
    assert described is not None
    assert described.channels == (1, 2, 3, 4, 5, 6, 7, 19)
    for wrong in "read_bases", "99":
        with pytest.raises(SystemExit) as end:
            main([*command, wrong])
        assert end.value.code == 2
        assert f"'{wrong}' is none of read_base, base_quality" in capsys.readouterr().err


def test_several_files_of_one_sample(tmp_path: Path, inputs: Inputs, testdata: Path) -> None:
    inputs["reads"] = [testdata / "sample.bam", testdata / "sample.cram"]
    assert by_stages(tmp_path, inputs, 3) == by_call(tmp_path, inputs)


def test_the_network_says_the_same(tmp_path: Path, testdata: Path, network: None) -> None:
    """The network's own probabilities, bit for bit; the shipped model, or any that is there."""
    inputs = {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "model": None}
    if not (model.DEFAULT_MODEL / "model.json").exists():
        pytest.skip("no shipped model")
    small = {"overrides": {"partition_size": 300}}
    expected = by_call(tmp_path, inputs, **small)
    assert by_stages(tmp_path, inputs, 3, **small) == expected
    assert by_tasks(tmp_path, inputs, 2, **small) == expected
    files = [tmp_path / "answers.tfrecord.gz", *small_model_calls(tmp_path, "examples", 3, ".gz")]
    straight = {call.probabilities for file in files for call in read_calls(file)}
    tasks = [
        call.probabilities
        for number in range(2)
        for call in read_calls(tmp_path / f"task-{number:05d}-of-00002.tfrecord.gz")
    ]
    assert straight == set(tasks)


@pytest.mark.golden
@pytest.mark.parametrize("shards", [1, 3, 8])
def test_stages_give_the_records_of_call_on_na12878(
    tmp_path: Path, shared: Path, shards: int
) -> None:
    data = shared / "data" / "NA12878_HiSeq_50x_hg19_chr20"
    inputs = {
        "ref": data / "ucsc.hg19.chr20.unittest.fasta.gz",
        "reads": [data / "NA12878_S1.chr20.10_10p1mb.bam"],
        "model": make_bundle(tmp_path / "bundle", partition_size=200),
        "regions": ["chr20:10,000,001-10,100,000"],
    }
    expected = by_call(tmp_path, inputs)
    assert len(variant_lines(expected)) > 200
    assert by_stages(tmp_path, inputs, shards) == expected
    assert by_shards(tmp_path, inputs, shards, random.Random(shards)) == expected
    assert by_tasks(tmp_path, inputs, shards) == expected


# ---- DeepVariant's files ----


@pytest.mark.golden
def test_golden_answers_give_the_golden_records(
    tmp_path: Path, shared: Path, golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = shared / "data/NA12878_HiSeq_50x_hg19_chr20/ucsc.hg19.chr20.unittest.fasta.gz"
    name = "golden.postprocess_single_site_input"
    for given in (f"{name}-00000-of-00001.tfrecord.gz", f"{name}@1.tfrecord.gz"):
        run_postprocess_variants(ref, [golden / given], tmp_path / "out.vcf")
        ours = (tmp_path / "out.vcf").read_text().splitlines()
        theirs = (golden / "golden.postprocess_single_site_output.vcf").read_text().splitlines()
        assert ours[-79] == theirs[-79]  # with the sample's name
        equal = sum(a == b for a, b in zip(ours[-78:], theirs[-78:], strict=True))
        assert (equal, len(variant_lines(ours))) == (78, 78)
    with capsys.disabled():
        print(f"\n{name}: {equal}/78 records equal")


@pytest.mark.golden
def test_golden_answers_are_rounded(golden: Path) -> None:
    """What DeepVariant has rounded stays as it is."""
    path = golden / "golden.postprocess_single_site_input-00000-of-00001.tfrecord.gz"
    answers = np.array([call.probabilities for call in read_calls(path)], np.float32)
    assert len(answers) == 84
    np.testing.assert_array_equal(classifiers.round_probabilities(answers), answers)
    # a change below the last digit that is kept is taken back where float32 can hold it
    small = answers.copy()
    small[small < 1e-4] += np.float32(2e-11)
    assert (small != answers).sum() > 50
    restored = classifiers.round_probabilities(small) == answers
    assert restored.all(axis=1).mean() > 0.9


@pytest.mark.golden
def test_golden_examples_are_classified(tmp_path: Path, golden: Path) -> None:
    examples = golden / "golden.calling_examples.tfrecord.gz"
    wanted = make_bundle(tmp_path / "bundle", partition_size=1000, spec=PileupSpec())
    output = tmp_path / "cvo.tfrecord.gz"
    assert run_call_variants([examples], output, model=wanted) == 84
    for example, record in zip(read_examples(examples), read_records(output), strict=True):
        # the variant is handed on as it came
        assert example.variant in record
        assert decode_call(record).alts == example.alts


def test_long_windows_are_cut_to_what_images_need(
    tmp_path: Path, testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PileupSpec(alt_aligned_pileup=AltAlignedPileup.ROWS)
    settings = ExampleSettings(pileup=spec, realign=RealignSettings())
    regions = tuple(partitions([Region("ctg2", 3_000, 7_000)]))

    def drawn() -> np.ndarray:
        with ExampleMaker([testdata / "sample.bam"], testdata / "ref.fa", settings) as maker:
            examples = maker.run_examples(regions)
            return examples.draw(0, len(examples.plan))

    whole = drawn()
    assert len(whole) > 10
    monkeypatch.setattr("pileupcnn.examples.LONG_WINDOW", 1)
    assert np.array_equal(drawn(), whole)


def test_partitions_dealt_out_as_deepvariant_does(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "load_classifier", ImageClassifier)
    expected = by_call(tmp_path, inputs)
    assert by_stages(tmp_path, inputs, 3, shard_scheme="deepvariant") == expected
    for number in range(3):
        path = tmp_path / f"examples.tfrecord-{number:05d}-of-00003.gz"
        assert "blocks" not in json.loads(Path(f"{path}.example_info.json").read_text())
        sites = [variant_to_site(decode_variant(e.variant)) for e in read_examples(path)]
        # ctg1 has 600 partitions of 100 bp, so the count goes on in ctg2
        places = [s.start // 100 + (600 if s.contig == "ctg2" else 0) for s in sites]
        assert {place % 3 for place in places} == {number}
        assert places == sorted(places)
    # order is lost in one file of several shards, but not the records
    shuffled = [tmp_path / f"examples.tfrecord-{k:05d}-of-00003.gz" for k in (2, 0, 1)]
    run_call_variants(shuffled, tmp_path / "mixed.tfrecord", model=inputs["model"])
    run_postprocess_variants(inputs["ref"], [tmp_path / "mixed.tfrecord"], tmp_path / "mixed.vcf")
    assert records(tmp_path / "mixed.vcf") == expected


def test_the_bundle_decides_on_rounding(tmp_path: Path, network: None) -> None:
    """The same weights, rounded and not: read from the bundle, applied by the classifier."""
    if not (model.DEFAULT_MODEL / "model.json").exists():
        pytest.skip("no shipped model")
    shipped = model.load_bundle()
    model.save_bundle(
        tmp_path / "rounded",
        name="rounded",
        architecture=shipped.architecture,
        settings=shipped.settings,
        weights=shipped.weights,
        onnx=shipped.onnx,
        training={},
        rounded=True,
    )
    rounding = model.load_bundle(tmp_path / "rounded")
    assert (shipped.rounded, rounding.rounded) == (False, True)
    assert (shipped.joint, rounding.joint) == (True, False)
    # nearly blank: of loud noise a network may be so sure that nothing is left to round
    images = np.random.default_rng(1).integers(0, 2, (20, *shipped.spec.shape), np.uint8)
    plain, rounded = (classifiers.load_classifier(b, "cpu")(images) for b in (shipped, rounding))
    assert (plain != rounded).any()
    np.testing.assert_array_equal(rounded, classifiers.round_probabilities(plain))
    description = json.loads((tmp_path / "rounded" / "model.json").read_text())
    description["round_probabilities"] = 1
    (tmp_path / "rounded" / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="'round_probabilities' is missing or not a bool"):
        model.load_bundle(tmp_path / "rounded")


def test_rounding() -> None:
    rows = np.array([[0.25, 0.5, 0.25], [1, 0, 0], [0.1, 0.2, 0.7], [1e-12, 2e-12, 1]], np.float32)
    rounded = classifiers.round_probabilities(rows)
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(rounded[:2], rows[:2])
    np.testing.assert_allclose(rounded[2], rows[2], atol=1e-7)
    assert rounded[3].tolist() == [0, 0, 1]


# ---- files of make-examples ----


def test_files_and_descriptions(tmp_path: Path, inputs: Inputs, read_examples: ModuleType) -> None:
    """An independent reader finds what the descriptions say."""
    statistics = run_make_examples(
        **inputs, examples=tmp_path / "e.tfrecord@3.gz", candidates=tmp_path / "c.tfrecord@3.gz"
    )
    counts: list[int] = []
    found = 0
    for number in range(3):
        tail = f"tfrecord-{number:05d}-of-00003.gz"
        described = json.loads((tmp_path / f"e.{tail}.example_info.json").read_text())
        assert list(described) == ["version", "shape", "channels", "blocks", "settings"]
        assert described["version"] == "1.9.0"
        assert described["shape"] == [20, 31, 7]
        assert described["channels"] == [1, 2, 3, 4, 5, 6, 19]
        examples = [
            read_examples.parse_example(r) for r in read_examples.records(tmp_path / f"e.{tail}")
        ]
        assert len(examples) == sum(described["blocks"])
        assert all(e["image/shape"] == ("int64", [20, 31, 7]) for e in examples)
        calls = [
            read_examples.parse_dvcall(r) for r in read_examples.records(tmp_path / f"c.{tail}")
        ]
        sites = dict.fromkeys(e["variant/encoded"][1][0] for e in examples)
        assert [read_examples.parse_variant(v) for v in sites] == [c["variant"] for c in calls]
        counts += described["blocks"]
        found += len(calls)
    # 600 and 200 partitions of 100 bp are 13 blocks of 64
    assert len(counts) == 13
    assert sum(counts) == statistics.records
    assert found == statistics.candidates == 253


def test_labels_are_those_of_training(tmp_path: Path, inputs: Inputs, testdata: Path) -> None:
    path = tmp_path / "labelled.tfrecord.gz"
    truth = {"truth": testdata / "truth.vcf.gz", "confident": testdata / "confident.bed"}
    statistics = run_make_examples(**inputs, examples=path, threads=2, **truth)
    labels: Counter[int] = Counter()
    for example in read_examples(path):
        variant = decode_variant(example.variant)
        site = variant_to_site(variant)
        assert example.label == sum(g - 1 in example.alts for g in site.genotype if g > 0)
        assert variant.info[0].value.values[0].string_value == "sample.bam"
        labels[example.label] += 1
    assert sum(labels.values()) == statistics.records > 100
    assert min(labels[0], labels[1], labels[2]) > 5


@pytest.mark.golden
@pytest.mark.parametrize("labeler", ["haplotype", "positional"])
def test_golden_training_examples_are_made_from_the_reads(
    tmp_path: Path,
    shared: Path,
    golden: Path,
    read_examples: ModuleType,
    labeler: Scheme,
    show: Show,
) -> None:
    data = shared / "data" / "NA12878_HiSeq_50x_hg19_chr20"
    bundle = make_bundle(
        tmp_path / "bundle", partition_size=1_000, spec=PileupSpec(), realign=RealignSettings()
    )
    truth = data / "test_nist.b37_chr20_100kbp_at_10mb.vcf.gz"
    statistics = run_make_examples(
        data / "ucsc.hg19.chr20.unittest.fasta.gz",
        [data / "NA12878_S1.chr20.10_10p1mb.bam"],
        tmp_path / "examples.tfrecord.gz",
        truth=truth,
        confident=truth.with_name("test_nist.b37_chr20_100kbp_at_10mb.bed"),
        labeler=labeler,
        regions=["chr20:10,000,000-10,010,000"],
        model=bundle,
        threads=2,
    )

    def decoded(path: Path) -> list[dict[str, Any]]:
        examples = map(read_examples.parse_example, read_examples.records(path))
        found = [dict(example) for example in examples]
        for example in found:
            (variant,) = example["variant/encoded"][1]
            example["variant/encoded"] = read_examples.parse_variant(variant)
        return found

    wanted = decoded(golden / "golden.training_examples.tfrecord.gz")
    found = decoded(tmp_path / "examples.tfrecord.gz")
    equal = sum(one == other for one, other in zip(found, wanted, strict=True))
    show(f"golden training examples, labels of {labeler}: {equal}/{len(wanted)} from the reads")
    assert equal == len(wanted) == 49
    counts = {"candidates": 49, "not confident": 29, "false": 1}
    if labeler == "haplotype":
        counts |= {"truth": 48, "missed": 0, "alleles found": 84, "alleles missed": 0}
    assert statistics.labels == counts


def test_labels_are_classes(tmp_path: Path, inputs: Inputs, testdata: Path) -> None:
    """The truth of the test data has no field for this, so one is added."""
    with pysam.VariantFile(str(testdata / "truth.vcf.gz")) as truth:
        truth.header.info.add("kind", 1, "String", "Class")
        with pysam.VariantFile(str(tmp_path / "t.vcf.gz"), "wz", header=truth.header) as typed:
            for record in truth:
                record.info["kind"] = "odd" if record.start % 2 else "even"
                typed.write(record)
    pysam.tabix_index(str(tmp_path / "t.vcf.gz"), preset="vcf")
    options = {
        "truth": tmp_path / "t.vcf.gz",
        "confident": testdata / "confident.bed",
        "classes": "none,odd,even",
        "classes_field": "kind",
    }
    run_make_examples(**inputs, examples=tmp_path / "e.tfrecord", **options)
    labels: Counter[int] = Counter()
    for example in read_examples(tmp_path / "e.tfrecord"):
        site = variant_to_site(decode_variant(example.variant))
        assert site.genotype == (-1, -1)
        assert example.label in (0, 1 if site.start % 2 else 2)
        labels[example.label] += 1
    assert min(labels[0], labels[1], labels[2]) > 5
    assert len(pack_examples([tmp_path / "e.tfrecord"], tmp_path / "store")) == labels.total()
    with pytest.raises(InputError, match="'odd' in INFO field kind, not one of none, even"):
        run_make_examples(
            **inputs, examples=tmp_path / "f.tfrecord", **{**options, "classes": "none,even"}
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "a,b"}, "go together"),
        ({"classes_field": "kind"}, "go together"),
        ({"classes": "a", "classes_field": "kind"}, "give two or 3 names"),
        ({"classes": "a,b,c,d", "classes_field": "kind"}, "give two or 3 names"),
        ({"classes": "a,b,a", "classes_field": "kind"}, "all different"),
        ({"classes": "a,b,", "classes_field": "kind"}, "all different"),
        ({"classes": "a,b", "classes_field": "kind", "labeler": "positional"}, "leave one"),
    ],
)
def test_wrong_classes(
    tmp_path: Path, inputs: Inputs, testdata: Path, options: dict[str, str], message: str
) -> None:
    truth = {"truth": testdata / "truth.vcf.gz", "confident": testdata / "confident.bed"}
    with pytest.raises(OptionError, match=message):
        run_make_examples(**inputs, examples=tmp_path / "e.tfrecord", **truth, **options)
    with pytest.raises(OptionError, match="are for labels"):
        run_make_examples(**inputs, examples=tmp_path / "e.tfrecord", labeler="haplotype")


def test_partitions_of_labelled_examples_are_those_of_the_regions(
    tmp_path: Path, inputs: Inputs, testdata: Path
) -> None:
    """A small confident region takes nothing from an image that it labels."""
    (tmp_path / "small.bed").write_text("ctg1\t1030\t9970\n")
    truth = {"truth": testdata / "truth.vcf.gz", "confident": tmp_path / "small.bed"}
    run_make_examples(**inputs, examples=tmp_path / "e.tfrecord", **truth)
    run_make_examples(**inputs, examples=tmp_path / "all.tfrecord")
    known = {e.image.tobytes() for e in read_examples(tmp_path / "all.tfrecord")}
    found = list(read_examples(tmp_path / "e.tfrecord"))
    assert len(found) > 5
    for example in found:
        assert example.image.tobytes() in known
        assert 1030 <= decode_variant(example.variant).start < 9970


def test_the_same_bytes_for_any_threads(tmp_path: Path, inputs: Inputs) -> None:
    made = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        run_make_examples(**inputs, examples=folder / "e@2.gz", threads=threads)
        made.append(contents(folder))
    assert made[0] == made[1]
    assert len(made[0]) == 4


def test_devices_take_examples(inputs: Inputs) -> None:
    assert run_make_examples(**inputs, examples="/dev/null").records > 253
    assert not Path("/dev/null.example_info.json").exists()


def test_no_tensorflow_is_imported_to_draw(tmp_path: Path, inputs: Inputs) -> None:
    code = f"""
import sys
from pileupcnn.cli.make_examples import run_make_examples
run_make_examples({str(inputs["ref"])!r}, [{str(inputs["reads"][0])!r}],
    {str(tmp_path / "e.tfrecord")!r}, model={str(inputs["model"])!r}, regions=["ctg1:1-3000"])
sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- what is wrong ----


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, testdata: Path, bundle: Path) -> Path:
    """Examples e@3 and answers a@3 of a part of the data."""
    folder = tmp_path_factory.mktemp("sound")
    inputs = {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "model": bundle}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "load_classifier", PlaceClassifier)
        run_make_examples(**inputs, examples=folder / "e@3", regions=["ctg2"])
        for tail in (f"-{k:05d}-of-00003" for k in range(3)):
            run_call_variants([folder / f"e{tail}"], folder / f"a{tail}", model=bundle)
    return folder


@pytest.fixture
def files(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "files")
    return tmp_path / "files"


def fails(folder: Path, run: Callable[[], object], *says: str, kind: type = InputError) -> None:
    """It must end with one sentence that holds every part of `says`, and leave nothing."""
    before = contents(folder)
    with pytest.raises(PileupCNNError) as caught:
        run()
    assert caught.type is kind
    text = str(caught.value)
    assert "\n" not in text
    for part in says:
        assert part in text
    assert contents(folder) == before


def shard(folder: Path, name: str, number: int = 1) -> Path:
    return folder / f"{name}-{number:05d}-of-00003"


def damage(path: Path) -> None:
    """Flip a bit of the last record's data."""
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def classify(files: Path, inputs: Inputs, *names: str) -> Callable[[], object]:
    given = [files / name for name in names or ["e@3"]]
    return lambda: run_call_variants(given, files / "out.tfrecord.gz", model=inputs["model"])


def gather(files: Path, inputs: Inputs, *names: str) -> Callable[[], object]:
    given = [files / name for name in names or ["a@3"]]
    return lambda: run_postprocess_variants(inputs["ref"], given, files / "out.vcf.gz")


def test_sound_files(files: Path, inputs: Inputs) -> None:
    """What is damaged below."""
    classify(files, inputs)()
    gather(files, inputs)()
    gather(files, inputs, "out.tfrecord.gz")()


def test_missing_shard(files: Path, inputs: Inputs) -> None:
    shard(files, "e").unlink()
    shard(files, "a").unlink()
    for name in ("e@3", "e", "e-00000-of-00003"):
        fails(files, classify(files, inputs, name), "e-00001-of-00003", "missing")
    for name in ("a@3", "a", "a-00000-of-00003"):
        fails(files, gather(files, inputs, name), "a-00001-of-00003", "missing")


def test_shards_of_two_sets(files: Path, inputs: Inputs) -> None:
    for name in "ea":
        shutil.copy(shard(files, name), files / f"{name}-00000-of-00002")
    fails(files, classify(files, inputs, "e"), "e@2", "e@3")
    fails(files, gather(files, inputs, "a"), "a@2", "a@3")


@pytest.mark.parametrize("harm", ["damage", "cut"])
def test_damaged_records(files: Path, inputs: Inputs, harm: str) -> None:
    for name in "ea":
        path = shard(files, name)
        count = sum(1 for _ in read_records(path))
        if harm == "damage":
            damage(path)
        else:
            path.write_bytes(path.read_bytes()[:-7])
        run = classify(files, inputs) if name == "e" else gather(files, inputs)
        fails(files, run, path.name, f"record {count}")


def test_channels_of_another_model(files: Path, inputs: Inputs, tmp_path: Path) -> None:
    channels = tuple(Channel)[:6]
    spec = PileupSpec(height=20, width=31, channels=channels)
    other = {"model": make_bundle(tmp_path / "other", partition_size=100, spec=spec)}
    fails(files, classify(files, other), "e-00000-of-00003", "strand", "insert_size")


def test_images_of_another_shape(files: Path, inputs: Inputs, tmp_path: Path) -> None:
    spec = PileupSpec(height=22, width=31)
    other = {"model": make_bundle(tmp_path / "other", partition_size=100, spec=spec)}
    fails(files, classify(files, other), "20 x 31 x 7", "22 x 31 x 7")
    for path in files.glob("*.json"):
        path.unlink()
    fails(files, classify(files, other), "record 1", "20 x 31 x 7", "22 x 31 x 7")


def test_shards_of_two_shapes(files: Path, inputs: Inputs, tmp_path: Path, testdata: Path) -> None:
    spec = PileupSpec(height=22, width=31)
    other = {**inputs, "model": make_bundle(tmp_path / "other", partition_size=100, spec=spec)}
    run_make_examples(**other, examples=files / "e@3", regions=["ctg2"], task=1)
    fails(files, classify(files, inputs), "e-00001-of-00003", "20 x 31 x 7", "22 x 31 x 7")
    # told by the images, too, where the description lies
    shutil.copy(
        Path(f"{shard(files, 'e', 0)}.example_info.json"),
        Path(f"{shard(files, 'e', 1)}.example_info.json"),
    )
    fails(files, classify(files, inputs), "e-00001-of-00003", "record 1", "22 x 31 x 7")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["blocks"].__setitem__(0, d["blocks"][0] - 1), "more records than"),
        (lambda d: d["blocks"].append(1), "fewer records than"),
        (lambda d: d["blocks"].append(-1), "does not describe examples"),
        (lambda d: d.pop("channels"), "does not describe examples"),
        (lambda d: d.update(shape="20"), "does not describe examples"),
    ],
)
def test_wrong_descriptions(
    files: Path, inputs: Inputs, change: Callable[[Any], None], says: str
) -> None:
    path = Path(f"{shard(files, 'e', 2)}.example_info.json")
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    fails(files, classify(files, inputs), "e-00002-of-00003", says)
    path.write_text("{")
    fails(files, classify(files, inputs), path.name, "cannot be read")


def test_answers_that_do_not_belong_together(files: Path, inputs: Inputs, testdata: Path) -> None:
    path = shard(files, "a")
    payloads = list(read_records(path))
    site = decode_call(payloads[0]).site

    def rewrite(*changed: bytes) -> None:
        with RecordWriter(path) as out:
            for payload in changed:
                out.write(payload)

    rewrite(payloads[0], *payloads)
    fails(files, gather(files, inputs), f"{site.contig}:{site.start + 1:,}", "each once")
    foreign = dataclasses.replace(site, sample="bob")
    rewrite(encode_call(site_to_variant(foreign), [0], [0, 0, 1], joint=False), *payloads[1:])
    fails(files, gather(files, inputs), "several samples", "'bob'")
    beyond = dataclasses.replace(site, start=10**8)
    rewrite(*payloads, encode_call(site_to_variant(beyond), [0], [0, 0, 1], joint=False))
    fails(files, gather(files, inputs), "a-00001-of-00003", "100,000,001", "--ref")


@pytest.mark.parametrize(
    ("joint", "expected"),
    [((False,) * 3, "1/2"), ((True,) * 3, "1/1"), ((True, True, False), "1/2")],
)
def test_images_are_taken_together_where_all_say_so(
    files: Path, inputs: Inputs, tmp_path: Path, joint: tuple[bool, ...], expected: str
) -> None:
    said = [((0,), (0.01, 0.2, 0.79)), ((1,), (0.6, 0.35, 0.05)), ((0, 1), (0.001, 0.009, 0.99))]
    site = decode_call(next(read_records(shard(files, "a")))).site
    site = dataclasses.replace(site, alleles=("CAA", "CA", "C"), allele_depths=(1, 22, 2))
    with RecordWriter(tmp_path / "answers.tfrecord") as out:
        for (alts, probabilities), together in zip(said, joint, strict=True):
            out.write(encode_call(site_to_variant(site), alts, probabilities, together))
    output = tmp_path / "calls.vcf"
    run_postprocess_variants(inputs["ref"], [tmp_path / "answers.tfrecord"], output)
    (line,) = [line for line in output.read_text().splitlines() if line[0] != "#"]
    assert line.split("\t")[9].split(":")[0] == expected


def test_options_that_do_not_go_together(files: Path, inputs: Inputs) -> None:
    def make(**options: Any) -> Callable[[], object]:
        return lambda: run_make_examples(**{"examples": files / "new@3", **inputs, **options})

    fails(files, make(task=3), "--task 3", "numbered from 0", kind=OptionError)
    fails(files, make(candidates=files / "c@2"), "the same number", kind=OptionError)
    fails(files, make(truth="x.vcf.gz"), "--confident", kind=OptionError)
    answers = make(truth="x.vcf.gz", confident="x.bed", small_model_calls=files / "s@3")
    fails(files, answers, "--small-model-calls is for calling", kind=OptionError)
    fails(files, make(examples=files / "absent" / "e@2"), "absent", kind=OutputError)
    for task, output in (("3/3", "x.tfrecord"), ("-1/3", "x.tfrecord"), ("1", "x.tfrecord")):
        call = lambda task=task, output=output: run_call(  # noqa: E731
            **inputs, output=files / output, task=task
        )
        fails(files, call, f"--task {task}", kind=OptionError)
    fails(
        files,
        lambda: run_call(**inputs, output=files / "x.vcf.gz", task="1/3"),
        "x.vcf.gz",
        "postprocess-variants",
        kind=OptionError,
    )


def test_damaged_reads_leave_no_examples(files: Path, inputs: Inputs, testdata: Path) -> None:
    """All shards or none: the damage lies in a late block."""
    reads = files / "damaged.bam"
    content = bytearray((testdata / "sample.bam").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    reads.write_bytes(content)
    shutil.copy(testdata / "sample.bam.bai", files / "damaged.bam.bai")
    inputs["reads"] = [reads]
    fails(
        files,
        lambda: run_make_examples(**inputs, examples=files / "new@3", threads=2),
        "damaged.bam",
    )


def test_examples_of_which_one_cannot_be_completed_appear_nowhere(
    files: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would mix with those of an earlier run."""
    complete = RecordWriter._complete

    def fail_late(self: RecordWriter) -> None:
        if self.path == shard(files, "e", 2):
            raise OSError(errno.ENOSPC, "No space left on device")
        complete(self)

    monkeypatch.setattr(RecordWriter, "_complete", fail_late)
    fails(
        files,
        lambda: run_make_examples(**inputs, examples=files / "e@3", regions=["ctg1:1-20,000"]),
        "No space left",
        kind=OutputError,
    )


def test_answers_of_the_small_model_are_not_forgotten(
    tmp_path: Path, testdata: Path, network: None
) -> None:
    """The package's model answers most sites without an image."""
    reads = {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "regions": ["ctg2"]}
    run_make_examples(**reads, examples=tmp_path / "e.tfrecord@2")
    run_call_variants([tmp_path / "e.tfrecord@2"], tmp_path / "a")
    calls = small_model_calls(tmp_path, "e", 2)
    assert calls
    gathered = lambda **more: run_postprocess_variants(  # noqa: E731
        reads["ref"], [tmp_path / "a"], tmp_path / "out.vcf", **more
    )
    fails(tmp_path, gathered, str(tmp_path / "a"), "--small-model-calls")
    assert gathered(small_model_calls=calls) > 0


def test_nor_are_they_where_shards_are_empty(tmp_path: Path, testdata: Path, network: None) -> None:
    reads = {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"]}
    run_make_examples(**reads, regions=["ctg2:1-5,000"], examples=tmp_path / "e.tfrecord@2")
    for tail in ("-00000-of-00002", "-00001-of-00002"):
        run_call_variants([tmp_path / f"e.tfrecord{tail}"], tmp_path / f"a{tail}")
    assert not list(read_calls(tmp_path / "a-00001-of-00002"))
    gathered = lambda *inputs, **more: run_postprocess_variants(  # noqa: E731
        reads["ref"], inputs, tmp_path / "out.vcf", **more
    )
    answers, calls = tmp_path / "a@2", small_model_calls(tmp_path, "e", 2)
    fails(tmp_path, lambda: gathered(answers), "a-00000-of-00002", "--small-model-calls")
    whole = gathered(answers, small_model_calls=calls)
    assert whole == gathered(answers, *calls) > 1


def test_answers_from_a_pipe(files: Path, inputs: Inputs) -> None:
    os.mkfifo(files / "pipe")
    with pytest.raises(InputError, match="is no regular file, and is read twice"):
        gather(files, inputs, "pipe")()


def test_one_sentence_on_the_command_line(files: Path, inputs: Inputs) -> None:
    damage(shard(files, "a"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pileupcnn", "postprocess-variants", "--ref"),
            *(str(inputs["ref"]), "--input", str(files / "a@3"), "--output", "out.vcf"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=files,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pileupcnn: error: ")
    assert done.stderr.count("\n") == 1
    assert not (files / "out.vcf").exists()


def test_no_candidates_at_all(tmp_path: Path, inputs: Inputs) -> None:
    inputs["regions"] = ["ctg1:1-50"]
    expected = by_call(tmp_path, inputs, sample="X")
    assert not variant_lines(expected)
    got = by_stages(tmp_path, inputs, 2)
    # nothing names the sample where there are no records
    assert got[-1].split("\t")[-1] == "default"
    assert [line for line in got if not line.startswith("#CHROM")] == [
        line for line in expected if not line.startswith("#CHROM")
    ]
    run_postprocess_variants(
        inputs["ref"], [tmp_path / "answers.tfrecord.gz"], tmp_path / "x.vcf", sample="X"
    )
    assert records(tmp_path / "x.vcf") == expected
