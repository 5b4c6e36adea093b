"""Every kind of export refuses its own file where its values are not the truth's, at whatever size that shows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.decoders.small_decoders import GruCell, example_of
from tests.rnnx.decoders.small_pairs import example, options, pair_of
from torch import Tensor, nn

import rnnx
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.exporting import export_decoder
from rnnx.decoders.pair_export import export_seq2seq
from rnnx.errors import ExportError
from rnnx.formulations import fused, step


def _swapped_gates(kind: str, array: Any) -> Any:
    """Another order of the gates than ONNX's: what PyTorch's own would be for an LSTM."""
    return array if kind == "lstm" else np.roll(array, 1, axis=0)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(nn.LSTM(3, 4), id="lstm"),
        pytest.param(nn.GRU(3, 4, bidirectional=True), id="gru-bi"),
        pytest.param(nn.LSTM(3, 4, num_layers=2, batch_first=True), id="lstm-2-batch-first"),
    ],
)
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
def test_a_wrong_gate_order_of_a_layer_is_refused(
    module: nn.Module, lengths: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "onnx_gates", _swapped_gates)
    with pytest.raises(ExportError, match=r"output 'output' at T1 B1: got an error of .*defect of rnnx: report it"):
        rnnx.export(module.eval(), tmp_path / "model.onnx", rnnx.ExportOptions(lengths=lengths))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["step", "unrolled"])
def test_a_wrong_gate_order_of_a_cell_is_refused(form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnx.formulations import unrolled

    for place in (step, unrolled):
        monkeypatch.setattr(place, "lstm_rows", np.asarray)
    options = rnnx.ExportOptions(form=form, steps=3 if form == "unrolled" else None)
    with pytest.raises(ExportError, match=r"at B1: got an error of"):
        rnnx.export(nn.LSTMCell(3, 4).eval(), tmp_path / "model.onnx", options)


def test_a_wrong_projection_of_a_scan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnx.formulations import scan

    monkeypatch.setattr(scan, "lstm_rows", np.asarray)
    with pytest.raises(ExportError, match="got an error of"):
        rnnx.export(nn.LSTM(3, 6, proj_size=2).eval(), tmp_path / "model.onnx")


class _Layer(nn.Module):
    """A whole model of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.lstm(x)[0]
        return output


def test_a_whole_model_that_differs_at_another_size_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnx.tracing.eager import EagerModel

    whole = EagerModel.outputs

    def other_beyond_the_example(self: Any, feeds: Any, dtype: Any) -> Any:
        found = whole(self, feeds, dtype)
        return {name: value * (1 if feeds["x"].shape[1] < 7 else 2) for name, value in found.items()}

    monkeypatch.setattr(EagerModel, "outputs", other_beyond_the_example)
    with pytest.raises(ExportError, match=r"at T7 B3: got an error of .*the example's own size is right"):
        rnnx.export(_Layer().eval(), tmp_path / "model.onnx", example_inputs=(torch.randn(2, 5, 3),))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_gate_order_inside_a_whole_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "onnx_gates", _swapped_gates)
    with pytest.raises(ExportError, match="at example: got an error of"):
        rnnx.export(_Layer().eval(), tmp_path / "model.onnx", example_inputs=(torch.randn(2, 5, 3),))


@pytest.mark.parametrize("form", ["unrolled", "loop"])
def test_a_decoder_that_feeds_another_token_is_refused(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnx.decoders import eager_decoder

    decoder = GruCell().eval()
    monkeypatch.setattr(eager_decoder.EagerDecoder, "outputs", _other_tokens(eager_decoder.EagerDecoder.outputs))
    options = DecoderOptions(form=form, steps=3, start_token=1, end_token=2)
    with pytest.raises(ExportError, match="output 'tokens' at example: got an error of"):
        export_decoder(decoder, example_of(decoder), tmp_path / "model.onnx", options)
    assert list(tmp_path.iterdir()) == []


def test_a_pair_whose_joined_graph_differs_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnx.decoders import eager_pair

    monkeypatch.setattr(eager_pair.EagerPair, "outputs", _other_tokens(eager_pair.EagerPair.outputs))
    with pytest.raises(ExportError, match="output 'tokens' at example: got an error of"):
        export_seq2seq(*pair_of("lstm"), example(), tmp_path / "pair.seq2seq.json", options(whole=True))
    assert list(tmp_path.iterdir()) == []


def _other_tokens(outputs: Any) -> Any:
    def changed(self: Any, feeds: Any, dtype: Any) -> Any:
        found = outputs(self, feeds, dtype)
        return {name: value + 1 if value.dtype.kind == "i" else value for name, value in found.items()}

    return changed
