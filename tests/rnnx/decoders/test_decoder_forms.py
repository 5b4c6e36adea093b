"""The unrolled and the looping graph of a step, against the step itself called over and over."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.rnnx.decoders.small_decoders import HIDDEN, VOCABULARY, part_of

from rnnx.decoders.decoder_graph import DecoderGraph
from rnnx.decoders.decoder_writing import model_from_graph
from rnnx.decoders.loop_decoder import loop_graph
from rnnx.decoders.output_names import LENGTHS
from rnnx.decoders.step_graph import StepGraph
from rnnx.decoders.unrolled_decoder import unrolled_graph
from rnnx_runtime.contract import DecoderPart, TensorSpec

Array = NDArray[Any]
BUILDERS = {"unrolled": unrolled_graph, "loop": loop_graph}


class Runner:
    """A graph in ONNX Runtime, checked by ONNX first."""

    def __init__(self, graph: DecoderGraph) -> None:
        model = model_from_graph(graph, 18)
        onnx.checker.check_model(model, full_check=True)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [own.name for own in self._session.get_outputs()]
        wanted = {own.name: feeds[own.name] for own in self._session.get_inputs()}
        return dict(zip(names, self._session.run(names, wanted), strict=True))


def graph_of_step(step: StepGraph) -> DecoderGraph:
    nodes = (*step.once, *step.each)
    return DecoderGraph(inputs=step.inputs, outputs=step.outputs, states=step.states, nodes=nodes, weights=step.weights)


def feeds_of(batch: int, seed: int = 0) -> dict[str, Array]:
    chance = np.random.default_rng(seed)
    return {
        "token": chance.integers(0, VOCABULARY, batch),
        "tokens": chance.integers(0, VOCABULARY, (6, batch)),
        "state": chance.standard_normal((batch, HIDDEN)).astype(np.float32),
        "bias": chance.standard_normal((batch, VOCABULARY)).astype(np.float32),
    }


def stepwise(step: StepGraph, part: DecoderPart, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Greedy decoding outside the graph, row by row, each row alone: what ends a row cannot reach another."""
    runner = Runner(graph_of_step(step))
    rows = [
        _row(runner, part, {name: value[i : i + 1] for name, value in feeds.items() if name != "tokens"})
        for i in range(len(feeds["state"]))
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _row(runner: Runner, part: DecoderPart, feeds: dict[str, Array]) -> dict[str, Array]:
    token, state, tokens = feeds["token"], feeds["state"], list[int]()
    if part.start_token is not None:
        token = np.array([part.start_token])
    while len(tokens) < (part.steps or 0) and part.end_token not in tokens:
        found = runner.run({**feeds, "token": token, "state": state})
        token, state = found["logits"].argmax(1), found["next_state"]
        tokens.append(int(token[0]))
    pad = part.end_token if part.pad_token is None else part.pad_token
    row = tokens + [pad or 0] * ((part.steps or 0) - len(tokens))
    length = tokens.index(part.end_token) if part.end_token in tokens else len(tokens)
    return {"tokens": np.array([row]), LENGTHS: np.array([length]), "next_state": state}


@pytest.mark.parametrize("form", BUILDERS)
@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param({}, id="no-end"),
        pytest.param({"end_token": 3}, id="end"),
        pytest.param({"end_token": 3, "pad_token": 0}, id="end-and-pad"),
        pytest.param({"end_token": 3, "start_token": 1, "token": None}, id="start-inside"),
    ],
)
def test_greedy_decoding_inside_the_graph_equals_step_by_step(
    step: StepGraph, form: str, batch: int, tokens: dict[str, Any]
) -> None:
    part = part_of(form=form, logits="logits" if form == "unrolled" else None, **tokens)
    runner = Runner(BUILDERS[form](step, part))
    for seed in range(4):
        feeds = feeds_of(batch, seed)
        found, expected = runner.run(feeds), stepwise(step, part, feeds)
        np.testing.assert_array_equal(found["tokens"], expected["tokens"])
        np.testing.assert_allclose(found["next_state"], expected["next_state"], atol=1e-6)
        if part.end_token is not None:
            np.testing.assert_array_equal(found[LENGTHS], expected[LENGTHS])


def test_rows_of_the_cases_end_at_different_steps(step: StepGraph) -> None:
    lengths = stepwise(step, part_of(end_token=3), feeds_of(9))[LENGTHS]
    assert len(set(lengths.tolist())) > 3


def test_teacher_forcing_equals_step_by_step(step: StepGraph) -> None:
    part = part_of(form="unrolled", feed="teacher", token="tokens", tokens=None, logits="logits")
    feeds, one = feeds_of(4), Runner(graph_of_step(step))
    found = Runner(unrolled_graph(step, part)).run(feeds)
    state = feeds["state"]
    for index, token in enumerate(feeds["tokens"]):
        expected = one.run({**feeds, "token": token, "state": state})
        np.testing.assert_allclose(found["logits"][index], expected["logits"], atol=1e-6)
        state = expected["next_state"]
    np.testing.assert_allclose(found["next_state"], state, atol=1e-6)


@pytest.mark.parametrize("form", BUILDERS)
def test_every_form_holds_the_weights_once(step: StepGraph, form: str) -> None:
    graph = BUILDERS[form](step, part_of(form=form, logits="logits"))
    assert [tensor.name for tensor in graph.weights].count("table") == 1
    assert sum("table" in tensor.name for tensor in graph.weights) == 1


@pytest.mark.parametrize("form", BUILDERS)
def test_what_depends_on_the_context_alone_runs_once(step: StepGraph, form: str) -> None:
    graph = BUILDERS[form](step, part_of(form=form, logits="logits"))
    assert [node.name for node in graph.nodes if "offset" in node.name] == ["offset"]


def test_a_loop_stops_when_every_row_has_ended(step: StepGraph) -> None:
    part = part_of(end_token=3, steps=400)
    graph = _counting_trips(loop_graph(step, part))
    feeds = {name: value[:8] for name, value in feeds_of(9).items()}  # the last of these never ends
    found = Runner(graph).run(feeds)
    assert len(found["trips"]) == found[LENGTHS].max() + 1 < 100


def test_a_loop_without_an_end_runs_all_its_steps(step: StepGraph) -> None:
    found = Runner(_counting_trips(loop_graph(step, part_of(steps=50)))).run(feeds_of(2))
    assert len(found["trips"]) == 50


def _counting_trips(graph: DecoderGraph) -> DecoderGraph:
    """The graph with one more output, which the loop appends to in every trip."""
    (loop,) = [node for node in graph.nodes if node.op_type == "Loop"]
    body = next(own.g for own in loop.attribute if own.name == "body")
    body.node.add(op_type="Identity", input=[body.input[0].name], output=["trip_number"])
    body.output.add().CopyFrom(onnx.helper.make_tensor_value_info("trip_number", onnx.TensorProto.INT64, []))
    loop.output.append("trips")
    trips = TensorSpec(name="trips", dtype="int64", dims=("trips",))
    return replace(graph, outputs=(*graph.outputs, trips))
