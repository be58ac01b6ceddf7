"""One donor in one folder: reads, truth, confident regions, and how they were made."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.reference import Reference
from pileupcnn.regions import Region, resolve_regions
from pileupcnn.simulate.alignment import align, digest, index_reference, require_bwa
from pileupcnn.simulate.donor import HELD_OUT, Donor, DonorSettings, make_donor, subtract
from pileupcnn.simulate.qualities import ProfileQualities, QualitySource, sample_qualities
from pileupcnn.simulate.reads import SequencingSettings, simulate_fastq
from pileupcnn.simulate.variants import write_truth

PARAMETERS = "params.json"
FILES = (
    "reads.bam",
    "reads.bam.bai",
    "truth.vcf.gz",
    "truth.vcf.gz.tbi",
    "confident.bed",
    PARAMETERS,
)
"""What a finished folder holds; the parameters come last."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything that decides what a simulated donor looks like.

    Attributes
    ----------
    reference : Path
        Indexed FASTA.
    regions : tuple of str
        As `pileupcnn.regions.resolve_regions` takes them; empty for all.
    mask : bool
        Whether `HELD_OUT` is left out.
    donor : DonorSettings
    sequencing : SequencingSettings
    qualities_from : str or None
        As `sample_qualities` takes it; None for `ProfileQualities`.
    sample : str
    seed : int
    """

    reference: Path
    regions: tuple[str, ...] = ()
    mask: bool = True
    donor: DonorSettings = field(default_factory=DonorSettings)
    sequencing: SequencingSettings = field(default_factory=SequencingSettings)
    qualities_from: str | None = None
    sample: str = "SIM"
    seed: int = 1
    for_scoring: bool = False

    def covered(self, reference: Reference) -> list[Region]:
        """The regions that the donor covers."""
        regions = resolve_regions(self.regions, reference.lengths)
        return subtract(regions, HELD_OUT) if self.mask and not self.for_scoring else regions

    def parameters(self, regions: Sequence[Region]) -> dict[str, Any]:
        """All of it as JSON; input files by name and content, not by folder."""
        parameters = dataclasses.asdict(self)
        parameters["reference"] = _identity(self.reference)
        parameters["regions"] = [str(region).replace(",", "") for region in regions]
        if self.donor.truth is not None:
            parameters["donor"]["truth"] = _identity(self.donor.truth)
        if self.qualities_from is not None:
            parameters["qualities_from"] = Path(self.qualities_from).name
        return parameters

    def draw(self, reference: Reference) -> tuple[Donor, QualitySource, np.random.Generator]:
        """The donor, its qualities, and the generator for its reads."""
        variants, reads = np.random.SeedSequence(self.seed).spawn(2)
        regions = self.covered(reference)
        donor = make_donor(reference, regions, self.donor, np.random.default_rng(variants))
        qualities: QualitySource = ProfileQualities()
        if self.qualities_from is not None:
            length = self.sequencing.read_length
            qualities = sample_qualities(self.qualities_from, length, self.reference)
        return donor, qualities, np.random.default_rng(reads)


def refuse_scoring(reads: str | Path) -> None:
    """Raise InputError if reads were simulated for scoring, and so must not be trained on."""
    parameters = Path(reads).parent / PARAMETERS
    try:
        found = json.loads(parameters.read_text())
    except (OSError, ValueError):
        return  # reads that nobody simulated have no such file
    if isinstance(found, dict) and found.get("for_scoring"):
        raise InputError(
            f"{reads}: simulated with --for-scoring, in regions that are held out from training; "
            "train on donors simulated without it"
        )


def _identity(path: Path) -> str:
    return f"{path.name} {digest(path)}"


def simulate(simulation: Simulation, output: Path, bwa_index: Path, threads: int = 1) -> bool:
    """Simulate a donor, unless `output` already holds just this one.

    Parameters
    ----------
    simulation : Simulation
    output : Path
        Folder for `FILES`; made if missing.
    bwa_index : Path
        Folder in which bwa's indexes are kept between runs.
    threads : int
        For bwa and sorting; the files do not depend on it.

    Returns
    -------
    bool
        False if the donor was there.

    Raises
    ------
    OptionError
        If fragments would be shorter than reads.
    InputError
        If an input cannot be used, or bwa is missing.
    OutputError
        If the folder cannot be written or holds another donor.
    """
    sequencing = simulation.sequencing
    if sequencing.insert_mean < sequencing.read_length:
        raise OptionError(
            f"--insert-mean {sequencing.insert_mean:g} is less than --read-length "
            f"{sequencing.read_length}; fragments hold a whole read, give a larger one"
        )
    with Reference(simulation.reference) as reference:
        parameters = simulation.parameters(simulation.covered(reference))
        if _finished(output, parameters):
            return False
        require_bwa()
        donor, qualities, rng = simulation.draw(reference)
        prefix = index_reference(simulation.reference, bwa_index)
        try:
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".simulating-", dir=output) as scratch:
                folder = Path(scratch)
                _write_truth(donor, reference, simulation.sample, folder)
                fastq = simulate_fastq(donor, simulation.sequencing, qualities, rng)
                bam = folder / "reads.bam"
                align(fastq, prefix, bam, simulation.sample, threads, folder)
                (folder / PARAMETERS).write_text(json.dumps(parameters, indent=1) + "\n")
                for name in FILES:
                    os.replace(folder / name, output / name)
        except OSError as error:
            raise OutputError(
                f"{output}: cannot be written ({error.strerror}); choose another --output"
            ) from error
    return True


def _finished(output: Path, parameters: dict[str, Any]) -> bool:
    """Whether the folder holds this donor; an unfinished one is made again."""
    if not all((output / name).exists() for name in FILES):
        return False
    try:
        found = json.loads((output / PARAMETERS).read_text())
    except ValueError as error:
        raise InputError(
            f"{output / PARAMETERS}: is no JSON ({error}); remove the folder and run again"
        ) from error
    # compared as JSON, in which tuples are lists
    if found != json.loads(json.dumps(parameters)):
        raise OutputError(
            f"{output}: holds a donor simulated with other parameters (see {PARAMETERS}); "
            "give another --output or remove it"
        )
    return True


def _write_truth(donor: Donor, reference: Reference, sample: str, folder: Path) -> None:
    variants = [variant for segment in donor.segments for variant in segment.variants]
    write_truth(folder / "truth.vcf.gz", variants, reference.lengths, sample)
    with open(folder / "confident.bed", "w") as bed:
        for segment in donor.segments:
            for region in segment.confident():
                bed.write(f"{region.contig}\t{region.start}\t{region.end}\n")
