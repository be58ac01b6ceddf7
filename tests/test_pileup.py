"""All channels and layouts of images: against the slow reference, and by hand.

Many of the cases by hand have the bases and numbers of DeepVariant's own unit
tests (of its channels, its alt-aligned pileups and its image rows).
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import Read, is_used, overlaps
from reference.counting import pooled_support
from reference.drawing import Geometry, Style, draw_image, image_alts
from strategies import Scene, geometries, scenes, to_batch, write_bam, write_fasta
from test_kernels_properties import as_reference_candidates, draw, regions_of, whole_window

from pileupcnn.candidates import CandidateBatch, CandidateSettings, find_candidates
from pileupcnn.errors import OptionError
from pileupcnn.example_info import ExampleInfo
from pileupcnn.examples import ExampleMaker, ExampleSettings
from pileupcnn.kernels.channels import DRAWABLE
from pileupcnn.pileup import (
    BASE_CHANNELS,
    AltAlignedPileup,
    Channel,
    PileupSpec,
    TypesToAltAlign,
    draw_images,
    make_drawer,
    plan_images,
    spec_from_info,
    write_numbers,
)
from pileupcnn.regions import Region
from pileupcnn.small_model import INPUTS, inputs, pixels

SETTINGS = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
FREQUENCIES = [0, 0.000009, 0.00001, 0.0000101, 0.0005, 0.012, 0.1, 0.5, 0.999, 1]
ELSEWHERE = {Channel.NUMBERS, Channel.FLANK}
"""Tested by themselves."""
ANY = sorted(DRAWABLE - ELSEWHERE)
OTHERS = sorted(DRAWABLE - ELSEWHERE - set(BASE_CHANNELS))


def with_modifications(scene: Scene, seed: int) -> list[Read]:
    """The used reads of a scene, most with modified bases, some with odd HP tags."""
    rng = random.Random(seed)
    values = [0, 0, 0, 1, 100, 127, 128, 254, 255]
    return [
        dataclasses.replace(
            read,
            methylation=tuple(rng.choice(values) for _ in read.bases) if rng.random() < 0.7 else (),
            methylation_6ma=tuple(rng.choice(values) for _ in read.bases),
            hp=rng.choice([read.hp, read.hp, -1, 3, 300]),
        )
        for read in scene.reads
        if is_used(read)
    ]


def with_frequencies(candidates: CandidateBatch, seed: int) -> CandidateBatch:
    """Candidates whose ALTs have some frequency in a population."""
    frequency = np.random.default_rng(seed).choice(FREQUENCIES, len(candidates.allele_depth))
    frequency[candidates.allele_offset[:-1]] = 0
    return dataclasses.replace(candidates, allele_frequency=frequency.astype(np.float32))


def check_images(
    scene: Scene, reads: list[Read], geometry: Geometry, seed: int, spec: dict[str, Any]
) -> int:
    """Draw all images of a scene and compare them; how many there are."""
    batch = to_batch(reads, scene.partitions)
    window = whole_window(scene.contig)
    found = find_candidates(batch, regions_of(scene), window, CandidateSettings())
    found = with_frequencies(found, seed)
    plan = plan_images(found)
    images = draw(batch, found, plan, window, geometry, len(plan) // 2, **spec)
    assert found.allele_frequency is not None
    layout = spec.get("alt_aligned_pileup", AltAlignedPileup.NONE)
    style = Style(
        tuple(map(int, spec["channels"])),
        layout.value,
        spec.get("types_to_alt_align") is TypesToAltAlign.ALL,
        spec.get("sort_by_haplotypes", False),
        spec.get("mean_coverage", 0),
    )
    drawn = 0
    for i, (partition, candidate) in enumerate(as_reference_candidates(batch, found)):
        start, end = scene.partitions[partition]
        pool = [read for read in reads if overlaps(read, start, end)]
        first = found.allele_offset[i] + 1
        frequencies = dict(
            zip(candidate.alts, found.allele_frequency[first:].tolist(), strict=False)
        )
        own = dataclasses.replace(style, frequencies=frequencies)
        for shown in image_alts(len(candidate.alts)):
            expected = draw_image(pool, candidate, shown, scene.contig, geometry, own)
            np.testing.assert_array_equal(images[drawn], expected, err_msg=repr(candidate))
            drawn += 1
    return drawn


@SETTINGS
@given(
    scene=scenes(),
    geometry=geometries,
    channels=st.lists(st.sampled_from(ANY), unique=True, min_size=1),
    seed=st.integers(0, 1000),
    sort=st.booleans(),
    coverage=st.sampled_from([0, 2.9, 7, 1000]),
)
def test_channels_are_the_reference_s_in_any_order(
    scene: Scene, geometry: Geometry, channels: list[int], seed: int, sort: bool, coverage: float
) -> None:
    reads = with_modifications(scene, seed)
    spec = {
        "channels": tuple(map(Channel, channels)),
        "sort_by_haplotypes": sort,
        "mean_coverage": coverage,
    }
    check_images(scene, reads, geometry, seed, spec)


@SETTINGS
@given(
    scene=scenes(max_copies=4),
    geometry=geometries,
    others=st.lists(st.sampled_from(OTHERS), unique=True, max_size=3),
    layout=st.sampled_from(list(AltAlignedPileup)[1:]),
    types=st.sampled_from(TypesToAltAlign),
    seed=st.integers(0, 1000),
)
def test_alt_aligned_images_are_the_reference_s(
    scene: Scene,
    geometry: Geometry,
    others: list[int],
    layout: AltAlignedPileup,
    types: TypesToAltAlign,
    seed: int,
) -> None:
    reads = with_modifications(scene, seed)
    spec = {
        "channels": (*BASE_CHANNELS, *map(Channel, others)),
        "alt_aligned_pileup": layout,
        "types_to_alt_align": types,
        "sort_by_haplotypes": seed % 2 == 0,
    }
    check_images(scene, reads, geometry, seed, spec)


@st.composite
def indel_scenes(draw: st.DrawFn) -> Scene:
    """Reads with or without one indel, or with its half, in a contig of 200 to 300 bases.

    Some have mismatches or clips; some are as long as the k-mers that place reads
    without gaps, or shorter. The CIGARs of some say nothing of the indel.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    contig = "".join(rng.choices("ACGT", k=rng.randrange(200, 300)))
    at = rng.randrange(60, len(contig) - 60)
    contig = contig[:at] + contig[at] * rng.randrange(6) + contig[at:]
    length = rng.randrange(1, 12)
    inserted = "".join(rng.choices("ACGT", k=length)) if rng.random() < 0.5 else ""
    deleted = 0 if inserted else length
    reads = []
    for number in range(draw(st.integers(3, 24))):
        start, tail = rng.randrange(at - 59, at), rng.randrange(5, 45)
        kind = rng.choice(["alt", "alt", "ref", "half", "hidden"])
        new, old = ("", 0) if kind == "ref" else (inserted, deleted)
        if kind == "half":
            new, old = new[: len(new) // 2], old // 2
        bases = list(contig[start : at + 1] + new + contig[at + 1 + old : at + 1 + old + tail])
        cigar = [("M", at + 1 - start), ("I", len(new)), ("D", old), ("M", tail)]
        if kind == "hidden" and start + len(bases) < len(contig):
            cigar = [("M", len(bases))]
        if rng.random() < 0.3:
            cigar.insert(0, ("S", 5))
            bases[:0] = rng.choices("ACGT", k=5)
        for i in range(len(bases)):
            if rng.random() < 0.01:
                bases[i] = rng.choice("ACGTN")
        name = f"r{number}"
        operations = tuple((op, n) for op, n in cigar if n)
        qualities = tuple(rng.choice([5, 20, 40]) for _ in bases)
        reads.append(
            Read(name, 0, start, 60, 0, 300, operations, "".join(bases), qualities, number % 4)
        )
    reads.sort(key=lambda read: read.start)
    return Scene(contig, ((0, len(contig)),), tuple(reads))


@SETTINGS
@given(
    scene=indel_scenes(),
    half=st.sampled_from([15, 30, 50]),
    layout=st.sampled_from(list(AltAlignedPileup)[1:]),
    seed=st.integers(0, 1000),
)
def test_indels_are_aligned_to_their_alts_as_in_the_reference(
    scene: Scene, half: int, layout: AltAlignedPileup, seed: int
) -> None:
    geometry = Geometry(15, 2 * half + 1)
    others = [Channel.IDENTITY, Channel.GAP_COMPRESSED_IDENTITY, Channel.BASE_METHYLATION]
    channels = (*BASE_CHANNELS, *(others if layout is AltAlignedPileup.ROWS else ()))
    spec = {"channels": channels, "alt_aligned_pileup": layout, "sort_by_haplotypes": True}
    check_images(scene, with_modifications(scene, seed), geometry, seed, spec)


@SETTINGS
@given(
    scene=scenes(max_copies=20),
    heights=st.lists(st.integers(7, 14), min_size=2, max_size=3),
    half=st.integers(8, 20),
    layout=st.sampled_from(AltAlignedPileup),
    data=st.data(),
)
def test_several_samples_are_stacked(
    scene: Scene,
    heights: list[int],
    half: int,
    layout: AltAlignedPileup,
    data: st.DataObject,
    tmp_path: Path,
) -> None:
    """Each with its own reads, all with the candidates of one; support is a matter of names."""
    seed = data.draw(st.integers(0, 1000))
    main = data.draw(st.integers(0, len(heights) - 1))
    rng = random.Random(seed)
    # a name may be in two samples
    samples = [[read for read in scene.reads if rng.random() < 0.7] for _ in heights]
    write_fasta(tmp_path / "ref.fa", {"c": scene.contig, "elsewhere": "A" * 50})
    paths = [[tmp_path / f"{i}.bam"] for i in range(len(samples))]
    for (path,), reads in zip(paths, samples, strict=True):
        write_bam(path, {"c": len(scene.contig), "elsewhere": 50}, reads)
    spec = PileupSpec(
        sum(heights),
        2 * half + 1,
        alt_aligned_pileup=layout,
        sample_heights=tuple(heights),
        main_sample=main,
    )
    others = [path for i, path in enumerate(paths) if i != main]
    with ExampleMaker(
        paths[main], tmp_path / "ref.fa", ExampleSettings(pileup=spec), others=others
    ) as maker:
        made = maker.run_examples(regions_of(scene))
    images = made.draw(0, len(made.plan))
    used = [[read for read in reads if is_used(read)] for reads in samples]
    drawn = 0
    for partition, candidate in as_reference_candidates(made.reads, made.candidates):
        start, end = scene.partitions[partition]
        pools = [[read for read in reads if overlaps(read, start, end)] for reads in used]
        first_main = [pools[main], *(pool for i, pool in enumerate(pools) if i != main)]
        support = pooled_support(first_main, scene.contig, start, end, candidate.start)
        candidate = dataclasses.replace(candidate, support=support)
        for shown in image_alts(len(candidate.alts)):
            blocks = [
                draw_image(
                    pool,
                    candidate,
                    shown,
                    scene.contig,
                    Geometry(height, spec.width),
                    Style(layout=layout.value),
                )
                for pool, height in zip(pools, heights, strict=True)
            ]
            if layout is AltAlignedPileup.ROWS:
                # the samples of one point of view after those of another
                thirds = [np.split(block, 3) for block in blocks]
                blocks = [third[k] for k in range(3) for third in thirds]
            np.testing.assert_array_equal(images[drawn], np.concatenate(blocks))
            drawn += 1
    assert drawn == len(made.plan)


def test_the_reads_of_each_sample_are_wanted(testdata: Path) -> None:
    paths = [testdata / "sample.bam"], testdata / "ref.fa"
    settings = ExampleSettings(pileup=PileupSpec(200, sample_heights=(100, 100)))
    with pytest.raises(OptionError, match="show 2 samples, and the reads of 1"):
        ExampleMaker(*paths, settings)
    with pytest.raises(OptionError, match="show 1 samples, and the reads of 2"):
        ExampleMaker(*paths, ExampleSettings(), others=[paths[0]])


def read_of(bases: str, cigar: str, start: int = 0, name: str = "r", **others: Any) -> Read:
    """A read of good quality; clips and gaps as in SAM."""
    operations = tuple((op, int(n)) for n, op in re.findall(r"(\d+)(\D)", cigar))
    return Read(
        name, 0, start, 60, 0, others.pop("tlen", 300), operations, bases,
        others.pop("qualities", (40,) * len(bases)), **others,
    )  # fmt: skip


def image_of(
    contig: str,
    reads: list[Read],
    start: int,
    alleles: tuple[str, ...],
    supporters: tuple[tuple[int, ...], ...] = (),
    frequencies: tuple[float, ...] = (),
    shown: int = 0,
    **spec: Any,
) -> NDArray[np.uint8]:
    """One image of a candidate at `start`; `supporters` are the reads of each ALT."""
    supporters = supporters or ((),) * (len(alleles) - 1)
    support = [i for own in supporters for i in own]
    candidates = CandidateBatch(
        contig="c",
        start=np.array([start]),
        end=np.array([start + len(alleles[0])]),
        partition=np.zeros(1, np.int32),
        depth=np.zeros(1, np.int32),
        allele_offset=np.array([0, len(alleles)]),
        base_offset=np.cumsum([0, *map(len, alleles)]),
        bases=np.frombuffer("".join(alleles).encode(), np.uint8),
        allele_depth=np.zeros(len(alleles), np.int32),
        support_offset=np.cumsum([0, 0, *map(len, supporters)]),
        support=np.array(support, np.int32),
        matches=0,
        mismatches=0,
        allele_frequency=np.array([0, *frequencies], np.float32) if frequencies else None,
    )
    batch = to_batch(reads, [(0, len(contig))])
    drawer = make_drawer(
        PileupSpec(**spec),
        min_base_quality=10,
        min_mapping_quality=5,
    )
    images = np.full((1, *PileupSpec(**spec).shape), 7, np.uint8)
    plan = plan_images(candidates)
    draw_images(drawer, batch, candidates, plan, whole_window(contig), images, shown)
    return images[0]


def shade(value: float, cap: float) -> int:
    """Share of 254 that is below `cap`."""
    return int(254 * value / cap)


@pytest.mark.parametrize(
    ("channel", "bases", "cigar", "value"),
    [
        ("read_mapping_percent", "A" * 10 + "T" * 10, "10M10D10S", shade(50, 100)),
        ("identity", "A" * 10 + "T" * 10, "10M2I8M", shade(90, 100)),
        ("identity", "A" * 10 + "T" * 10, "10=2X8=", shade(90, 100)),
        ("gap_compressed_identity", "A" * 20, "3M4I13M", shade(94, 100)),
        ("gap_compressed_identity", "A" * 16, "3M4D13M", shade(94, 100)),
        ("gap_compressed_identity", "A" * 20, "6=4X4I6=", shade(70, 100)),
        ("gc_content", "GGGGGCCCCCGGGGGCCCCC", "20M", 254),
        ("gc_content", "GGGGGTTTTTGGGGGTTTTT", "20M", shade(50, 100)),
        ("blank", "A" * 20, "20M", 0),
        ("mean_coverage", "A" * 20, "20M", 0),
    ],
)
def test_a_read_has_one_value(channel: str, bases: str, cigar: str, value: int) -> None:
    spec = {"height": 4, "width": 41, "reference_rows": 1, "channels": (Channel[channel.upper()],)}
    image = image_of("A" * 60, [read_of(bases, cigar, 20)], 30, ("A", "C"), **spec)
    assert set(image[1, 10:, 0].tolist()) <= {0, value}
    assert (image[1, 10:13, 0] == value).all()


@pytest.mark.parametrize(
    ("tlen", "value"), [(22, 5), (-22, 5), (0, 0), (1000, 254), (1001, 254), (500, 127)]
)
def test_insert_size(tlen: int, value: int) -> None:
    spec = {"height": 2, "width": 21, "reference_rows": 1, "channels": (Channel.INSERT_SIZE,)}
    image = image_of("A" * 60, [read_of("A" * 40, "40M", tlen=tlen)], 20, ("A", "C"), **spec)
    assert image[:, :, 0].tolist() == [[254] * 21, [value] * 21]


@pytest.mark.parametrize(
    ("alleles", "value"),
    [(("A", "C"), 0), (("A", "AT"), 42), (("AAAA", "A"), 84), (("A", "A" + "CG" * 40), 254)],
)
def test_allele_length(alleles: tuple[str, str], value: int) -> None:
    spec = {"height": 2, "width": 21, "reference_rows": 1, "channels": (Channel.ALLELE_LENGTH,)}
    image = image_of("A" * 60, [read_of("A" * 40, "40M")], 20, alleles, **spec)
    assert image[:, :, 0].tolist() == [[value] * 21, [0] * 21]


def tract(reference: str, start: int, ref: str, alt: str, low: int, high: int) -> tuple[int, int]:
    """By trying: where the same change of length gives the same sequence, from `low` to `high`."""
    changed = reference[:start] + alt + reference[start + len(ref) :]
    deleted = max(len(ref) - len(alt), 0)
    inserted = max(len(alt) - len(ref), 0)
    places = [
        at
        for at in range(len(reference) - deleted + 1)
        if deleted != inserted
        and changed[:at] == reference[:at]
        and changed[at + inserted :] == reference[at + deleted :]
    ]
    # what both begin or end in does not count; the end is looked for first
    n, m, front = len(ref), len(alt), 0
    while front < min(n, m) and ref[front] == alt[front]:
        front += 1
    while n > front and m > front and ref[n - 1] == alt[m - 1]:
        n, m = n - 1, m - 1
    if not places:
        return start + front, start + n
    begin, end = min(places), max(places) + deleted
    return min(start + front, max(begin, low)), max(start + n, min(end, high))


@st.composite
def repeat_and_read(draw: Any) -> tuple[str, tuple[str, str], Read]:
    """A reference of two letters, a change at 60 and a read somewhere over it."""
    reference = draw(st.text("AC", min_size=150, max_size=150))
    unit = draw(st.text("AC", min_size=1, max_size=3))
    reference = reference[:61] + (unit * 12)[: draw(st.integers(0, 14))] + reference[61:]
    length = draw(st.integers(0, 4))
    alleles = {
        "SNP": (reference[60], "G"),
        "deletion": (reference[60 : 61 + length], reference[60]),
        "insertion": (reference[60], reference[60] + draw(st.text("AC", max_size=4))),
        "other": (reference[60:63], "GT"),
    }[draw(st.sampled_from(["SNP", "deletion", "insertion", "other"]))]
    start = draw(st.integers(20, 60))
    read = read_of("A" * (end := draw(st.integers(max(62 - start, 15), 80))), f"{end}M", start)
    return reference, alleles, read


@given(repeat_and_read())
@SETTINGS
def test_flank(case: tuple[str, tuple[str, str], Read]) -> None:
    reference, (ref, alt), read = case
    assume(ref != alt)
    spec = {"height": 2, "width": 61, "reference_rows": 1, "channels": (Channel.FLANK,)}
    image = image_of(reference, [read], 60, (ref, alt), **spec)[:, :, 0]
    begin, end = tract(reference, 60, ref, alt, 30, 90)
    flank = min(begin - read.start, read.start + len(read.bases) - end, 12)
    assert set(image[0].tolist()) == {int(min(254, 42 * math.log2(1 + end - begin)))}
    assert set(image[1].tolist()) - {0} == {
        int(np.float32(254) * np.float32(max(flank, 0)) / 12)
    } - {0}


@pytest.mark.parametrize(
    ("reference", "start", "alleles", "shown", "tract"),
    [
        # what both begin or end in does not count
        ("C" * 20 + "GAAT" + "C" * 40, 20, ("GAA", "GA"), 0, (21, 23)),
        ("C" * 20 + "GATT" + "C" * 40, 20, ("GATT", "GTTTT"), 0, (21, 22)),
        # to both sides, and by what is changed
        ("C" * 20 + "GATATC" + "C" * 40, 22, ("TAT", "T"), 0, (21, 25)),
        ("C" * 20 + "GATATC" + "C" * 40, 22, ("TA", "T"), 0, (23, 24)),
        ("C" * 14 + "AAAAAAGT" + "C" * 40, 20, ("GT", "AAGT"), 0, (14, 20)),
        # to the contig's ends, and to the image's edges
        ("A" * 20 + "C" * 40, 5, ("AA", "A"), 0, (0, 15)),
        ("C" * 20 + "A" * 6, 19, ("CA", "C"), 0, (20, 26)),
        ("C" * 20 + "A" * 60, 19, ("CA", "C"), 0, (20, 29)),
        ("C" * 5 + "A" * 20 + "C" * 40, 20, ("AA", "A"), 0, (10, 25)),
        # both of two that are shown, and none that is not
        ("C" * 20 + "AAAAGT" + "C" * 40, 19, ("C", "CA", "G"), 0, (20, 24)),
        ("C" * 20 + "AAAAGT" + "C" * 40, 19, ("C", "CA", "G"), 1, (19, 20)),
        ("C" * 20 + "AAAAGT" + "C" * 40, 19, ("C", "CA", "G"), 2, (19, 24)),
    ],
)
def test_tracts(
    reference: str, start: int, alleles: tuple[str, ...], shown: int, tract: tuple[int, int]
) -> None:
    spec = {"height": 2, "width": 21, "reference_rows": 1, "channels": (Channel.FLANK,)}
    read = read_of("A" * (len(reference) - 2), f"{len(reference) - 2}M", 2)
    image = image_of(reference, [read], start, alleles, shown=shown, **spec)[:, :, 0]
    begin, end = tract
    assert set(image[0].tolist()) - {0} == {int(min(254, 42 * math.log2(1 + end - begin)))}
    flank = min(begin - read.start, read.start + len(read.bases) - end, 12)
    assert set(image[1].tolist()) - {0} == {int(254 * np.float32(max(flank, 0)) / 12)} - {0}


def test_numbers_are_in_the_rows_of_the_reference() -> None:
    channels = (Channel.READ_BASE, Channel.NUMBERS)
    spec = PileupSpec(9, 5, channels, reference_rows=2, sample_heights=(4, 5))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, *spec.shape), np.uint8)
    before = images.copy()
    write_numbers(images, np.array([[1, 2, 255], [0, 254, 5]], np.uint8), spec)
    for row in (0, 1, 4, 5):
        assert images[0, row, :3, 1].tolist() == [1, 2, 255]
        assert images[1, row, :3, 1].tolist() == [0, 254, 5]
        images[:, row, :3, 1] = before[:, row, :3, 1]
    assert np.array_equal(images, before)


def test_drawn_numbers_are_those_of_the_small_model(testdata: Path) -> None:
    spec = PileupSpec(40, 81, (*BASE_CHANNELS, Channel.NUMBERS), reference_rows=1)
    paths = [testdata / "sample.bam"], testdata / "ref.fa"
    region = Region("ctg1", 0, 3_000)
    settings = ExampleSettings(pileup=spec)
    with ExampleMaker(*paths, settings) as maker:
        survey = maker.take_survey([region])
    with ExampleMaker(*paths, settings, survey=survey) as maker:
        made = maker.run_examples((region,))
        images = made.draw(1, len(made.plan))
        wanted = inputs(made.candidates, made.reads, made.plan, survey)[1:]
        # whatever is left out of the plan
        kept = np.arange(len(made.plan)) % 3 == 1
        made.plan = made.plan.where(kept)
        fewer = made.draw(0, len(made.plan))
    assert np.array_equal(fewer, images[kept[1:]])
    assert len(images) > 5
    shown = images[:, 0, : len(INPUTS), 6]
    assert np.array_equal(shown, pixels(wanted))
    assert not images[:, 1:, :, 6].any()
    assert not images[:, 0, len(INPUTS) :, 6].any()
    narrow = dataclasses.replace(settings, pileup=dataclasses.replace(spec, width=71))
    with pytest.raises(OptionError, match="72 columns"):
        ExampleMaker(*paths, narrow)


def test_nothing_of_a_sample_is_shown_without_its_survey(testdata: Path) -> None:
    spec = PileupSpec(channels=(Channel.READ_BASE, Channel.NUMBERS))
    paths = [testdata / "sample.bam"], testdata / "ref.fa"
    with (
        ExampleMaker(*paths, ExampleSettings(pileup=spec)) as maker,
        pytest.raises(ValueError, match="survey"),
    ):
        maker.run_examples((Region("ctg1", 0, 1_000),))


@pytest.mark.parametrize(("hp", "value"), [(0, 0), (1, 127), (2, 254), (3, 254), (-1, 129)])
def test_haplotype(hp: int, value: int) -> None:
    spec = {"height": 2, "width": 21, "reference_rows": 1, "channels": (Channel.HAPLOTYPE,)}
    image = image_of("A" * 60, [read_of("A" * 40, "40M", hp=hp)], 20, ("A", "C"), **spec)
    assert image[:, :, 0].tolist() == [[0] * 21, [value] * 21]


def test_a_percentage_is_truncated_before_it_is_scaled() -> None:
    """53 of 100 is 52.999996 in float32."""
    contig = "A" * 130
    read = read_of("G" * 53 + "T" * 47, "53M47S", 10)
    spec = {"height": 2, "width": 101, "reference_rows": 1}
    for channel in Channel.GC_CONTENT, Channel.IDENTITY, Channel.READ_MAPPING_PERCENT:
        image = image_of(contig, [read], 60, ("A", "C"), channels=(channel,), **spec)
        assert image[1, 10, 0] == int(254 * 52 / 100) == 132


def test_average_quality_is_truncated() -> None:
    qualities = tuple(range(1, 11)) * 2
    spec = {"height": 2, "width": 41, "reference_rows": 1, "channels": (Channel.AVG_BASE_QUALITY,)}
    read = read_of("A" * 20, "20M", 11, qualities=qualities)
    assert image_of("A" * 60, [read], 30, ("A", "C"), **spec)[1, 5, 0] == shade(5, 93)


@pytest.mark.parametrize(
    ("bases", "lengths"),
    [
        ("GATTGGGCCCCAAAAA", [1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5]),
        ("GGGATAATAGATAATA", [3, 3, 3, 1, 1, 2, 2, 1, 1, 1, 1, 1, 2, 2, 1, 1]),
        ("ATTGGGTTACATACGTA", [1, 2, 2, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("A" * 15 + "GATAGGG", [15] * 15 + [1, 1, 1, 1, 3, 3, 3]),
        ("G" * 10 + "A" * 20, [10] * 10 + [20] * 20),
        ("C" * 300, [44] * 300),  # a byte holds the length
    ],
)
def test_homopolymers(bases: str, lengths: list[int]) -> None:
    n = len(bases)
    contig = bases + "N" * 400
    width = 2 * n + 1
    channels = Channel.IS_HOMOPOLYMER, Channel.HOMOPOLYMER_WEIGHTED
    spec = {"height": 2, "width": width, "reference_rows": 1, "channels": channels}
    image = image_of(contig, [read_of(bases, f"{n}M")], n, (contig[n], "C"), **spec)
    assert image[1, :n, 1].tolist() == [shade(min(length, 30), 30) for length in lengths]
    is_long = [254 if length >= 3 else 0 for length in lengths]
    assert image[1, :n, 0].tolist() == is_long
    assert image[0, :n, 0].tolist() == is_long


def test_allele_frequency() -> None:
    """By the first ALT that lists the read and that the image shows."""
    contig, reads = "A" * 60, [read_of("A" * 40, "40M", name=f"r{i}") for i in range(4)]
    spec = {"height": 5, "width": 21, "reference_rows": 1, "channels": (Channel.ALLELE_FREQUENCY,)}
    supporters = ((0, 3), (1, 3))
    wanted = {0: [152, 0, 0, 152], 1: [0, 101, 0, 101], 2: [152, 101, 0, 152]}
    for shown, values in wanted.items():
        image = image_of(
            contig, reads, 20, ("A", "C", "G"), supporters, (10**-2, 10**-3), shown, **spec
        )
        assert image[1:, 5, 0].tolist() == values
        assert not image[0].any()


@pytest.mark.parametrize(
    ("frequency", "value"),
    [(0, 0), (1e-5, 0), (1.1e-5, 2), (1e-3, 101), (0.5, 238), (1, 254)],
)
def test_allele_frequencies_show_by_their_logarithm(frequency: float, value: int) -> None:
    spec = {"height": 2, "width": 21, "reference_rows": 1, "channels": (Channel.ALLELE_FREQUENCY,)}
    image = image_of(
        "A" * 60, [read_of("A" * 40, "40M")], 20, ("A", "C"), ((0,),), (frequency,), **spec
    )
    assert image[1, 0, 0] == value


def test_mean_coverage_lights_rows() -> None:
    spec = {"height": 9, "width": 21, "reference_rows": 5, "channels": (Channel.MEAN_COVERAGE,)}
    reads = [read_of("A" * 40, "40M")]
    for coverage, rows in (0.0, 0), (2.9, 2), (50.0, 4):
        image = image_of("A" * 60, reads, 20, ("A", "C"), mean_coverage=coverage, **spec)
        column = [255] * 5 + [200] * rows + [0] * (4 - rows)
        assert (image[:, :, 0] == np.array(column)[:, None]).all()


def test_rows_are_sorted_by_haplotype_first() -> None:
    contig = "ACGTACTCCCAACGTACTCCCA"
    bases = [first + contig[1:] for first in "ATC"]
    reads = [
        read_of(text, "22M", name=f"read_{i}", hp=hp)
        for i, text, hp in zip([2, 3, 4], bases, [2, 0, 1], strict=True)
    ]
    spec = {"height": 4, "width": 21, "reference_rows": 1, "channels": (Channel.READ_BASE,)}
    image = image_of(contig, reads, 10, ("A", "G"), sort_by_haplotypes=True, **spec)
    assert image[1:, 0, 0].tolist() == [100, 30, 250]
    image = image_of(contig, reads, 10, ("A", "G"), **spec)
    assert image[1:, 0, 0].tolist() == [250, 100, 30]
    # a tag below 0 is none
    reads[0] = dataclasses.replace(reads[0], hp=-5)
    image = image_of(contig, reads, 10, ("A", "G"), sort_by_haplotypes=True, **spec)
    assert image[1:, 0, 0].tolist() == [250, 100, 30]


FLANKS = "TGCATCAGGTCTAGACCTTA", "ACGGTTCATCGCAATGTCCA"
BEFORE, AFTER = FLANKS[0] + "ACGTACGT", "AAAAAAGTGTGATC" + FLANKS[1]
ALT_SPEC: dict[str, Any] = {
    "height": 4,
    "width": 41,
    "reference_rows": 1,
    "channels": BASE_CHANNELS,
}


def test_reads_of_an_insertion_do_not_differ_from_it() -> None:
    contig = BEFORE + AFTER
    reads = [
        read_of(BEFORE + "GGG" + AFTER, f"{len(BEFORE)}M3I{len(AFTER)}M", name="a"),
        read_of(contig, f"{len(contig)}M", name="b"),
    ]
    start = len(BEFORE) - 1
    image = image_of(
        contig, reads, start, ("T", "TGGG"), ((0,),), **ALT_SPEC,
        alt_aligned_pileup=AltAlignedPileup.DIFF_CHANNELS,
    )  # fmt: skip
    differs, first, second = image[..., 5], image[..., 6], image[..., 7]
    assert differs[1].tolist() == [50] * 20 + [254] + [50] * 20
    assert differs[2].tolist() == [50] * 41
    assert first[:2].tolist() == [[50] * 41] * 2
    # the three bases that the other lacks
    assert first[2].tolist() == [50] * 20 + [254] + [0] * 3 + [50] * 17
    assert not first[3].any()
    np.testing.assert_array_equal(first, second)


def test_reads_of_a_deletion_do_not_differ_from_it() -> None:
    contig = BEFORE + "GGG" + AFTER
    reads = [
        read_of(BEFORE + AFTER, f"{len(BEFORE)}M3D{len(AFTER)}M", name="a"),
        read_of(contig, f"{len(contig)}M", name="b"),
    ]
    start = len(BEFORE) - 1
    image = image_of(
        contig, reads, start, ("TGGG", "T"), ((0,),), **ALT_SPEC,
        alt_aligned_pileup=AltAlignedPileup.BASE_CHANNELS,
    )  # fmt: skip
    rows = image_of(
        contig, reads, start, ("TGGG", "T"), ((0,),), **ALT_SPEC,
        alt_aligned_pileup=AltAlignedPileup.ROWS,
    )  # fmt: skip
    assert rows.shape == (12, 41, 6)
    np.testing.assert_array_equal(rows[:4], image[..., :6])
    np.testing.assert_array_equal(rows[4:8, :, 0], image[..., 6])
    assert not rows[8:].any()
    colours = {"A": 250, "G": 180, "T": 100, "C": 30}
    shown = [colours[base] for base in (BEFORE + AFTER)[start - 20 : start + 21]]
    assert rows[4:6, :, 0].tolist() == [shown] * 2
    # what the other has besides is an insertion
    assert rows[6, :, 5].tolist() == [50] * 20 + [254] + [50] * 20
    assert rows[6, 20, 0] == 0


def test_two_alts_have_an_alignment_each() -> None:
    contig = BEFORE + AFTER
    reads = [
        read_of(BEFORE + extra + AFTER, f"{len(BEFORE)}M{len(extra)}I{len(AFTER)}M", name=extra)
        for extra in ("GG", "GGCC")
    ]
    image = image_of(
        contig, reads, len(BEFORE) - 1, ("T", "TGG", "TGGCC"), ((0,), (1,)), (), 2, **ALT_SPEC,
        alt_aligned_pileup=AltAlignedPileup.DIFF_CHANNELS,
    )  # fmt: skip
    assert (image[1, :, 6] == 50).all()
    assert (image[2, :, 7] == 50).all()
    assert (image[2, :, 6] == 254).any()
    assert (image[1, :, 7] == 254).any()
    assert not (image[1, :, 7] == image[1, :, 6]).all()


def test_only_what_is_to_be_aligned_is() -> None:
    """A SNP has empty layers, but where all types are aligned; so has what ends the contig."""
    contig = BEFORE + AFTER
    reads = [read_of(contig, f"{len(contig)}M")]
    spec = {**ALT_SPEC, "alt_aligned_pileup": AltAlignedPileup.DIFF_CHANNELS}
    start = len(BEFORE) - 1
    image = image_of(contig, reads, start, ("T", "G"), **spec)
    assert not image[..., 6:].any()
    image = image_of(
        contig, reads, start, ("T", "G"), **spec, types_to_alt_align=TypesToAltAlign.ALL
    )
    assert image[1, :, 6].tolist() == [50] * 20 + [254] + [50] * 20
    image = image_of(contig, reads, 5, (contig[5:7], contig[5]), **spec)
    assert image[1, :, 5].any()
    assert not image[..., 6:].any()


def test_channels_of_alternate_alleles_need_the_base_channels() -> None:
    for layout in AltAlignedPileup.DIFF_CHANNELS, AltAlignedPileup.BASE_CHANNELS:
        with pytest.raises(ValueError, match="six base channels"):
            PileupSpec(channels=(*BASE_CHANNELS[1:], Channel.READ_BASE), alt_aligned_pileup=layout)
    with pytest.raises(ValueError, match="belong to alt_aligned_pileup"):
        PileupSpec(channels=(*BASE_CHANNELS, Channel.BASE_CHANNELS_ALTERNATE_ALLELE_1))


NONE, ROWS, DIFF, BASE = AltAlignedPileup


@pytest.mark.parametrize(
    ("shape", "channels", "wanted"),
    [
        ((100, 221, 7), (1, 2, 3, 4, 5, 6, 19), (100, NONE, 7)),
        ((300, 221, 6), (1, 2, 3, 4, 5, 6), (100, ROWS, 6)),
        ((100, 221, 8), (1, 2, 3, 4, 5, 6, 9, 10), (100, DIFF, 6)),
        ((100, 199, 9), (1, 2, 3, 4, 5, 6, 7, 9, 10), (100, DIFF, 7)),
        ((100, 147, 9), (1, 2, 3, 4, 5, 6, 7, 20, 21), (100, BASE, 7)),
        ((200, 221, 7), (1, 2, 3, 4, 5, 6, 19), (200, NONE, 7)),
        ((60, 221, 7), (1, 2, 3, 4, 5, 6, 19), (60, NONE, 7)),
    ],
)
def test_descriptions_tell_the_layout(
    shape: tuple[int, ...], channels: tuple[int, ...], wanted: tuple[int, AltAlignedPileup, int]
) -> None:
    spec = spec_from_info(ExampleInfo(shape, channels))
    assert (spec.height, spec.alt_aligned_pileup, len(spec.channels)) == wanted
    assert spec.shape == shape
    assert tuple(map(int, spec.layers)) == channels


def test_descriptions_that_cannot_be_drawn() -> None:
    for shape, channels, message in (
        (None, (1, 2), "'shape' does not go with 2 channels"),
        ((100, 221), (1, 2), "'shape' does not go with 2 channels"),
        ((100, 221, 7), (1, 2), "'shape' does not go with 2 channels"),
        ((100, 221, 2), (1, 77), "channel 77, which is not drawn"),
        ((100, 221, 2), (1, 9), "belong to alt_aligned_pileup"),
        ((100, 220, 2), (1, 2), "even"),
        ((100, 221, 3), (1, 9, 10), "six base channels"),
    ):
        with pytest.raises(ValueError, match=message):
            spec_from_info(ExampleInfo(shape, channels))


def test_descriptions_of_several_samples() -> None:
    info = ExampleInfo((300, 221, 1), (1,))
    assert spec_from_info(info, (100, 100, 100)).alt_aligned_pileup is NONE
    assert spec_from_info(info, (60, 40)).alt_aligned_pileup is ROWS
    with pytest.raises(ValueError, match="300 rows"):
        spec_from_info(info, (60, 41))
