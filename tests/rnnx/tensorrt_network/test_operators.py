"""The layer types by way of the ONNX operators that lead to them: the network computes what ONNX Runtime does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from torch.nn.functional import group_norm, instance_norm

from rnnx_runtime.errors import BackendUnavailable

pytestmark = pytest.mark.tensorrt
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

Array = NDArray[Any]
Outputs = Callable[[ModelProto, Mapping[str, Array]], dict[str, Array]]

_CHANCE = np.random.default_rng(11)


def _normal(*shape: int) -> Array:
    return _CHANCE.standard_normal(shape, np.float32)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _floats(*values: float) -> Array:
    return np.array(values, np.float32)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One node from `x`, and whatever else it reads: `weights` are initializers, all else is fed.

    `fixed` is for a node whose channels the importer must know; all sizes are then numbers.
    """

    node: NodeProto
    feeds: Mapping[str, Array]
    weights: Mapping[str, Array]
    opset: int
    fixed: bool = False

    def model(self) -> ModelProto:
        """The graph; the importer wants to know the sizes of what is read as sizes, so only floats have free ones."""
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), self._dims(name, value))
            for name, value in self.feeds.items()
        ]
        weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in self.weights.items()]
        outputs = [helper.make_empty_tensor_value_info(name) for name in self.node.output]
        graph = helper.make_graph([self.node], "g", inputs, outputs, weights)
        opset = helper.make_opsetid("", self.opset)
        return shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[opset], ir_version=9))

    def _dims(self, name: str, value: Array) -> list[int | str]:
        free = value.dtype == np.float32 and not self.fixed
        return [f"{name}{axis}" if free else size for axis, size in enumerate(value.shape)]


def _one(
    op: str, *inputs: str, x: Array, outputs: int = 1, opset: int = 18, fed: tuple[str, ...] = (), **given: Any
) -> Operator:
    """An operator; of `given` the names among its inputs are their values, the others are attributes."""
    values = {name: given.pop(name) for name in inputs if name in given}
    names = ["y", *(f"y{place}" for place in range(1, outputs))]
    return Operator(
        node=helper.make_node(op, list(inputs) or ["x"], names, name="node", **given),
        feeds={"x": x} | {name: values[name] for name in fed},
        weights={name: value for name, value in values.items() if name not in fed},
        opset=opset,
        fixed=op == "ConvTranspose",
    )


X = _normal(3, 4, 5)
HALVES = _floats(-3.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 60.0)
BELOW_ONE = np.linspace(-0.9, 0.9, 7, dtype=np.float32)
ABOVE_ONE = np.linspace(1.1, 9, 7, dtype=np.float32)

ACTIVATIONS: dict[str, dict[str, Any]] = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "LeakyRelu": {"alpha": 0.3},
    "Elu": {"alpha": 0.7},
    "Selu": {"alpha": 1.3, "gamma": 0.6},
    "Softsign": {},
    "Softplus": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "ThresholdedRelu": {"alpha": 0.7},
    "Celu": {"alpha": 0.6},
    "HardSwish": {},
    "Mish": {},
}
SIGNED = [
    *("Exp", "Neg", "Abs", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Atan", "Asinh", "Ceil", "Floor", "Erf", "Sign"),
    *("Round", "Reciprocal", "IsNaN"),
]
REDUCTIONS = ["Sum", "Prod", "Max", "Min", "Mean", "L1", "L2", "SumSquare", "LogSumExp"]

BATCH_STATISTICS: dict[str, Any] = {name: np.abs(_normal(4)) for name in ("scale", "b", "mean", "var")}

Z, IMAGE = _normal(2, 4, 9), _normal(2, 4, 7, 6)

WINDOWS = {
    "Conv": _one("Conv", "x", "w", "b", x=Z, w=_normal(3, 4, 3), b=_normal(3)),
    "Conv-no-bias-strides": _one("Conv", "x", "w", x=Z, w=_normal(3, 4, 3), strides=[2]),
    "Conv-groups-dilations": _one(
        "Conv", "x", "w", x=Z, w=_normal(6, 2, 3), group=2, dilations=[2], pads=[2, 1], kernel_shape=[3]
    ),
    "Conv-depthwise": _one("Conv", "x", "w", x=Z, w=_normal(4, 1, 3), group=4, pads=[1, 1]),
    "Conv-same-upper": _one("Conv", "x", "w", x=Z, w=_normal(3, 4, 4), auto_pad="SAME_UPPER", strides=[2]),
    "Conv-same-lower": _one("Conv", "x", "w", x=Z, w=_normal(3, 4, 4), auto_pad="SAME_LOWER", strides=[2]),
    "Conv-two-axes": _one(
        "Conv", "x", "w", "b", x=IMAGE, w=_normal(3, 4, 3, 2), b=_normal(3), pads=[1, 0, 2, 1], strides=[2, 1]
    ),
    "ConvTranspose": _one("ConvTranspose", "x", "w", "b", x=Z, w=_normal(4, 3, 3), b=_normal(3), strides=[2]),
    "ConvTranspose-groups": _one(
        "ConvTranspose", "x", "w", x=Z, w=_normal(4, 3, 3), group=2, strides=[3], pads=[1, 1], dilations=[2]
    ),
    "ConvTranspose-two-axes": _one(
        "ConvTranspose", "x", "w", x=IMAGE, w=_normal(4, 2, 2, 3), strides=[2, 1], pads=[0, 1, 0, 1]
    ),
    "MaxPool": _one("MaxPool", x=Z, kernel_shape=[2], strides=[2]),
    "MaxPool-pads": _one("MaxPool", x=-np.abs(Z), kernel_shape=[3], strides=[2], pads=[1, 1]),
    "MaxPool-ceil": _one("MaxPool", x=-np.abs(Z), kernel_shape=[2], strides=[2], ceil_mode=1),
    "MaxPool-two-axes": _one("MaxPool", x=IMAGE, kernel_shape=[3, 2], strides=[1, 2]),
    "AveragePool": _one("AveragePool", x=Z, kernel_shape=[3], strides=[2]),
    "AveragePool-pads": _one("AveragePool", x=Z, kernel_shape=[3], strides=[2], pads=[1, 1]),
    "AveragePool-counts-pads": _one("AveragePool", x=Z, kernel_shape=[3], pads=[1, 1], count_include_pad=1),
    "AveragePool-two-axes": _one("AveragePool", x=IMAGE, kernel_shape=[2, 3], strides=[2, 1], pads=[1, 0, 0, 1]),
    "LpPool-same": _one("LpPool", x=IMAGE, kernel_shape=[2, 2], auto_pad="SAME_UPPER"),
    "LpPool-same-lower": _one("LpPool", x=IMAGE, kernel_shape=[2, 3], auto_pad="SAME_LOWER", p=1),
    "GlobalAveragePool": _one("GlobalAveragePool", x=IMAGE),
    "GlobalMaxPool": _one("GlobalMaxPool", x=Z),
    "Resize-nearest": _one(
        "Resize", "x", "", "scales", x=IMAGE, scales=_floats(1, 1, 2, 2), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    ),
    "Resize-linear": _one("Resize", "x", "", "scales", x=IMAGE, scales=_floats(1, 1, 2, 3), mode="linear"),
    "Resize-linear-corners": _one(
        "Resize", "x", "", "scales", x=IMAGE, scales=_floats(1, 1, 2, 2), mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "InstanceNormalization": _one("InstanceNormalization", "x", "s", "b", x=Z, s=_normal(4), b=_normal(4)),
    "Squeeze-all": _one("Squeeze", x=_normal(1, 3, 1)),
}  # fmt: skip
"""Operators that go over a tensor in windows, and the others of networks around a recurrence."""

OPERATORS = {
    **WINDOWS,
    **{op: _one(op, x=HALVES, **attributes) for op, attributes in ACTIVATIONS.items()},
    "Clip": _one("Clip", "x", "low", "high", x=HALVES, low=np.float32(-1), high=np.float32(2)),
    "Gelu": _one("Gelu", x=HALVES, opset=20),
    "Gelu-tanh": _one("Gelu", x=HALVES, opset=20, approximate="tanh"),
    "PRelu": _one("PRelu", "x", "slope", x=X, slope=_normal(5)),
    **{op: _one(op, x=HALVES) for op in SIGNED},
    **{op: _one(op, x=BELOW_ONE) for op in ("Asin", "Acos", "Atanh")},
    **{op: _one(op, x=ABOVE_ONE) for op in ("Log", "Sqrt", "Acosh")},
    "IsInf": _one("IsInf", x=_floats(1, np.inf, -np.inf), opset=20),
    "Not": _one("Not", x=np.array([True, False])),
    **{op: _one(op, "x", "b", x=X, b=_normal(4, 1)) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "Pow": _one("Pow", "x", "b", x=np.abs(X), b=np.float32(1.7)),
    "Div-int": _one("Div", "x", "b", x=_ints(-7, 7, -8, 8, 3), b=_ints(2, -2, 3, 3, 5)),
    "Mod-int": _one("Mod", "x", "b", x=_ints(-7, 7, -8, 8, 3), b=_ints(2, -2, 3, 3, 5)),
    "Mod-float": _one("Mod", "x", "b", x=X, b=np.float32(0.7), fmod=1),
    **{op: _one(op, "x", "b", x=X > 0, b=_normal(4, 5) > 0) for op in ("And", "Or", "Xor")},
    **{
        op: _one(op, "x", "b", x=np.round(X), b=np.round(_normal(4, 5)))
        for op in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
    },
    **{
        f"Reduce{op}{'-keep' * keep}": _one(f"Reduce{op}", "x", "axes", x=X, axes=_ints(0, -1), keepdims=keep)
        for op in REDUCTIONS
        for keep in (0, 1)
    },
    "ReduceSum-int": _one("ReduceSum", "x", "axes", x=np.arange(12, dtype=np.int32).reshape(3, 4), axes=_ints(1)),
    "ArgMax": _one("ArgMax", x=X, axis=1, keepdims=0),
    "ArgMin": _one("ArgMin", x=X, axis=2),
    "MatMul": _one("MatMul", "x", "b", x=X, b=_normal(5, 2)),
    "MatMul-matrix-vector": _one("MatMul", "x", "b", x=X, b=_normal(5)),
    "MatMul-vector-matrix": _one("MatMul", "x", "b", x=_normal(4), b=_normal(4, 2)),
    "MatMul-vectors": _one("MatMul", "x", "b", x=_normal(4), b=_normal(4)),
    "Gemm": _one(
        "Gemm", "x", "b", "c", x=_normal(4, 3), b=_normal(2, 4), c=_normal(2), transA=1, transB=1, alpha=0.5, beta=2.0
    ),
    "Einsum": _one("Einsum", "x", "b", x=X, b=_normal(5, 2), equation="tbi,ih->bth"),
    "Softmax": _one("Softmax", x=X * 20, axis=1),
    "LogSoftmax": _one("LogSoftmax", x=X, axis=-1),
    "LayerNormalization": _one(
        "LayerNormalization", "x", "scale", "b", x=X, scale=_normal(5), b=_normal(5), axis=-1, epsilon=0.01
    ),
    "InstanceNormalization": _one("InstanceNormalization", "x", "scale", "b", x=X, scale=_normal(4), b=_normal(4)),
    "BatchNormalization": _one(
        "BatchNormalization",
        *("x", "scale", "b", "mean", "var"),
        x=X,
        **BATCH_STATISTICS,
    ),
    **{
        f"CumSum{'-exclusive' * exclusive}{'-reverse' * reverse}": _one(
            "CumSum", "x", "along", x=X, along=np.array(1, np.int32), exclusive=exclusive, reverse=reverse
        )
        for exclusive in (0, 1)
        for reverse in (0, 1)
    },
    "Transpose": _one("Transpose", x=X, perm=[1, 2, 0]),
    "Reshape": _one("Reshape", "x", "to", x=X, to=_ints(0, -1)),
    "Reshape-fed": _one("Reshape", "x", "to", x=X, to=_ints(2, -1, 2), fed=("to",)),
    "Flatten": _one("Flatten", x=X, axis=2),
    "Squeeze": _one("Squeeze", "x", "axes", x=_normal(1, 3, 1), axes=_ints(0, -1)),
    "Unsqueeze": _one("Unsqueeze", "x", "axes", x=X, axes=_ints(0, -1)),
    "Expand": _one("Expand", "x", "to", x=_normal(3, 1), to=_ints(2, 1, 4)),
    "Tile": _one("Tile", "x", "times", x=X, times=_ints(2, 1, 3)),
    "Concat": _one("Concat", "x", "b", "x", x=X, b=_normal(3, 2, 5), axis=1),
    "Split": _one("Split", "x", "into", x=X, into=_ints(1, 3), axis=1, outputs=2),
    "Slice-backwards": _one(
        "Slice",
        *("x", "start", "end", "axes", "by"),
        x=X,
        start=_ints(-1, 1),
        end=_ints(-100, 4),
        axes=_ints(1, 2),
        by=_ints(-2, 2),
    ),
    "Slice-fed": _one(
        "Slice", "x", "start", "end", x=X, start=_ints(0, 1, 2), end=_ints(2, 3, 9), fed=("start", "end")
    ),
    **{
        f"Pad-{mode}": _one("Pad", "x", "by", x=X, by=_ints(1, 0, 2, 0, 1, 2), mode=mode, opset=19)
        for mode in ("constant", "edge", "reflect", "wrap")
    },
    "Pad-value": _one("Pad", "x", "by", "value", x=X, by=_ints(1, 0, 2, 0, -1, 2), value=np.float32(7)),
    "Gather": _one("Gather", "x", "at", x=X, at=np.array([[0, -1], [2, 1]], np.int64), axis=1),
    "GatherElements": _one("GatherElements", "x", "at", x=X, at=_CHANCE.integers(-4, 4, (3, 2, 5)), axis=1),
    "GatherElements-fewer": _one("GatherElements", "x", "at", x=X, at=_CHANCE.integers(0, 4, (1, 6, 2)), axis=1),
    "GatherND": _one("GatherND", "x", "at", x=X, at=_CHANCE.integers(0, 3, (2, 2))),
    "GatherND-batch": _one("GatherND", "x", "at", x=X, at=_CHANCE.integers(0, 3, (3, 2, 1)), batch_dims=1),
    "GatherND-batch-all": _one("GatherND", "x", "at", x=X, at=_CHANCE.integers(0, 3, (3, 2, 2)), batch_dims=1),
    "ScatterElements": _one(
        "ScatterElements", "x", "at", "b", x=X, at=np.array([[[0, 1, 2, 3, 0]]], np.int64), b=_normal(1, 1, 5), axis=1
    ),
    "ScatterND": _one("ScatterND", "x", "at", "b", x=X, at=np.array([[0, 1], [2, 3]], np.int64), b=_normal(2, 5)),
    "Where": _one("Where", "c", "x", "b", x=X, b=_normal(5), c=_normal(4, 1) > 0, fed=("c",)),
    "TopK": _one("TopK", "x", "k", x=X, k=_ints(2), axis=1, outputs=2),
    "TopK-smallest": _one("TopK", "x", "k", x=X, k=_ints(3), axis=2, largest=0, outputs=2),
    "OneHot": _one(
        "OneHot", "x", "depth", "b", x=np.array([[0, 2], [1, 3]], np.int64), depth=_ints(4), b=_floats(0.5, 2), axis=1
    ),
    "Shape": _one("Shape", x=X),
    "Size": _one("Size", x=X),
    "ConstantOfShape": _one(
        "ConstantOfShape", x=_ints(2, 3), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5])
    ),
    "Range": _one(
        "Range", "x", "to", "by", x=np.array(3, np.int64), to=np.array(11, np.int64), by=np.array(2, np.int64)
    ),
    "Cast-int": _one("Cast", x=X * 10, to=TensorProto.INT32),
    "Cast-bool": _one("Cast", x=np.round(X), to=TensorProto.BOOL),
    "Cast-half": _one("Cast", x=X, to=TensorProto.FLOAT16),
    "Identity": _one("Identity", x=X),
    "Trilu": _one("Trilu", x=X, upper=0),
    **{
        f"ReverseSequence-{time}": _one(
            "ReverseSequence", "x", "lengths", x=X, lengths=lengths, time_axis=time, batch_axis=1 - time
        )
        for time, lengths in ((0, _ints(1, 3, 2, 0)), (1, _ints(1, 4, 2)))
    },
    "QuantizeLinear": _one("QuantizeLinear", "x", "by", "zero", x=X * 30, by=np.float32(0.37), zero=np.int8(0)),
    "DequantizeLinear": _one(
        "DequantizeLinear",
        *("x", "by", "zero"),
        x=_CHANCE.integers(-128, 128, (3, 4, 5)).astype(np.int8),
        by=_floats(0.3, 0.2, 1, 2),
        zero=np.zeros(4, np.int8),
        axis=1,
    ),
}


def _runtime_outputs(model: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_gives_what_onnx_runtime_gives(name: str, imported_outputs: Outputs) -> None:
    model, feeds = OPERATORS[name].model(), OPERATORS[name].feeds
    expected, got = _runtime_outputs(model, feeds), imported_outputs(model, feeds)
    assert got.keys() == expected.keys()
    for output, value in expected.items():
        assert (got[output].shape, got[output].dtype) == (value.shape, value.dtype)
        np.testing.assert_allclose(got[output].astype(np.float64), value.astype(np.float64), rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        pytest.param(_one("LRN", x=_normal(1, 4, 5, 5), size=3), "LRN", id="response-normalization"),
        pytest.param(
            _one("GridSample", "x", "grid", x=_normal(1, 2, 4, 4), grid=_normal(1, 3, 3, 2), opset=20),
            "GRID_SAMPLE",
            id="grid-sample",
        ),
    ],
)
def test_a_layer_that_is_not_evaluated_is_named(operator: Operator, kind: str, imported_outputs: Outputs) -> None:
    with pytest.raises(BackendUnavailable, match=rf"layer 'node' of type {kind}: got a layer of type {kind}"):
        imported_outputs(operator.model(), operator.feeds)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_normalization_is_over_each_group(groups: int, network_program: Any) -> None:
    x, scale, bias = _normal(2, 4, 3, 5), _normal(1, 4, 1, 1), _normal(1, 4, 1, 1)

    def build(trt: Any, network: Any, x: Any) -> Any:
        weights = [network.add_constant(value.shape, trt.Weights(value)).get_output(0) for value in (scale, bias)]
        layer = network.add_normalization_v2(x, *weights, 0b1100)
        layer.num_groups = groups
        return layer.get_output(0)

    got = network_program(build, x=("FLOAT", x.shape)).run({"x": x})["y0"]
    gain, offset = (torch.from_numpy(own.ravel()) for own in (scale, bias))
    expected = group_norm(torch.from_numpy(x), groups, gain, offset)
    each = instance_norm(torch.from_numpy(x), weight=gain, bias=offset)  # with one group TensorRT leaves the axes alone
    truth = expected if groups > 1 else each
    np.testing.assert_allclose(got, truth.numpy(), atol=3e-6)


def test_random_values_are_refused(imported_outputs: Outputs) -> None:
    operator = _one("RandomUniformLike", x=X)
    with pytest.raises(BackendUnavailable, match=r"operation RANDOM_UNIFORM, which gives other values every time"):
        imported_outputs(operator.model(), operator.feeds)


def test_a_scale_for_each_block_is_refused(imported_outputs: Outputs) -> None:
    operator = _one(
        "QuantizeLinear", "x", "by", x=_normal(2, 4), by=np.ones((2, 2), np.float32), block_size=2, opset=21
    )
    with pytest.raises(BackendUnavailable, match="type QUANTIZE: got a scale for each block"):
        imported_outputs(operator.model(), operator.feeds)
