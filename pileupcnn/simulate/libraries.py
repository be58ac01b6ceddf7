"""A library: what settings and a profile together say of reads, the open ones filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import OptionError
from pileupcnn.simulate.errors import (
    PCR,
    PCR_FREE,
    ErrorTables,
    plain_tables,
    profile_tables,
    unevenness,
)
from pileupcnn.simulate.profile import GC_BINS, Profile

READ_LENGTH, INSERT_MEAN, INSERT_SD = 150, 450.0, 100.0
"""bp, where neither options nor a profile say."""

FOREIGN_END = 20
"""Bases from which on a clipped end counts as foreign; shorter ones are errors."""

SHORTEST_FRAGMENT = 40
"""bp; a profile's shorter ones are odd alignments rather than fragments."""

_WAVE = 0.1  # relative amplitude of the coverage wave without a profile
_FEW_WINDOWS = 20  # of a GC content: the coverage of which leans on the mean


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
