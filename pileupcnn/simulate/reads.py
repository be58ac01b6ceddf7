"""Read pairs of a donor, with the errors that sequencers and polymerases make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.kernels.sequencer import Sequencer
from pileupcnn.repeats import LEAST_RUN, after_runs, find_repeats
from pileupcnn.simulate.donor import Donor
from pileupcnn.simulate.libraries import Library, SequencingSettings, plan_library
from pileupcnn.simulate.profile import GC_BINS, Profile
from pileupcnn.simulate.qualities import QualitySource

CHUNK = 20_000
"""Fragments simulated at a time."""

_PAD = 64  # spare template for reads that lose bases to slippage
_BIN = 500  # bp over which coverage is taken as even
_LOW_STRETCH = 1_000  # mean length in bp of stretches of low mapping quality
_MOTIF = 20  # bases that decide whether a place is prone to a systematic error
_N = ord("N")


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
    prone : uint8 [2, length]
        Which bases are hard after a homopolymer, by strand, and what is read
        there instead; see `pileupcnn.simulate.errors.Spoilage`.
    """

    sequence: NDArray[np.uint8]
    entered: NDArray[np.int32]
    period: NDArray[np.int32]
    slip: NDArray[np.float32]
    state: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    least_run: int
    hot: NDArray[np.uint8]
    prone: NDArray[np.uint8]


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
        hot, prone = _places(sequence, library.hot)
    else:  # no profile: nothing is systematic
        state = distance = hot = prone = np.zeros((2, len(sequence)), np.uint8)
    return Template(
        sequence,
        entered,
        repeats.period.astype(np.int32),
        slip,
        state,
        distance,
        LEAST_RUN,
        hot,
        prone,
    )


def _places(
    sequence: NDArray[np.uint8], chance: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Places prone to systematic errors, by the motif that is read before them.

    The motif decides, so that both haplotypes agree. Returns `Template.hot` and
    `Template.prone`.
    """
    hot, prone = np.zeros((2, 2, len(sequence)), np.uint8)
    if len(sequence) <= _MOTIF:
        return hot, prone
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
        for row, values in ((hot, share), (prone, (mixed >> np.uint64(16)).astype(np.uint8))):
            row[strand, _MOTIF:] = values
            if strand:
                row[strand] = row[strand, ::-1].copy()
    return hot, prone


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
