"""Changes of training images: only what they should change, and what they may not lose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pileupcnn.augment import MIN_READS, QUALITY_BINS, Augmentation, Augmenter
from pileupcnn.candidates import CandidateSettings
from pileupcnn.errors import OptionError
from pileupcnn.kernels.channels import STRAND_VALUES, SUPPORTS_VALUE, quality_values
from pileupcnn.labels import INDEL, SNP
from pileupcnn.pileup import OWN_CHANNELS, Channel, PileupSpec
from pileupcnn.small_model import FEATURES, INPUTS

SPEC = PileupSpec(30, 11)
LAYER = {channel: SPEC.channels.index(channel) for channel in SPEC.channels}


def draw(seed: int, n: int = 40) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images with some rows of reads that look like drawn ones."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, *SPEC.shape), np.uint8)
    rows = rng.integers(SPEC.reference_rows, SPEC.height + 1, n)
    for image, last in zip(images, rows, strict=True):
        for row in range(last):
            left, right = sorted(rng.integers(0, SPEC.width + 1, 2))
            pixels = image[row, left : max(right, left + 1)]
            pixels[:] = rng.integers(1, 255, pixels.shape)
            pixels[:, LAYER[Channel.STRAND]] = rng.choice(STRAND_VALUES)
            pixels[:, LAYER[Channel.BASE_QUALITY]] = quality_values()[rng.integers(1, 41)]
            pixels[:, LAYER[Channel.READ_SUPPORTS_VARIANT]] = rng.choice([152, SUPPORTS_VALUE])
    return images, rows


def change(
    images: NDArray[np.uint8], rows: NDArray[np.int64], **shares: float
) -> NDArray[np.uint8]:
    changed = images.copy()
    kinds = np.where(np.arange(len(images)) % 2, SNP, INDEL).astype(np.uint8)
    augment = Augmenter(Augmentation(**shares), SPEC, CandidateSettings())
    augment(changed, rows, kinds, np.random.default_rng(1))
    return changed


def support(image: NDArray[np.uint8]) -> int:
    reads = image[SPEC.reference_rows :, :, LAYER[Channel.READ_SUPPORTS_VARIANT]]
    return int((reads == SUPPORTS_VALUE).any(axis=1).sum())


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_thinning_takes_reads_away_and_leaves_a_candidate(seed: int) -> None:
    images, rows = draw(seed)
    for before, after, last in zip(images, change(images, rows, thin_reads=1), rows, strict=True):
        top = SPEC.reference_rows
        assert np.array_equal(before[:top], after[:top])
        kept = after[top:][after[top:].any(axis=(1, 2))]
        source = iter(before[top:last])
        assert all(any(np.array_equal(row, other) for other in source) for row in kept)
        if last - top < MIN_READS:
            assert np.array_equal(before, after)
        elif not np.array_equal(before, after):
            assert support(after) >= max(2, 0.06 * len(kept))


def test_thinning_reaches_low_depths() -> None:
    images, rows = draw(3, 400)
    changed = change(images, rows, thin_reads=1)
    left = changed[:, 5:].any(axis=(2, 3)).sum(axis=1) / np.maximum(rows - 5, 1)
    assert np.quantile(left[rows > 20], 0.1) < 0.45
    assert np.quantile(left[rows > 20], 0.9) > 0.85


def test_strands_are_exchanged_and_nothing_else() -> None:
    images, rows = draw(1)
    flipped = change(images, rows, flip_strands=1)
    layer = LAYER[Channel.STRAND]
    for one, other in (STRAND_VALUES, STRAND_VALUES[::-1]):
        assert (flipped[:, 5:, :, layer][images[:, 5:, :, layer] == one] == other).all()
    flipped[..., layer] = images[..., layer]
    assert np.array_equal(flipped, images)


def test_qualities_are_binned_and_nothing_else() -> None:
    images, rows = draw(2, 200)
    binned = change(images, rows, bin_qualities=1)
    layer = LAYER[Channel.BASE_QUALITY]
    assert np.array_equal(binned[:, :5], images[:, :5])
    known = [{quality_values()[level] for _, level in bins} | {0} for bins in QUALITY_BINS]
    like_known = 0
    for before, after in zip(images[:, 5:, :, layer], binned[:, 5:, :, layer], strict=True):
        levels = set(np.unique(after).tolist())
        assert len(levels) <= 1 + 8
        pairs = sorted({(int(a), int(b)) for a, b in zip(before.flat, after.flat, strict=True)})
        # what is blank stays so, and a better base is never shown as a worse one
        assert [b for a, b in pairs if a == 0] == [0]
        assert [b for _, b in pairs] == sorted(b for _, b in pairs)
        like_known += any(levels <= own for own in known)
    assert 0.4 < like_known / len(images) < 0.7
    binned[..., layer] = images[..., layer]
    assert np.array_equal(binned, images)


def test_shares_are_shares() -> None:
    images, rows = draw(4, 300)
    assert np.array_equal(change(images, rows), images)
    changed = (change(images, rows, flip_strands=0.3) != images).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx(0.3, abs=0.1)
    with pytest.raises(OptionError, match="several samples"):
        Augmenter(Augmentation(0.5), PileupSpec(sample_heights=(40, 60)), CandidateSettings())
    with pytest.raises(ValueError, match="thin_reads"):
        Augmentation(thin_reads=1.5)


NUMBERED = PileupSpec(30, 101, OWN_CHANNELS, reference_rows=1)


def numbers_after(before: NDArray[np.uint8], **shares: float) -> NDArray[np.uint8]:
    """Numbers of one image with 20 rows, half of which support the ALT, after its changes."""
    images = np.zeros((1, *NUMBERED.shape), np.uint8)
    assert NUMBERED.numbers_layer is not None
    images[0, 0, : len(INPUTS), NUMBERED.numbers_layer] = before
    support = NUMBERED.channels.index(Channel.READ_SUPPORTS_VARIANT)
    images[0, 1:11, :, support], images[0, 11:21, :, support] = SUPPORTS_VALUE, 152
    augment = Augmenter(Augmentation(**shares), NUMBERED, CandidateSettings())
    augment(images, np.array([21]), np.array([SNP], np.uint8), np.random.default_rng(3))
    left: NDArray[np.uint8] = images[0, 0, :, NUMBERED.numbers_layer]
    assert not left[len(INPUTS) :].any()
    assert not images[0, 1:, :, NUMBERED.numbers_layer].any()
    return left[: len(INPUTS)]


def test_numbers_follow_what_is_changed() -> None:
    before = np.arange(1, 1 + len(INPUTS), dtype=np.uint8)
    site = len(FEATURES)
    # of fewer reads nothing is known of the site; the sample is as it was
    thinned = numbers_after(before, thin_reads=1)
    assert not thinned[:site].any()
    assert np.array_equal(thinned[site:], before[site:])
    flipped = numbers_after(before, flip_strands=1)
    ratios = [INPUTS.index(f"{allele}_reverse_strand_ratio") for allele in ("ref", "alt")]
    assert set(np.flatnonzero(flipped != before).tolist()) <= set(ratios)
    binned = numbers_after(before, bin_qualities=1)
    qualities = [INPUTS.index(f"{allele}_base_quality") for allele in ("ref", "alt")]
    assert np.flatnonzero(binned != before).tolist() == qualities
    assert not binned[qualities].any()


@given(st.integers(1, 100), st.data())
@settings(max_examples=60)
def test_flipped_ratios_are_those_of_the_other_strand(reads: int, data: st.DataObject) -> None:
    reverse = data.draw(st.integers(0, reads))
    before = np.zeros(len(INPUTS), np.uint8)
    ratio = INPUTS.index("alt_reverse_strand_ratio")
    before[INPUTS.index("num_reads_supports_alt")] = reads
    before[ratio] = 100 * reverse // reads
    flipped = numbers_after(before, flip_strands=1)
    assert flipped[ratio] == 100 * (reads - reverse) // reads
    flipped[ratio] = before[ratio]
    assert np.array_equal(flipped, before)


def test_a_ratio_of_no_reads_stays_nothing() -> None:
    assert not numbers_after(np.zeros(len(INPUTS), np.uint8), flip_strands=1).any()
