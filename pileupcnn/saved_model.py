"""DeepVariant's released networks: TensorFlow SavedModels with an ``example_info.json``.

A SavedModel is a program: TensorFlow runs whatever its graph says, also reading
and writing files. One is loaded only where ``--model`` names it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pileupcnn.errors import ModelError
from pileupcnn.example_info import read_model_info
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import CLASSES, Model
from pileupcnn.pileup import spec_from_info
from pileupcnn.realign import RealignSettings

if TYPE_CHECKING:
    import tensorflow as tf

_PROGRAM = "saved_model.pb"
_SIGNATURE = "serving_default"
_OUTPUT = "classification"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel(Model):
    """A network as DeepVariant releases it."""

    def tensorflow_function(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Its signature, behind DeepVariant's scaling of images to -1 to 1.

        Raises
        ------
        ModelError
            If it cannot be loaded or takes other images.
        """
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, AttributeError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{self.path}: TensorFlow cannot load it ({reason}); copy the whole directory again"
            ) from error
        network = loaded.signatures.get(_SIGNATURE)
        images = self._input(network)

        def classify(batch: tf.Tensor) -> tf.Tensor:
            # the signature alone would not keep the variables alive
            assert loaded is not None
            scaled = (tf.cast(batch, tf.float32) - 128) / 128
            return network(**{images: scaled})[_OUTPUT]

        return classify

    def _input(self, network: Any) -> str:
        """The name of the signature's one input, if it is DeepVariant's signature."""
        if network is None:
            raise ModelError(f"{self.path}: has no signature '{_SIGNATURE}'; {_WHICH}")
        inputs, outputs = network.structured_input_signature[1], network.structured_outputs
        if len(inputs) != 1 or outputs.get(_OUTPUT) is None:
            raise ModelError(f"{self.path}: has other inputs than one or no '{_OUTPUT}'; {_WHICH}")
        ((name, images),) = inputs.items()
        if not images.shape.is_compatible_with((None, *self.spec.shape)):
            raise ModelError(
                f"{self.path}: takes images of {images.shape[1:]}, its example_info.json says "
                f"{self.spec.shape}; {_WHICH}"
            )
        if not outputs[_OUTPUT].shape.is_compatible_with((None, len(CLASSES))):
            raise ModelError(f"{self.path}: tells other than {len(CLASSES)} classes; {_WHICH}")
        return str(name)


_WHICH = "take a model that DeepVariant released"


def is_saved_model(path: Path) -> bool:
    """Whether a directory is to be loaded as a SavedModel.

    Raises
    ------
    ModelError
        If it is the checkpoint of a training of DeepVariant's.
    """
    if (path / _PROGRAM).is_file():
        return True
    if Path(f"{path}.index").is_file() or any(path.glob("*.index")):
        raise ModelError(
            f"{path}: is a TensorFlow checkpoint; make a SavedModel of it with DeepVariant's "
            "convert_to_saved_model (--checkpoint, --example_info_json, --output) and give that"
        )
    return False


def load_saved_model(path: Path) -> SavedModel:
    """Describe a SavedModel, without running anything of it.

    Its images are as ``example_info.json`` says, made with DeepVariant's settings
    for whole genomes, and it answers as DeepVariant's models do (`Model.rounded`).

    Raises
    ------
    InputError
        If ``example_info.json`` is missing or wrong.
    ModelError
        If its images cannot be drawn.
    """
    info = read_model_info(path)
    try:
        spec = spec_from_info(info)
    except ValueError as error:
        raise ModelError(f"{path}: {error}, so its images cannot be drawn; {_WHICH}") from error
    return SavedModel(
        path=path,
        name="SavedModel",
        settings=ExampleSettings(pileup=spec, realign=RealignSettings()),
        sha256=_digest(path),
        rounded=True,
    )


def _digest(path: Path) -> str:
    """Of the program and its variables."""
    total = hashlib.sha256()
    for file in [path / _PROGRAM, *sorted((path / "variables").glob("variables.*"))]:
        try:
            with open(file, "rb") as content:
                total.update(hashlib.file_digest(content, "sha256").digest())
        except OSError as error:
            raise ModelError(
                f"{file}: cannot be read ({error.strerror}); copy the whole directory again"
            ) from error
    return total.hexdigest()
