"""Records taken apart into allelic primitives: the smallest parts that can be right by themselves.

A call ``ACGT`` > ``GCGC`` is two SNPs, and one of them may be true. Each ALT is
aligned to REF; where all ALTs show the reference a record is cut. What is left
are SNPs, runs of substituted bases, insertions, deletions, and places where one
touches another. `rtg vcfeval --decompose` does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from pileupcnn.genotypes import Genotype

GAP_OPEN, GAP_EXTEND, MISMATCH = 1, 1, 1
"""Costs of the alignment: a gap of n bases costs `GAP_OPEN` + n `GAP_EXTEND`."""

MAX_CELLS = 20_000
"""Product of lengths up to which alleles are aligned; longer ones are only trimmed."""

_BASES = frozenset("ACGT")

Change = tuple[int, int, int, int]
"""``ref_start, ref_end, alt_start, alt_end`` of a stretch that differs."""


@dataclass(slots=True, eq=False)
class Primitive:
    """A variant that is compared as one.

    Attributes
    ----------
    start, end : int
        Bases of the reference that the called alleles change, 0-based
        half-open; equal for an insertion.
    alleles : tuple of str
        Reference of ``[start, end)``, and what the called ALTs have instead.
    genotype : tuple of int
        Indices of `alleles`, ascending.
    position : int
        First base of `ref`, 0-based.
    ref : str
    alts : tuple of str
        As in a VCF, with an anchor where an allele would be empty; also ALTs
        that are not called.
    shown : str
        The genotype in terms of `alts`, e.g. ``0/1``.
    record : int
        Number of the record that it is a part of, in its file.
    quality : float or None
        QUAL of the record.
    genotype_quality : float or None
        GQ of the record.
    """

    start: int
    end: int
    alleles: tuple[str, ...]
    genotype: Genotype
    position: int
    ref: str
    alts: tuple[str, ...]
    shown: str
    record: int
    quality: float | None
    genotype_quality: float | None

    @property
    def is_indel(self) -> bool:
        """Whether a called allele changes the length."""
        return any(len(allele) != len(self.alleles[0]) for allele in self.alleles[1:])

    @property
    def size(self) -> int:
        """Largest change of the length by a called allele, in bp."""
        return max(abs(len(allele) - len(self.alleles[0])) for allele in self.alleles[1:])


def slices(ref: str, alts: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Cut a record where all of its ALTs show the reference.

    Parameters
    ----------
    ref : str
    alts : tuple of str
        Upper case.

    Returns
    -------
    list of (int, tuple of str)
        Place in `ref`, and the bases of REF and each ALT; some may be empty. A
        record with other letters than A, C, G and T comes back whole.
    """
    if len(ref) == 1 and all(len(alt) == 1 for alt in alts):
        return [(0, (ref, *alts))]
    if not all(_BASES.issuperset(allele) for allele in (ref, *alts)):
        return [(0, (ref, *alts))]
    # a base that all share is an anchor, and no place for a gap
    anchor = int(all(alt[:1] == ref[:1] for alt in alts))
    ref, alts = ref[anchor:], tuple(alt[anchor:] for alt in alts)
    changes = [align(ref, alt) for alt in alts]
    spans: list[list[int]] = []
    for start, end, *_ in sorted(change for row in changes for change in row):
        if spans and start <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([start, end])
    parts = []
    for start, end in spans:
        texts = [ref[start:end]]
        for alt, row in zip(alts, changes, strict=True):
            before = sum(_growth(change) for change in row if change[1] < start)
            through = sum(_growth(change) for change in row if change[1] <= end)
            texts.append(alt[start + before : end + through])
        parts.append((anchor + start, tuple(texts)))
    return parts


def _growth(change: Change) -> int:
    return change[3] - change[2] - change[1] + change[0]


def align(ref: str, alt: str) -> list[Change]:
    """Where an ALT differs from REF, by an alignment of both from end to end.

    Of equally cheap ones that is taken whose gaps lie further left; but alleles
    of one length are only substituted if that is as cheap.

    Returns
    -------
    list of Change
        From left to right; no two touch.
    """
    end = 0
    most = min(len(ref), len(alt))
    while end < most and ref[len(ref) - 1 - end] == alt[len(alt) - 1 - end]:
        end += 1
    begin = 0
    while begin < most - end and ref[begin] == alt[begin]:
        begin += 1
    one, other = ref[begin : len(ref) - end], alt[begin : len(alt) - end]
    if not one and not other:
        return []
    if not one or not other or (len(ref) - end) * (len(alt) - end) > MAX_CELLS:
        return [(begin, begin + len(one), begin, begin + len(other))]
    if len(one) == len(other) and sum(map(str.__ne__, one, other)) * MISMATCH <= 2 * (
        GAP_OPEN + GAP_EXTEND
    ):
        moves = "".join("=" if a == b else "X" for a, b in zip(one, other, strict=True))
    else:
        # not without the common beginning: a gap may belong there
        begin = 0
        moves = _gotoh(ref[: len(ref) - end], alt[: len(alt) - end])
    return _changes(moves, begin)


def _changes(moves: str, begin: int) -> list[Change]:
    """Stretches of an alignment (``=``, ``X``, ``I``, ``D``) that are no match."""
    changes: list[Change] = []
    at, alt_at = begin, begin
    for move in moves:
        start, alt_start = at, alt_at
        at += move != "I"
        alt_at += move != "D"
        if move == "=":
            continue
        if changes and changes[-1][1] == start and changes[-1][3] == alt_start:
            changes[-1] = (*changes[-1][:1], at, changes[-1][2], alt_at)
        else:
            changes.append((start, at, alt_start, alt_at))
    return changes


def _gotoh(ref: str, alt: str) -> str:
    """Moves of the cheapest alignment under affine gap costs (Gotoh 1982).

    Worked out from the right ends, so that the path is followed from the left
    and can take the first gap that it meets.
    """
    n, m = len(ref), len(alt)
    infinite = 1 << 30
    first = GAP_OPEN + GAP_EXTEND
    # cost of what is left, at (i, j): after a base, inside an insertion, inside a deletion
    match = [[infinite] * (m + 1) for _ in range(n + 1)]
    insert = [[infinite] * (m + 1) for _ in range(n + 1)]
    delete = [[infinite] * (m + 1) for _ in range(n + 1)]
    match[n][m] = insert[n][m] = delete[n][m] = 0
    for i in range(n, -1, -1):
        for j in range(m, -1, -1):
            if i == n and j == m:
                continue
            step = infinite
            if i < n and j < m:
                step = match[i + 1][j + 1] + (0 if ref[i] == alt[j] else MISMATCH)
            longer_i = insert[i][j + 1] if j < m else infinite
            longer_d = delete[i + 1][j] if i < n else infinite
            match[i][j] = min(step, longer_i + first, longer_d + first)
            insert[i][j] = min(match[i][j], longer_i + GAP_EXTEND)
            delete[i][j] = min(match[i][j], longer_d + GAP_EXTEND)
    moves: list[str] = []
    i = j = 0
    state = "M"
    while i < n or j < m:
        if state == "I" and j < m and insert[i][j] == insert[i][j + 1] + GAP_EXTEND:
            moves.append("I")
            j += 1
        elif state == "D" and i < n and delete[i][j] == delete[i + 1][j] + GAP_EXTEND:
            moves.append("D")
            i += 1
        else:
            state = "M"
            cost = match[i][j]
            if j < m and cost == insert[i][j + 1] + first:
                state, j = "I", j + 1
                moves.append("I")
            elif i < n and cost == delete[i + 1][j] + first:
                state, i = "D", i + 1
                moves.append("D")
            else:
                moves.append("=" if i < n and j < m and ref[i] == alt[j] else "X")
                i, j = i + 1, j + 1
    return "".join(moves)
