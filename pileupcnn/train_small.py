"""Training of the small model: a few dense layers on the numbers of `small_model.INPUTS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from pileupcnn.calibration import fit_scaling
from pileupcnn.small_model import (
    INPUTS,
    WIDTHS,
    DenseNetwork,
    SmallModel,
    SmallModelSettings,
    column,
    is_sure,
    pixels,
    quality,
)

LIMITS = range(20, 61)
"""Phred-scaled qualities tried for when an answer stands."""

PLAIN_QUALITY = 20.0
"""Phred-scaled quality of the small model's answers from which on an image is plain."""

EXCESS = 5e-5
"""By so many errors per held-out image the small model may surpass the network, where it stands in
for it: less would be decided by single images."""

LEAST_IMAGES = 100
"""So many held-out images show whether answers wrong once in a hundred may stand; fewer do not."""

NEVER = 100.0
"""A limit that no answer reaches."""


@dataclass(frozen=True, slots=True)
class SmallFitSettings:
    """How the small model is trained.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
        At the start, for AdamW; falls to 0 along half a cosine.
    weight_decay : float
    seed : int
    """

    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Described:
    """Images by their numbers.

    Attributes
    ----------
    features : int32 [n, 72]
    label : int8 [n]
    """

    features: NDArray[np.int32]
    label: NDArray[np.int8]


def fit_dense_network(
    training: Described,
    weight: NDArray[np.float64],
    held_out: Described,
    settings: SmallFitSettings,
    classes: int,
) -> DenseNetwork:
    """Train a small model's network and calibrate it.

    Keras must have been started.

    Parameters
    ----------
    training : Described
    weight : float64 [n]
        How much each training image counts.
    held_out : Described
        In natural proportions; calibrates.
    settings : SmallFitSettings
    classes : int
    """
    kernels = _train(training, weight, settings, classes)
    logits = DenseNetwork(kernels).logits(held_out.features)
    scaling = fit_scaling(held_out.label, logits)
    kernels[-2:] = scaling.fold(kernels[-2], kernels[-1])
    return DenseNetwork(kernels)


def plain_images(network: DenseNetwork, images: Described) -> NDArray[np.bool_]:
    """Of which images the small model is sure, and right; bool [n].

    Of few images that it was trained on it may be so of nearly all.
    """
    found = network(images.features)
    plain: NDArray[np.bool_] = (quality(found) >= PLAIN_QUALITY) & (
        found.argmax(axis=1) == images.label
    )
    return plain


def believe(
    predict: DenseNetwork,
    learned: NDArray[np.int32],
    held_out: Described,
    network: NDArray[np.int64],
) -> tuple[SmallModel, dict[str, Any]]:
    """Decide when a small model is believed.

    Parameters
    ----------
    predict : DenseNetwork
        From `fit_dense_network`.
    learned : int32 [n, 72]
        What it was trained on.
    held_out : Described
        In natural proportions.
    network : int64 [m]
        What the network that sees images says of the held-out ones: an answer
        stands from that quality on from which the small model is wrong hardly more
        often (`EXCESS`).

    Returns
    -------
    SmallModel
    dict
        Figures, for the bundle.
    """
    found = predict(held_out.features)
    # deeper sites are rare among those that it learned from
    depth = int(np.percentile(column(learned, "total_depth"), 99.5))
    shallow = column(held_out.features, "total_depth") <= depth
    is_snp = column(held_out.features, "is_snp") == 1
    limits = SmallModelSettings(
        _limit(found, held_out.label, network, shallow & is_snp),
        _limit(found, held_out.label, network, shallow & ~is_snp),
        max_depth=depth,
    )
    sure = is_sure(held_out.features, found, limits)
    wrong = found.argmax(axis=1) != held_out.label
    figures = {
        "sure": float(sure.mean()),
        "wrong_where_sure": int((sure & wrong).sum()),
        "network_wrong_there": int((sure & (network != held_out.label)).sum()),
    }
    return SmallModel(predict, limits), figures


def _limit(
    probabilities: NDArray[np.float32],
    label: NDArray[np.int8],
    network: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> float:
    """The lowest quality from which on the small model errs hardly more often than the network.

    None where too few images were held out to show it.
    """
    phred = quality(probabilities)
    wrong = probabilities.argmax(axis=1) != label
    excess = wrong.astype(np.int64) - (network != label)
    for limit in LIMITS:
        answered = chosen & (phred >= limit)
        if answered.sum() >= LEAST_IMAGES and excess[answered].sum() <= EXCESS * len(label):
            return float(limit)
    return NEVER


def _train(
    data: Described, weight: NDArray[np.float64], settings: SmallFitSettings, classes: int
) -> list[NDArray[np.float32]]:
    """Kernels and biases, the scaling of the features in the first."""
    import keras

    shown = pixels(data.features)
    mean = shown.mean(axis=0)
    deviation = np.maximum(shown.std(axis=0), 1.0)
    scaled = ((shown - mean) / deviation).astype(np.float32)
    keras.utils.set_random_seed(settings.seed)
    layers = [keras.layers.Dense(width, activation="relu") for width in WIDTHS]
    model = keras.Sequential(
        [keras.Input((len(INPUTS),)), *layers, keras.layers.Dense(classes)], name="small"
    )
    steps = -(-len(scaled) // settings.batch_size)
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps * settings.epochs),
            weight_decay=settings.weight_decay,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng(settings.seed)
    epochs = range(settings.epochs)
    for _ in tqdm(epochs, desc="small model", unit="epoch", disable=None):
        order = rng.permutation(len(scaled))
        for first in range(0, len(order), settings.batch_size):
            chosen = order[first : first + settings.batch_size]
            model.train_on_batch(scaled[chosen], data.label[chosen], sample_weight=weight[chosen])
    kernels: list[NDArray[np.float32]] = model.get_weights()
    first_kernel, first_bias = kernels[0].astype(np.float64), kernels[1].astype(np.float64)
    kernels[0] = (first_kernel / deviation[:, None]).astype(np.float32)
    kernels[1] = (first_bias - (mean / deviation) @ first_kernel).astype(np.float32)
    return kernels
