"""The networks: shapes, types, and that blank stays blank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from pileupcnn import networks
from pileupcnn.calibration import Scaling
from pileupcnn.errors import ModelError, OptionError
from pileupcnn.small_model import INPUTS, WIDTHS, DenseNetwork, pixels

SHAPE = (16, 21, 7)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)


def test_strided_has_the_measured_size() -> None:
    assert networks.build("strided", (64, 101, 7)).count_params() == 189_867


@pytest.mark.parametrize("name", sorted(networks.ARCHITECTURES))
def test_probabilities_of_bytes(name: str) -> None:
    network = networks.build(name, SHAPE)
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    probabilities = network.predict_on_batch(images)
    assert probabilities.shape == (3, 3)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert network.get_layer("logits").output.shape == (None, 3)


def test_reads_are_summed_whatever_their_order() -> None:
    import keras

    network = networks.build("strided_reads", (16, 81, 7))
    rng = np.random.default_rng(2)
    network.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in network.weights])
    sums = keras.Model(network.input, network.get_layer("reads").output)
    images = rng.integers(0, 256, (2, 16, 81, 7), dtype=np.uint8)
    images[1] = images[0, rng.permutation(16)]
    first, second = sums.predict_on_batch(images)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    # what lies beside the window does not matter here
    beside = (81 - networks.READ_WINDOW) // 2
    images[1, :, :beside] = images[1, :, -beside:] = 0
    np.testing.assert_allclose(sums.predict_on_batch(images)[1], first, rtol=1e-5)


def test_scaling_keeps_blank_pixels_zero() -> None:
    import keras

    network = networks.build("strided", SHAPE)
    first = next(layer for layer in network.layers if layer.name == "stage1_convolution")
    scaled = keras.Model(network.input, first.input)
    image = np.zeros((1, *SHAPE), np.uint8)
    image[0, 0, 0, :3] = [0, 128, 254]
    found = np.asarray(scaled(image))
    assert found[0, 0, 0, :3].tolist() == [0, 1, 254 / 128]
    assert np.count_nonzero(found) == 2


def test_unknown_architecture_is_named() -> None:
    with pytest.raises(ModelError, match=r"'resnet' is not one of strided, strided_reads"):
        networks.build("resnet", SHAPE)


def test_a_gpu_that_is_not_there() -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(OptionError, match="--device cpu"):
        networks.start_tensorflow("gpu", intra_op=1, inter_op=1)


def test_other_pools_than_the_process_has_are_warned_of() -> None:
    networks.build("strided", SHAPE)  # TensorFlow is up from here on
    with pytest.warns(UserWarning, match="1 threads an operation in this process, not 3"):
        networks.start_tensorflow("cpu", intra_op=3, inter_op=1)


@pytest.mark.parametrize("name", sorted(networks.ARCHITECTURES))
def test_numbers_are_read_off_one_channel_of_the_first_row(name: str) -> None:
    import keras

    network = networks.build(name, (12, 31, 3), numbers=1)
    images = np.random.default_rng(1).integers(0, 256, (4, 12, 31, 3), np.uint8)
    found = keras.Model(network.input, network.get_layer("numbers").output)(images)
    np.testing.assert_array_equal(np.asarray(found)[:, 0, 0], images[:, 0, :, 1])


def dense_network() -> DenseNetwork:
    rng = np.random.default_rng(4)
    widths = (len(INPUTS), *WIDTHS, 3)
    arrays: list[NDArray[np.float32]] = []
    for inner, outer in itertools.pairwise(widths):
        arrays += [
            rng.normal(0, 0.1 / inner**0.5, (inner, outer)).astype(np.float32),
            rng.normal(0, 0.1, outer).astype(np.float32),
        ]
    return DenseNetwork(arrays)


@pytest.mark.parametrize("name", sorted(networks.ARCHITECTURES))
def test_a_small_model_within_a_network(name: str) -> None:
    """Its logits come to the last layer, and training leaves it as it is."""
    import keras

    network, small = networks.build(name, (12, 101, 3), numbers=1), dense_network()
    known = keras.Model(network.input, network.get_layer("small").output)
    logits = networks.until_logits(network)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (32, 12, 101, 3), np.uint8)
    rows = rng.integers(0, 50, (32, len(INPUTS)), np.int32)
    images[:, 0, :, 1] = 0
    images[:, 0, : len(INPUTS), 1] = pixels(rows)
    alone = np.asarray(logits(images))
    assert not np.asarray(known(images)).any()
    networks.set_small_model(network, small.weights)
    theirs = small.logits(rows)
    np.testing.assert_allclose(known(images), theirs, atol=1e-4)
    networks.scale_logits(network, Scaling((0.7, 0.4), (0.0, 1.0, -1.0)))
    wanted = 0.7 * alone + 0.4 * theirs + [0, 1, -1]
    np.testing.assert_allclose(logits(images), wanted, atol=1e-4)
    network.compile("sgd", "sparse_categorical_crossentropy")
    network.train_on_batch(images, np.arange(32) % 3)
    np.testing.assert_allclose(known(images), theirs, atol=1e-4)
    assert not np.allclose(logits(images), wanted, atol=1e-4)
    networks.set_small_model(network, None)
    assert not np.asarray(known(images)).any()


def test_what_is_made_of_numbers_depends_on_that_row_only() -> None:
    import keras

    network = networks.build("strided_reads", (12, 31, 3), numbers=1)
    outputs = [network.get_layer(name).output for name in ("known", "logits")]
    images = np.zeros((3, 12, 31, 3), np.uint8)
    images[1, 0, 5, 1] = images[2, 1, 5, 1] = 200
    known, logits = (np.asarray(x) for x in keras.Model(network.input, outputs)(images))
    assert np.array_equal(known[0], known[2])
    assert not np.array_equal(known[0], known[1])
    assert not np.allclose(logits[0], logits[1], atol=1e-6)
