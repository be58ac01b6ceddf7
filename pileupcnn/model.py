"""Models: what a classifier needs to know of one, and the bundle that holds ours.

A bundle is a directory of three files, or four:

``weights.npz``
    One float32 array a weight, named by its place in the network (``000``,
    ``001``, ...), written and read without pickle.
``model.onnx``
    The same network as ONNX Runtime takes it (see `onnx_export`).
``small_model.npz``
    The layers of a small model, if there is one, in the same way.
``model.json``
    ``format`` ("pileupcnn-model"), ``version`` (of the format), ``name``,
    ``architecture`` (of `networks.ARCHITECTURES`), ``classes`` (in the order of
    the probabilities), ``image`` (height, width, reference rows and the
    channels' names in order), ``settings`` (how reads were chosen and
    candidates found: a model holds only for images made as its training images
    were), ``training`` (data and figures, free), ``sha256`` (of each of the other
    files), with a small model ``small_model`` (when it is believed) and, only if
    it is true, ``round_probabilities`` (to answer as DeepVariant's models do, see
    `Model.rounded`).

Beside them lies ``card.md``, the model's card, for people to read.

Version 1 of the format had no ``model.onnx``, and one text as ``sha256``.

Nothing in a bundle is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from pileupcnn import networks
from pileupcnn.cards import model_card
from pileupcnn.errors import ModelError, OutputError
from pileupcnn.examples import ExampleSettings
from pileupcnn.pileup import PileupSpec
from pileupcnn.settings_json import from_json, settings_from_json, settings_to_json, to_json
from pileupcnn.small_model import DenseNetwork, SmallModel, SmallModelSettings

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

FORMAT = "pileupcnn-model"
FORMAT_VERSION = 2

CLASSES = ("hom_ref", "het", "hom_alt")
"""Copies of the image's ALT alleles in the genotype: 0, 1, 2."""

DEFAULT_MODEL = Path(__file__).parent / "models" / "default"
"""The bundle that is part of the package."""

_WEIGHTS = "weights.npz"
_ONNX = "model.onnx"
_DESCRIPTION = "model.json"
_CARD = "card.md"
_SMALL_WEIGHTS = "small_model.npz"
_SMALL_MODEL = "small_model"
_ROUNDED = "round_probabilities"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Model(ABC):
    """A network and the images it is for.

    Attributes
    ----------
    path : Path
        Its directory.
    name : str
        What the VCF header calls it.
    settings : ExampleSettings
        How its training images were made, and how images for it must be.
    sha256 : str
        Tells it from every other.
    rounded : bool
        Whether it answers as DeepVariant's do: with rounded probabilities
        (`classifiers.round_probabilities`), and images of a site not taken together.
    onnx : bytes, optional
        The network for ONNX Runtime (see `onnx_export`).
    small_model : SmallModel, optional
        What answers before an image is drawn.
    """

    path: Path
    name: str
    settings: ExampleSettings
    sha256: str
    rounded: bool = False
    onnx: bytes | None = None
    small_model: SmallModel | None = None

    @property
    def spec(self) -> PileupSpec:
        """What its images look like."""
        return self.settings.pileup

    @property
    def joint(self) -> bool:
        """How `postprocess.genotype` is to take the images of a site."""
        return not self.rounded

    def without_small_model(self) -> Self:
        """The same, with all that has an image left to the network."""
        return dataclasses.replace(self, small_model=None)

    @abstractmethod
    def tensorflow_function(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The network for TensorFlow, which must have been started.

        Returns
        -------
        callable
            uint8 ``[n, height, width, channels]`` to float32 ``[n, classes]``, to be
            traced.

        Raises
        ------
        ModelError
            If the network is not one for the model's images.
        """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Model):
    """A loaded and checked model bundle.

    Attributes
    ----------
    architecture : str
    training : dict
        Data and figures of its training, as `model.json` gives them.
    weights : tuple of float32 arrays
        In the network's order; `sha256` is that of ``model.json``, which holds
        those of the other files.
    """

    architecture: str
    training: dict[str, Any]
    weights: tuple[NDArray[np.float32], ...]

    def card(self) -> str:
        """The model's card, Markdown."""
        small = self.small_model
        return model_card(
            *(self.name, self.architecture, self.settings, self.training),
            None if small is None else small.settings,
        )

    def tensorflow_function(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The network for TensorFlow, as in `Model`."""
        network = self.network()
        return lambda images: network(images, training=False)

    def network(self) -> keras.Model:
        """Build the network and give it the weights.

        Raises
        ------
        ModelError
            If the architecture is unknown or the arrays do not fit it.
        """
        network = networks.build(
            self.architecture, self.spec.shape, len(CLASSES), numbers=self.spec.numbers_layer
        )
        wanted = [tuple(weight.shape) for weight in network.weights]
        found = [weight.shape for weight in self.weights]
        if found != wanted:
            at = next(
                (
                    i
                    for i, pair in enumerate(zip(found, wanted, strict=False))
                    if pair[0] != pair[1]
                ),
                min(len(found), len(wanted)),
            )
            _refuse(
                self.path / _WEIGHTS,
                f"array {at} of {len(found)} does not fit architecture "
                f"'{self.architecture}' ({len(wanted)} arrays) of this version for images of "
                f"{self.spec.shape}",
            )
        network.set_weights(self.weights)
        return network


def save_bundle(
    path: str | Path,
    *,
    name: str,
    architecture: str,
    settings: ExampleSettings,
    weights: Sequence[NDArray[np.float32]],
    onnx: bytes,
    training: Mapping[str, Any],
    rounded: bool = False,
    small_model: SmallModel | None = None,
) -> None:
    """Write a bundle; an older one at `path` is replaced when the new one is whole.

    Parameters
    ----------
    path : path
        The bundle's directory.
    name : str
        What the VCF header calls the model.
    architecture, settings, weights, onnx, training, rounded
        As in `Bundle`.
    small_model : SmallModel, optional
        A `DenseNetwork` with its settings.

    Raises
    ------
    OutputError
        If the directory cannot be written, or is something else than a bundle.
    """
    path = Path(path)
    files = {_WEIGHTS: _pack(weights), _ONNX: onnx}
    more: dict[str, Any] = {_ROUNDED: True} if rounded else {}
    if small_model is not None:
        assert isinstance(small_model.predict, DenseNetwork)
        files[_SMALL_WEIGHTS] = _pack(small_model.predict.weights)
        more[_SMALL_MODEL] = to_json(small_model.settings)
    rest = settings_to_json(settings)
    image = rest.pop("pileup")
    description = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "name": name,
        "architecture": architecture,
        "classes": CLASSES,
        "image": image,
        "settings": rest,
        "training": training,
        "sha256": {name: _digest(packed) for name, packed in files.items()},
        **more,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and any(path.iterdir()) and not (path / _DESCRIPTION).exists():
            raise OutputError(
                f"{path}: holds other files than a model bundle; choose another directory"
            )
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        made.chmod(0o755)
        for file, packed in files.items():
            (made / file).write_bytes(packed)
        limits = None if small_model is None else small_model.settings
        (made / _CARD).write_text(model_card(name, architecture, settings, training, limits))
        (made / _DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        replace_folder(made, path)
    except OSError as error:
        raise OutputError(
            f"{path}: the model bundle cannot be written ({error.strerror}); "
            "choose a directory on a disk with space that you may write to"
        ) from error


def replace_folder(made: Path, path: Path) -> None:
    """Put a new folder under its name; an older one goes when the new one is in place."""
    old = _replaced(path)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(made, path)
    shutil.rmtree(old, ignore_errors=True)


def _replaced(path: Path) -> Path:
    """Where a folder is while another takes its place."""
    return path.with_name(f".{path.name}-old")


def restore_folder(path: Path) -> None:
    """Put a folder back under its name whose replacement was cut short."""
    old = _replaced(path)
    if old.exists() and not path.exists():
        os.replace(old, path)


def load_bundle(path: str | Path = DEFAULT_MODEL) -> Bundle:
    """Read and check a bundle, without TensorFlow.

    Whether the network is one for the images is checked when it is started, by
    `classifiers.load_classifier`.

    Parameters
    ----------
    path : path
        The bundle's directory.

    Raises
    ------
    ModelError
        If it is no bundle, is damaged, or asks for images that cannot be drawn.
    """
    path = Path(path)
    _check_kind(path)
    try:
        description = (path / _DESCRIPTION).read_bytes()
        fields = json.loads(description)
        _check_fields(path / _DESCRIPTION, fields)
        files = {name: (path / name).read_bytes() for name in fields["sha256"]}
    except (OSError, ValueError) as error:
        _refuse(path, f"cannot be read ({error})")
    for name, packed in files.items():
        if _digest(packed) != fields["sha256"][name]:
            _refuse(path / name, f"its checksum is not the one in {_DESCRIPTION}")
    settings = _settings(path / _DESCRIPTION, fields)
    return Bundle(
        path=path,
        name=fields["name"],
        architecture=fields["architecture"],
        settings=settings,
        training=fields["training"],
        weights=_unpack(path / _WEIGHTS, files[_WEIGHTS]),
        sha256=_digest(description),
        rounded=fields.get(_ROUNDED, False),
        onnx=files.get(_ONNX),
        small_model=_small_model(path, fields, files),
    )


def _small_model(
    path: Path, fields: Mapping[str, Any], files: Mapping[str, bytes]
) -> SmallModel | None:
    """The small model, if the bundle has one."""
    if _SMALL_MODEL not in fields:
        return None
    weights = _unpack(path / _SMALL_WEIGHTS, files[_SMALL_WEIGHTS])
    try:
        settings = from_json(SmallModelSettings, fields[_SMALL_MODEL], _SMALL_MODEL)
        network = DenseNetwork(weights)
    except ValueError as error:
        _refuse(path / _DESCRIPTION, str(error))
    if len(weights[-1]) != len(CLASSES):
        _refuse(path / _SMALL_WEIGHTS, f"its last layer has not {len(CLASSES)} values")
    return SmallModel(network, settings)


def _digest(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()


def _refuse(path: Path, reason: str) -> NoReturn:
    raise ModelError(f"{path}: {reason}; take a bundle that 'pileupcnn train' wrote, unchanged")


def _check_kind(path: Path) -> None:
    """Say plainly what is wrong where no bundle lies."""
    if not path.exists():
        raise ModelError(f"{path}: no such model; --model takes the directory of one")
    foreign = path.is_file() or (path / "saved_model.pb").exists()
    if foreign or path.suffix in (".keras", ".h5", ".hdf5"):
        raise ModelError(
            f"{path}: is no bundle (a directory with {_DESCRIPTION} and {_WEIGHTS}), and .keras, "
            "HDF5 and other files that can carry code are not loaded; make a bundle with "
            "'pileupcnn train'"
        )
    for name in (_DESCRIPTION, _WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(
                f"{path}: holds no {name}, so it is no model bundle; give the directory that "
                "'pileupcnn train' wrote"
            )


def _check_fields(path: Path, fields: Any) -> None:
    """Names and types of the top level of model.json."""
    kinds: dict[str, type] = {
        "format": str,
        "version": int,
        "name": str,
        "architecture": str,
        "classes": list,
        "image": dict,
        "settings": dict,
        "training": dict,
        "sha256": dict,
    }
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        _refuse(path, f'has no "format": "{FORMAT}"')
    if fields.get("version") not in range(1, FORMAT_VERSION + 1):
        raise ModelError(
            f"{path}: version {fields.get('version')} of the format, this program reads versions "
            f"up to {FORMAT_VERSION}; update pileupcnn or take another model"
        )
    if fields["version"] == 1 and isinstance(fields.get("sha256"), str):
        fields["sha256"] = {_WEIGHTS: fields["sha256"]}
    optional = {_ROUNDED: bool, _SMALL_MODEL: dict}
    kinds |= {name: kind for name, kind in optional.items() if name in fields}
    for name, kind in kinds.items():
        if not isinstance(fields.get(name), kind):
            _refuse(path, f"'{name}' is missing or not a {kind.__name__}")
    if unknown := sorted(set(fields) - set(kinds)):
        _refuse(path, f"unknown field '{unknown[0]}'")
    files = {_WEIGHTS} if fields["version"] == 1 else {_WEIGHTS, _ONNX}
    files |= {_SMALL_WEIGHTS} if _SMALL_MODEL in fields else set()
    if set(fields["sha256"]) != files:
        _refuse(path, "'sha256' does not name the bundle's files")
    if fields["architecture"] not in networks.ARCHITECTURES:
        raise ModelError(
            f"{path}: architecture '{fields['architecture']}' is not one of "
            f"{', '.join(sorted(networks.ARCHITECTURES))}; update pileupcnn or take another model"
        )
    if fields["classes"] != list(CLASSES):
        _refuse(path, f"'classes' are not {', '.join(CLASSES)}")
    if not is_name(fields["name"]):
        _refuse(path, "'name' is not printable on one line")


def is_name(name: str) -> bool:
    """Whether a model may have this name: it stands on one line of a VCF's header."""
    return name.isprintable()


def _settings(path: Path, fields: dict[str, Any]) -> ExampleSettings:
    """The reading and drawing settings, checked."""
    try:
        settings = settings_from_json({**fields["settings"], "pileup": fields["image"]})
    except ValueError as error:
        _refuse(path, str(error))
    return settings


def _pack(weights: Sequence[NDArray[np.float32]]) -> bytes:
    """Arrays as an archive, named by their order."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"{i:03d}": np.asarray(w, "<f4") for i, w in enumerate(weights)}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _unpack(path: Path, packed: bytes) -> tuple[NDArray[np.float32], ...]:
    """The arrays of such an archive, in the order of their names."""
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            weights = [arrays[name] for name in sorted(arrays.files)]
            names = sorted(arrays.files)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        _refuse(path, f"is not an archive of plain NumPy arrays ({error})")
    if names != [f"{i:03d}" for i in range(len(names))]:
        _refuse(path, "its arrays are not numbered from 000")
    for name, array in zip(names, weights, strict=True):
        if array.dtype != np.float32:
            _refuse(path, f"array {name} is {array.dtype}, not float32")
        if not np.isfinite(array).all():
            _refuse(path, f"array {name} holds NaN or infinite values")
    return tuple(weights)
