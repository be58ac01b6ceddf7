"""The ONNX graph of a network gives what Keras gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from pileupcnn import networks
from pileupcnn.augment import Augmentation, Augmenter
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.labels import SNP
from pileupcnn.messages.convert import read_examples
from pileupcnn.model import load_bundle
from pileupcnn.onnx_export import to_onnx


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)


def random_images(n: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def with_random_weights(network: Any) -> Any:
    """The statistics of normalisation, too; all positive, so that few features are cut off."""
    rng = np.random.default_rng(1)
    network.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in network.weights])
    return network


def run(graph: bytes, images: np.ndarray) -> list[np.ndarray]:
    """Logits and probabilities."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {"images": images})
    return outputs


def keras_logits(network: Any, images: np.ndarray) -> np.ndarray:
    import keras

    logits = keras.Model(network.input, network.get_layer("logits").output)
    return np.concatenate([logits.predict_on_batch(b) for b in np.split(images, 8)])


@pytest.mark.parametrize(("shape", "numbers"), [((16, 21, 7), None), ((33, 40, 2), 1)])
@pytest.mark.parametrize("name", sorted(networks.ARCHITECTURES))
def test_every_architecture(name: str, shape: tuple[int, int, int], numbers: int | None) -> None:
    network = with_random_weights(networks.build(name, shape, numbers=numbers))
    images = random_images(16, shape)
    graph = to_onnx(network)
    logits, probabilities = run(graph, images)
    expected = keras_logits(network, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(probabilities, network.predict_on_batch(images), atol=1e-4)


def test_the_graph_is_plain_and_the_same_each_time() -> None:
    graphs = {
        to_onnx(with_random_weights(networks.build("strided", (16, 21, 7)))) for _ in range(2)
    }
    (graph,) = graphs
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    # scaling and normalisation have become part of the convolutions
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {
        *("Transpose", "Cast", "Conv", "Relu"),
        *("GlobalAveragePool", "Flatten", "Gemm", "Softmax"),
    }


def test_the_shipped_graph_is_that_of_the_shipped_weights(
    testdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 1,000 images: drawn ones, and these changed as in training."""
    bundle = load_bundle()
    network = bundle.network()
    assert bundle.onnx == to_onnx(network)
    run_make_examples(testdata / "ref.fa", [testdata / "sample.bam"], tmp_path / "e.tfrecord")
    drawn = np.stack([example.image for example in read_examples(tmp_path / "e.tfrecord")])
    images = np.resize(drawn, (1000, *drawn.shape[1:]))
    rows = images.any(axis=(2, 3)).argmin(axis=1)
    rows[rows == 0] = bundle.spec.height
    kinds = np.full(len(images), SNP, np.uint8)
    augment = Augmenter(Augmentation(0.9, 0.5, 0.5), bundle.spec, bundle.settings.candidates)
    augment(images[len(drawn) :], rows[len(drawn) :], kinds, np.random.default_rng(1))
    assert len(np.unique(images.reshape(1000, -1), axis=0)) > 700
    logits, _ = run(bundle.onnx, images)
    difference = np.abs(logits - keras_logits(network, images)).max()
    with capsys.disabled():
        print(f"\n{len(drawn)} drawn images of 1,000: logits differ by {difference:.1e} at most")
    assert difference < 1e-3


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_convolutions(padding: str, stride: int, window: tuple[int, int]) -> None:
    import keras

    def build() -> Any:
        images = keras.Input((11, 14, 3), dtype="uint8", name="images")
        x = keras.layers.Rescaling(1 / 128)(images)
        x = keras.layers.Conv2D(4, window, stride, padding, name="a")(x)
        x = keras.layers.BatchNormalization(name="b")(x)
        x = keras.layers.Conv2D(5, 2, activation=None, use_bias=False, name="c")(x)
        x = keras.layers.GlobalMaxPooling2D(name="d")(x)
        logits = keras.layers.Dense(3, name="logits")(x)
        return keras.Model(images, keras.layers.Softmax(name="probabilities")(logits))

    network = with_random_weights(build())
    images = random_images(8, (11, 14, 3))
    np.testing.assert_allclose(
        run(to_onnx(network), images)[0], keras_logits(network, images), rtol=1e-5
    )


def layered(*layers: Callable[[Any], Any]) -> Any:
    import keras

    x = images = keras.Input((8, 8, 2), dtype="uint8", name="images")
    for layer in layers:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(3, name="logits")(x)
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(logits))


@pytest.mark.parametrize("normalised", [False, True])
def test_scaling_without_a_convolution(normalised: bool) -> None:
    import keras

    after = [keras.layers.BatchNormalization()] if normalised else []
    network = with_random_weights(layered(keras.layers.Rescaling(1 / 128), *after))
    images = random_images(8, (8, 8, 2))
    np.testing.assert_allclose(
        run(to_onnx(network), images)[0], keras_logits(network, images), rtol=1e-5
    )


def test_what_is_not_known_is_refused() -> None:
    import keras
    from keras import layers

    cases: dict[str, list[Callable[[Any], Any]]] = {
        "no ONNX is known for DepthwiseConv2D": [layers.DepthwiseConv2D(3)],
        "known for axis 1": [layers.BatchNormalization(axis=1)],
        "known for offset": [layers.Rescaling(1 / 128, 1)],
        "known for dilation_rate": [layers.Conv2D(3, 3, dilation_rate=2)],
        "give it no activation": [layers.Conv2D(3, 3, activation="relu")],
        "known for negative_slope": [layers.ReLU(negative_slope=0.1)],
        "known for scale": [layers.Conv2D(3, 3), layers.BatchNormalization(scale=False)],
    }
    for message, given in cases.items():
        with pytest.raises(TypeError, match=message):
            to_onnx(layered(layers.Rescaling(1 / 128), *given))
    # pooled before: features are normalised otherwise
    images = keras.Input((8, 8, 2), dtype="uint8", name="images")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Rescaling(1 / 128)(images))
    logits = layers.Dense(3, name="logits")(layers.BatchNormalization()(x))
    pooled = keras.Model(images, layers.Softmax(name="probabilities")(logits))
    with pytest.raises(TypeError, match="known for it but of images"):
        to_onnx(pooled)
