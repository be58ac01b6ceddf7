"""Files that appear when they are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pileupcnn.model import restore_folder
from pileupcnn.resources import write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError("no space"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_the_old_one(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(failure)):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_comes_back_whose_replacement_was_cut_short(tmp_path: Path) -> None:
    path, old = tmp_path / "bundle", tmp_path / ".bundle-old"
    old.mkdir()
    restore_folder(path)
    assert path.is_dir()
    assert not old.exists()
    # beside a new one it is left alone
    old.mkdir()
    restore_folder(path)
    assert path.is_dir()
    assert old.is_dir()
