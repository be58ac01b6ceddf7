"""Realignment: against DeepVariant's own program, and against a slow assembler."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from deepvariant import (
    MAX_REALIGNED_LENGTH,
    image_digest,
    oracle_answers,
    oracle_paths,
    parse_span,
    realignments,
    rows_of,
    support_digest,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Read, overlaps
from reference.assembly import assemble as slow_assemble
from reference.windows import find_windows
from strategies import Scene, joined, offsets, scenes, to_batch

from pileupcnn.candidates import Detail
from pileupcnn.examples import ExampleMaker, ExampleSettings, RunExamples
from pileupcnn.kernels.assembly import Assembler, assemble
from pileupcnn.kernels.realign import STATES
from pileupcnn.reads import ReadBatch
from pileupcnn.realign import (
    AssemblySettings,
    RealignSettings,
    WindowSettings,
    list_windows,
    realign_reads,
)
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Block, Region, partitions

REALIGN = ExampleSettings(realign=RealignSettings())
SETS = {
    "na12878": (138, 287, 304),
    "sim30x_1Mb": (1159, 1695, 1773),
    "fuzz3": (7, 216, 239),
    "fuzz5": (88, 278, 248),
    "fuzz6": (40, 331, 313),
    "fuzz7": (42, 360, 227),
}
"""Windows, candidates and images of each oracle set."""

SETTINGS = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Outcome:
    """What we make of an oracle set, in the form of its tables.

    Attributes
    ----------
    windows : dict
        Rows by partition.
    changed : dict
        New start and CIGAR by partition, read key, old start and old CIGAR.
    orders : dict
        Keys of the reads by partition, before and after, without long ones.
    candidates : dict
        DP, AD and the digest of support by contig and site.
    images : dict
        Digests by contig, site and ALTs shown.
    """

    windows: dict = field(default_factory=lambda: defaultdict(list))
    changed: dict = field(default_factory=dict)
    orders: dict = field(default_factory=dict)
    candidates: dict = field(default_factory=lambda: defaultdict(dict))
    images: dict = field(default_factory=lambda: defaultdict(dict))


def cigar_text(reads: ReadBatch, i: int) -> str:
    """A read's CIGAR as SAM writes it."""
    operations = reads.cigar[reads.cigar_offset[i] : reads.cigar_offset[i + 1]].tolist()
    return "".join(f"{op >> 4}{'MIDNSHP=X'[op & 15]}" for op in operations)


def pool(reads: ReadBatch, k: int) -> list[int]:
    """The reads of partition `k`."""
    return reads.partition_reads[reads.partition_offset[k] : reads.partition_offset[k + 1]].tolist()


def is_short(reads: ReadBatch, i: int) -> bool:
    """Whether a read is to be realigned."""
    return bool(reads.base_offset[i + 1] - reads.base_offset[i] <= MAX_REALIGNED_LENGTH)


def compare_pools(name: str, k: int, before: ReadBatch, after: ReadBatch, out: Outcome) -> None:
    """List the changed reads of a partition, and its reads' order."""
    old, new = pool(before, k), pool(after, k)
    out.orders[name] = tuple(
        [reads.name(i) for i in indices if is_short(reads, i)]
        for reads, indices in ((before, old), (after, new))
    )
    given_up = defaultdict(list)
    for i in sorted(set(old) - set(new), key=old.index):
        given_up[before.name(i)].append(i)
    for i in (i for i in new if i >= len(before)):
        key = after.name(i)
        original = given_up[key].pop(0)
        was = int(before.start[original]), cigar_text(before, original)
        out.changed[name, key, *was] = int(after.start[i]), cigar_text(after, i)


def collect_examples(made: RunExamples, contig: str, out: Outcome) -> None:
    """List candidates with the reads that support them, and images."""
    found = made.candidates
    sites = []
    for i in range(len(found)):
        ref, *alts = found.alleles(i)
        site = int(found.start[i]), ref, tuple(alts)
        sites.append(site)
        first = found.allele_offset[i] + 1
        support = {
            alt: {
                made.reads.name(read)
                for read in found.support[slice(*found.support_offset[j : j + 2])].tolist()
            }
            for j, alt in enumerate(alts, first)
        }
        uncalled = found.details.uncalled[slice(*found.details.uncalled_offset[i : i + 2])]
        if len(uncalled):
            support["UNCALLED_ALLELE"] = set(map(made.reads.name, uncalled.tolist()))
        out.candidates[contig][site] = (
            int(found.depth[i]),
            found.allele_depths(i),
            support_digest(support),
        )
    for first in range(0, len(made.plan), 64):
        images = made.draw(first, min(first + 64, len(made.plan)))
        for j, image in enumerate(images, first):
            site = sites[made.plan.candidate[j]]
            if site[0] >= 110 and site[0] + 111 <= made.window.contig_length:
                shown = tuple(i for i in made.plan.alts[j].tolist() if i >= 0)
                out.images[contig][site, shown] = image_digest(image)


@lru_cache(maxsize=1)
def outcome(shared: Path, name: str) -> Outcome:
    """Scan, realign, find candidates and draw."""
    folder, bam, fasta = oracle_paths(shared, name)
    names = [row[0] for row in rows_of(folder / "partitions.tsv")]
    regions = {Region(*parse_span(text)): text for text in names}
    out = Outcome()
    with ExampleMaker([bam], fasta, REALIGN, detail=Detail.SUPPORT) as maker:
        for whole in Block(0, tuple(regions)).runs():
            for first in range(0, len(whole), 64):
                run = whole[first : first + 64]
                before = maker.scanner.scan(run)
                made = maker.run_examples(run)
                for window in list_windows(before, run, made.window, REALIGN.realign):
                    known = window.state != "skipped"
                    out.windows[regions[run[window.partition]]].append(
                        [
                            str(window.start),
                            str(window.end),
                            window.state,
                            str(window.reads) if known else ".",
                            str(window.k) if window.k else ".",
                            str(len(window.haplotypes)),
                            ",".join(window.haplotypes) or ".",
                        ]
                    )
                for k, region in enumerate(run):
                    compare_pools(regions[region], k, before, made.reads, out)
                collect_examples(made, run[0].contig, out)
    return out


@pytest.mark.golden
@pytest.mark.parametrize("name", SETS)
def test_windows_and_haplotypes_are_deepvariant_s(
    shared: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = defaultdict(list)
    for partition, *row in rows_of(oracle_paths(shared, name)[0] / "windows.tsv.gz"):
        expected[partition].append(row)
    found = outcome(shared, name).windows
    states = Counter(row[2] for rows in found.values() for row in rows)
    haplotypes = sum(int(row[5]) for rows in found.values() for row in rows)
    equal = sum(
        row == other
        for partition, rows in expected.items()
        for row, other in zip(rows, found[partition], strict=False)
    )
    n = sum(map(len, expected.values()))
    with capsys.disabled():
        print(f"\n{name}: windows {equal}/{n} {dict(states)}, haplotypes {haplotypes}")
    assert found == expected
    assert n == SETS[name][0]


@pytest.mark.golden
@pytest.mark.parametrize("name", SETS)
def test_realigned_reads_and_their_order_are_deepvariant_s(
    shared: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = oracle_paths(shared, name)[0]
    found = outcome(shared, name)
    expected = realignments(folder)
    orders = {
        partition: tuple(hashlib.sha256("\n".join(keys).encode()).hexdigest() for keys in both)
        for partition, both in found.orders.items()
    }
    digests = {row[0]: tuple(row[-2:]) for row in rows_of(folder / "partitions.tsv")}
    equal = sum(found.changed.get(key) == value for key, value in expected.items())
    ordered = sum(orders[partition] == value for partition, value in digests.items())
    with capsys.disabled():
        print(
            f"\n{name}: realigned reads {equal}/{len(expected)} (ours {len(found.changed)}), "
            f"partitions in order {ordered}/{len(digests)}"
        )
    assert found.changed == expected
    assert orders == digests


@pytest.mark.golden
@pytest.mark.parametrize("name", SETS)
def test_candidates_and_images_are_deepvariant_s(
    shared: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = oracle_paths(shared, name)[0]
    found = outcome(shared, name)
    candidates, images = oracle_answers(folder)
    counts: Counter[str] = Counter()
    for contig, answers in candidates.items():
        for site, answer in answers.items():
            ours = found.candidates[contig].get(site, (0, (), ""))
            counts["candidates"] += ours[:2] == answer[:2]
            counts["support"] += ours[2] == answer[2]
        counts["of candidates"] += len(answers)
        counts["our candidates"] += len(found.candidates[contig])
    for contig, answers in images.items():
        counts["images"] += sum(found.images[contig].get(k) == v for k, v in answers.items())
        counts["of images"] += len(answers)
    counts["our images"] = sum(map(len, found.images.values()))
    with capsys.disabled():
        print(
            f"\n{name}: candidates {counts['candidates']}/{counts['of candidates']} "
            f"(ours {counts['our candidates']}), support {counts['support']}/"
            f"{counts['of candidates']}, images {counts['images']}/{counts['of images']} "
            f"(ours {counts['our images']})"
        )
    n_candidates, n_images = SETS[name][1:]
    assert counts["candidates"] == counts["our candidates"] == n_candidates
    assert counts["support"] == n_candidates
    assert counts["images"] == counts["our images"] == n_images


@pytest.mark.golden
@pytest.mark.parametrize("name", ["golden", "na12878", "sim30x_first_200kb", "fuzz6", "fuzz7"])
def test_whole_examples_are_deepvariant_s(
    shared: Path,
    golden: Path,
    read_examples: ModuleType,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The examples of each candidate byte for byte, in order."""
    folder, bam, fasta = oracle_paths(shared, "na12878" if name == "golden" else name)
    path = folder / "examples.tfrecord.gz"
    if name == "golden":
        path = golden / "golden.calling_examples.tfrecord.gz"
        regions = list(partitions([Region("chr20", 9_999_999, 10_010_000)]))
    elif name == "sim30x_first_200kb":
        regions = list(partitions([Region("chr20", 5_000_000, 5_200_000)]))
    else:
        regions = [Region(*parse_span(row[0])) for row in rows_of(folder / "partitions.tsv")]
    expected = read_examples.records(str(path))
    equal = total = 0
    with ExampleMaker([bam], fasta, REALIGN) as maker:
        for run in Block(0, tuple(regions)).runs():
            made = maker.run_examples(run)
            images = made.draw(0, len(made.plan))
            for i, owner in enumerate(made.plan.candidate.tolist()):
                start = int(made.candidates.start[owner])
                if start < 110 or start + 111 > made.window.contig_length:
                    continue
                total += 1
                example = read_examples.parse_example(next(expected))
                variant = read_examples.parse_variant(example["variant/encoded"][1][0])
                shown = read_examples.parse_indices(example["alt_allele_indices/encoded"][1][0])
                equal += (
                    start == variant["start"]
                    and made.candidates.alleles(owner) == (variant["ref"], *variant["alts"])
                    and shown == [alt for alt in made.plan.alts[i].tolist() if alt >= 0]
                    and example["image/encoded"][1][0] == images[i].tobytes()
                )
    left = sum(1 for _ in expected)
    with capsys.disabled():
        print(f"\n{name}: examples {equal}/{total}, left {left}")
    assert left == 0
    assert equal == total


def whole_window(scene: Scene) -> ReferenceWindow:
    """All of a scene's contig."""
    bases = np.frombuffer(scene.contig.encode(), np.uint8)
    return ReferenceWindow("c", 0, bases, len(scene.contig))


def regions_of(scene: Scene) -> tuple[Region, ...]:
    """The scene's partitions as the package takes them."""
    return tuple(Region("c", *span) for span in scene.partitions)


def run_kernel(
    window: str, reads: list[tuple[int, str, list[int]]], flank: int
) -> tuple[str, int, list[str]]:
    """State, k and haplotypes of ungapped reads; starts count from the window's."""
    rng = random.Random(len(window))
    around = ["".join(rng.choices("ACGT", k=flank)) for _ in range(2)]
    text = f"{around[0]}{window}{around[1]}"
    state, k, haplotypes = assemble(
        Assembler(10, 101, 1, 14, 15, 2, 256),
        np.frombuffer(text.encode(), np.uint8),
        flank,
        flank + len(window),
        joined([bases for _, bases, _ in reads]),
        np.array([q for _, _, qualities in reads for q in qualities], np.uint8),
        offsets([len(bases) for _, bases, _ in reads]),
        np.array([flank + start for start, _, _ in reads], np.int64),
        np.full(len(reads), 60, np.uint8),
    )
    return STATES[state], k, [haplotype.decode() for haplotype in haplotypes]


@SETTINGS
@given(st.data())
def test_assembly_is_that_of_sets_and_dictionaries(data: st.DataObject) -> None:
    """Random windows with repeats, reads with errors, N and bad qualities, placed anyhow."""
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    unit = "".join(rng.choices("ACGT", k=rng.randint(1, 30)))
    parts = [
        unit * rng.randint(0, 4) if rng.random() < 0.4 else "".join(rng.choices("ACGT", k=20))
        for _ in range(rng.randint(2, 8))
    ]
    window = "".join(parts)[:150].ljust(30, "A")
    if rng.random() < 0.3:
        at = rng.randrange(len(window))
        window = f"{window[:at]}{rng.choice('NRY')}{window[at + 1 :]}"
    donors = [window]
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(window))
        base, length = rng.choice(["", "A", "C", "GT", "N", unit]), rng.randint(0, 3)
        donors.append(donors[rng.randrange(len(donors))][:at] + base + window[at + length :])
    reads = []
    for _ in range(rng.randint(1, 30)):
        donor = rng.choice(donors)
        first = rng.randrange(len(donor))
        bases = donor[first : first + rng.randint(1, 100)]
        qualities = [rng.choice([2, 14, 15, 40, 40, 40, 40, 40, 40]) for _ in bases]
        if rng.random() < 0.6:
            qualities = [40] * len(bases)
        reads.append((first + rng.choice([0, 0, 0, 1, -3]), bases, qualities))
    expected = slow_assemble(window, [read[1:] for read in reads])
    assert run_kernel(window, reads, rng.choice([0, 20, 200])) == expected


@SETTINGS
@given(st.integers(0, 2**32), st.integers(0, 4), st.booleans())
def test_assembly_recovers_planted_haplotypes(seed: int, n_variants: int, hide: bool) -> None:
    rng = random.Random(seed)
    window = "".join(rng.choices("ACGT", k=300))
    alleles = []
    for i in range(n_variants):
        at = 60 + 50 * i
        new = rng.choice(["", window[at] + "ACGTTGCA"[: rng.randint(1, 8)], "T", "C"])
        alleles.append((at, window[at : at + rng.randint(1, 5)], new))
    planted = window
    for at, ref, alt in reversed(alleles):
        planted = f"{planted[:at]}{alt}{planted[at + len(ref) :]}"
    reads = []
    for donor in (window, planted):
        for first in range(0, len(donor) - 100, 10):
            reads += [(first, donor[first : first + 120], [30] * 120)] * 2
    reads = [(first, bases, qualities[: len(bases)]) for first, bases, qualities in reads]
    if hide:
        # errors that only single reads have
        at = rng.randrange(len(reads))
        first, bases, qualities = reads[at]
        reads[at] = first, f"{bases[:50]}{'A' if bases[50] != 'A' else 'C'}{bases[51:]}", qualities
    _, k, haplotypes = run_kernel(window, reads, 50)
    assert k >= 10
    if planted != window:
        assert {window, planted} <= set(haplotypes)
        assert haplotypes == sorted(haplotypes)
    else:
        assert haplotypes == []


def test_256_haplotypes_are_kept_and_more_are_not() -> None:
    rng = random.Random(1)
    for n, state in ((8, "assembled"), (9, "overflow")):
        window = "".join(rng.choices("ACGT", k=30 * (n + 1)))
        reads = []
        for i in range(1, n + 1):
            other = "A" if window[30 * i] != "A" else "C"
            bases = f"{window[30 * i - 14 : 30 * i]}{other}{window[30 * i + 1 : 30 * i + 15]}"
            reads += [(30 * i - 14, bases, [30] * len(bases))] * 2
        found, _, haplotypes = run_kernel(window, reads, 0)
        assert (found, len(haplotypes)) == (state, 256 if n == 8 else 0)


@SETTINGS
@given(
    scenes(max_copies=20),
    st.sampled_from([3, 10, 80]),
    st.sampled_from([40, 1_000]),
    st.sampled_from([3, 10]),
)
def test_windows_are_those_of_the_slow_reference(
    scene: Scene, distance: int, max_size: int, min_k: int
) -> None:
    """Windows and their assembly, small ones too, so that some fit into a random contig."""
    settings = RealignSettings(
        WindowSettings(distance=distance, max_size=max_size), AssemblySettings(min_k=min_k)
    )
    batch = to_batch(scene.reads, scene.partitions)
    found = list_windows(batch, regions_of(scene), whole_window(scene), settings)
    expected = []
    for k, (start, end) in enumerate(scene.partitions):
        reads = [read for read in scene.reads if overlaps(read, start, end)]
        for window in find_windows(reads, scene.contig, start, end, 20, distance):
            known = window[0] >= 0 and window[1] <= len(scene.contig)
            if not known or window[1] - window[0] > max_size:
                expected.append((k, *window, "skipped", 0, 0, ()))
                continue
            here = [read for read in reads if overlaps(read, *window)]
            state, size, haplotypes = slow_assemble(
                scene.contig[slice(*window)],
                [(read.bases, read.qualities) for read in here if read.mapq >= 14],
                min_k,
            )
            expected.append((k, *window, state, len(here), size, tuple(haplotypes)))
    assert list(map(astuple, found)) == expected


@SETTINGS
@given(scenes())
def test_realigned_reads_keep_everything_but_their_place(scene: Scene) -> None:
    reads: list[Read] = [read for read in scene.reads if read.mapq >= 5]
    before = to_batch(reads, scene.partitions)
    run = regions_of(scene)
    after = realign_reads(before, run, whole_window(scene), RealignSettings())
    n = len(before)
    for name in ("start", "end", "twin", "base_offset", "name_offset", "cigar_offset"):
        kept = len(getattr(before, name))
        assert (getattr(after, name)[:kept] == getattr(before, name)).all()
    assert (after.partition_offset == before.partition_offset).all()
    for k in range(len(run)):
        assert Counter(after.twin[pool(after, k)].tolist()) == Counter(
            before.twin[pool(before, k)].tolist()
        )
    for i in range(n, len(after)):
        bases = after.bases[slice(*after.base_offset[i : i + 2])].tobytes()
        qualities = after.qualities[slice(*after.base_offset[i : i + 2])].tobytes()
        assert any(
            after.name(j) == after.name(i)
            and after.bases[slice(*after.base_offset[j : j + 2])].tobytes() == bases
            and after.qualities[slice(*after.base_offset[j : j + 2])].tobytes() == qualities
            for j in range(n)
        )
        operations = after.cigar[slice(*after.cigar_offset[i : i + 2])].tolist()
        consumed = Counter()
        for op in operations:
            consumed["MIDNSHP=X"[op & 15]] += op >> 4
        assert consumed["M"] + consumed["I"] + consumed["S"] == len(bases)
        assert after.end[i] - after.start[i] == consumed["M"] + consumed["D"]
