"""Probabilities that mean what they say: scaling of a network's logits, and how to check it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100
"""Of Newton's method; a handful are needed."""

RIDGE = 1e-3
"""Pull towards leaving the logits as they are, in images: decides where the data do not."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Calibrated logits are ``logits * slope + offset``.

    Attributes
    ----------
    slope : float
        One over what is called the temperature.
    offset : tuple of float
        One for each class, the first 0: shares of the classes that differ
        from those in training.
    """

    slope: float
    offset: tuple[float, ...]

    def fold(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last layer of a network, changed so that its logits are calibrated.

        Parameters
        ----------
        kernel : float32 [features, classes]
        bias : float32 [classes]
        """
        scaled = bias.astype(np.float64) * self.slope + np.array(self.offset)
        return (kernel * np.float32(self.slope)), scaled.astype(np.float32)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities, float64 [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    likelihood = np.exp(shifted)
    result: NDArray[np.float64] = likelihood / likelihood.sum(axis=1, keepdims=True)
    return result


def fit_scaling(logits: NDArray[np.floating], label: NDArray[np.integer]) -> Scaling:
    """The scaling that makes held-out labels likeliest.

    Slope and offsets together are a logistic regression on the logits, with
    one slope for all classes: a convex problem, solved by Newton's method.
    Temperature scaling (Guo et al. 2017, "On calibration of modern neural
    networks") is the case without offsets.

    Parameters
    ----------
    logits : float [n, classes]
        Of images that did not train the network, in natural proportions.
    label : int [n]
    """
    n, classes = logits.shape
    x = logits.astype(np.float64)
    onehot = np.eye(classes)[label]
    start = np.array([1.0] + [0.0] * (classes - 1))
    found = start.copy()

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = x * parameters[0] + np.concatenate([[0.0], parameters[1:]])
        top = scaled.max(axis=1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        pull = RIDGE * ((parameters - start) ** 2).sum() / 2
        return float((normaliser - scaled[np.arange(n), label]).sum() + pull)

    for _ in range(MAX_STEPS):
        p = softmax(x * found[0] + np.concatenate([[0.0], found[1:]]))
        # derivatives of the logits: x by the slope, 1 for its own class by an offset
        mean_x = (p * x).sum(axis=1)
        gradient = np.concatenate(
            [[((p - onehot) * x).sum()], (p - onehot)[:, 1:].sum(axis=0)]
        ) + RIDGE * (found - start)
        hessian = np.empty((classes, classes))
        hessian[0, 0] = ((p * x * x).sum(axis=1) - mean_x**2).sum()
        hessian[0, 1:] = (p * (x - mean_x[:, None])).sum(axis=0)[1:]
        hessian[1:, 0] = hessian[0, 1:]
        hessian[1:, 1:] = np.diag(p.sum(axis=0)[1:]) - p[:, 1:].T @ p[:, 1:]
        step = np.linalg.solve(hessian + RIDGE * np.eye(classes), gradient)
        size, before = 1.0, loss(found)
        while loss(found - size * step) > before and size > 1e-6:
            size /= 2
        found -= size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return Scaling(float(found[0]), (0.0, *found[1:].tolist()))


@dataclass(frozen=True, slots=True)
class Reliability:
    """One bin of a reliability table: predictions of like confidence.

    Attributes
    ----------
    low, high : float
        Phred-scaled confidence, half-open.
    count : int
    wrong : int
        Of them, those whose likeliest class is not the true one.
    expected : float
        How many should be wrong by their own probabilities.
    """

    low: float
    high: float
    count: int
    wrong: int
    expected: float


def reliability(
    probabilities: NDArray[np.floating],
    label: NDArray[np.integer],
    edges: tuple[float, ...] = (0, 5, 10, 20, 30, 40, 100),
) -> list[Reliability]:
    """Compare confidence with outcome.

    Parameters
    ----------
    probabilities : float [n, classes]
    label : int [n]
    edges : tuple of float
        Of the bins, Phred-scaled; the last includes all above.
    """
    best = probabilities.argmax(axis=1)
    error = 1 - probabilities[np.arange(len(best)), best].astype(np.float64)
    phred = -10 * np.log10(np.maximum(error, 1e-10))
    wrong = best != label
    return [
        Reliability(
            low, high, int(inside.sum()), int(wrong[inside].sum()), float(error[inside].sum())
        )
        for low, high in itertools.pairwise(edges)
        for inside in [(phred >= low) & (phred < high if high < edges[-1] else True)]
    ]
