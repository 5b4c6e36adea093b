"""What an exporter could get wrong, done to a model on purpose: verify must fail on each and pass the whole twin."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.cli import group
from rnnx_runtime.seal import BLANK, SEAL_KEY

Array = NDArray[Any]
Mutation = Callable[[onnx.ModelProto], None]
Source = tuple[Callable[[], nn.Module], dict[str, Any]]


def _write_sealed(model: onnx.ModelProto, path: Path) -> None:
    """Write a model under a fresh seal, so that only verify can know it was changed."""
    contract = json.loads(model.metadata_props[0].value)
    helper.set_model_props(model, {"rnnx": json.dumps({**contract, SEAL_KEY: BLANK})})
    data = model.SerializeToString()
    path.write_bytes(data.replace(BLANK.encode(), hashlib.sha256(data).hexdigest().encode()))


def _weights(start: str, change: Callable[[Array], Array]) -> Mutation:
    """Change every weight whose name begins with `start`."""

    def mutate(model: onnx.ModelProto) -> None:
        chosen = [tensor for tensor in model.graph.initializer if tensor.name.startswith(start)]
        assert chosen
        for tensor in chosen:
            values = np.ascontiguousarray(change(numpy_helper.to_array(tensor).copy()))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return mutate


def _all(*mutations: Mutation) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        for mutation in mutations:
            mutation(model)

    return mutate


def _gates_swapped(gates: int, axis: int) -> Callable[[Array], Array]:
    """The second and third block of `gates` along an axis trade places."""

    def change(values: Array) -> Array:
        blocks = np.split(values, gates, axis)
        blocks[1], blocks[2] = blocks[2], blocks[1]
        return np.concatenate(blocks, axis)

    return change


def _nodes(op: str, change: Callable[[onnx.NodeProto], None]) -> Mutation:
    def mutate(model: onnx.ModelProto) -> None:
        chosen = [node for node in model.graph.node if node.op_type == op]
        assert chosen
        for node in chosen:
            change(node)

    return mutate


def _reset_before(node: onnx.NodeProto) -> None:
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == "linear_before_reset")
    attribute.i = 0


def _state_inputs_swapped(node: onnx.NodeProto) -> None:
    node.input[5], node.input[6] = node.input[6], node.input[5]


def _lengths_ignored(node: onnx.NodeProto) -> None:
    node.input[4] = ""


def _reversed_inputs(node: onnx.NodeProto) -> None:
    node.input[:] = list(node.input)[::-1]


def _recurrent_half_dropped(bias: Array) -> Array:
    bias[:, bias.shape[1] // 2 :] = 0
    return bias


def _transposed_gates(weight: Array) -> Array:
    gates = np.split(weight, weight.shape[1] // weight.shape[2], axis=1)
    return np.concatenate([gate.swapaxes(1, 2) for gate in gates], axis=1)


def _nudged(weight: Array) -> Array:
    weight[0, 0, 0] += 1e-3
    return weight


def _in_bfloat16(weight: Array) -> Array:
    rounded: Array = torch.from_numpy(weight).bfloat16().float().numpy()
    return rounded


def _nothing(model: onnx.ModelProto) -> None: ...


LSTM: Source = (lambda: nn.LSTM(5, 8), {})
LSTM_BI: Source = (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True})
GRU: Source = (lambda: nn.GRU(5, 8), {})
STEP: Source = (lambda: nn.LSTMCell(5, 8), {})
UNROLLED: Source = (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4})

ZEROED: Callable[[Array], Array] = np.zeros_like
FLIPPED: Callable[[Array], Array] = np.flip

MUTATIONS: dict[str, tuple[Source, Mutation]] = {
    "lstm-gate-order": (LSTM, _all(*(_weights(name, _gates_swapped(4, 1)) for name in ("W_", "R_")))),
    "lstm-recurrent-gates-alone": (LSTM, _weights("R_", _gates_swapped(4, 1))),
    "lstm-transposed": (LSTM, _weights("R_", _transposed_gates)),
    "lstm-no-bias": (LSTM, _weights("B_", ZEROED)),
    "lstm-no-recurrent-bias": (LSTM, _weights("B_", _recurrent_half_dropped)),
    "lstm-h0-for-c0": (LSTM, _nodes("LSTM", _state_inputs_swapped)),
    "lstm-one-weight-nudged": (LSTM, _weights("R_", _nudged)),
    "lstm-bfloat16-weights": (LSTM, _weights("W_", _in_bfloat16)),
    "bi-directions-swapped": (LSTM_BI, _all(*(_weights(n, lambda v: v[::-1]) for n in ("W_", "R_", "B_")))),
    "bi-lengths-ignored": (LSTM_BI, _nodes("LSTM", _lengths_ignored)),
    "bi-layers-last-states-swapped": (LSTM_BI, _nodes("Concat", _reversed_inputs)),
    "gru-reset-before": (GRU, _nodes("GRU", _reset_before)),
    "gru-gate-order": (GRU, _all(*(_weights(name, _gates_swapped(3, 1)) for name in ("W_", "R_")))),
    "gru-no-bias": (GRU, _weights("B_", ZEROED)),
    "step-gate-order": (STEP, _weights("W", _gates_swapped(4, 1))),
    "step-no-bias": (STEP, _weights("B", ZEROED)),
    "unrolled-no-recurrent-bias": (UNROLLED, _weights("B_hh", ZEROED)),
    "unrolled-steps-reversed": (UNROLLED, _nodes("Concat", _reversed_inputs)),
}


def _verify(folder: Path, source: Source, mutation: Mutation) -> tuple[int, str]:
    torch.manual_seed(17)
    checkpoint, model = folder / "weights.safetensors", folder / "model.onnx"
    save_file(source[0]().state_dict(), checkpoint)
    rnnx.export(checkpoint, model, rnnx.ExportOptions(**source[1]))
    proto = onnx.load(model)
    mutation(proto)
    _write_sealed(proto, model)
    arguments = ["verify", str(model), "--checkpoint", str(checkpoint), "--no-latency", "--backend", "ort-cpu"]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize(("source", "mutation"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_broken_export_fails(tmp_path: Path, source: Source, mutation: Mutation) -> None:
    code, output = _verify(tmp_path, source, mutation)
    assert code == 1
    assert "FAIL" in output


@pytest.mark.parametrize("source", [LSTM, LSTM_BI, GRU, STEP, UNROLLED], ids=["lstm", "bi", "gru", "step", "unrolled"])
def test_the_twin_left_whole_passes(tmp_path: Path, source: Source) -> None:
    code, output = _verify(tmp_path, source, _nothing)
    assert code == 0
    assert "FAIL" not in output
