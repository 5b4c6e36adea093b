from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from onnx import helper
from tests.rnnx.adopting.foreign_files import (
    CACHE,
    GRU_WEIGHTS,
    LENGTHS,
    LSTM_WEIGHTS,
    PLAIN,
    STACKED,
    STATES,
    foreign_model,
    write,
)

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.reading import Reading, read_recurrent
from rnnx.errors import AdoptionError, OptionError
from rnnx_runtime import FileDamagedError
from rnnx_runtime.contract_json import contract_from_json, json_from_contract

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch_onnx"


def reading(model: onnx.ModelProto | str, options: AdoptOptions | None = None) -> Reading:
    proto = foreign_model(model) if isinstance(model, str) else model
    return read_recurrent(Path("theirs.onnx"), proto.SerializeToString(), options)


def states_of(read: Reading) -> list[tuple[str, str, str]]:
    return [(own.pair.input, own.pair.output, own.evidence) for own in read.states]


def dims_of(read: Reading) -> dict[str, str]:
    return {spec.name: spec.shape for spec in (*read.contract.inputs, *read.contract.outputs)}


@pytest.mark.parametrize(
    "name", ["lstm-bi-states.torchscript", "gru.dynamo", "lstm-bi-int8-full.quantized", "lstm-batch-first.dynamo"]
)
def test_a_file_of_torch_onnx_becomes_a_valid_contract(name: str) -> None:
    path = FIXTURES / f"{name}.onnx"
    contract = read_recurrent(path, path.read_bytes()).contract
    assert contract_from_json(json_from_contract(contract), "it") == contract
    assert [part.hidden_size for part in contract.recurrent] == [8]
    assert contract.inputs[0].shape == ("(B, T, 5)" if "batch-first" in name else "(T, B, 5)")
    assert contract.precision == ("int8" if "int8" in name else "float32")
    assert len(contract.states) == (2 if "states" in name else 0)


def test_dims_are_the_batch_and_the_time_that_reach_the_layer() -> None:
    read = reading(STATES)
    assert dims_of(read)["x"] == "(T, B, 5)"
    assert dims_of(read)["h0"] == dims_of(read)["hn"] == "(1, B, 8)"
    (part,) = read.contract.recurrent
    assert (part.cell, part.input_size, part.hidden_size, part.directions, part.state_inputs) == ("lstm", 5, 8, 1, True)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param(STATES, [("h0", "hn", "graph"), ("c0", "cn", "graph")], id="lstm"),
        pytest.param(STACKED, [("memory", "kept", "graph")], id="stacked"),
        pytest.param(CACHE, [("past", "following", "graph")], id="cache"),
        pytest.param(
            """g (float[T,N,5] x, float[1,N,8] first) => (float[T,N,8] y, float[1,N,8] last) {
                gathered, last = GRU <hidden_size = 8> (x, w, r, b, "", first)
                y = Squeeze (gathered, one) }""",
            [("first", "last", "graph")],
            id="gru",
        ),
        pytest.param(
            """g (float[T,N,5] x, float[N,5] start) => (float[N,5] last, float[T,N,5] y) {
                last, y = Scan <num_scan_inputs = 1,
                    body = b (float[N,5] s, float[N,5] f) => (float[N,5] n, float[N,5] o) {
                      n = Add (s, f)
                      o = Tanh (n) }> (start, x) }""",
            [("start", "last", "graph")],
            id="scan",
        ),
        pytest.param(
            """g (float[N,5] x, float[N,5] one_h, bool go) => (float[N,5] y, float[N,5] two) {
                two, y = If <then_branch = a () => (float[N,5] p, float[N,5] q)
                    { p = Scan <num_scan_inputs = 0,
                          body = b (float[N,5] s) => (float[N,5] n) { n = Add (s, x) }> (one_h)
                      q = Tanh (p) },
                    else_branch = c () => (float[N,5] p, float[N,5] q) { p = Identity (one_h)
                      q = Tanh (x) }> (go) }""",
            [("one_h", "two", "graph")],
            id="inside-an-if",
        ),
        pytest.param(
            """g (float[N,8] x, float[N,8] one_c, float[N,8] two_h) => (float[N,8] p, float[N,8] u, float[N,8] v) {
                xs = MatMul (x, wx)
                hs = MatMul (two_h, wh)
                gates = Add (xs, hs)
                i, f, o, n = Split <axis = 1> (gates, quarters)
                si = Sigmoid (i)
                sf = Sigmoid (f)
                so = Sigmoid (o)
                tn = Tanh (n)
                kept = Mul (sf, one_c)
                new = Mul (si, tn)
                u = Add (kept, new)
                tc = Tanh (u)
                v = Mul (so, tc)
                p = Relu (v) }""",
            [("one_c", "u", "graph")],
            id="c-of-a-written-cell",
        ),
        pytest.param(
            """g (float[N,5] x, float[N,8] one_c, float[N,8] two_h) => (float[N,8] p, float[N,8] u, float[N,8] v) {
                xs = MatMul (x, wx5)
                hs = MatMul (two_h, wh)
                gates = Add (xs, hs)
                i, f, o, n = Split <axis = 1> (gates, quarters)
                si = Sigmoid (i)
                sf = Sigmoid (f)
                so = Sigmoid (o)
                tn = Tanh (n)
                kept = Mul (sf, one_c)
                new = Mul (si, tn)
                u = Add (kept, new)
                tc = Tanh (u)
                v = Mul (so, tc)
                p = Relu (v) }""",
            [("one_c", "u", "graph"), ("two_h", "v", "graph")],
            id="both-of-a-written-cell",
        ),
        pytest.param(
            """g (float[T,N,5] x, float[1,N,8] first) => (float[a,b,c] y, float[d,e,f] last) {
                gathered, last = GRU <hidden_size = 8> (x, w, r, b, "", first)
                y = Squeeze (gathered, one) }""",
            [("first", "last", "graph")],
            id="beside-a-whole-sequence",
        ),
    ],
)
def test_a_state_is_told_by_where_it_goes(text: str, pairs: list[tuple[str, str, str]]) -> None:
    model = foreign_model(text, GRU_WEIGHTS if "GRU" in text else LSTM_WEIGHTS)
    assert states_of(reading(model)) == pairs


def test_a_state_that_nothing_tells_where_it_goes_is_said() -> None:
    read = reading(
        """g (float[T,N,5] x, float[1,N,8] gain) => (float[T,N,8] y, float[1,N,8] last) {
            whole, last, cell = LSTM <hidden_size = 8> (x, w, r, b)
            steps = Squeeze (whole, one)
            y = Mul (steps, gain) }"""
    )
    assert read.states == ()
    assert read.open_states == (
        "last is a state of LSTM 'whole, last, cell' that no input is known to take: if one does, say "
        "--state gain=last",
    )


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        ("h", "hn"),
        ("h0", "hn"),
        ("state", "stateN"),
        ("h_in", "h_out"),
        ("cache", "cache_out"),
        ("conv_cache", "new_conv_cache"),
        ("states", "new_states"),
        ("past_key", "present_key"),
        ("prevState", "nextState"),
    ],
)
def test_a_state_is_told_by_its_name(taken: str, given: str) -> None:
    """Nothing of the graph leads from one to the other but a calculation."""
    read = reading(
        f"""g (float[N,5] frame, float[N,5] {taken}) => (float[N,5] y, float[N,5] {given}) {{
            y = Mul (frame, {taken})
            {given} = Tanh (y) }}"""
    )
    assert states_of(read) == [(taken, given, "names")]


@pytest.mark.parametrize(
    ("taken", "given"), [("h", "c"), ("frame2", "frame3"), ("input_2", "output_3"), ("gain", "gate")]
)
def test_other_names_say_nothing(taken: str, given: str) -> None:
    text = f"""g (float[N,5] a, float[N,5] {taken}) => (float[N,5] b, float[N,5] {given}) {{
        b = Mul (a, {taken})
        {given} = Tanh (b) }}"""
    with pytest.raises(AdoptionError, match="no recurrence, no state and no lengths, but 1 Mul, 1 Tanh"):
        reading(text)


def test_a_model_keeps_an_input_and_an_output_that_are_no_state() -> None:
    with pytest.raises(AdoptionError):
        reading("g (float[N,5] audio_in) => (float[N,5] audio_out) { audio_out = Tanh (audio_in) }")


def test_lengths_are_told_by_where_they_go() -> None:
    assert reading(LENGTHS).contract.lengths == ("n_frames",)
    assert dims_of(reading(LENGTHS))["n_frames"] == "(B,)"


def test_what_the_caller_names_comes_first() -> None:
    read = reading(STATES, AdoptOptions(states={"h0": "cn", "c0": "hn"}))
    assert states_of(read) == [("h0", "cn", "given"), ("c0", "hn", "given")]


@pytest.mark.parametrize(
    ("states", "got"),
    [
        ({"x": "hn"}, r"got x float32 \(T, B, 5\) with hn float32 \(1, B, 8\), expected one dtype and one shape"),
        ({"h0": "hn", "c0": "hn"}, "got output 'hn' for two inputs, expected an output for each"),
        ({"h1": "hn"}, "got input 'h1', expected one of the inputs x, h0, c0; name an input"),
        ({"h0": "h1"}, "got output 'h1', expected one of the outputs y, hn, cn; name an output"),
    ],
    ids=["shapes", "twice", "input", "output"],
)
def test_a_state_that_cannot_be_one_is_refused(states: Mapping[str, str], got: str) -> None:
    with pytest.raises(OptionError, match=got):
        reading(STATES, AdoptOptions(states=states))


def test_lengths_that_cannot_be_any_are_refused() -> None:
    with pytest.raises(OptionError, match=r"lengths: got 'x' float32 \(T, B, 5\), expected .*the file has none"):
        reading(STATES, AdoptOptions(lengths=("x",)))


def test_names_that_a_contract_cannot_hold_are_changed() -> None:
    read = reading(_renamed())
    assert read.renamed == {"x:0": "x_0", "387": "output_387"}
    assert read.theirs["x_0"] == "x:0"


def _renamed() -> onnx.ModelProto:
    model = foreign_model(STATES)
    for node in model.graph.node:
        node.input[:] = ["x:0" if name == "x" else name for name in node.input]
        node.output[:] = ["387" if name == "y" else name for name in node.output]
    model.graph.input[0].name, model.graph.output[0].name = "x:0", "387"
    return model


def test_dims_without_a_name_get_one() -> None:
    model = foreign_model(STATES)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    assert dims_of(reading(model)) | {"y": ""} == dims_of(reading(STATES)) | {"y": ""}


def test_outputs_without_a_shape_have_the_inferred_one() -> None:
    model = foreign_model(STATES)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert dims_of(reading(model))["y"] == "(T, B, 8)"


def test_a_model_without_recurrence_lists_its_operators(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.onnx", PLAIN)
    with pytest.raises(AdoptionError) as caught:
        read_recurrent(path, path.read_bytes())
    assert "got no recurrence, no state and no lengths, but 1 Relu, 1 Add" in str(caught.value)
    assert "--state IN=OUT" in str(caught.value)


def test_a_file_of_onnx_runtimes_own_format_says_what_it_is() -> None:
    with pytest.raises(AdoptionError, match=r"ONNX Runtime's own format \(.ort\).*expected the .onnx"):
        read_recurrent(Path("model.onnx"), b"\x18\x00\x00\x00ORTM" + bytes(40))


def test_a_truncated_file_is_refused() -> None:
    with pytest.raises(FileDamagedError, match="expected a whole ONNX file"):
        read_recurrent(Path("theirs.onnx"), foreign_model(STATES).SerializeToString()[:-30])


def test_an_input_that_no_contract_has_is_refused() -> None:
    model = foreign_model(STATES)
    model.graph.input.append(helper.make_tensor_value_info("words", onnx.TensorProto.STRING, ["N"]))
    with pytest.raises(
        AdoptionError, match=r"input 'words' of theirs[.]onnx: got it of string, expected a tensor of float32"
    ):
        reading(model)


def test_an_integer_input_of_a_table_says_its_rows_and_a_compared_one_its_value() -> None:
    model = foreign_model(
        """g (int64[N,T] tokens, int64 rate) => (float[T,N,8] y) {
            rows = Gather (table, tokens)
            x = Transpose <perm = [1, 0, 2]> (rows)
            whole = LSTM <hidden_size = 8> (x, w, r, b)
            slow = Squeeze (whole, one)
            is_fast = Equal (rate, one)
            y = Where (is_fast, slow, slow) }""",
        {"w": (1, 32, 5), "r": (1, 32, 8), "b": (1, 64), "table": (11, 5)},
    )
    read = reading(model)
    assert read.contract.table_sizes == {"tokens": 11}
    assert read.compared == {"rate": (1,)}


def test_other_recurrences_are_counted() -> None:
    read = reading(
        """g (float[T,N,5] x, float[N,5] start) => (float[N,5] last, float[T,N,5] y) {
            last, y = Scan <num_scan_inputs = 1,
                body = b (float[N,5] s, float[N,5] f) => (float[N,5] n, float[N,5] o) {
                  n = Add (s, f)
                  o = Tanh (n) }> (start, x) }"""
    )
    assert read.others == {"Scan": 1}
    assert read.contract.recurrent == ()
