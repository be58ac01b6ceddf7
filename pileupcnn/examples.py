"""From aligned reads to a run's candidates and their images, for one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch, CandidateSettings, find_candidates
from pileupcnn.errors import InputError, OptionError
from pileupcnn.frequencies import PopulationFrequencies
from pileupcnn.kernels.drawing import Drawer
from pileupcnn.pileup import ImagePlan, PileupSpec, draw_images, make_drawer, plan_images
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.realign import RealignSettings, realign_reads
from pileupcnn.reference import Reference, ReferenceWindow, common_contigs
from pileupcnn.regions import Region
from pileupcnn.resources import Closing

CHECKED_BASES = 100_000
"""Aligned bases after which it is decided whether reads and reference belong together."""

MIN_CHECKED_BASES = 5_000
"""Fewest aligned bases to decide by, where the whole run has fewer than `CHECKED_BASES`."""

MAX_MISMATCH_SHARE = 0.2
"""More than this share of aligned bases unlike the reference: it is another one."""


def check_fit(
    reads: Sequence[str | Path],
    reference: str | Path,
    matches: int,
    mismatches: int,
    enough: int = MIN_CHECKED_BASES,
) -> None:
    """Raise InputError if `enough` bases were counted and too many are unlike the reference."""
    total = matches + mismatches
    if total >= enough and mismatches > MAX_MISMATCH_SHARE * total:
        raise InputError(
            f"{reads[0]}: {mismatches / total:.0%} of the aligned bases differ from {reference}; "
            "the reads were aligned to another reference, give that with --ref"
        )


@dataclass(frozen=True, slots=True)
class ExampleSettings:
    """Everything that decides what a network sees; a model's bundle carries it.

    Attributes
    ----------
    reads : ReadSettings
    candidates : CandidateSettings
    pileup : PileupSpec
    realign : RealignSettings, optional
        None: reads are taken as aligned.
    """

    reads: ReadSettings = field(default_factory=ReadSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    pileup: PileupSpec = field(default_factory=PileupSpec)
    realign: RealignSettings | None = None


@dataclass(slots=True)
class RunExamples:
    """A run's reads and candidates, ready to be drawn.

    Attributes
    ----------
    reads : ReadBatch
    candidates : CandidateBatch
    plan : ImagePlan
        The images, in order.
    window : ReferenceWindow
        Bases under the reads and the images.
    """

    reads: ReadBatch
    candidates: CandidateBatch
    plan: ImagePlan
    window: ReferenceWindow
    _drawer: Drawer
    _shape: tuple[int, int, int]

    def draw(
        self, first: int, last: int, images: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Draw images `first` to `last` (exclusive) of the plan.

        Returns
        -------
        uint8 [last - first, height, width, channels]
            The first of `images` if given, which are overwritten.
        """
        if images is None:
            images = np.empty((last - first, *self._shape), dtype=np.uint8)
        drawn = images[: last - first]
        draw_images(self._drawer, self.reads, self.candidates, self.plan, self.window, drawn, first)
        return drawn


class ExampleMaker(Closing):
    """Scans runs of partitions into `RunExamples`; one thread's own.

    Parameters
    ----------
    reads : sequence of path
        BAM or CRAM files of one sample.
    reference : path
        Indexed FASTA.
    settings : ExampleSettings
    sample : str, optional
        As for `Scanner`.
    population : sequence of path
        As for `PopulationFrequencies`, where images show allele frequencies.

    Attributes
    ----------
    contigs : dict of str to int
        Contigs in both reads and reference, in the reference's order.
    sample : str

    Raises
    ------
    InputError
        If a file cannot be used.
    """

    def __init__(
        self,
        reads: Sequence[str | Path],
        reference: str | Path,
        settings: ExampleSettings,
        sample: str | None = None,
        population: Sequence[str | Path] = (),
    ) -> None:
        self.settings = settings
        self.reference = Reference(reference)
        self.scanner = Scanner(
            reads,
            reference,
            settings.reads,
            sample,
            haplotypes=settings.pileup.needs_haplotypes,
            modifications=settings.pileup.needs_modifications,
        )
        self.sample = self.scanner.sample
        self.contigs = common_contigs(self.reference.lengths, self.scanner.lengths, reads[0])
        self._frequencies: PopulationFrequencies | None = None
        if bool(population) != settings.pileup.needs_frequencies:
            raise OptionError(
                "--population-vcf: the images show no allele frequencies; leave it out"
                if population
                else "the images show allele frequencies: give a population's with --population-vcf"
            )
        if population:
            self._frequencies = PopulationFrequencies(population, self.contigs)
        self._drawer = make_drawer(
            settings.pileup,
            settings.candidates.min_base_quality,
            settings.reads.min_mapping_quality,
            settings.realign.alignment if settings.realign else None,
        )

    def close(self) -> None:
        """Close the files."""
        self.scanner.close()
        self.reference.close()
        if self._frequencies is not None:
            self._frequencies.close()

    def _window(self, reads: ReadBatch, run: tuple[Region, ...]) -> ReferenceWindow:
        """The reference under a run's images, alleles and, if they are realigned, reads."""
        realign = self.settings.realign
        margin = max(self.settings.pileup.width // 2, realign.reach if realign else 0)
        start, end = run[0].start, run[-1].end
        # an allele begins in a partition, and the longest that needs the reference is a deletion
        deletions = reads.cigar[reads.cigar & 15 == pysam.CDEL] >> 4
        end += int(deletions.max(initial=0))
        if realign:
            start = min(start, int(reads.start.min(initial=start)))
            end = max(end, int(reads.end.max(initial=end)))
        return self.reference.window(run[0].contig, start - margin, end + margin)

    def run_examples(self, run: tuple[Region, ...]) -> RunExamples:
        """Reads, candidates and image plan of one run of partitions."""
        reads = self.scanner.scan(run)
        realign = self.settings.realign
        window = self._window(reads, run)
        if realign:
            reads = realign_reads(reads, run, window, realign)
        candidates = find_candidates(reads, run, window, self.settings.candidates)
        if self._frequencies is not None:
            candidates.allele_frequency = self._frequencies.lookup(candidates, self.reference)
        plan = plan_images(candidates)
        return RunExamples(
            reads, candidates, plan, window, self._drawer, self.settings.pileup.shape
        )
