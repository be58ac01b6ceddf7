"""What holds files open is closed, or completed, by a ``with`` block."""

from __future__ import annotations

from typing import Self


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

    On clean exit the file is finished; on any error, its own included, what
    was written is removed.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
        except OSError as error:
            self._abandon()
            raise self._failure(error) from error
        except BaseException:
            self._abandon()
            raise

    def _finish(self) -> None:
        """Complete the file and put it under its name."""
        raise NotImplementedError

    def _abandon(self) -> None:
        """Remove what was written; an error in it would hide the first one."""
        raise NotImplementedError

    def _failure(self, error: OSError) -> Exception:
        """What to raise where the file cannot be written."""
        raise NotImplementedError
