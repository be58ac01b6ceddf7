"""Local alignment with libssw's choices, and DeepVariant's fast-pass aligner on top of it.

Every rule in the plainest form: whole matrices, one base at a time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

MATCH, MISMATCH, OPEN, EXTEND = 4, 6, 8, 2
KMER, MAX_MISMATCHES = 32, 2

Cigar = list[tuple[str, int]]


@dataclass(frozen=True)
class LocalAlignment:
    """Last bases are inclusive; the CIGAR has M, I, D and soft clips."""

    score: int
    target_begin: int
    target_end: int
    query_begin: int
    query_end: int
    cigar: tuple[tuple[str, int], ...]


def letter(base: str) -> str:
    """The letter that a base counts as: A for U, N for all that are not A, C, G and T."""
    base = base.upper()
    return {"U": "A"}.get(base, base if base in "ACGT" else "N")


def pair_score(first: str, second: str) -> int:
    """Score of two bases."""
    first, second = letter(first), letter(second)
    return MATCH if first == second != "N" else -MISMATCH


def affine_score(query: str, target: str) -> int:
    """Best local score with affine gaps of any kind (Smith, Waterman; Gotoh)."""
    best = 0
    above = [0] * (len(target) + 1)
    inserted = [-(10**6)] * (len(target) + 1)
    for base in query:
        row, deleted = [0], -(10**6)
        for j, other in enumerate(target, 1):
            inserted[j] = max(above[j] - OPEN, inserted[j] - EXTEND)
            deleted = max(row[j - 1] - OPEN, deleted - EXTEND)
            row.append(max(0, above[j - 1] + pair_score(base, other), inserted[j], deleted))
        best = max(best, *row)
        above = row
    return best


def striped_pass(query: str, target: str, lanes: int) -> tuple[int, int, int]:
    """Best score, first column with it, and its first row there.

    A deletion is not opened where an insertion came from an earlier stripe.
    """
    n = len(query)
    stripe = -(-n // lanes)
    previous, deletion = [0] * n, [0] * n
    best = column = row = 0
    for j, base in enumerate(target):
        own, final = [0] * n, [0] * n
        within = across = 0
        for i in range(n):
            if i % stripe == 0:
                within = 0
            diagonal = (previous[i - 1] if i else 0) + pair_score(query[i], base)
            own[i] = max(0, diagonal, deletion[i], within)
            final[i] = max(own[i], across)
            within = max(within - EXTEND, own[i] - OPEN)
            across = max(across - EXTEND, own[i] - OPEN)
            deletion[i] = max(deletion[i] - EXTEND, own[i] - OPEN)
        if max(final) > best:
            best, column = max(final), j
            row = final.index(best)
        previous = final
    return best, column, row


def local_alignment(query: str, target: str) -> LocalAlignment | None:
    """The alignment that libssw 1.2.5 gives."""
    lanes = 16
    score, target_end, query_end = striped_pass(query, target, lanes)
    if score + MISMATCH >= 255:
        lanes = 8
        score, target_end, query_end = striped_pass(query, target, lanes)
    if score == 0:
        return None
    back, column, row = striped_pass(query[query_end::-1], target[target_end::-1], lanes)
    if back < score:
        return None
    # the first column that reaches the score, which may be exceeded later
    if back > score:
        raise AssertionError
    query_begin, target_begin = query_end - row, target_end - column
    part = query[query_begin : query_end + 1], target[target_begin : target_end + 1]
    cigar = banded_path(*part, score)
    clips = query_begin, len(query) - query_end - 1
    whole = [("S", clips[0])] * (clips[0] > 0) + cigar + [("S", clips[1])] * (clips[1] > 0)
    return LocalAlignment(score, target_begin, target_end, query_begin, query_end, tuple(whole))


def banded_path(query: str, target: str, score: int) -> Cigar:
    """The path from corner to corner in the narrowest band that holds the score."""
    n, m = len(query), len(target)
    width = abs(n - m) + 1
    while True:
        cells: dict[tuple[int, int], int] = {}
        inserted: dict[tuple[int, int], int] = {}
        deleted: dict[tuple[int, int], int] = {}
        source: dict[tuple[int, int, str], str] = {}
        for i in range(n):
            for j in range(max(0, i - width), min(m, i + width + 1)):
                opened = cells.get((i - 1, j), 0) - OPEN
                extended = inserted.get((i - 1, j), 0) - EXTEND
                inserted[i, j] = max(opened, extended)
                source[i, j, "I"] = "M" if opened > extended else "I"
                opened = cells.get((i, j - 1), 0) - OPEN
                extended = deleted.get((i, j - 1), 0) - EXTEND
                deleted[i, j] = max(opened, extended)
                source[i, j, "D"] = "M" if opened > extended else "D"
                diagonal = cells.get((i - 1, j - 1), 0) + pair_score(query[i], target[j])
                insertion, deletion = max(inserted[i, j], 0), max(deleted[i, j], 0)
                cells[i, j] = max(insertion, deletion, diagonal)
                if max(insertion, deletion) <= diagonal:
                    source[i, j, "M"] = "M"
                else:
                    source[i, j, "M"] = "I" if insertion > deletion else "D"
        if max(cells.values()) >= score or 2 * width > max(n, m):
            break
        width *= 2
    i, j, state, path = n - 1, m - 1, "M", ""
    while i >= 0 and j > 0:
        op = source[i, j, state] if state == "M" else state
        path += op
        state = "M" if op == "M" else source[i, j, op]
        i -= op != "D"
        j -= op != "I"
    return runs(path[::-1], "M")


def runs(path: str, before: str = "") -> Cigar:
    """Run lengths of a string of operations."""
    return [(run[0], len(run)) for run in re.findall(r"(?:M+|I+|D+|S+)", before + path)]


def expand(cigar: Sequence[tuple[str, int]]) -> str:
    """A letter for each base of each operation."""
    return "".join(op * length for op, length in cigar)


def fast_placements(
    haplotype: str, is_reference: bool, prefix: int, suffix: int, reads: Sequence[str]
) -> dict[int, tuple[int, int]]:
    """Score and start of the reads that lie on a haplotype without gaps; none if not covered."""
    index = defaultdict(list)
    for number, read in enumerate(reads):
        if len(read) > KMER:
            for offset in range(len(read) - KMER + 1):
                index[read[offset : offset + KMER]].append((number, offset))
    placed: dict[int, tuple[int, int]] = {}
    coverage = [0] * len(haplotype)
    for i in range(len(haplotype) - KMER + 1):
        if haplotype[i : i + KMER] not in index:
            continue
        for number, offset in index[haplotype[i : i + KMER]]:
            read, start = reads[number], max(0, i - offset)
            if start + len(read) > len(haplotype):
                continue
            misses = sum(
                a != b and "N" not in (a, b) for a, b in zip(read, haplotype[start:], strict=False)
            )
            if misses > MAX_MISMATCHES:
                continue
            for at in range(start, start + len(read)):
                coverage[at] += 1
            score = MATCH * (len(read) - misses) - MISMATCH * misses
            if score > placed.get(number, (0, 0))[0]:
                placed[number] = score, start
        inside = prefix <= i < len(haplotype) - suffix
        if coverage[i] == 0 and inside and not is_reference:
            return {}
    return placed


def shifts(cigar: Sequence[tuple[str, int]]) -> list[int]:
    """For each haplotype base by how much gaps and clips before it move it on the reference."""
    found, shift = [], 0
    for op, length in cigar:
        if op == "D":
            shift += length
        if op == "S":
            shift -= length
        for _ in range(length if op != "D" else 0):
            found.append(shift)
            shift -= op == "I"
    return found


def merged(read: Cigar, haplotype: Cigar, start: int, length: int) -> Cigar:
    """The read's CIGAR on the reference; empty if there is none."""
    out: Cigar = []

    def emit(op: str, n: int) -> None:
        aligned = sum(size for kind, size in out if kind != "D")
        if op != "D":
            n = min(n, length - aligned)
        if n <= 0 or aligned == length:
            return
        if out and {op, out[-1][0]} == {"I", "D"}:
            last, size = out.pop()
            if out and out[-1][0] == "M":
                out[-1] = "M", out[-1][1] + 1
            else:
                out.append(("M", 1))
            if size > 1:
                out.append((last, size - 1))
        elif out and out[-1][0] == op:
            out[-1] = op, out[-1][1] + n
        else:
            out.append((op, n))

    to_read, to_haplotype = list(read), list(haplotype)
    at = 0
    while at < start:
        op, size = to_haplotype.pop(0)
        if op != "D":
            if at + size > start:
                to_haplotype.insert(0, (op, at + size - start))
            at = min(start, at + size)
    if to_haplotype and to_haplotype[0][0] == "D":
        to_haplotype.pop(0)
    if to_read[0][0] == "S":
        emit(*to_read.pop(0))
    r, h = ["", 0], ["", 0]
    while (to_read or to_haplotype) and sum(n for op, n in out if op != "D") < length:
        if to_read and not to_haplotype and h[1] == 0:
            emit(*to_read.pop(0))
            continue
        if not to_read and r[1] == 0:
            break
        if r[1] == 0:
            r = list(to_read.pop(0))
        if h[1] == 0:
            h = list(to_haplotype.pop(0))
        while r[1] > 0 and h[1] > 0:
            if {r[0], h[0]} == {"I", "D"}:
                r[1] -= 1
                h[1] -= 1
                if h[0] == "D":
                    to_haplotype.insert(0, ("M", 1))
                    to_read.insert(0, ("M", 1))
                continue
            emit(next(op for op in "SDIM" if op in (r[0], h[0])), 1)
            if r[0] == "I":
                r[1] -= 1
            elif h[0] == "D":
                h[1] -= 1
            else:
                r[1] -= 1
                h[1] -= 1
    while r[0] == "S" and r[1] > 0:
        emit("S", 1)
        r[1] -= 1
    return [] if to_read or r[1] else out


def is_normalized(cigar: Cigar, read: str, reference: str, offset: int) -> bool:
    """Whether no gap can be shifted left."""
    if offset < 0:
        return True
    at, used = offset, 0
    for op, length in cigar:
        if op == "S":
            used += length
            continue
        if op == "D" and at + length > len(reference):
            return False
        if op == "D" and used > 0 and reference[at + length - 1] == read[used - 1]:
            return False
        if op == "I" and at > 0 and read[used + length - 1] == reference[at - 1]:
            return False
        at += length if op != "I" else 0
        used += length if op != "D" else 0
    return True


def realign_window(
    reference: str,
    reference_start: int,
    prefix: int,
    suffix: int,
    haplotypes: Sequence[str],
    reads: Sequence[str],
) -> list[tuple[int, str] | None]:
    """New start and CIGAR of each read, None for those that keep theirs."""
    records = []
    for haplotype in haplotypes:
        placed = fast_placements(haplotype, haplotype == reference, prefix, suffix, reads)
        support = sum(score for score, _ in placed.values())
        if haplotype == reference:
            begin, cigar, is_reference = 0, [("M", len(reference))], True
        else:
            found = local_alignment(haplotype, reference)
            assert found is not None
            begin, cigar = found.target_begin, list(found.cigar)
            under = reference[begin : begin + len(haplotype)]
            is_reference = cigar == [("M", len(haplotype))] and (
                [*map(letter, under)] == [*map(letter, haplotype)]
            )
        records.append((support, haplotype, placed, begin, cigar, is_reference))
    on_haplotype: dict[int, dict[int, tuple[int, int, Cigar]]] = defaultdict(dict)
    for number, read in enumerate(reads):
        for k, (_, _, placed, _, _, _) in enumerate(records):
            if number in placed:
                score, start = placed[number]
                on_haplotype[number][k] = score, start, [("M", len(read))]
        if not on_haplotype[number]:
            for k, (support, haplotype, *_) in enumerate(records):
                found = local_alignment(read, haplotype) if support else None
                if found is not None:
                    on_haplotype[number][k] = found.score, found.target_begin, list(found.cigar)
    results: list[tuple[int, str] | None] = []
    order = sorted(range(len(records)), key=lambda k: records[k][0])
    for number, read in enumerate(reads):
        best, chosen = 0, -1
        for k in order:
            score = on_haplotype[number].get(k, (0,))[0]
            if score > best or (0 < score == best and not records[k][5]):
                best, chosen = score, k
        if chosen < 0:
            results.append(None)
            continue
        _, start, read_cigar = on_haplotype[number][chosen]
        _, _, _, begin, cigar, _ = records[chosen]
        offset = begin + start + shifts(cigar)[start]
        new = merged(read_cigar, cigar, start, len(read))
        if not new or not is_normalized(new, read, reference, offset):
            results.append(None)
        else:
            text = "".join(f"{length}{op}" for op, length in new)
            results.append((reference_start + offset, text))
    return results
