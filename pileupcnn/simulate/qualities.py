"""Base qualities of simulated reads that follow no profile: a real BAM's, or plain ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OptionError
from pileupcnn.regions import parse_region

SAMPLED_READS = 20_000
"""Quality strings taken from a BAM for each read number."""

# The eight levels that a HiSeq X writes.
_LEVELS = np.array([2, 7, 11, 22, 27, 32, 37, 41], np.float32)


class QualitySource(Protocol):
    """Anything that draws quality strings."""

    def draw(
        self, number: int, count: int, length: int, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Phred scores in the order of sequencing, uint8 [count, length].

        ``number`` is 1 or 2, the read of the pair.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlainQualities:
    """Qualities like a HiSeq X's: high, falling with the cycle, read 2 worse.

    A read's level wanders around the mean of its cycle as an autoregressive
    process; some reads are bad from the start, others lose their tail.

    Attributes
    ----------
    bad_reads, lost_tails : two floats
        Shares for the first and the second read.
    """

    bad_reads: tuple[float, float] = (0.015, 0.03)
    lost_tails: tuple[float, float] = (0.04, 0.08)

    def draw(
        self, number: int, count: int, length: int, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """See `QualitySource.draw`."""
        cycle = np.linspace(0, 1, length, dtype=np.float32)
        mean = 40.5 - (2.0 if number == 1 else 3.5) * cycle**2
        mean[:3] -= 4
        noise = rng.standard_normal((length, count), dtype=np.float32)
        for i in range(1, length):
            noise[i] += 0.5 * noise[i - 1]
        # skewed: a base is rarely better than its neighbours, sometimes far worse
        spread = 2.0 + 2.5 * cycle
        level = mean[:, None] - spread[:, None] * np.square(np.minimum(noise, 0))
        level[:, rng.random(count) < self.bad_reads[number - 1]] -= 14
        begins = np.where(
            rng.random(count) < self.lost_tails[number - 1],
            (length * rng.beta(4, 1.5, count)).astype(np.int64),
            length,
        )
        level[np.arange(length)[:, None] >= begins] -= 22
        nearest = np.searchsorted((_LEVELS[1:] + _LEVELS[:-1]) / 2, level.T)
        return _LEVELS.astype(np.uint8)[nearest]


class SampledQualities:
    """Whole quality strings of real reads.

    Parameters
    ----------
    strings : two uint8 arrays [reads, cycles]
        Of first and second reads, in the order of sequencing.
    """

    def __init__(self, strings: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
        self.strings = strings

    def draw(
        self, number: int, count: int, length: int, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """See `QualitySource.draw`."""
        strings = self.strings[number - 1]
        return strings[rng.integers(len(strings), size=count), :length]


def sample_qualities(source: str, read_length: int, reference: Path) -> SampledQualities:
    """Take quality strings from the primary reads of a BAM or CRAM file.

    Parameters
    ----------
    source : str
        Path, or ``path:region`` with the region as samtools takes it; an index
        is needed for a region only.
    read_length : int
        Shorter reads are passed over, longer ones cut.
    reference : Path
        Used to decode a CRAM.

    Raises
    ------
    OptionError
        If `source` names no BAM or CRAM, or a region outside it.
    InputError
        If it cannot be read or holds too few reads that are long enough.
    """
    path, region = _path_and_region(source)
    found: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = ([], [])
    try:
        with pysam.AlignmentFile(path, reference_filename=str(reference)) as reads:
            if region is None:
                chosen = reads.fetch(until_eof=True)
            else:
                lengths = dict(zip(reads.references, reads.lengths, strict=True))
                at = parse_region(region, lengths)
                chosen = reads.fetch(at.contig, at.start, at.end)
            for read in chosen:
                _keep(read, read_length, found)
                if min(map(len, found)) == SAMPLED_READS:
                    break
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: qualities cannot be read ({error}); check --qualities-from and its index"
        ) from error
    if min(map(len, found)) < 100:
        raise InputError(
            f"{source}: holds {len(found[0])} first and {len(found[1])} second reads of "
            f"{read_length} bp or more, 100 are needed; use a smaller --read-length"
        )
    return SampledQualities((np.stack(found[0]), np.stack(found[1])))


def _path_and_region(source: str) -> tuple[str, str | None]:
    match = re.fullmatch(r"(.*?\.(?:bam|cram))(?::(.+))?", source)
    if match is None:
        raise OptionError(
            f"--qualities-from '{source}' is not a .bam or .cram file, optionally with :region"
        )
    return match[1], match[2]


def source_identity(source: str) -> str:
    """What `sample_qualities` takes, whatever its folder: name, size in bytes, region.

    The size stands for the content, as a genome's reads take long to digest.

    Raises
    ------
    OptionError
        If `source` names no BAM or CRAM.
    InputError
        If there is none.
    """
    path, region = _path_and_region(source)
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check --qualities-from"
        ) from error
    return f"{Path(path).name} {size} {region or ''}".rstrip()


def _keep(
    read: pysam.AlignedSegment,
    read_length: int,
    found: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]],
) -> None:
    strings = found[1 if read.is_read2 else 0]
    if (
        read.is_secondary
        or read.is_supplementary
        or read.is_duplicate
        or read.is_qcfail
        or read.query_length < read_length
        or len(strings) == SAMPLED_READS
    ):
        return
    qualities = read.query_qualities
    if qualities is None:
        return
    string = np.asarray(qualities, np.uint8)
    strings.append((string[::-1] if read.is_reverse else string)[:read_length])
