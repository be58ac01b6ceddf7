"""Convolutional networks for pileup images, built by name from our own code.

A model bundle names its architecture and holds plain arrays, so loading one
runs no code but what stands here. Only Keras 3's public interface is used; it
is imported inside the functions, because importing it takes seconds.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pileupcnn.calibration import Scaling
from pileupcnn.errors import ModelError, OptionError
from pileupcnn.small_model import WIDTHS

if TYPE_CHECKING:
    import keras

Device = Literal["auto", "cpu", "gpu"]

IMAGES, LOGITS, PROBABILITIES = "images", "logits", "probabilities"
"""A network's input, last layer but one and output."""

HOW_TO_INSTALL = "install it with pip install 'pileupcnn[train]'"
"""For sentences that say TensorFlow is missing."""

READ_WINDOW = 61
"""Columns around the candidate in which reads are looked at one by one."""

_SMALL_LAYERS = tuple(f"small{i}" for i in range(1, len(WIDTHS) + 2))
"""Those of a small model within a network."""

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

_GPU_DEVICES = ("nvidia*", "kfd", "dxg")
"""Files in /dev by which a GPU is reached: NVIDIA's, AMD's, either in Windows' Linux."""


@contextmanager
def silence() -> Iterator[None]:
    """Hold back what C++ code writes to stderr; all of it is shown after an exception.

    TensorFlow and ONNX Runtime log while they are imported, before they can be
    given a log level.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # closed, so there is nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def tensorflow_is_installed() -> bool:
    """Whether TensorFlow can be imported, told without doing so."""
    return importlib.util.find_spec("tensorflow") is not None


def has_gpu() -> bool:
    """Whether TensorFlow is installed and sees a GPU.

    It is imported, which takes seconds, only where the system has a device file
    of one.
    """
    there = any(any(Path("/dev").glob(pattern)) for pattern in _GPU_DEVICES)
    if not there or not tensorflow_is_installed():
        return False
    _import_tensorflow()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _import_tensorflow() -> None:
    """Import TensorFlow and Keras, without their chatter unless a log level is set."""
    if not tensorflow_is_installed():
        raise OptionError(f"TensorFlow is needed and not installed; {HOW_TO_INSTALL}")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    wanted = _LOG_LEVEL in os.environ
    os.environ.setdefault(_LOG_LEVEL, "3")
    with nullcontext() if wanted else silence():
        import keras
        import tensorflow  # noqa: F401

        if keras.backend.backend() != "tensorflow":
            raise OptionError(
                f"Keras runs on {keras.backend.backend()} in this process, and pileupcnn needs "
                "tensorflow; set KERAS_BACKEND=tensorflow"
            )


def require_training_packages() -> None:
    """See, without importing them, that the packages are there that training needs.

    Raises
    ------
    OptionError
        If one is not installed.
    """
    for package in (os.environ.get("KERAS_BACKEND", "tensorflow"), "keras", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise OptionError(f"training needs {package}, which is not installed; {HOW_TO_INSTALL}")


def start_keras(device: Device, threads: int) -> None:
    """Make Keras ready to train: with TensorFlow, unless KERAS_BACKEND names another library."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        start_tensorflow(device, intra_op=threads, inter_op=threads)


def start_tensorflow(device: Device, intra_op: int, inter_op: int) -> None:
    """Import TensorFlow quietly and fix its device and the sizes of its thread pools.

    TensorFlow takes these settings once a process, before its first operation;
    a later call with other pool sizes changes nothing.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
        "auto" takes a GPU if TensorFlow sees one.
    intra_op : int
        Threads that share one operation. Sums are split by it, so it changes
        results in the last bits.
    inter_op : int
        Operations that run at once.

    Raises
    ------
    OptionError
        If TensorFlow is not installed, or `device` is "gpu" and it sees none.
    """
    _import_tensorflow()
    import tensorflow as tf

    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise OptionError(
            "--device gpu: TensorFlow sees no GPU here; install its CUDA libraries "
            "(pip install 'tensorflow[and-cuda]') or take --device cpu"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op)
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        # initialised before, by an earlier call or by the program around us
        found = tf.config.threading.get_intra_op_parallelism_threads()
        if found != intra_op:
            warnings.warn(
                f"TensorFlow runs with {found or 'its own choice of'} threads an operation in "
                f"this process, not {intra_op}: probabilities may differ in the last bits",
                stacklevel=2,
            )
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if gpus:
        tf.config.experimental.enable_op_determinism()


def build(
    name: str,
    shape: tuple[int, int, int],
    classes: int = 3,
    *,
    numbers: int | None = None,
    dropout: float = 0.1,
) -> keras.Model:
    """Build an untrained network.

    Parameters
    ----------
    name : str
        One of `ARCHITECTURES`.
    shape : tuple of int
        Rows, columns and channels of an image.
    classes : int
        Genotypes told apart.
    numbers : int, optional
        Place of the channel whose first row holds numbers, if there is one. Such a
        network has room for a small model (`set_small_model`).
    dropout : float
        Share of the features of whole images, and of numbers, dropped while training.

    Returns
    -------
    keras.Model
        uint8 ``[n, rows, columns, channels]`` to float32 probabilities
        ``[n, classes]``. The layer `LOGITS` comes before the softmax.

    Raises
    ------
    ModelError
        If there is no architecture of that name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"architecture '{name}' is not one of {', '.join(sorted(ARCHITECTURES))}; "
            "update pileupcnn or take another model"
        )
    import keras

    images = keras.Input(shape, dtype="uint8", name=IMAGES)
    # no offset: blank rows and columns stay zero
    scaled = keras.layers.Rescaling(1 / 128, dtype="float32", name="scaled")(images)
    pixels = None if numbers is None else _number_pixels(images, numbers)
    known = None if pixels is None else _numbers(pixels, dropout)
    features = ARCHITECTURES[name](scaled, known, dropout)
    if pixels is not None:
        small = _small_model(pixels, classes)
        features = keras.layers.Concatenate(name="with_small_model")([features, small])
    logits = keras.layers.Dense(classes, dtype="float32", name=LOGITS)(features)
    probabilities = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(logits)
    return keras.Model(images, probabilities, name=name)


def set_small_model(network: keras.Model, weights: Sequence[NDArray[np.float32]] | None) -> None:
    """Give a network another small model, or take its own away.

    How much its logits count is up to the last layer, whose last inputs they are.

    Parameters
    ----------
    network : keras.Model
        From `build`, of images that show numbers.
    weights : sequence of float32 arrays or None
        Of a `small_model.DenseNetwork`; with None its logits are 0.
    """
    for i, name in enumerate(_SMALL_LAYERS):
        layer = network.get_layer(name)
        kernel, bias = (np.zeros(weight.shape, np.float32) for weight in layer.get_weights())
        if weights is not None:
            # of a row of pixels the first are numbers
            kernel[0, 0, : len(weights[2 * i])] = weights[2 * i]
            bias = weights[2 * i + 1]
        layer.set_weights([kernel, bias])


def until_logits(network: keras.Model) -> keras.Model:
    """A network without its softmax; it shares its weights."""
    import keras

    return keras.Model(network.input, network.get_layer(LOGITS).output)


def scale_logits(network: keras.Model, scaling: Scaling) -> None:
    """Scale a network's logits, and those of its small model if `scaling` has a slope for them."""
    layer = network.get_layer(LOGITS)
    layer.set_weights(scaling.fold(*layer.get_weights()))


def _small_model(pixels: Any, classes: int) -> Any:
    """The logits of a small model, which is not trained with the network; 0 until there is one."""
    import keras

    x = pixels
    for name, width in zip(_SMALL_LAYERS, (*WIDTHS, classes), strict=True):
        if name != _SMALL_LAYERS[0]:
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = keras.layers.Conv2D(
            width,
            1,
            data_format="channels_last",
            kernel_initializer="zeros",
            trainable=False,
            name=name,
        )(x)
    return keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="small")(x)


def _number_pixels(images: Any, layer: int) -> Any:
    """The first row of a channel, as it is: float32 [n, 1, 1, columns]."""
    import keras

    def crop(x: Any, *cropping: tuple[int, int], name: str) -> Any:
        return keras.layers.Cropping2D(cropping, data_format="channels_last", name=name)(x)

    rows, _, channels = images.shape[1:]
    x = crop(images, (0, rows - 1), (0, 0), name="reference_row")
    x = keras.layers.Permute((1, 3, 2), name="numbers_last")(x)
    x = crop(x, (0, 0), (layer, channels - 1 - layer), name="number_pixels")
    return keras.layers.Rescaling(1.0, dtype="float32", name="numbers")(x)


def _numbers(pixels: Any, dropout: float) -> Any:
    """What is made of numbers: two dense layers of them, each scaled by its mean and spread."""
    import keras

    x = keras.layers.BatchNormalization(axis=-1, name="numbers_normalisation")(pixels)
    for i in (1, 2):
        x = _convolution(x, 64, 1, f"numbers{i}")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="known")(x)
    return keras.layers.Dropout(dropout, name="numbers_dropout")(x) if dropout else x


def _strided(
    images: Any,
    numbers: Any,
    dropout: float,
    widths: Sequence[int] = (24, 32, 48, 64, 96, 96),
) -> Any:
    """3 x 3 convolutions, all but the last of stride 2, averaged over the image."""
    import keras

    x = images
    for stage, width in enumerate(widths, 1):
        strides = 2 if stage < len(widths) else 1
        x = _convolution(x, width, 3, f"stage{stage}", strides=strides)
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return x if numbers is None else keras.layers.Concatenate(name="with_numbers")([x, numbers])


def _strided_reads(images: Any, numbers: Any, dropout: float) -> Any:
    """The strided network, wider, and beside it each read for itself, summed over all of them.

    What is known of a genotype from independent reads is a sum of log likelihoods
    over them. Convolutions mix neighbouring reads and must learn to count; the
    second branch turns the pixels of one row around the candidate into a few
    numbers and adds these up.
    """
    import keras

    whole = _strided(images, numbers, dropout, (32, 48, 64, 96, 128, 128))
    width = images.shape[2]
    columns = min(READ_WINDOW, width)
    before = (width - columns) // 2
    x = keras.layers.Cropping2D(
        ((0, 0), (before, width - columns - before)), data_format="channels_last", name="centre"
    )(images)
    x = _convolution(x, 96, (1, columns), "read1", padding="valid")
    x = _convolution(x, 64, 1, "read2")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="mean_read")(x)
    # of 64 rows; so that single reads weigh as much as features of the whole
    sums = keras.layers.Rescaling(8.0, name="reads")(x)
    features = keras.layers.Concatenate(name="both")([whole, sums])
    for name in ("hidden1", "hidden2"):
        features = keras.layers.Dense(96, kernel_initializer="he_normal", name=name)(features)
        features = keras.layers.ReLU(name=f"{name}_relu")(features)
    return features


def _convolution(
    x: Any,
    width: int,
    size: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
) -> Any:
    """Convolution, batch normalisation, ReLU."""
    import keras

    x = keras.layers.Conv2D(
        width,
        size,
        strides=strides,
        padding=padding,
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_convolution",
    )(x)
    x = keras.layers.BatchNormalization(axis=-1, name=f"{name}_normalisation")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


ARCHITECTURES: dict[str, Callable[[Any, Any, float], Any]] = {
    "strided": _strided,
    "strided_reads": _strided_reads,
}
"""Feature extractors by name: scaled images, a vector of what is made of numbers (None: there are
none) and a share to drop, to one vector an image."""

DEFAULT_ARCHITECTURE = "strided_reads"
"""What is trained unless another is asked for."""
