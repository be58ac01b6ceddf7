"""From aligned reads to a run's candidates and their images, for one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch, CandidateSettings, Detail, find_candidates
from pileupcnn.confidence import ReferenceBlocks, ReferenceConfidence
from pileupcnn.errors import InputError, OptionError
from pileupcnn.frequencies import PopulationFrequencies
from pileupcnn.kernels.drawing import Drawer
from pileupcnn.pileup import (
    Channel,
    ImagePlan,
    PileupSpec,
    draw_images,
    draw_samples,
    make_drawer,
    plan_images,
    write_numbers,
)
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.realign import RealignSettings, realign_reads
from pileupcnn.reference import Reference, ReferenceWindow, common_contigs
from pileupcnn.regions import Region
from pileupcnn.resources import Closing
from pileupcnn.samples import Support, pooled_supports
from pileupcnn.small_model import INPUTS, Answers, SmallModel, answer, inputs, pixels
from pileupcnn.survey import Survey, take_survey

CHECKED_BASES = 100_000
"""Aligned bases after which it is decided whether reads and reference belong together."""

MIN_CHECKED_BASES = 5_000
"""Fewest aligned bases to decide by, where the whole run has fewer than `CHECKED_BASES`."""

MAX_MISMATCH_SHARE = 0.2
"""More than this share of aligned bases unlike the reference: it is another one."""

LONG_WINDOW = 1 << 20
"""Reference bases of a run beyond which only those near its images are kept once reads are
realigned: a read with a gap of megabases would else have them in memory for a whole block."""


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
    """A run's reads and candidates, ready to be drawn where an image is needed.

    Attributes
    ----------
    run : tuple of Region
        Its partitions.
    reads : ReadBatch
    candidates : CandidateBatch
    plan : ImagePlan
        The images, in order.
    window : ReferenceWindow
        Bases under the reads and the images.
    answers : Answers, optional
        The small model's, for what is not in the plan; if there is one.
    reference_blocks : ReferenceBlocks, optional
        If they are wanted.
    others : list of ReadBatch
        Of the further samples of the images, in order.
    """

    run: tuple[Region, ...]
    reads: ReadBatch
    candidates: CandidateBatch
    plan: ImagePlan
    window: ReferenceWindow
    answers: Answers | None
    reference_blocks: ReferenceBlocks | None
    others: list[ReadBatch]
    _supports: list[Support]
    _survey: Survey | None
    _drawer: Drawer
    _spec: PileupSpec

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
            images = np.empty((last - first, *self._spec.shape), dtype=np.uint8)
        drawn = images[: last - first]
        shown = (self.candidates, self.plan, self.window, drawn, first)
        if self.others:
            # the first is the one with the candidates, wherever in the image it is
            order = list(range(1, 1 + len(self.others)))
            order.insert(self._spec.main_sample, 0)
            samples = [self.reads, *self.others]
            draw_samples(
                self._drawer,
                [samples[i] for i in order],
                [self._supports[i] for i in order],
                *shown,
            )
        else:
            draw_images(self._drawer, self.reads, *shown)
        if self._survey is not None and self._spec.needs_survey:
            part = self.plan.where(slice(first, last))
            numbers = inputs(self.candidates, self.reads, part, self._survey)
            write_numbers(drawn, pixels(numbers), self._spec)
        return drawn


def _alleles_span(samples: Sequence[ReadBatch], run: tuple[Region, ...]) -> tuple[int, int]:
    """Where the alleles of a run may lie, ``[start, end)``.

    They begin in a partition, and the longest that needs the reference is a deletion.
    """
    longest = 0
    for reads in samples:
        deletions = reads.cigar[reads.cigar & 15 == pysam.CDEL] >> 4
        longest = max(longest, int(deletions.max(initial=0)))
    return run[0].start, run[-1].end + longest


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
    detail : Detail
        What is listed of the reads at candidates.
    small_model : SmallModel, optional
        Answers where it can, instead of an image; needs `Detail.REFERENCE`,
        which it gets.
    confidence : ReferenceConfidence, optional
        If given, runs have reference blocks.
    population : sequence of path
        As for `PopulationFrequencies`, where images show allele frequencies.
    others : sequence of sequences of path
        The files of each further sample, where images stack several
        (`PileupSpec.sample_heights`): in the order of the images, without the
        sample that has the candidates. Each file is of one sample.
    survey : Survey, optional
        From `take_survey`. Nothing is scanned without it where images show
        something of the whole sample, or a small model answers.

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
        *,
        detail: Detail = Detail.ALTS,
        small_model: SmallModel | None = None,
        confidence: ReferenceConfidence | None = None,
        population: Sequence[str | Path] = (),
        others: Sequence[Sequence[str | Path]] = (),
        survey: Survey | None = None,
    ) -> None:
        self.settings = settings
        spec = settings.pileup
        with_numbers = spec.numbers_layer is not None
        if small_model is not None or with_numbers:
            detail = Detail.REFERENCE
        self._detail = detail
        self._small_model = small_model
        self._survey = survey
        self._confidence = confidence
        if with_numbers and spec.width < len(INPUTS):
            raise OptionError(
                f"the channel {Channel.NUMBERS.name.lower()} needs images of {len(INPUTS)} columns "
                f"or more, not {spec.width}; take wider ones, or leave it out with --channels"
            )
        if len(spec.heights) != 1 + len(others):
            raise OptionError(
                f"the images show {len(spec.heights)} samples, and the reads of {1 + len(others)} "
                "are given; take another model, or give those of each in ExampleMaker"
            )
        self.reference = Reference(reference)

        def make_scanner(files: Sequence[str | Path], sample: str | None) -> Scanner:
            return Scanner(
                files,
                reference,
                settings.reads,
                sample,
                haplotypes=spec.needs_haplotypes,
                modifications=spec.needs_modifications,
            )

        self.scanner = make_scanner(reads, sample)
        self._others = [make_scanner(files, None) for files in others]
        self.sample = self.scanner.sample
        self.contigs = common_contigs(self.reference.lengths, self.scanner.lengths, reads[0])
        for scanner, files in zip(self._others, others, strict=True):
            both = common_contigs(self.reference.lengths, scanner.lengths, files[0])
            self.contigs = {name: self.contigs[name] for name in self.contigs if name in both}
        self._frequencies: PopulationFrequencies | None = None
        if bool(population) != spec.needs_frequencies:
            raise OptionError(
                "--population-vcf: the images show no allele frequencies; leave it out"
                if population
                else "the images show allele frequencies: give a population's with --population-vcf"
            )
        if population:
            self._frequencies = PopulationFrequencies(population, self.contigs)
        self._drawer = make_drawer(
            spec,
            settings.candidates.min_base_quality,
            settings.reads.min_mapping_quality,
            settings.realign.alignment if settings.realign else None,
        )

    def close(self) -> None:
        """Close the files."""
        self.scanner.close()
        for scanner in self._others:
            scanner.close()
        self.reference.close()
        if self._frequencies is not None:
            self._frequencies.close()

    def _window(self, samples: Sequence[ReadBatch], run: tuple[Region, ...]) -> ReferenceWindow:
        """The reference under a run's images, alleles and, if they are realigned, reads."""
        realign = self.settings.realign
        margin = max(self.settings.pileup.width // 2, realign.reach if realign else 0)
        start, end = _alleles_span(samples, run)
        if realign:
            for reads in samples:
                start = min(start, int(reads.start.min(initial=start)))
                end = max(end, int(reads.end.max(initial=end)))
        return self.reference.window(run[0].contig, start - margin, end + margin)

    def _kept_window(
        self, window: ReferenceWindow, samples: Sequence[ReadBatch], run: tuple[Region, ...]
    ) -> ReferenceWindow:
        """What of a window images need, where a read makes it long: a block keeps many of them."""
        if len(window.bases) <= LONG_WINDOW:
            return window
        start, end = _alleles_span(samples, run)
        margin = max(self.settings.pileup.width, LONG_WINDOW // 4)
        first = max(start - margin - window.start, 0)
        bases = window.bases[first : end + margin - window.start].copy()
        return replace(window, start=window.start + first, bases=bases)

    @property
    def needs_survey(self) -> bool:
        """Whether a network sees something of the whole sample."""
        return self.settings.pileup.needs_survey or self._small_model is not None

    def take_survey(self, regions: Sequence[Region]) -> Survey:
        """Look at the sample with the candidates in all that is to be scanned."""
        return take_survey(self.scanner, self.reference, regions)

    def run_examples(self, run: tuple[Region, ...]) -> RunExamples:
        """Reads, candidates and image plan of one run of partitions."""
        if self.needs_survey and self._survey is None:
            raise ValueError("the network sees something of the whole sample; give its survey")
        samples = [scanner.scan(run) for scanner in (self.scanner, *self._others)]
        realign = self.settings.realign
        window = self._window(samples, run)
        if realign:
            samples = [realign_reads(reads, run, window, realign) for reads in samples]
        reads, *others = samples
        candidates = find_candidates(
            reads,
            run,
            window,
            self.settings.candidates,
            self._detail,
            with_counts=self._confidence is not None,
        )
        if self._frequencies is not None:
            candidates.allele_frequency = self._frequencies.lookup(candidates, self.reference)
        plan, answers, blocks = plan_images(candidates), None, None
        if self._small_model is not None and self._survey is not None:
            answers, plan = answer(self._small_model, candidates, reads, plan, self._survey)
        if self._confidence is not None and candidates.counts is not None:
            blocks = self._confidence.blocks(run, candidates.counts, window)
        supports = (
            pooled_supports(reads, others, candidates, run, window, self.settings.candidates)
            if others
            else []
        )
        return RunExamples(
            run,
            reads,
            candidates,
            plan,
            self._kept_window(window, samples, run),
            answers,
            blocks,
            others,
            supports,
            self._survey,
            self._drawer,
            self.settings.pileup,
        )
