"""Several samples in one image: which of their reads support one sample's candidates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch, CandidateSettings
from pileupcnn.kernels.support import SupportFinder, match_names
from pileupcnn.reads import ReadBatch
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Region

Support = tuple[NDArray[np.int64], NDArray[np.int32]]
"""The reads of one sample that support candidates' alleles, as `CandidateBatch` has them."""


def pooled_supports(
    reads: ReadBatch,
    others: Sequence[ReadBatch],
    candidates: CandidateBatch,
    run: tuple[Region, ...],
    window: ReferenceWindow,
    settings: CandidateSettings,
) -> list[Support]:
    """The supporting reads of the sample with the candidates, then of others.

    As in DeepVariant, support is a matter of names: a read supports what a read
    of the same name and number does in another sample.

    Parameters
    ----------
    reads : ReadBatch
    others : sequence of ReadBatch
        Of the same run.
    candidates : CandidateBatch
        Those of `reads`.
    run, window, settings
        As for `find_candidates`; the window is also under the others' deletions.
    """
    finder = SupportFinder(settings.min_base_quality)
    starts = np.array([partition.start for partition in run], dtype=np.int64)
    ends = np.array([partition.end for partition in run], dtype=np.int64)
    own: list[Support] = [
        (candidates.support_offset, candidates.support),
        *(
            finder.find(other, candidates, starts, ends, window.bases, window.start)
            for other in others
        ),
    ]
    samples = [reads, *others]
    pooled = list(own)
    for to, source in itertools.permutations(range(len(samples)), 2):
        names = match_names(samples[to], samples[source])
        if (names >= 0).any():
            pooled[to] = _add(pooled[to], own[source], names)
    return pooled


def _add(support: Support, other: Support, names: NDArray[np.int32]) -> Support:
    """Support with that of another sample's reads that have the names of this one's."""
    found = []
    for k in range(len(support[0]) - 1):
        listed = support[1][support[0][k] : support[0][k + 1]]
        same = names[other[1][other[0][k] : other[0][k + 1]]]
        found.append(np.concatenate([listed, np.setdiff1d(same[same >= 0], listed)]))
    offset = np.cumsum([0, *map(len, found)], dtype=np.int64)
    return offset, np.concatenate([*found, np.zeros(0, np.int32)]).astype(np.int32)
