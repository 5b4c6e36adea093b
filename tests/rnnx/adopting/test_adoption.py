"""Files of other exporters adopted: what is proved, what is dropped and said, and what is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper
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

import rnnx
from rnnx import AdoptOptions, AdoptReport
from rnnx.errors import AdoptionError, OptionError, OutputError
from rnnx.truths.model_golden import read_model_golden
from rnnx_runtime import FileDamagedError, load

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Adopter = Callable[..., AdoptReport]

NAMES_LIE = """g (float[T,N,5] x, float[1,N,8] h, float[1,N,8] c) => (
    float[T,N,8] y, float[1,N,8] cn, float[1,N,8] hn) {
    h0 = Mul (h, unit)
    c0 = Mul (c, unit)
    whole, last_h, last_c = LSTM <hidden_size = 8> (x, w, r, b, "", h0, c0)
    cn = Mul (last_h, unit)
    hn = Mul (last_c, unit)
    y = Squeeze (whole, one) }"""
"""The output `cn` is the hidden state, and a product stands between each state and its layer."""

NO_STATE = """g (float[T,N,5] x, float[N,8] gain) => (float[T,N,8] y, float[N,8] gain_out) {
    whole, last = GRU <hidden_size = 8> (x, w, r, b)
    steps = Squeeze (whole, one)
    y = Mul (steps, gain)
    mean = ReduceMean <axes = [0], keepdims = 0> (y)
    gain_out = Add (gain, mean) }"""
"""A name alone makes a state of the gain, and chunks do not bear it out."""

UNUSED = """g (float[T,N,5] x, float[1,N,8] h0, float[1,N,8] c0) => (float[T,N,8] y, float[1,N,8] hn, float[1,N,8] cn) {
    whole, hn, cn = LSTM <hidden_size = 8> (x, w, r, b, "", h0)
    y = Squeeze (whole, one) }"""
"""An input that nothing reads."""


@pytest.fixture(scope="module")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    def adopt(text: str | onnx.ModelProto, options: AdoptOptions | None = None, **parts: Any) -> AdoptReport:
        folder = tmp_path_factory.mktemp("adopted")
        model = foreign_model(text, **parts) if isinstance(text, str) else text
        (folder / "theirs.onnx").write_bytes(model.SerializeToString())
        return rnnx.adopt(folder / "theirs.onnx", folder / "ours.onnx", options)

    return adopt


@pytest.fixture(scope="module")
def adopted(adopter: Adopter) -> AdoptReport:
    return adopter(STATES)


def test_an_lstm_with_states_is_proved_and_written(adopted: AdoptReport) -> None:
    contract = adopted.contract
    assert [spec.shape for spec in contract.inputs] == ["(T, B, 5)", "(1, B, 8)", "(1, B, 8)"]
    assert [spec.shape for spec in contract.outputs] == ["(T, B, 8)", "(1, B, 8)", "(1, B, 8)"]
    assert (contract.streaming.kind, contract.batching.rows) == ("exact", "independent")
    assert adopted.states == ("h0 → hn (graph: LSTM 'whole, hn, cn')", "c0 → cn (graph: LSTM 'whole, hn, cn')")
    assert "states: chunks give what the whole gives" in adopted.proofs
    assert adopted.notes == ()
    assert adopted.checks[-1].startswith("values: equal to the truth in 8 cases in ONNX Runtime")


def test_its_golden_values_are_those_of_onnx_runtime_and_say_so(adopted: AdoptReport) -> None:
    assert adopted.contract.truth == "onnxruntime-float32"
    truth = read_model_golden(adopted.golden, adopted.contract)
    session = ort.InferenceSession(Path(adopted.source).read_bytes(), providers=["CPUExecutionProvider"])
    for entry in truth.entries:
        values = session.run(None, dict(entry.case.feeds))
        for name, value in zip(("y", "hn", "cn"), values, strict=True):
            assert np.array_equal(entry.truth[name], value.astype(np.float64))
            assert entry.float32_error[name] < 1e-5


def test_a_service_runs_steps_and_streams_it(adopted: AdoptReport) -> None:
    session = load(adopted.path)
    x = np.random.default_rng(1).standard_normal((6, 2, 5)).astype(np.float32)
    whole, last = session.run(x)
    state, steps = None, []
    for frame in x:
        y, state = session.step(frame, state)
        steps.append(y)
    assert np.allclose(np.stack(steps), whole, atol=1e-6)
    assert state is not None
    assert np.allclose(state["c0"], last["c0"], atol=1e-6)
    stream = session.stream()
    assert np.allclose(stream.push(x[:, 0]), whole[:, 0], atol=1e-6)


def test_the_same_file_becomes_the_same_model(adopted: AdoptReport, tmp_path: Path) -> None:
    again = rnnx.adopt(adopted.source, tmp_path / "again.onnx")
    assert again.path.read_bytes() == adopted.path.read_bytes()
    assert again.golden.read_bytes() == adopted.golden.read_bytes()


def test_verify_holds_it_to_its_own_golden_file(adopted: AdoptReport) -> None:
    report = rnnx.verify(adopted.path, rnnx.VerifyOptions(latency=False, backends=("ort-cpu",)))
    assert report
    assert report.truth == "golden file ours.golden.npz, ONNX Runtime in float32 (no PyTorch truth)"
    assert report.yardstick == "ONNX Runtime"


def test_an_adopted_file_is_inspected_as_any_model(adopted: AdoptReport) -> None:
    inspection = rnnx.inspect(adopted.path)
    assert ("golden", "ONNX Runtime float32: the file's own values, no PyTorch truth") in inspection.rows  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [STACKED, CACHE], ids=["stacked", "cache"])
def test_states_of_other_forms_are_proved_in_chunks(adopter: Adopter, text: str) -> None:
    report = adopter(text)
    assert len(report.contract.states) == 1
    assert report.contract.streaming.kind == "exact"
    assert "states: chunks give what the whole gives" in report.proofs


def test_an_axis_of_time_without_a_name_is_found_by_chunks(adopter: Adopter) -> None:
    model = foreign_model(CACHE)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    report = adopter(model)
    assert report.contract.inputs[0].shape == "(B, 5, T)"
    assert "D1 is the time: its chunks give what the whole gives" in report.notes


def test_an_order_that_names_tell_wrong_is_mended(adopter: Adopter) -> None:
    report = adopter(_with_unit(NAMES_LIE))
    assert {pair.input: pair.output for pair in report.contract.states} == {"h": "cn", "c": "hn"}
    assert report.contract.streaming.kind == "exact"
    assert any("in the order of their names chunks give other values" in note for note in report.notes)


def test_a_guess_that_fails_its_proof_is_dropped_and_said(adopter: Adopter) -> None:
    report = adopter(NO_STATE, weights={"w": (1, 24, 5), "r": (1, 24, 8), "b": (1, 48)})
    assert report.contract.states == ()
    assert any(note.startswith("no state: gain → gain_out (names: both are 'gain')") for note in report.notes)


def test_a_named_state_that_fails_its_proof_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", NO_STATE, weights={"w": (1, 24, 5), "r": (1, 24, 8), "b": (1, 48)})
    with pytest.raises(AdoptionError, match=r"state gain=gain_out: got a pair that does not hold: .*name another"):
        rnnx.adopt(tmp_path / "theirs.onnx", tmp_path / "ours.onnx", AdoptOptions(states={"gain": "gain_out"}))
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.onnx"]


def test_a_state_that_nothing_reads_is_none(adopter: Adopter) -> None:
    report = adopter(UNUSED)
    assert [pair.input for pair in report.contract.states] == ["h0"]
    assert "no state: c0 → cn (names: both are 'c'): no output depends on c0" in report.notes


COUNTER = """g (float[N,5] x, float[N,8] h, int64[1] position) => (
    float[N,8] y, float[N,8] h_next, int64[1] position_next) {
    given = MatMul (x, wx8)
    kept = MatMul (h, wh8)
    both = Add (given, kept)
    h_next = Tanh (both)
    position_next = Add (position, one)
    angle = Cast <to = 1> (position)
    wave = Sin (angle)
    y = Add (h_next, wave) }"""
"""A cell written out, and a count of its calls."""


def test_a_counter_is_a_state(adopter: Adopter) -> None:
    report = adopter(COUNTER, weights={"wx8": (5, 8), "wh8": (8, 8)})
    assert {pair.input: pair.output for pair in report.contract.states} == {
        "h": "h_next",
        "position": "position_next",
    }
    assert report.notes == ()


RESET = """g (float[T,N,5] x, float[1,N,8] h, bool[N] reset) => (float[T,N,8] y, float[1,N,8] hn) {
    rows = Unsqueeze (reset, sides)
    start = Where (rows, zero, h)
    whole, hn = GRU <hidden_size = 8> (x, w, r, b, "", start)
    y = Squeeze (whole, one) }"""
"""A state that a flag puts back to zeros."""


def test_a_state_that_a_flag_puts_back_is_one(adopter: Adopter) -> None:
    model = foreign_model(RESET, GRU_WEIGHTS, {"sides": [0, 2]})
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "zero"))
    assert [pair.input for pair in adopter(model).contract.states] == ["h"]


def test_a_file_that_draws_numbers_is_refused(adopter: Adopter) -> None:
    text = """g (float[T,N,5] x) => (float[T,N,8] y) {
        whole = LSTM <hidden_size = 8> (x, w, r, b)
        steps = Squeeze (whole, one)
        noise = RandomNormalLike (steps)
        y = Add (steps, noise) }"""
    with pytest.raises(AdoptionError, match=r"output 'y' .*other values in two calls .* from 1 RandomNormalLike"):
        adopter(text)


def test_a_mask_in_float_is_tried_with_ones(adopter: Adopter) -> None:
    """Other values would be lengths that ONNX Runtime refuses."""
    text = """g (float[N,T,5] x, float[N,T] mask) => (float[1,N,8] last) {
        sums = ReduceSum <keepdims = 0> (mask, one)
        counts = Cast <to = 6> (sums)
        frames = Transpose <perm = [1, 0, 2]> (x)
        whole, last = LSTM <hidden_size = 8> (frames, w, r, b, counts) }"""
    assert adopter(text).contract.inputs[0].shape == "(B, T, 5)"


DECODER = """g (float[N,5] x, float[N,5] h, int64 steps) => (float[S,N,5] y, float[N,5] last) {
    last, y = Loop (steps, "", h) <body = body (int64 i, bool going, float[N,5] carried) => (
        bool on, float[N,5] following, float[N,5] given) {
        on = Identity (going)
        both = Add (carried, x)
        following = Tanh (both)
        given = Identity (following)
    }> }"""
"""A loop of as many rounds as an input says."""


def test_a_count_of_rounds_is_not_tried_with_none(adopter: Adopter) -> None:
    report = adopter(DECODER)
    assert [spec.shape for spec in report.contract.inputs] == ["(B, 5)", "(B, 5)", "()"]
    assert [spec.shape for spec in report.contract.outputs] == ["(O1, B, 5)", "(B, 5)"]
    assert not report.contract.ranges


def test_a_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "theirs.onnx", STATES)
    with pytest.raises(OptionError, match=r"got h0 float32 \(1, B, 8\) with y float32 \(T, B, 8\)"):
        rnnx.adopt(tmp_path / "theirs.onnx", tmp_path / "ours.onnx", AdoptOptions(states={"h0": "y"}))


def test_lengths_are_proved_by_cut_rows(adopter: Adopter) -> None:
    report = adopter(LENGTHS)
    assert report.contract.lengths == ("n_frames",)
    assert "lengths n_frames: rows with padding give what the rows cut there give" in report.proofs
    assert (report.contract.batching.rows, report.contract.batching.padding) == ("independent", "ignored")


def test_named_lengths_that_are_none_are_an_error(adopter: Adopter) -> None:
    text = LENGTHS.replace(", n_frames)", ")").replace("y = Squeeze (whole, one)", NOT_LENGTHS)
    with pytest.raises(AdoptionError, match="lengths n_frames: got an input that does not say how long rows are"):
        adopter(text, AdoptOptions(lengths=("n_frames",)))


NOT_LENGTHS = """few = Cast <to = 1> (n_frames)
    wide = Unsqueeze (few, one)
    steps = Squeeze (whole, one)
    y = Mul (steps, wide)"""


def test_a_dim_that_the_graph_bakes_in_is_fixed_and_said(adopter: Adopter) -> None:
    text = """g (float[T,N,5] x) => (float[T,N,8] y) {
        whole = LSTM <hidden_size = 8> (x, w, r, b)
        y = Reshape (whole, shape) }"""
    report = adopter(text, constants={"shape": [-1, 3, 8]})
    assert [spec.shape for spec in report.contract.inputs] == ["(T, 3, 5)"]
    assert "B of x is 3: the file takes no other size that was tried" in report.notes


def test_a_least_size_and_an_outputs_own_are_found(adopter: Adopter) -> None:
    text = """g (float[N,5,T] x) => (float[S,N,8] y) {
        narrow = Conv <kernel_shape = [3], strides = [2]> (x, k)
        wide = Transpose <perm = [2, 0, 1]> (narrow)
        whole = LSTM <hidden_size = 8> (wide, w, r, b)
        y = Squeeze (whole, one) }"""
    report = adopter(text, weights={"w": (1, 32, 3), "r": (1, 32, 8), "b": (1, 64)})
    assert report.contract.outputs[0].shape == "((T + 1)//2 - 1, B, 8)"
    assert "T is at least 3" in report.notes


def test_an_input_that_never_changes_becomes_a_constant(adopter: Adopter) -> None:
    text = """g (float[T,N,5] x, float[1,N,8] h0, float[1,N,8] c0, int64 rate) => (
        float[T,N,8] y, float[1,N,8] hn, float[1,N,8] cn) {
        whole, hn, cn = LSTM <hidden_size = 8> (x, w, r, b, "", h0, c0)
        is_fast = Equal (rate, fast)
        steps = Squeeze (whole, one)
        twice = Add (steps, steps)
        y = Where (is_fast, twice, steps) }"""
    free = adopter(text, constants={"fast": [16000]})
    assert free.contract.streaming.kind == "no"
    assert (
        "rate is one value for all rows, which is in the way of streams: fix it by --constant rate=16000" in free.notes
    )
    fixed = adopter(text, AdoptOptions(constants={"rate": 16000}), constants={"fast": [16000]})
    assert [spec.name for spec in fixed.contract.inputs] == ["x", "h0", "c0"]
    assert fixed.contract.streaming.kind == "exact"
    with pytest.raises(OptionError, match=r"constants rate: got 1.5, expected a value of int64"):
        adopter(text, AdoptOptions(constants={"rate": 1.5}), constants={"fast": [16000]})
    with pytest.raises(OptionError, match="constants x: got an input of free dims"):
        adopter(text, AdoptOptions(constants={"x": 1}), constants={"fast": [16000]})


def test_names_that_a_contract_cannot_hold_are_renamed_in_the_graph(adopter: Adopter) -> None:
    model = foreign_model(STATES)
    for node in model.graph.node:
        node.input[:] = ["x:0" if name == "x" else name for name in node.input]
        node.output[:] = [{"y": "387", "whole": "x_0"}.get(name, name) for name in node.output]
        node.input[:] = ["x_0" if name == "whole" else name for name in node.input]
    model.graph.input[0].name, model.graph.output[0].name = "x:0", "387"
    report = adopter(model)
    assert {"'x:0' of the file is x_0 here", "'387' of the file is output_387 here"} <= {*report.notes}
    assert load(report.path).run(np.zeros((3, 2, 5), np.float32))[0].shape == (3, 2, 8)


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    path = _with_outside_weights(tmp_path)
    report = rnnx.adopt(path, tmp_path / "ours.onnx")
    (tmp_path / "weights.bin").unlink()
    assert load(report.path).run(np.zeros((3, 2, 5), np.float32))[0].shape == (3, 2, 8)
    inside = tmp_path / "inside"
    inside.mkdir()
    write(inside / "theirs.onnx", STATES)
    own = rnnx.adopt(inside / "theirs.onnx", inside / "ours.onnx").contract
    assert own.golden_sha256 == report.contract.golden_sha256


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = _with_outside_weights(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FileDamagedError, match=r"weights.bin: got no such file, expected the external data of theirs"):
        rnnx.adopt(path, tmp_path / "ours.onnx")


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = _with_outside_weights(tmp_path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../weights.bin" if entry.key == "location" else entry.value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(FileDamagedError, match=r"external data at '[.]{2}/weights.bin', expected a plain file inside"):
        rnnx.adopt(path, tmp_path / "ours.onnx")


def test_a_model_of_rnnx_is_sealed_already(adopted: AdoptReport, tmp_path: Path) -> None:
    with pytest.raises(AdoptionError, match="got a model of rnnx, sealed already, expected a file of another exporter"):
        rnnx.adopt(adopted.path, tmp_path / "ours.onnx")


def test_a_model_of_rnnx_that_was_changed_is_no_foreign_file(adopted: AdoptReport, tmp_path: Path) -> None:
    data = bytearray(adopted.path.read_bytes())
    data[100] ^= 1
    (tmp_path / "changed.onnx").write_bytes(data)
    with pytest.raises(AdoptionError, match="got a model of rnnx that was changed since it was sealed"):
        rnnx.adopt(tmp_path / "changed.onnx", tmp_path / "ours.onnx")


def test_values_hidden_in_other_files_are_refused(tmp_path: Path) -> None:
    """No scope lists the value of ConstantOfShape, and ONNX Runtime would open the file that it names."""
    model = foreign_model(
        """g (float[T,N,5] x) => (float[T,N,8] y) {
        seven = Constant <value = int64[1] {8}> ()
        zeros = ConstantOfShape <value = float[1] {0.0}> (seven)
        whole = LSTM <hidden_size = 8> (x, w, r, b)
        steps = Squeeze (whole, one)
        y = Add (steps, zeros) }"""
    )
    value = model.graph.node[1].attribute[0].t
    value.ClearField("float_data")
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/hostname")
    (tmp_path / "theirs.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileDamagedError, match="external data at '/etc/hostname'"):
        rnnx.adopt(tmp_path / "theirs.onnx", tmp_path / "ours.onnx")


def test_an_output_that_is_an_input_too_gets_a_name_of_its_own(adopter: Adopter) -> None:
    report = adopter(
        """g (float[T,N,5] x) => (float[T,N,8] y, float[T,N,5] x) {
        whole = LSTM <hidden_size = 8> (x, w, r, b)
        y = Squeeze (whole, one) }"""
    )
    assert [spec.name for spec in report.contract.outputs] == ["y", "x_output"]
    x = np.ones((3, 2, 5), np.float32)
    outputs, _ = load(report.path).run({"x": x})
    assert np.array_equal(outputs["x_output"], x)


def test_the_file_itself_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "theirs.onnx", STATES)
    with pytest.raises(OutputError, match="got a file that is read, expected a file of its own"):
        rnnx.adopt(path, path)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        pytest.param(foreign_model(PLAIN).SerializeToString(), "no recurrence, no state and no lengths", id="plain"),
        pytest.param(b"\x18\x00\x00\x00ORTM" + bytes(32), "a file in ONNX Runtime's own format", id="ort"),
    ],
)
def test_what_is_no_recurrent_onnx_is_refused(tmp_path: Path, data: bytes, got: str) -> None:
    (tmp_path / "theirs.onnx").write_bytes(data)
    with pytest.raises(AdoptionError, match=got):
        rnnx.adopt(tmp_path / "theirs.onnx", tmp_path / "ours.onnx")


def test_a_file_that_runs_at_no_size_says_what_onnx_runtime_said(adopter: Adopter) -> None:
    text = """g (float[T,N,5] x) => (float[a,b,c] y) {
        whole = LSTM <hidden_size = 8> (x, w, r, b)
        y = Reshape (whole, shape) }"""
    with pytest.raises(AdoptionError, match=r"at \d+ sizes: got .*Reshape.*say what it is called with: --size T=N"):
        adopter(text, constants={"shape": [-1, 7919, 8]})
    report = adopter(text, AdoptOptions(sizes={"N": 3, "T": 11}), constants={"shape": [11, 3, 8]})
    assert [spec.shape for spec in report.contract.inputs] == ["(11, 3, 5)"]


def _with_unit(text: str) -> onnx.ModelProto:
    model = foreign_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "unit"))
    return model


def _with_outside_weights(folder: Path, weights: Mapping[str, Any] = LSTM_WEIGHTS) -> Path:
    model = foreign_model(STATES, weights)
    external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=64)
    path = folder / "theirs.onnx"
    onnx.save(model, path)
    return path


def test_sizes_at_which_a_pooling_has_no_whole_window_are_left_out(adopter: Adopter) -> None:
    """ONNX Runtime gives a value for a window of 4 over 3 frames, and other backends refuse it."""
    text = """g (float[N,5,T] x) => (float[S,N,8] y) {
        few = MaxPool <kernel_shape = [4], strides = [2]> (x)
        wide = Transpose <perm = [2, 0, 1]> (few)
        whole = LSTM <hidden_size = 8> (wide, w, r, b)
        y = Squeeze (whole, one) }"""
    assert "T is at least 4" in adopter(text).notes
