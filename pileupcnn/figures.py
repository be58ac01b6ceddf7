"""How well a network answers: what is shown of each epoch, and kept in a bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.calibration import Scaling, reliability, softmax
from pileupcnn.labels import INDEL, SNP
from pileupcnn.model import CLASSES


def figures_of(
    logits: NDArray[np.floating], label: NDArray[np.int8], kind: NDArray[np.uint8]
) -> dict[str, Any]:
    """Figures of a network's answers.

    Parameters
    ----------
    logits : float [n, classes]
    label : int8 [n]
    kind : uint8 [n]
        `labels.SNP` or `labels.INDEL`.

    Returns
    -------
    dict
        ``loss`` (mean cross-entropy, nats), ``accuracy`` (share), ``errors``: for
        "SNP" and "indel" the number of wrong images of each true class.
    """
    label = label.astype(np.int64)
    likelihood = softmax(logits)[np.arange(len(label)), label]
    wrong = logits.argmax(axis=1) != label
    errors = {
        text: dict(
            zip(
                CLASSES,
                np.bincount(label[wrong & (kind == code)], minlength=len(CLASSES)).tolist(),
                strict=True,
            )
        )
        for text, code in (("SNP", SNP), ("indel", INDEL))
    }
    return {
        "loss": float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        "accuracy": float(1 - wrong.mean()),
        "errors": errors,
    }


def sentence(figures: dict[str, Any], epochs: int) -> str:
    """What an epoch of `epochs` came to, for people."""
    errors = "; ".join(
        f"{kind} errors " + " ".join(f"{name} {n}" for name, n in counts.items())
        for kind, counts in figures["errors"].items()
    )
    return (
        f"epoch {figures['epoch']}/{epochs}: training loss {figures['training_loss']:.5f}, "
        f"validation loss {figures['loss']:.5f}, accuracy {figures['accuracy']:.5f}; {errors}"
    )


def calibrated(
    scaling: Scaling, label: NDArray[np.int8], *sources: NDArray[np.float32]
) -> dict[str, Any]:
    """How the logits were scaled, and what came of it, for the bundle."""
    probabilities = softmax(scaling.apply(*sources))
    return {
        "calibration": dataclasses.asdict(scaling),
        "reliability": [dataclasses.asdict(row) for row in reliability(probabilities, label)],
    }
