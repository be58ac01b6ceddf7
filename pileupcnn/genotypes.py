"""Alleles at their shortest, and the order in which DeepVariant's labeler tries genotypes.

It walks through a Python set of pairs of integers. The order of such a set is
the same in CPython 3.8 to 3.13 on 64-bit machines, but a matter of how tuples
are hashed and sets laid out; so it is worked out here from these rules rather
than left to the interpreter that happens to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

Genotype = tuple[int, int]
"""Two allele indices, REF is 0."""

_WORD = (1 << 64) - 1
_PRIME_1, _PRIME_2, _PRIME_5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x27D4EB2F165667C5
_NEIGHBOURS = 9
_SMALLEST = 8


def simplify(alleles: Sequence[str]) -> tuple[str, ...]:
    """Cut off what all alleles have in common at the end, leaving each a base."""
    spare = min(map(len, alleles)) - 1
    cut = 0
    while cut < spare and len({allele[-1 - cut] for allele in alleles}) == 1:
        cut += 1
    return tuple([allele[: len(allele) - cut] for allele in alleles])


def _hash(genotype: Genotype) -> int:
    """CPython's hash of a pair of small integers, as an unsigned word (xxHash, one lane)."""
    mixed = _PRIME_5
    for allele in genotype:
        mixed = mixed + allele * _PRIME_2 & _WORD
        mixed = (mixed << 31 | mixed >> 33) & _WORD
        mixed = mixed * _PRIME_1 & _WORD
    return mixed + (2 ^ _PRIME_5 ^ 3527539) & _WORD


def _insert(table: list[Genotype | None], genotype: Genotype) -> None:
    """Put a genotype where CPython's set would: near its hash's place, else further on."""
    mask = len(table) - 1
    perturbed = _hash(genotype)
    at = perturbed & mask
    while True:
        span = _NEIGHBOURS if at + _NEIGHBOURS <= mask else 0
        for place in range(at, at + span + 1):
            if table[place] is None:
                table[place] = genotype
                return
        perturbed >>= 5
        at = at * 5 + 1 + perturbed & mask


@lru_cache(maxsize=256)
def genotype_options(alts: int) -> tuple[Genotype, ...]:
    """All unphased diploid genotypes of a variant with `alts` ALT alleles, in DeepVariant's order.

    For one ALT: 0/1, 1/1, 0/0.
    """
    table: list[Genotype | None] = [None] * _SMALLEST
    used = 0
    for second in range(alts + 1):
        for first in range(second + 1):
            _insert(table, (first, second))
            used += 1
            if used * 5 >= (len(table) - 1) * 3:
                size = _SMALLEST
                while size <= (used * 2 if used > 50_000 else used * 4):
                    size *= 2
                filled = [genotype for genotype in table if genotype is not None]
                table = [None] * size
                for genotype in filled:
                    _insert(table, genotype)
    return tuple(genotype for genotype in table if genotype is not None)
