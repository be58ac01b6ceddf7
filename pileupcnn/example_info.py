"""``example_info.json``: what lies beside examples, or in a model, and describes the images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pileupcnn.errors import InputError, OutputError
from pileupcnn.resources import write_whole

SCHEMA_VERSION = "1.9.0"
"""The version of DeepVariant whose files these are."""


@dataclass(frozen=True, slots=True)
class ExampleInfo:
    """Description of one file of examples, or of those a model takes.

    Attributes
    ----------
    shape : tuple of int or None
        Rows, columns and channels of the images; None if there is none.
    channels : tuple of int
        Numbers of the channels (`pileup.Channel`), in order.
    blocks : tuple of int or None
        Records of each block, in order, empty ones included; they add up to
        the file's. None if the file is not made of blocks.
    settings : dict or None
        How reads were chosen and images drawn (`settings_json.settings_to_json`);
        None in files of DeepVariant's, which do not tell.
    has_small_model_calls : bool
        Whether a small model answered for other images, in a file of its own.
    """

    shape: tuple[int, ...] | None
    channels: tuple[int, ...]
    blocks: tuple[int, ...] | None = None
    settings: dict[str, Any] | None = None
    has_small_model_calls: bool = False


def info_path(examples: str | Path) -> Path:
    """Where the description of a file of examples lies."""
    return Path(f"{examples}.example_info.json")


def write_info(examples: str | Path, info: ExampleInfo) -> None:
    """Write the description of a file of examples; it appears when it is complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    fields: dict[str, Any] = {
        "version": SCHEMA_VERSION,
        "shape": info.shape,
        "channels": info.channels,
    }
    if info.blocks is not None:
        fields["blocks"] = info.blocks
    if info.settings is not None:
        fields["settings"] = info.settings
    if info.has_small_model_calls:
        fields["has_small_model_calls"] = True
    path = info_path(examples)
    try:
        write_whole(path, json.dumps(fields).encode())
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another name"
        ) from error


def read_info(examples: str | Path) -> ExampleInfo | None:
    """The description of a file of examples; None if there is none.

    Raises
    ------
    InputError
        If it cannot be read, or is something else.
    """
    try:
        return _read(info_path(examples), "make the examples again, with this file")
    except FileNotFoundError:
        return None


def read_model_info(model: Path) -> ExampleInfo:
    """The description of the images that a model takes, from its directory.

    Raises
    ------
    InputError
        If it is missing, cannot be read, or is something else.
    """
    path, mend = model / "example_info.json", "copy it from where the model was released"
    try:
        return _read(path, mend)
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; {mend}") from error


def _read(path: Path, mend: str) -> ExampleInfo:
    """A description; `mend` ends the sentences on a wrong one.

    Raises
    ------
    FileNotFoundError
    InputError
        If it cannot be read, or is something else.
    """
    try:
        fields = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {mend}") from error
    try:
        blocks, settings = fields.get("blocks"), fields.get("settings")
        if not isinstance(settings, dict | None):
            raise TypeError(settings)
        return ExampleInfo(
            None if fields["shape"] is None else _numbers(fields["shape"]),
            _numbers(fields["channels"]),
            None if blocks is None else _numbers(blocks),
            settings,
            fields.get("has_small_model_calls") is True,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: does not describe examples ('shape', 'channels', 'blocks' or 'settings' is "
            f"missing or wrong); {mend}"
        ) from error


def _numbers(values: Any) -> tuple[int, ...]:
    """A list of natural numbers."""
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise ValueError(values)
    return tuple(values)
