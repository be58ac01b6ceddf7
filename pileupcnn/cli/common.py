"""What several commands share: options, and the inputs that these name."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pileupcnn.errors import OptionError

if TYPE_CHECKING:
    from pileupcnn.confidence import ReferenceConfidence
    from pileupcnn.examples import ExampleSettings
    from pileupcnn.model import Model
    from pileupcnn.regions import HaploidRegions, Region
    from pileupcnn.scanning import Statistics
    from pileupcnn.small_model import SmallModel
    from pileupcnn.survey import Survey

logger = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., Any])


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, shown in this order."""

    def decorate(command: Command) -> Command:
        return functools.reduce(lambda inner, option: option(inner), reversed(options), command)

    return decorate


reads_options = _together(
    click.option("--ref", required=True, help="Reference, indexed FASTA (plain or bgzipped)."),
    click.option(
        "--reads",
        required=True,
        multiple=True,
        help="Indexed BAM or CRAM; repeat for several files of one sample.",
    ),
)

regions_option = click.option(
    "--regions",
    multiple=True,
    help="contig, contig:start-end (1-based) or BED file; repeatable.  [default: all]",
)

model_option = click.option(
    "--model",
    help="Directory of a model bundle, or of a SavedModel that DeepVariant released; a SavedModel "
    "is a program that TensorFlow executes.  [default: the package's own]",
)

sample_option = click.option(
    "--sample", help="Sample to call, or the name to give it.  [default: from @RG]"
)

threads_option = click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Threads in all, also for a network.",
)

labeler_option = click.option(
    "--labeler",
    type=click.Choice(["haplotype", "positional"]),
    help="How candidates get their true genotypes: variants near each other compared as "
    "sequences, or each by position and alleles.  [default: haplotype]",
)

quiet_option = click.option("--quiet", is_flag=True, help="No progress bar, no summary.")

network_options = _together(
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        help="Images classified at once.  [default: 8, or 32 where TensorFlow runs]",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "cpu", "gpu"]),
        help="Where the network runs; auto takes a GPU if TensorFlow is installed and sees one.",
    ),
)

binsize_option = click.option(
    "--gvcf-gq-binsize",
    type=click.IntRange(1, 50),
    help="Width of the bins of GQ within which positions share a block.  [default: 5]",
)

haploid_options = _together(
    click.option(
        "--haploid-contigs",
        multiple=True,
        help="Contigs of which there is one copy, e.g. chrX,chrY; repeatable.",
    ),
    click.option(
        "--par-regions", help="BED: pseudo-autosomal regions, diploid parts of haploid contigs."
    ),
)

compat_option = click.option(
    "--deepvariant-compat", is_flag=True, help="Drop candidates whose image would leave the contig."
)

small_model_option = click.option(
    "--small-model/--no-small-model",
    default=True,
    help="Let the model's small model, if it has one, answer plain sites without an image.",
)

setting_options = _together(
    click.option(
        "--min-mapping-quality",
        type=click.IntRange(0, 255),
        help="Smallest MAPQ of a read.  [default for this and below: the model's]",
    ),
    click.option(
        "--min-base-quality", type=click.IntRange(0, 93), help="Bases below do not count."
    ),
    click.option("--min-count-snps", type=click.IntRange(1), help="Fewest reads of a SNP allele."),
    click.option("--min-count-indels", type=click.IntRange(1), help="Fewest reads of an indel."),
    click.option(
        "--min-fraction-snps",
        type=click.FloatRange(0, 1),
        help="Smallest share of the reads of a SNP allele.",
    ),
    click.option(
        "--min-fraction-indels",
        type=click.FloatRange(0, 1),
        help="Smallest share of the reads of an indel.",
    ),
    click.option("--partition-size", type=click.IntRange(1), help="Length of a partition in bp."),
    click.option(
        "--max-reads-per-partition",
        type=click.IntRange(0),
        help="Cap by reservoir sampling; 0 for none.",
    ),
    click.option(
        "--realign/--no-realign", default=None, help="Realign reads around likely indels."
    ),
    click.option("--keep-duplicates/--no-keep-duplicates", default=None),
    click.option("--keep-secondary/--no-keep-secondary", default=None),
    click.option("--keep-supplementary/--no-keep-supplementary", default=None),
)


population_option = click.option(
    "--population-vcf",
    multiple=True,
    help="Indexed VCF or BCF with INFO/AF, for models that see allele frequencies: one, or one for "
    "each contig.",
)


def _channel_names(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> list[str] | None:
    """Names of channels, from names and numbers."""
    if value is None:
        return None
    from pileupcnn.pileup import BASE_CHANNELS, Channel

    names: list[str] = []
    for item in re.split(r"[\s,]+", value.strip()):
        if item == "BASE_CHANNELS":
            names += [channel.name.lower() for channel in BASE_CHANNELS]
            continue
        try:
            channel = Channel(int(item)) if item.isdecimal() else Channel[item.upper()]
        except (KeyError, ValueError):
            known = ", ".join(channel.name.lower() for channel in Channel)
            raise click.BadParameter(f"'{item}' is none of {known}, and no number of one") from None
        names.append(channel.name.lower())
    return names


pileup_options = _together(
    click.option("--height", type=click.IntRange(2), help="Rows of an image."),
    click.option("--width", type=click.IntRange(3), help="Columns of an image; odd."),
    click.option(
        "--channels",
        callback=_channel_names,
        metavar="LIST",
        help="Layers of an image: DeepVariant's names or numbers, with commas; BASE_CHANNELS for "
        "the first six.",
    ),
    click.option(
        "--alt-aligned-pileup",
        type=click.Choice(["none", "rows", "diff_channels", "base_channels"]),
        help="Where an image shows the reads as aligned to its ALTs.",
    ),
    click.option(
        "--types-to-alt-align",
        type=click.Choice(["indels", "all"]),
        help="Candidates whose reads are aligned to their ALTs.",
    ),
    click.option(
        "--sort-by-haplotypes/--no-sort-by-haplotypes",
        default=None,
        help="Sort rows by HP tag first.",
    ),
    click.option(
        "--mean-coverage",
        type=click.FloatRange(0),
        help="Depth that the channel mean_coverage shows.",
    ),
)


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """The values of `setting_options` and `pileup_options` that were given."""
    return {name: value for name, value in settings.items() if value is not None}


def override_settings(
    model: Model, overrides: dict[str, Any], *, new_model: bool = False
) -> ExampleSettings:
    """The model's settings with some replaced; worth a warning unless a `new_model` is to come."""
    from pileupcnn.realign import RealignSettings
    from pileupcnn.settings_json import from_json, to_json

    settings = model.settings
    overrides = dict(overrides)
    warn = logger.debug if new_model else logger.warning
    realign = overrides.pop("realign", None)
    if realign is not None and realign != (settings.realign is not None):
        warn(
            f"--{'' if realign else 'no-'}realign: the model was trained "
            f"{'without' if realign else 'with'} realignment, its probabilities may no longer hold"
        )
        settings = dataclasses.replace(settings, realign=RealignSettings() if realign else None)
    for part in ("reads", "candidates", "pileup"):
        group = getattr(settings, part)
        chosen = {name: value for name, value in overrides.items() if hasattr(group, name)}
        if not chosen:
            continue
        options = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        try:
            new = from_json(type(group), {**to_json(group), **chosen}, part)
        except ValueError as error:
            raise OptionError(f"{options}: {error}; choose another value") from error
        for name in chosen:
            if getattr(group, name) != getattr(new, name):
                warn(
                    f"--{name.replace('_', '-')} {_text(to_json(getattr(new, name)))}: the model "
                    f"was trained with {_text(to_json(getattr(group, name)))}, its probabilities "
                    "may no longer hold"
                )
        settings = dataclasses.replace(settings, **{part: new})
    return settings


def _text(value: Any) -> str:
    """As on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclasses.dataclass(frozen=True, slots=True)
class ReadInputs:
    """What reads, reference and regions turn out to be.

    Attributes
    ----------
    sample : str
    contigs : dict of str to int
        Contigs of both reads and reference with their lengths in bp, in the
        reference's order.
    reference_contigs : dict of str to int
        All of the reference.
    regions : list of Region
        Merged, in order.
    reference : str or Path
        The FASTA.
    survey : Survey, optional
        Of the sample in all regions, where a network sees something of it.
    """

    sample: str
    contigs: dict[str, int]
    reference_contigs: dict[str, int]
    regions: list[Region]
    reference: str | Path
    survey: Survey | None


def open_inputs(
    ref: str | Path,
    reads: Sequence[str | Path],
    settings: ExampleSettings,
    sample: str | None,
    regions: Sequence[str],
    population: Sequence[str | Path] = (),
    small_model: SmallModel | None = None,
) -> ReadInputs:
    """Look into the inputs once, and warn of what is odd about them.

    The sample is surveyed where the images show something of it, or there is a small model.

    Raises
    ------
    PileupCNNError
        If one of them cannot be used.
    """
    from pileupcnn.examples import ExampleMaker
    from pileupcnn.reads import check_headers
    from pileupcnn.regions import resolve_regions

    with ExampleMaker(
        reads, ref, settings, sample, small_model=small_model, population=population
    ) as maker:
        name, contigs = maker.sample, maker.contigs
        reference_contigs = maker.reference.lengths
        wanted = resolve_regions(regions, contigs)
        # what is odd is said first: it may explain what fails then
        for warning in check_headers(reads, ref, {region.contig for region in wanted}):
            logger.warning(warning)
        survey = maker.take_survey(wanted) if maker.needs_survey else None
    return ReadInputs(name, contigs, reference_contigs, wanted, ref, survey)


def haploid_regions(
    haploid_contigs: Sequence[str], par_regions: str | Path | None, lengths: Mapping[str, int]
) -> HaploidRegions:
    """Where there is one copy.

    Parameters
    ----------
    haploid_contigs : sequence of str
        Names; commas or blanks separate several in one.
    par_regions : path, optional
        BED.
    lengths : mapping of str to int
        Contigs of the reference with their lengths in bp.

    Raises
    ------
    OptionError
        If a contig is not in the reference, or the two do not go together.
    InputError
        If the BED cannot be read, or has nothing on these contigs.
    """
    from pileupcnn.errors import InputError
    from pileupcnn.regions import HaploidRegions, read_bed

    names = [name for text in haploid_contigs for name in re.split(r"[,\s]+", text) if name]
    for name in names:
        if name not in lengths:
            raise OptionError(
                f"--haploid-contigs {name}: not in the reference, which names "
                f"{', '.join(itertools.islice(lengths, 3))}{', ...' if len(lengths) > 3 else ''}; "
                "correct the name, or leave the option out"
            )
    if par_regions is None:
        return HaploidRegions(names)
    if not names:
        raise OptionError(
            f"--par-regions {par_regions}: says where haploid contigs are diploid; name these "
            "with --haploid-contigs"
        )
    found = HaploidRegions(names, read_bed(par_regions, lengths))
    if not any(map(found.pseudoautosomal, names)):
        raise InputError(
            f"{par_regions}: no interval on {', '.join(names)}; compare the contig names, or leave "
            "--par-regions out"
        )
    return found


def reference_confidence(
    gvcf: str | Path | None, binsize: int | None, haploid: HaploidRegions
) -> ReferenceConfidence | None:
    """What makes reference-confidence blocks, if there is to be a gVCF.

    Raises
    ------
    OptionError
        If the width of bins is given without one, or is out of range.
    """
    if gvcf is None:
        if binsize is not None:
            raise OptionError(f"--gvcf-gq-binsize {binsize}: goes with --gvcf; give that, too")
        return None
    from pileupcnn.confidence import BIN_SIZE, ReferenceConfidence

    try:
        return ReferenceConfidence(BIN_SIZE if binsize is None else binsize, haploid)
    except ValueError as error:
        raise OptionError(f"--gvcf-gq-binsize: {error}; choose another value") from error


def check_distinct(*outputs: tuple[str, str | Path | None]) -> None:
    """See that no two outputs, each with its option's name, are one file.

    Raises
    ------
    OptionError
        If two are.
    """
    seen: dict[str, str] = {}
    for option, path in outputs:
        if path is None:
            continue
        where = str(path) if str(path) == "-" else os.path.realpath(path)
        if where in seen:
            raise OptionError(
                f"{option} {path}: the same file as {seen[where]}; give each its own name"
            )
        seen[where] = option


def parse_task(text: str) -> tuple[int, int]:
    """``K/N`` as numbers.

    Raises
    ------
    OptionError
        If it is none, or K is not from 0 to N - 1.
    """
    from pileupcnn.errors import OptionError

    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise OptionError(
            f"--task {text}: give K/N, the task and how many there are; K from 0 to N - 1"
        )
    return int(found[1]), int(found[2])


@contextmanager
def progress_bar(*, show: bool, unit: str = "bp") -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, if that is a terminal, told base pairs or other units.

    What it yields takes how many are done, and how many there are in all.
    """
    from tqdm import tqdm

    shown = show and sys.stderr.isatty()
    with tqdm(unit=unit, unit_scale=True, disable=not shown, smoothing=0.05) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def summary(statistics: Statistics, results: str) -> list[str]:
    """What a run did, in lines; `results` is what it wrote."""
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in statistics.seconds.items())
    skipped = ", ".join(f"{value:,} {reason}" for reason, value in statistics.skipped.items())
    lines = [
        f"stage seconds: {stages}",
        f"GIL held: {statistics.gil_share:.1%} of processor time at most",
        f"reads skipped: {skipped or 'none'}",
        f"candidates: {statistics.candidates:,}, {results}: {statistics.records:,}",
    ]
    if statistics.labels:
        found = ", ".join(f"{value:,} {name}" for name, value in statistics.labels.items())
        lines.append(f"truth and candidates: {found}")
    if statistics.answered:
        lines.append(f"sets of ALTs called by the small model: {statistics.answered:,}")
    if statistics.dropped:
        lines.append(f"candidates dropped at contig ends: {statistics.dropped:,}")
    return lines
