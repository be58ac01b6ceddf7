"""Alignment through haplotypes: against libssw, the slow reference and DeepVariant."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from deepvariant import oracle_windows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.aligning import (
    LocalAlignment,
    affine_score,
    local_alignment,
    realign_window,
)

from pileupcnn.kernels.alignment import WindowAligner
from pileupcnn.kernels.smith_waterman import SmithWaterman

SETTINGS = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SCORING = 4, 6, 8, 2
OPERATIONS = "MIDNS"


def make_aligner() -> WindowAligner:
    """With DeepVariant's settings."""
    return WindowAligner(*SCORING, 32, 2, 0.16934)


def aligned(query: str, target: str) -> LocalAlignment | None:
    """What the kernel says, in the reference's form."""
    found = SmithWaterman(*SCORING).align(query.encode(), target.encode())
    if found is None:
        return None
    *numbers, cigar = found
    operations = tuple((OPERATIONS[item & 15], item >> 4) for item in cigar)
    return LocalAlignment(*numbers, operations)


@st.composite
def related_pairs(draw: st.DrawFn, longest: int = 120) -> tuple[str, str]:
    """A target with or without repeats, and a query of parts of it and of noise."""
    letters = draw(st.sampled_from(["ACGT", "ACGT", "AC", "ACGTN", "acgtACGTRU"]))
    bases = st.text(letters, min_size=1, max_size=30)
    target = "".join(draw(st.lists(bases, min_size=1, max_size=6)))
    if draw(st.booleans()):
        target += draw(st.text(letters, min_size=1, max_size=4)) * draw(st.integers(2, 15))
        target += "".join(draw(st.lists(bases, min_size=1, max_size=2)))
    query = ""
    for _ in range(draw(st.integers(1, 5))):
        begin = draw(st.integers(0, len(target)))
        query += target[begin : begin + draw(st.integers(0, 60))]
        query += draw(st.text(letters, max_size=draw(st.sampled_from([0, 1, 2, 15]))))
    return query[:longest] or "A", target[: 2 * longest]


@SETTINGS
@given(related_pairs())
def test_alignment_is_the_slow_reference_s(pair: tuple[str, str]) -> None:
    query, target = pair
    assert aligned(query, target) == local_alignment(query, target)


@SETTINGS
@given(related_pairs())
def test_score_is_that_of_plain_affine_gaps_unless_these_meet(pair: tuple[str, str]) -> None:
    """An insertion followed by a deletion is what libssw does not fully allow."""
    query, target = pair
    plain = affine_score(query, target)
    found = aligned(query, target)
    if found is None:
        return
    assert found.score <= plain
    query_score = sum(length for op, length in found.cigar if op != "D")
    assert query_score == len(query)
    if found.score < plain:
        assert plain <= 4 * len(query) - 38, "only blocks of three or more are worth such gaps"


@pytest.mark.parametrize("length", [20, 62, 63, 64, 150, 400])
def test_random_sequences_score_as_with_plain_affine_gaps(length: int) -> None:
    """Around the score at which bytes overflow, and far from it."""
    random = np.random.default_rng(length)
    for _ in range(4):
        target = random.choice(list("ACGT"), length + 40)
        query = target[20:-20].copy()
        hit = random.random(length) < 0.04
        query[hit] = random.choice(list("ACGT"), hit.sum())
        cut = int(random.integers(5, length - 5))
        pieces = [query[:cut], random.choice(list("ACGT"), 2), query[cut:]]
        texts = "".join(np.concatenate(pieces)), "".join(target)
        found = aligned(*texts)
        assert found is not None
        assert found.score == affine_score(*texts)


class _Alignment(ctypes.Structure):
    _fields_ = (
        ("score", ctypes.c_uint16),
        ("second_score", ctypes.c_uint16),
        ("target_begin", ctypes.c_int32),
        ("target_end", ctypes.c_int32),
        ("query_begin", ctypes.c_int32),
        ("query_end", ctypes.c_int32),
        ("second_end", ctypes.c_int32),
        ("cigar", ctypes.POINTER(ctypes.c_uint32)),
        ("cigar_length", ctypes.c_int32),
    )


class Libssw:
    """Debian's libssw, through its C interface."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.libssw = library
        library.ssw_init.restype = ctypes.c_void_p
        library.ssw_align.restype = ctypes.POINTER(_Alignment)
        matrix = [4 if row == column < 4 else -6 for row in range(5) for column in range(5)]
        self.matrix = (ctypes.c_int8 * 25)(*matrix)

    def align(self, query: str, target: str) -> tuple[int, int, int, int, int]:
        """Score, begins and ends, as `LocalAlignment` has them."""
        codes = [
            (ctypes.c_int8 * len(text))(*("ACGT".find(base) % 5 for base in text))
            for text in (query, target)
        ]
        profile = self.libssw.ssw_init(codes[0], len(query), self.matrix, 5, 2)
        found = self.libssw.ssw_align(
            ctypes.c_void_p(profile), codes[1], len(target), 8, 2, 1, 0, 0, max(15, len(query))
        )
        result = found.contents
        numbers = (
            result.score,
            result.target_begin,
            result.target_end,
            result.query_begin,
            result.query_end,
        )
        self.libssw.align_destroy(found)
        self.libssw.init_destroy(ctypes.c_void_p(profile))
        return numbers


@pytest.fixture(scope="module")
def libssw() -> Libssw:
    try:
        return Libssw(ctypes.CDLL("libssw.so.0"))
    except OSError:
        pytest.skip("no libssw (Debian's libssw-dev)")


@SETTINGS
@given(related_pairs(300).filter(lambda pair: not set("".join(pair)) - set("ACGT")))
def test_score_and_ends_are_libssw_s(libssw: Libssw, pair: tuple[str, str]) -> None:
    found = aligned(*pair)
    theirs = libssw.align(*pair)
    if found is None:
        assert theirs[0] == 0
    else:
        assert theirs == (
            found.score,
            found.target_begin,
            found.target_end,
            found.query_begin,
            found.query_end,
        )


@st.composite
def haplotype_windows(draw: st.DrawFn) -> tuple[str, int, int, int, list[str], list[str]]:
    """A window with planted haplotypes, and reads of them with errors, as `realign_window`'s."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    letters = list(draw(st.sampled_from(["ACGT", "ACGT", "AC", "ACGTN"])))

    def noise(length: int) -> str:
        return "".join(random.choice(letters, length))

    reference = noise(140)
    if draw(st.booleans()):
        unit = noise(draw(st.integers(1, 4)))
        reference = reference[:70] + unit * draw(st.integers(3, 12)) + reference[70:]
    prefix, suffix = draw(st.integers(10, 30)), draw(st.integers(10, 30))
    core = reference[prefix : len(reference) - suffix]
    cores = {core}
    for _ in range(draw(st.integers(1, 4))):
        changed = draw(st.sampled_from(sorted(cores)))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(12, max(12, len(changed) - 12)))
            gone = draw(st.sampled_from([0, 0, 1, 1, 2, 7, 20]))
            new = noise(draw(st.sampled_from([0, 1, 1, 1, 2, 6, 15])))
            changed = changed[:at] + new + changed[at + gone :]
        cores.add(changed)
    haplotypes = sorted(
        reference[:prefix] + text + reference[len(reference) - suffix :] for text in cores
    )
    reads = []
    for _ in range(draw(st.integers(1, 14))):
        source = haplotypes[int(random.integers(len(haplotypes)))]
        length = int(random.choice([20, 32, 33, 60, 90]))
        begin = int(random.integers(-5, max(1, len(source) - length + 10)))
        read = list(source[max(0, begin) : begin + length] or noise(5))
        for at in np.flatnonzero(random.random(len(read)) < random.choice([0, 0.02, 0.06, 0.3])):
            read[at] = random.choice(letters)
        text = "".join(read)
        if random.random() < 0.2:
            at = int(random.integers(len(text)))
            text = text[:at] + noise(int(random.integers(6))) + text[at + int(random.integers(9)) :]
        if random.random() < 0.15:
            text = noise(int(random.integers(1, 30))) + text
        reads.append(text or "A")
    return reference, 1_000, prefix, suffix, haplotypes, reads


@SETTINGS
@given(haplotype_windows())
def test_window_is_the_slow_reference_s(
    window: tuple[str, int, int, int, list[str], list[str]],
) -> None:
    reference, start, prefix, suffix, haplotypes, reads = window
    found = make_aligner().align_window(
        reference.encode(),
        start,
        prefix,
        suffix,
        [text.encode() for text in haplotypes],
        [text.encode() for text in reads],
    )
    assert found == realign_window(*window)
    for read, alignment in zip(reads, found, strict=True):
        if alignment is not None:
            operations = re.findall(r"(\d+)([MIDS])", alignment[1])
            assert sum(int(n) for n, op in operations if op != "D") == len(read)
            assert sum(int(n) for n, op in operations if op in "MD") + alignment[0] <= (
                start + len(reference)
            )


def test_windows_do_not_depend_on_those_before() -> None:
    aligner = make_aligner()
    core = "ACGGATTCAGACCATTGACCAGATACCAGTTTACAGGACATACGATTAGACCATAGGACATTTAGACAAGCCATGGACATTA"
    other = core[:40] + "T" + core[41:]
    window = core.encode(), 5, 10, 10, sorted([core.encode(), other.encode()]), [other.encode()]
    first = aligner.align_window(*window)
    assert first == [(5, f"{len(core)}M")]
    assert aligner.align_window(b"ACGT", 0, 1, 1, [b"ACGT"], []) == []
    assert aligner.align_window(b"", 0, 0, 0, [], [b"ACGT"]) == [None]
    assert aligner.align_window(*window) == first


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "n_windows", "n_changed"),
    [
        ("na12878", 133, 1_586),
        ("fuzz3", 0, 0),
        ("fuzz5", 76, 5_028),
        ("fuzz6", 22, 2_171),
        ("fuzz7", 20, 1_523),
        ("sim30x_1Mb", 1_091, 1_734),
    ],
)
def test_realigned_reads_are_deepvariant_s(
    shared: Path, name: str, n_windows: int, n_changed: int
) -> None:
    """All of them, with DeepVariant's haplotypes: changed reads and unchanged."""
    aligner = make_aligner()
    windows = reads = changed = equal = 0
    for window in oracle_windows(shared, name):
        found = aligner.align_window(
            window.reference.encode(),
            window.reference_start,
            window.prefix,
            window.suffix,
            [text.encode() for text in window.haplotypes],
            [read.bases.encode() for read in window.reads],
        )
        windows += 1
        for read, alignment, wanted in zip(window.reads, found, window.wanted, strict=True):
            old = read.start, read.cigar_text
            reads += 1
            changed += (alignment or old) != old
            equal += (alignment or old) == wanted
    print(f"{name}: {windows} windows, {reads} reads, {changed} changed, {equal} as DeepVariant's")
    assert (windows, changed) == (n_windows, n_changed)
    assert equal == reads
