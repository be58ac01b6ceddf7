"""Counts of a comparison: by type, size and context, by score, and by claimed error."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pileupcnn.evaluate.contexts import CONTEXTS, Context
from pileupcnn.evaluate.matching import Judged

Kind = Literal["SNP", "INDEL"]

KINDS: tuple[Kind, ...] = ("SNP", "INDEL")
"""INDEL if a called allele changes the length; other substitutions count as SNP."""

SIZES = ((1, 1), (2, 5), (6, 15), (16, None))
"""Classes of indels by their largest change of the length, in bp, both ends included."""

SCORES = ("QUAL", "GQ")

RELIABILITY_BINS = ((0, 5), (5, 10), (10, 20), (20, 30), (30, None))
"""GQ from, and below which."""

MAX_GQ = 99

_LINGER = 1000
"""Records after which no part of a record can be still to come."""

_TRANSITIONS = frozenset(("AG", "GA", "CT", "TC"))


@dataclass(slots=True)
class Counts:
    """Outcome for one class of variants.

    Attributes
    ----------
    truth_tp, truth_fn : int
        Truth variants that count: found, and missed.
    query_tp, query_fp, query_unknown : int
        Called variants: right, false, and outside the confident regions.
    fp_genotype, fp_allele : int
        Of the false ones those whose ALT, or whose place, is that of a missed
        truth variant.
    """

    truth_tp: int = 0
    truth_fn: int = 0
    query_tp: int = 0
    query_fp: int = 0
    query_unknown: int = 0
    fp_genotype: int = 0
    fp_allele: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in self.__slots__))

    @property
    def truth(self) -> int:
        """Truth variants."""
        return self.truth_tp + self.truth_fn

    @property
    def query(self) -> int:
        """Called variants."""
        return self.query_tp + self.query_fp + self.query_unknown

    @property
    def errors(self) -> int:
        """FN + FP."""
        return self.truth_fn + self.query_fp

    @property
    def recall(self) -> float:
        """Found among the truth variants; 1 where there are none."""
        return self.truth_tp / self.truth if self.truth else 1.0

    @property
    def precision(self) -> float:
        """Right among the called variants that count; 1 where there are none."""
        judged = self.query_tp + self.query_fp
        return self.query_tp / judged if judged else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0

    def add(self, variant: Judged) -> None:
        """Count one variant."""
        if variant.side == "truth":
            self.truth_tp += variant.verdict == "TP"
            self.truth_fn += variant.verdict == "FN"
            return
        self.query_tp += variant.verdict == "TP"
        self.query_fp += variant.verdict == "FP"
        self.query_unknown += variant.verdict == "."
        self.fp_genotype += variant.mismatch == "gt"
        self.fp_allele += variant.mismatch == "al"


@dataclass(frozen=True, slots=True)
class Stratum:
    """A class of variants.

    Attributes
    ----------
    kind : {"SNP", "INDEL"}
    size : int
        Index in `SIZES`; -1 for SNPs.
    context : {"homopolymer", "STR", "other"}
    """

    kind: Kind
    size: int
    context: Context


@dataclass(frozen=True, slots=True)
class Reliability:
    """Called records whose GQ lies in a bin.

    Attributes
    ----------
    least, below : int, int or None
        The bin.
    records, wrong : int
        Records with an ALT in their genotype that count; those that are not
        true positives.
    expected : float
        How many should be wrong by their GQ.
    """

    least: int
    below: int | None
    records: int
    wrong: int
    expected: float


@dataclass(slots=True)
class Summary:
    """What is kept of a comparison; grows by `add`, and not with the genome.

    Attributes
    ----------
    strata : dict of Stratum to Counts
    traits : Counter
        Variants by (side, kind, trait): ``ti`` and ``tv`` of SNPs, ``het`` and
        ``hom`` of all; of the truth those that count.
    scores : dict
        By (score, kind): at each value, which is a whole number, the truth
        variants found, the calls right, and the false ones.
    """

    strata: defaultdict[Stratum, Counts] = field(default_factory=lambda: defaultdict(Counts))
    traits: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    scores: dict[tuple[str, Kind], dict[int, list[float]]] = field(default_factory=dict)
    _by_gq: dict[int, list[float]] = field(default_factory=dict)
    _open: dict[int, tuple[float, bool]] = field(default_factory=dict)

    def add(self, variants: Iterable[Judged]) -> None:
        """Count variants, from left to right."""
        for variant in variants:
            own = variant.primitive
            kind: Kind = "INDEL" if own.is_indel else "SNP"
            size = size_class(own.size) if kind == "INDEL" else -1
            if variant.verdict != "." or variant.side == "calls":
                self.strata[Stratum(kind, size, variant.context)].add(variant)
                self._add_traits(variant, kind)
            if variant.verdict != ".":
                self._add_scores(variant, kind)
                if variant.side == "calls":
                    self._add_record(variant)

    def _add_traits(self, variant: Judged, kind: Kind) -> None:
        own = variant.primitive
        first, second = own.genotype
        self.traits[variant.side, kind, "hom" if first == second else "het"] += 1
        if kind == "SNP" and len(own.alleles) == 2 and len(own.alleles[0]) == 1:
            change = own.alleles[0] + own.alleles[1]
            self.traits[variant.side, kind, "ti" if change in _TRANSITIONS else "tv"] += 1

    def _add_scores(self, variant: Judged, kind: Kind) -> None:
        if variant.verdict == "FN":
            return
        index = 0 if variant.side == "truth" else 1 if variant.verdict == "TP" else 2
        for name, value in zip(SCORES, variant.scores, strict=True):
            if value is not None:
                counts = self.scores.setdefault((name, kind), {})
                counts.setdefault(int(value), [0, 0, 0])[index] += 1

    def _add_record(self, variant: Judged) -> None:
        """A record is wrong if a part of it is."""
        own = variant.primitive
        if own.genotype_quality is None:
            return
        _, wrong = self._open.get(own.record, (0.0, False))
        self._open[own.record] = (own.genotype_quality, wrong or variant.verdict == "FP")
        if len(self._open) > 2 * _LINGER:
            done = [number for number in self._open if number < own.record - _LINGER]
            self._close(done)

    def _close(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            quality, wrong = self._open.pop(number)
            counts = self._by_gq.setdefault(min(int(quality), MAX_GQ), [0, 0, 0.0])
            counts[0] += 1
            counts[1] += wrong
            counts[2] += 10 ** (-quality / 10)

    def update(self, other: Summary) -> None:
        """Take in the counts of another comparison."""
        other._close(list(other._open))
        for stratum, counts in other.strata.items():
            self.strata[stratum] += counts
        self.traits += other.traits
        for name, values in other.scores.items():
            _add_rows(self.scores.setdefault(name, {}), values)
        _add_rows(self._by_gq, other._by_gq)

    def counts(
        self,
        kind: Kind | None = None,
        size: int | None = None,
        context: Context | None = None,
    ) -> Counts:
        """Counts of all strata of a kind, size and context; None is any."""
        total = Counts()
        for stratum, counts in self.strata.items():
            wanted = (kind, size, context)
            own = (stratum.kind, stratum.size, stratum.context)
            if all(a is None or a == b for a, b in zip(wanted, own, strict=True)):
                total += counts
        return total

    def ratio(self, side: str, kind: Kind, one: str, other: str) -> float | None:
        """Quotient of two traits, e.g. transitions by transversions; None without the other."""
        below = self.traits[side, kind, other]
        return self.traits[side, kind, one] / below if below else None

    def curve(self, score: str, kind: Kind) -> list[tuple[int, float, float]]:
        """Precision and recall if only calls with at least such a score were kept.

        Returns
        -------
        list of (int, float, float)
            Least score, recall and precision; from the highest score on.
        """
        truth = self.counts(kind).truth
        points = []
        found = right = false = 0.0
        for value, counts in sorted(self.scores.get((score, kind), {}).items(), reverse=True):
            found, right, false = found + counts[0], right + counts[1], false + counts[2]
            recall = found / truth if truth else 1.0
            precision = right / (right + false) if right + false else 1.0
            points.append((value, recall, precision))
        return points

    def reliability(
        self, bins: Sequence[tuple[int, int | None]] = RELIABILITY_BINS
    ) -> list[Reliability]:
        """Called records by GQ, bin by bin; empty where calls have none."""
        self._close(list(self._open))
        if not self._by_gq:
            return []
        rows = []
        for least, below in bins:
            inside = [
                counts
                for quality, counts in self._by_gq.items()
                if quality >= least and (below is None or quality < below)
            ]
            records, wrong, expected = (sum(row[i] for row in inside) for i in range(3))
            rows.append(Reliability(least, below, int(records), int(wrong), expected))
        return rows


def _add_rows(rows: dict[int, list[float]], others: dict[int, list[float]]) -> None:
    for key, values in others.items():
        own = rows.get(key, [0.0] * len(values))
        rows[key] = [a + b for a, b in zip(own, values, strict=True)]


def size_class(size: int) -> int:
    """Index in `SIZES`."""
    return next(i for i, (_, most) in enumerate(SIZES) if most is None or size <= most)


def strata_names() -> list[tuple[str, int, Context | None]]:
    """Name, size and context of the classes of indels that tables show."""
    sizes = [
        (f"{least}" if least == most else f"{least}-{most}" if most else f">{least - 1}", i)
        for i, (least, most) in enumerate(SIZES)
    ]
    return [(name, i, context) for name, i in sizes for context in (None, *CONTEXTS)]
