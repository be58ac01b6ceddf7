"""One donor in one folder: reads, truth, confident regions, and how they were made."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.reference import Reference
from pileupcnn.regions import Region, partitions, resolve_regions
from pileupcnn.simulate.alignment import (
    Progress,
    align,
    digest,
    index_reference,
    require_bwa,
)
from pileupcnn.simulate.donor import HELD_OUT, Donor, DonorSettings, make_donor, subtract
from pileupcnn.simulate.libraries import READ_LENGTH, SequencingSettings, plan_library
from pileupcnn.simulate.profile import Profile, find_profile, load_profile
from pileupcnn.simulate.qualities import (
    PlainQualities,
    QualitySource,
    sample_qualities,
    source_identity,
)
from pileupcnn.simulate.reads import simulate_fastq
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

LONGEST_SEGMENT = 5_000_000
"""bp sequenced in one piece; longer regions are cut, as a piece takes about 100 bytes a bp."""


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
    profile : str or None
        As `load_profile` takes it: a library learned from real reads.
    qualities_from : str or None
        Without a profile: as `sample_qualities` takes it; None for `PlainQualities`.
    sample : str
    seed : int
    """

    reference: Path
    regions: tuple[str, ...] = ()
    mask: bool = True
    donor: DonorSettings = field(default_factory=DonorSettings)
    sequencing: SequencingSettings = field(default_factory=SequencingSettings)
    profile: str | None = None
    qualities_from: str | None = None
    sample: str = "SIM"
    seed: int = 1
    for_scoring: bool = False

    def covered(self, reference: Reference) -> list[Region]:
        """The regions that the donor covers, in pieces of at most `LONGEST_SEGMENT`."""
        regions = resolve_regions(self.regions, reference.lengths)
        if self.mask and not self.for_scoring:
            regions = subtract(regions, HELD_OUT)
        return list(partitions(regions, LONGEST_SEGMENT))

    def parameters(self, regions: Sequence[Region]) -> dict[str, Any]:
        """All of it as JSON; input files by name and content, not by folder."""
        parameters = dataclasses.asdict(self)
        parameters["reference"] = identity(self.reference)
        parameters["regions"] = [str(region).replace(",", "") for region in regions]
        if self.donor.truth is not None:
            parameters["donor"]["truth"] = identity(self.donor.truth)
        if self.qualities_from is not None:
            parameters["qualities_from"] = source_identity(self.qualities_from)
        if self.profile is not None:
            parameters["profile"] = identity(find_profile(self.profile))
        return parameters

    def draw(self, reference: Reference, profile: Profile | None) -> tuple[Donor, Iterator[bytes]]:
        """The donor, and its reads as FASTQ."""
        variants, reads = np.random.SeedSequence(self.seed).spawn(2)
        regions = self.covered(reference)
        donor = make_donor(reference, regions, self.donor, np.random.default_rng(variants))
        qualities: QualitySource | None = None
        if self.qualities_from is not None:
            length = self.sequencing.read_length or READ_LENGTH
            qualities = sample_qualities(self.qualities_from, length, self.reference)
        elif profile is None:
            qualities = PlainQualities()
        rng = np.random.default_rng(reads)
        return donor, simulate_fastq(donor, self.sequencing, qualities, rng, profile)


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


def identity(path: Path) -> str:
    """A file by name and content."""
    return f"{path.name} {digest(path)}"


def simulate(
    simulation: Simulation,
    output: Path,
    bwa_index: Path,
    threads: int = 1,
    progress: Progress = lambda done, total: None,
) -> bool:
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
    progress : function of two ints
        Told reads mapped, and in all.

    Returns
    -------
    bool
        False if the donor was there.

    Raises
    ------
    OptionError
        If options contradict each other, or fragments would be shorter than reads.
    InputError
        If an input cannot be used, or bwa is missing.
    OutputError
        If the folder cannot be written or holds another donor.
    """
    if simulation.profile is not None and simulation.qualities_from is not None:
        raise OptionError("--qualities-from: a profile has its own qualities; give one of the two")
    profile = None if simulation.profile is None else load_profile(simulation.profile)
    # before anything is written
    plan_library(simulation.sequencing, profile, np.random.default_rng(0))
    with Reference(simulation.reference) as reference:
        parameters = simulation.parameters(simulation.covered(reference))
        if is_finished(output, FILES, parameters):
            return False
        require_bwa()
        donor, fastq = simulation.draw(reference, profile)
        prefix = index_reference(simulation.reference, bwa_index)
        with finished_folder(output, FILES, parameters) as folder:
            _write_truth(donor, reference, simulation.sample, folder)
            bam = folder / "reads.bam"
            align(fastq, prefix, bam, simulation.sample, threads, folder, progress)
    return True


@contextmanager
def finished_folder(
    output: Path, files: Sequence[str], parameters: dict[str, Any]
) -> Iterator[Path]:
    """A scratch folder whose `files` move to `output` when the block ends well.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".simulating-", dir=output) as scratch:
            folder = Path(scratch)
            yield folder
            (folder / PARAMETERS).write_text(json.dumps(parameters, indent=1) + "\n")
            for name in files:
                os.replace(folder / name, output / name)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written ({error.strerror}); choose another --output"
        ) from error


def is_finished(output: Path, files: Sequence[str], parameters: dict[str, Any]) -> bool:
    """Whether the folder holds this donor; an unfinished one is made again.

    Raises
    ------
    InputError
        If its parameters cannot be read.
    OutputError
        If it holds another one.
    """
    if not all((output / name).exists() for name in files):
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
