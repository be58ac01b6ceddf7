"""A network as an ONNX graph, which light engines run without TensorFlow.

The graph is written from the Keras network layer by layer, so an architecture
is described once, in `networks`. Scaling, and batch normalisation after a
convolution, become part of the convolutions. Only standard operators are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pileupcnn.networks import LOGITS, PROBABILITIES

if TYPE_CHECKING:
    import keras

OPSET, IR_VERSION = 17, 8
"""Of the ONNX format; engines read them since 2022."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Value:
    """What a layer gives: the name of a value in the graph, to be multiplied by `scale`."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution that is not written yet: a batch normalisation may follow.

    Attributes
    ----------
    name, source : str
        Its own, and that of its input.
    kernel : [rows, columns, in, out]
    bias : [out]
    strides, pads : list of int
        As ONNX has them.
    """

    name: str
    source: str
    kernel: Array
    bias: Array
    strides: list[int]
    pads: list[int]


_Result = _Value | _Convolution


@dataclass(slots=True)
class _Graph:
    """The nodes and constants written so far."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> _Value:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return _Value(name)

    def constant(self, name: str, values: Any, dtype: DTypeLike = np.float32) -> str:
        from onnx import numpy_helper

        array = np.ascontiguousarray(values, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def name(self, result: _Result) -> str:
        """The name of a result; what is left to be done for it is written."""
        if isinstance(result, _Convolution):
            kernel = self.constant(f"{result.name}_kernel", result.kernel.transpose(3, 2, 0, 1))
            bias = self.constant(f"{result.name}_bias", result.bias)
            return self.node(
                "Conv",
                [result.source, kernel, bias],
                result.name,
                kernel_shape=list(result.kernel.shape[:2]),
                strides=result.strides,
                pads=result.pads,
            ).name
        if result.scale != 1:
            factor = self.constant(f"{result.name}_scale", np.array(result.scale))
            return self.node("Mul", [result.name, factor], f"{result.name}_scaled").name
        return result.name


def _input(graph: _Graph, layer: Any, _: None) -> _Result:
    from onnx import TensorProto

    channels_first = f"{layer.name}_channels_first"
    graph.node("Transpose", [layer.name], channels_first, perm=[0, 3, 1, 2])
    return graph.node("Cast", [channels_first], f"{layer.name}_float", to=TensorProto.FLOAT)


def _expect(layer: Any, **settings: Any) -> None:
    """Refuse a layer that does anything else than what is written for its class."""
    for name, wanted in settings.items():
        found = getattr(layer, name)
        if found != wanted:
            raise TypeError(f"layer '{layer.name}': no ONNX is known for {name} {found}")


def _expect_linear(layer: Any) -> None:
    if layer.activation.__name__ != "linear":
        raise TypeError(f"layer '{layer.name}': give it no activation, but a layer of its own")


def _rescaling(_: _Graph, layer: Any, x: _Value) -> _Result:
    _expect(layer, offset=0)
    return replace(x, scale=x.scale * layer.scale)


def _convolution(graph: _Graph, layer: Any, x: _Result) -> _Result:
    _expect(layer, data_format="channels_last", groups=1, dilation_rate=(1, 1))
    _expect_linear(layer)
    kernel, *bias = (np.asarray(array, np.float64) for array in layer.get_weights())
    if isinstance(x, _Value):
        kernel = kernel * x.scale
        x = _Value(x.name)
    return _Convolution(
        layer.name,
        graph.name(x),
        kernel,
        bias[0] if bias else np.zeros(kernel.shape[3]),
        list(layer.strides),
        _pads(layer),
    )


def _pads(layer: Any) -> list[int]:
    """Rows above, columns before, rows below, columns after; the odd one is the latter."""
    if layer.padding == "valid":
        return [0] * 4
    before, after = [], []
    for size, window, stride in zip(
        layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True
    ):
        missing = max((-(-size // stride) - 1) * stride + window - size, 0)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return before + after


def _normalisation(graph: _Graph, layer: Any, x: _Result) -> _Result:
    _expect(layer, scale=True, center=True)
    if layer.axis not in (-1, len(layer.input.shape) - 1):
        raise TypeError(f"layer '{layer.name}': no ONNX is known for axis {layer.axis}")
    scale, offset, mean, variance = (np.asarray(a, np.float64) for a in layer.get_weights())
    factor = scale / np.sqrt(variance + layer.epsilon)
    if isinstance(x, _Value):
        if len(layer.input.shape) != 4:
            raise TypeError(f"layer '{layer.name}': no ONNX is known for it but of images")
        shape = (-1, 1, 1)
        scaling = graph.constant(f"{layer.name}_factor", (factor * x.scale).reshape(shape))
        shift = graph.constant(f"{layer.name}_shift", (offset - mean * factor).reshape(shape))
        scaled = graph.node("Mul", [x.name, scaling], f"{layer.name}_scaled")
        return graph.node("Add", [scaled.name, shift], layer.name)
    return replace(x, kernel=x.kernel * factor, bias=offset + (x.bias - mean) * factor)


def _relu(graph: _Graph, layer: Any, x: _Result) -> _Result:
    _expect(layer, max_value=None, negative_slope=0, threshold=0)
    return graph.node("Relu", [graph.name(x)], layer.name)


def _cropping(graph: _Graph, layer: Any, x: _Value) -> _Result:
    _expect(layer, data_format="channels_last")
    (above, below), (before, after) = layer.cropping
    _, rows, columns, _ = layer.input.shape
    limits = {
        "starts": [above, before],
        "ends": [rows - below, columns - after],
        "axes": [2, 3],
    }
    inputs = [
        graph.constant(f"{layer.name}_{name}", values, np.int64) for name, values in limits.items()
    ]
    return replace(graph.node("Slice", [x.name, *inputs], layer.name), scale=x.scale)


def _permutation(graph: _Graph, layer: Any, x: _Value) -> _Result:
    """Exchange columns and channels."""
    _expect(layer, dims=(1, 3, 2))
    return replace(graph.node("Transpose", [x.name], layer.name, perm=[0, 3, 2, 1]), scale=x.scale)


def _concatenation(graph: _Graph, layer: Any, parts: list[_Result]) -> _Result:
    return graph.node("Concat", [graph.name(part) for part in parts], layer.name, axis=layer.axis)


def _pooling(operator: str) -> Callable[[_Graph, Any, _Result], _Result]:
    def pool(graph: _Graph, layer: Any, x: _Result) -> _Result:
        _expect(layer, data_format="channels_last", keepdims=False)
        pooled = graph.node(operator, [graph.name(x)], f"{layer.name}_1x1")
        return graph.node("Flatten", [pooled.name], layer.name)

    return pool


def _same(_: _Graph, __: Any, x: _Result) -> _Result:
    return x


def _dense(graph: _Graph, layer: Any, x: _Result) -> _Result:
    _expect_linear(layer)
    kernel, bias = layer.get_weights()
    constants = [
        graph.constant(f"{layer.name}_kernel", kernel),
        graph.constant(f"{layer.name}_bias", bias),
    ]
    return graph.node("Gemm", [graph.name(x), *constants], layer.name)


def _softmax(graph: _Graph, layer: Any, x: _Result) -> _Result:
    return graph.node("Softmax", [graph.name(x)], layer.name, axis=-1)


_LAYERS: dict[str, Callable[[_Graph, Any, Any], _Result]] = {
    "InputLayer": _input,
    "Rescaling": _rescaling,
    "Conv2D": _convolution,
    "Cropping2D": _cropping,
    "Permute": _permutation,
    "Concatenate": _concatenation,
    "BatchNormalization": _normalisation,
    "ReLU": _relu,
    "GlobalAveragePooling2D": _pooling("GlobalAveragePool"),
    "GlobalMaxPooling2D": _pooling("GlobalMaxPool"),
    "Dropout": _same,
    "Dense": _dense,
    "Softmax": _softmax,
}
"""What is written for a layer, by its class."""


def to_onnx(network: keras.Model) -> bytes:
    """Write a network, with the weights it has, as an ONNX model.

    Parameters
    ----------
    network : keras.Model
        From `networks.build`.

    Returns
    -------
    bytes
        The same for the same weights. Input ``images``, uint8 ``[n, rows,
        columns, channels]`` as drawn; outputs ``logits`` and ``probabilities``,
        float32 ``[n, classes]``.

    Raises
    ------
    TypeError
        If the architecture has a layer that is not in `_LAYERS`, or does more than
        is known there.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    results: dict[int, _Result] = {}
    for layer in network.layers:
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise TypeError(f"layer '{layer.name}': no ONNX is known for {kind}")
        source: Any = None
        if isinstance(layer.input, list):
            source = [results[id(value)] for value in layer.input]
        elif kind != "InputLayer":
            source = results[id(layer.input)]
        results[id(layer.output)] = _LAYERS[kind](graph, layer, source)

    def described(name: str, kind: int, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, kind, ["n", *shape])

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            network.name,
            [described(network.input.name, TensorProto.UINT8, network.input.shape[1:])],
            [
                described(name, TensorProto.FLOAT, network.output.shape[1:])
                for name in (LOGITS, PROBABILITIES)
            ],
            graph.constants,
        ),
        producer_name="pileupcnn",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    packed: bytes = model.SerializeToString(deterministic=True)
    return packed
