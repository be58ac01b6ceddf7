"""Classifiers: either engine gives the network's probabilities, whatever the batch and thread."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pileupcnn import classifiers, networks
from pileupcnn.classifiers import (
    Classifier,
    OnnxClassifier,
    TensorFlowClassifier,
    load_classifier,
    load_model,
)
from pileupcnn.errors import ModelError, OptionError
from pileupcnn.examples import ExampleSettings
from pileupcnn.kernels.clock import released_seconds
from pileupcnn.model import Bundle
from pileupcnn.onnx_export import to_onnx
from pileupcnn.pileup import Channel, PileupSpec

SPEC = PileupSpec(height=16, width=21, channels=(Channel.READ_BASE, Channel.STRAND))

Make = Callable[..., Classifier]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)
    rng = np.random.default_rng(1)
    network = networks.build("strided", SPEC.shape)
    weights = tuple(rng.uniform(0.1, 0.5, w.shape).astype(np.float32) for w in network.weights)
    network.set_weights(weights)
    return Bundle(
        path=Path("tiny"),
        name="tiny",
        architecture="strided",
        settings=ExampleSettings(pileup=SPEC),
        training={},
        weights=weights,
        sha256="",
        onnx=to_onnx(network),
    )


@pytest.fixture(params=[OnnxClassifier, TensorFlowClassifier])
def make(request: pytest.FixtureRequest, bundle: Bundle) -> Make:
    """Makes a classifier of `bundle`; keywords are the constructor's."""
    kind = request.param
    if kind is TensorFlowClassifier:
        return lambda **options: kind(bundle, device="cpu", threads=2, **options)
    return lambda **options: kind(bundle, **options)


def random_images(seed: int, *n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*n, *SPEC.shape), dtype=np.uint8)


def test_they_give_the_networks_probabilities(make: Make, bundle: Bundle) -> None:
    images = random_images(2, 8)
    probabilities = make(batch_size=8)(images)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities, bundle.network().predict_on_batch(images), atol=1e-6)


def test_short_batches_are_padded(make: Make) -> None:
    images = random_images(3, 8)
    images[5:] = 0
    classifier = make(batch_size=8)
    short = classifier(images[:5])
    assert short.shape == (5, 3)
    assert np.array_equal(short, classifier(images)[:5])
    assert classifier(images[:0]).shape == (0, 3)


def test_images_are_cut_into_batches(make: Make) -> None:
    classifier = make(batch_size=8)
    assert classifier.at_once == 64
    assert make(batch_size=100).at_once == 100
    images = random_images(7, 21)
    parts = [classifier(images[i : i + 8]) for i in (0, 8, 16)]
    assert np.array_equal(classifier(images), np.concatenate(parts))


def test_threads_give_the_same_bits(make: Make) -> None:
    classifier = make()
    batches = random_images(4, 64, classifier.batch_size)
    alone = [classifier(batch) for batch in batches]
    for threads in (2, 3):
        with ThreadPoolExecutor(threads) as pool:
            together = list(pool.map(classifier, batches))
        assert all(map(np.array_equal, alone, together))


def test_places_in_a_batch_give_the_same_bits(bundle: Bundle) -> None:
    """ONNX Runtime computes each image for itself."""
    images = random_images(5, 8)
    alone = OnnxClassifier(bundle, 1)
    expected = np.concatenate([alone(images[i : i + 1]) for i in range(8)])
    for size in (3, 8, 32):
        classifier = OnnxClassifier(bundle, size)
        for shift in range(3):
            got = classifier(np.roll(images, shift, axis=0))
            assert np.array_equal(got, np.roll(expected, shift, axis=0))


def test_others_run_while_the_network_does(bundle: Bundle) -> None:
    """A call lets go of the interpreter lock, and counts that it does."""
    classifier = OnnxClassifier(bundle, 512)
    images = random_images(6, 512)
    state = "before"
    released = 0.0

    def work() -> None:
        nonlocal state, released
        state = "during"
        classifier(images)
        state, released = "after", released_seconds()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is made to let go of the lock
    try:
        worker = threading.Thread(target=work)
        worker.start()
        seen = set()
        while state != "after":
            seen.add(state)
            time.sleep(1e-4)
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert "during" in seen
    assert released > 0


def test_the_engine_fits_the_device(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_classifier(bundle, "cpu"), OnnxClassifier)
    older = dataclasses.replace(bundle, onnx=None)
    assert isinstance(load_classifier(older, "cpu"), TensorFlowClassifier)
    monkeypatch.setattr(networks, "has_gpu", lambda: False)
    assert isinstance(load_classifier(bundle), OnnxClassifier)
    monkeypatch.setattr(networks, "has_gpu", lambda: True)
    monkeypatch.setattr(classifiers, "TensorFlowClassifier", lambda *options: options)
    assert load_classifier(bundle, "auto", 2) == (bundle, None, "auto", 2)
    assert load_classifier(bundle, "gpu", 2, 64) == (bundle, 64, "gpu", 2)


def test_without_tensorflow(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name)
    )
    assert not networks.has_gpu()
    assert isinstance(load_classifier(bundle), OnnxClassifier)
    with pytest.raises(OptionError, match=r"--device gpu: .* pip install 'pileupcnn\[train\]'"):
        load_classifier(bundle, "gpu")
    with pytest.raises(ModelError, match=r"no model.onnx.* pip install 'pileupcnn\[train\]'"):
        load_classifier(dataclasses.replace(bundle, onnx=None))
    with pytest.raises(OptionError, match=r"TensorFlow .* pip install 'pileupcnn\[train\]'"):
        networks.start_keras("auto", 1)


def changed(bundle: Bundle, change: Callable[[Any], object]) -> Bundle:
    assert bundle.onnx is not None
    graph = onnx.load_from_string(bundle.onnx)
    change(graph)
    return dataclasses.replace(bundle, onnx=graph.SerializeToString())


CHANGES: dict[str, Callable[[Any], object]] = {
    "newer": lambda model: setattr(model.opset_import[0], "version", 999),
    "newer format": lambda model: setattr(model, "ir_version", 999),
    "foreign operator": lambda model: setattr(model.graph.node[0], "op_type", "Shell"),
    "foreign domain": lambda model: setattr(model.graph.node[0], "domain", "com.example"),
    "other images": lambda model: setattr(
        model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 17
    ),
    "numbers": lambda model: setattr(
        model.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT8
    ),
    "one output": lambda model: model.graph.output.pop(),
    "another input": lambda model: model.graph.input.append(
        helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_wrong_graphs_are_refused(bundle: Bundle, case: str) -> None:
    with pytest.raises(ModelError, match="tiny: ") as caught:
        load_classifier(changed(bundle, CHANGES[case]), "cpu")
    assert "\n" not in str(caught.value)


def test_damaged_graphs_are_refused(bundle: Bundle) -> None:
    assert bundle.onnx is not None
    for graph in (b"", b"none", bundle.onnx[:1000]):
        with pytest.raises(ModelError, match="tiny: "):
            load_classifier(dataclasses.replace(bundle, onnx=graph), "cpu")


def test_a_call_imports_no_tensorflow(testdata: Path, tmp_path: Path) -> None:
    """Neither with --device cpu, nor where it is left to the program and there is no GPU."""
    devices = ["cpu"] if networks.has_gpu() else ["cpu", "auto"]
    code = f"""
import sys
from pileupcnn.cli.call import run_call
for device in {devices!r}:
    run_call({str(testdata / "ref.fa")!r}, [{str(testdata / "sample.bam")!r}],
        {str(tmp_path / "out.vcf")!r}, regions=["ctg1:1-30000"], device=device)
sys.exit(bool({{"tensorflow", "keras", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_packages_model_is_the_default() -> None:
    assert load_model().name == "default"
    assert load_model().onnx is not None
