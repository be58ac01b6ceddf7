"""Third stage: files of the network's answers, and of reference blocks, to the records of a VCF."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, islice
from operator import attrgetter
from pathlib import Path

import numpy as np

from pileupcnn.confidence import ReferenceBlocks
from pileupcnn.errors import InputError
from pileupcnn.gvcf import Item, interleave
from pileupcnn.messages.convert import ImageCall, ReferenceBlock, read_blocks, read_calls
from pileupcnn.postprocess import genotype, resolve_overlaps
from pileupcnn.regions import DIPLOID, HaploidRegions
from pileupcnn.vcf import Record

BLOCKS_AT_ONCE = 1_000
"""Reference-confidence blocks that are gathered into arrays."""

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
    has_small_model_calls : bool
        Whether a small model answered for other images, in files of their own.
    """

    path: Path
    in_order: bool
    samples: frozenset[str]
    has_model_ids: bool
    has_small_model_calls: bool


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
        If it is damaged or no file, or a site is not in the reference.
    """
    rank = _ranks(contigs)
    last: Place = (0, 0, 0)
    in_order, has_model_ids, has_small_model_calls = True, False, False
    samples = set()
    if not path.is_file():
        raise InputError(f"{path}: is no regular file, and is read twice; give a file")
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
        has_small_model_calls = has_small_model_calls or call.has_small_model_calls
        last = place
        samples.add(site.sample)
    return AnswerFile(path, in_order, frozenset(samples), has_model_ids, has_small_model_calls)


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


def sample_of_blocks(files: Iterable[Path]) -> str | None:
    """The sample that the first reference-confidence block names; None if there is none."""
    firsts = (next(read_blocks(path), None) for path in files)
    return next((block.sample for block in firsts if block is not None), None)


def records(
    files: Sequence[AnswerFile],
    contigs: Mapping[str, int],
    *,
    reference_blocks: Sequence[Path] = (),
    sample: str | None = None,
    haploid: HaploidRegions = DIPLOID,
) -> Iterator[Item]:
    """The records of all sites and any reference blocks, in order, overlaps resolved.

    The blocks still have to make way (`gvcf.make_way`).

    Files whose records are in order are merged as they are read. Others
    (DeepVariant's own, which deals records out from several shards) are sorted
    in memory.

    Parameters
    ----------
    files : sequence of AnswerFile
        In any order.
    contigs : mapping of str to int
        Of the reference, in the order of the output.
    reference_blocks : sequence of Path
        Files of reference-confidence blocks, in any order; each in the order of
        the genome.
    sample : str, optional
        Whose blocks these must be.
    haploid : HaploidRegions

    Raises
    ------
    InputError
        If a site's images are not one for each ALT and each pair of ALTs; or if
        reference blocks are damaged, out of order, of another sample, or overlap.
    """
    rank = _ranks(contigs)

    def stream(file: AnswerFile) -> Iterator[tuple[Place, ImageCall]]:
        placed = ((_place(call, rank), call) for call in read_calls(file.path))
        return placed if file.in_order else iter(sorted(placed, key=_first))

    merged = heapq.merge(*map(stream, files), key=_first)
    sites = groupby(merged, key=_first)
    called = (_record([call for _, call in group], haploid) for _, group in sites)
    blocks = _gathered(_merged_blocks(reference_blocks, contigs, sample))
    return resolve_overlaps(interleave(called, blocks, rank))


def _merged_blocks(
    files: Sequence[Path], contigs: Mapping[str, int], sample: str | None
) -> Iterator[ReferenceBlock]:
    """The blocks of several files in the order of the genome."""
    rank = _ranks(contigs)

    def stream(path: Path) -> Iterator[tuple[Place, Path, ReferenceBlock]]:
        last: Place = (0, 0, 0)
        for block in read_blocks(path):
            where = f"{path}: the reference block at {block.contig}:{block.start + 1:,}"
            if block.end > contigs.get(block.contig, -1):
                raise InputError(
                    f"{where} is not in the reference; give --ref the reference that the reads "
                    "were aligned to"
                )
            if block.sample != sample:
                raise InputError(
                    f"{where} is of sample '{block.sample}', not of '{sample}'; give the files of "
                    "one sample"
                )
            place = rank[block.contig], block.start, block.end
            if place < last:
                raise InputError(f"{where} is out of order; make the file again")
            last = place
            yield place, path, block

    contig, end = "", 0
    for _, path, block in heapq.merge(*map(stream, files), key=_first_place):
        if block.contig == contig and block.start < end:
            raise InputError(
                f"{path}: the reference block at {contig}:{block.start + 1:,} overlaps another; "
                "give every shard of one run, each once"
            )
        contig, end = block.contig, block.end
        yield block


def _gathered(blocks: Iterable[ReferenceBlock]) -> Iterator[ReferenceBlocks]:
    """Single blocks as arrays."""
    for contig, group in groupby(blocks, key=attrgetter("contig")):
        while some := list(islice(group, BLOCKS_AT_ONCE)):
            yield ReferenceBlocks(
                contig,
                np.array([block.start for block in some], np.int64),
                np.array([block.end for block in some], np.int64),
                np.array([block.base for block in some], np.uint8),
                np.array([block.called for block in some], np.bool_),
                np.array([block.genotype_quality for block in some], np.int32),
                np.array([block.min_depth for block in some], np.int32),
                np.array([block.log10_likelihoods for block in some], np.float64),
            )


def _ranks(contigs: Mapping[str, int]) -> dict[str, int]:
    return {contig: rank for rank, contig in enumerate(contigs)}


def _first(placed: tuple[Place, ImageCall]) -> Place:
    return placed[0]


def _first_place(placed: tuple[Place, Path, ReferenceBlock]) -> Place:
    return placed[0]


def _record(calls: Sequence[ImageCall], haploid: HaploidRegions) -> Record:
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
    return genotype(
        site.contig,
        site.start,
        site.alleles,
        site.depth,
        site.allele_depths,
        images,
        joint=all(call.joint for call in calls),
        haploid=haploid.cover(site.contig, site.start),
        model_id=next(filter(None, (call.site.model_id for call in calls)), ""),
    )
