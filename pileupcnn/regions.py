"""Genomic intervals: parsing, BED files, merging, partitions and blocks.

Inside the package every interval is 0-based and half-open. Text that a user
writes (``chr20:1-1,000``) is 1-based and inclusive, and is converted here.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pileupcnn.errors import InputError, OptionError

PARTITION_SIZE = 1_000
"""Default length in bp of a partition: reads are pooled and counted within one."""

BLOCK_PARTITIONS = 64
"""Partitions in a block, the unit of work of one thread."""

RUN_MAX_GAP = 16 * 1024
"""Largest gap in bp between partitions that one index query still sweeps over.

One 16 kb bin of a BAM index: across a wider gap a new query reads less.
"""


@dataclass(frozen=True, slots=True)
class Region:
    """The interval ``[start, end)`` of a contig, 0-based and half-open."""

    contig: str
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        """The interval as samtools writes it: 1-based and inclusive."""
        return f"{self.contig}:{self.start + 1:,}-{self.end:,}"


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive partitions of the list that a run is made of.

    Attributes
    ----------
    index : int
        Place of the block in the run, from 0.
    partitions : tuple of Region
        At most `BLOCK_PARTITIONS` of them, on whatever contigs they lie.
    """

    index: int
    partitions: tuple[Region, ...]

    @property
    def length(self) -> int:
        """Base pairs covered."""
        return sum(len(partition) for partition in self.partitions)

    def runs(self) -> list[tuple[Region, ...]]:
        """Split into runs: one contig each, no gap wider than `RUN_MAX_GAP`."""
        runs: list[list[Region]] = []
        for partition in self.partitions:
            previous = runs[-1][-1] if runs else None
            if (
                previous is not None
                and previous.contig == partition.contig
                and partition.start - previous.end <= RUN_MAX_GAP
            ):
                runs[-1].append(partition)
            else:
                runs.append([partition])
        return [tuple(run) for run in runs]


class HaploidRegions:
    """Where the sample has one copy: contigs, but for their pseudo-autosomal regions (PAR).

    Parameters
    ----------
    contigs : iterable of str
    par : iterable of Region
        In any order; those on other contigs say nothing.
    """

    def __init__(self, contigs: Iterable[str] = (), par: Iterable[Region] = ()) -> None:
        self.contigs = frozenset(contigs)
        self._par: dict[str, list[Region]] = {}
        for region in par:
            if region.contig in self.contigs:
                self._par.setdefault(region.contig, []).append(region)

    def pseudoautosomal(self, contig: str) -> Sequence[Region]:
        """The diploid regions of a haploid contig."""
        return self._par.get(contig, ())

    def cover(self, contig: str, position: int) -> bool:
        """Whether a 0-based position is haploid."""
        return contig in self.contigs and not any(
            region.start <= position < region.end for region in self.pseudoautosomal(contig)
        )


DIPLOID = HaploidRegions()
"""Two copies everywhere."""

_REGION = re.compile(r"(?P<start>[\d,]+)(?:-(?P<end>[\d,]+))?")


def parse_region(text: str, lengths: Mapping[str, int]) -> Region:
    """Parse ``contig``, ``contig:pos`` or ``contig:start-end`` (1-based, inclusive).

    Parameters
    ----------
    text : str
        The region as samtools takes it; commas in numbers are ignored. As in
        samtools a name that is itself a contig is taken whole, so contig names
        may hold colons.
    lengths : mapping of str to int
        Length in bp of every contig of the reference.

    Raises
    ------
    OptionError
        If the text is no region, or lies outside its contig.
    """
    text = text.strip()
    if text in lengths:
        return Region(text, 0, lengths[text])
    contig, colon, span = text.rpartition(":")
    match = _REGION.fullmatch(span)
    if not colon or contig not in lengths or match is None:
        if os.path.isfile(text):
            raise OptionError(
                f"region '{text}': is a file; a BED file's name ends in .bed or .bed.gz"
            )
        if colon and contig in lengths:
            raise OptionError(
                f"region '{text}': '{span}' is no part of {contig}; write contig:position or "
                "contig:start-end"
            )
        known = ", ".join(list(lengths)[:3])
        raise OptionError(
            f"region '{text}': no contig of that name in both reference and reads "
            f"(they share {known}{', ...' if len(lengths) > 3 else ''}); "
            "write contig, contig:position or contig:start-end"
        )
    start = int(match["start"].replace(",", "") or 0) - 1
    end = int(match["end"].replace(",", "") or 0) if match["end"] else start + 1
    region = Region(contig, start, end)
    if start < 0 or end <= start or end > lengths[contig]:
        raise OptionError(
            f"region '{text}' is not inside {contig}, which has positions 1 to "
            f"{lengths[contig]:,}; give start and end within it, start first"
        )
    return region


def read_bed(path: str | Path, lengths: Mapping[str, int] | None = None) -> list[Region]:
    """Read the intervals of a BED file, plain or gzipped.

    Parameters
    ----------
    path : path
        The file. Header lines (``#``, ``track``, ``browser``) and empty lines
        are skipped.
    lengths : mapping of str to int, optional
        If given, lines on other contigs are dropped and an interval past its
        contig's end is an error.

    Raises
    ------
    InputError
        If the file cannot be read or a line is no interval; names the line.
    """
    regions = []
    try:
        # opened once: a pipe has nothing left for a second time
        with (
            open(path, "rb") as raw,
            gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw as plain,
            io.TextIOWrapper(plain, "utf-8-sig") as lines,
        ):
            for number, line in enumerate(lines, 1):
                first = line.split(maxsplit=1)[:1]
                if not first or line.startswith("#") or first[0] in ("track", "browser"):
                    continue
                region = _bed_line(path, number, line)
                if lengths is not None:
                    if region.contig not in lengths:
                        continue
                    if region.end > lengths[region.contig]:
                        raise InputError(
                            f"{path}, line {number}: {region.contig} ends at "
                            f"{lengths[region.contig]:,}, before the interval's end "
                            f"{region.end:,}; is the BED of another assembly?"
                        )
                if len(region):
                    regions.append(region)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read as BED ({error}); check the path, make or copy it again"
        ) from error
    return regions


def _bed_line(path: str | Path, number: int, line: str) -> Region:
    fields = line.rstrip("\r\n").split("\t")
    try:
        region = Region(fields[0], int(fields[1]), int(fields[2]))
        if not 0 <= region.start <= region.end:
            raise ValueError
    except (IndexError, ValueError):
        raise InputError(
            f"{path}, line {number}: expected contig, start and end (0-based, start <= end) "
            f"separated by tabs, got '{line.strip()[:60]}'; mend or remove the line"
        ) from None
    return region


def is_bed(text: str) -> bool:
    """Whether a ``--regions`` value names a BED file rather than a region."""
    return text.lower().endswith((".bed", ".bed.gz", ".bed.bgz"))


def resolve_regions(specs: Sequence[str], lengths: Mapping[str, int]) -> list[Region]:
    """Turn ``--regions`` values into merged regions in contig order.

    Parameters
    ----------
    specs : sequence of str
        Regions as `parse_region` takes them, or paths of BED files; blanks
        separate several in one value. Empty means all contigs, whole.
    lengths : mapping of str to int
        Contigs to call, in output order.

    Raises
    ------
    OptionError
        If a region cannot be parsed, or nothing is left.
    InputError
        If a BED file cannot be read.
    """
    if not specs:
        return [Region(contig, 0, length) for contig, length in lengths.items() if length]
    regions: list[Region] = []
    # blanks part regions, unless they belong to the name of a file
    split = ([spec] if os.path.isfile(spec) else spec.split() for spec in specs)
    for text in (part for parts in split for part in parts):
        if is_bed(text):
            regions.extend(read_bed(text, lengths))
        else:
            regions.append(parse_region(text, lengths))
    if not regions:
        raise OptionError(
            f"--regions {' '.join(specs)}: no interval, or none on a contig that reference and "
            "reads share; compare the contig names"
        )
    return merge(regions, list(lengths))


def merge(regions: Iterable[Region], order: Sequence[str]) -> list[Region]:
    """Merge overlapping and touching regions; sort by contig order, then start."""
    rank = {contig: i for i, contig in enumerate(order)}
    merged: list[Region] = []
    for region in sorted(regions, key=lambda r: (rank[r.contig], r.start, r.end)):
        last = merged[-1] if merged else None
        if last is not None and last.contig == region.contig and region.start <= last.end:
            merged[-1] = Region(last.contig, last.start, max(last.end, region.end))
        else:
            merged.append(region)
    return merged


def partitions(regions: Iterable[Region], size: int = PARTITION_SIZE) -> Iterator[Region]:
    """Cut each region into pieces of `size` bp, the grid anchored at its start."""
    for region in regions:
        for start in range(region.start, region.end, size):
            yield Region(region.contig, start, min(region.end, start + size))


def blocks(regions: Iterable[Region], size: int = PARTITION_SIZE) -> Iterator[Block]:
    """Group the partitions of `regions` into blocks of `BLOCK_PARTITIONS`."""
    pending: list[Region] = []
    index = 0
    for partition in partitions(regions, size):
        pending.append(partition)
        if len(pending) == BLOCK_PARTITIONS:
            yield Block(index, tuple(pending))
            index += 1
            pending = []
    if pending:
        yield Block(index, tuple(pending))
