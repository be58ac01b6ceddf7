"""Which truth variants and which calls give the same haplotypes.

Both sides are looked at in groups of near variants. In each group the largest
subsets of both sides are sought that can be phased so that they spell the same
two sequences; what is in them is right, what is left out is missed or false.
This is what `rtg vcfeval` looks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError
from pileupcnn.evaluate.contexts import Context, contexts
from pileupcnn.evaluate.primitives import Primitive
from pileupcnn.genotypes import Genotype
from pileupcnn.haplotypes import Groups, VariantTable, match_haplotypes
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reference import Reference

MAX_SEPARATION = 50
"""bp between variants that are looked at together; counted between their reaches."""

MAX_SHIFT = 1000
"""bp that an indel may be moved in a repeat."""

MAX_LOG2_HAPLOTYPES = 8.0
"""Logarithm of the haplotypes that one side of a group may have, or it is split."""

CHUNK_VARIANTS, CHUNK_LENGTH = 4096, 1_000_000
"""Variants, and bp, that are worked on at once."""

MAX_CHUNKS = 16
"""As many chunks are read for the sake of one group, before it is cut."""

Side = Literal["truth", "calls"]
Verdict = Literal["TP", "FN", "FP", "."]
"""``.`` is not counted: outside the confident regions."""

Mismatch = Literal["", "gt", "al"]
Scores = tuple[float | None, float | None]


@dataclass(slots=True, eq=False)
class Judged:
    """A variant of the truth or of the calls, and what became of it.

    Attributes
    ----------
    contig : str
    side : {"truth", "calls"}
    primitive : Primitive
    left, right : int
        How far the variant reaches wherever it may be written in a repeat.
    normal : frozenset of (int, int, str)
        Each called ALT, as far left as it can be written: start, bases taken
        out, bases put in.
    inside : bool
        Whether it overlaps the confident regions.
    verdict : {"TP", "FN", "FP", "."}
    scores : tuple of float or None
        QUAL and GQ; of truth variants that were found the lowest among the
        calls that they were matched with.
    mismatch : {"", "gt", "al"}
        What is wrong with an FP: a missed truth variant has the same ALT
        (``gt``), or another one at the place (``al``).
    context : {"homopolymer", "STR", "other"}
        What the reference is there; of truth variants, if they count.
    """

    contig: str
    side: Side
    primitive: Primitive
    left: int
    right: int
    normal: frozenset[tuple[int, int, str]]
    inside: bool
    verdict: Verdict = "."
    scores: Scores = (None, None)
    mismatch: Mismatch = ""
    context: Context = "other"

    @property
    def key(self) -> tuple[int, int, tuple[str, ...], Genotype]:
        """What two identical variants share."""
        own = self.primitive
        return own.start, own.end, own.alleles, own.genotype


def judge_contig(
    contig: str,
    truth: Iterator[Primitive],
    calls: Iterator[Primitive],
    reference: Reference,
    confident: ConfidentRegions | None,
) -> Iterator[list[Judged]]:
    """Judge the variants of a contig.

    Parameters
    ----------
    contig : str
    truth, calls : iterator of Primitive
        By start, as `VariantStream.of` gives them.
    reference : Reference
    confident : ConfidentRegions or None
        Where variants count; None for everywhere.

    Yields
    ------
    list of Judged
        From left to right, some thousands at a time.

    Raises
    ------
    InputError
        If a variant's REF is not what the reference has.
    """
    inside = _Inside(contig, confident)
    merged = _merge(truth, calls)
    pending: list[tuple[Side, Primitive]] = []
    upcoming = next(merged, None)
    while upcoming is not None or pending:
        before = len(pending)
        while upcoming is not None and len(pending) < before + CHUNK_VARIANTS:
            if pending and upcoming[1].start > pending[0][1].start + CHUNK_LENGTH:
                break
            pending.append(upcoming)
            upcoming = next(merged, None)
        chunk = _Chunk(contig, pending, reference, inside)
        rest: list[Judged] = []
        if upcoming is not None:
            full = len(pending) == before or len(pending) > MAX_CHUNKS * CHUNK_VARIANTS
            rest = chunk.split(upcoming[1].start, cut=full)
        pending = [(variant.side, variant.primitive) for variant in rest]
        pending.sort(key=lambda row: (row[1].start, row[1].end))
        yield chunk.judge()


def _merge(
    truth: Iterator[Primitive], calls: Iterator[Primitive]
) -> Iterator[tuple[Side, Primitive]]:
    """Both sides by start, then end."""
    ours, theirs = next(truth, None), next(calls, None)
    while ours is not None or theirs is not None:
        if theirs is None or (
            ours is not None and (ours.start, ours.end) <= (theirs.start, theirs.end)
        ):
            assert ours is not None
            yield "truth", ours
            ours = next(truth, None)
        else:
            yield "calls", theirs
            theirs = next(calls, None)


class _Inside:
    """Which variants of a contig overlap the confident regions."""

    def __init__(self, contig: str, confident: ConfidentRegions | None) -> None:
        self._bounds: NDArray[np.int64] | None = None
        if confident is not None:
            own = [(r.start, r.end) for r in confident.regions if r.contig == contig]
            self._bounds = np.array(own, np.int64).reshape(-1, 2)

    def overlap(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether ``[start, end)`` overlaps; for an insertion, whether both its neighbours lie in.

        `rtg vcfeval`'s rule.
        """
        if self._bounds is None:
            return np.ones(len(starts), bool)
        if not len(self._bounds):
            return np.zeros(len(starts), bool)
        at = np.searchsorted(self._bounds[:, 0], ends, side="left") - 1
        return (at >= 0) & (self._bounds[at, 1] > starts)


class _Chunk:
    """Variants that are worked on at once."""

    def __init__(
        self,
        contig: str,
        rows: Sequence[tuple[Side, Primitive]],
        reference: Reference,
        inside: _Inside,
    ) -> None:
        self._contig, self._reference = contig, reference
        length = reference.lengths[contig]
        start = min(row.position for _, row in rows)
        end = max(row.position + len(row.ref) for _, row in rows)
        self._start = max(start - MAX_SHIFT - 1, 0)
        self._bases = reference.fetch(
            contig, self._start, min(end + MAX_SHIFT + 1, length)
        ).decode()
        starts = np.array([row.start for _, row in rows], np.int64)
        ends = np.array([row.end for _, row in rows], np.int64)
        inside_list = inside.overlap(starts, ends).tolist()
        variants: list[Judged] = []
        for (side, row), known in zip(rows, inside_list, strict=True):
            if self._fits(row):
                variant = Judged(contig, side, row, *self._reach(row), known)
                if side == "calls":
                    variant.scores = (row.quality, row.genotype_quality)
                variants.append(variant)
            elif known:
                raise InputError(
                    f"{contig}:{row.position + 1:,} {row.ref}>{','.join(row.alts)} of the {side}: "
                    f"the reference has {self._slice(row.position, len(row.ref))} "
                    "there; give the reference that the variants were called on as --ref"
                )
        variants.sort(key=lambda v: (v.left, v.right, v.key))
        self._groups = _by_nearness(variants)

    def _slice(self, position: int, length: int) -> str:
        return self._bases[position - self._start : position - self._start + length]

    def _fits(self, row: Primitive) -> bool:
        """Whether REF is what the reference has, where that is known."""
        own = self._slice(row.position, len(row.ref))
        if own == row.ref:
            return True
        return len(own) == len(row.ref) and all(
            a == b or a not in "ACGT" or b not in "ACGT" for a, b in zip(own, row.ref, strict=True)
        )

    def _reach(self, row: Primitive) -> tuple[int, int, frozenset[tuple[int, int, str]]]:
        ref = row.alleles[0]
        if len(ref) == 1 and len(row.alleles) == 2 and len(row.alleles[1]) == 1:
            return row.start, row.end, frozenset(((row.start, 1, row.alleles[1]),))
        left, right = row.start, row.end
        normal = []
        for alt in row.alleles[1:]:
            start, taken, put = _trimmed(row.start, ref, alt)
            moved = 0
            if not taken or not put:
                moved, further = self._shifts(start, taken, put)
                left = min(left, start - moved)
                right = max(right, start + len(taken) + further)
            text = put[-moved % len(put) :] + put[: -moved % len(put)] if put and moved else put
            normal.append((start - moved, len(taken), text))
        return left, right, frozenset(normal)

    def _shifts(self, start: int, taken: str, put: str) -> tuple[int, int]:
        """bp that an insertion or a deletion can be moved to the left, and to the right."""
        bases, unit = self._bases, taken or put
        n, at = len(unit), start - self._start
        left = 0
        most = min(MAX_SHIFT, at)
        while left < most and bases[at - 1 - left] == unit[-1 - left % n] != "N":
            left += 1
        after = at + len(taken)
        right = 0
        most = min(MAX_SHIFT, len(bases) - after)
        while right < most and bases[after + right] == unit[right % n] != "N":
            right += 1
        return left, right

    def split(self, horizon: int, *, cut: bool) -> list[Judged]:
        """Take off the last groups, to which variants from `horizon` on may belong.

        If these are all groups, nothing is left to judge, and more has to be
        read; unless with `cut` they are judged as they are.
        """
        kept = len(self._groups)
        while kept and (
            max(v.right for v in self._groups[kept - 1]) + MAX_SEPARATION + MAX_SHIFT >= horizon
        ):
            kept -= 1
        if not kept and cut:
            return []
        rest = [variant for group in self._groups[kept:] for variant in group]
        del self._groups[kept:]
        return rest

    def judge(self) -> list[Judged]:
        """Judge all groups; their variants."""
        entangled: list[list[Judged]] = []
        for group in self._groups:
            rest = _identical(group)
            if len({variant.side for variant in rest}) == 2:
                entangled.append(rest)
        self._match(entangled)
        variants = []
        for group in self._groups:
            _explain(group)
            variants += group
        counted = [v for v in variants if v.verdict != "." or v.side == "calls"]
        reaches = [(variant.left, variant.right) for variant in counted]
        for variant, context in zip(
            counted, contexts(self._bases, self._start, reaches), strict=True
        ):
            variant.context = context
        return variants

    def _match(self, groups: list[list[Judged]]) -> None:
        """Match groups of both sides; those that are too complex in parts."""
        waiting = groups
        while waiting:
            ready = [part for group in waiting for part in _simple_enough(group)]
            ready = [part for part in ready if len({variant.side for variant in part}) == 2]
            if not ready:
                return
            first, calls, call_offset = _table(ready, "calls")
            second, truth, truth_offset = _table(ready, "truth")
            matches = match_haplotypes(
                first,
                second,
                Groups(call_offset, truth_offset),
                self._contig,
                self._reference,
                like_deepvariant=False,
            )
            call_found = np.asarray((matches.first > 0).any(axis=1))
            truth_found = np.asarray((matches.second > 0).any(axis=1))
            waiting = []
            for k, part in enumerate(ready):
                if not matches.done[k]:
                    waiting += _halves(part)
                    continue
                ours = _chosen(calls, call_found, call_offset, k)
                theirs = _chosen(truth, truth_found, truth_offset, k)
                if ours and theirs:
                    _found([*theirs, *ours])


def _chosen(
    variants: Sequence[Judged],
    found: NDArray[np.bool_],
    offset: NDArray[np.int64],
    group: int,
) -> list[Judged]:
    """A group's variants that were matched."""
    return [variants[i] for i in range(offset[group], offset[group + 1]) if found[i]]


def _by_nearness(variants: list[Judged]) -> list[list[Judged]]:
    """Groups of variants, sorted by `left`, that are not parted by more than `MAX_SEPARATION`."""
    groups: list[list[Judged]] = []
    reached = 0
    for variant in variants:
        if groups and variant.left - reached <= MAX_SEPARATION:
            groups[-1].append(variant)
            reached = max(reached, variant.right)
        else:
            groups.append([variant])
            reached = variant.right
    return groups


def _identical(group: list[Judged]) -> list[Judged]:
    """Match identical variants that nothing else touches; the others, judged as unmatched."""
    rest = []
    reached = -1  # how far the variants before reach
    i = 0
    while i < len(group):
        one = group[i]
        other = group[i + 1] if i + 1 < len(group) else None
        following = group[i + 2] if i + 2 < len(group) else None
        if (
            other is not None
            and one.side != other.side
            and one.key == other.key
            and reached < one.left
            and (following is None or following.left > one.right)
        ):
            _found([one, other])
            i += 2
        else:
            _unmatched(one)
            rest.append(one)
            i += 1
        reached = max(reached, one.right)
    return rest


def _unmatched(variant: Judged) -> None:
    if variant.inside:
        variant.verdict = "FN" if variant.side == "truth" else "FP"


def _found(matched: Sequence[Judged]) -> None:
    """Judge variants of both sides that give the same haplotypes.

    Calls share the truth variants that count; where there are none they do not
    count either.
    """
    truth = [variant for variant in matched if variant.side == "truth"]
    counted = [variant for variant in truth if variant.inside]
    calls = [variant for variant in matched if variant.side == "calls"]
    for variant in truth:
        variant.verdict = "."
    lowest = _lowest([variant.scores for variant in calls])
    for variant in counted:
        variant.verdict, variant.scores = "TP", lowest
    for variant in calls:
        variant.verdict = "TP" if counted else "."


def _lowest(scores: Sequence[Scores]) -> Scores:
    """The lowest of each score; None if one lacks it."""
    columns = [
        [value for value in column if value is not None] for column in zip(*scores, strict=True)
    ]
    first, second = (min(own) if len(own) == len(scores) else None for own in columns)
    return first, second


def _simple_enough(group: list[Judged]) -> list[list[Judged]]:
    """The group, or parts of it that neither side makes too many haplotypes of."""
    sizes = {"truth": 0.0, "calls": 0.0}
    for variant in group:
        sizes[variant.side] += log2(len(variant.primitive.alleles))
    if max(sizes.values()) <= MAX_LOG2_HAPLOTYPES or len(group) < 3:
        return [group]
    return [part for half in _halves(group) for part in _simple_enough(half)]


def _halves(group: list[Judged]) -> list[list[Judged]]:
    """Cut a group where its variants lie furthest apart."""
    if len(group) < 3:
        return []
    reached = group[0].right
    widest, cut = -1 << 62, 1
    for i, variant in enumerate(group[1:], 1):
        # identical variants of both sides stay together
        if variant.left - reached > widest and variant.key != group[i - 1].key:
            widest, cut = variant.left - reached, i
        reached = max(reached, variant.right)
    return [group[:cut], group[cut:]]


def _table(
    groups: Sequence[Sequence[Judged]], side: Side
) -> tuple[VariantTable, list[Judged], NDArray[np.int64]]:
    """One side's variants of all groups: as a table, in its order, and where groups begin."""
    variants: list[Judged] = []
    offsets = [0]
    for group in groups:
        own = [variant for variant in group if variant.side == side]
        # an insertion before what replaces the base after it
        own.sort(key=lambda v: (v.primitive.start, v.primitive.end))
        variants += own
        offsets.append(len(variants))
    rows = [
        (v.primitive.start, v.primitive.alleles, [(v.primitive.genotype, 0), ((0, 0), 1)])
        for v in variants
    ]
    return VariantTable.of(rows), variants, np.array(offsets, np.int64)


def _trimmed(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    """One ALT by itself: start, bases of REF that it takes out, bases that it puts in."""
    most = min(len(ref), len(alt))
    end = 0
    while end < most and ref[len(ref) - 1 - end] == alt[len(alt) - 1 - end]:
        end += 1
    begin = 0
    while begin < most - end and ref[begin] == alt[begin]:
        begin += 1
    return start + begin, ref[begin : len(ref) - end], alt[begin : len(alt) - end]


def _explain(group: Sequence[Judged]) -> None:
    """Say of false calls whether the genotype or the allele is wrong."""
    missed = [variant for variant in group if variant.verdict == "FN"]
    if not missed:
        return
    alts = frozenset().union(*(variant.normal for variant in missed))
    for variant in group:
        if variant.verdict != "FP":
            continue
        if not alts.isdisjoint(variant.normal):
            variant.mismatch = "gt"
        elif any(m.left <= variant.right and variant.left <= m.right for m in missed):
            variant.mismatch = "al"
