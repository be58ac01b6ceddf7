"""Settings as JSON and back, strict about names and types: for bundles and stores."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pileupcnn.examples import ExampleSettings


def settings_to_json(settings: ExampleSettings) -> dict[str, Any]:
    """The settings as model.json and the packed store write them.

    ``"realign": false`` says that reads are taken as aligned.
    """
    fields = to_json(settings)
    return {"realign": fields.pop("realign") or False, **fields}


def settings_from_json(value: Mapping[str, Any]) -> ExampleSettings:
    """The inverse of `settings_to_json`.

    Raises
    ------
    ValueError
        If a field is missing, unknown or of another type.
    """
    fields = dict(value)
    if fields.get("realign", False) is None:
        raise ValueError("'settings.realign' is neither false nor an object")
    if fields.get("realign") is False:
        fields["realign"] = None
    settings: ExampleSettings = from_json(ExampleSettings, fields, "settings")
    return settings


def to_json(value: Any) -> Any:
    """Dataclasses to dictionaries, enumerations to their names in lower case.

    Fields with the metadata `LATER` are left out where they have their default.
    """
    if dataclasses.is_dataclass(value):
        return {
            f.name: to_json(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not f.metadata.get("later") or getattr(value, f.name) != f.default
        }
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(kind: Any, value: Any, where: str) -> Any:
    """The inverse of `to_json`, strict about names and types.

    Parameters
    ----------
    kind : type
        A dataclass, an enumeration, ``tuple[kind, ...]``, ``kind | None``,
        bool, int, float or str.
    value
        What ``json.loads`` gave.
    where : str
        Name of the field, for messages.

    Raises
    ------
    ValueError
        If a field is missing, unknown or of another type.
    """
    if isinstance(kind, types.UnionType):
        (other,) = set(typing.get_args(kind)) - {types.NoneType}
        return None if value is None else from_json(other, value, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"'{where}' is not an object")
        hints = typing.get_type_hints(kind)
        later = {f.name for f in dataclasses.fields(kind) if f.metadata.get("later")}
        for name in sorted((set(hints) ^ set(value)) - (later - set(value))):
            raise ValueError(f"'{where}.{name}' is {'missing' if name in hints else 'unknown'}")
        return kind(**{n: from_json(hints[n], v, f"{where}.{n}") for n, v in value.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = {member.name.lower(): member for member in kind}
        if not isinstance(value, str) or value not in members:
            raise ValueError(f"'{where}': '{value}' is not one of {', '.join(members)}")
        return members[value]
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"'{where}' is not a list")
        return tuple(from_json(typing.get_args(kind)[0], item, where) for item in value)
    # bool is an int to Python, and JSON writes 1.0 as it likes
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"'{where}' is not a {kind.__name__}")
    return kind(value)
