"""One way to ask a network, whichever engine runs it.

On a CPU that is ONNX Runtime, which starts in a tenth of a second; TensorFlow
runs on GPUs, and models that have no ONNX graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pileupcnn import networks
from pileupcnn.errors import ModelError, OptionError
from pileupcnn.kernels.clock import count_released, thread_seconds
from pileupcnn.model import CLASSES, DEFAULT_MODEL, Model, load_bundle
from pileupcnn.saved_model import is_saved_model, load_saved_model

IMAGES_AT_ONCE = 64
"""About so many images are best drawn and handed over together, in several batches."""

ROUNDED_DECIMALS = 10
"""Digits of rounded probabilities."""


class Classifier(ABC):
    """Probabilities of the genotypes for batches of images; callable from several threads.

    Parameters
    ----------
    model : Model
    batch_size : int, optional
        Images of every batch that the network sees: a smaller one is padded,
        as the last bits of a result may depend on it.

    Attributes
    ----------
    batch_size : int
    at_once : int
        Images that are best handed over together: some full batches.
    """

    default_batch_size: ClassVar[int]
    """Where none is given; part of what makes output reproducible."""

    def __init__(self, model: Model, batch_size: int | None = None) -> None:
        self.batch_size = batch_size or self.default_batch_size
        self.at_once = self.batch_size * max(IMAGES_AT_ONCE // self.batch_size, 1)
        self._shape = model.spec.shape
        self._rounded = model.rounded

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify images, batch by batch.

        Parameters
        ----------
        images : uint8 [n, height, width, channels]

        Returns
        -------
        float32 [n, 3]
            Probabilities in the order of `model.CLASSES`.
        """
        probabilities = np.empty((len(images), len(CLASSES)), np.float32)
        for first in range(0, len(images), self.batch_size):
            batch = images[first : first + self.batch_size]
            n = len(batch)
            if n < self.batch_size:
                padded = np.zeros((self.batch_size, *self._shape), np.uint8)
                padded[:n] = batch
                batch = padded
            probabilities[first : first + n] = self._run(batch)[:n]
        return round_probabilities(probabilities) if self._rounded else probabilities

    @abstractmethod
    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a full batch."""


class OnnxClassifier(Classifier):
    """A network on the CPU, run by ONNX Runtime.

    Raises
    ------
    ModelError
        If the ONNX graph cannot be run, or is not for the model's images.

    Notes
    -----
    A call runs on the thread that makes it and on no other, so that its sums have
    one order; calls of several threads run beside each other.
    """

    # larger ones fall out of the processor's caches, and more of the last one of a block is padding
    default_batch_size = 8

    def __init__(self, model: Model, batch_size: int | None = None) -> None:
        super().__init__(model, batch_size)
        with networks.silence():
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised, too
        try:
            self._session = onnxruntime.InferenceSession(
                model.onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes have no common base
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{model.path}: ONNX Runtime cannot run its network ({reason}); update "
                "pileupcnn, or take a bundle that 'pileupcnn train' wrote, unchanged"
            ) from error
        found = {
            value.name: (value.type, tuple(value.shape[1:]))
            for value in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        values = ("tensor(float)", (len(CLASSES),))
        wanted = {
            networks.IMAGES: ("tensor(uint8)", self._shape),
            networks.LOGITS: values,
            networks.PROBABILITIES: values,
        }
        if found != wanted:
            raise ModelError(
                f"{model.path}: its ONNX network has other inputs or outputs than images of "
                f"{self._shape} and probabilities of {len(CLASSES)} classes; take a bundle that "
                "'pileupcnn train' wrote, unchanged"
            )

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        began = thread_seconds()
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run([networks.PROBABILITIES], {networks.IMAGES: images})
        count_released(began)
        return probabilities


class TensorFlowClassifier(Classifier):
    """A network run by TensorFlow.

    Parameters
    ----------
    model, batch_size
        As for `Classifier`.
    device : {"auto", "cpu", "gpu"}
        "auto" takes a GPU if TensorFlow sees one.
    threads : int
        Calls that may run at once.

    Raises
    ------
    ModelError
        If the network is not one for the model's images.
    OptionError
        If TensorFlow is not installed, or `device` is "gpu" and there is none.

    Notes
    -----
    On a CPU each operation runs on one thread, so that its sums have one
    order; several calls run beside each other.
    """

    default_batch_size = 32

    def __init__(
        self,
        model: Model,
        batch_size: int | None = None,
        device: networks.Device = "auto",
        threads: int = 1,
    ) -> None:
        super().__init__(model, batch_size)
        networks.start_tensorflow(device, intra_op=1, inter_op=threads)
        import tensorflow as tf

        # tf.function does not keep what it has traced alive
        self._network = model.tensorflow_function()
        traced = tf.function(
            self._network,
            input_signature=[tf.TensorSpec((self.batch_size, *self._shape), tf.uint8)],
        )
        # looked up once: dispatch through tf.function would hold the GIL at every call
        self._function = traced.get_concrete_function()
        self._constant = tf.constant
        self(np.zeros((1, *self._shape), np.uint8))

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = self._function(self._constant(images)).numpy()
        return probabilities


def load_model(path: str | Path | None = None) -> Model:
    """Read the description of a model: a bundle, or a SavedModel that DeepVariant released.

    Nothing that the model holds is run, and neither TensorFlow nor ONNX Runtime
    is imported.

    Parameters
    ----------
    path : path, optional
        Its directory; the package's own model by default.

    Raises
    ------
    PileupCNNError
        If it cannot be used.
    """
    path = Path(path or DEFAULT_MODEL)
    return load_saved_model(path) if is_saved_model(path) else load_bundle(path)


def load_classifier(
    model: Model,
    device: networks.Device = "auto",
    threads: int = 1,
    batch_size: int | None = None,
) -> Classifier:
    """Start the engine that fits model and device, with the model's network.

    Parameters
    ----------
    model : Model
    device : {"auto", "cpu", "gpu"}
        "auto" takes a GPU if there is one and TensorFlow is installed for it.
    threads : int
        Calls that may run at once.
    batch_size : int, optional
        As for `Classifier`.

    Raises
    ------
    ModelError
        If the model is not one for its images, or needs TensorFlow and that is
        not installed.
    OptionError
        If `device` is "gpu" and there is none, or no TensorFlow for it.
    """
    if device == "cpu" or (device == "auto" and not networks.has_gpu()):
        device = "cpu"
        if model.onnx is not None:
            return OnnxClassifier(model, batch_size)
    if not networks.tensorflow_is_installed():
        if device == "gpu":
            raise OptionError(
                f"--device gpu: needs TensorFlow, which is not installed; {networks.HOW_TO_INSTALL}"
            )
        raise ModelError(
            f"{model.path}: has no model.onnx, so it needs TensorFlow, which is not installed; "
            f"{networks.HOW_TO_INSTALL}"
        )
    return TensorFlowClassifier(model, batch_size, device, threads)


def round_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round as DeepVariant's call_variants does, in float32 as there.

    Parameters
    ----------
    probabilities : float32 [n, 3]

    Returns
    -------
    float32 [n, 3]
        Each to `ROUNDED_DECIMALS` digits, but the smallest of a row (the first
        of equal ones) to what the others leave of 1.
    """
    rounded = probabilities.round(ROUNDED_DECIMALS)
    rows, smallest = np.arange(len(rounded)), probabilities.argmin(axis=1)
    others = rounded.copy()
    others[rows, smallest] = 0
    # one by one: the order of a sum decides its last bit
    total = others[:, 0] + others[:, 1] + others[:, 2]
    rounded[rows, smallest] = np.maximum((1 - total).round(ROUNDED_DECIMALS), 0)
    return rounded
