"""Files that PyTorch's own exporters make, whose graphs are full of shape arithmetic: equal to ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.rnnx.tensorrt_network.conftest import Array, Graph
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnx.tensorrt_network.importer import import_graph
from rnnx_runtime.errors import BackendError

pytestmark = [
    pytest.mark.tensorrt,
    # the exporters say that one of them is old, and that lengths are traced
    pytest.mark.filterwarnings("ignore"),
]
pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")

FREE = {0: "T", 1: "B"}


class Packed(nn.Module):
    """A layer over sequences of their own lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(5, 8, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed, state = self.layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(packed)[0], state


class Tagger(nn.Module):
    """What usually stands around a layer: an embedding, a normalization, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(30, 6), nn.GRU(6, 8, 2, bidirectional=True)
        self.norm, self.classifier = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(self.classifier(self.norm(self.layer(self.embedding(x))[0])), -1)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def _runtime_outputs(data: bytes, feeds: Mapping[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def _assert_equal_to_onnx_runtime(data: bytes, inputs: Mapping[str, Tensor]) -> None:
    feeds = {name: value.numpy() for name, value in inputs.items()}
    got = import_graph(Graph(data=data)).program.run(feeds)
    for value, expected in zip(got.values(), _runtime_outputs(data, feeds), strict=True):
        np.testing.assert_allclose(value, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("module", "exported", "run"),
    [
        pytest.param(nn.LSTM(5, 8, 2, bidirectional=True), (_normal(7, 3, 5),), (_normal(4, 2, 5),), id="lstm-2-bi"),
        pytest.param(nn.GRU(5, 8, bidirectional=True), (_normal(7, 3, 5),), (_normal(1, 1, 5),), id="gru-bi"),
        pytest.param(nn.LSTMCell(5, 8), (_normal(3, 5),), (_normal(2, 5),), id="lstm-cell"),
        pytest.param(
            Packed(),
            (_normal(7, 3, 5), torch.tensor([7, 3, 5])),
            (_normal(4, 2, 5), torch.tensor([2, 4])),
            id="packed",
        ),
        pytest.param(Tagger(), (torch.arange(21).reshape(7, 3),), (torch.arange(8).reshape(4, 2),), id="tagger"),
    ],
)
def test_a_traced_export(
    module: nn.Module, exported: tuple[Tensor, ...], run: tuple[Tensor, ...], tmp_path: Path
) -> None:
    names = ["x", "lengths"][: len(exported)]
    axes = {"x": FREE if exported[0].dim() != 2 or isinstance(module, Tagger) else {0: "B"}, "lengths": {0: "B"}}
    path = tmp_path / "traced.onnx"
    torch.onnx.export(
        module.eval(), exported, path, dynamo=False, input_names=names, dynamic_axes={n: axes[n] for n in names}
    )
    _assert_equal_to_onnx_runtime(path.read_bytes(), dict(zip(names, run, strict=True)))


def test_an_export_by_dynamo_is_bound_to_the_sizes_that_it_was_exported_with() -> None:
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs onnxscript for dynamo=True")
    x = _normal(7, 3, 5)
    program = torch.onnx.export(nn.GRU(5, 8, bidirectional=True).eval(), (x,), dynamo=True, verbose=False)
    assert program is not None
    data, name = program.model_proto.SerializeToString(), program.model_proto.graph.input[0].name
    _assert_equal_to_onnx_runtime(data, {name: x})
    with pytest.raises(BackendError, match=r"got \(4, 3, 5\), expected FLOAT \(7, 3, 5\); .* export with dynamic axes"):
        import_graph(Graph(data=data)).program.run({name: _normal(4, 3, 5).numpy()})
