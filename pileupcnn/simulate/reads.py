"""Read pairs of a donor, with the errors that sequencers and polymerases make."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import OptionError
from pileupcnn.kernels.sequencer import Sequencer
from pileupcnn.simulate.donor import Donor
from pileupcnn.simulate.errors import (
    PCR,
    PCR_FREE,
    ErrorTables,
    plain_tables,
    profile_tables,
    unevenness,
)
from pileupcnn.simulate.profile import GC_BINS, Profile
from pileupcnn.simulate.qualities import QualitySource
from pileupcnn.simulate.repeats import LEAST_RUN, after_runs, find_repeats

CHUNK = 20_000
"""Fragments simulated at a time."""

READ_LENGTH, INSERT_MEAN, INSERT_SD = 150, 450.0, 100.0
"""bp, where neither options nor a profile say."""

FOREIGN_END = 20
"""Bases from which on a clipped end counts as foreign; shorter ones are errors."""

SHORTEST_FRAGMENT = 40
"""bp; a profile's shorter ones are odd alignments rather than fragments."""

_PAD = 64  # spare template for reads that lose bases to slippage
_BIN = 500  # bp over which coverage is taken as even
_WAVE = 0.1  # relative amplitude of the coverage wave without a profile
_FEW_WINDOWS = 20  # of a GC content: the coverage of which leans on the mean
_LOW_STRETCH = 1_000  # mean length in bp of stretches of low mapping quality
_MOTIF = 20  # bases that decide whether a place is prone to a systematic error
_N = ord("N")


@dataclass(frozen=True, slots=True)
class SequencingSettings:
    """How a donor is sequenced. None stands for the profile's value, where there is one.

    Attributes
    ----------
    depth : float
        Mean coverage of both haplotypes together.
    read_length : int or None
        Of both reads, in bp.
    insert_mean, insert_sd : float or None
        Length of fragments in bp: normal, cut at `read_length` and at 4 sd.
    error_scale : float
        Factor on the substitution rate.
    indel_rate : float
        Insertions and deletions per base anywhere; a profile has its own.
    pcr : bool
        Whether the library was amplified: `PCR`, not `PCR_FREE`; a profile has
        its own slips.
    stutter_scale : float or None
        Factor on the chance of slips; None without a profile: drawn from 1/2 to 2.
    foreign_rate : float or None
        Ends of reads that come from elsewhere, as of chimeras, and get clipped.
    duplicate_rate : float or None
        Fragments that are copies of others, and not marked so.
    imbalance : float or None
        Standard deviation of the logarithm of each haplotype's coverage, which
        spreads allele balance beyond chance.
    low_mapping_quality : float or None
        Share of the reads that have a low MAPQ, in stretches, as if the genome
        held something like them elsewhere.
    """

    depth: float = 30.0
    read_length: int | None = None
    insert_mean: float | None = None
    insert_sd: float | None = None
    error_scale: float = 1.0
    indel_rate: float = 1e-5
    pcr: bool = False
    stutter_scale: float | None = None
    foreign_rate: float | None = None
    duplicate_rate: float | None = None
    imbalance: float | None = None
    low_mapping_quality: float | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """What settings and profile together come to.

    Attributes
    ----------
    tables : ErrorTables
    lengths : two float64 arrays
        Chance of each length of reads 1 and 2.
    inserts : float64
        Chance of each length of fragments.
    foreign : two float64 arrays
        Chance of each number of foreign bases at the first and the last cycle.
    duplicate_rate, imbalance, low_mapping_quality : float
        As `SequencingSettings` has them.
    spread : float
        Standard deviation of the logarithm of coverage.
    wave : float
        Relative amplitude of its slow wave.
    gc : float64 [GC_BINS]
        Relative coverage by GC content.
    hot : float64 [10]
        Chance that a place is prone to an error in so many tenths of a strand's reads.
    mapping_qualities : float64 [256]
        Mix of MAPQ where it is low.
    """

    tables: ErrorTables
    lengths: tuple[NDArray[np.float64], NDArray[np.float64]]
    inserts: NDArray[np.float64]
    foreign: tuple[NDArray[np.float64], NDArray[np.float64]]
    duplicate_rate: float
    imbalance: float
    low_mapping_quality: float
    spread: float
    wave: float
    gc: NDArray[np.float64]
    hot: NDArray[np.float64]
    mapping_qualities: NDArray[np.float64]

    @property
    def longest(self) -> int:
        """Most bases of a read."""
        return max(map(len, self.lengths)) - 1

    @property
    def bases(self) -> float:
        """Mean bases of a pair."""
        return sum(float(chance @ np.arange(len(chance))) for chance in self.lengths)


def plan_library(
    settings: SequencingSettings, profile: Profile | None, rng: np.random.Generator
) -> Library:
    """Fill settings that are left open, from the profile or by rule.

    Raises
    ------
    OptionError
        If the settings contradict each other.
    """
    if profile is not None and settings.pcr:
        raise OptionError("--pcr: a profile has its own slips; give --stutter-scale instead")
    scale = settings.stutter_scale
    if scale is None:
        scale = 1.0 if profile else float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
    haplotype, both = unevenness(profile) if profile else (0.0, 0.0)
    if profile is None:
        stutter = PCR if settings.pcr else PCR_FREE
        tables = plain_tables(stutter, scale, settings.error_scale, settings.indel_rate)
    else:
        tables = profile_tables(profile, scale, settings.error_scale)
    lengths = _lengths(settings, profile)
    duplicates = profile.share("unmarked") if profile else 0.0
    low = _low_share(profile) if profile else 0.0
    return Library(
        tables=tables,
        lengths=lengths,
        inserts=_inserts(settings, profile, min(map(len, lengths)) - 1),
        foreign=_foreign(settings.foreign_rate, profile),
        duplicate_rate=_given(settings.duplicate_rate, duplicates),
        imbalance=_given(settings.imbalance, haplotype),
        low_mapping_quality=_given(settings.low_mapping_quality, low),
        spread=both,
        wave=0.0 if profile else _WAVE,
        gc=_gc_curve(profile),
        hot=_hot(profile),
        mapping_qualities=_low_mix(profile),
    )


def _given(value: float | None, usual: float) -> float:
    return usual if value is None else value


def _shares(counts: NDArray[np.generic]) -> NDArray[np.float64]:
    weights = counts.astype(float)
    return weights / weights.sum()


def _lengths(
    settings: SequencingSettings, profile: Profile | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if settings.read_length is None and profile is not None:
        first, second = (_shares(np.trim_zeros(row, "b")) for row in profile.lengths)
        return first, second
    fixed = np.zeros((settings.read_length or READ_LENGTH) + 1)
    fixed[-1] = 1
    return fixed, fixed


def _inserts(
    settings: SequencingSettings, profile: Profile | None, read_length: int
) -> NDArray[np.float64]:
    given = (settings.insert_mean, settings.insert_sd)
    if profile is not None and given == (None, None):
        counts = profile.inserts.copy()
        counts[:SHORTEST_FRAGMENT] = 0
        if counts.any():
            return _shares(np.trim_zeros(counts, "b"))
    usual = profile.insert_moments() if profile else (INSERT_MEAN, INSERT_SD)
    mean, deviation = (u if g is None else g for g, u in zip(given, usual, strict=True))
    if mean < read_length:
        raise OptionError(
            f"--insert-mean {mean:g} is less than --read-length {read_length}; fragments hold a "
            "whole read, give a larger one"
        )
    sizes = np.arange(math.ceil(mean + 4 * deviation) + 1)
    if deviation == 0:
        return (sizes == round(mean)).astype(float)
    # in logarithms, lest all of it be rounded to 0 where the deviation is small
    exponent = -0.5 * ((sizes - mean) / deviation) ** 2
    exponent[:read_length] = -np.inf
    return _shares(np.exp(exponent - exponent.max()))


def _foreign(
    rate: float | None, profile: Profile | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Chances of foreign bases at the two ends; a rate that is given is spread over both."""
    found = []
    for end in (0, 1):
        if profile is not None:
            counts = profile.clips[end].astype(float)
            every = max(counts.sum(), 1.0)
        else:
            counts, every = np.zeros(81), 1.0
            counts[FOREIGN_END:] = 1 / (81 - FOREIGN_END)
        counts[:FOREIGN_END] = 0
        usual = counts.sum() / every if profile is not None else 0.0
        wanted = usual if rate is None else rate / 2
        chance = counts / max(counts.sum(), 1e-9) * wanted
        chance[0] = 1 - chance.sum()
        found.append(chance)
    return found[0], found[1]


def _gc_curve(profile: Profile | None) -> NDArray[np.float64]:
    content = np.linspace(0, 1, GC_BINS)
    if profile is None:
        return np.exp(-(((content - 0.42) / 0.35) ** 2))
    windows, total, _ = profile.depth.astype(float).T
    if not total.sum():
        return np.ones(GC_BINS)
    mean = total.sum() / windows.sum()
    curve: NDArray[np.float64] = (total / mean + _FEW_WINDOWS) / (windows + _FEW_WINDOWS)
    return curve


def _hot(profile: Profile | None) -> NDArray[np.float64]:
    if profile is None or not profile.hot[10]:
        return np.zeros(10)
    return profile.hot[:10].astype(float) / float(profile.hot[10])


def _low_share(profile: Profile) -> float:
    """Share of the reads whose MAPQ is below the usual one."""
    counts = profile.mapping_quality
    return float(counts[: counts.argmax()].sum() / max(counts.sum(), 1))


def _low_mix(profile: Profile | None) -> NDArray[np.float64]:
    """MAPQ below the usual one; without a profile a third 0, the rest anything up to 59."""
    mix = np.zeros(256)
    if profile is not None:
        counts = profile.mapping_quality.astype(float)
        mix[: counts.argmax()] = counts[: counts.argmax()]
    if not mix.any():
        mix[0], mix[1:60] = 1 / 3, 2 / 3 / 59
    return mix / mix.sum()


@dataclass(frozen=True, slots=True)
class Template:
    """A sequence that reads come from, and what befalls them there.

    Attributes
    ----------
    sequence : uint8 [length]
        ASCII.
    entered : int32 [2, length]
        The repeat that a read enters here, by its strand; -1 for none.
    period : int32 [n]
        Of each repeat, in bp.
    slip : float32 [n, 2 MAX_UNITS + 1]
        As `ErrorTables.slippage`.
    state, distance : uint8 [2, length]
        As `after_runs`.
    least_run : int
        Bases of a homopolymer that a read must have seen to be disturbed.
    hot : uint8 [2, length]
        Share, in 255ths, of each strand's reads with the same error.
    """

    sequence: NDArray[np.uint8]
    entered: NDArray[np.int32]
    period: NDArray[np.int32]
    slip: NDArray[np.float32]
    state: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    least_run: int
    hot: NDArray[np.uint8]


def make_template(sequence: NDArray[np.uint8], library: Library) -> Template:
    """Find repeats, homopolymers and places prone to errors."""
    repeats = find_repeats(sequence)
    slip = library.tables.slippage(repeats)
    entered = np.full((2, len(sequence)), -1, np.int32)
    # of two repeats that begin at one place the one that slips more
    order = np.argsort(slip[:, -2], kind="stable") if len(repeats) else np.empty(0, np.int64)
    entered[0, repeats.start[order]] = order
    entered[1, repeats.end[order] - 1] = order
    if library.tables.first is not None:
        state, distance = after_runs(sequence)
    else:
        state = distance = np.zeros((2, len(sequence)), np.uint8)
    return Template(
        sequence,
        entered,
        repeats.period.astype(np.int32),
        slip,
        state,
        distance,
        LEAST_RUN,
        _hot_places(sequence, library.hot),
    )


def _hot_places(sequence: NDArray[np.uint8], chance: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Places prone to a systematic error, by the motif that is read before them.

    The motif decides, so that both haplotypes agree.
    """
    hot = np.zeros((2, len(sequence)), np.uint8)
    if not chance.any() or len(sequence) <= _MOTIF:
        return hot
    # cumulative chance by tenths, as thresholds of a 32-bit hash
    edges = (np.cumsum(chance) * 2**32).astype(np.uint64)
    codes = np.searchsorted(np.frombuffer(b"ACGT", np.uint8), sequence).astype(np.uint64) & 3
    for strand, read in enumerate((codes, 3 - codes[::-1])):
        motif = np.zeros(len(read) - _MOTIF, np.uint64)
        for back in range(_MOTIF):
            motif = motif * 4 + read[back : len(read) - _MOTIF + back]
        mixed = motif * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        tenth = np.searchsorted(edges, mixed >> np.uint64(32), side="right")
        share = np.where(tenth < 10, (tenth * 2 + 1) * 255 // 20, 0).astype(np.uint8)
        row = np.concatenate((np.zeros(_MOTIF, np.uint8), share))
        hot[strand] = row[::-1] if strand else row
    return hot


def simulate_fastq(
    donor: Donor,
    settings: SequencingSettings,
    qualities: QualitySource | None,
    rng: np.random.Generator,
    profile: Profile | None = None,
) -> Iterator[bytes]:
    """Sequence a donor.

    Each haplotype gives a Poisson number of fragments, so that the haplotype of
    a read is a fair coin's throw. A duplicated segment's second copy is
    homozygous half of the time.

    Parameters
    ----------
    donor : Donor
    settings : SequencingSettings
    qualities : QualitySource or None
        None with a profile, which has its own.
    rng : numpy.random.Generator
    profile : Profile, optional

    Yields
    ------
    bytes
        Interleaved FASTQ of at most `CHUNK` read pairs.
    """
    library = plan_library(settings, profile, rng)
    sequencer = Sequencer(library.tables, int(rng.integers(2**63)))
    phase = float(rng.uniform(0, 2 * np.pi))
    sources = []
    for segment in donor.segments:
        place = int(rng.integers(2**63))
        foreign = donor.contamination if segment.contaminants else 0.0
        sources += [(h, (1 - foreign) / 2, place) for h in segment.haplotypes]
        sources += [(h, foreign / 2, place) for h in segment.contaminants]
    for copy in donor.copies:
        share = 1.0 if rng.random() < 0.5 else 0.5
        sources.append((copy, share, int(rng.integers(2**63))))
    serial = 0
    for sequence, share, place in sources:
        sequencer.take(make_template(sequence, library))
        weight, low = _landscape(sequence, phase, place, library, rng)
        fragments = _fragments(sequence, share * settings.depth, weight, library, serial, rng)
        for first in range(0, len(fragments), CHUNK):
            chunk = fragments.part(first, first + CHUNK)
            yield _sequence(sequencer, chunk, low, serial, library, qualities, rng)
            serial += len(chunk)


def _landscape(
    sequence: NDArray[np.uint8],
    phase: float,
    place: int,
    library: Library,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Relative coverage of bins, and the share of their reads that have a low MAPQ.

    Both haplotypes have the same `place`, which seeds what they share.
    """
    bins = max(1, -(-(len(sequence) - 2 * _PAD) // _BIN))
    weight = _coverage(sequence, bins, phase, library)
    common = np.random.default_rng(place)
    weight *= np.exp(common.normal(0, library.spread, bins))
    weight *= np.exp(rng.normal(0, library.imbalance, bins))
    low = np.zeros(bins)
    if library.low_mapping_quality > 0:
        length = _LOW_STRETCH / _BIN
        # of a stretch's reads 60 % on average
        begins = common.random(bins) < library.low_mapping_quality / 0.6 / length
        for at in np.flatnonzero(begins).tolist():
            low[at : at + int(common.geometric(1 / length))] = common.uniform(0.2, 1)
    return weight, low


def _coverage(
    sequence: NDArray[np.uint8], bins: int, phase: float, library: Library
) -> NDArray[np.float64]:
    """Relative coverage of bins: a slow wave, and what their GC content makes of it."""
    strong = np.concatenate(([0], np.cumsum((sequence == ord("G")) | (sequence == ord("C")))))
    edges = np.minimum(_PAD + _BIN * np.arange(bins + 1), len(sequence))
    content = np.diff(strong[edges]) / np.maximum(np.diff(edges), 1)
    position = _BIN * np.arange(bins)
    wave = np.sin(2 * np.pi * position / 37_000 + phase) + np.sin(position / 2_300 + phase)
    weight: NDArray[np.float64] = np.interp(content, np.linspace(0, 1, GC_BINS), library.gc)
    return weight * (1 + library.wave * wave / 2)


@dataclass(frozen=True, slots=True)
class _Fragments:
    """Fragments by position: ends, number of the molecule, read 1 on the right, foreign ends."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    molecule: NDArray[np.uint64]
    flipped: NDArray[np.uint8]
    foreign: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start)

    def part(self, first: int, last: int) -> _Fragments:
        """Some of them, in order."""
        return self.chosen(np.arange(first, min(last, len(self))))

    def chosen(self, rows: NDArray[np.int64]) -> _Fragments:
        """Those with these numbers."""
        return _Fragments(
            self.start[rows],
            self.end[rows],
            self.molecule[rows],
            self.flipped[rows],
            self.foreign[rows],
        )


def _fragments(
    sequence: NDArray[np.uint8],
    depth: float,
    weight: NDArray[np.float64],
    library: Library,
    serial: int,
    rng: np.random.Generator,
) -> _Fragments:
    """Draw fragments, by position; none whose reads would show an N."""
    shortest = int(np.flatnonzero(library.inserts)[0])
    room = len(sequence) - 2 * _PAD - shortest
    if room <= 0:
        none = np.empty(0, np.int64)
        foreign = np.empty((0, 2, 2), np.int32)
        return _Fragments(none, none, none.astype(np.uint64), none.astype(np.uint8), foreign)
    weight = weight[: -(-room // _BIN)]
    width = np.minimum(_BIN, room - _BIN * np.arange(len(weight)))
    chance = weight * width
    count = rng.poisson(depth * len(sequence) / library.bases * (1 - library.duplicate_rate))
    at = np.sort(rng.choice(len(weight), count, p=chance / chance.sum()))
    start = np.sort(_PAD + at * _BIN + (rng.random(count) * width[at]).astype(np.int64))
    size = rng.choice(len(library.inserts), count, p=library.inserts)
    end = start + size
    inside = end <= len(sequence) - _PAD
    start, end = start[inside], end[inside]
    unknown = np.concatenate(([0], np.cumsum(sequence == _N)))
    # the pads are read too where a read slips
    reach = np.minimum(end - start, library.longest) + _PAD
    clear = unknown[start + reach] == unknown[start - _PAD]
    clear &= unknown[end + _PAD] == unknown[end - reach]
    start, end = start[clear], end[clear]
    count = len(start)
    foreign = np.zeros((count, 2, 2), np.int32)
    for last, chances in enumerate(library.foreign):
        if chances[0] < 1:
            foreign[:, :, last] = rng.choice(len(chances), (count, 2), p=chances)
    molecule = serial + np.arange(count, dtype=np.uint64)
    flipped = (rng.random(count) < 0.5).astype(np.uint8)
    fragments = _Fragments(start, end, molecule, flipped, foreign)
    if library.duplicate_rate > 0 and count:
        rate = library.duplicate_rate / (1 - library.duplicate_rate)
        again = rng.integers(0, count, rng.poisson(count * rate))
        fragments = fragments.chosen(np.sort(np.concatenate((np.arange(count), again))))
    return fragments


def _sequence(
    sequencer: Sequencer,
    fragments: _Fragments,
    low: NDArray[np.float64],
    serial: int,
    library: Library,
    qualities: QualitySource | None,
    rng: np.random.Generator,
) -> bytes:
    """Read both ends of fragments; interleaved FASTQ."""
    count = len(fragments)
    length = np.stack(
        [rng.choice(len(chance), count, p=chance) for chance in library.lengths], axis=1
    ).astype(np.int32)
    mapping_quality = np.full(count, -1, np.int16)
    if low.any():
        share = low[np.clip((fragments.start - _PAD) // _BIN, 0, len(low) - 1)]
        hit = rng.random(count) < share
        mapping_quality[hit] = rng.choice(256, int(hit.sum()), p=library.mapping_qualities)
    scores = None
    if qualities is not None:
        first, second = (qualities.draw(n, count, library.longest, rng) for n in (1, 2))
        scores = (np.ascontiguousarray(first), np.ascontiguousarray(second))
    return sequencer.pairs(
        fragments.start,
        fragments.end,
        fragments.flipped,
        fragments.molecule,
        length,
        fragments.foreign,
        mapping_quality,
        serial,
        scores,
    )
