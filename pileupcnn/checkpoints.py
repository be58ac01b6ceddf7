"""Where a training stands, on disk: named arrays that belong to one set of options and data."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.resources import write_whole


def write_state(
    path: Path, signature: str, state: Mapping[str, Any], arrays: Sequence[NDArray[Any]]
) -> None:
    """Write a state, atomically.

    Parameters
    ----------
    path : Path
    signature : str
        Of the options and data that it belongs to.
    state : dict
        What can be JSON.
    arrays : sequence of arrays

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    named: dict[str, Any] = {f"{i:04d}": array for i, array in enumerate(arrays)}
    named["state"] = np.array(json.dumps({**state, "signature": signature}))
    packed = io.BytesIO()
    np.savez(packed, **named)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, packed.getvalue())
    except OSError as error:
        raise OutputError(
            f"{path}: the state of the training cannot be written ({error.strerror}); choose "
            "a directory on a disk with space that you may write to"
        ) from error


def read_state(path: Path, signature: str) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read what `write_state` wrote.

    Raises
    ------
    InputError
        If it is damaged.
    OptionError
        If it has another signature.
    """
    try:
        # opened here: NumPy leaves a damaged file open
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            state: dict[str, Any] = json.loads(str(arrays["state"]))
            values = [arrays[f"{i:04d}"] for i in range(len(arrays.files) - 1)]
        found = state["signature"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error
    if found != signature:
        raise OptionError(
            f"{path}: is the state of a training with other options or data; remove it or "
            "choose another --output"
        )
    return state, values


def damaged(path: Path, reason: object) -> InputError:
    """What to say of a state that cannot be used."""
    return InputError(
        f"{path}: cannot be read as the state of a training ({reason}); remove it to start again"
    )
