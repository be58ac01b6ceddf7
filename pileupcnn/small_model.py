"""The small model: sites so plain that some numbers decide them, and no image is drawn.

As in DeepVariant 1.9 it comes between candidates and images. Each candidate
with each set of ALTs that would have an image is described by integers
(`INPUTS`); where the small model is sure enough its answer stands, and only
the other sets are drawn and shown to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pileupcnn.calibration import softmax
from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import check_range
from pileupcnn.kernels.alleles import CONTEXT
from pileupcnn.kernels.dense import PANEL, dense
from pileupcnn.kernels.features import FeatureCounter
from pileupcnn.pileup import ImagePlan
from pileupcnn.reads import ReadBatch
from pileupcnn.survey import Survey

FEATURES = (
    "num_reads_supports_ref",
    "num_reads_supports_alt",
    "alt_indices_depth",
    "total_depth",
    "variant_allele_frequency",
    "alt_indices_variant_allele_frequency",
    "ref_mapping_quality",
    "alt_mapping_quality",
    "ref_base_quality",
    "alt_base_quality",
    "ref_reverse_strand_ratio",
    "alt_reverse_strand_ratio",
    "is_snp",
    "is_insertion",
    "is_deletion",
    "insertion_length",
    "deletion_length",
    "is_multiallelic",
    "is_multiple_alt_alleles",
    *[
        f"variant_allele_frequency_at_{'minus' if offset < 0 else 'plus'}_{abs(offset)}"
        for offset in range(-CONTEXT, CONTEXT + 1)
    ],
)
"""What a set of ALTs is described by, in order; names are DeepVariant's.

Reads count with those of low quality. Frequencies and strand ratios are
percentages, qualities means, both cut to integers; 0 where there is no read.
"""

SAMPLE_FEATURES = ("relative_depth", "slip_quality")
"""What is added of the whole sample (`pileupcnn.survey`): ``total_depth`` as a percentage of the
usual depth (as `RELATIVE_DEPTHS` shows it), and how seldom reads slip in repeats, Phred-scaled;
rounded."""

INPUTS = (*FEATURES, *SAMPLE_FEATURES)
"""What a network is given, in order."""

MODEL_ID = "small_model"
"""What FORMAT MID calls it, as in DeepVariant."""

MAX_PROBABILITY = 1 - 1e-7
"""Highest probability that is believed; caps a set's quality at 70."""

RELATIVE_DEPTHS = (0, 100, 135, 160, 200), (0, 100, 115, 160, 200)
"""Depths in percent of the usual one, and as what they are shown; what is between, between.

Deep donors to train on have one to three copies that the reference lacks in a megabase or less, so
networks distrust heterozygous sites that are a third deeper than usual by chance. From 200 on
deeper sites look the same."""

COUNTS = (
    "num_reads_supports_ref",
    "num_reads_supports_alt",
    "alt_indices_depth",
    "total_depth",
)
"""Those of the `INPUTS` that grow with the depth."""

MAX_SHOWN_DEPTH = 100
"""Reads of a site from which on more tell an image no more than their shares do."""

LENGTHS = ("insertion_length", "deletion_length")

MAX_SHOWN_LENGTH = 50
"""Bases from which on longer insertions and deletions look the same: few networks saw any."""

WIDTHS = (64, 64)
"""Of a trained small model's layers before the last."""

Predict = Callable[[NDArray[np.int32]], NDArray[np.float32]]
"""From `INPUTS`, int32 [n, 72], to float32 [n, 3]: probabilities of 0, 1 and 2 copies."""


@dataclass(frozen=True, slots=True)
class SmallModelSettings:
    """How sure the small model must be. Defaults are DeepVariant's for WGS.

    Attributes
    ----------
    min_gq_snps, min_gq_indels : float
        Smallest Phred-scaled quality of an answer that stands, for sets of
        single bases at a REF of one, and for all others.
    max_depth : int
        Deepest site (``total_depth``) of which it is asked: it was trained on few
        deeper ones.
    """

    min_gq_snps: float = 20.0
    min_gq_indels: float = 28.0
    max_depth: int = 1_000_000

    def __post_init__(self) -> None:
        check_range("max_depth", self.max_depth, 0, 1_000_000)
        check_range("min_gq_snps", self.min_gq_snps, 0, 100)
        check_range("min_gq_indels", self.min_gq_indels, 0, 100)


@dataclass(frozen=True, slots=True)
class SmallModel:
    """A small model, and when it is believed.

    Attributes
    ----------
    predict : callable
        Used by several threads at once.
    settings : SmallModelSettings
    """

    predict: Predict
    settings: SmallModelSettings = field(default_factory=SmallModelSettings)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the small model says where it is sure.

    Attributes
    ----------
    sets : ImagePlan
        Candidates and ALTs, in order, that need no image.
    probabilities : float32 [m, 3]
        That the sample has 0, 1 or 2 copies of these ALTs.
    """

    sets: ImagePlan
    probabilities: NDArray[np.float32]

    def where(self, kept: NDArray[np.bool_]) -> Answers:
        """The answers that a mask, bool [m], keeps."""
        return Answers(self.sets.where(kept), self.probabilities[kept])


def features(candidates: CandidateBatch, reads: ReadBatch, sets: ImagePlan) -> NDArray[np.int32]:
    """Describe sets of ALTs.

    Parameters
    ----------
    candidates : CandidateBatch
        Found with `Detail.REFERENCE`.
    reads : ReadBatch
    sets : ImagePlan

    Returns
    -------
    int32 [m, 70]
        In the order of `FEATURES`.
    """
    rows = np.empty((len(sets), len(FEATURES)), np.int32)
    FeatureCounter().fill(reads, candidates, sets.candidate, sets.alts, rows)
    return rows


def inputs(
    candidates: CandidateBatch, reads: ReadBatch, sets: ImagePlan, survey: Survey
) -> NDArray[np.int32]:
    """What a network is given of sets of ALTs; int32 [m, 72], in the order of `INPUTS`."""
    rows = features(candidates, reads, sets)
    depth, usual = column(rows, "total_depth"), survey.usual_depth(candidates.contig)
    percent = 100 * depth / usual if usual else np.full(len(rows), 100)
    relative = np.rint(np.interp(percent, *RELATIVE_DEPTHS))
    quality = np.full(len(rows), round(survey.slip_quality))
    return np.column_stack((rows, relative, quality)).astype(np.int32)


def pixels(rows: NDArray[np.int32]) -> NDArray[np.uint8]:
    """`INPUTS` as an image shows them, uint8 [m, 72]; larger ones than 255 as 255.

    Of a deep site the counts of `MAX_SHOWN_DEPTH` reads with the same shares: like
    the rows of an image, they do not tell it from one less deep. Of lengths at most
    `MAX_SHOWN_LENGTH`.
    """
    shown = rows.copy()
    columns = [INPUTS.index(name) for name in COUNTS]
    depth = np.maximum(column(rows, "total_depth"), MAX_SHOWN_DEPTH)
    scaled = (rows[:, columns] * MAX_SHOWN_DEPTH + depth[:, None] // 2) // depth[:, None]
    shown[:, columns] = scaled
    columns = [INPUTS.index(name) for name in LENGTHS]
    shown[:, columns] = np.minimum(rows[:, columns], MAX_SHOWN_LENGTH)
    return np.minimum(shown, 255).astype(np.uint8)


def answer(
    model: SmallModel,
    candidates: CandidateBatch,
    reads: ReadBatch,
    plan: ImagePlan,
    survey: Survey,
) -> tuple[Answers, ImagePlan]:
    """Ask the small model of every image of a plan.

    Parameters
    ----------
    model : SmallModel
    candidates, reads
        As for `features`.
    plan : ImagePlan
    survey : Survey
        Of the sample.

    Returns
    -------
    Answers
        Those that stand.
    ImagePlan
        What is left to draw.
    """
    rows = inputs(candidates, reads, plan, survey)
    probabilities = model.predict(rows) if len(rows) else np.empty((0, 3), np.float32)
    sure = is_sure(rows, probabilities, model.settings)
    return Answers(plan, probabilities).where(sure), plan.where(~sure)


def is_sure(
    rows: NDArray[np.int32], probabilities: NDArray[np.float32], settings: SmallModelSettings
) -> NDArray[np.bool_]:
    """Which answers stand, bool [n], of `INPUTS`, int32 [n, 72], and float32 [n, 3]."""
    limit = np.where(column(rows, "is_snp") == 1, settings.min_gq_snps, settings.min_gq_indels)
    asked = column(rows, "total_depth") <= settings.max_depth
    sure: NDArray[np.bool_] = asked & (quality(probabilities) >= limit)
    return sure


def quality(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Phred-scaled quality of the likeliest class, float64 [n], of float32 [n, classes]."""
    best = probabilities.max(axis=1).astype(np.float64)
    phred: NDArray[np.float64] = -10 * np.log10(1 - np.minimum(best, MAX_PROBABILITY))
    return phred


def column(rows: NDArray[np.int32], feature: str) -> NDArray[np.int32]:
    """One of the `INPUTS` of all rows."""
    return rows[:, INPUTS.index(feature)]


class DenseNetwork:
    """A network of dense layers: relu between them, softmax at the end; for `SmallModel`.

    It sees the `INPUTS` as an image shows them (`pixels`), so that the network that
    sees images can have it as a part (`networks.set_small_model`).

    Parameters
    ----------
    weights : sequence of float32 arrays
        Kernel [in, out] and bias [out] of each layer in turn.

    Attributes
    ----------
    weights : tuple of float32 arrays

    Raises
    ------
    ValueError
        If they do not follow from each other.

    Notes
    -----
    Pixels become float32 as they are: scaling is in the first layer. What is said
    of a row depends on that row only.
    """

    def __init__(self, weights: Sequence[NDArray[np.float32]]) -> None:
        self.weights = tuple(weights)
        self._layers = []
        width = len(INPUTS)
        for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
            if kernel.shape != (width, *bias.shape):
                raise ValueError(f"a layer of {kernel.shape} and {bias.shape} after {width} values")
            self._layers.append((_panels(kernel), np.ascontiguousarray(bias, np.float32)))
            width = len(bias)

    def __call__(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Probabilities, float32 [n, k], of `INPUTS`, int32 [n, 72]."""
        return softmax(self.logits(rows)).astype(np.float32)

    def logits(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """What comes before the softmax, float32 [n, k]."""
        values = pixels(rows).astype(np.float32)
        for i, (panels, bias) in enumerate(self._layers, 1):
            out = np.empty((len(rows), len(bias)), np.float32)
            dense(values, panels, bias, i < len(self._layers), out)
            values = out
        return values


def _panels(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights [in, out] as the kernel `dense` takes them."""
    inputs, outputs = kernel.shape
    count = -(-outputs // PANEL)
    padded = np.zeros((inputs, count * PANEL), np.float32)
    padded[:, :outputs] = kernel
    return np.ascontiguousarray(padded.reshape(inputs, count, PANEL).transpose(1, 0, 2))
