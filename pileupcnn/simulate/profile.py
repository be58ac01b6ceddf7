"""A sequencing profile: what was counted in real reads, and its file.

A profile is a ``.npz`` archive of plain integer arrays, written and read
without pickle, and a JSON ``header`` (kept as bytes): ``format``
("pileupcnn-profile"), ``version`` (of the format) and ``name``. It holds
counts, no reads, and nothing that can be executed.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OutputError
from pileupcnn.kernels.profile import (
    AFTER_STATES,
    CYCLE_BINS,
    QUALITIES,
    READ_CLASSES,
    RUN_CLASSES,
)
from pileupcnn.kernels.repeats import MAX_UNITS
from pileupcnn.resources import write_whole

FORMAT = "pileupcnn-profile"
FORMAT_VERSION = 1

FOLDER = Path(__file__).parent / "profiles"
"""Profiles that are part of the package."""

CLASSES = len(READ_CLASSES) + 1
"""Classes of reads by mean quality."""

MAX_LENGTH = 500
"""Longest read told apart; longer ones count as this long."""

MAX_INSERT = 2_000
"""Longest fragment that counts."""

UNITS = 41
"""Repeats by whole units: 0 to 40, longer ones count as the last."""

CHANGES = 2 * MAX_UNITS + 1
"""Changes of a repeat in units, from ``-MAX_UNITS`` on."""

GC_BINS = 21
"""GC contents by twentieths."""

READS = ("reads", "duplicates", "unmarked", "supplementary", "elsewhere", "discordant")
"""What `Profile.reads` counts, in this order."""

Counts = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Profile:
    """What was counted, as uint64 arrays. K qualities, B bins of cycles.

    Read numbers, cycles, contexts and bases are in the order of sequencing; a
    class is one of `CLASSES` of reads by mean error probability.

    Attributes
    ----------
    name : str
    qualities : [K]
        Phred scores in use, ascending.
    first : [2, RUN_CLASSES + 1, CLASSES, K]
        Reads by number, longest homopolymer that they read past (0: none),
        class, and quality of the first base.
    next : [2, CLASSES, B, K, K]
        Pairs of successive qualities by bin of the second one's cycle.
    next_after_run : [2, CLASSES, AFTER_STATES, K, K]
        The same shortly after homopolymers, where `next` does not count:
        classes of their length, and of the distance within these.
    bases, mismatches : [2, B, K]
        By read number, bin of cycles, quality.
    bases_after_run, mismatches_after_run : [AFTER_STATES, K]
    context : [3, 16, 4, 4]
        By group of quality, two bases before, true base, base read.
    indels : [2, 5]
        Insertions and deletions outside repeats by length, the last open.
    plain_bases : [1]
        Bases in which these were looked for.
    stutter : [4, UNITS, CHANGES]
        Reads across repeats by period less one, whole units of the repeat as
        the sample has it, and change.
    repeats : [4, UNITS, 2]
        Repeats that gave them, and those left out as variants.
    inserts : [MAX_INSERT + 1]
        Fragments by length in bp.
    lengths : [2, MAX_LENGTH + 1]
        Reads by number and length.
    clips : [2, MAX_LENGTH + 1]
        Reads by bases clipped at the first and at the last cycle.
    mapping_quality : [256]
        Reads by MAPQ.
    depth : [GC_BINS, 3]
        By GC content: windows, sum of their depths in percent, sum of squares.
    hot : [11]
        Places and strands by share of reads with the same error (tenths);
        the last counts all that were looked at.
    balance : [3]
        Heterozygous sites, sum of reads less one, and sum over the sites of
        the squared deviation of the ALT count in units of its binomial
        variance, times a thousand.
    reads : [6]
        As `READS` names them: primary reads, of these marked as duplicates,
        duplicates by position that are not marked; supplementary records;
        reads with the mate on another contig, or not properly paired.
    """

    name: str
    qualities: Counts
    first: Counts
    next: Counts
    next_after_run: Counts
    bases: Counts
    mismatches: Counts
    bases_after_run: Counts
    mismatches_after_run: Counts
    context: Counts
    indels: Counts
    plain_bases: Counts
    stutter: Counts
    repeats: Counts
    inserts: Counts
    lengths: Counts
    clips: Counts
    mapping_quality: Counts
    depth: Counts
    hot: Counts
    balance: Counts
    reads: Counts

    def share(self, what: str) -> float:
        """One of `READS` as a share of the primary reads."""
        return float(self.reads[READS.index(what)]) / max(float(self.reads[0]), 1)

    def read_length(self, number: int) -> int:
        """The commonest length of read 1 or 2."""
        return int(self.lengths[number - 1].argmax())

    def insert_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the fragments' lengths, in bp."""
        sizes, weight = np.arange(MAX_INSERT + 1), self.inserts.astype(float)
        total = max(weight.sum(), 1)
        mean = float((sizes * weight).sum() / total)
        return mean, float(np.sqrt(((sizes - mean) ** 2 * weight).sum() / total))


def _shapes(scores: int, bins: int) -> dict[str, tuple[int, ...]]:
    return {
        "qualities": (scores,),
        "first": (2, RUN_CLASSES + 1, CLASSES, scores),
        "next": (2, CLASSES, bins, scores, scores),
        "next_after_run": (2, CLASSES, AFTER_STATES, scores, scores),
        "bases": (2, bins, scores),
        "mismatches": (2, bins, scores),
        "bases_after_run": (AFTER_STATES, scores),
        "mismatches_after_run": (AFTER_STATES, scores),
        "context": (3, 16, 4, 4),
        "indels": (2, 5),
        "plain_bases": (1,),
        "stutter": (4, UNITS, CHANGES),
        "repeats": (4, UNITS, 2),
        "inserts": (MAX_INSERT + 1,),
        "lengths": (2, MAX_LENGTH + 1),
        "clips": (2, MAX_LENGTH + 1),
        "mapping_quality": (256,),
        "depth": (GC_BINS, 3),
        "hot": (11,),
        "balance": (3,),
        "reads": (len(READS),),
    }


def save_profile(profile: Profile, path: str | Path) -> None:
    """Write a profile; the file appears when it is complete.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    path = Path(path)
    header = {"format": FORMAT, "version": FORMAT_VERSION, "name": profile.name}
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for field in fields(profile):
        if field.name != "name":
            values = getattr(profile, field.name)
            # the smallest type that holds them, for the sake of the file's size
            arrays[field.name] = values.astype(np.min_scalar_type(int(values.max(initial=0))))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    try:
        write_whole(path, packed.getvalue())
    except OSError as error:
        raise OutputError(
            f"{path}: the profile cannot be written ({error.strerror}); check --output"
        ) from error


def built_in() -> list[str]:
    """Names of the profiles that are part of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def find_profile(profile: str) -> Path:
    """The file of a built-in profile's name, or of a path."""
    return FOLDER / f"{profile}.npz" if profile in built_in() else Path(profile)


def load_profile(profile: str) -> Profile:
    """Read a profile.

    Parameters
    ----------
    profile : str
        Name of a built-in one, or path.

    Raises
    ------
    InputError
        If there is none, or it is damaged, or no profile, or of another version.
    """
    path = find_profile(profile)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        known = ", ".join(built_in()) or "none"
        raise InputError(
            f"{profile}: cannot be read as a profile ({error}); give a file of "
            f"'pileupcnn profile' or the name of a built-in one ({known})"
        ) from error
    name = _header(path, arrays.pop("header", None))
    return Profile(name, **_checked(path, arrays))


def _refuse(path: Path, why: str) -> NoReturn:
    raise InputError(f"{path}: {why}; make it again with 'pileupcnn profile'")


def _header(path: Path, packed: NDArray[np.uint8] | None) -> str:
    """The name that the header gives, the rest of it checked."""
    try:
        header = json.loads(packed.tobytes()) if packed is not None else None
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        _refuse(path, "is an archive, but no profile")
    if header.get("version") != FORMAT_VERSION:
        _refuse(
            path, f"is a profile of version {header.get('version')}, this needs {FORMAT_VERSION}"
        )
    if not isinstance(header.get("name"), str):
        _refuse(path, "has no name in its header")
    return str(header["name"])


def _checked(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Counts]:
    """The arrays as uint64, names, types and shapes checked."""
    wanted = [field.name for field in fields(Profile) if field.name != "name"]
    odd = sorted(set(arrays) ^ set(wanted))
    if odd:
        _refuse(path, f"has arrays too many or too few ({', '.join(odd)})")
    for name, array in arrays.items():
        if array.dtype.kind != "u":
            _refuse(path, f"array {name} is {array.dtype}, not of unsigned integers")
    scores, bins = arrays["qualities"].size, arrays["next"].shape[2:3]
    if not (bins and 1 <= bins[0] <= CYCLE_BINS and 1 <= scores <= QUALITIES):
        _refuse(path, "has no qualities or cycles, or too many")
    for name, shape in _shapes(scores, bins[0]).items():
        if arrays[name].shape != shape:
            _refuse(path, f"array {name} has the shape {arrays[name].shape}, not {shape}")
    checked = {name: array.astype(np.uint64) for name, array in arrays.items()}
    qualities = checked["qualities"].astype(np.int64)
    if qualities[-1] >= QUALITIES or (np.diff(qualities) <= 0).any():
        _refuse(path, f"its qualities do not ascend, or pass {QUALITIES - 1}")
    if not (checked["first"].any(axis=(1, 2, 3)).all() and checked["lengths"][:, 1:].any()):
        _refuse(path, "holds no reads")
    if not checked["inserts"].any():
        _refuse(path, "holds no pairs of reads")
    return checked
