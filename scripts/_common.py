"""What the scripts share: the project's environment, and the peers' commands."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
SHARED = Path(os.environ.get("PILEUPCNN_SHARED", ROOT.parent / "shared"))

APT_PACKAGES = {
    "bcftools": "bcftools",
    "bwa": "bwa",
    "freebayes": "freebayes",
    "samtools": "samtools",
}


def use_venv() -> None:
    """Continue under the interpreter of the project's ``.venv``."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        fail("no .venv in the project's folder; run scripts/quickstart or scripts/test first")
    os.execv(python, [str(python), *sys.argv])


def fail(message: str) -> NoReturn:
    """End with one line on stderr, and exit code 1."""
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


def require(*tools: str) -> None:
    """End with the names of missing tools and of the apt packages that hold them."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        packages = " ".join(APT_PACKAGES[tool] for tool in missing)
        fail(f"{', '.join(missing)} not found; run 'sudo apt-get install {packages}'")


def require_data(*paths: Path) -> None:
    """End with the first of `paths` that does not exist."""
    for path in paths:
        if not path.exists():
            fail(f"{path} not found; set PILEUPCNN_SHARED to the folder that holds data/")


def tool_version(tool: str) -> str:
    """First line of what ``tool --version`` prints."""
    result = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[0].strip()


def plain_reference(path: Path, folder: Path) -> Path:
    """An uncompressed, indexed copy of a bgzipped FASTA (freebayes reads no other)."""
    if path.suffix != ".gz":
        return path
    plain = folder / path.name.removesuffix(".gz")
    if not Path(f"{plain}.fai").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "rb") as source, open(plain, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        subprocess.run(["samtools", "faidx", str(plain)], check=True)
    return plain


def bcftools_commands(ref: Path, reads: Path, region: str) -> list[list[str]]:
    """The pipeline ``bcftools mpileup | bcftools call``, defaults otherwise."""
    return [
        ["bcftools", "mpileup", "-f", str(ref), "-a", "AD,DP", "-r", region, "-Ou", str(reads)],
        ["bcftools", "call", "-mv", "-Ov"],
    ]


def freebayes_commands(ref: Path, reads: Path, region: str) -> list[list[str]]:
    """Freebayes with its defaults; it counts a region's start from 0."""
    contig, _, span = region.rpartition(":")
    start, _, end = span.partition("-")
    zero_based = f"{contig}:{int(start) - 1}-{end}"
    return [["freebayes", "-f", str(ref), "--region", zero_based, str(reads)]]


def start_pipeline(
    commands: Sequence[Sequence[str]], stdout: int, stderr: int
) -> list[subprocess.Popen[bytes]]:
    """Start commands joined by pipes; the last writes to file descriptor `stdout`."""
    processes: list[subprocess.Popen[bytes]] = []
    source = None
    for i, command in enumerate(commands):
        last = i == len(commands) - 1
        process = subprocess.Popen(
            command,
            stdin=source if source is not None else subprocess.DEVNULL,
            stdout=stdout if last else subprocess.PIPE,
            stderr=stderr,
        )
        if source is not None:
            source.close()
        source = process.stdout
        processes.append(process)
    return processes
