"""Half-real donors: variants planted into real reads, or into their reference.

Homozygous ones are planted by changing the reference under the reads, and
heterozygous ones by writing them into the reads of half of the fragments; then
the reads are aligned again. Errors, qualities and mapping qualities stay real,
and so does what looks like a variant where the truth says reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OptionError
from pileupcnn.kernels.planting import Planter, throw_coins
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reads import ReadBatch, ReadSettings, Scanner
from pileupcnn.reference import Reference, common_contigs
from pileupcnn.regions import Region, partitions, read_bed, resolve_regions
from pileupcnn.simulate.alignment import Progress, align, index_reference, require_bwa
from pileupcnn.simulate.donor import EDGE, HELD_OUT, apply, subtract
from pileupcnn.simulate.population import PopulationSettings, invent
from pileupcnn.simulate.run import (
    FILES,
    finished_folder,
    identity,
    is_finished,
    refuse_scoring,
)
from pileupcnn.simulate.variants import (
    DonorVariant,
    normalise,
    phased,
    settle,
    shift_end,
    write_truth,
)
from pileupcnn.vcf import TruthReader, TruthVariant

CLEARANCE = 300
"""Least distance in bp between a planted variant and a real one."""

PLANTED_FILES = ("reference.fa", "reference.fa.fai", *FILES)
"""What a finished folder holds; the parameters come last."""

SURE = 20
"""Mismatches of lower quality are errors of their cycle; others belong to the sequence."""

LONGEST_WINDOW = 1_000_000
"""bp planted in at a time; longer regions are cut, as a window's reads are held in memory."""

DENSE = PopulationSettings(snp_rate=1.5e-3, indel_rate=6e-4)
"""Denser than nature, since the places are few; still hundreds of bp apart."""

Variants = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]
"""Variants as `Planter.plant` takes them: anchors, changes, offsets, texts."""

_LINE = 60


@dataclass(frozen=True, slots=True)
class Planting:
    """Everything that decides what a half-real donor looks like.

    Attributes
    ----------
    reads : tuple of Path
        Indexed BAM or CRAM files of one sample.
    reference : Path
        Indexed FASTA that they were aligned to.
    truth : Path
        Indexed VCF with the sample's real variants.
    confident : Path
        BED in which the truth is complete.
    regions : tuple of str
        As `resolve_regions` takes them; empty for all of `confident`.
    mask : bool
        Whether `HELD_OUT` is left out.
    population : PopulationSettings
        What is planted.
    sample : str
    seed : int
    """

    reads: tuple[Path, ...]
    reference: Path
    truth: Path
    confident: Path
    regions: tuple[str, ...] = ()
    mask: bool = True
    population: PopulationSettings = field(default_factory=lambda: DENSE)
    sample: str = "PLANTED"
    seed: int = 1

    def parameters(self, regions: Sequence[Region]) -> dict[str, Any]:
        """All of it as JSON; input files by name and content, not by folder."""
        return {
            "reads": [identity(path) for path in self.reads],
            **{n: identity(getattr(self, n)) for n in ("reference", "truth", "confident")},
            "regions": [str(region).replace(",", "") for region in regions],
            "mask": self.mask,
            "population": dataclasses.asdict(self.population),
            "sample": self.sample,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class PlantedWindow:
    """One region of a half-real donor.

    Attributes
    ----------
    region : Region
        In the real reference.
    bases : bytes
        The real reference.
    changed : bytes
        The reference with its homozygous plantings: what the window's reads
        are aligned to.
    planted : list of DonorVariant
        In real coordinates, by position; all that were planted.
    truth : list of DonorVariant
        Real and planted variants, in coordinates of `changed`.
    confident : list of Region
        Where these are all, in coordinates of `changed`.
    """

    region: Region
    bases: bytes
    changed: bytes
    planted: list[DonorVariant]
    truth: list[DonorVariant]
    confident: list[Region]

    @property
    def name(self) -> str:
        """Name of the window as a contig of its own."""
        return f"{self.region.contig}_{self.region.start + 1}_{self.region.end}"

    def homozygous(self) -> list[DonorVariant]:
        """Those planted into the reference."""
        return [variant for variant in self.planted if _is_homozygous(variant)]

    def lift(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Real positions in coordinates of `changed`."""
        return lift(positions, self.region.start, self.homozygous())


def _is_homozygous(variant: DonorVariant) -> bool:
    return variant.genotype[0] == variant.genotype[1]


def lift(
    positions: NDArray[np.int64], start: int, changes: Sequence[DonorVariant]
) -> NDArray[np.int64]:
    """Where positions of a window from `start` on come to lie when it is changed.

    Parameters
    ----------
    positions : int64
    start : int
    changes : sequence of DonorVariant
        By position; each takes its first ALT. Inside one the new allele's end
        is the furthest that a position can come to.
    """
    ends = np.array([variant.end for variant in changes], np.int64)
    growth = [len(variant.alleles[1]) - len(variant.alleles[0]) for variant in changes]
    shift = np.concatenate(([0], np.cumsum(growth))).astype(np.int64)
    before = np.searchsorted(ends, positions, side="right")
    moved = positions - start + shift[before]
    if len(ends):
        # inside a change that shortens: not past its new end
        inside = np.minimum(before, len(ends) - 1)
        last = ends[inside] - start + shift[inside + 1]
        moved = np.where(before < len(ends), np.minimum(moved, last), moved)
    return np.asarray(moved, np.int64)


def plant(
    planting: Planting,
    output: Path,
    threads: int = 1,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Make a half-real donor, unless `output` already holds just this one.

    Parameters
    ----------
    planting : Planting
    output : Path
        Folder for `PLANTED_FILES`; made if missing. Each region is a contig of
        its own there, with the coordinates of the changed reference.
    threads : int
        For bwa and sorting; the files do not depend on it.
    progress : function of two ints
        Told reads mapped, and in all.

    Returns
    -------
    bool
        False if the donor was there.

    Raises
    ------
    OptionError
        If no region is left to plant in.
    InputError
        If an input cannot be used, or bwa is missing.
    OutputError
        If the folder cannot be written or holds another donor.
    """
    settings = ReadSettings(min_mapping_quality=0, max_reads_per_partition=0)
    with (
        Reference(planting.reference) as reference,
        Scanner(planting.reads, planting.reference, settings) as scanner,
        TruthReader(planting.truth) as truth,
    ):
        for path in planting.reads:
            refuse_scoring(path)
        contigs = common_contigs(reference.lengths, scanner.lengths, planting.reads[0])
        confident = ConfidentRegions(read_bed(planting.confident, contigs))
        if not confident.regions:
            raise InputError(
                f"{planting.confident}: no interval on a contig of the reads; compare the contig "
                "names"
            )
        regions = _regions(planting, contigs, confident)
        parameters = planting.parameters(regions)
        if is_finished(output, PLANTED_FILES, parameters):
            return False
        require_bwa()
        variants_seed, coins_seed = np.random.SeedSequence(planting.seed).spawn(2)
        rng = np.random.default_rng(variants_seed)
        windows = [
            plant_window(region, reference, truth, confident, planting.population, rng)
            for region in regions
        ]
        coin = int(np.random.default_rng(coins_seed).integers(2**63))
        with finished_folder(output, PLANTED_FILES, parameters) as folder:
            fasta = folder / "reference.fa"
            _write_fasta(fasta, windows)
            _write_truth(windows, folder, planting.sample)
            prefix = index_reference(fasta, folder / "index")
            fastq = (_planted_fastq(window, scanner, coin) for window in windows)
            align(
                fastq, prefix, folder / "reads.bam", planting.sample, threads, folder, progress
            )  # fmt: skip
    return True


def _regions(
    planting: Planting, contigs: dict[str, int], confident: ConfidentRegions
) -> list[Region]:
    """The regions to plant in, long enough for a variant and its margins, and not too long."""
    if planting.regions:
        regions = resolve_regions(planting.regions, contigs)
    else:
        # near stretches of a BED are one region, else margins would be all there is
        regions = []
        for region in confident.regions:
            last = regions[-1] if regions else None
            if last and last.contig == region.contig and region.start - last.end < EDGE:
                regions[-1] = Region(last.contig, last.start, region.end)
            else:
                regions.append(region)
    if planting.mask:
        regions = subtract(regions, HELD_OUT)
    regions = [r for r in partitions(regions, LONGEST_WINDOW) if len(r) >= 3 * EDGE]
    if not regions:
        raise OptionError(
            f"no region of {3 * EDGE:,} bp is left outside the held-out regions; give longer "
            "--regions, or --no-mask if nobody is judged on them"
        )
    return regions


def plant_window(
    region: Region,
    reference: Reference,
    truth: TruthReader,
    confident: ConfidentRegions,
    population: PopulationSettings,
    rng: np.random.Generator,
) -> PlantedWindow:
    """Draw what is planted in a region, and lift it with the real variants.

    Nothing is planted outside `confident`, within `CLEARANCE` of a real variant
    or within `EDGE` of the region's ends. A variant that the truth cannot have,
    for lack of a genotype or in conflict with another one, takes its surroundings
    out of what is confident.
    """
    bases = reference.fetch(region.contig, region.start, region.end)
    real = truth.fetch(region)
    inside = confident.intersect([region])
    taken = np.ones(len(bases), bool)
    for part in inside:
        taken[part.start - region.start : part.end - region.start] = False
    taken[:EDGE] = taken[-EDGE:] = True
    taken |= ~np.isin(np.frombuffer(bases, np.uint8), np.frombuffer(b"ACGT", np.uint8))
    for variant in real:
        first = max(0, variant.start - region.start - CLEARANCE)
        taken[first : max(0, _end(variant) - region.start + CLEARANCE)] = True
    drawn = settle(invent(region, bases, population, taken, rng), bases, region)
    planted = [variant for variant in drawn if all(map(_is_plain, _by_haplotype(variant)))]
    homozygous = [variant for variant in planted if _is_homozygous(variant)]
    changed = apply(bases, homozygous, region, 0).tobytes()
    window = PlantedWindow(region, bases, changed, planted, [], [])
    sampled = phased(real, rng)
    known = settle(sampled, bases, region)
    whole = Region(window.name, 0, len(changed))
    moved = list(_lifted([*known, *planted], window))
    lifted = settle(moved, changed, whole)
    unclear: list[TruthVariant | DonorVariant] = [
        *(variant for variant in real if min(variant.genotype) < 0),
        *_dropped(sampled, known, bases, region),
    ]
    holes = [
        *_around(unclear),
        Region(region.contig, region.start, region.start + EDGE),
        Region(region.contig, region.end - EDGE, region.end),
    ]
    left = subtract(inside, holes)
    edges = window.lift(np.array([(part.start, part.end) for part in left]).reshape(-1))
    sure = [Region(window.name, a, b) for a, b in edges.reshape(-1, 2).tolist() if a < b]
    sure = subtract(sure, _around(_dropped(moved, lifted, changed, whole)))
    return dataclasses.replace(window, truth=lifted, confident=sure)


def _end(variant: TruthVariant | DonorVariant) -> int:
    return variant.start + len(variant.alleles[0])


def _dropped(
    variants: Iterable[DonorVariant], kept: Sequence[DonorVariant], bases: bytes, region: Region
) -> list[DonorVariant]:
    """Those that `settle` left out of `kept`: in conflict with another, or impossible here."""
    known = set(kept)
    return [v for v in variants if known.isdisjoint(settle([v], bases, region))]


def _around(variants: Iterable[TruthVariant | DonorVariant]) -> list[Region]:
    """The surroundings of variants in which a truth without them is not to be trusted."""
    return [Region(v.contig, max(0, v.start - CLEARANCE), _end(v) + CLEARANCE) for v in variants]


def _lifted(variants: Iterable[DonorVariant], window: PlantedWindow) -> Iterator[DonorVariant]:
    """Variants in coordinates of the changed reference, of which planted ones are part."""
    for variant in sorted(variants, key=lambda v: v.start):
        start = int(window.lift(np.array([variant.start]))[0])
        alleles = variant.alleles
        if _is_homozygous(variant) and variant in window.planted:
            alleles = (alleles[1], alleles[0])
        yield DonorVariant(window.name, start, alleles, variant.genotype)


def _by_haplotype(variant: DonorVariant) -> list[tuple[int, str, str]]:
    """Start, REF and ALT of each ALT that a haplotype has, trimmed by itself."""
    found = []
    for allele in sorted(set(variant.genotype) - {0}):
        trimmed = _trimmed(variant.start, variant.alleles[0], variant.alleles[allele])
        found.append(trimmed)
    return found


def _trimmed(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    while min(len(ref), len(alt)) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while min(len(ref), len(alt)) > 1 and ref[0] == alt[0]:
        ref, alt, start = ref[1:], alt[1:], start + 1
    return start, ref, alt


def _is_plain(allele: tuple[int, str, str]) -> bool:
    """Whether it is a substitution of one base, an insertion or a deletion."""
    _, ref, alt = allele
    return min(len(ref), len(alt)) == 1 and (len(ref) == len(alt) or ref[0] == alt[0])


def read_variants(
    variants: Iterable[DonorVariant], haplotype: int, bases: bytes, start: int
) -> tuple[Variants, Variants]:
    """A haplotype's heterozygous variants, as reads on either strand meet them.

    An indel that could be placed elsewhere is met at its left end by reads on
    the forward strand, and at its right end by those on the reverse one.

    Parameters
    ----------
    variants : iterable of DonorVariant
        By position; homozygous ones are left out.
    haplotype : int
    bases : bytes
        The reference, from `start` on.
    start : int

    Returns
    -------
    forward, reverse : tuple of arrays
        As `Planter.plant` takes them.
    """
    forward: list[tuple[int, int, bytes]] = []
    reverse: list[tuple[int, int, bytes]] = []
    for variant in variants:
        allele = variant.genotype[haplotype]
        if not allele or _is_homozygous(variant):
            continue
        at, ref, alt = _trimmed(variant.start, variant.alleles[0], variant.alleles[allele])
        if len(ref) == len(alt):
            forward.append((at, 0, alt.encode()))
            reverse.append((at, 0, alt.encode()))
            continue
        found = normalise(bases, at - start, (ref, alt))
        if found is not None:
            at, (ref, alt) = found[0] + start, found[1]
        change = len(alt) - len(ref)
        text = max(ref, alt, key=len)[1:].encode()
        forward.append((at, change, text if change > 0 else b""))
        # slid to the right as far as it goes
        end = start + shift_end(bases, at - start, (ref, alt))
        turned = (end - at - 1) % len(text)
        slid = text[turned:] + text[:turned]
        reverse.append((end, change, slid[::-1] if change > 0 else b""))
    return _packed(sorted(forward)), _packed(sorted(reverse, reverse=True))


def _packed(variants: Sequence[tuple[int, int, bytes]]) -> Variants:
    return (
        np.array([anchor for anchor, _, _ in variants], np.int64),
        np.array([change for _, change, _ in variants], np.int64),
        np.cumsum([0, *(len(text) for _, _, text in variants)], dtype=np.int64),
        np.frombuffer(b"".join(text for _, _, text in variants), np.uint8),
    )


def planted_bases(
    window: PlantedWindow, reads: ReadBatch, planter: Planter, coin: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Write a window's heterozygous variants into its reads.

    Parameters
    ----------
    window : PlantedWindow
    reads : ReadBatch
    planter : Planter
        Of these reads.
    coin : int
        Seed of the coins that say which haplotype a fragment is from.

    Returns
    -------
    used : uint8 [n]
        Whether a read lies in the window with all its aligned bases.
    haplotype : uint8 [n]
        0 or 1; the same for all reads of a fragment.
    bases : uint8
        As `ReadBatch.bases`.
    """
    region = window.region
    inside = (reads.start >= region.start) & (reads.end <= region.end)
    haplotype = throw_coins(reads.names, reads.name_offset, coin)
    bases = reads.bases
    for number in (0, 1):
        forward, reverse = read_variants(window.planted, number, window.bases, region.start)
        chosen = inside & (haplotype == number)
        planted = planter.plant(chosen.astype(np.uint8), forward, reverse)
        bases = np.where(np.repeat(chosen, np.diff(reads.base_offset)), planted, bases)
    return inside.astype(np.uint8), haplotype, bases


def _planted_fastq(window: PlantedWindow, scanner: Scanner, coin: int) -> bytes:
    region = window.region
    reads = scanner.scan(tuple(partitions([region])))
    planter = Planter(reads, np.frombuffer(window.bases, np.uint8), region.start, SURE)
    used, _, bases = planted_bases(window, reads, planter, coin)
    return planter.fastq(used, bases, window.lift(reads.start) + 1)


def _write_fasta(path: Path, windows: Iterable[PlantedWindow]) -> None:
    with open(path, "w") as fasta:
        for window in windows:
            text = window.changed.decode()
            lines = (text[at : at + _LINE] for at in range(0, len(text), _LINE))
            fasta.write(f">{window.name}\n" + "\n".join(lines) + "\n")
    pysam.faidx(str(path))


def _write_truth(windows: Sequence[PlantedWindow], folder: Path, sample: str) -> None:
    variants = [variant for window in windows for variant in window.truth]
    contigs = {window.name: len(window.changed) for window in windows}
    write_truth(folder / "truth.vcf.gz", variants, contigs, sample)
    with open(folder / "confident.bed", "w") as bed:
        for window in windows:
            for region in window.confident:
                bed.write(f"{region.contig}\t{region.start}\t{region.end}\n")
