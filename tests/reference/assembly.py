"""The de Bruijn graph of a window, as DeepVariant builds it, in plain sets and dictionaries."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

Edges = Counter[tuple[str, str]]


def kmers(text: str, k: int) -> list[str]:
    """All k-mers of a text, in order."""
    return [text[i : i + k] for i in range(len(text) - k + 1)]


def edges_of_read(bases: str, qualities: Sequence[int], k: int, min_quality: int) -> Iterator:
    """Pairs of successive k-mers without a bad base."""
    good = [base in "ACGT" and q >= min_quality for base, q in zip(bases, qualities, strict=True)]
    for i in range(len(bases) - k):
        if all(good[i : i + k + 1]):
            yield bases[i : i + k], bases[i + 1 : i + k + 1]


def has_cycle(edges: Edges) -> bool:
    """Whether the directed graph has a cycle."""
    after = defaultdict(set)
    for a, b in edges:
        if a == b:
            return True
        after[b].add(a)
    try:
        TopologicalSorter(after).prepare()
    except CycleError:
        return True
    return False


def assemble(
    window: str,
    reads: Sequence[tuple[str, Sequence[int]]],
    min_k: int = 10,
    max_k: int = 101,
    min_quality: int = 15,
    max_paths: int = 256,
) -> tuple[str, int, list[str]]:
    """State, the k chosen (0 without a graph) and, if assembled, the haplotypes."""
    for k in range(min_k, min(max_k, len(window) - 1) + 1):
        known = kmers(window, k)
        if len(set(known)) < len(known):
            continue
        reference = set(itertools.pairwise(known))
        edges: Edges = Counter(reference)
        for bases, qualities in reads:
            edges.update(edges_of_read(bases, qualities, k, min_quality))
        if has_cycle(edges):
            continue
        after = defaultdict(list)
        for (a, b), weight in edges.items():
            if weight >= 2 or (a, b) in reference:
                after[a].append(b)
        counts: dict[str, int] = {known[-1]: 1}

        def count(
            node: str, after: dict[str, list[str]] = after, counts: dict[str, int] = counts
        ) -> int:
            if node not in counts:
                counts[node] = sum(count(other) for other in after.get(node, ()))
            return counts[node]

        if count(known[0]) > max_paths:
            return "overflow", k, []
        paths, finished = [known[0]], []
        while paths:
            path = paths.pop()
            if path[-k:] == known[-1]:
                finished.append(path)
            else:
                paths += [path + b[-1] for b in after.get(path[-k:], ()) if count(b)]
        if finished == [window]:
            return "refonly", k, []
        return "assembled", k, sorted(finished)
    return "nograph", 0, []
