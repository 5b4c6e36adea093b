import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.rnnx.tracing.small_models import (
    Forward,
    PackedRowsModel,
    Tagger,
    lengths_of,
    sequence,
    tagger_inputs,
)
from torch import Tensor, nn

from rnnx.errors import ExportError, OptionError
from rnnx.graphs import model_writing, onnx_writer
from rnnx.graphs.export_report import ExportReport
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model
from rnnx_runtime import load
from rnnx_runtime.contract import StatePair

Inputs = Callable[[int, int], tuple[Tensor, ...]]


def _compare(module: nn.Module, report: ExportReport, inputs: Inputs, *sizes: tuple[int, int]) -> None:
    """Fail unless ONNX Runtime gives what the module gives, at each batch and time."""
    with load(report.path, "ort-cpu") as session:
        for batch, time in sizes:
            given = inputs(batch, time)
            names = [spec.name for spec in report.contract.inputs]
            feeds = {name: value.numpy() for name, value in zip(names, given, strict=False)}
            states = {pair.input for pair in report.contract.states}
            found, last = session.run(
                {name: value for name, value in feeds.items() if name not in states},
                {name: value for name, value in feeds.items() if name in states} or None,
            )
            values = found | {pair.output: last[pair.input] for pair in report.contract.states}
            expected = torch.utils._pytree.tree_leaves(module(*given))
            for spec, value in zip(report.contract.outputs, expected, strict=False):
                assert values[spec.name].shape == value.shape
                assert np.allclose(values[spec.name], value.detach().numpy(), atol=2e-6), (spec.name, batch, time)


def test_a_tagger_with_packed_sequences_equals_pytorch_at_other_sizes(tmp_path: Path) -> None:
    module = Tagger().eval()
    report = export_model(module, tagger_inputs(3, 7), tmp_path / "tagger.onnx")
    assert [(spec.name, spec.dtype, spec.dims) for spec in report.contract.inputs] == [
        ("tokens", "int64", ("B", "T")),
        ("lengths", "int64", ("B",)),
    ]
    assert report.contract.lengths == ("lengths",)
    assert report.nodes["LSTM"] == 1
    _compare(module, report, tagger_inputs, (1, 1), (2, 4), (5, 9))


def test_rows_of_packed_sequences_may_be_replaced_and_padded_otherwise(tmp_path: Path) -> None:
    def inputs(batch: int, time: int) -> tuple[Tensor, ...]:
        return sequence(batch, time), lengths_of(batch, time)

    module = PackedRowsModel().eval()
    report = export_model(module, inputs(3, 6), tmp_path / "rows.onnx")
    assert [spec.name for spec in report.contract.outputs] == ["padded", "last", "counts"]
    _compare(module, report, inputs, (1, 1), (4, 9))


def test_an_example_of_one_row_and_one_step_freezes_nothing(tmp_path: Path) -> None:
    module = nn.LSTM(1, 8, batch_first=True).eval()
    report = export_model(module, (torch.randn(1, 1, 1),), tmp_path / "one.onnx")
    assert report.contract.inputs[0].dims == ("B", "T", 1)


def test_a_front_end_gives_outputs_of_a_derived_time(tmp_path: Path) -> None:
    class Front(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.gru = nn.Conv1d(5, 6, 3, stride=2), nn.GRU(6, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.gru(self.convolution(x.transpose(1, 2)).transpose(1, 2))[0]
            return output

    module = Front().eval()
    report = export_model(module, (sequence(2, 9),), tmp_path / "front.onnx")
    assert report.contract.inputs[0].dims == ("B", "T", 5)
    assert "T" in str(report.contract.outputs[0].dims[1])
    _compare(module, report, lambda batch, time: (sequence(batch, time),), (1, 3), (3, 10))


def test_lifted_states_stream_a_model_in_chunks(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0]).eval()
    options = ModelOptions(stateful=True, input_names=("x",))
    report = export_model(module, (sequence(2, 4),), tmp_path / "stream.onnx", options)
    assert report.contract.states == (StatePair(input="h0", output="hn"), StatePair(input="c0", output="cn"))
    x, state, chunks = sequence(2, 9), None, []
    with load(report.path, "ort-cpu") as session:
        for part in torch.split(x, 4, dim=1):
            outputs, state = session.run({"x": part.numpy()}, state)
            chunks.append(outputs["output"])
    assert np.allclose(np.concatenate(chunks, 1), module(x).detach().numpy(), atol=2e-6)


def test_several_lifted_layers_are_named_after_themselves(tmp_path: Path) -> None:
    module = nn.Sequential(nn.GRUCell(5, 8), nn.Linear(8, 5), nn.RNNCell(5, 8)).eval()
    report = export_model(module, (torch.randn(3, 5),), tmp_path / "two.onnx", ModelOptions(stateful=True))
    assert [(pair.input, pair.output) for pair in report.contract.states] == [
        ("layer_0_h0", "layer_0_hn"),
        ("layer_2_h0", "layer_2_hn"),
    ]


def test_states_that_forward_takes_and_returns_are_paired(tmp_path: Path) -> None:
    def step(self: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        h, c = self.cell(x, (h, c))
        return h * 2, h, c

    options = ModelOptions(input_names=("x", "h", "c"), output_names=("y", "next_h", "next_c"))
    module, given = Forward(step).eval(), tuple(torch.randn(2, width) for width in (5, 8, 8))
    report = export_model(module, given, tmp_path / "step.onnx", options)
    assert report.contract.states == (StatePair(input="h", output="next_h"), StatePair(input="c", output="next_c"))


def test_a_layer_called_twice_has_its_weights_written_once(tmp_path: Path) -> None:
    module = Forward(lambda self, a, b: self.lstm(a)[1][0] - self.lstm(b)[1][0]).eval()
    options = ModelOptions(input_names=("a", "b"))
    report = export_model(module, (sequence(2, 4), sequence(2, 6)), tmp_path / "shared.onnx", options)
    graph = onnx.load(report.path).graph
    assert report.nodes["LSTM"] == 2
    assert len([own for own in graph.initializer if own.name.startswith("lstm/W")]) == 1
    assert [spec.dims for spec in report.contract.inputs] == [("B", "T", 5), ("B", "D1", 5)]


def test_an_unbatched_model_has_no_batch(tmp_path: Path) -> None:
    module = nn.LSTM(5, 8, bidirectional=True).eval()
    report = export_model(module, (torch.randn(4, 5),), tmp_path / "unbatched.onnx")
    assert [spec.dims for spec in report.contract.outputs] == [("T", 16), (2, 8), (2, 8)]
    _compare(module, report, lambda _, time: (torch.randn(time, 5),), (1, 1), (1, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=["half", "bfloat", "double"])
def test_other_float_types_are_exported_in_float32_and_said_so(dtype: torch.dtype, tmp_path: Path) -> None:
    module = nn.GRU(5, 8, batch_first=True).to(dtype).eval()
    report = export_model(module, (sequence(2, 3).to(dtype),), tmp_path / "other.onnx")
    assert report.contract.inputs[0].dtype == "float32"
    assert str(dtype).removeprefix("torch.") in report.notes[0]
    assert next(module.parameters()).dtype == dtype


def test_weight_norm_of_both_kinds_is_exported_with_effective_weights(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = torch.nn.utils.weight_norm(nn.LSTM(5, 8, batch_first=True), "weight_hh_l0")
    module = Forward(lambda self, x: self.head(self.lstm(x)[0])).eval()
    module.lstm = old.eval()
    module.head = torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)).eval()
    report = export_model(module, (sequence(2, 3),), tmp_path / "norm.onnx", ModelOptions(input_names=("x",)))
    _compare(module, report, lambda batch, time: (sequence(batch, time),), (3, 5))
    assert module(sequence(1, 2)).requires_grad


def test_a_wrapped_model_is_exported_as_itself(tmp_path: Path) -> None:
    report = export_model(nn.DataParallel(Tagger()).eval(), tagger_inputs(2, 3), tmp_path / "wrapped.onnx")
    assert report.contract.source.file == "Tagger"
    assert report.contract.recurrent[0].name == "lstm"


def test_static_export_fixes_every_dim(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0].reshape(2, 3, 8)).eval()
    options = ModelOptions(static=True, input_names=("x",))
    report = export_model(module, (sequence(2, 3),), tmp_path / "static.onnx", options)
    assert report.contract.inputs[0].dims == (2, 3, 5)


def test_dims_may_be_named_and_fixed_by_hand(tmp_path: Path) -> None:
    options = ModelOptions(dims={"tokens": ("N", None)})
    report = export_model(Tagger().eval(), tagger_inputs(2, 3), tmp_path / "named.onnx", options)
    assert [spec.dims for spec in report.contract.inputs] == [("N", 3), ("N",)]


def test_a_result_that_is_an_input_gets_a_name_of_its_own(tmp_path: Path) -> None:
    module = Forward(lambda self, x: {"x": x, "y": self.lstm(x)[0]}).eval()
    report = export_model(module, (sequence(2, 3),), tmp_path / "same.onnx", ModelOptions(input_names=("x",)))
    assert [spec.name for spec in report.contract.outputs] == ["x_out", "y"]


def test_padding_without_a_total_length_is_noted(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        padded: Tensor = torch.nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        return padded

    options = ModelOptions(input_names=("x", "lengths"))
    report = export_model(
        Forward(forward).eval(), (sequence(2, 6), torch.tensor([2, 4])), tmp_path / "cut.onnx", options
    )
    assert any("total_length" in note for note in report.notes)
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    feeds = {"x": sequence(3, 7).numpy(), "lengths": np.array([2, 4, 1])}
    assert session.run(None, feeds)[0].shape[1] == 4


def test_a_file_asks_for_no_newer_reader_than_its_operators_do(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0]).eval()
    report = export_model(module, (sequence(2, 7),), tmp_path / "model.onnx", ModelOptions(input_names=("x",)))
    model = onnx.load(report.path)
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))


def test_the_same_module_gives_the_same_bytes_without_paths_or_words(tmp_path: Path) -> None:
    module, spoken = Tagger().eval(), io.StringIO()
    with redirect_stdout(spoken), redirect_stderr(spoken):
        first = export_model(module, tagger_inputs(3, 5), tmp_path / "a.onnx")
        second = export_model(module, tagger_inputs(3, 5), tmp_path / "b.onnx")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.golden.read_bytes() == second.golden.read_bytes()
    assert b"site-packages" not in first.path.read_bytes()
    assert __file__.encode() not in first.path.read_bytes()
    assert spoken.getvalue() == ""


def test_weights_too_large_for_a_protobuf_go_to_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_writing, "PROTOBUF_LIMIT", 1000)
    monkeypatch.setattr(onnx_writer, "PROTOBUF_LIMIT", 1000)
    module = Tagger().eval()
    report = export_model(module, tagger_inputs(2, 3), tmp_path / "large.onnx")
    assert (tmp_path / "large.onnx.data").is_file()
    _compare(module, report, tagger_inputs, (3, 4))


def test_a_failed_export_leaves_nothing_behind_and_the_module_as_it_was(tmp_path: Path) -> None:
    module = Forward(lambda self, x: self.lstm(x)[0] if x.sum() > 0 else x).eval()
    with pytest.raises(ExportError):
        export_model(module, (sequence(2, 3).abs(),), tmp_path / "failed.onnx", ModelOptions(input_names=("x",)))
    assert list(tmp_path.iterdir()) == []
    assert module(sequence(2, 3).abs()).shape == (2, 3, 8)
    assert nn.LSTM.forward.__module__ == "torch.nn.modules.rnn"
    packed = torch.nn.utils.rnn.pack_padded_sequence(sequence(2, 3), torch.tensor([3, 2]), batch_first=True)
    assert packed.batch_sizes.tolist() == [2, 2, 1]


def test_another_way_to_work_on_packed_rows_than_row_by_row_is_refused(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor, lengths: Tensor) -> Tensor:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        mean: Tensor = self.lstm(packed)[0].data.mean(0)
        return mean

    options = ModelOptions(input_names=("x", "lengths"))
    with pytest.raises(ExportError, match="row by row"):
        export_model(Forward(forward).eval(), (sequence(3, 6), lengths_of(3, 6)), tmp_path / "mean.onnx", options)


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        (ModelOptions(opset=12), "opset"),
        (ModelOptions(lengths=("nothing",)), "lengths"),
        (ModelOptions(output_names=("a", "b")), "output_names"),
        (ModelOptions(dims={"tokens": ("B",)}), "dims"),
        (ModelOptions(dims={"other": ("B",)}), "dims"),
    ],
    ids=["opset", "lengths", "outputs", "dims-count", "dims-name"],
)
def test_options_that_do_not_fit_are_refused(options: ModelOptions, subject: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refused:
        export_model(Tagger().eval(), tagger_inputs(2, 3), tmp_path / "refused.onnx", options)
    assert refused.value.subject == subject
