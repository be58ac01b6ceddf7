"""TFRecord files: reading, writing, and the names of their shards.

A record is its length (uint64, little-endian), the length's checksum (uint32),
the payload and the payload's checksum; a checksum is the CRC32C, masked so that
checksums of data that hold checksums stay useful: rotated by 15 bits, plus a
constant. A whole file may be compressed with gzip.

``name@N.ext`` stands for the N files ``name-00000-of-0000N.ext`` and so on.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from pileupcnn.errors import InputError, OutputError
from pileupcnn.resources import Finishing, temporary_beside

GZIP_LEVEL = 1
"""Images shrink about as much as at the usual level 6, in a quarter of the time."""

MAX_RECORD_SIZE = 2**31 - 1
"""Largest payload in bytes: no message may be larger."""

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_MASK = 0xA282EAD8
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31
_BUFFER = 1 << 18

_SHARD_SPEC = re.compile(r"(.*)@(\d*[1-9]\d*)(\.[^/]+)?", re.DOTALL)
_SHARD_FILE = re.compile(r"(.*)-(\d+)-of-(\d*[1-9]\d*)([^/]*)", re.DOTALL)
_SHARD_WIDTH = 5


def masked_crc32c(data: bytes) -> int:
    """Checksum of a record's length or payload, 32 bits."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def read_records(path: str | Path) -> Iterator[bytes]:
    """The payloads of one file, compressed or not (its content decides), in order.

    Raises
    ------
    InputError
        If the file cannot be opened, or a record is truncated or damaged; the
        message has its number, counted from 1.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    with file, _decompressed(file, path) as stream:
        for number in itertools.count(1):
            try:
                payload = _next_payload(stream)
            except (_DamageError, EOFError, OSError, zlib.error) as error:
                kind = "not a TFRecord file, or damaged" if number == 1 else "damaged"
                raise InputError(
                    f"{path}: {kind} at record {number} ({error}); make or copy it again"
                ) from error
            if payload is None:
                return
            yield payload


class _DamageError(Exception):
    """What is wrong with a record."""


def _decompressed(file: io.BufferedReader, path: str | Path) -> io.BufferedReader | gzip.GzipFile:
    """The file's content, unpacked if it is packed.

    The length of a first record can begin like gzip's magic number; then its
    checksum fits.
    """
    try:
        head = file.peek(_HEADER.size)[: _HEADER.size]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not head and str(path).endswith(".gz"):
        raise InputError(f"{path}: empty, not even a gzip header; make or copy it again")
    plain = len(head) == _HEADER.size and masked_crc32c(head[:8]) == _HEADER.unpack(head)[1]
    if head.startswith(_GZIP_MAGIC) and not plain:
        return gzip.GzipFile(fileobj=file)
    return file


def _next_payload(stream: io.BufferedReader | gzip.GzipFile) -> bytes | None:
    """The next record's payload; None at the end of the file."""
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise _DamageError("cut off in its length")
    size, checksum = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != checksum or size > MAX_RECORD_SIZE:
        raise _DamageError("wrong checksum of its length")
    payload = stream.read(size)
    tail = stream.read(_CHECKSUM.size)
    if len(payload) < size or len(tail) < _CHECKSUM.size:
        raise _DamageError("cut off in its data")
    if masked_crc32c(payload) != _CHECKSUM.unpack(tail)[0]:
        raise _DamageError("wrong checksum of its data")
    return payload


class RecordWriter(Finishing):
    """Write a TFRecord file that appears under its name only when complete.

    A context manager. The file is made beside its target under a temporary
    name and renamed when the ``with`` block ends well; when it does not, it is
    removed. What is no regular file (``/dev/null``, a pipe) is written directly.

    Parameters
    ----------
    path : path
        Compressed with gzip if it ends in ``.gz``. The bytes depend on what is
        written only (and on zlib's version).
    level : int
        Of the compression, 1 to 9.

    Attributes
    ----------
    count : int
        Records written so far.

    Raises
    ------
    OutputError
        If the file cannot be written, now or later.
    """

    def __init__(self, path: str | Path, level: int = GZIP_LEVEL) -> None:
        self.path = Path(path)
        self.count = 0
        if self.path.is_dir():
            raise OutputError(f"{path}: is a folder; give a file name in it")
        special = self.path.exists() and not self.path.is_file()
        self._temporary = None if special else temporary_beside(self.path)
        compressed = self.path.name.lower().endswith(".gz")
        self._packer = zlib.compressobj(level, wbits=_GZIP_WBITS) if compressed else None
        try:
            self._file = open(self._temporary or self.path, "wb", buffering=_BUFFER)  # noqa: SIM115
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); check that the folder exists and "
                "may be written to, or choose another name"
            ) from error

    def write(self, payload: bytes) -> None:
        """Append a record."""
        length = len(payload).to_bytes(8, "little")
        head = _HEADER.pack(len(payload), masked_crc32c(length))
        tail = _CHECKSUM.pack(masked_crc32c(payload))
        try:
            for part in (head, payload, tail):
                self._file.write(self._packer.compress(part) if self._packer else part)
        except OSError as error:
            raise self._failure(error) from error
        self.count += 1

    def _complete(self) -> None:
        if self._packer:
            self._file.write(self._packer.flush())
        self._file.flush()
        if self._temporary:
            os.fsync(self._file.fileno())  # else a crash could leave the name without the bytes
        self._file.close()

    def _publish(self) -> None:
        if self._temporary:
            os.replace(self._temporary, self.path)

    def _abandon(self) -> None:
        """Remove what was written; an error in it would hide the first one."""
        with suppress(Exception):
            self._file.close()
        if self._temporary:
            with suppress(OSError):
                os.unlink(self._temporary)

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path}: cannot be written ({error.strerror}); free some space or choose "
            "another name"
        )


@dataclass(frozen=True, slots=True)
class Shards:
    """A file in several parts, ``stem@count`` and `suffix`.

    Attributes
    ----------
    stem : str
        Folder and name before the part's number.
    count : int
        Parts, at least 1.
    suffix : str
        Name after it, e.g. ``.gz``; may be empty.
    """

    stem: str
    count: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.stem}@{self.count}{self.suffix}"

    @classmethod
    def parse(cls, name: str | Path) -> Shards | None:
        """``name@N[.ext]`` as shards; None for a name that is no such one."""
        found = _SHARD_SPEC.fullmatch(str(name))
        return cls(found[1], int(found[2]), found[3] or "") if found else None

    @classmethod
    def parse_file(cls, path: str | Path) -> tuple[Shards, int] | None:
        """Shards that a file named ``name-k-of-N[.ext]`` is one of, and its k (from 0)."""
        found = _SHARD_FILE.fullmatch(str(path))
        if found is None or int(found[2]) >= int(found[3]):
            return None
        return cls(found[1], int(found[3]), found[4]), int(found[2])

    def path(self, index: int) -> Path:
        """File of one shard, counted from 0."""
        width = max(_SHARD_WIDTH, len(str(self.count)))
        return Path(f"{self.stem}-{index:0{width}}-of-{self.count:0{width}}{self.suffix}")

    def paths(self) -> list[Path]:
        """Files of all shards, in order."""
        return [self.path(index) for index in range(self.count)]


def output_paths(name: str | Path) -> list[Path]:
    """Files to write for ``name@N[.ext]``, or the one file of any other name."""
    shards = Shards.parse(name)
    return shards.paths() if shards else [Path(name)]


def find_shards(names: Iterable[str | Path], *, whole: bool = True) -> list[Path]:
    """Files that an input's names stand for; all of them exist.

    Parameters
    ----------
    names : iterable of path
        At least one; each a file; or ``name@N[.ext]``; or ``name.ext`` where there is no such
        file but a set of shards ``name-k-of-N.ext``.
    whole : bool
        Files that are shards by their names must be complete sets. Otherwise
        any of them may be given.

    Returns
    -------
    list of Path
        In the order of `names`, shards of one name in order.

    Raises
    ------
    InputError
        If a file is missing or given twice, or shards are missing or of several
        sets.
    """
    paths = [path for name in names for path in _files_of(name)]
    path, times = Counter(paths).most_common(1)[0]
    if times > 1:
        raise InputError(f"{path}: given {times} times; give each file once")
    if whole:
        _check_whole(paths)
    return paths


def _files_of(name: str | Path) -> list[Path]:
    """A file itself, or the shards that a name stands for."""
    if Path(name).exists():
        return [Path(name)]
    shards = Shards.parse(name) or _shards_beside(Path(name))
    for index in range(shards.count):
        if not shards.path(index).exists():
            raise _missing(shards, index)
    return shards.paths()


def _shards_beside(path: Path) -> Shards:
    """The one set of shards whose name without numbers is that of `path`."""
    with suppress(OSError):
        files = (Shards.parse_file(file) for file in path.parent.iterdir())
        sets = {f[0] for f in files if f and f"{f[0].stem}{f[0].suffix}" == str(path)}
        if len(sets) == 1:
            return sets.pop()
        if sets:
            raise _several(sets)
    raise InputError(f"{path}: no such file, and no shards of it; check the path")


def _check_whole(paths: Iterable[Path]) -> None:
    """Are the shards among these files complete sets?"""
    given: dict[tuple[str, str], dict[Shards, set[int]]] = {}
    for found in map(Shards.parse_file, paths):
        if found:
            shards, index = found
            sets = given.setdefault((shards.stem, shards.suffix), {})
            sets.setdefault(shards, set()).add(index)
    for sets in given.values():
        if len(sets) > 1:
            raise _several(sets)
        for shards, indices in sets.items():
            missing = next((i for i in range(shards.count) if i not in indices), None)
            if missing is not None:
                raise _missing(shards, missing)


def _missing(shards: Shards, index: int) -> InputError:
    return InputError(
        f"{shards.path(index)}: missing, one of the {shards.count} shards of {shards}; make it, "
        "or give all of them"
    )


def _several(sets: Iterable[Shards]) -> InputError:
    counted = sorted(sets, key=lambda shards: shards.count)
    names = " and ".join(str(shards) for shards in counted)
    return InputError(
        f"{counted[0].stem}: shards of different sets, {names}; give those of one run, and remove "
        "the others"
    )
