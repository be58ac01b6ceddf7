"""Messages of DeepVariant's files, both ways."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileupcnn.candidates import Detail
from pileupcnn.errors import InputError
from pileupcnn.examples import ExampleMaker, ExampleSettings, RunExamples
from pileupcnn.messages.convert import (
    INDEL,
    SNP,
    MessageError,
    Site,
    candidate_site,
    decode_call,
    decode_example,
    decode_variant,
    encode_call,
    encode_candidate,
    encode_example,
    read_calls,
    read_examples,
    site_to_variant,
    variant_to_site,
)
from pileupcnn.messages.features_pb2 import Example
from pileupcnn.messages.variants_pb2 import CallVariantsOutput, DeepVariantCall, Variant
from pileupcnn.regions import Region, partitions
from pileupcnn.tfrecords import RecordWriter, read_records

CANDIDATES = "golden.calling_candidates.tfrecord.gz"
CALLS = "golden.postprocess_single_site_input-00000-of-00001.tfrecord.gz"
EXAMPLES = "golden.calling_examples.tfrecord.gz"
TRAINING = "golden.training_examples.tfrecord.gz"
REFERENCE_CALLS = "golden.postprocess_gvcf_input.tfrecord.gz"

SITE = Site("NA1", "chr1", 99, ("A", "C", "AT"), 50, (20, 25, 4))
PROBABILITIES = (0.25, 0.625, 0.125)
IMAGE = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)

Show = Callable[[str], None]


@pytest.fixture(scope="module")
def made(testdata: Path) -> RunExamples:
    """Examples of the project's own data."""
    reads, reference = testdata / "sample.bam", testdata / "ref.fa"
    with ExampleMaker([reads], reference, ExampleSettings(), detail=Detail.SUPPORT) as maker:
        return maker.run_examples(tuple(partitions([Region("ctg1", 0, 20_000)])))


def write(path: Path, payloads: list[bytes]) -> Path:
    with RecordWriter(path) as out:
        for payload in payloads:
            out.write(payload)
    return path


# ---- DeepVariant's files ----


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        (REFERENCE_CALLS, Variant, 235),
        (CANDIDATES, DeepVariantCall, 78),
        (CALLS, CallVariantsOutput, 84),
        (EXAMPLES, Example, 84),
        (TRAINING, Example, 49),
    ],
)
def test_golden_messages_are_written_again_byte_for_byte(
    golden: Path, show: Show, name: str, kind: Any, count: int
) -> None:
    records = list(read_records(golden / name))
    equal = sum(kind.FromString(record).SerializeToString() == record for record in records)
    show(f"{name}: {equal}/{len(records)} written again byte for byte")
    assert equal == len(records) == count


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "reads_name", "count"),
    [(EXAMPLES, "", 84), (TRAINING, "NA12878_S1.chr20.10_10p1mb.bam", 49)],
)
def test_golden_examples_are_made_anew(
    golden: Path, read_examples: ModuleType, show: Show, name: str, reads_name: str, count: int
) -> None:
    equal = 0
    for record in read_records(golden / name):
        example = decode_example(record)
        site = variant_to_site(decode_variant(example.variant))
        variant = site_to_variant(site, reads_name)
        theirs = read_examples.parse_example(record)
        ours = read_examples.parse_example(
            encode_example(example.image, variant, example.alts, example.label)
        )
        assert list(ours) == sorted(theirs)
        for features in (theirs, ours):  # the order of a map in them is free
            kind, (encoded,) = features["variant/encoded"]
            features["variant/encoded"] = kind, read_examples.parse_variant(encoded)
        equal += dict(theirs) == dict(ours)
    show(f"{name}: {equal}/{count} made anew, all features equal")
    assert equal == count


@pytest.mark.golden
def test_golden_calls_are_made_anew(golden: Path, read_examples: ModuleType, show: Show) -> None:
    equal = 0
    for record in read_records(golden / CALLS):
        call = decode_call(record)
        ours = encode_call(site_to_variant(call.site), call.alts, call.probabilities, joint=False)
        equal += read_examples.parse_cvo(ours) == read_examples.parse_cvo(record)
    show(f"{CALLS}: {equal}/84 made anew, all fields equal")
    assert equal == 84


@pytest.mark.golden
def test_files_of_another_kind_are_told(golden: Path) -> None:
    with pytest.raises(InputError, match=r"record 1 is not an example \(.*; give another file"):
        list(read_examples(golden / CALLS))
    for name in (EXAMPLES, CANDIDATES, REFERENCE_CALLS):
        with pytest.raises(InputError, match="record 1 is not an output of call-variants"):
            list(read_calls(golden / name))


# ---- ours ----


def test_a_run_is_written_and_read(
    tmp_path: Path, made: RunExamples, read_examples: ModuleType
) -> None:
    candidates, plan = made.candidates, made.plan
    images = made.draw(0, len(plan))
    assert len(plan) > len(candidates) > 5  # a site of several ALTs is among them
    sites = [candidate_site(candidates, i, "NA1") for i in range(len(candidates))]
    variants = list(map(site_to_variant, sites))
    owners = plan.candidate.tolist()
    shown = [[alt for alt in row if alt >= 0] for row in plan.alts.tolist()]

    found = [encode_candidate(candidates, made.reads, i, site) for i, site in enumerate(sites)]
    path = write(tmp_path / "candidates.tfrecord.gz", found)
    for record, site in zip(read_examples.records(str(path), True), sites, strict=True):
        candidate = read_examples.parse_dvcall(record)
        variant, support = candidate["variant"], candidate["allele_support"]
        assert list(support) == sorted(support)
        assert set(support) - {"UNCALLED_ALLELE"} == set(variant["alts"])
        assert variant["alts"] == list(site.alleles[1:])
        assert (variant["ref"], variant["start"]) == (site.alleles[0], site.start)
        assert variant["end"] == site.start + len(site.alleles[0])
        assert variant["calls"][0]["info"]["AD"] == list(site.allele_depths)
        depths = zip(variant["alts"], site.allele_depths[1:], strict=True)
        assert all(len(support[alt]) >= reads for alt, reads in depths)  # bad bases do not count

    encoded = [encode_example(images[i], variants[owners[i]], shown[i]) for i in range(len(plan))]
    path = write(tmp_path / "examples.tfrecord.gz", encoded)
    for i, record in enumerate(read_examples.records(str(path))):
        example = read_examples.parse_example(record)
        assert list(example) == sorted(example)
        assert example["image/shape"] == ("int64", [100, 221, 7])
        assert example["image/encoded"] == ("bytes", [images[i].tobytes()])
        indices = example["alt_allele_indices/encoded"][1][0]
        assert read_examples.parse_indices(indices) == shown[i]
        variant = read_examples.parse_variant(example["variant/encoded"][1][0])
        locus = f"{variant['reference_name']}:{variant['start'] + 1}-{variant['end']}"
        assert example["locus"] == ("bytes", [locus.encode()])


@pytest.mark.parametrize(
    ("alleles", "kind"),
    [(("A", "C"), SNP), (("A", "C", "G"), SNP), (("AC", "GT"), INDEL), (("A", "C", "AT"), INDEL)],
)
def test_types_are_deepvariants(alleles: tuple[str, ...], kind: int) -> None:
    site = Site("NA1", "chr1", 99, alleles, 5, (1,) * len(alleles))
    example = decode_example(encode_example(IMAGE, site_to_variant(site), [0], 2))
    assert (example.variant_type, example.label, example.alts) == (kind, 2, (0,))
    assert variant_to_site(decode_variant(example.variant)) == site
    np.testing.assert_array_equal(example.image, IMAGE)


sites = st.integers(1, 3).flatmap(
    lambda alts: st.builds(
        Site,
        sample=st.text(st.characters(exclude_categories=["Cs"])),
        contig=st.text("ACGT*:@-_.0123", min_size=1),
        start=st.integers(0, 2**40),
        alleles=st.tuples(*[st.text("ACGTN", min_size=1)] * (alts + 1)),
        depth=st.integers(0, 2**31 - 1),
        allele_depths=st.tuples(*[st.integers(0, 2**31 - 1)] * (alts + 1)),
        genotype=st.tuples(st.integers(-1, 3), st.integers(-1, 3)),
    )
)


@given(sites, st.tuples(*[st.floats(0, 1)] * 3))
def test_calls_round_trip(site: Site, probabilities: tuple[float, float, float]) -> None:
    variant = site_to_variant(site)
    assert variant_to_site(decode_variant(variant.SerializeToString())) == site
    call = decode_call(encode_call(variant, [0], np.array(probabilities), joint=False))
    assert (call.site, call.alts, call.probabilities) == (site, (0,), probabilities)


def test_no_reads_are_no_division_by_zero() -> None:
    variant = site_to_variant(Site("NA1", "chr1", 0, ("A", "C"), 0, (0, 0)))
    assert variant.calls[0].info[2].value.values[0].number_value == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: v.ClearField("reference_name"), "no contig"),
        (lambda v: v.ClearField("alternate_bases"), "no contig, position, REF or ALT"),
        (lambda v: v.ClearField("calls"), "0 samples at chr1:100, not one"),
        (lambda v: v.calls.append(v.calls[0]), "2 samples"),
        (lambda v: v.calls[0].ClearField("info"), "no AD and DP of 3 alleles at chr1:100"),
        (lambda v: v.alternate_bases.append("G"), "no AD and DP of 4 alleles"),
        (lambda v: v.calls[0].info[0].value.values[0].__setattr__("int_value", -1), "no AD"),
    ],
)
def test_variants_that_lack_something_are_told(
    damage: Callable[[Variant], None], message: str
) -> None:
    variant = site_to_variant(SITE)
    damage(variant)
    with pytest.raises(MessageError, match=message):
        decode_call(encode_call(variant, [0], PROBABILITIES, joint=False))


@pytest.mark.parametrize(
    ("alts", "probabilities", "message"),
    [
        ([], PROBABILITIES, r"ALT indices \[\]"),
        ([0, 2], PROBABILITIES, r"ALT indices \[0, 2\] at chr1:100"),
        ([-1], PROBABILITIES, "ALT indices"),
        ([0], PROBABILITIES[:2], "probabilities"),
        ([0], (0.5, float("nan"), 0.5), "probabilities"),
        ([0], (0.5, -0.1, 0.6), "probabilities"),
    ],
)
def test_calls_that_are_wrong_are_told(
    alts: list[int], probabilities: tuple[float, ...], message: str
) -> None:
    with pytest.raises(MessageError, match=message):
        decode_call(encode_call(site_to_variant(SITE), alts, probabilities, joint=False))


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        ("image/shape", {"int64_list": {"value": [2, 3, 5]}}, "an image of 24 bytes"),
        ("image/shape", {"int64_list": {"value": [-2, -3, 4]}}, "an image of 24 bytes"),
        ("image/shape", {"int64_list": {"value": [24]}}, "an image of 24 bytes"),
        ("image/encoded", {"float_list": {"value": [1]}}, "no feature image/encoded"),
        ("label", {"int64_list": {"value": [3]}}, "the label 3, not 0, 1 or 2"),
        ("label", {}, "no feature label"),
        ("variant_type", {}, "no feature variant_type"),
        ("alt_allele_indices/encoded", {"bytes_list": {"value": [b"\n"]}}, "AltAlleleIndices"),
    ],
)
def test_examples_that_are_wrong_are_told(
    tmp_path: Path, name: str, feature: dict[str, Any], message: str
) -> None:
    right = encode_example(IMAGE, site_to_variant(SITE), [0], 1)
    example = Example.FromString(right)
    (place,) = (i for i, e in enumerate(example.features.feature) if e.key == name)
    del example.features.feature[place]
    example.features.feature.add(key=name, value=feature)
    path = write(tmp_path / "x.tfrecord", [right, example.SerializeToString()])
    examples = read_examples(path)
    assert next(examples).label == 1
    with pytest.raises(InputError, match=f"record 2 is not an example .*{message}"):
        next(examples)


def test_bytes_that_are_no_message_are_told() -> None:
    for decode in (decode_example, decode_call, decode_variant):
        with pytest.raises(MessageError, match="its bytes are no"):
            decode(b"\xff\xff")


# ---- together with TensorFlow ----

ORDERS = {
    "tensorflow first": ("import tensorflow as tf", "from pileupcnn.messages import convert"),
    "tensorflow last": ("from pileupcnn.messages import convert", "import tensorflow as tf"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_tensorflow_lives_beside_our_messages_and_reads_them(tmp_path: Path, order: str) -> None:
    record = encode_example(IMAGE, site_to_variant(SITE), [0, 1], 1)
    path = write(tmp_path / "x.tfrecord.gz", [record, record])
    code = f"""
    {"; ".join(ORDERS[order])}
    features = {{
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/shape": tf.io.FixedLenFeature([3], tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "alt_allele_indices/encoded": tf.io.FixedLenFeature([], tf.string),
    }}
    records = tf.data.TFRecordDataset({str(path)!r}, compression_type="GZIP")
    for record in records:
        data = record.numpy()
        example = tf.io.parse_single_example(record, features)
        ours = convert.decode_example(data)
        image = tf.io.decode_raw(example["image/encoded"], tf.uint8).numpy()
        assert (image.reshape(example["image/shape"].numpy()) == ours.image).all()
        assert int(example["label"]) == ours.label == 1
        assert example["alt_allele_indices/encoded"].numpy() == bytes([10, 2, 0, 1])
        assert len(tf.train.Example.FromString(data).features.feature) == 8
        print("read")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "read\nread\n"


def test_tensorflow_is_not_imported() -> None:
    code = "import sys, pileupcnn.messages.convert; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
