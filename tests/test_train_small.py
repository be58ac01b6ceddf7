"""The small model learns what the numbers say, and is believed only where it may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pileupcnn import networks
from pileupcnn.errors import ModelError
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import load_bundle, save_bundle
from pileupcnn.small_model import INPUTS, SmallModel, SmallModelSettings, is_sure
from pileupcnn.train_small import (
    LEAST_IMAGES,
    LIMITS,
    NEVER,
    Described,
    SmallFitSettings,
    _limit,
    believe,
    fit_dense_network,
    plain_images,
)


def sites(n: int, seed: int) -> Described:
    """Depths, and reads of an ALT drawn by the genotype; a third each."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    depth = rng.integers(20, 60, n)
    alt = rng.binomial(depth, np.array([0.08, 0.5, 0.97])[label])
    features = np.zeros((n, len(INPUTS)), np.int32)
    for name, values in {
        "num_reads_supports_ref": depth - alt,
        "num_reads_supports_alt": alt,
        "total_depth": depth,
        "variant_allele_frequency": 100 * alt // depth,
        "is_snp": rng.integers(0, 2, n),
    }.items():
        features[:, INPUTS.index(name)] = values
    return Described(features, label.astype(np.int8))


FIT = SmallFitSettings(epochs=6, batch_size=64)


@pytest.fixture(scope="module")
def trained() -> tuple[SmallModel, dict[str, float], Described]:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)
    training, held_out = sites(6_000, 1), sites(4_000, 2)
    network = fit_dense_network(training, np.ones(6_000), held_out, FIT, 3)
    # beside one that is never wrong
    model, figures = believe(network, training.features, held_out, held_out.label.astype(np.int64))
    return model, figures, held_out


def test_it_learns(trained: tuple[SmallModel, dict[str, float], Described]) -> None:
    model, figures, held_out = trained
    found = model.predict(held_out.features)
    assert (found.argmax(axis=1) == held_out.label).mean() > 0.97
    # what it says is what happens
    assert found.max(axis=1).mean() == pytest.approx(
        (found.argmax(axis=1) == held_out.label).mean(), abs=0.01
    )
    sure = is_sure(held_out.features, found, model.settings)
    assert figures["sure"] == pytest.approx(sure.mean())
    assert figures["sure"] > 0.3
    # beside a network that is never wrong it may not be wrong
    assert figures["wrong_where_sure"] == 0
    assert 20 <= model.settings.min_gq_snps < NEVER


def test_it_is_not_asked_of_deep_sites(
    trained: tuple[SmallModel, dict[str, float], Described],
) -> None:
    model, _, held_out = trained
    assert 55 <= model.settings.max_depth < 60
    deep = held_out.features.copy()
    deep[:, INPUTS.index("total_depth")] = 1_000
    certain = np.tile(np.array([[1, 0, 0]], np.float32), (len(deep), 1))
    assert not is_sure(deep, certain, model.settings).any()


def test_the_same_seed_gives_the_same(
    trained: tuple[SmallModel, dict[str, float], Described],
) -> None:
    model, _, held_out = trained
    again = fit_dense_network(sites(6_000, 1), np.ones(6_000), held_out, FIT, 3)
    assert np.array_equal(again(held_out.features), model.predict(held_out.features))


def test_a_bundle_keeps_it(
    trained: tuple[SmallModel, dict[str, float], Described], tmp_path: Path
) -> None:
    model, _, held_out = trained
    path = tmp_path / "bundle"
    save_bundle(
        path,
        name="small",
        architecture="strided",
        settings=ExampleSettings(),
        weights=[np.zeros(3, np.float32)],
        onnx=b"",
        training={},
        small_model=model,
    )
    kept = load_bundle(path).small_model
    assert kept is not None
    assert kept.settings == model.settings
    assert np.array_equal(kept.predict(held_out.features), model.predict(held_out.features))
    (path / "small_model.npz").write_bytes(b"other")
    with pytest.raises(ModelError, match="checksum"):
        load_bundle(path)


def test_too_few_images_show_nothing() -> None:
    sure = np.tile(np.array([[0.9999, 0.00005, 0.00005]], np.float32), (LEAST_IMAGES, 1))
    label = np.zeros(LEAST_IMAGES, np.int8)
    every = np.ones(LEAST_IMAGES, bool)
    right = np.zeros(LEAST_IMAGES, np.int64)
    assert _limit(sure, label, right, every) == LIMITS[0]
    every[0] = False
    assert _limit(sure, label, right, every) == NEVER


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="max_depth"):
        SmallModelSettings(max_depth=-1)


def test_plain_is_what_it_is_sure_of_and_right() -> None:
    answers = np.array(
        [[0.995, 0.005, 0], [0.98, 0.02, 0], [0.001, 0.999, 0], [0, 0.001, 0.999]], np.float32
    )
    images = Described(np.zeros((4, len(INPUTS)), np.int32), np.array([0, 0, 0, 2], np.int8))
    plain = plain_images(lambda _: answers, images)  # type: ignore[arg-type]
    assert plain.tolist() == [True, False, False, True]
