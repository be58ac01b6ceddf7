"""Probabilities that mean what they say: scaling of a network's logits, and how to check it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100
"""Of Newton's method; a handful are needed."""

SMALLEST_STEP = 1e-9
"""Change of a slope or offset that is not worth another step."""

RIDGE = 1e-3
"""Pull towards leaving the logits as they are, in images: decides where the data do not."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Calibrated logits are a sum of the logits of one source or several, and an offset.

    Attributes
    ----------
    slopes : tuple of float
        What each source's logits are multiplied by; of a single one, one over what
        is called the temperature.
    offset : tuple of float
        One for each class, the first 0: shares of the classes that differ
        from those in training.
    """

    slopes: tuple[float, ...]
    offset: tuple[float, ...]

    def apply(self, *sources: NDArray[np.floating]) -> NDArray[np.float64]:
        """The calibrated logits, float64 [n, classes], of those of each source."""
        total = np.broadcast_to(np.array(self.offset), sources[0].shape)
        for slope, logits in zip(self.slopes, sources, strict=True):
            total = total + slope * logits.astype(np.float64)
        return total

    def fold(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last layer of the first source, changed so that its logits are calibrated.

        Parameters
        ----------
        kernel : float32 [features, classes]
            The last features are the logits of the other sources, if there are any;
            what the layer made of them is forgotten.
        bias : float32 [classes]
        """
        kernel = kernel * np.float32(self.slopes[0])
        others = self.slopes[1:]
        if others:
            own = np.eye(len(bias), dtype=np.float32)
            kernel[-len(others) * len(bias) :] = np.concatenate([own * slope for slope in others])
        scaled = bias.astype(np.float64) * self.slopes[0] + np.array(self.offset)
        return kernel, scaled.astype(np.float32)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities, float64 [n, classes]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    likelihood = np.exp(shifted)
    result: NDArray[np.float64] = likelihood / likelihood.sum(axis=1, keepdims=True)
    return result


def fit_scaling(
    label: NDArray[np.integer], logits: NDArray[np.floating], *others: NDArray[np.floating]
) -> Scaling:
    """The scaling that makes held-out labels likeliest.

    Slopes and offsets together are a logistic regression on the logits, with one
    slope of a source for all classes. Temperature scaling (Guo et al. 2017, "On
    calibration of modern neural networks") is the case of one source without
    offsets; several make a logarithmic opinion pool. A source that would count
    against what it says is left out: its slope is 0. Without any the offsets alone
    give each class its share.

    Parameters
    ----------
    label : int [n]
    logits, *others : float [n, classes]
        Of images that did not train the networks, in natural proportions.
    """
    sources = np.array([logits, *others], np.float64)
    kept = list(range(len(sources)))
    found = _likeliest(label, sources)
    while min(found.slopes) < 0:
        del kept[int(np.argmin(found.slopes))]
        # logits of 0 leave all to the offsets
        found = _likeliest(label, sources[kept] if kept else np.zeros_like(sources[:1]))
    slopes = np.zeros(len(sources))
    slopes[kept] = found.slopes[: len(kept)]
    return Scaling((*slopes.tolist(),), found.offset)


def _likeliest(label: NDArray[np.integer], x: NDArray[np.float64]) -> Scaling:
    """The likeliest scaling of x [sources, n, classes], a convex problem, by Newton's method."""
    count, n, classes = x.shape
    onehot = np.eye(classes)[label]
    start = np.array([1.0] + [0.0] * (count + classes - 2))
    found = start.copy()

    def scaling(parameters: NDArray[np.float64]) -> Scaling:
        values = parameters.tolist()
        return Scaling((*values[:count],), (0.0, *values[count:]))

    def loss(parameters: NDArray[np.float64]) -> float:
        scaled = scaling(parameters).apply(*x)
        top = scaled.max(axis=1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        pull = RIDGE * ((parameters - start) ** 2).sum() / 2
        return float((normaliser - scaled[np.arange(n), label]).sum() + pull)

    for _ in range(MAX_STEPS):
        p = softmax(scaling(found).apply(*x))
        # derivatives of the logits: x by a slope, 1 for its own class by an offset
        centred = x - (p * x).sum(axis=2)[:, :, None]
        gradient = np.concatenate(
            [((p - onehot) * x).sum(axis=(1, 2)), (p - onehot)[:, 1:].sum(axis=0)]
        ) + RIDGE * (found - start)
        by_slopes = np.einsum("nc,inc,jnc->ij", p, centred, centred)
        by_both = np.einsum("nc,inc->ic", p, centred)[:, 1:]
        by_offsets = np.diag(p.sum(axis=0)[1:]) - p[:, 1:].T @ p[:, 1:]
        hessian = np.block([[by_slopes, by_both], [by_both.T, by_offsets]])
        step = np.linalg.solve(hessian + RIDGE * np.eye(len(found)), gradient)
        before = loss(found)
        # where all answers are certain nearly nothing bends, and a step may be very much too long
        while loss(found - step) > before and np.abs(step).max() > SMALLEST_STEP:
            step /= 2
        if np.abs(step).max() <= SMALLEST_STEP:
            break
        found -= step
    return scaling(found)


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
