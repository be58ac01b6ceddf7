"""The command line answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "pysam", "numpy")

PROBE = """
import sys
from pileupcnn.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["call", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True
    )
    imported = result.stderr.partition("imported:")[2].split()
    assert "pileupcnn" in imported
    assert not set(HEAVY) & set(imported)
    assert result.stdout.strip()


def test_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    result = subprocess.run(
        [sys.executable, "-c", PROBE, "--version"], capture_output=True, text=True, check=True
    )
    assert version("pileupcnn") in result.stdout


def test_a_reader_that_leaves_is_sigpipe() -> None:
    command = [sys.executable, "-m", "pileupcnn", "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", ["--help", "models"])
def test_full_standard_output_is_named(arguments: str) -> None:
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "pileupcnn", arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == 1
    assert "No space left" in process.stderr
    assert "bug" not in process.stderr
    assert process.stderr.count("\n") == 1


def test_closed_standard_output_is_no_failure() -> None:
    command = f'"{sys.executable}" -m pileupcnn --version >&-'
    process = subprocess.run(command, shell=True, stderr=subprocess.PIPE, check=False)
    assert process.returncode == 0
    assert process.stderr == b""
