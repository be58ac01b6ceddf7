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
    scaling = fit_scaling(logits * 2.5 + np.array([0.0, 1.0, -2.0]), label)
    assert scaling.slope == pytest.approx(1 / 2.5, rel=0.03)
    assert scaling.offset == pytest.approx((0.0, -1 / 2.5, 2 / 2.5), abs=0.06)


def test_calibrated_logits_stay() -> None:
    logits, label = draw(40_000, 2)
    scaling = fit_scaling(logits, label)
    assert scaling.slope == pytest.approx(1, rel=0.03)
    assert scaling.offset == pytest.approx((0, 0, 0), abs=0.06)


def test_perfect_separation_has_an_answer() -> None:
    logits = np.eye(3)[np.arange(300) % 3] * 5
    scaling = fit_scaling(logits, np.arange(300) % 3)
    assert np.isfinite([scaling.slope, *scaling.offset]).all()
    assert scaling.slope > 1


def test_folding_scales_the_logits() -> None:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(8, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    features = rng.normal(size=(20, 8)).astype(np.float32)
    folded_kernel, folded_bias = Scaling(0.7, (0.0, 0.5, -1.0)).fold(kernel, bias)
    assert folded_kernel.dtype == folded_bias.dtype == np.float32
    expected = (features @ kernel + bias) * 0.7 + [0, 0.5, -1]
    assert features @ folded_kernel + folded_bias == pytest.approx(expected, abs=1e-5)


def test_reliability_counts_every_prediction_once() -> None:
    logits, label = draw(20_000, 4)
    table = reliability(softmax(logits), label)
    assert sum(row.count for row in table) == 20_000
    assert sum(row.wrong for row in table) == (logits.argmax(axis=1) != label).sum()
    for row in table:
        assert row.wrong == pytest.approx(row.expected, abs=4 * row.expected**0.5 + 3)
