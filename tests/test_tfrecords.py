"""TFRecords written and read, damage found, names of shards."""

from __future__ import annotations

import gzip
import os
import random
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pileupcnn.errors import InputError, OutputError
from pileupcnn.tfrecords import (
    RecordWriter,
    Shards,
    find_shards,
    masked_crc32c,
    output_paths,
    read_records,
)

NAMES = ("x.tfrecord", "x.tfrecord.gz")
PAYLOADS = [b"", b"one", b"\x00" * 1_000, bytes(range(256)) * 300]
GOLDEN = {
    "golden.calling_candidates.tfrecord.gz": 78,
    "golden.calling_examples.tfrecord.gz": 84,
    "golden.postprocess_gvcf_input.tfrecord.gz": 235,
    "golden.postprocess_single_site_input-00000-of-00001.tfrecord.gz": 84,
    "golden.training_examples.tfrecord.gz": 49,
}


def write(path: Path, payloads: list[bytes]) -> Path:
    with RecordWriter(path) as out:
        for payload in payloads:
            out.write(payload)
    return path


def touch(folder: Path, *names: str) -> list[Path]:
    """Empty files."""
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


# ---- records ----


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_records_are_read(golden: Path, read_examples: ModuleType, name: str) -> None:
    records = list(read_records(golden / name))
    assert len(records) == GOLDEN[name]
    assert records == list(read_examples.records(str(golden / name)))


@pytest.mark.parametrize("name", NAMES)
def test_an_independent_reader_agrees(tmp_path: Path, read_examples: ModuleType, name: str) -> None:
    path = write(tmp_path / name, PAYLOADS)
    assert list(read_examples.records(str(path), check_crc=True)) == PAYLOADS


def test_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC32C 0x8a9136aa; masked by hand
    crc = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=200), max_size=8), st.sampled_from(NAMES))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], name: str
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    path = write(folder / name, payloads)
    assert list(read_records(path)) == payloads
    assert os.listdir(folder) == [name]
    before = path.read_bytes()
    assert before[:2] == b"\x1f\x8b" or not name.endswith(".gz")
    assert write(folder / name, payloads).read_bytes() == before


@settings(max_examples=100)
@given(st.data(), st.sampled_from(NAMES))
def test_any_damage_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    payloads = [b"first", bytes(random.Random(1).randbytes(300)), b"last"]
    path = write(tmp_path_factory.mktemp("damage") / name, payloads)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:at])
        if name == "x.tfrecord" and at in (0, 21, 337):  # where a record ends
            assert list(read_records(path)) == payloads[: (0, 21, 337).index(at)]
            return
    else:
        whole[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        if name.endswith(".gz"):
            # of gzip's header and of the bits that fill bytes up some mean nothing
            with suppress(InputError):
                assert list(read_records(path)) == payloads
            return
    with pytest.raises(InputError, match=r"x\.tfrecord") as caught:
        list(read_records(path))
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_told_with_its_record(tmp_path: Path, name: str) -> None:
    payloads = [random.Random(i).randbytes(100_000) for i in range(3)]
    path = write(tmp_path / name, payloads)
    whole = bytearray(path.read_bytes())
    whole[150_000] ^= 1
    path.write_bytes(whole)
    records = read_records(path)
    assert next(records) == payloads[0]
    with pytest.raises(InputError, match=r"damaged at record 2 \(.*; make or copy it again"):
        list(records)


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_told(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [random.Random(i).randbytes(100_000) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(InputError, match="damaged at record 3"):
        list(read_records(path))


def test_other_files_are_told(tmp_path: Path) -> None:
    other = tmp_path / "x.vcf"
    other.write_text("##fileformat=VCFv4.2\n" * 3)
    with pytest.raises(InputError, match="not a TFRecord file"):
        list(read_records(other))
    packed = tmp_path / "x.vcf.gz"
    packed.write_bytes(gzip.compress(other.read_bytes()))
    with pytest.raises(InputError, match="not a TFRecord file"):
        list(read_records(packed))
    with pytest.raises(InputError, match="cannot be opened"):
        list(read_records(tmp_path / "absent"))
    with pytest.raises(InputError, match="cannot be opened"):
        list(read_records(tmp_path))
    (tmp_path / "empty.gz").touch()
    with pytest.raises(InputError, match="empty, not even a gzip header"):
        list(read_records(tmp_path / "empty.gz"))


def test_a_length_may_look_like_gzip(tmp_path: Path) -> None:
    payload = bytes(0x8B1F)
    path = write(tmp_path / "x.tfrecord", [payload, b"next"])
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert list(read_records(path)) == [payload, b"next"]


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord.gz", PAYLOADS)
    assert list(read_records(path.rename(tmp_path / "y.tfrecord"))) == PAYLOADS
    path = write(tmp_path / "x.tfrecord", PAYLOADS)
    assert list(read_records(path.rename(tmp_path / "y.tfrecord.gz"))) == PAYLOADS


def test_several_gzip_parts_are_one_file(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{i}.gz", [b"part %d" % i]).read_bytes() for i in range(3)]
    (tmp_path / "x.tfrecord.gz").write_bytes(b"".join(parts))
    assert list(read_records(tmp_path / "x.tfrecord.gz")) == [b"part 0", b"part 1", b"part 2"]


def test_a_pipe_is_read(tmp_path: Path) -> None:
    path, pipe = write(tmp_path / "x.tfrecord.gz", PAYLOADS), tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    feeder.start()
    assert list(read_records(pipe)) == PAYLOADS
    feeder.join()


# ---- whole files or none ----


@pytest.mark.parametrize("name", NAMES)
def test_an_error_leaves_nothing(tmp_path: Path, name: str) -> None:
    with suppress(KeyError), RecordWriter(tmp_path / name) as out:
        out.write(b"lost")
        assert not (tmp_path / name).exists()
        assert len(os.listdir(tmp_path)) == 1
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_an_older_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tfrecord", [b"old"])
    with RecordWriter(path) as out:
        out.write(b"new")
        assert list(read_records(path)) == [b"old"]
        assert out.count == 1
    assert list(read_records(path)) == [b"new"]


def test_places_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        RecordWriter(tmp_path)
    with pytest.raises(OutputError, match="check that the folder exists"):
        RecordWriter(tmp_path / "absent" / "x.tfrecord")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(OutputError, match="free some space"), RecordWriter("/dev/full") as out:
        out.write(bytes(10))
    with pytest.raises(OutputError, match="free some space"), RecordWriter("/dev/full") as out:
        out.write(bytes(1_000_000))


def test_devices_are_written_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    write(link, PAYLOADS)
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()


# ---- names of shards ----

STEM = st.text("abc/._-@5 é", min_size=1, max_size=12)
SUFFIX = st.one_of(st.just(""), st.text("abc.gz_", min_size=1, max_size=8).map(".".__add__))
COUNT = st.one_of(st.integers(1, 20), st.integers(99_990, 100_020), st.integers(1, 10**9))


@given(STEM, COUNT, SUFFIX, st.data())
def test_shard_names_go_both_ways(stem: str, count: int, suffix: str, data: st.DataObject) -> None:
    shards = Shards(stem, count, suffix)
    assert Shards.parse(str(shards)) == shards
    index = data.draw(st.integers(0, count - 1))
    path = shards.path(index)
    found = Shards.parse_file(path)
    assert found is not None
    assert found[0].path(found[1]) == path
    assert found[1] == index


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("x.tfrecord@3.gz", "x.tfrecord-00000-of-00003.gz"),
        ("x.tfrecord.gz@3", "x.tfrecord.gz-00000-of-00003"),
        ("x@3.tfrecord.gz", "x-00000-of-00003.tfrecord.gz"),
        ("a@2/x@012", "a@2/x-00000-of-00012"),
        ("x@123456", "x-000000-of-123456"),
    ],
)
def test_shard_names_are_deepvariants(name: str, first: str) -> None:
    shards = Shards.parse(name)
    assert shards is not None
    assert shards.path(0) == Path(first)


def test_output_names() -> None:
    first, last = output_paths("out/x@2.gz")
    assert (first, last) == (Path("out/x-00000-of-00002.gz"), Path("out/x-00001-of-00002.gz"))


@pytest.mark.parametrize("name", ["x.tfrecord", "x@0", "x@", "x@3gz", "run@2.1/x", "x@-1"])
def test_other_names_are_one_file(name: str) -> None:
    assert Shards.parse(name) is None
    assert output_paths(name) == [Path(name)]


@pytest.mark.parametrize("name", ["x-00003-of-00003", "x-0-of-0", "x-00000-of-", "x-of-00003"])
def test_files_that_are_no_shards(name: str) -> None:
    assert Shards.parse_file(name) is None


def test_shards_are_found(tmp_path: Path) -> None:
    files = touch(tmp_path, *(f"x.tfrecord-0000{i}-of-00003.gz" for i in range(3)), "y.tfrecord")
    shards, other = files[:3], files[3]
    assert find_shards([f"{tmp_path}/x.tfrecord@3.gz"]) == shards
    assert find_shards([tmp_path / "x.tfrecord.gz"]) == shards
    assert find_shards([other, *reversed(shards)]) == [other, *reversed(shards)]
    assert find_shards([shards[1]], whole=False) == [shards[1]]
    (tmp_path / "z@2.gz").touch()
    assert find_shards([tmp_path / "z@2.gz"]) == [tmp_path / "z@2.gz"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x@3.gz"], r"x-00001-of-00003\.gz: missing, one of the 3 shards of .*x@3\.gz"),
        (["x@4.gz"], r"x-00000-of-00004\.gz: missing"),
        (["x@1000000000.gz"], "missing, one of the 1000000000 shards"),
        (["x.gz"], r"x-00001-of-00003\.gz: missing"),
        (["x-00000-of-00003.gz", "x-00002-of-00003.gz"], r"x-00001-of-00003\.gz: missing"),
        (["y"], "y: shards of different sets, .*y@1 and .*y@2; give those of one run"),
        (["y-00000-of-00001", "y-00000-of-00002", "y-00001-of-00002"], "different sets"),
        (["y@2", "y-00000-of-00002"], "y-00000-of-00002: given 2 times"),
        (["absent"], "absent: no such file, and no shards of it"),
        (["absent/x"], "absent/x: no such file"),
    ],
)
def test_shards_that_do_not_fit_are_told(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, "x-00000-of-00003.gz", "x-00002-of-00003.gz")
    touch(tmp_path, "y-00000-of-00001", "y-00000-of-00002", "y-00001-of-00002")
    with pytest.raises(InputError, match=message) as caught:
        find_shards([f"{tmp_path}/{name}" for name in names])
    assert "\n" not in str(caught.value)
