"""Reference-confidence blocks and their merging with calls, the slow way, base by base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from functools import cache

from reference.counting import Position

ERROR = Decimal.from_float(0.0010000000474974513)
"""0.001 as a float32."""

Likelihoods = tuple[Decimal, Decimal, Decimal]


@dataclass(frozen=True)
class Block:
    """A reference-confidence block."""

    start: int
    end: int
    base: str
    called: bool
    quality: int
    depth: int
    likelihoods: Likelihoods


@cache
def confidence(reference: int, depth: int, haploid: bool) -> tuple[int, bool, Likelihoods]:
    """GQ of 0/0, whether 0/0 is the likeliest, and the log10 probabilities, to 40 digits."""
    with localcontext(prec=60):
        other = depth - reference
        raw = [
            (1 - ERROR) ** reference * ERROR**other,
            Decimal(0) if haploid else Decimal("0.5") ** depth,
            ERROR**reference * (1 - ERROR) ** other,
        ]
        shares = [value / sum(raw) for value in raw]
        wrong = shares[1] + shares[2]
        quality = min(50, int(-10 * wrong.log10())) if wrong else 50
        tiny = Decimal(10) ** -999
        none, one, two = (max(share, tiny).log10() for share in shares)
        return quality, shares[0] == max(shares), (none, one, two)


def position_blocks(
    counts: Sequence[Position], start: int, is_haploid: Callable[[int], bool]
) -> list[Block]:
    """A block for each position of a partition that has one."""
    blocks = []
    for i, count in enumerate(counts):
        if count.reference_base not in "ACGT":
            continue
        reference, depth = count.reference_reads, count.depth
        scaled = reference, depth
        if depth > 100:
            scaled = math.ceil(reference / depth * 100), 100
        quality, called, likelihoods = confidence(*scaled, is_haploid(start + i))
        at = start + i
        blocks.append(Block(at, at + 1, count.reference_base, called, quality, depth, likelihoods))
    return blocks


def joined_blocks(blocks: Sequence[Block], bin_size: int) -> list[Block]:
    """Neighbours of one partition joined where their GQs are in one bin."""
    joined: list[Block] = []
    last_bin = -1
    for block in blocks:
        this_bin = -(-block.quality // bin_size)
        before = joined[-1] if joined else None
        if (
            before is not None
            and before.end == block.start
            and before.called
            and block.called
            and this_bin == last_bin
        ):
            lower = min(before, block, key=lambda either: either.quality)
            joined[-1] = replace(
                before,
                end=block.end,
                depth=min(before.depth, block.depth),
                quality=lower.quality,
                likelihoods=lower.likelihoods,
            )
        else:
            joined.append(block)
        last_bin = this_bin
    return joined


def left_of_blocks(
    blocks: Sequence[tuple[int, int]], records: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """Start, end and index of what is left of each block beside the records' spans."""
    covered = {position for start, end in records for position in range(start, end)}
    left: list[tuple[int, int, int]] = []
    for index, (start, end) in enumerate(blocks):
        for position in range(start, end):
            if position in covered:
                continue
            if left and left[-1][1:] == (position, index):
                left[-1] = left[-1][0], position + 1, index
            else:
                left.append((position, position + 1, index))
    return left
