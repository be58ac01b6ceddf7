"""Simulated runs that no model was trained on: which there are, and how they are made.

They cover chr20:5-6 Mb, which is held out, with libraries unlike those of the
training data. Each is simulated once and kept.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from _callsets import DataSet, Window, thinned
from _common import VENV, fail

CONTIG, START, END = "chr20", 5_000_000, 6_000_000
TRUTH = "HG002_GRCh38_1_22_v4.2.1_benchmark.chr20.vcf.gz"

# the donors have HG002's variants and, between them, invented ones
DONOR = ("--population", "--snp-rate", "5e-4", "--indel-rate", "1e-4")


@dataclass(frozen=True)
class Library:
    """A sequencing library; `levels` are its quality values, and `decay` the Phred lost by the end.

    `options` are of ``pileupcnn simulate``.
    """

    read_length: int
    levels: tuple[int, ...]
    decay: float
    spread: float
    options: tuple[str, ...]


LIBRARIES = {
    # short fragments, amplified, on an old machine: all values of quality, three times the stutter
    "short": Library(
        100,
        tuple(range(2, 42)),
        9.0,
        6.0,
        (
            "--insert-mean",
            "260",
            "--insert-sd",
            "45",
            "--error-scale",
            "1.4",
            "--pcr",
            "--stutter-scale",
            "0.3",
        ),
    ),
    # few levels, unlike NovaSeq's; long fragments, no amplification
    "binned": Library(
        125,
        (3, 16, 27, 34),
        3.0,
        7.0,
        ("--insert-mean", "550", "--insert-sd", "130", "--error-scale", "0.8", "--pcr-free"),
    ),
    # long reads whose ends are bad
    "long": Library(
        250,
        (2, 8, 14, 20, 26, 32, 38),
        13.0,
        5.0,
        ("--insert-mean", "620", "--insert-sd", "110", "--error-scale", "1.2", "--pcr-free"),
    ),
}


@dataclass(frozen=True)
class Run:
    """One simulated run; `duplications` are copies that the reference lacks."""

    kit: str
    depth: int
    seed: int
    duplications: int = 0

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.kit}-{self.depth}x-{self.seed}"


RUNS = tuple(
    Run(library, depth, 7000 + 100 * i + depth, duplications=int(depth == 36))
    for i, library in enumerate(LIBRARIES)
    for depth in (10, 16, 24, 36, 50)
)

DEPTHS = (40, 80, 200, 1000)
DEEP_LENGTH = 100_000
DEEP_RUNS = tuple(
    Run(library, max(DEPTHS), 7900 + i) for i, library in enumerate(("short", "binned", "long"))
)
"""Three donors of 100 kb each, in different places; lower depths are parts of the highest."""


def write_qualities(library: Library, path: Path) -> None:
    """Write unaligned reads whose qualities are a library's; the same at each call."""
    import numpy as np
    import pysam

    rng = np.random.default_rng(11)
    levels = np.array(library.levels, float)
    cycle = np.linspace(0, 1, library.read_length)
    part = path.with_name(f"{path.name}.part")
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": CONTIG, "LN": END}]}
    with pysam.AlignmentFile(str(part), "wb", header=header) as out:
        for i in range(3000):
            for number in (1, 2):
                noise = rng.standard_normal(library.read_length)
                noise[1:] += 0.6 * noise[:-1]
                # a base is rarely better than its read, sometimes far worse
                quality = levels[-1] - library.decay * cycle**2 * (1 + 0.3 * (number == 2))
                quality = quality - library.spread * np.square(np.minimum(noise + 0.6, 0))
                quality = quality - 8 * (rng.random() < 0.05)
                nearest = np.abs(quality[:, None] - levels).argmin(axis=1)
                read = pysam.AlignedSegment(out.header)
                read.query_name = f"q{i}"
                read.flag = 77 if number == 1 else 141
                read.query_sequence = "N" * library.read_length
                read.query_qualities = pysam.qualitystring_to_array(
                    "".join(chr(33 + int(levels[j])) for j in nearest)
                )
                out.write(read)
    part.replace(path)


def simulated(run: Run, data: Path, cache: Path, start: int = START, end: int = END) -> DataSet:
    """The data set of a run; simulated if it is not there."""
    library = LIBRARIES[run.kit]
    genome = data / "GRCh38_chr20_chr21_10Mb"
    ref = genome / "grch38.chr20_and_21_10M.fa.gz"
    folder = cache / "simulated" / run.name
    kind = hashlib.sha256(repr(library).encode()).hexdigest()[:8]
    qualities = cache / "simulated" / f"{run.kit}-{kind}.bam"
    qualities.parent.mkdir(parents=True, exist_ok=True)
    if not qualities.exists():
        write_qualities(library, qualities)
    command = [
        *(str(VENV / "bin" / "pileupcnn"), "simulate", "--for-scoring"),
        *("--ref", str(ref), "--truth", str(genome / TRUTH), "--output", str(folder)),
        *("--regions", f"{CONTIG}:{start + 1}-{end}", *DONOR, *library.options),
        *("--read-length", str(library.read_length), "--qualities-from", str(qualities)),
        *("--depth", str(run.depth), "--seed", str(run.seed), "--threads", "2"),
        *("--duplications", str(run.duplications)),
    ]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        fail(f"'{' '.join(command)}' failed:\n{result.stderr}")
    return DataSet(
        run.name,
        ref,
        folder / "truth.vcf.gz",
        folder / "confident.bed",
        Window(folder / "reads.bam", CONTIG, start, end),
    )


def deep_sets(data: Path, cache: Path) -> dict[int, list[DataSet]]:
    """The deep donors by depth."""
    sets: dict[int, list[DataSet]] = {depth: [] for depth in DEPTHS}
    for i, run in enumerate(DEEP_RUNS):
        start = START + 100_000 + 300_000 * i
        whole = simulated(run, data, cache, start, start + DEEP_LENGTH)
        for depth in DEPTHS:
            share = depth / run.depth
            name = f"{run.kit}-deep-{depth}x"
            part = whole if share == 1 else thinned(whole, name, f"{7 + share:g}", cache)
            sets[depth].append(part)
    return sets
