"""Read pairs of a donor, with the errors that sequencers and polymerases make."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.simulate.donor import Donor
from pileupcnn.simulate.qualities import QualitySource
from pileupcnn.simulate.repeats import Repeats, find_repeats

CHUNK = 20_000
"""Fragments simulated at a time."""

_PAD = 64  # spare template for reads that lose bases to slippage
_BIN = 500  # bp over which coverage is taken as even
_ACGT = np.frombuffer(b"ACGT", np.uint8)
_N = ord("N")


@dataclass(frozen=True, slots=True)
class Stutter:
    """How the polymerases of a library slip in tandem repeats.

    Attributes
    ----------
    chance : dict
        By period: (whole units, chance that a read has slipped), log-linear
        between the points.
    loss, double : float
        Of slips, the share that shortens, and that moves two units.
    """

    chance: dict[int, tuple[tuple[int, float], ...]]
    loss: float
    double: float


_LONG_UNITS = ((3, 1e-4), (6, 1e-3), (12, 0.01), (20, 0.03))

PCR_FREE = Stutter(
    {
        1: ((4, 2e-4), (5, 5e-4), (10, 0.01), (15, 0.04), (20, 0.08), (30, 0.2)),
        2: ((3, 2e-4), (5, 1e-3), (10, 0.015), (15, 0.05), (25, 0.12)),
        3: _LONG_UNITS,
        4: _LONG_UNITS,
    },
    loss=0.65,
    double=0.1,
)
"""A little more than NovaSeq reads of a PCR-free library show."""

PCR = Stutter(
    {
        1: ((4, 0.003), (5, 0.011), (7, 0.04), (8, 0.06), (10, 0.12), (12, 0.18), (25, 0.35)),
        2: ((3, 0.0025), (4, 0.005), (5, 0.015), (7, 0.035), (10, 0.12), (16, 0.2)),
        3: ((3, 1e-3), (6, 0.01), (12, 0.05)),
        4: ((3, 1e-3), (6, 0.01), (12, 0.05)),
    },
    loss=0.35,
    double=0.2,
)
"""Counted in HiSeq X reads of a library amplified many times (linked reads)."""

# Chance of each wrong base, given an error; rows and columns A, C, G, T.
# Illumina's errors favour A>C and T>G, and are poor in C>G and G>C.
_SUBSTITUTION = np.array(
    [
        [0.0, 0.50, 0.28, 0.22],
        [0.40, 0.0, 0.22, 0.38],
        [0.38, 0.22, 0.0, 0.40],
        [0.22, 0.28, 0.50, 0.0],
    ]
)


@dataclass(frozen=True, slots=True)
class SequencingSettings:
    """How a donor is sequenced.

    Attributes
    ----------
    depth : float
        Mean coverage of both haplotypes together.
    read_length : int
        Of both reads, in bp.
    insert_mean, insert_sd : float
        Length of fragments in bp: normal, cut at `read_length` and at 4 sd.
    error_scale : float
        Factor on the substitution rate of 10^(-Q/10).
    indel_rate : float
        Insertions and deletions per base anywhere.
    wave : float
        Relative amplitude of the coverage wave.
    pcr : bool
        Whether the library was amplified: `PCR`, not `PCR_FREE`.
    """

    depth: float = 30.0
    read_length: int = 150
    insert_mean: float = 450.0
    insert_sd: float = 100.0
    error_scale: float = 1.0
    indel_rate: float = 1e-5
    wave: float = 0.1
    pcr: bool = False

    @property
    def stutter(self) -> Stutter:
        """How reads slip."""
        return PCR if self.pcr else PCR_FREE


@dataclass(frozen=True, slots=True)
class _Template:
    """A sequence that reads come from, and where it slips."""

    sequence: NDArray[np.uint8]
    repeats: Repeats
    slippage: NDArray[np.float64]


def slippage(repeats: Repeats, stutter: Stutter, factor: float) -> NDArray[np.float64]:
    """Chance that a read across each repeat has slipped, float64 [n]."""
    chance = np.zeros(len(repeats))
    for period, points in stutter.chance.items():
        units, values = zip(*points, strict=True)
        mine = repeats.period == period
        chance[mine] = np.exp(np.interp(repeats.units[mine], units, np.log(values)))
    return np.minimum(chance * factor, 0.5)


def simulate_fastq(
    donor: Donor,
    settings: SequencingSettings,
    qualities: QualitySource,
    rng: np.random.Generator,
) -> Iterator[bytes]:
    """Sequence a donor.

    Each haplotype gives a Poisson number of fragments, so that the haplotype of
    a read is a fair coin's throw. A duplicated segment's second copy is
    homozygous half of the time.

    Yields
    ------
    bytes
        Interleaved FASTQ of at most `CHUNK` read pairs.
    """
    factor = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
    phase = float(rng.uniform(0, 2 * np.pi))
    sources = [(h, 0.5) for segment in donor.segments for h in segment.haplotypes]
    sources += [(copy, 1.0 if rng.random() < 0.5 else 0.5) for copy in donor.copies]
    serial = 0
    for sequence, share in sources:
        repeats = find_repeats(sequence)
        template = _Template(sequence, repeats, slippage(repeats, settings.stutter, factor))
        start, end = _fragments(sequence, share * settings.depth, phase, settings, rng)
        for first in range(0, len(start), CHUNK):
            chunk = slice(first, first + CHUNK)
            yield _sequence(template, start[chunk], end[chunk], serial, settings, qualities, rng)
            serial += len(start[chunk])


def _fragments(
    sequence: NDArray[np.uint8],
    depth: float,
    phase: float,
    settings: SequencingSettings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw fragments, by position; none whose reads would show an N."""
    length = settings.read_length
    room = len(sequence) - 2 * _PAD - length
    if room <= 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    bins = -(-room // _BIN)
    width = np.minimum(_BIN, room - _BIN * np.arange(bins))
    weight = _coverage(sequence, bins, phase, settings.wave) * width
    count = rng.poisson(depth * len(sequence) / (2 * length))
    at = np.sort(rng.choice(bins, count, p=weight / weight.sum()))
    start = np.sort(_PAD + at * _BIN + (rng.random(count) * width[at]).astype(np.int64))
    size = np.rint(rng.normal(settings.insert_mean, settings.insert_sd, count)).astype(np.int64)
    # rounded up: an insert size that never varies may be a fraction
    most = math.ceil(settings.insert_mean + 4 * settings.insert_sd)
    while (wrong := np.flatnonzero((size < length) | (size > most))).size:
        again = rng.normal(settings.insert_mean, settings.insert_sd, len(wrong))
        size[wrong] = np.rint(again).astype(np.int64)
    end = start + size
    inside = end <= len(sequence) - _PAD
    start, end = start[inside], end[inside]
    unknown = np.concatenate(([0], np.cumsum(sequence == _N)))
    # the pads are read too where a read slips
    clear = unknown[start + length + _PAD] == unknown[start - _PAD]
    clear &= unknown[end + _PAD] == unknown[end - length - _PAD]
    return start[clear], end[clear]


def _coverage(
    sequence: NDArray[np.uint8], bins: int, phase: float, amplitude: float
) -> NDArray[np.float64]:
    """Relative coverage of bins: a slow wave, and a loss at extreme GC contents."""
    strong = np.concatenate(([0], np.cumsum((sequence == ord("G")) | (sequence == ord("C")))))
    edges = np.minimum(_PAD + _BIN * np.arange(bins + 1), len(sequence))
    content = np.diff(strong[edges]) / np.maximum(np.diff(edges), 1)
    position = _BIN * np.arange(bins)
    wave = np.sin(2 * np.pi * position / 37_000 + phase) + np.sin(position / 2_300 + phase)
    weight: NDArray[np.float64] = np.exp(-(((content - 0.42) / 0.35) ** 2))
    return weight * (1 + amplitude * wave / 2)


def _sequence(
    template: _Template,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    serial: int,
    settings: SequencingSettings,
    qualities: QualitySource,
    rng: np.random.Generator,
) -> bytes:
    """Read both ends of fragments ``[start, end)``; interleaved FASTQ."""
    length, count = settings.read_length, len(start)
    left = _read_bases(template, start, start, False, settings, rng)
    right = _read_bases(template, end - length, end, True, settings, rng)
    flipped = rng.random(count) < 0.5
    rows = []
    for number, bases in (
        (1, np.where(flipped[:, None], right, left)),
        (2, np.where(flipped[:, None], left, right)),
    ):
        scores = qualities.draw(number, count, length, rng)
        _substitute(bases, scores, settings.error_scale, rng)
        rows.append(_fastq_rows(serial, bases, scores))
    return np.stack(rows, axis=1).tobytes()


def _read_bases(
    template: _Template,
    start: NDArray[np.int64],
    anchor: NDArray[np.int64],
    reverse: bool,
    settings: SequencingSettings,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Bases of reads as the sequencer sees them, with indel errors only.

    Parameters
    ----------
    start : int64 [n]
        Leftmost template position of each read.
    anchor : int64 [n]
        Where sequencing begins: the left end, or for `reverse` the right one.
    """
    length = settings.read_length
    bases = template.sequence[start[:, None] + np.arange(length)]
    for row, edits in _indel_errors(template, start, settings, rng).items():
        if reverse:
            low, high = int(anchor[row]) - length - _PAD, int(anchor[row])
        else:
            low, high = int(anchor[row]), int(anchor[row]) + length + _PAD
        text = template.sequence[low:high].tobytes()
        for at, lost, won in sorted(edits, reverse=True):
            text = text[: at - low] + won + text[at - low + lost :]
        if len(text) >= length:
            text = text[-length:] if reverse else text[:length]
            bases[row] = np.frombuffer(text, np.uint8)
    return _COMPLEMENT[bases[:, ::-1]] if reverse else bases


_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[_ACGT] = _ACGT[::-1]


def _indel_errors(
    template: _Template,
    start: NDArray[np.int64],
    settings: SequencingSettings,
    rng: np.random.Generator,
) -> dict[int, list[tuple[int, int, bytes]]]:
    """Edits by read: template position, bases lost, bases won."""
    edits: dict[int, list[tuple[int, int, bytes]]] = {}
    repeats, length = template.repeats, settings.read_length
    # every pair of a read and a repeat that begins in it
    low = np.searchsorted(repeats.start, start)
    each = np.searchsorted(repeats.start, start + length) - low
    row = np.repeat(np.arange(len(start)), each)
    repeat = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each) + np.repeat(low, each)
    whole = repeats.end[repeat] < start[row] + length
    slips = np.flatnonzero(whole & (rng.random(len(row)) < template.slippage[repeat]))
    for i, read in zip(repeat[slips].tolist(), row[slips].tolist(), strict=True):
        at, period = int(repeats.start[i]), int(repeats.period[i])
        units = 2 if rng.random() < settings.stutter.double else 1
        if rng.random() < settings.stutter.loss:
            edit = (at, units * period, b"")
        else:
            edit = (at, 0, template.sequence[at : at + period].tobytes() * units)
        edits.setdefault(read, []).append(edit)
    count = rng.poisson(settings.indel_rate * length * len(start))
    for read in rng.integers(0, len(start), count).tolist() if len(start) else ():
        at = int(start[read]) + int(rng.integers(1, length - 1))
        won = b"" if rng.random() < 0.5 else _ACGT[rng.integers(4)].tobytes()
        edits.setdefault(read, []).append((at, 0 if won else 1, won))
    return edits


def _substitute(
    bases: NDArray[np.uint8],
    scores: NDArray[np.uint8],
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Put substitution errors into `bases` at the rate that `scores` claim."""
    chance = np.minimum(scale * 10 ** (-np.arange(256) / 10), 0.75).astype(np.float32)
    row, column = np.nonzero(rng.random(bases.shape, dtype=np.float32) < chance[scores])
    true = np.searchsorted(_ACGT, bases[row, column])
    drawn = rng.random(len(row))[:, None]
    wrong = (drawn > np.cumsum(_SUBSTITUTION, axis=1)[true]).sum(axis=1)
    bases[row, column] = _ACGT[np.minimum(wrong, 3)]


def _fastq_rows(
    serial: int, bases: NDArray[np.uint8], scores: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """FASTQ records, uint8 [n, bytes of one record]; names of fixed width."""
    count, length = bases.shape
    # eight digits, or more where there are more pairs: a name must not come twice
    size = max(8, len(str(serial + count)))
    digits = (serial + np.arange(count))[:, None] // 10 ** np.arange(size - 1, -1, -1) % 10
    rows = np.empty((count, size + 6 + 2 * length), np.uint8)
    rows[:, 0] = ord("@")
    rows[:, 1 : size + 1] = digits + ord("0")
    rows[:, size + 1] = ord("\n")
    sequence = size + 2
    rows[:, sequence : sequence + length] = bases
    separator = sequence + length
    rows[:, separator : separator + 3] = np.frombuffer(b"\n+\n", np.uint8)
    rows[:, separator + 3 : separator + 3 + length] = scores + 33
    rows[:, -1] = ord("\n")
    return rows
