from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("number_value", "string_value", "bool_value", "list_value", "int_value")
    NUMBER_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIST_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    number_value: float
    string_value: str
    bool_value: bool
    list_value: ListValue
    int_value: int
    def __init__(self, number_value: _Optional[float] = ..., string_value: _Optional[str] = ..., bool_value: bool = ..., list_value: _Optional[_Union[ListValue, _Mapping]] = ..., int_value: _Optional[int] = ...) -> None: ...

class ListValue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class InfoEntry(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: ListValue
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ListValue, _Mapping]] = ...) -> None: ...

class VariantCall(_message.Message):
    __slots__ = ("info", "phaseset", "genotype_likelihood", "genotype", "call_set_id", "call_set_name", "is_phased")
    INFO_FIELD_NUMBER: _ClassVar[int]
    PHASESET_FIELD_NUMBER: _ClassVar[int]
    GENOTYPE_LIKELIHOOD_FIELD_NUMBER: _ClassVar[int]
    GENOTYPE_FIELD_NUMBER: _ClassVar[int]
    CALL_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CALL_SET_NAME_FIELD_NUMBER: _ClassVar[int]
    IS_PHASED_FIELD_NUMBER: _ClassVar[int]
    info: _containers.RepeatedCompositeFieldContainer[InfoEntry]
    phaseset: str
    genotype_likelihood: _containers.RepeatedScalarFieldContainer[float]
    genotype: _containers.RepeatedScalarFieldContainer[int]
    call_set_id: str
    call_set_name: str
    is_phased: bool
    def __init__(self, info: _Optional[_Iterable[_Union[InfoEntry, _Mapping]]] = ..., phaseset: _Optional[str] = ..., genotype_likelihood: _Optional[_Iterable[float]] = ..., genotype: _Optional[_Iterable[int]] = ..., call_set_id: _Optional[str] = ..., call_set_name: _Optional[str] = ..., is_phased: bool = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("id", "names", "reference_bases", "alternate_bases", "quality", "filter", "info", "calls", "created", "end", "reference_name", "variant_set_id", "start")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_BASES_FIELD_NUMBER: _ClassVar[int]
    ALTERNATE_BASES_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_NAME_FIELD_NUMBER: _ClassVar[int]
    VARIANT_SET_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    id: str
    names: _containers.RepeatedScalarFieldContainer[str]
    reference_bases: str
    alternate_bases: _containers.RepeatedScalarFieldContainer[str]
    quality: float
    filter: _containers.RepeatedScalarFieldContainer[str]
    info: _containers.RepeatedCompositeFieldContainer[InfoEntry]
    calls: _containers.RepeatedCompositeFieldContainer[VariantCall]
    created: int
    end: int
    reference_name: str
    variant_set_id: str
    start: int
    def __init__(self, id: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., reference_bases: _Optional[str] = ..., alternate_bases: _Optional[_Iterable[str]] = ..., quality: _Optional[float] = ..., filter: _Optional[_Iterable[str]] = ..., info: _Optional[_Iterable[_Union[InfoEntry, _Mapping]]] = ..., calls: _Optional[_Iterable[_Union[VariantCall, _Mapping]]] = ..., created: _Optional[int] = ..., end: _Optional[int] = ..., reference_name: _Optional[str] = ..., variant_set_id: _Optional[str] = ..., start: _Optional[int] = ...) -> None: ...

class CallVariantsOutput(_message.Message):
    __slots__ = ("variant", "alt_allele_indices", "genotype_probabilities", "joint", "has_small_model_calls")
    class AltAlleleIndices(_message.Message):
        __slots__ = ("indices",)
        INDICES_FIELD_NUMBER: _ClassVar[int]
        indices: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, indices: _Optional[_Iterable[int]] = ...) -> None: ...
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    ALT_ALLELE_INDICES_FIELD_NUMBER: _ClassVar[int]
    GENOTYPE_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    JOINT_FIELD_NUMBER: _ClassVar[int]
    HAS_SMALL_MODEL_CALLS_FIELD_NUMBER: _ClassVar[int]
    variant: Variant
    alt_allele_indices: CallVariantsOutput.AltAlleleIndices
    genotype_probabilities: _containers.RepeatedScalarFieldContainer[float]
    joint: bool
    has_small_model_calls: bool
    def __init__(self, variant: _Optional[_Union[Variant, _Mapping]] = ..., alt_allele_indices: _Optional[_Union[CallVariantsOutput.AltAlleleIndices, _Mapping]] = ..., genotype_probabilities: _Optional[_Iterable[float]] = ..., joint: bool = ..., has_small_model_calls: bool = ...) -> None: ...

class DeepVariantCall(_message.Message):
    __slots__ = ("variant", "allele_support", "allele_frequency", "ref_support", "allele_support_ext", "ref_support_ext", "allele_frequency_at_position", "make_examples_alt_allele_indices")
    class SupportingReads(_message.Message):
        __slots__ = ("read_names",)
        READ_NAMES_FIELD_NUMBER: _ClassVar[int]
        read_names: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, read_names: _Optional[_Iterable[str]] = ...) -> None: ...
    class SupportEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DeepVariantCall.SupportingReads
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DeepVariantCall.SupportingReads, _Mapping]] = ...) -> None: ...
    class ReadSupport(_message.Message):
        __slots__ = ("read_name", "is_low_quality", "mapping_quality", "average_base_quality", "is_reverse_strand", "is_methylated", "sample_name", "methylation_level")
        READ_NAME_FIELD_NUMBER: _ClassVar[int]
        IS_LOW_QUALITY_FIELD_NUMBER: _ClassVar[int]
        MAPPING_QUALITY_FIELD_NUMBER: _ClassVar[int]
        AVERAGE_BASE_QUALITY_FIELD_NUMBER: _ClassVar[int]
        IS_REVERSE_STRAND_FIELD_NUMBER: _ClassVar[int]
        IS_METHYLATED_FIELD_NUMBER: _ClassVar[int]
        SAMPLE_NAME_FIELD_NUMBER: _ClassVar[int]
        METHYLATION_LEVEL_FIELD_NUMBER: _ClassVar[int]
        read_name: str
        is_low_quality: bool
        mapping_quality: int
        average_base_quality: int
        is_reverse_strand: bool
        is_methylated: bool
        sample_name: str
        methylation_level: int
        def __init__(self, read_name: _Optional[str] = ..., is_low_quality: bool = ..., mapping_quality: _Optional[int] = ..., average_base_quality: _Optional[int] = ..., is_reverse_strand: bool = ..., is_methylated: bool = ..., sample_name: _Optional[str] = ..., methylation_level: _Optional[int] = ...) -> None: ...
    class SupportingReadsExt(_message.Message):
        __slots__ = ("read_infos",)
        READ_INFOS_FIELD_NUMBER: _ClassVar[int]
        read_infos: _containers.RepeatedCompositeFieldContainer[DeepVariantCall.ReadSupport]
        def __init__(self, read_infos: _Optional[_Iterable[_Union[DeepVariantCall.ReadSupport, _Mapping]]] = ...) -> None: ...
    class SupportExtEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DeepVariantCall.SupportingReadsExt
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DeepVariantCall.SupportingReadsExt, _Mapping]] = ...) -> None: ...
    class FrequencyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class PositionEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    ALLELE_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    ALLELE_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    REF_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    ALLELE_SUPPORT_EXT_FIELD_NUMBER: _ClassVar[int]
    REF_SUPPORT_EXT_FIELD_NUMBER: _ClassVar[int]
    ALLELE_FREQUENCY_AT_POSITION_FIELD_NUMBER: _ClassVar[int]
    MAKE_EXAMPLES_ALT_ALLELE_INDICES_FIELD_NUMBER: _ClassVar[int]
    variant: Variant
    allele_support: _containers.RepeatedCompositeFieldContainer[DeepVariantCall.SupportEntry]
    allele_frequency: _containers.RepeatedCompositeFieldContainer[DeepVariantCall.FrequencyEntry]
    ref_support: _containers.RepeatedScalarFieldContainer[str]
    allele_support_ext: _containers.RepeatedCompositeFieldContainer[DeepVariantCall.SupportExtEntry]
    ref_support_ext: DeepVariantCall.SupportingReadsExt
    allele_frequency_at_position: _containers.RepeatedCompositeFieldContainer[DeepVariantCall.PositionEntry]
    make_examples_alt_allele_indices: _containers.RepeatedCompositeFieldContainer[CallVariantsOutput.AltAlleleIndices]
    def __init__(self, variant: _Optional[_Union[Variant, _Mapping]] = ..., allele_support: _Optional[_Iterable[_Union[DeepVariantCall.SupportEntry, _Mapping]]] = ..., allele_frequency: _Optional[_Iterable[_Union[DeepVariantCall.FrequencyEntry, _Mapping]]] = ..., ref_support: _Optional[_Iterable[str]] = ..., allele_support_ext: _Optional[_Iterable[_Union[DeepVariantCall.SupportExtEntry, _Mapping]]] = ..., ref_support_ext: _Optional[_Union[DeepVariantCall.SupportingReadsExt, _Mapping]] = ..., allele_frequency_at_position: _Optional[_Iterable[_Union[DeepVariantCall.PositionEntry, _Mapping]]] = ..., make_examples_alt_allele_indices: _Optional[_Iterable[_Union[CallVariantsOutput.AltAlleleIndices, _Mapping]]] = ...) -> None: ...
