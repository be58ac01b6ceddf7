"""Between our dataclasses and the messages of DeepVariant's files.

Lists of named fields are written sorted by name, so equal content is equal bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite, prod
from pathlib import Path
from typing import TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from pysam import FREVERSE

from pileupcnn.candidates import CandidateBatch
from pileupcnn.confidence import ANY_ALLELE, ReferenceBlocks
from pileupcnn.errors import InputError
from pileupcnn.kernels.alleles import CONTEXT
from pileupcnn.messages.features_pb2 import Example, Feature
from pileupcnn.messages.variants_pb2 import (
    CallVariantsOutput,
    DeepVariantCall,
    InfoEntry,
    ListValue,
    Variant,
    VariantCall,
)
from pileupcnn.reads import ReadBatch
from pileupcnn.tfrecords import read_records

SNP, INDEL = 1, 2
"""Types in an example: whether all of a site's alleles are single bases, or not."""

UNCALLED = "UNCALLED_ALLELE"
"""Key of the reads that support no ALT."""

MAX_LOG10 = 1e8
"""No likelihood in a file is that small: it could not be written as PL."""

LABELS = 3
"""A sample has 0, 1 or 2 copies of the ALT alleles that an image shows."""

_Decoded = TypeVar("_Decoded")
_Message = TypeVar("_Message", bound=Message)


class MessageError(ValueError):
    """A message that lacks something, or is another one than expected."""


@dataclass(frozen=True, slots=True)
class Site:
    """A candidate variant of one sample.

    Attributes
    ----------
    sample : str
    contig : str
    start : int
        First base of REF, 0-based.
    alleles : tuple of str
        REF, then the ALT alleles.
    depth : int
        DP, reads.
    allele_depths : tuple of int
        AD, reads of each allele, REF first.
    genotype : tuple of int
        Two allele indices; -1 is missing. Known in training only.
    model_id : str
        MID: the model that said something of it without an image, or none.
        Sites are equal with whatever model.
    """

    sample: str
    contig: str
    start: int
    alleles: tuple[str, ...]
    depth: int
    allele_depths: tuple[int, ...]
    genotype: tuple[int, int] = (-1, -1)
    model_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ImageExample:
    """One image of a site.

    Attributes
    ----------
    image : uint8 [height, width, channels]
        Read-only.
    variant : bytes
        The site, encoded; for `decode_variant`.
    alts : tuple of int
        ALTs that the image shows, counted from 0 among the site's ALTs.
    label : int or None
        Copies of these ALTs in the true genotype, in training only.
    variant_type : int
        `SNP`, `INDEL` or 0, unknown.
    """

    image: NDArray[np.uint8]
    variant: bytes
    alts: tuple[int, ...]
    label: int | None
    variant_type: int


@dataclass(frozen=True, slots=True)
class ImageCall:
    """What the network says of one image.

    Attributes
    ----------
    site : Site
    alts : tuple of int
        As in `ImageExample`.
    probabilities : tuple of float
        That the sample has 0, 1 or 2 copies of these ALTs.
    joint : bool
        As for `postprocess.genotype`. (A field of our own in DeepVariant's message.)
    has_small_model_calls : bool
        Whether a small model answered for other images, in files of their own. (Another.)
    """

    site: Site
    alts: tuple[int, ...]
    probabilities: tuple[float, float, float]
    joint: bool
    has_small_model_calls: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceBlock:
    """One of a file's `ReferenceBlocks`, with its sample; the attributes are theirs."""

    sample: str
    contig: str
    start: int
    end: int
    base: int
    called: bool
    genotype_quality: int
    min_depth: int
    log10_likelihoods: tuple[float, float, float]


def candidate_site(candidates: CandidateBatch, index: int, sample: str, model_id: str = "") -> Site:
    """One candidate of a batch."""
    return Site(
        sample=sample,
        contig=candidates.contig,
        start=int(candidates.start[index]),
        alleles=candidates.alleles(index),
        depth=int(candidates.depth[index]),
        allele_depths=candidates.allele_depths(index),
        model_id=model_id,
    )


def site_to_variant(site: Site, reads_name: str = "") -> Variant:
    """The message of a site.

    Parameters
    ----------
    site : Site
    reads_name : str
        Name of the reads' file, without folder, which DeepVariant notes in
        training.
    """
    depth, allele_depths = site.depth, site.allele_depths
    fractions = [reads / depth if depth else 0.0 for reads in allele_depths[1:]]
    call = VariantCall(
        call_set_name=site.sample,
        genotype=site.genotype,
        info=[
            _info("AD", int_value=allele_depths),
            _info("DP", int_value=[depth]),
            *([_info("MID", string_value=[site.model_id])] if site.model_id else []),
            _info("VAF", number_value=fractions),
        ],
    )
    return Variant(
        reference_name=site.contig,
        start=site.start,
        end=site.start + len(site.alleles[0]),
        reference_bases=site.alleles[0],
        alternate_bases=site.alleles[1:],
        calls=[call],
        info=[_info("BAM_FNAME", string_value=[reads_name])] if reads_name else [],
    )


def _info(name: str, **values: Sequence[int] | Sequence[float] | Sequence[str]) -> InfoEntry:
    """An INFO or FORMAT field; its values are of the kind named by the keyword."""
    ((kind, listed),) = values.items()
    return InfoEntry(key=name, value=ListValue(values=[{kind: value} for value in listed]))


def variant_to_site(variant: Variant) -> Site:
    """The site of a message.

    Raises
    ------
    MessageError
        If there are no ALTs, not one sample, or no AD and DP that fit.
    """
    where = f"{variant.reference_name}:{variant.start + 1}"
    alleles = (variant.reference_bases, *variant.alternate_bases)
    if not variant.reference_name or variant.start < 0 or len(alleles) < 2 or not all(alleles):
        raise MessageError(f"no contig, position, REF or ALT at {where}")
    if len(variant.calls) != 1:
        raise MessageError(f"{len(variant.calls)} samples at {where}, not one")
    call = variant.calls[0]
    info = {entry.key: entry.value.values for entry in call.info}
    allele_depths, depths = [
        tuple([value.int_value for value in info.get(name, ())]) for name in ("AD", "DP")
    ]
    if len(allele_depths) != len(alleles) or len(depths) != 1 or min(depths + allele_depths) < 0:
        raise MessageError(f"no AD and DP of {len(alleles)} alleles at {where}")
    first, second = call.genotype if len(call.genotype) == 2 else (-1, -1)
    models = [value.string_value for value in info.get("MID", ())]
    if not all(model.isascii() and model.replace("_", "").isalnum() for model in models):
        raise MessageError(f"a MID that is no name at {where}")
    return Site(
        sample=call.call_set_name,
        contig=variant.reference_name,
        start=variant.start,
        alleles=alleles,
        depth=depths[0],
        allele_depths=allele_depths,
        genotype=(first, second),
        model_id=models[0] if models else "",
    )


def encode_blocks(blocks: ReferenceBlocks, sample: str) -> list[bytes]:
    """A Variant for each block, as DeepVariant's make_examples writes them for a gVCF."""
    return [
        _bytes(
            Variant(
                reference_name=blocks.contig,
                start=start,
                end=end,
                reference_bases=chr(base),
                alternate_bases=(ANY_ALLELE,),
                calls=(_block_call(sample, called, quality, depth, *likelihoods),),
            )
        )
        for start, end, base, called, quality, depth, likelihoods in zip(
            blocks.start.tolist(),
            blocks.end.tolist(),
            blocks.base.tolist(),
            blocks.called.tolist(),
            blocks.genotype_quality.tolist(),
            blocks.min_depth.tolist(),
            blocks.log10_likelihoods.tolist(),
            strict=True,
        )
    ]


@lru_cache(maxsize=4096)
def _block_call(
    sample: str, called: bool, quality: int, depth: int, *likelihoods: float
) -> VariantCall:
    """What a sample has in a block; most blocks are like others."""
    return VariantCall(
        call_set_name=sample,
        genotype=(0, 0) if called else (-1, -1),
        genotype_likelihood=likelihoods,
        info=[_info("GQ", int_value=(quality,)), _info("MIN_DP", int_value=(depth,))],
    )


def decode_block(data: bytes) -> ReferenceBlock:
    """A reference-confidence block.

    Raises
    ------
    MessageError
        If the bytes are none, or something in them is missing or wrong.
    """
    variant = _decode(Variant, data)
    start, end = variant.start, variant.end
    where = f"{variant.reference_name}:{start + 1}"
    if tuple(variant.alternate_bases) != (ANY_ALLELE,) or len(variant.calls) != 1:
        raise MessageError(f"not one ALT {ANY_ALLELE} and one sample at {where}")
    call = variant.calls[0]
    fields = {entry.key: [v.int_value for v in entry.value.values] for entry in call.info}
    likelihoods = tuple(call.genotype_likelihood)
    genotype = tuple(call.genotype)
    if (
        not 0 <= start < end
        or variant.reference_bases not in ("A", "C", "G", "T")
        or genotype not in ((0, 0), (-1, -1))
        or len(likelihoods) != 3
        or not all(isfinite(value) and abs(value) < MAX_LOG10 for value in likelihoods)
        or any(len(fields.get(name, ())) != 1 or fields[name][0] < 0 for name in ("GQ", "MIN_DP"))
    ):
        raise MessageError(f"no REF, END, GT, GQ, MIN_DP or likelihoods that fit at {where}")
    none, one, two = likelihoods
    return ReferenceBlock(
        call.call_set_name,
        variant.reference_name,
        start,
        end,
        ord(variant.reference_bases),
        genotype == (0, 0),
        fields["GQ"][0],
        fields["MIN_DP"][0],
        (none, one, two),
    )


def decode_variant(data: bytes) -> Variant:
    """A variant, e.g. that of an `ImageExample`.

    Raises
    ------
    MessageError
        If the bytes are none.
    """
    return _decode(Variant, data)


def encode_candidate(
    candidates: CandidateBatch,
    reads: ReadBatch,
    index: int,
    site: Site,
    images: Sequence[Sequence[int]] = (),
) -> bytes:
    """A DeepVariantCall: a candidate with its reads.

    Parameters
    ----------
    candidates : CandidateBatch
        With details.
    reads : ReadBatch
    index : int
    site : Site
        The candidate, from `candidate_site`.
    images : sequence of sequence of int
        ALTs of the images that are wanted, where not all are.
    """
    details = candidates.details
    if details is None:
        raise ValueError("the candidates were found without details")
    first, last = candidates.allele_offset[index : index + 2].tolist()
    bounds = candidates.support_offset[first : last + 1].tolist()
    reference, *alts = [
        _read_supports(
            reads,
            site.sample,
            candidates.support[a:b],
            details.low_quality[a:b],
            details.base_quality[a:b],
        )
        for a, b in itertools.pairwise(bounds)
    ]
    support = dict(zip(site.alleles[1:], alts, strict=True))
    a, b = details.uncalled_offset[index : index + 2].tolist()
    if a < b:
        support[UNCALLED] = _read_supports(
            reads,
            site.sample,
            details.uncalled[a:b],
            details.uncalled_low_quality[a:b],
            details.uncalled_base_quality[a:b],
        )
    position = site.start - CONTEXT
    return _bytes(
        DeepVariantCall(
            variant=site_to_variant(site),
            allele_support=[
                {"key": key, "value": {"read_names": [read.read_name for read in support[key]]}}
                for key in sorted(support)
            ],
            ref_support=[read.read_name for read in reference],
            allele_support_ext=[
                {"key": key, "value": {"read_infos": support[key]}} for key in sorted(support)
            ],
            ref_support_ext={"read_infos": reference} if reference else None,
            allele_frequency_at_position=[
                {"key": position + i, "value": percentage}
                for i, percentage in enumerate(details.context[index].tolist())
                if percentage >= 0
            ],
            make_examples_alt_allele_indices=[{"indices": shown} for shown in images],
        )
    )


def _read_supports(
    reads: ReadBatch,
    sample: str,
    supporting: NDArray[np.int32],
    low_quality: NDArray[np.uint8],
    base_quality: NDArray[np.uint8],
) -> list[DeepVariantCall.ReadSupport]:
    """What is said of each of the reads that support an allele."""
    reverse = reads.flag[supporting] & FREVERSE != 0
    return [
        DeepVariantCall.ReadSupport(
            read_name=reads.name(read),
            is_low_quality=bool(low),
            mapping_quality=mapping_quality,
            average_base_quality=quality,
            is_reverse_strand=is_reverse,
            sample_name=sample,
        )
        for read, low, mapping_quality, quality, is_reverse in zip(
            supporting.tolist(),
            low_quality.tolist(),
            reads.mapping_quality[supporting].tolist(),
            base_quality.tolist(),
            reverse.tolist(),
            strict=True,
        )
    ]


def encode_example(
    image: NDArray[np.uint8],
    variant: Variant,
    alts: Sequence[int],
    label: int | None = None,
) -> bytes:
    """A tf.Example of one image.

    Parameters
    ----------
    image : uint8 [height, width, channels]
    variant : Variant
        From `site_to_variant`, once for all images of a site.
    alts, label
        As in `ImageExample`.
    """
    indices = CallVariantsOutput.AltAlleleIndices(indices=alts)
    alleles = (variant.reference_bases, *variant.alternate_bases)
    locus = f"{variant.reference_name}:{variant.start + 1}-{variant.end}"
    features = {
        "alt_allele_indices/encoded": _bytes(indices),
        "image/encoded": image.tobytes(),
        "image/shape": image.shape,
        "locus": locus.encode(),
        "sequencing_type": (0,),
        "variant/encoded": _bytes(variant),
        "variant_type": (SNP if all(len(allele) == 1 for allele in alleles) else INDEL,),
    }
    if label is not None:
        features["label"] = (label,)
    entries = [
        {"key": key, "value": {"bytes_list": {"value": [value]}}}
        if isinstance(value, bytes)
        else {"key": key, "value": {"int64_list": {"value": value}}}
        for key, value in sorted(features.items())
    ]
    return _bytes(Example(features={"feature": entries}))


def decode_example(data: bytes) -> ImageExample:
    """The image in a tf.Example.

    Raises
    ------
    MessageError
        If the bytes are none, or a feature is missing or wrong.
    """
    features = {entry.key: entry.value for entry in _decode(Example, data).features.feature}
    image, shape = _one_bytes(features, "image/encoded"), _ints(features, "image/shape")
    if len(shape) != 3 or min(shape) < 1 or prod(shape) != len(image):
        raise MessageError(f"an image of {len(image)} bytes with the shape {list(shape)}")
    encoded = _one_bytes(features, "alt_allele_indices/encoded")
    label = _one_int(features, "label") if "label" in features else None
    if label is not None and label not in range(LABELS):
        raise MessageError(f"the label {label}, not 0, 1 or 2")
    return ImageExample(
        image=np.frombuffer(image, np.uint8).reshape(shape),
        variant=_one_bytes(features, "variant/encoded"),
        alts=tuple(_decode(CallVariantsOutput.AltAlleleIndices, encoded).indices),
        label=label,
        variant_type=_one_int(features, "variant_type"),
    )


def encode_call(
    variant: Variant,
    alts: Sequence[int],
    probabilities: Sequence[float],
    joint: bool,
    has_small_model_calls: bool = False,
) -> bytes:
    """A CallVariantsOutput: what the network says of one image.

    Parameters
    ----------
    variant : Variant
        That of the image's example, from `decode_variant`.
    alts, probabilities, joint, has_small_model_calls
        As in `ImageCall`.
    """
    return _bytes(
        CallVariantsOutput(
            variant=variant,
            alt_allele_indices=CallVariantsOutput.AltAlleleIndices(indices=alts),
            genotype_probabilities=[float(probability) for probability in probabilities],
            joint=joint,
            has_small_model_calls=has_small_model_calls,
        )
    )


def decode_call(data: bytes) -> ImageCall:
    """What a CallVariantsOutput says.

    Raises
    ------
    MessageError
        If the bytes are none, or something in them is missing or wrong.
    """
    message = _decode(CallVariantsOutput, data)
    site = variant_to_site(message.variant)
    alts = tuple(message.alt_allele_indices.indices)
    probabilities = tuple(message.genotype_probabilities)
    where = f"{site.contig}:{site.start + 1}"
    if not alts or not all(0 <= alt < len(site.alleles) - 1 for alt in alts):
        raise MessageError(f"the ALT indices {list(alts)} at {where}")
    if len(probabilities) != LABELS or not all(0 <= value <= 1 for value in probabilities):
        raise MessageError(f"the probabilities {list(probabilities)} at {where}")
    none, one, two = probabilities
    return ImageCall(site, alts, (none, one, two), message.joint, message.has_small_model_calls)


def read_examples(path: str | Path) -> Iterator[ImageExample]:
    """The images of one TFRecord file, in order.

    Raises
    ------
    InputError
        If the file is damaged, or a record is no example; with its number.
    """
    return _read(path, decode_example, "an example")


def read_calls(path: str | Path) -> Iterator[ImageCall]:
    """The calls of one TFRecord file of CallVariantsOutput, in order.

    Raises
    ------
    InputError
        If the file is damaged, or a record is no call; with its number.
    """
    return _read(path, decode_call, "an output of call-variants")


def read_blocks(path: str | Path) -> Iterator[ReferenceBlock]:
    """The reference-confidence blocks of one TFRecord file, in order.

    Raises
    ------
    InputError
        If the file is damaged, or a record is no such block; with its number.
    """
    return _read(path, decode_block, "a reference block of make-examples")


def _read(
    path: str | Path, decode: Callable[[bytes], _Decoded], expected: str
) -> Iterator[_Decoded]:
    for number, data in enumerate(read_records(path), 1):
        try:
            decoded = decode(data)
        except MessageError as error:
            raise InputError(
                f"{path}: record {number} is not {expected} ({error}); give another file, or "
                "make this one again"
            ) from error
        yield decoded


def _one_bytes(features: Mapping[str, Feature], name: str) -> bytes:
    values: Sequence[bytes] = features[name].bytes_list.value if name in features else ()
    if len(values) != 1:
        raise MessageError(f"no feature {name}")
    return values[0]


def _one_int(features: Mapping[str, Feature], name: str) -> int:
    values = _ints(features, name)
    if len(values) != 1:
        raise MessageError(f"no feature {name}")
    return values[0]


def _ints(features: Mapping[str, Feature], name: str) -> Sequence[int]:
    return tuple(features[name].int64_list.value) if name in features else ()


def _decode(kind: type[_Message], data: bytes) -> _Message:
    """A message from its bytes."""
    try:
        message: _Message = kind.FromString(data)
    except DecodeError as error:
        raise MessageError(f"its bytes are no {kind.__name__}") from error
    return message


def _bytes(message: Message) -> bytes:
    """A message's bytes; without maps in it, they depend on its content only."""
    data: bytes = message.SerializeToString()
    return data
