"""The small model: when it is believed, and its place between candidates and images."""

from __future__ import annotations

import dataclasses
import os
import random
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from stages import (
    PlaceClassifier,
    by_call,
    by_shards,
    by_stages,
    by_tasks,
    contents,
    make_bundle,
    records,
    small_model_calls,
)

from pileupcnn import classifiers
from pileupcnn.candidates import Detail
from pileupcnn.cli.call import run_call
from pileupcnn.cli.call_variants import run_call_variants
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.cli.postprocess_variants import run_postprocess_variants
from pileupcnn.errors import InputError, OptionError
from pileupcnn.examples import ExampleMaker, ExampleSettings
from pileupcnn.messages.convert import (
    MessageError,
    Site,
    read_calls,
    read_examples,
    site_to_variant,
    variant_to_site,
)
from pileupcnn.regions import Region, partitions
from pileupcnn.small_model import (
    FEATURES,
    INPUTS,
    MAX_SHOWN_DEPTH,
    MAX_SHOWN_LENGTH,
    DenseNetwork,
    SmallModel,
    SmallModelSettings,
    answer,
    features,
    pixels,
)
from pileupcnn.small_model import inputs as small_model_inputs
from pileupcnn.survey import Survey

Inputs = dict[str, Any]
Use = Callable[[Callable[[NDArray[np.int32]], NDArray[np.float32]]], None]

MID = '##FORMAT=<ID=MID,Number=1,Type=String,Description="'


def sure(rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Of every set certain that there are 0, 1 or 2 copies."""
    return np.array([np.roll([0.9998, 1e-4, 1e-4], seed % 3) for seed in seeds(rows)], np.float32)


def unsure(rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Of none."""
    return np.full((len(rows), 3), [0.4, 0.35, 0.25], np.float32)


def mixed(rows: NDArray[np.int32]) -> NDArray[np.float32]:
    """Of half of them."""
    chosen = np.array([[seed % 2] for seed in seeds(rows)], bool).reshape(-1, 1)
    return np.where(chosen, sure(rows), unsure(rows))


def seeds(rows: NDArray[np.int32]) -> list[int]:
    """A number for each row that depends on it alone."""
    assert rows.dtype == np.int32
    assert rows.shape[1:] == (len(INPUTS),)
    return [zlib.crc32(row.tobytes()) >> 3 for row in rows]


class NeverAsked(PlaceClassifier):
    """A network that no image reaches."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise AssertionError(f"{len(images)} images")


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "load_classifier", PlaceClassifier)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Put a small model into every bundle."""
    load = classifiers.load_model

    def used(predict: Callable[[NDArray[np.int32]], NDArray[np.float32]]) -> None:
        small = SmallModel(predict)
        monkeypatch.setattr(
            classifiers,
            "load_model",
            lambda path: dataclasses.replace(load(path), small_model=small),
        )

    return used


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", partition_size=100)


@pytest.fixture
def inputs(testdata: Path, bundle: Path) -> Inputs:
    return {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "model": bundle}


def formats(lines: list[str]) -> list[str]:
    """FORMAT of each record."""
    return [line.split("\t")[8] for line in lines if not line.startswith("#")]


SURVEY = Survey(depth=25.0, slip_rate=0.01)


def shown_depth(percent: float) -> float:
    """An excess of up to 35 counts three sevenths, from there on it catches up to 60."""
    if percent <= 100:
        return percent
    if percent <= 135:
        return 100 + (percent - 100) * 3 / 7
    if percent <= 160:
        return 115 + (percent - 135) * 9 / 5
    return min(percent, 200)


def test_inputs_are_features_and_the_sample(testdata: Path) -> None:
    run = tuple(partitions([Region("ctg1", 0, 5_000)]))
    with ExampleMaker(
        [testdata / "sample.bam"], testdata / "ref.fa", ExampleSettings(), detail=Detail.REFERENCE
    ) as maker:
        made = maker.run_examples(run)
    described = made.candidates, made.reads, made.plan
    rows = small_model_inputs(*described, SURVEY)
    assert len(rows) > 5
    assert rows.shape[1] == len(INPUTS)
    np.testing.assert_array_equal(rows[:, :-2], features(*described))
    depth = rows[:, FEATURES.index("total_depth")]
    # at a usual depth of 25 and at lower ones, at which the sites are deeper than usual
    for usual in (25.0, depth.max() / 1.35, depth.max() / 1.5, depth.max() / 1.8, depth.max() / 3):
        relative = small_model_inputs(*described, Survey(depth=usual, slip_rate=0.01))[:, -2]
        wanted = [round(shown_depth(100 * d / usual)) for d in depth.tolist()]
        np.testing.assert_array_equal(relative, wanted)
    assert (rows[:, -1] == 20).all()
    unusual = small_model_inputs(*described, Survey(depth=0.0, slip_rate=1.0))
    assert (unusual[:, -2:] == (100, 0)).all()


# ---- when it is believed ----


def test_snps_and_others_have_thresholds_of_their_own(testdata: Path) -> None:
    reads, reference = testdata / "sample.bam", testdata / "ref.fa"
    run = tuple(partitions([Region("ctg1", 0, 20_000)]))
    # of 18.5, 23, 29.2 and 70
    doubts = np.array([0.014, 0.005, 0.0012, 0.0], np.float32)

    def predict(rows: NDArray[np.int32]) -> NDArray[np.float32]:
        doubt = np.resize(doubts, len(rows))
        return np.stack([doubt, 1 - doubt, 0 * doubt], axis=1)

    small = SmallModel(predict)
    with ExampleMaker([reads], reference, ExampleSettings()) as maker:
        plan = maker.run_examples(run).plan
    with ExampleMaker(
        [reads], reference, ExampleSettings(), small_model=small, survey=SURVEY
    ) as maker:
        made = maker.run_examples(run)
    assert made.answers is not None
    accepted = list(zip(made.answers.sets.candidate, made.answers.sets.alts.tolist(), strict=True))
    left = list(zip(made.plan.candidate, made.plan.alts.tolist(), strict=True))
    kinds = set()
    for i, (index, alts) in enumerate(zip(plan.candidate, plan.alts.tolist(), strict=True)):
        ref, *others = made.candidates.alleles(index)
        snp = len(ref) == 1 and all(len(others[alt]) == 1 for alt in alts if alt >= 0)
        kinds.add((snp, i % 4))
        is_sure = i % 4 >= (1 if snp else 2)
        assert ((index, alts) in accepted) == is_sure
        assert ((index, alts) in left) != is_sure
    assert len(kinds) == 8
    assert sorted(accepted + left) == sorted(zip(plan.candidate, plan.alts.tolist(), strict=True))
    np.testing.assert_array_equal(made.answers.probabilities.max(axis=1) > 0.98, True)


def test_settings_have_ranges() -> None:
    with pytest.raises(ValueError, match="min_gq_indels"):
        SmallModelSettings(min_gq_indels=-1)


def test_no_candidates_need_no_answers(testdata: Path) -> None:
    small = SmallModel(NeverAsked)  # type: ignore[arg-type]
    settings = ExampleSettings()
    reads = [testdata / "sample.bam"]
    with ExampleMaker(
        reads, testdata / "ref.fa", settings, small_model=small, survey=SURVEY
    ) as maker:
        made = maker.run_examples((Region("ctg1", 0, 1),))
        assert len(made.candidates) == 0
        answers, plan = answer(small, made.candidates, made.reads, made.plan, SURVEY)
    assert len(answers.sets) == len(plan) == len(answers.probabilities) == 0


# ---- its place ----


def test_what_is_never_sure_changes_nothing(tmp_path: Path, inputs: Inputs, use: Use) -> None:
    without = by_call(tmp_path, inputs)
    use(unsure)
    found = by_call(tmp_path, inputs)
    assert [line for line in found if not line.startswith(MID)] == without
    assert len(found) == len(without) + 1
    assert by_stages(tmp_path, inputs, 2) == found
    assert contents_of(tmp_path, "examples_call") == {}


def contents_of(folder: Path, stem: str) -> dict[str, list[Any]]:
    """The small model's calls by file, of those that have some."""
    calls = {path.name: list(read_calls(path)) for path in folder.glob(f"{stem}*")}
    return {name: found for name, found in calls.items() if found}


def test_what_is_always_sure_draws_nothing(
    tmp_path: Path, inputs: Inputs, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "load_classifier", NeverAsked)
    use(sure)
    found = by_call(tmp_path, inputs)
    assert formats(found) == ["GT:GQ:DP:AD:VAF:MID:PL"] * 253
    assert all(line.split("\t")[9].split(":")[5] == "small_model" for line in found[-253:])
    assert sum(line.startswith(MID) for line in found) == 1
    assert by_stages(tmp_path, inputs, 3) == found
    assert by_tasks(tmp_path, inputs, 2) == found


@pytest.mark.parametrize("shards", [1, 3])
def test_stages_give_the_records_of_call(
    tmp_path: Path, inputs: Inputs, use: Use, shards: int
) -> None:
    use(mixed)
    expected = by_call(tmp_path, inputs)
    kinds = formats(expected)
    assert len(kinds) == 253
    assert 50 < kinds.count("GT:GQ:DP:AD:VAF:MID:PL") < 200
    for threads in 2, 3:
        assert by_call(tmp_path, inputs, threads=threads) == expected
    assert by_stages(tmp_path, inputs, shards, threads=2) == expected
    assert by_stages(tmp_path, inputs, shards, suffix="") == expected
    assert by_shards(tmp_path, inputs, shards, random.Random(shards)) == expected
    assert by_tasks(tmp_path, inputs, shards, threads=2) == expected


def test_gvcfs_hold_what_the_small_model_called(tmp_path: Path, inputs: Inputs, use: Use) -> None:
    """By ``call``, by stages that write everything at once, and by tasks; haploid contigs, too."""
    haploid = {"haploid_contigs": ["ctg2"]}
    outputs = {"examples": "e", "candidates": "c", "gvcf": "n"}

    def make(name: str) -> dict[str, str]:
        paths = {key: f"{tmp_path}/{name}-{stem}@2.tfrecord" for key, stem in outputs.items()}
        run_make_examples(**inputs, **haploid, **paths, threads=2)
        return paths

    def gather(name: str, answers: list[str], **options: Any) -> None:
        files = {"output": f"{tmp_path}/{name}.vcf", "gvcf": f"{tmp_path}/{name}.g.vcf"}
        run_postprocess_variants(inputs["ref"], answers, **files, **haploid, **options)
        for suffix in (".vcf", ".g.vcf"):
            assert records(f"{tmp_path}/{name}{suffix}") == records(f"{tmp_path}/call{suffix}")

    make("plain")
    use(mixed)
    run_call(
        **inputs, **haploid, output=tmp_path / "call.vcf", gvcf=tmp_path / "call.g.vcf", threads=2
    )
    calls, gvcf = (records(tmp_path / f"call{suffix}") for suffix in (".vcf", ".g.vcf"))
    answered = "GT:GQ:DP:AD:VAF:MID:PL"
    assert 50 < formats(calls).count(answered) < 200
    assert formats(gvcf).count(answered) == formats(calls).count(answered)
    assert formats(gvcf).count("GT:GQ:MIN_DP:PL") == len(formats(gvcf)) - 253 > 253
    for started in (MID, "##ALT=<ID=*,", "##FORMAT=<ID=MIN_DP,"):
        assert sum(line.startswith(started) for line in gvcf) == 1
    by_stage = make("s")
    # the small model changes nothing of what is like the reference
    for number in range(2):
        tail = f"n-{number:05d}-of-00002.tfrecord"
        assert (tmp_path / f"plain-{tail}").read_bytes() == (tmp_path / f"s-{tail}").read_bytes()
    answers = f"{tmp_path}/answers"
    run_call_variants([by_stage["examples"]], answers, model=inputs["model"])
    said = f"{tmp_path}/s-e_call_variant_outputs@2.tfrecord"
    gather("stages", [answers], small_model_calls=[said], nonvariant=[by_stage["gvcf"]])
    for number in range(2):
        tail = f"-{number:05d}-of-00002.tfrecord"
        run_call(
            **inputs,
            **haploid,
            output=f"{tmp_path}/t{tail}",
            gvcf=f"{tmp_path}/tn{tail}",
            task=f"{number}/2",
        )
    gather("tasks", [f"{tmp_path}/t@2.tfrecord"], nonvariant=[f"{tmp_path}/tn@2.tfrecord"])


def test_stages_write_the_same_for_any_number_of_threads(
    tmp_path: Path, inputs: Inputs, use: Use
) -> None:
    use(mixed)
    written = []
    for threads in 1, 2, 3:
        folder = tmp_path / str(threads)
        folder.mkdir()
        run_make_examples(
            **inputs,
            examples=folder / "e.tfrecord@2.gz",
            candidates=folder / "c.tfrecord@2.gz",
            threads=threads,
        )
        written.append(contents(folder))
    assert written[0] == written[1] == written[2]
    assert "e_call_variant_outputs.tfrecord-00001-of-00002.gz" in written[0]
    assert len(written[0]) == 8


def test_each_set_is_answered_once(
    tmp_path: Path, inputs: Inputs, use: Use, read_examples_module: ModuleType
) -> None:
    """By the small model or by an image; a site's MID says whether by the former."""
    use(mixed)
    paths = {name: tmp_path / f"{name}.tfrecord" for name in ("e", "c")}
    run_make_examples(**inputs, examples=paths["e"], candidates=paths["c"])
    calls = list(read_calls(tmp_path / "e_call_variant_outputs.tfrecord"))
    by_site: dict[tuple[str, int], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        assert call.site.model_id == "small_model"
        by_site[call.site.contig, call.site.start]["calls"].append(call.alts)
    for example in read_examples(paths["e"]):
        variant = read_examples_module.parse_variant(example.variant)
        site = by_site[variant["reference_name"], variant["start"]]
        site["images"].append(example.alts)
        assert variant["calls"][0]["info"].get("MID") == (
            ["small_model"] if site["calls"] else None
        )
    both = 0
    candidates = list(read_examples_module.records(paths["c"]))
    assert len(candidates) == len(by_site) == 253
    for record in candidates:
        candidate = read_examples_module.parse_dvcall(record)
        variant = candidate["variant"]
        site = by_site[variant["reference_name"], variant["start"]]
        alts = range(len(variant["alts"]))
        wanted = [(i,) for i in alts] + [(i, j) for i in alts for j in alts if i < j]
        assert sorted(site["calls"] + site["images"], key=wanted.index) == wanted
        assert site["calls"] == sorted(site["calls"], key=wanted.index)
        indices = list(map(tuple, candidate["make_examples_alt_allele_indices"]))
        assert indices == site["images"]
        assert candidate["ref_support_ext"] or variant["calls"][0]["info"]["AD"][0] == 0
        both += bool(site["calls"] and site["images"])
    assert both > 0


@pytest.fixture
def read_examples_module(read_examples: ModuleType) -> ModuleType:
    """The independent decoder, under another name than our function's."""
    return read_examples


def test_candidates_at_contig_ends_are_dropped_whole(
    tmp_path: Path, testdata: Path, use: Use
) -> None:
    """Those of which some image is left, that is."""
    wide = make_bundle(tmp_path / "wide", partition_size=1_000)
    inputs = {"ref": testdata / "ref.fa", "reads": [testdata / "sample.bam"], "model": wide}
    use(mixed)
    expected = by_call(tmp_path, inputs, deepvariant_compat=True)
    assert by_stages(tmp_path, inputs, 2, deepvariant_compat=True) == expected


def test_labelled_examples_are_all_drawn(
    tmp_path: Path, inputs: Inputs, use: Use, testdata: Path
) -> None:
    truth = {"truth": testdata / "truth.vcf.gz", "confident": testdata / "confident.bed"}
    run_make_examples(**inputs, examples=tmp_path / "a.tfrecord", **truth)
    use(sure)
    run_make_examples(**inputs, examples=tmp_path / "b.tfrecord", **truth)
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()
    assert small_model_calls(tmp_path, "b", 1) == []


def test_the_network_can_be_left_alone(tmp_path: Path, inputs: Inputs, use: Use) -> None:
    plain = by_call(tmp_path, inputs)
    use(mixed)
    assert by_call(tmp_path, inputs) != plain
    assert by_call(tmp_path, inputs, small_model=False) == plain
    run_make_examples(**inputs, examples=tmp_path / "a.tfrecord", small_model=False)
    assert not (tmp_path / "a_call_variant_outputs.tfrecord").exists()


def test_examples_into_nothing(tmp_path: Path, inputs: Inputs, use: Use) -> None:
    use(mixed)
    statistics = run_make_examples(**inputs, examples=os.devnull)
    assert statistics.answered > 50
    assert statistics.records > 50
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OptionError, match="is no regular file; name one with --small-model-calls"):
        run_make_examples(**inputs, examples=tmp_path / "pipe")


def test_calls_left_out_are_missed(tmp_path: Path, inputs: Inputs, use: Use) -> None:
    use(mixed)
    run_make_examples(**inputs, examples=tmp_path / "e.tfrecord")
    answers = tmp_path / "answers.tfrecord"
    run_call_variants([tmp_path / "e.tfrecord"], answers, model=inputs["model"])
    with pytest.raises(InputError, match="beside the examples with --small-model-calls"):
        run_postprocess_variants(inputs["ref"], [answers], tmp_path / "out.vcf")
    calls = tmp_path / "e_call_variant_outputs.tfrecord"
    run_postprocess_variants(inputs["ref"], [answers, calls], tmp_path / "out.vcf")
    named, given = (tmp_path / name for name in ("call.vcf", "given.vcf"))
    run_call(**inputs, output=named)
    run_postprocess_variants(inputs["ref"], [answers], given, small_model_calls=[calls])
    texts = [
        [line for line in path.read_text().splitlines() if "##source" not in line]
        for path in (named, given, tmp_path / "out.vcf")
    ]
    assert texts[0] == texts[1] == texts[2]


def test_a_mid_that_would_break_the_vcf_is_refused() -> None:
    site = Site("NA1", "chr1", 99, ("A", "C"), 5, (2, 3), model_id="small_model")
    variant = site_to_variant(site)
    assert variant_to_site(variant).model_id == "small_model"
    for bad in ("a:b", "a\tb", "a,b", "é", ""):
        variant.calls[0].info[2].value.values[0].string_value = bad
        with pytest.raises(MessageError, match="a MID that is no name at chr1:100"):
            variant_to_site(variant)


# ---- the network ----


def weights(*widths: int) -> list[NDArray[np.float32]]:
    """Of layers of these widths."""
    rng = np.random.default_rng(7)
    arrays = []
    for inner, outer in zip((len(INPUTS), *widths), widths, strict=False):
        arrays += [rng.normal(0, inner**-0.5, (inner, outer)), rng.normal(0, 0.1, outer)]
    return [array.astype(np.float32) for array in arrays]


@pytest.mark.parametrize("widths", [(3,), (32, 3), (750, 750, 3)])
def test_dense_network_computes_what_it_says(widths: tuple[int, ...]) -> None:
    arrays = weights(*widths)
    rows = np.random.default_rng(1).integers(0, 100, (300, len(INPUTS)), np.int32)
    values = pixels(rows).astype(np.float64)
    for i in range(0, len(arrays), 2):
        values = values @ arrays[i].astype(np.float64) + arrays[i + 1]
        if i + 2 < len(arrays):
            values = np.maximum(values, 0)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    found = DenseNetwork(arrays)(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=2e-4)


def test_dense_network_sees_what_an_image_shows() -> None:
    """Of 10 and of 300 times as many reads: `pixels` ends at a hundred."""
    rows = np.zeros((2, len(INPUTS)), np.int32)
    for name, count in {"total_depth": 200, "num_reads_supports_ref": 120}.items():
        rows[:, INPUTS.index(name)] = [10 * count, 300 * count]
    shallow, deep = DenseNetwork(weights(32, 3)).logits(rows)
    assert np.array_equal(shallow, deep)


def test_dense_network_says_the_same_of_a_row_among_any_others() -> None:
    network = DenseNetwork(weights(750, 750, 3))
    rows = np.random.default_rng(2).integers(0, 100, (73, len(INPUTS)), np.int32)
    whole = network(rows)
    for n in 1, 2, 3, 4, 5, 7, 72:
        np.testing.assert_array_equal(network(rows[:n]), whole[:n])
        np.testing.assert_array_equal(network(rows[-n:][::-1]), whole[-n:][::-1])


@pytest.mark.parametrize(
    "widths",
    [
        ((len(INPUTS), 8), (8,), (9, 3), (3,)),
        ((len(INPUTS) + 1, 3), (3,)),
        ((len(INPUTS), 3), (2,)),
    ],
)
def test_dense_network_refuses_what_does_not_fit(widths: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="a layer of"):
        DenseNetwork([np.zeros(shape, np.float32) for shape in widths])


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.integers(0, 100))
def test_pixels_of_deep_sites_keep_their_shares(ref: int, alt: int, other: int) -> None:
    rows = np.zeros((1, len(INPUTS)), np.int32)
    counts = {
        "num_reads_supports_ref": ref,
        "num_reads_supports_alt": alt,
        "alt_indices_depth": ref + alt,
        "total_depth": ref + alt + other,
    }
    for name, count in counts.items():
        rows[0, INPUTS.index(name)] = count
    rows[0, INPUTS.index("insertion_length")] = 300
    shown = pixels(rows)[0]
    total = ref + alt + other
    for name, count in counts.items():
        wanted = count if total <= MAX_SHOWN_DEPTH else count * MAX_SHOWN_DEPTH / total
        assert abs(int(shown[INPUTS.index(name)]) - wanted) <= (
            0 if total <= MAX_SHOWN_DEPTH else 0.5
        )
    assert shown[INPUTS.index("insertion_length")] == MAX_SHOWN_LENGTH
    assert np.count_nonzero(shown) <= 5
