"""Regions as users write them, and BED files as they come."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pileupcnn.errors import InputError, OptionError
from pileupcnn.regions import Region, read_bed, resolve_regions

LENGTHS = {"c1": 100_000, "trackA": 1_000}


def test_several_regions_in_one_value() -> None:
    """As many as one likes: the text is then too long for the name of a file."""
    text = " ".join(f"c1:{at}-{at + 10}" for at in range(1, 20_000, 100))
    assert len(resolve_regions([text], LENGTHS)) == 200


def test_what_is_wrong_with_a_region_is_said(tmp_path: Path) -> None:
    named = tmp_path / "regions.txt"
    named.write_text("c1\t0\t10\n")
    with pytest.raises(OptionError, match=r"is a file; .* ends in \.bed"):
        resolve_regions([str(named)], LENGTHS)
    with pytest.raises(OptionError, match="'5-' is no part of c1"):
        resolve_regions(["c1:5-"], LENGTHS)
    with pytest.raises(OptionError, match="no contig of that name"):
        resolve_regions(["c2:5-7"], LENGTHS)


def test_a_file_named_like_a_region_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c1:5-7").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve_regions(["c1:5-7"], LENGTHS) == [Region("c1", 4, 7)]


@pytest.mark.parametrize(
    "content",
    [
        b"browser x\ntrack name=x\n#c1\t0\t5\n\n  \nc1\t10\t20\ntrackA\t0\t5\n",
        b"\xef\xbb\xbfc1\t10\t20\r\ntrackA\t0\t5\textra\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_that_are_no_intervals(tmp_path: Path, content: bytes, packed: bool) -> None:
    path = tmp_path / "some.bed"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read_bed(path, LENGTHS) == [Region("c1", 10, 20), Region("trackA", 0, 5)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_from_its_beginning(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    expected = [Region("c1", at, at + 1) for at in range(0, 50_000, 2)]
    content = pack("".join(f"c1\t{r.start}\t{r.end}\n" for r in expected).encode())
    os.mkfifo(tmp_path / "pipe.bed")
    writer = threading.Thread(target=(tmp_path / "pipe.bed").write_bytes, args=(content,))
    writer.start()
    assert read_bed(tmp_path / "pipe.bed", LENGTHS) == expected
    writer.join()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.bed.gz"
    content = bytearray(gzip.compress(os.urandom(1_000)))
    content[12:400] = bytes(388)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"some\.bed\.gz: cannot be read as BED"):
        read_bed(path)
