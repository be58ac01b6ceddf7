"""Scaling of logits: it finds a known distortion, and folds into the last layer."""

from __future__ import annotations

import numpy as np
import pytest

from pileupcnn.calibration import Scaling, fit_scaling, reliability, softmax


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated logits, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (n, 3))
    chosen = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, chosen


def test_a_known_distortion_is_undone() -> None:
    logits, label = draw(40_000, 1)
    scaling = fit_scaling(label, logits * 2.5 + np.array([0.0, 1.0, -2.0]))
    assert scaling.slopes == pytest.approx((1 / 2.5,), rel=0.03)
    assert scaling.offset == pytest.approx((0.0, -1 / 2.5, 2 / 2.5), abs=0.06)


def test_calibrated_logits_stay() -> None:
    logits, label = draw(40_000, 2)
    scaling = fit_scaling(label, logits)
    assert scaling.slopes == pytest.approx((1,), rel=0.03)
    assert scaling.offset == pytest.approx((0, 0, 0), abs=0.06)


def test_sources_are_weighed_by_what_they_know() -> None:
    """Two that see the truth through noise, the first through less, and one that sees nothing."""
    logits, label = draw(40_000, 5)
    rng = np.random.default_rng(6)
    good, poor = (logits + rng.normal(0, spread, logits.shape) for spread in (1, 3))
    nothing = rng.normal(0, 4, logits.shape)
    scaling = fit_scaling(label, good, poor, nothing)
    first, second, third = scaling.slopes
    assert first > 3 * second > 0
    assert third == pytest.approx(0, abs=0.02)

    def loss(scaling: Scaling, *sources: np.ndarray) -> float:
        chosen = softmax(scaling.apply(*sources))[np.arange(len(label)), label]
        return float(-np.log(chosen).mean())

    found = loss(scaling, good, poor, nothing)
    assert found < loss(fit_scaling(label, good), good)
    # no other is better
    for change in (0.9, 1.1):
        for source in range(3):
            slopes = [s * change if i == source else s for i, s in enumerate(scaling.slopes)]
            assert loss(Scaling((*slopes,), scaling.offset), good, poor, nothing) > found


@pytest.mark.parametrize("spread", [1e3, 1e5])
@pytest.mark.parametrize("with_good", [False, True])
def test_large_wrong_logits_do_no_harm(spread: float, with_good: bool) -> None:
    logits, label = draw(200, 9)
    wrong = np.random.default_rng(10).normal(0, spread, logits.shape)
    sources = (wrong, logits) if with_good else (wrong,)
    scaling = fit_scaling(label, *sources)
    chosen = softmax(scaling.apply(*sources))[np.arange(len(label)), label]
    assert -np.log(chosen).mean() <= np.log(3)


def test_a_source_does_not_count_against_what_it_says() -> None:
    logits, label = draw(2_000, 11)
    same = fit_scaling(label, logits, logits)
    assert min(same.slopes) >= 0
    assert sum(same.slopes) == pytest.approx(fit_scaling(label, logits).slopes[0], rel=0.01)
    against = fit_scaling(label, logits, -0.5 * logits + np.random.default_rng(12).normal(size=3))
    assert against.slopes[1] == 0


def test_what_counts_against_itself_is_left_out_even_alone() -> None:
    _, label = draw(2_000, 11)
    against = -np.eye(3)[label] + np.random.default_rng(12).normal(size=(2_000, 3))
    scaling = fit_scaling(label, against)
    assert scaling.slopes == (0,)
    shares = softmax(scaling.apply(against)).mean(axis=0)
    assert shares == pytest.approx(np.bincount(label) / 2_000, abs=1e-3)


def test_perfect_separation_has_an_answer() -> None:
    logits = np.eye(3)[np.arange(300) % 3] * 5
    scaling = fit_scaling(np.arange(300) % 3, logits)
    assert np.isfinite([*scaling.slopes, *scaling.offset]).all()
    assert scaling.slopes[0] > 1


def test_folding_scales_the_logits() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(8, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    features = rng.normal(size=(20, 8)).astype(np.float32)
    folded_kernel, folded_bias = Scaling((0.7,), (0.0, 0.5, -1.0)).fold(kernel, bias)
    assert folded_kernel.dtype == folded_bias.dtype == np.float32
    expected = (features @ kernel + bias) * 0.7 + [0, 0.5, -1]
    assert features @ folded_kernel + folded_bias == pytest.approx(expected, abs=1e-5)


def test_the_last_features_are_logits_of_the_others() -> None:
    rng = np.random.default_rng(8)
    kernel = rng.normal(size=(8 + 2 * 3, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    features = rng.normal(size=(20, 8 + 2 * 3)).astype(np.float32)
    scaling = Scaling((0.7, 0.2, 0.1), (0.0, 0.5, -1.0))
    folded_kernel, folded_bias = scaling.fold(kernel, bias)
    own = features[:, :8] @ kernel[:8] + bias
    expected = scaling.apply(own, features[:, 8:11], features[:, 11:])
    assert features @ folded_kernel + folded_bias == pytest.approx(expected, abs=1e-5)


def test_reliability_counts_every_prediction_once() -> None:
    logits, label = draw(20_000, 4)
    table = reliability(softmax(logits), label)
    assert sum(row.count for row in table) == 20_000
    assert sum(row.wrong for row in table) == (logits.argmax(axis=1) != label).sum()
    for row in table:
        assert row.wrong == pytest.approx(row.expected, abs=4 * row.expected**0.5 + 3)
