"""Learning a profile from aligned reads and their reference, without a truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.errors import InputError
from pileupcnn.kernels.profile import CYCLE_BIN, CYCLE_BINS, QUALITIES, ReadProfiler
from pileupcnn.kernels.repeats import MAX_UNITS, repeat_changes
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.reference import Reference, ReferenceWindow, common_contigs
from pileupcnn.regions import BLOCK_PARTITIONS, Region, partitions, resolve_regions
from pileupcnn.repeats import CROSSING_FLANK, LEAST_RUN, Repeats, after_runs, find_repeats
from pileupcnn.simulate.profile import (
    CHANGES,
    GC_BINS,
    MAX_INSERT,
    MAX_LENGTH,
    READS,
    UNITS,
    Profile,
)

MIN_MAPPING_QUALITY = 20
"""Reads below do not count for errors: they may belong elsewhere."""

MIN_BASE_QUALITY = 10
"""Bases below do not count for variants."""

_STRETCH = 1_000 * BLOCK_PARTITIONS  # bp looked at together: what memory holds
_MOST_READS = 10_000  # a partition's; more are sampled
_MARGIN = 64  # bp of reference beside the reads
_ERROR = 0.02  # rate of errors above which a site is tested for being a variant
_NEAR = 15  # bp around an indel in which its reads may be misaligned
_WINDOW = 100  # bp of a window of depth
_GC_SPAN = 400  # bp in which its GC content is taken
_ACGT = np.frombuffer(b"ACGT", np.uint8)


def learn_profile(
    reads: Sequence[str | Path],
    reference: str | Path,
    regions: Sequence[str] = (),
    *,
    name: str = "profile",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Count what reads look like, in one pass and constant memory.

    Sites that look like variants are left out, so that what differs from the
    reference is an error: SNPs and indels by share and a binomial test; a
    repeat unless nearly all reads agree on a length, changes then counting
    from that.

    Parameters
    ----------
    reads : sequence of path
        Indexed BAM or CRAM files of one sample, aligned to `reference`.
    reference : path
        Indexed FASTA.
    regions : sequence of str
        As `pileupcnn.regions.resolve_regions` takes them; empty for all.
    name : str
        Of the profile.
    progress : function of two ints
        Told base pairs done and in all.

    Raises
    ------
    InputError
        If a file cannot be used, or the regions hold no pairs of reads.
    """
    settings = ReadSettings(
        min_mapping_quality=0,
        keep_duplicates=True,
        keep_supplementary=True,
        max_reads_per_partition=_MOST_READS,
    )
    with Reference(reference) as fasta, Scanner(reads, reference, settings) as scanner:
        contigs = common_contigs(fasta.lengths, scanner.lengths, reads[0])
        wanted = resolve_regions(regions, contigs)
        total, done = sum(map(len, wanted)), 0
        tally = _Tally()
        for stretch in _stretches(wanted):
            batch = scanner.scan(tuple(partitions([stretch])))
            if len(batch):
                first = min(stretch.start, int(batch.start.min())) - _MARGIN
                last = max(stretch.end, int(batch.end.max())) + _MARGIN
                tally.add(batch, stretch, fasta.window(stretch.contig, first, last))
            done += len(stretch)
            progress(done, total)
        elsewhere = scanner.skipped["mate on another contig"]
    profile = tally.profile(name, elsewhere)
    if not (profile.first.any(axis=(1, 2, 3)).all() and profile.inserts.any()):
        raise InputError(
            f"{reads[0]}: no properly paired reads with MAPQ {MIN_MAPPING_QUALITY} or more in the "
            "regions; give others with --regions"
        )
    return profile


def _stretches(regions: Sequence[Region]) -> Iterator[Region]:
    for region in regions:
        for start in range(region.start, region.end, _STRETCH):
            yield Region(region.contig, start, min(start + _STRETCH, region.end))


class _Tally:
    """The sums of a profile in the making."""

    def __init__(self) -> None:
        self.profiler = ReadProfiler()
        self.stutter = np.zeros((4, UNITS, CHANGES), np.uint64)
        self.repeats = np.zeros((4, UNITS, 2), np.uint64)
        self.inserts = np.zeros(MAX_INSERT + 1, np.uint64)
        self.lengths = np.zeros((2, MAX_LENGTH + 1), np.uint64)
        self.clips = np.zeros((2, MAX_LENGTH + 1), np.uint64)
        self.mapping_quality = np.zeros(256, np.uint64)
        self.depth = np.zeros((GC_BINS, 3), np.uint64)
        self.hot = np.zeros(11, np.uint64)
        self.balance = np.zeros(3, np.uint64)
        self.reads = np.zeros(len(READS), np.uint64)

    def add(self, batch: ReadBatch, stretch: Region, window: ReferenceWindow) -> None:
        """Count a stretch's reads; `window` lies under all of them."""
        primary = (batch.flag & (pysam.FSUPPLEMENTARY | pysam.FSECONDARY)) == 0
        fresh = primary & ((batch.flag & pysam.FDUP) == 0)
        used = fresh & (batch.mapping_quality >= MIN_MAPPING_QUALITY)
        begins = (batch.start >= stretch.start) & (batch.start < stretch.end)
        self._count_reads(batch, begins & primary, begins & fresh, begins & ~primary)
        self._count_depth(batch, used, stretch, window)
        self.profiler.take(
            batch,
            used.astype(np.uint8),
            begins.astype(np.uint8),
            window.bases,
            window.start,
            stretch.start,
            stretch.end,
        )
        inner = slice(stretch.start - window.start, stretch.end - window.start)
        masked = self._variants(self.profiler.pile(MIN_BASE_QUALITY), window.bases[inner])
        repeat = np.zeros(len(stretch), bool)
        self._count_repeats(
            batch, used, find_repeats(window.bases), stretch, window.start, masked, repeat
        )
        state, distance = after_runs(window.bases)
        self.profiler.count(
            masked.astype(np.uint8), repeat.astype(np.uint8), state, distance, LEAST_RUN
        )

    def _count_reads(
        self,
        batch: ReadBatch,
        primary: NDArray[np.bool_],
        fresh: NDArray[np.bool_],
        other: NDArray[np.bool_],
    ) -> None:
        """Lengths, fragments, MAPQ, clips, duplicates and odd pairs of reads that begin here."""
        flag, fragment = batch.flag, batch.fragment_length
        length = np.minimum(np.diff(batch.base_offset), MAX_LENGTH)
        proper = fresh & ((flag & pysam.FPROPER_PAIR) != 0)
        left = proper & (fragment > 0) & (fragment <= MAX_INSERT) & ((flag & pysam.FREVERSE) == 0)
        self.inserts += _histogram(fragment[left], MAX_INSERT + 1)
        self.mapping_quality += _histogram(batch.mapping_quality[fresh], 256)
        first, last = batch.cigar[batch.cigar_offset[:-1]], batch.cigar[batch.cigar_offset[1:] - 1]
        clips = [
            np.where(op & 15 == pysam.CSOFT_CLIP, np.minimum(op >> 4, MAX_LENGTH), 0)
            for op in (first, last)
        ]
        reverse = (flag & pysam.FREVERSE) != 0
        for number in (0, 1):
            self.lengths[number] += _histogram(
                length[fresh & (batch.read_number == number)], MAX_LENGTH + 1
            )
            clip = np.where(reverse, clips[1 - number], clips[number])
            self.clips[number] += _histogram(clip[fresh], MAX_LENGTH + 1)
        places = np.stack((batch.start[left], fragment[left], batch.read_number[left]))
        paired = fresh & ((flag & pysam.FPAIRED) != 0) & ((flag & pysam.FMUNMAP) == 0)
        self.reads += np.array(
            [
                primary.sum(),
                (primary & ~fresh).sum(),
                # both reads of a pair are duplicates, `left` are their left ones only
                2 * (places.shape[1] - np.unique(places, axis=1).shape[1]),
                other.sum(),
                0,
                (paired & ~proper).sum(),
            ],
            np.uint64,
        )

    def _count_depth(
        self,
        batch: ReadBatch,
        used: NDArray[np.bool_],
        stretch: Region,
        window: ReferenceWindow,
    ) -> None:
        windows = len(stretch) // _WINDOW
        if not windows:
            return
        size = windows * _WINDOW
        change = np.zeros(size + 1, np.int64)
        np.add.at(change, np.clip(batch.start[used] - stretch.start, 0, size), 1)
        np.add.at(change, np.clip(batch.end[used] - stretch.start, 0, size), -1)
        depth = np.cumsum(change[:-1]).reshape(windows, _WINDOW).sum(axis=1) * 100 // _WINDOW
        offset, bases = stretch.start - window.start, window.bases
        middle = offset + _WINDOW * np.arange(windows) + _WINDOW // 2
        low = np.maximum(middle - _GC_SPAN // 2, 0)
        high = np.minimum(middle + _GC_SPAN // 2, len(bases))
        strong = np.concatenate(([0], np.cumsum((bases == ord("G")) | (bases == ord("C")))))
        known = np.concatenate(([0], np.cumsum(np.isin(bases, _ACGT))))
        whole = known[high] - known[low] == high - low
        content = (strong[high] - strong[low]) / (high - low)
        place = np.rint(content * (GC_BINS - 1)).astype(np.int64)[whole]
        for column, value in enumerate((np.ones_like(depth), depth, depth**2)):
            total = np.zeros(GC_BINS, np.int64)
            np.add.at(total, place, value[whole])
            self.depth[:, column] += total.astype(np.uint64)

    def _variants(self, pile: NDArray[np.uint32], bases: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which sites look like variants, or like a systematic error; counts the latter."""
        counts = pile[:, :, :4].astype(np.int64)
        code = np.searchsorted(_ACGT, bases).clip(0, 3)
        by_strand = counts.sum(axis=2)
        wrong = counts.copy()
        np.put_along_axis(wrong, code[:, None, None], 0, axis=2)
        allele = wrong.sum(axis=1).argmax(axis=1)
        alt = np.take_along_axis(wrong, allele[:, None, None], axis=2)[:, :, 0]
        total, shown = by_strand.sum(axis=1), alt.sum(axis=1)
        masked = _improbable(shown, total) & (shown > 0.12 * total)
        masked |= (shown >= 2) & (shown >= 0.3 * total)
        snp = masked.copy()
        known = np.isin(bases, _ACGT)
        for strand in (0, 1):
            mine, its = alt[:, strand], by_strand[:, strand]
            theirs, others = alt[:, 1 - strand], by_strand[:, 1 - strand]
            looked = (its >= 8) & (others >= 8) & known
            # the other strand would show a variant with all but one chance in 256
            hot = looked & (theirs <= 0.03 * others) & _improbable(mine, its) & (mine > 0.15 * its)
            tenth = (mine[hot] * 10 // its[hot]).clip(0, 9)
            self.hot[:10] += _histogram(tenth, 10)
            self.hot[10] += np.uint64(looked.sum())
            snp &= ~hot
            masked |= hot
        self._count_balance(shown[snp], total[snp])
        for kind in (4, 5):
            indel = pile[:, :, kind].sum(axis=1).astype(np.int64)
            for at in np.flatnonzero((indel >= 2) & (indel >= 0.2 * total)).tolist():
                masked[max(0, at - _NEAR) : at + _NEAR] = True
        return masked | ~known

    def _count_balance(self, alt: NDArray[np.int64], total: NDArray[np.int64]) -> None:
        """Spread of allele balance at what looks like heterozygous SNPs."""
        het = (total >= 12) & (alt >= 0.2 * total) & (alt <= 0.8 * total)
        alt, total = alt[het], total[het]
        deviation = (alt - total / 2) ** 2 / (total / 4)
        self.balance += np.array(
            [len(alt), (total - 1).sum(), np.rint(1000 * deviation.sum())], np.uint64
        )

    def _count_repeats(
        self,
        batch: ReadBatch,
        used: NDArray[np.bool_],
        repeats: Repeats,
        stretch: Region,
        offset: int,
        masked: NDArray[np.bool_],
        repeat: NDArray[np.bool_],
    ) -> None:
        """Changes by repeat; marks all repeats, and masks those that look like variants."""
        start, end = repeats.start + offset, repeats.end + offset
        for low, high in zip(
            np.clip(start - stretch.start - 1, 0, len(stretch)).tolist(),
            np.clip(end - stretch.start + 1, 0, len(stretch)).tolist(),
            strict=True,
        ):
            repeat[low:high] = True
        mine = (start >= stretch.start) & (start < stretch.end)
        start, end, period = start[mine], end[mine], repeats.period[mine]
        counts = repeat_changes(
            batch, used.astype(np.uint8), start, end, period, CROSSING_FLANK
        ).astype(np.int64)
        total = counts.sum(axis=1)
        ranked = np.sort(counts, axis=1)
        mode = counts.argmax(axis=1)
        # two alleles, or too few reads to say; a homozygous change is still a repeat
        agree = (ranked[:, -1] >= 0.55 * total) & (ranked[:, -2] <= 0.25 * total)
        agree &= (total >= 8) & (mode < CHANGES)
        variant = (total >= 4) & (~agree | (mode != MAX_UNITS))
        for at, to in zip(start[variant].tolist(), end[variant].tolist(), strict=True):
            masked[max(0, at - stretch.start - _NEAR) : to - stretch.start + _NEAR] = True
        units = np.minimum((end - start) // period + mode - MAX_UNITS, UNITS - 1)
        np.add.at(self.repeats, (period - 1, np.maximum(units, 0), np.where(agree, 0, 1)), 1)
        agree &= units >= 2
        for row in np.flatnonzero(agree).tolist():
            shift = int(mode[row]) - MAX_UNITS
            for change in range(-MAX_UNITS, MAX_UNITS + 1):
                column = change + shift + MAX_UNITS
                if 0 <= column < CHANGES:
                    self.stutter[period[row] - 1, units[row], change + MAX_UNITS] += np.uint64(
                        counts[row, column]
                    )

    def profile(self, name: str, elsewhere: int) -> Profile:
        """All of it, qualities and cycles that do not occur left out."""
        counts = self.profiler.counts
        self.reads[READS.index("elsewhere")] = np.uint64(elsewhere)
        present = np.flatnonzero(
            counts["first"].any(axis=(0, 1, 2))
            | counts["bases"].any(axis=(0, 1))
            | counts["next"].any(axis=(0, 1, 2, 3))
        )
        if not len(present):
            present = np.array([QUALITIES - 1])
        longest = int(np.flatnonzero(self.lengths.any(axis=0)).max(initial=1))
        bins = min(-(-longest // CYCLE_BIN), CYCLE_BINS)
        rows, columns = np.ix_(present, present)
        return Profile(
            name=name,
            qualities=present.astype(np.uint64),
            first=counts["first"][..., present],
            next=counts["next"][:, :, :bins][..., rows, columns],
            next_after_run=counts["next_after_run"][..., rows, columns],
            bases=counts["bases"][:, :bins, present],
            mismatches=counts["mismatches"][:, :bins, present],
            bases_after_run=counts["bases_after_run"][:, present],
            mismatches_after_run=counts["mismatches_after_run"][:, present],
            context=counts["context"],
            indels=counts["indels"],
            plain_bases=counts["plain_bases"],
            stutter=self.stutter,
            repeats=self.repeats,
            inserts=self.inserts,
            lengths=self.lengths,
            clips=self.clips,
            mapping_quality=self.mapping_quality,
            depth=self.depth,
            hot=self.hot,
            balance=self.balance,
            reads=self.reads,
        )


def _histogram(values: NDArray[np.integer], size: int) -> NDArray[np.uint64]:
    return np.bincount(values.astype(np.int64), minlength=size).astype(np.uint64)


def _improbable(shown: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether so many of `total` reads would be wrong in less than one of 10,000 sites."""
    least = _LEAST[np.minimum(total, len(_LEAST) - 1)]
    return shown >= np.where(total < len(_LEAST), least, total)


def _least_improbable(most: int) -> NDArray[np.int64]:
    """Smallest improbable count by number of reads, int64 [most + 1]."""
    least = [1]
    for total in range(1, most + 1):
        chance, tail, count = (1 - _ERROR) ** total, 1.0, 0
        while tail >= 1e-4:
            tail -= chance
            count += 1
            chance *= (total - count + 1) / count * _ERROR / (1 - _ERROR)
        least.append(count)
    return np.array(least, np.int64)


_LEAST = _least_improbable(2_000)
