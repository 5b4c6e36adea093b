"""Decoders exported in three forms: against PyTorch, against each other, in TensorRT's importer and builder."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.rnnx.decoders.small_decoders import DECODERS, HIDDEN, VOCABULARY, decoder_of, example_of
from torch import nn
from torch.utils import _pytree as pytree

import rnnx
from rnnx.decoders.decoder_call import read_decoder_call
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.exporting import export_decoder
from rnnx.decoders.output_names import LENGTHS
from rnnx.errors import ExportError, OptionError
from rnnx.runners.candidates import SessionCandidate
from rnnx.truths.cases import Case
from rnnx_runtime import load
from rnnx_runtime.session import Session

Array = NDArray[Any]
STEPS, END, PAD = 7, 3, 0
OPTIONS = {
    "step": DecoderOptions(),
    "unrolled": DecoderOptions(form="unrolled", steps=STEPS, end_token=END, pad_token=PAD),
    "loop": DecoderOptions(form="loop", steps=STEPS, end_token=END, pad_token=PAD),
    "teacher": DecoderOptions(form="unrolled", steps=STEPS, feed="teacher"),
}


@pytest.fixture(scope="module", params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> nn.Module:
    return decoder_of(request.param)


@pytest.fixture(scope="module")
def paths(decoder: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("forms")
    return {
        name: export_decoder(decoder, example_of(decoder), folder / f"{name}.onnx", options).path
        for name, options in OPTIONS.items()
    }


@pytest.fixture(scope="module")
def sessions(paths: dict[str, Path]) -> dict[str, Session]:
    return {name: load(path, "ort-cpu") for name, path in paths.items()}


def drawn(decoder: nn.Module, batch: int, seed: int) -> tuple[Any, ...]:
    """Arguments of a decoder with a state of random values."""
    torch.manual_seed(seed)
    token, state, *context = example_of(decoder, batch)
    token = torch.randint(0, VOCABULARY, token.shape)  # type: ignore[attr-defined] # examples begin with a tensor
    return token, pytree.tree_map(torch.randn_like, state), *context


@torch.no_grad()
def greedy(decoder: nn.Module, call: tuple[Any, ...]) -> tuple[list[list[int]], list[Array]]:
    """Rows of tokens up to and without the end, and the states at each row's end, each row decoded alone."""
    token, state, *context = call
    batch = len(token)
    rows, ends = [], []
    for row in range(batch):
        now, own = token[row : row + 1], pytree.tree_map(lambda value, row=row: value[..., row : row + 1, :], state)
        seen = [value[:, row : row + 1] for value in context]
        tokens: list[int] = []
        while len(tokens) < STEPS and END not in tokens:
            logits, own = decoder(now, own, *seen)
            now = logits.argmax(-1)
            tokens.append(int(now))
        rows.append(tokens[: tokens.index(END)] if END in tokens else tokens)
        ends.append([value.numpy() for value in pytree.tree_leaves(own)])
    return rows, [np.concatenate(parts, axis=-2) for parts in zip(*ends, strict=True)]


def inputs_of(session: Session, call: tuple[Any, ...]) -> tuple[dict[str, Array], dict[str, Array]]:
    """A call's token and context by name, and its states."""
    token, state, *context = call
    part = session.spec.decoder
    assert part is not None
    states = [value.numpy() for value in pytree.tree_leaves(state)]
    names = [pair.input for pair in session.spec.states]
    feeds = dict(zip(part.context, (value.numpy() for value in context), strict=True))
    return {part.token or "": token.numpy(), **feeds}, dict(zip(names, states, strict=True))


def rows_of(tokens: Array) -> list[list[int]]:
    return [row[: row.index(END)] if END in row else row for row in tokens.tolist()]


@pytest.mark.parametrize("form", ["unrolled", "loop"])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_decoding_inside_the_graph_equals_pytorch_row_by_row(
    decoder: nn.Module, sessions: dict[str, Session], form: str, batch: int
) -> None:
    for seed in range(3):
        call = drawn(decoder, batch, seed)
        expected, states = greedy(decoder, call)
        outputs, following = sessions[form].run(*inputs_of(sessions[form], call))
        assert rows_of(outputs["tokens"]) == expected
        assert outputs[LENGTHS].tolist() == [len(row) for row in expected]
        for found, own in zip(following.values(), states, strict=True):
            np.testing.assert_allclose(found, own, atol=2e-5)


def test_the_step_fed_by_its_caller_equals_the_loop(decoder: nn.Module, sessions: dict[str, Session]) -> None:
    call = drawn(decoder, 4, seed=9)
    inputs, first = inputs_of(sessions["step"], call)
    state: Mapping[str, Any] = first
    expected, _ = sessions["loop"].run(inputs, state)
    tokens = []
    for _ in range(STEPS):
        outputs, state = sessions["step"].run(inputs, state)
        inputs["token"] = outputs["logits"].argmax(1)
        tokens.append(inputs["token"])
    assert rows_of(np.stack(tokens, axis=1)) == rows_of(expected["tokens"])


def test_teacher_forcing_gives_pytorchs_logits(decoder: nn.Module, sessions: dict[str, Session]) -> None:
    token, state, *context = drawn(decoder, 3, seed=4)
    tokens = torch.randint(0, VOCABULARY, (STEPS, 3))
    session = sessions["teacher"]
    inputs, states = inputs_of(session, (tokens, state, *context))
    outputs, _ = session.run(inputs, states)
    for index, token in enumerate(tokens):
        with torch.no_grad():
            logits, state = decoder(token, state, *context)
        np.testing.assert_allclose(outputs["logits"][index], logits.numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["lstm-stack-attention", "gru-cell", "lstm-layer"])
def test_rows_end_at_different_steps(name: str) -> None:
    """Without which the tests of the end would prove little; the rows of the fourth decoder run on."""
    own = decoder_of(name)
    lengths = {len(row) for seed in range(3) for row in greedy(own, drawn(own, 5, seed))[0]}
    assert len(lengths) > 2


def test_the_contract_says_how_the_decoder_is_written(sessions: dict[str, Session]) -> None:
    parts = {name: session.spec.decoder for name, session in sessions.items()}
    assert [(own.form, own.feed, own.steps, own.tokens) for own in parts.values() if own] == [
        ("step", None, None, None),
        ("unrolled", "argmax", STEPS, "tokens"),
        ("loop", "argmax", STEPS, "tokens"),
        ("unrolled", "teacher", STEPS, None),
    ]
    assert all(session.spec.recurrent for session in sessions.values())


@pytest.mark.tensorrt
@pytest.mark.parametrize("form", OPTIONS)
def test_every_form_builds_and_its_parsed_network_agrees(paths: dict[str, Path], form: str, tmp_path: Path) -> None:
    engine = rnnx.build_engine(paths[form], tmp_path / "decoder.plan", rnnx.EngineOptions(tf32=False))
    assert engine.bytes > 0
    rows = ("ort-cpu", "tensorrt-network")
    report = rnnx.verify(paths[form], rnnx.VerifyOptions(backends=rows, latency=False))
    assert {row.backend: (row.status, row.reason) for row in report.parity.rows} == dict.fromkeys(rows, ("pass", ""))


class Wrong(nn.Module):
    """A decoder that gives something else than logits and its state."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.cell, self.how = nn.GRUCell(4, HIDDEN), how
        self.embedding = nn.Embedding(VOCABULARY, 4)

    def forward(self, token: torch.Tensor, state: torch.Tensor) -> Any:
        state = self.cell(self.embedding(token), state)
        return {"no-state": state, "wide-state": (state, torch.cat([state, state], -1)), "flat": (state[0], state)}[
            self.how
        ]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no-state", "results of Wrong: got tensors of shapes"),
        ("wide-state", r"results of Wrong: got a state \(3, 16\), expected \(3, 8\), as it goes in"),
        ("flat", "results of Wrong: got tensors of shapes"),
    ],
)
def test_what_is_no_decoder_is_refused(how: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        export_decoder(Wrong(how).eval(), (torch.arange(3), torch.zeros(3, HIDDEN)), tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("example", "message"),
    [
        pytest.param((torch.zeros(3), torch.zeros(3, HIDDEN)), "got torch.float32", id="float-token"),
        pytest.param((torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, HIDDEN)), "int64", id="2d-token"),
    ],
)
def test_a_token_of_another_kind_is_refused(example: tuple[Any, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"token of the decoder's example: .*{message}"):
        export_decoder(decoder_of("gru-cell"), example, tmp_path / "step.onnx")


def test_too_large_an_unrolled_decoder_leaves_nothing(tmp_path: Path) -> None:
    decoder = decoder_of("gru-cell")
    with pytest.raises(OptionError, match="use the form loop"):
        export_decoder(decoder, example_of(decoder), tmp_path / "u.onnx", DecoderOptions(form="unrolled", steps=3000))
    assert not list(tmp_path.iterdir())


def test_the_graph_of_a_step_needs_no_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> str:
        raise AssertionError("a temporary folder")

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    decoder = decoder_of("gru-cell")
    report = export_decoder(decoder, example_of(decoder), tmp_path / "loop.onnx", OPTIONS["loop"])
    assert {path.name for path in tmp_path.iterdir()} == {"loop.onnx", "loop.golden.npz"}
    assert (report.path, report.golden) == (tmp_path / "loop.onnx", tmp_path / "loop.golden.npz")


def test_a_static_decoder_has_the_examples_batch(tmp_path: Path) -> None:
    own = decoder_of("lstm-layer")
    options = DecoderOptions(form="loop", steps=STEPS, end_token=END, static=True)
    export_decoder(own, example_of(own, 2), tmp_path / "loop.onnx", options)
    with load(tmp_path / "loop.onnx", "ort-cpu") as session:
        assert session.spec.inputs[0].dims == (2,)
        call = drawn(own, 2, seed=1)
        outputs, _ = session.run(*inputs_of(session, call))
        assert rows_of(outputs["tokens"]) == greedy(own, call)[0]


class Named(nn.Module):
    """A GRU cell whose parameters have the names that outputs usually have; the last is added to the logits."""

    def __init__(self, rows: int = VOCABULARY) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(rows, 4), nn.GRUCell(4, HIDDEN)
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, tokens: torch.Tensor, state: torch.Tensor, logits: torch.Tensor) -> Any:
        state = self.cell(self.embedding(tokens), state)
        return self.head(state) + logits, state


NAMED = (torch.arange(3), torch.zeros(3, HIDDEN), torch.zeros(3, VOCABULARY))


@pytest.mark.parametrize("form", ["step", "unrolled", "loop"])
def test_outputs_make_way_for_inputs_of_their_names(form: Any, tmp_path: Path) -> None:
    options = DecoderOptions(form=form, steps=None if form == "step" else 3, end_token=END)
    contract = export_decoder(Named().eval(), NAMED, tmp_path / "d.onnx", options).contract
    assert [spec.name for spec in contract.inputs] == ["tokens", "state", "logits"]
    names = {"step": ["logits_out"], "unrolled": ["tokens_out", "logits_out"], "loop": ["tokens_out"]}[form]
    assert [spec.name for spec in contract.outputs][: len(names)] == names


def test_an_input_of_the_name_that_counts_tokens_is_refused(tmp_path: Path) -> None:
    class Counted(Named):
        def forward(self, token: torch.Tensor, state: torch.Tensor, output_lengths: torch.Tensor) -> Any:
            return super().forward(token, state, output_lengths)

    options = DecoderOptions(form="loop", steps=3, end_token=END)
    with pytest.raises(OptionError, match="input 'output_lengths' of the decoder: got the name of one of its outputs"):
        export_decoder(Counted().eval(), NAMED, tmp_path / "d.onnx", options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_token": VOCABULARY + 2, "end_token": 1}, "start_token: got 9, expected an index within the decoder's"),
        ({"end_token": 1, "pad_token": VOCABULARY + 2}, "pad_token: got 9, expected an index within the decoder's"),
        ({"end_token": VOCABULARY}, "end_token: got 7, expected an index within 7 logits"),
    ],
    ids=["start", "pad", "end"],
)
def test_tokens_beyond_the_vocabulary_are_refused(fields: dict[str, int], message: str, tmp_path: Path) -> None:
    options = replace(DecoderOptions(form="loop", steps=3), **fields)  # type: ignore[arg-type] # tokens alone
    with pytest.raises(OptionError, match=message):
        export_decoder(Named(VOCABULARY + 2).eval(), NAMED, tmp_path / "d.onnx", options)
    assert not list(tmp_path.iterdir())


def test_a_start_token_may_lie_beyond_the_logits(tmp_path: Path) -> None:
    options = DecoderOptions(form="loop", steps=3, start_token=VOCABULARY + 1, end_token=1, pad_token=VOCABULARY)
    assert export_decoder(Named(VOCABULARY + 2).eval(), NAMED, tmp_path / "d.onnx", options).contract.decoder


@pytest.mark.parametrize("form", ["unrolled", "loop"])
def test_a_state_of_truth_values_stands_still_after_the_end(form: Any, tmp_path: Path) -> None:
    class Latched(nn.Module):
        """Says the token that it was given, less one; remembers whether that was ever 0."""

        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(1, 2)

        def forward(self, token: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> Any:
            hidden = self.cell(token[:, None].float(), state[0])
            scores = -((torch.arange(VOCABULARY) - (token[:, None] - 1)) ** 2).float() + 0 * hidden[:, :1]
            return scores, (hidden, state[1] | (token == 0))

    example = (torch.arange(3), (torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)))
    options = DecoderOptions(form=form, steps=6, end_token=2, pad_token=0)
    export_decoder(Latched().eval(), example, tmp_path / "d.onnx", options)
    with load(tmp_path / "d.onnx", "ort-cpu") as session:
        outputs, state = session.run({"token": np.array([5, 1])}, session.initial_state(2))
    assert outputs["tokens"].tolist() == [[4, 3, 2, 0, 0, 0], [0] * 6]
    assert state["state_1"].tolist() == [False, True]


def test_a_decoder_that_writes_into_its_state_leaves_the_example() -> None:
    class Writing(Named):
        def forward(self, tokens: torch.Tensor, state: torch.Tensor, logits: torch.Tensor) -> Any:
            scores, following = super().forward(tokens, state, logits)
            return scores, state.copy_(following)

    example = tuple(tensor.clone() for tensor in NAMED)
    read_decoder_call(Writing().eval(), example)
    assert all(torch.equal(own, before) for own, before in zip(example, NAMED, strict=True))


def test_a_loop_that_starts_by_itself_finds_the_batch_of_a_layers_states(tmp_path: Path) -> None:
    own = decoder_of("lstm-layer")
    options = DecoderOptions(form="loop", steps=STEPS, start_token=1, end_token=END)
    export_decoder(own, example_of(own, 3), tmp_path / "loop.onnx", options)
    with load(tmp_path / "loop.onnx", "ort-cpu") as session:
        states = {spec.name: np.zeros((2, 5, HIDDEN), np.float32) for spec in session.spec.inputs}
        assert session.run({}, states)[0]["tokens"].shape == (5, STEPS)


@pytest.mark.parametrize("form", ["unrolled", "loop"])
def test_a_state_or_logits_may_depend_on_the_context_alone(form: Any, tmp_path: Path) -> None:
    class Fixed(Named):
        def forward(self, token: torch.Tensor, state: torch.Tensor, logits: torch.Tensor) -> Any:
            super().forward(token, state, logits)
            return 2 * logits, torch.tanh(self.head.weight[0] + logits[:, :1])

    options = DecoderOptions(form=form, steps=3)
    export_decoder(Fixed().eval(), NAMED, tmp_path / "d.onnx", options)
    scores = np.random.default_rng(1).standard_normal((4, VOCABULARY)).astype(np.float32)
    with load(tmp_path / "d.onnx", "ort-cpu") as session:
        outputs, _ = session.run({"token": np.zeros(4, np.int64), "logits": scores})
    assert outputs["tokens"].tolist() == [[own] * 3 for own in scores.argmax(1).tolist()]


def test_a_loop_that_takes_its_states_alone_verifies_from_zeros(tmp_path: Path) -> None:
    own = decoder_of("lstm-layer")
    options = DecoderOptions(form="loop", steps=STEPS, start_token=1, end_token=END)
    contract = export_decoder(own, example_of(own, 3), tmp_path / "loop.onnx", options).contract
    candidate = SessionCandidate("ort-cpu", tmp_path / "loop.onnx", 1)
    states = {spec.name: np.zeros((2, 5, HIDDEN), np.float32) for spec in contract.inputs}
    try:
        assert candidate.outputs(Case(name="zeros", feeds=states))["tokens"].shape == (5, STEPS)
    finally:
        candidate.close()
