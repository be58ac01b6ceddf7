"""DeepVariant's released kind of network: TensorFlow SavedModels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pileupcnn import networks
from pileupcnn.candidates import CandidateSettings
from pileupcnn.classifiers import load_classifier, load_model, round_probabilities
from pileupcnn.cli.call import run_call
from pileupcnn.cli.call_variants import run_call_variants
from pileupcnn.cli.make_examples import run_make_examples
from pileupcnn.cli.train import run_train
from pileupcnn.errors import InputError, ModelError, PileupCNNError
from pileupcnn.messages.convert import read_calls, read_examples
from pileupcnn.pileup import PileupSpec
from pileupcnn.reads import ReadSettings
from pileupcnn.realign import RealignSettings

SHAPE = (20, 31, 7)
CHANNELS = [1, 2, 3, 4, 5, 6, 19]

Probabilities = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)


def save(path: Path, network: Any, shape: tuple[int, ...], *, output: str, name: str) -> None:
    """A SavedModel with its description; the input's name is Keras's, so it is any."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32, name=name)])
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output: network(images, training=False)}

    tf.saved_model.save(network, str(path), signatures={"serving_default": classify})
    describe(path, shape=list(shape))


def describe(path: Path, **fields: Any) -> None:
    found = {"version": "1.9.0", "shape": list(SHAPE), "channels": CHANNELS}
    (path / "example_info.json").write_text(json.dumps({**found, **fields}))


def small_network(shape: tuple[int, ...] = SHAPE, classes: int = 3) -> Any:
    import keras

    images = keras.Input(shape)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "wgs"
    save(path, small_network(), SHAPE, output="classification", name="input_1")
    return path


@pytest.fixture
def path(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def by_tensorflow(path: Path) -> Probabilities:
    """What the SavedModel itself says of images, scaled as DeepVariant does."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def probabilities(images: np.ndarray) -> np.ndarray:
        assert loaded is not None
        scaled = (images.astype(np.float32) - 128) / 128
        (name,) = signature.structured_input_signature[1]
        found: np.ndarray = signature(**{name: tf.constant(scaled)})["classification"].numpy()
        return found

    return probabilities


def test_settings_are_deepvariants(saved: Path) -> None:
    model = load_model(saved)
    assert model.spec == PileupSpec(height=20, width=31)
    assert model.settings.realign == RealignSettings()
    assert model.settings.reads == ReadSettings()
    assert model.settings.candidates == CandidateSettings()
    assert model.rounded
    assert not model.joint
    assert len(model.sha256) == 64


def test_the_checksum_is_that_of_program_and_variables(path: Path) -> None:
    found = load_model(path).sha256
    (path / "fingerprint.pb").write_bytes(b"other")
    assert load_model(path).sha256 == found
    with open(path / "variables" / "variables.data-00000-of-00001", "ab") as file:
        file.write(b"x")
    assert load_model(path).sha256 != found


def test_probabilities_are_tensorflows(saved: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    classifier = load_classifier(load_model(saved), "cpu", 1, 40)
    expected = by_tensorflow(saved)(images)
    np.testing.assert_allclose(classifier(images), expected, atol=1e-6)


def test_a_call_with_one(saved: Path, testdata: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.vcf"
    reads, ref = [testdata / "sample.bam"], testdata / "ref.fa"
    texts = []
    for threads in (1, 2):
        run_call(ref, reads, output, model=saved, threads=threads, regions=["ctg2"])
        texts.append(output.read_text())
    assert texts[0] == texts[1]
    assert f"model=SavedModel sha256={load_model(saved).sha256}" in texts[0]
    assert str(saved) not in texts[0]


def damaged(path: Path, change: str) -> type[PileupCNNError]:
    """Make one thing wrong; the type of error that is to come of it."""
    import tensorflow as tf

    info = path / "example_info.json"
    if change == "missing":
        info.unlink()
        return InputError
    if change == "no JSON":
        info.write_text("{")
        return InputError
    if change == "no channels":
        describe(path, channels=None)
        return InputError
    if change == "channel":
        describe(path, channels=[1, 2, 3, 4, 5, 6, 9999])
    if change == "shape":
        describe(path, shape=[20, 31, 6])
    if change == "even":
        describe(path, shape=[20, 30, 7])
    if change == "program":
        (path / "saved_model.pb").write_bytes(b"none")
    if change == "variables":
        shutil.rmtree(path / "variables")
    if change == "other size":
        describe(path, shape=[22, 31, 7])
    if change == "signature":
        tf.saved_model.save(tf.Module(), str(path))
    if change == "output":
        save(path, small_network(), SHAPE, output="logits", name="x")
    if change == "classes":
        save(path, small_network(classes=2), SHAPE, output="classification", name="x")
    return ModelError


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("missing", r"example_info.json: is missing; copy it"),
        ("no JSON", r"example_info.json: cannot be read .* copy it"),
        ("no channels", r"example_info.json: does not describe .* copy it"),
        ("channel", "the channel 9999, which is not drawn here"),
        ("shape", "'shape' does not go with 7 channels"),
        ("even", "width 30 is even"),
        ("program", "TensorFlow cannot load it"),
        ("variables", "TensorFlow cannot load it"),
        ("other size", r"takes images of .*20, 31, 7.* says \(22, 31, 7\)"),
        ("signature", "no signature 'serving_default'"),
        ("output", "no 'classification'"),
        ("classes", "other than 3 classes"),
    ],
)
def test_what_is_wrong_is_told(path: Path, change: str, says: str) -> None:
    kind = damaged(path, change)
    with pytest.raises(kind, match=says) as caught:
        load_classifier(load_model(path), "cpu")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_checkpoints_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-50.index").touch()
    for given in (tmp_path, tmp_path / "checkpoint-50"):
        with pytest.raises(ModelError, match="convert_to_saved_model"):
            load_model(given)


def test_training_does_not_start_from_one(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can carry code"):
        run_train(output=tmp_path, init=saved)


@pytest.mark.golden
@pytest.mark.filterwarnings("ignore:This model usually expects")  # other channels than colours
def test_inception_on_the_golden_images(
    golden: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network of the released ones' kind and size, on the 84 images of DeepVariant's test."""
    import keras

    shape = (100, 221, 7)
    keras.utils.set_random_seed(1)
    backbone = keras.applications.InceptionV3(
        include_top=False, weights=None, input_shape=shape, pooling="avg"
    )
    head = keras.layers.Dense(3, "softmax", name="classification")
    network = keras.Model(backbone.input, head(keras.layers.Dropout(0.2)(backbone.output)))
    assert network.count_params() == 21_810_083
    examples = list(read_examples(golden / "golden.calling_examples.tfrecord.gz"))
    images = np.stack([example.image for example in examples])
    # weights by which the images differ: along the main components of their features
    features = backbone.predict_on_batch((images.astype(np.float32) - 128) / 128)
    mean = features.mean(axis=0)
    *_, components = np.linalg.svd(features - mean, full_matrices=False)
    weights = components[:3].T / ((features - mean) @ components[:3].T).std(axis=0)
    head.set_weights([weights, -mean @ weights])
    model = tmp_path / "wgs"
    save(model, network, shape, output="classification", name="input_1")

    expected = by_tensorflow(model)(images)
    assert np.bincount(expected.argmax(axis=1), minlength=3).min() > 5
    staged, called = tmp_path / "staged.tfrecord.gz", tmp_path / "called.tfrecord.gz"
    run_call_variants(
        [golden / "golden.calling_examples.tfrecord.gz"], staged, model=model, device="cpu"
    )
    data = shared / "data" / "NA12878_HiSeq_50x_hg19_chr20"
    run_call(
        data / "ucsc.hg19.chr20.unittest.fasta.gz",
        [data / "NA12878_S1.chr20.10_10p1mb.bam"],
        called,
        regions=["chr20:10,000,000-10,010,000"],
        model=model,
        device="cpu",
        deepvariant_compat=True,
    )
    differences = []
    for output in (staged, called):
        calls = list(read_calls(output))
        assert [call.alts for call in calls] == [example.alts for example in examples]
        got = np.array([call.probabilities for call in calls], np.float32)
        np.testing.assert_array_equal(got, round_probabilities(got))
        differences.append(float(np.abs(got - expected).max()))
    with capsys.disabled():
        print(
            f"\nInceptionV3, golden images: {len(examples)}/84, call-variants differs by "
            f"{differences[0]:.1e} at most, call by {differences[1]:.1e}"
        )
    assert len(examples) == 84
    assert max(differences) < 1e-5


def test_examples_are_drawn_for_one(saved: Path, testdata: Path, tmp_path: Path) -> None:
    output = tmp_path / "e.tfrecord"
    run_make_examples(
        testdata / "ref.fa", [testdata / "sample.bam"], output, model=saved, regions=["ctg2"]
    )
    shapes = {example.image.shape for example in read_examples(output)}
    assert shapes == {SHAPE}
    assert run_call_variants([output], tmp_path / "a.tfrecord", model=saved) > 0
