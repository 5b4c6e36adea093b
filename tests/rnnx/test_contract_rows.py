"""A contract in rows for people."""

from dataclasses import replace

from tests.whole_model import CONTRACT

from rnnx.inspection import contract_rows
from rnnx_runtime.contract import DecoderPart


def test_a_whole_model_names_its_recurrent_layers_states_and_lengths() -> None:
    rows = contract_rows(CONTRACT)
    assert rows[0] == ("model", "whole model, float32")
    assert ("recurrent", "rnn: GRU, input 3, hidden 3, 1 layers, 1 directions, fused") in rows
    assert ("state", "h0 → hn") in rows
    assert [text for name, text in rows if name == "output"] == [
        "output float32 (B, T, 3)",
        "label int64 (B,)",
        "hn float32 (B, 3)",
    ]


def test_a_projected_cell_says_so() -> None:
    part = replace(CONTRACT.recurrent[0], cell="lstm", form="step", projection_size=2, formulation="scan")
    rows = contract_rows(replace(CONTRACT, recurrent=(part,)))
    assert ("recurrent", "rnn: LSTM cell, input 3, hidden 3 (h 2), 1 layers, 1 directions, scan") in rows


def test_a_decoder_says_how_it_is_written() -> None:
    part = DecoderPart(
        form="loop",
        feed="argmax",
        steps=20,
        token=None,
        logits=None,
        tokens="label",
        context=(),
        start_token=1,
        end_token=2,
        pad_token=0,
    )
    expected = "loop, 20 steps, feeding its own argmax, start token 1, end token 2, pad token 0"
    assert ("decoder", expected) in contract_rows(replace(CONTRACT, decoder=part))
