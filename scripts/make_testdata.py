#!/usr/bin/env python3
"""Make testdata/: an invented reference, and a simulated donor sequenced at 30x.

Usage: scripts/make_testdata.py [FOLDER]   (default: testdata beside scripts/)

The same files come out each time (with the same bwa, samtools and NumPy). Needs
those and an installed pileupcnn. The seed is kept for this donor alone: training
donors use seeds below 1,000,000, and never this reference.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pysam

from pileupcnn.simulate.donor import DonorSettings
from pileupcnn.simulate.libraries import SequencingSettings
from pileupcnn.simulate.population import PopulationSettings
from pileupcnn.simulate.run import Simulation, simulate

SEED = 8_128_005
CONTIGS = {"ctg1": 60_000, "ctg2": 20_000}
BASES = np.array(list("ACGT"))
COMPOSITION = [0.295, 0.205, 0.205, 0.295]

# Some tens of variants of each kind: several times as many as in nature.
POPULATION = PopulationSettings(
    snp_rate=1.85e-3,
    indel_rate=9e-4,
    repeat_share=0.6,
    cluster_share=0.15,
    two_alt_indels=0.25,
    two_alt_snps=0.02,
)


def repeat(rng: np.random.Generator) -> str:
    """A homopolymer, a short tandem repeat or a stretch of low complexity."""
    kind = rng.random()
    if kind < 0.55:
        return str(rng.choice(BASES, p=[0.4, 0.1, 0.1, 0.4])) * int(5 + min(rng.geometric(0.2), 13))
    if kind < 0.85:
        unit = "".join(rng.choice(BASES, 2, replace=False))
        return unit * int(3 + min(rng.geometric(0.2), 12))
    if kind < 0.95:
        unit = "".join(rng.choice(BASES, int(rng.integers(3, 5))))
        return unit * int(rng.integers(3, 8))
    return "".join(rng.choice(BASES, int(rng.integers(40, 80)), p=[0.75, 0.05, 0.15, 0.05]))


def contig(length: int, rng: np.random.Generator) -> str:
    """Random sequence with repeats, lower-case stretches and a short run of N."""
    pieces: list[str] = []
    total = 0
    while total < length:
        pieces.append("".join(rng.choice(BASES, int(rng.geometric(1 / 130)), p=COMPOSITION)))
        pieces.append(repeat(rng))
        total += len(pieces[-1]) + len(pieces[-2])
    letters = np.array(list("".join(pieces)[:length]))
    # soft-masked as by RepeatMasker, repeat or not
    for start in rng.integers(0, length, length // 2_000):
        end = start + int(rng.integers(100, 600))
        letters[start:end] = np.char.lower(letters[start:end])
    middle = length // 2
    letters[middle : middle + 12] = "N"
    return "".join(letters)


def write_reference(path: Path, rng: np.random.Generator) -> None:
    """The FASTA with its index; one base of the first contig is an R (A or G)."""
    sequences = {name: contig(length, rng) for name, length in CONTIGS.items()}
    first = next(iter(CONTIGS))
    at = sequences[first].index("CAT", 5_000) + 1
    sequences[first] = sequences[first][:at] + "R" + sequences[first][at + 1 :]
    with open(path, "w") as fasta:
        for name, sequence in sequences.items():
            lines = [sequence[i : i + 60] for i in range(0, len(sequence), 60)]
            fasta.write(f">{name}\n" + "\n".join(lines) + "\n")
    pysam.faidx(str(path))


def write_cram(bam: Path, cram: Path, reference: Path) -> None:
    """The reads as CRAM, less the reference's path, which htslib puts into UR of @SQ."""
    whole, header = cram.with_suffix(".whole.cram"), cram.with_suffix(".sam")
    pysam.samtools.view(
        "--no-PG", "-C", "-T", str(reference), "-o", str(whole), str(bam), catch_stdout=False
    )
    lines = pysam.samtools.view("--no-PG", "-H", str(whole))
    header.write_text(re.sub(r"\tUR:[^\t\n]*", "", lines))
    # the program, as pysam's own reheader writes to the terminal
    with open(cram, "wb") as out:
        command = ["samtools", "reheader", "--no-PG", str(header), str(whole)]
        subprocess.run(command, stdout=out, check=True)
    pysam.samtools.index(str(cram))


def main() -> None:
    """Make everything in a scratch folder, then put it in place."""
    here = Path(__file__).resolve().parent.parent
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "testdata"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        reference = made / "ref.fa"
        write_reference(reference, np.random.default_rng(SEED))
        simulation = Simulation(
            reference,
            donor=DonorSettings(population=POPULATION),
            sequencing=SequencingSettings(depth=30),
            sample="sample",
            seed=SEED,
        )
        simulate(simulation, made / "donor", made / "index", threads=1)
        donor = made / "donor"
        for name in ("truth.vcf.gz", "truth.vcf.gz.tbi", "confident.bed"):
            shutil.copy(donor / name, folder / name)
        shutil.copy(donor / "reads.bam", made / "sample.bam")
        shutil.copy(donor / "reads.bam.bai", made / "sample.bam.bai")
        write_cram(made / "sample.bam", made / "sample.cram", reference)
        names = ("ref.fa", "ref.fa.fai", "sample.bam", "sample.bam.bai")
        for name in (*names, "sample.cram", "sample.cram.crai"):
            shutil.copy(made / name, folder / name)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
