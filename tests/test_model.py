"""Model bundles: what is written is what is loaded, and nothing else is."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pileupcnn import networks
from pileupcnn.candidates import CandidateSettings
from pileupcnn.errors import ModelError, OutputError
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import load_bundle, save_bundle
from pileupcnn.onnx_export import to_onnx
from pileupcnn.pileup import (
    BASE_CHANNELS,
    AltAlignedPileup,
    Channel,
    PileupSpec,
    TypesToAltAlign,
)
from pileupcnn.reads import ReadSettings
from pileupcnn.realign import RealignSettings
from pileupcnn.settings_json import settings_from_json, settings_to_json

SPEC = PileupSpec(height=16, width=21, channels=(Channel.READ_BASE, Channel.STRAND))
SETTINGS = ExampleSettings(
    reads=ReadSettings(min_mapping_quality=7),
    candidates=CandidateSettings(min_fraction_snps=0.25),
    pileup=SPEC,
)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow() -> None:
    networks.start_tensorflow("cpu", intra_op=1, inter_op=2)


@pytest.fixture(scope="module")
def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    network = networks.build("strided", SPEC.shape)
    return [rng.uniform(0.1, 0.5, w.shape).astype(np.float32) for w in network.weights]


def save(path: Path, weights: list[np.ndarray]) -> Path:
    network = networks.build("strided", SPEC.shape)
    network.set_weights(weights)
    save_bundle(
        path,
        name="tiny",
        architecture="strided",
        settings=SETTINGS,
        weights=weights,
        onnx=to_onnx(network),
        training={"images": 3},
    )
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, weights: list[np.ndarray]) -> Path:
    return save(tmp_path_factory.mktemp("models") / "sound", weights)


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "model"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = path / "model.json"
    fields = json.loads(file.read_text())
    change(fields)
    file.write_text(json.dumps(fields))


def repack(path: Path, **arrays: Any) -> None:
    """Other weights, with a checksum that fits."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (path / "weights.npz").write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    edit(path, lambda fields: fields["sha256"].update({"weights.npz": digest}))


def numbered(weights: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{i:03d}": weight for i, weight in enumerate(weights)}


def test_what_was_saved_is_loaded(sound: Path, weights: list[np.ndarray]) -> None:
    bundle = load_bundle(sound)
    assert bundle.settings == SETTINGS
    assert (bundle.name, bundle.architecture) == ("tiny", "strided")
    assert bundle.training == {"images": 3}
    assert all(map(np.array_equal, bundle.weights, weights))
    assert all(map(np.array_equal, bundle.network().get_weights(), weights))
    assert bundle.onnx == (sound / "model.onnx").read_bytes()
    assert bundle.sha256 == hashlib.sha256((sound / "model.json").read_bytes()).hexdigest()
    assert json.loads((sound / "model.json").read_text())["settings"]["realign"] is False


def test_settings_of_realignment_survive() -> None:
    for realign in (None, RealignSettings(max_read_length=300)):
        settings = ExampleSettings(realign=realign)
        assert settings_from_json(json.loads(json.dumps(settings_to_json(settings)))) == settings


def test_settings_of_images_survive() -> None:
    spec = PileupSpec(
        height=30,
        width=21,
        channels=(*BASE_CHANNELS, Channel.HAPLOTYPE),
        alt_aligned_pileup=AltAlignedPileup.DIFF_CHANNELS,
        types_to_alt_align=TypesToAltAlign.ALL,
        sort_by_haplotypes=True,
        mean_coverage=31.5,
        sample_heights=(10, 20),
    )
    fields = json.loads(json.dumps(settings_to_json(ExampleSettings(pileup=spec))))
    assert fields["pileup"]["alt_aligned_pileup"] == "diff_channels"
    assert settings_from_json(fields).pileup == spec


def test_settings_that_came_later_are_written_and_wanted_only_where_they_matter() -> None:
    fields = settings_to_json(ExampleSettings())
    assert set(fields["pileup"]) == {"height", "width", "channels", "reference_rows"}
    assert settings_from_json(fields) == ExampleSettings()
    for name, value, message in (
        ("sort_by_haplotypes", 1, "not a bool"),
        ("alt_aligned_pileup", "columns", "not one of none, rows"),
        ("sample_heights", [50, 51], "do not add up to 100"),
        ("sorted", True, "unknown"),
    ):
        wrong = {**fields, "pileup": {**fields["pileup"], name: value}}
        with pytest.raises(ValueError, match=message):
            settings_from_json(wrong)
    del fields["pileup"]["width"]
    with pytest.raises(ValueError, match="missing"):
        settings_from_json(fields)


def test_the_same_weights_give_the_same_bytes(
    sound: Path, weights: list[np.ndarray], tmp_path: Path
) -> None:
    again = save(tmp_path / "again", weights)
    for name in ("weights.npz", "model.onnx", "model.json"):
        assert (again / name).read_bytes() == (sound / name).read_bytes()


def test_loading_imports_no_tensorflow(sound: Path) -> None:
    code = (
        "import sys; from pileupcnn.model import load_bundle; load_bundle(sys.argv[1]); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, sound], check=True)


def test_saving_replaces_a_bundle_and_nothing_else(
    path: Path, weights: list[np.ndarray], tmp_path: Path
) -> None:
    edit(path, lambda fields: fields.update(name="older"))
    assert load_bundle(save(path, weights)).name == "tiny"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").touch()
    with pytest.raises(OutputError, match="other files"):
        save(other, weights)
    assert (other / "thesis.txt").exists()


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "foreign": (lambda f: f.update(format="x"), "has no"),
    "newer": (lambda f: f.update(version=3), "version 3 .* update"),
    "no name": (lambda f: f.pop("name"), "'name' is missing"),
    "name in two lines": (lambda f: f.update(name="a\nb"), "not printable"),
    "extra": (lambda f: f.update(code="import os"), "unknown field 'code'"),
    "architecture": (lambda f: f.update(architecture="resnet"), "'resnet' is not one of"),
    "classes": (lambda f: f.update(classes=["het", "hom_ref", "hom_alt"]), "'classes'"),
    "unknown channel": (lambda f: f["image"].update(channels=["sparkle"]), "'sparkle'"),
    "channel no name": (lambda f: f["image"].update(channels=[[1]]), "not one of"),
    "channel twice": (lambda f: f["image"].update(channels=["strand"] * 2), "twice"),
    "no channel": (lambda f: f["image"].update(channels=[]), "none"),
    "even width": (lambda f: f["image"].update(width=22), "width 22 is even"),
    "no read rows": (lambda f: f["image"].update(reference_rows=16), "reference_rows 16"),
    "text": (lambda f: f["image"].update(height="16"), "'settings.pileup.height' is not a int"),
    "true": (lambda f: f["image"].update(height=True), "is not a int"),
    "realigned": (lambda f: f["settings"].update(realign=True), "is not an object"),
    "realigned null": (lambda f: f["settings"].update(realign=None), "neither false nor an object"),
    "no cap": (
        lambda f: f["settings"]["reads"].update(max_reads_per_partition=-1),
        "max_reads_per_partition -1",
    ),
    "huge": (lambda f: f["image"].update(height=10**9), "height 1e"),
    "no number": (
        lambda f: f["settings"]["candidates"].update(min_fraction_snps=float("nan")),
        "min_fraction_snps nan",
    ),
    "no partition": (lambda f: f["settings"]["reads"].update(partition_size=0), "partition_size 0"),
    "setting gone": (lambda f: f["settings"]["reads"].popitem(), "is missing"),
    "setting new": (lambda f: f["settings"]["reads"].update(x=1), "'settings.reads.x' is unknown"),
    "settings list": (lambda f: f["settings"].update(reads=[]), "not an object"),
    "checksum": (lambda f: f["sha256"].update({"weights.npz": "0" * 64}), "weights.*checksum"),
    "checksum of ONNX": (lambda f: f["sha256"].update({"model.onnx": ""}), "onnx.*checksum"),
    "no checksum": (lambda f: f["sha256"].popitem(), "does not name"),
    "another file": (lambda f: f["sha256"].update({"../x": ""}), "does not name"),
    "older's checksum": (lambda f: f.update(sha256="0" * 64), "'sha256' .* not a dict"),
}


@pytest.mark.parametrize("case", EDITS)
def test_wrong_descriptions_are_refused(path: Path, case: str) -> None:
    change, message = EDITS[case]
    edit(path, change)
    with pytest.raises(ModelError, match=message):
        load_bundle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {**w, "003": np.full_like(w["003"], np.nan)}, "003 holds NaN"),
        (lambda w: {**w, "003": w["003"].astype(np.float64)}, "003 is float64"),
        (lambda w: {**w, "003": np.array([object()])}, "plain NumPy arrays"),
        (lambda w: {**w, "x": w["003"]}, "not numbered"),
    ],
    ids=["nan", "double", "pickle", "names"],
)
def test_wrong_arrays_are_refused(
    path: Path, weights: list[np.ndarray], change: Callable[..., Any], message: str
) -> None:
    repack(path, **change(numbered(weights)))
    with pytest.raises(ModelError, match=message):
        load_bundle(path)


def test_arrays_of_another_network_are_refused(path: Path, weights: list[np.ndarray]) -> None:
    repack(path, **numbered([*weights[:-1], weights[-1][:2]]))
    with pytest.raises(ModelError, match=f"array {len(weights) - 1} of .* does not fit"):
        load_bundle(path).network()
    repack(path, **numbered(weights[:-1]))
    with pytest.raises(ModelError, match=f"array {len(weights) - 1} of .* does not fit"):
        load_bundle(path).network()


def test_a_cut_file_is_refused(path: Path) -> None:
    file = path / "weights.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="checksum"):
        load_bundle(path)
    (path / "model.onnx").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_bundle(path)
    (path / "model.json").write_bytes(b"\xff{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_bundle(path)


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        load_bundle(tmp_path / "none")
    with pytest.raises(ModelError, match=r"holds no model\.json"):
        load_bundle(tmp_path)
    for name in ("model.keras", "model.h5", "weights.npz"):
        (tmp_path / name).touch()
        with pytest.raises(ModelError, match="can carry code"):
            load_bundle(tmp_path / name)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="can carry code"):
        load_bundle(tmp_path)


def test_bundles_of_version_1_are_read(path: Path) -> None:
    (path / "model.onnx").unlink()
    edit(path, lambda f: f.update(version=1, sha256=f["sha256"]["weights.npz"]))
    bundle = load_bundle(path)
    assert bundle.onnx is None
    assert bundle.sha256 == hashlib.sha256((path / "model.json").read_bytes()).hexdigest()
    edit(path, lambda f: f.update(sha256="0" * 64))
    with pytest.raises(ModelError, match="checksum"):
        load_bundle(path)
