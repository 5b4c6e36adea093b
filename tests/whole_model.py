"""A whole model written by hand, small enough to be worked out in NumPy: what tests of both packages open and verify.

It adds up the valid steps of its rows: `output = x · mask`, `hn = h0 + Σ output` over each row's length, and `label` is
the place of the largest of `hn`.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rnnx.graphs.onnx_stream import write_sealed
from rnnx.truths.golden import golden_path
from rnnx.truths.model_golden import model_golden_bytes, model_truth
from rnnx_runtime.contract import Batching, Contract, Recurrence, Source, StatePair, Streaming, TensorSpec
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.seal import BLANK, SEAL_KEY

Array = NDArray[Any]

WIDTH = 3

CONTRACT = Contract(
    inputs=(
        TensorSpec(name="x", dtype="float32", dims=("B", "T", WIDTH)),
        TensorSpec(name="lengths", dtype="int64", dims=("B",)),
        TensorSpec(name="mask", dtype="bool", dims=("B", "T")),
        TensorSpec(name="h0", dtype="float32", dims=("B", WIDTH)),
    ),
    outputs=(
        TensorSpec(name="output", dtype="float32", dims=("B", "T", WIDTH)),
        TensorSpec(name="label", dtype="int64", dims=("B",)),
        TensorSpec(name="hn", dtype="float32", dims=("B", WIDTH)),
    ),
    states=(StatePair(input="h0", output="hn"),),
    lengths=("lengths",),
    recurrent=(
        Recurrence(
            name="rnn",
            form="encoder",
            cell="gru",
            input_size=WIDTH,
            hidden_size=WIDTH,
            projection_size=WIDTH,
            layers=1,
            directions=1,
            batch_first=True,
            state_inputs=True,
            lengths=True,
            formulation="fused",
        ),
    ),
    streaming=Streaming(kind="exact"),
    batching=Batching(padding="read", reason="a mask of zeros lets NaN through"),
    precision="float32",
    source=Source(file="Adder", module="", weights_sha256="ab" * 32),
    versions={"rnnx": "0.1.0", "opset": "20"},
)

_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}


def adder_outputs(feeds: Mapping[str, Array], dtype: Any = np.float64) -> dict[str, Array]:
    """What the model computes, in `dtype`."""
    output = feeds["x"].astype(dtype) * feeds["mask"][..., np.newaxis]
    valid = np.arange(output.shape[1]) < feeds["lengths"][:, np.newaxis]
    last = feeds["h0"].astype(dtype) + (output * valid[..., np.newaxis]).sum(axis=1)
    return {"output": output, "label": last.argmax(axis=1), "hn": last}


class EagerAdder:
    """The model as PyTorch would run it; below `least` time steps it raises, and `falling` lengths are all it takes."""

    def __init__(self, least: int = 1, *, falling: bool = False) -> None:
        self.least, self.falling = least, falling

    def outputs(self, feeds: Mapping[str, Array], dtype: Any) -> dict[str, Array]:
        """As `rnnx.truths.model_golden.EagerModel`; the dtype is torch's."""
        if feeds["x"].shape[1] < self.least:
            raise RuntimeError("Kernel size can't be greater than actual input size")
        if self.falling and (np.diff(feeds["lengths"]) > 0).any():
            raise RuntimeError("`lengths` array must be sorted in decreasing order")
        return adder_outputs(feeds, np.float64 if "64" in str(dtype) else np.float32)


def example_of(time: int = 4, batch: int = 2) -> dict[str, Array]:
    """The example that the model is exported with."""
    chance = np.random.default_rng(1)
    return {
        "x": chance.standard_normal((batch, time, WIDTH), np.float32),
        "lengths": np.array([time] * batch, np.int64),
        "mask": np.ones((batch, time), bool),
        "h0": np.zeros((batch, WIDTH), np.float32),
    }


def write_adder(path: Path, eager: EagerAdder | None = None, *, twice: bool = False, **changes: Any) -> Contract:
    """Write the model, and a golden file beside it where `eager` is given; `twice` writes one that doubles `output`."""
    contract = replace(CONTRACT, **changes)
    if eager is not None:
        truth = model_truth(eager, contract, example_of())
        golden = model_golden_bytes(truth, contract.source.weights_sha256)
        golden_path(path).write_bytes(golden)
        contract = replace(contract, golden_sha256=hashlib.sha256(golden).hexdigest())
    with path.open("wb") as file:
        write_sealed(file, _model(contract, twice=twice), [])
    return contract


def sealed_bytes(contract: Mapping[str, Any]) -> bytes:
    """A model's file whose metadata holds any JSON data."""
    model = _model(CONTRACT, twice=False)
    del model.metadata_props[:]
    helper.set_model_props(model, {"rnnx": json.dumps({**contract, SEAL_KEY: BLANK})})
    buffer = io.BytesIO()
    write_sealed(buffer, model, [])
    return buffer.getvalue()


def _model(contract: Contract, *, twice: bool) -> onnx.ModelProto:
    factor = np.float32(2 if twice else 1)
    nodes = [
        helper.make_node("Cast", ["mask"], ["mask_float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_float", "last_axis"], ["mask_column"]),
        helper.make_node("Mul", ["x", "mask_column"], ["masked"]),
        helper.make_node("Mul", ["masked", "factor"], ["output"]),
        helper.make_node("Shape", ["x"], ["time_vector"], start=1, end=2),
        helper.make_node("Squeeze", ["time_vector"], ["time"]),
        helper.make_node("Range", ["zero", "time", "one"], ["places"]),
        helper.make_node("Unsqueeze", ["lengths", "one_vector"], ["length_column"]),
        helper.make_node("Less", ["places", "length_column"], ["valid"]),
        helper.make_node("Cast", ["valid"], ["valid_float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["valid_float", "last_axis"], ["valid_column"]),
        helper.make_node("Mul", ["masked", "valid_column"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "one_vector"], ["sum"], keepdims=0),
        helper.make_node("Add", ["h0", "sum"], ["hn"]),
        helper.make_node("ArgMax", ["hn"], ["label"], axis=1, keepdims=0),
    ]
    weights = {
        "factor": factor, "zero": np.int64(0), "one": np.int64(1), "one_vector": np.array([1]),
        "last_axis": np.array([2]),
    }  # fmt: skip
    inputs, outputs = (
        [helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], list(spec.dims)) for spec in specs]
        for specs in (CONTRACT.inputs, CONTRACT.outputs)
    )
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "model", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"rnnx": json.dumps({**json_from_contract(contract), SEAL_KEY: BLANK})})
    return model
