"""Third stage: files of the network's answers to the records of a VCF."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

from pileupcnn.errors import InputError
from pileupcnn.messages.convert import ImageCall, read_calls
from pileupcnn.postprocess import genotype, resolve_overlaps
from pileupcnn.vcf import Record

Place = tuple[int, int, int]
"""Rank of the contig, start and end (0-based half-open) of a site."""


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file of CallVariantsOutputs that has been read through once.

    Attributes
    ----------
    path : Path
    in_order : bool
        Whether its records are in the order of the genome.
    samples : frozenset of str
        Named in it; at most one in a file that holds anything.
    has_model_ids : bool
        Whether some site has a MID: the small model said something of it.
    """

    path: Path
    in_order: bool
    samples: frozenset[str]
    has_model_ids: bool


def _place(call: ImageCall, contigs: Mapping[str, int]) -> Place:
    site = call.site
    return contigs[site.contig], site.start, site.start + len(site.alleles[0])


def inspect(path: Path, contigs: Mapping[str, int]) -> AnswerFile:
    """Read a file through, before anything is made of it.

    Parameters
    ----------
    path : Path
    contigs : mapping of str to int
        Those of the reference with their lengths in bp.

    Raises
    ------
    InputError
        If it is damaged, or a site is not in the reference.
    """
    rank = _ranks(contigs)
    last: Place = (0, 0, 0)
    in_order, has_model_ids = True, False
    samples = set()
    for call in read_calls(path):
        site = call.site
        end = site.start + len(site.alleles[0])
        if end > contigs.get(site.contig, -1):
            raise InputError(
                f"{path}: {site.contig}:{site.start + 1:,} is not in the reference; give --ref the "
                "reference that the reads were aligned to"
            )
        place = _place(call, rank)
        in_order = in_order and last <= place
        has_model_ids = has_model_ids or bool(site.model_id)
        last = place
        samples.add(site.sample)
    return AnswerFile(path, in_order, frozenset(samples), has_model_ids)


def sample_of(files: Iterable[AnswerFile]) -> str | None:
    """The one sample of several files; None if they hold nothing.

    Raises
    ------
    InputError
        If there are several.
    """
    where: dict[str, Path] = {}
    for file in files:
        for sample in sorted(file.samples):
            where.setdefault(sample, file.path)
    if len(where) > 1:
        named = ", ".join(f"'{sample}' ({path})" for sample, path in where.items())
        raise InputError(f"several samples: {named}; give the files of one sample")
    return next(iter(where), None)


def records(files: Sequence[AnswerFile], contigs: Mapping[str, int]) -> Iterator[Record]:
    """The records of all sites, in order, overlaps resolved.

    Files whose records are in order are merged as they are read. Others
    (DeepVariant's own, which deals records out from several shards) are sorted
    in memory.

    Parameters
    ----------
    files : sequence of AnswerFile
        In any order.
    contigs : mapping of str to int
        Of the reference, in the order of the output.

    Raises
    ------
    InputError
        If a site's images are not one for each ALT and each pair of ALTs.
    """
    rank = _ranks(contigs)

    def stream(file: AnswerFile) -> Iterator[tuple[Place, ImageCall]]:
        placed = ((_place(call, rank), call) for call in read_calls(file.path))
        return placed if file.in_order else iter(sorted(placed, key=_first))

    merged = heapq.merge(*map(stream, files), key=_first)
    sites = groupby(merged, key=_first)
    return resolve_overlaps(_record([call for _, call in group]) for _, group in sites)


def _ranks(contigs: Mapping[str, int]) -> dict[str, int]:
    return {contig: rank for rank, contig in enumerate(contigs)}


def _first(placed: tuple[Place, ImageCall]) -> Place:
    return placed[0]


def _record(calls: Sequence[ImageCall]) -> Record:
    """The record of one site from what was said of its images."""
    site = calls[0].site
    alts = range(len(site.alleles) - 1)
    wanted = [(alt,) for alt in alts] + list(combinations(alts, 2))
    found = sorted(call.alts for call in calls)
    if found != sorted(wanted) or any(call.site != site for call in calls):
        raise InputError(
            f"{site.contig}:{site.start + 1:,}: {len(calls)} images that are not one for each ALT "
            f"and each pair of ALTs of a site with {len(alts)} ALT alleles; give every shard of "
            "one run, each once, and its --small-model-calls if there are any"
        )
    images = [(call.alts, call.probabilities) for call in calls]
    record = genotype(site.contig, site.start, site.alleles, site.depth, site.allele_depths, images)
    record.model_id = next(filter(None, (call.site.model_id for call in calls)), "")
    return record
