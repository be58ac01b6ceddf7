"""What holds files open is closed by a ``with`` block."""

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
