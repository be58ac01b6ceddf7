"""What holds files open is closed, or completed, by a ``with`` block; files appear when whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Self


def temporary_beside(path: Path) -> Path:
    """The name under which this process writes a file until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; OSError if it cannot be written."""
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


class Closing:
    """A context manager that closes itself; for classes with a `close` method."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        raise NotImplementedError


class Finishing:
    """A context manager for a file that appears under its name only when it is whole.

    On clean exit the file is completed and published; on any error, its own
    included, what was written is removed.
    """

    _completed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self.complete()
            self._publish()
        except OSError as error:
            self._abandon()
            raise self._failure(error) from error
        except BaseException:
            self._abandon()
            raise

    def complete(self) -> None:
        """Complete the file under its temporary name, so that publishing it can hardly fail.

        Done on exit at the latest; earlier where several files belong together.
        """
        if self._completed:
            return
        try:
            self._complete()
        except OSError as error:
            raise self._failure(error) from error
        self._completed = True

    def _complete(self) -> None:
        """Write what is left, and have it on disk."""
        raise NotImplementedError

    def _publish(self) -> None:
        """Put the complete file under its name."""
        raise NotImplementedError

    def _abandon(self) -> None:
        """Remove what was written; an error in it would hide the first one."""
        raise NotImplementedError

    def _failure(self, error: OSError) -> Exception:
        """What to raise where the file cannot be written."""
        raise NotImplementedError
