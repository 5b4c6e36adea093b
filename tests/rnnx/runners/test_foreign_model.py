import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn

import rnnx
from rnnx.errors import CheckpointError, OptionError
from rnnx.runners.foreign_model import ForeignModel
from rnnx.runners.sources import Sources, read_subject
from rnnx_runtime import FileDamagedError

THEIRS = {"x": "input", "h0": "hx", "c0": "cx", "lengths": "lens", "output": "y", "hn": "y_h", "cn": "y_c"}

Edit = Callable[[onnx.ModelProto], None]


def _foreign(
    folder: Path, source: nn.Module, edit: Edit = lambda model: None, **options: Any
) -> tuple[Path, dict[str, str]]:
    """An export of rnnx made foreign: its contract taken off and its tensors renamed; and the map of the names."""
    save_file(source.state_dict(), folder / "weights.safetensors")
    rnnx.export(folder / "weights.safetensors", folder / "model.onnx", rnnx.ExportOptions(**options))
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    present = {value.name for value in (*model.graph.input, *model.graph.output)}
    for value in (*model.graph.input, *model.graph.output):
        value.name = THEIRS[value.name]
    for node in model.graph.node:
        node.input[:] = [THEIRS.get(name, name) if name in present else name for name in node.input]
        node.output[:] = [THEIRS.get(name, name) if name in present else name for name in node.output]
    edit(model)
    onnx.save(model, folder / "theirs.onnx")
    return folder / "theirs.onnx", {ours: theirs for ours, theirs in THEIRS.items() if ours in present}


def _read(path: Path, names: dict[str, str], *, batch_first: bool = False) -> ForeignModel:
    subject = read_subject(
        path, Sources(checkpoint=path.with_name("weights.safetensors"), names=names, batch_first=batch_first)
    )
    assert subject.foreign is not None
    return subject.foreign


def _fix(name: str, axis: int, size: int) -> Edit:
    """Declare a dim of an input or output to be fixed."""

    def edit(model: onnx.ModelProto) -> None:
        (value,) = (v for v in (*model.graph.input, *model.graph.output) if v.name == name)
        value.type.tensor_type.shape.dim[axis].dim_value = size

    return edit


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (lambda: nn.LSTM(5, 8, 2, bidirectional=True), {"lengths": True}),
        (lambda: nn.GRU(5, 8), {"stateful": False}),
        (lambda: nn.LSTMCell(5, 8), {}),
        (lambda: nn.GRUCell(5, 8), {"form": "unrolled", "steps": 4}),
    ],
    ids=["lstm-bi-lengths", "gru-no-state-inputs", "lstm-step", "gru-unrolled"],
)
def test_the_contract_is_what_rnnx_would_have_written(
    tmp_path: Path, build: Callable[[], nn.Module], options: dict[str, Any]
) -> None:
    path, names = _foreign(tmp_path, build(), **options)
    ours = read_subject(tmp_path / "model.onnx", Sources()).contract
    found = _read(path, names)
    assert found.file.contract.inputs == ours.inputs
    assert found.outputs == found.file.contract.outputs == ours.outputs
    assert found.names == names
    assert found.fixed == {}


def test_names_that_are_already_the_contracts_need_no_map(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "x"
    onnx.save(model, path)
    del names["x"]
    assert _read(path, names).names["x"] == "x"


def test_an_output_that_is_not_mapped_is_not_compared(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.LSTM(5, 8))
    del names["cn"]
    assert [spec.name for spec in _read(path, names).outputs] == ["output", "hn"]


def test_a_fixed_time_and_batch_are_told(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        _fix("input", 0, 6)(model)
        _fix("hx", 1, 3)(model)

    path, names = _foreign(tmp_path, nn.GRU(5, 8), edit)
    assert _read(path, names).fixed == {"T": 6, "B": 3}


@pytest.mark.parametrize("size", [2**60, 2**17])
def test_a_time_that_no_case_can_have_is_refused(tmp_path: Path, size: int) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8), _fix("input", 0, size))
    with pytest.raises(OptionError, match=f"the inputs of theirs.onnx: got T fixed at {size}"):
        _read(path, names)


def test_batch_first_turns_the_order_of_x_around(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8, batch_first=True), _fix("input", 1, 6), batch_first=True)
    found = _read(path, names, batch_first=True)
    assert found.file.contract.inputs[0].dims == ("B", "T", 5)
    assert found.fixed == {"T": 6}


def test_the_graphs_dtypes_are_the_outputs(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE

    path, names = _foreign(tmp_path, nn.GRU(5, 8), edit)
    assert [spec.dtype for spec in _read(path, names).outputs] == ["float64", "float32"]


def _halved(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_type = TensorProto.FLOAT16
    tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]


def _dead_quantizer(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="DynamicQuantizeLinear", input=["input"], output=["a", "b", "c"])


def _dead_quantized_layer(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="DynamicQuantizeLSTM", domain="com.microsoft", input=["input"], output=["nowhere"])


def _dead_half(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="unused", dims=[1, 2], data_type=TensorProto.FLOAT16, raw_data=bytes(4))


def _quantized_head(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="MatMulInteger", input=["y", "y"], output=["head"])
    model.graph.output.append(helper.make_tensor_value_info("head", TensorProto.FLOAT, None))


def _dequantized_weight(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0].name
    model.graph.initializer[0].name = "q"
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["q", "scale"], [weight]))


@pytest.mark.parametrize(
    ("edit", "precision"),
    [
        (_halved, "float16"),
        (_dequantized_weight, "int8"),
        (_dead_quantizer, "float32"),
        (_dead_quantized_layer, "float32"),
        (_dead_half, "float32"),
        (_quantized_head, "float32"),
    ],
    ids=[
        "float16-weight",
        "dequantized-weight",
        "dead-quantizer",
        "dead-quantized-layer",
        "unused-float16",
        "quantized-head",
    ],
)
def test_the_precision_is_that_of_the_recurrence_and_of_nothing_beside_it(
    tmp_path: Path, edit: Edit, precision: str
) -> None:
    assert _read(*_foreign(tmp_path, nn.GRU(5, 8), edit)).file.contract.precision == precision


def test_a_tensor_that_the_map_names_is_not_its_namesakes_too(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    model = onnx.load(path)
    model.graph.output[1].name = model.graph.node[0].output[1] = "output"  # hn under the name of another
    del model.graph.output[0]
    onnx.save(model, path)
    found = _read(path, {"x": names["x"], "h0": names["h0"], "hn": "output"})
    assert [spec.name for spec in found.outputs] == ["hn"]


def test_one_tensor_for_two_names_is_refused(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match="got 'y' for output and hn"):
        _read(path, names | {"hn": "y"})


def test_outputs_that_stand_for_nothing_are_named(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.LSTM(5, 8))
    del names["cn"]
    assert _read(path, names).unmapped == ("y_c",)


def test_a_damaged_file_is_told_before_its_layer_is_chosen(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    layers = nn.ModuleDict({"first": nn.GRU(5, 8), "second": nn.GRU(5, 8)})
    save_file(layers.state_dict(), tmp_path / "weights.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FileDamagedError, match="expected a whole ONNX file"):
        _read(path, names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": "input"}, "names: got 'y', expected one of x, h0, lengths, output, hn"),
        ({"x": "inputs"}, "names for x: got 'inputs', expected one of input, hx"),
        ({"hn": "input"}, "names for hn: got 'input', expected one of y, y_h"),
    ],
    ids=["no-contract-name", "no-input", "no-output"],
)
def test_a_wrong_name_lists_the_real_ones(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match=re.escape(message)):
        _read(path, names | change)


def test_a_missing_map_is_suggested_by_position(tmp_path: Path) -> None:
    path, _ = _foreign(tmp_path, nn.LSTM(5, 8))
    names = {"x": "input", "h0": "hx", "c0": "cx", "output": "y", "hn": "y_h", "cn": "y_c"}
    options = " ".join(f"--map {ours}={theirs}" for ours, theirs in names.items())
    suggested = f"by position it would be names={names} ({options})"
    with pytest.raises(OptionError, match=re.escape(suggested)):
        _read(path, {})


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match="got no output of it"):
        _read(path, {ours: names[ours] for ours in ("x", "h0")})


def test_half_a_state_is_refused(tmp_path: Path) -> None:
    def drop_c0(model: onnx.ModelProto) -> None:
        del model.graph.input[2]
        model.graph.node[0].input[6] = ""

    path, names = _foreign(tmp_path, nn.LSTM(5, 8), drop_c0)
    del names["c0"]
    with pytest.raises(OptionError, match="got h0 alone, expected h0 and c0"):
        _read(path, names)


@pytest.mark.parametrize("size", [4, 9], ids=["smaller", "larger"])
def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    save_file(nn.GRU(5, size).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=re.escape(f"got (1, B, 8), expected (1, B, {size})")):
        _read(path, names)


def test_another_rank_is_refused(tmp_path: Path) -> None:
    def raw(model: onnx.ModelProto) -> None:
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1

    path, names = _foreign(tmp_path, nn.GRU(5, 8), raw)
    with pytest.raises(CheckpointError, match=re.escape("'y' of theirs.onnx, mapped to output: got (T, B, 8, 1)")):
        _read(path, names)


@pytest.mark.parametrize(
    ("source", "nonlinearity"),
    [
        pytest.param(nn.LSTM(5, 8, proj_size=3), None, id="projection"),
        pytest.param(nn.RNN(5, 8), "tanh", id="rnn-tanh"),
        pytest.param(nn.RNN(5, 8, 2, nonlinearity="relu"), "relu", id="rnn-relu"),
        pytest.param(nn.RNNCell(5, 8), "tanh", id="cell-tanh"),
        pytest.param(nn.RNNCell(5, 8, nonlinearity="relu"), "relu", id="cell-relu"),
    ],
)
def test_the_graph_says_a_plain_rnns_nonlinearity(tmp_path: Path, source: nn.Module, nonlinearity: str | None) -> None:
    path, names = _foreign(tmp_path, source, nonlinearity=nonlinearity)
    model = _read(path, names)
    assert model.file.contract.layer().nonlinearity == nonlinearity
    assert model.file.contract.layer().projection_size == (3 if nonlinearity is None else 8)


def _sources(path: Path, names: dict[str, str], nonlinearity: Any) -> Sources:
    return Sources(checkpoint=path.with_name("weights.safetensors"), names=names, nonlinearity=nonlinearity)


def test_a_nonlinearity_that_is_given_goes_before_the_graphs(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.RNN(5, 8, nonlinearity="relu"), nonlinearity="relu")
    given = read_subject(path, _sources(path, names, "tanh"))
    assert given.layer.nonlinearity == "tanh"
    assert given.foreign is not None
    assert given.foreign.assumed_nonlinearity is None
    assumed = _read(path, names)
    assert assumed.file.contract.layer().nonlinearity == assumed.assumed_nonlinearity == "relu"


def test_a_nonlinearity_for_a_layer_with_gates_is_refused(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match=r"nonlinearity: got relu for nn\.GRU, expected a plain RNN"):
        read_subject(path, _sources(path, names, "relu"))
    with pytest.raises(OptionError, match="nonlinearity: got it for a model of rnnx"):
        read_subject(path.with_name("model.onnx"), Sources(nonlinearity="tanh"))


def test_unrolled_steps_that_are_not_fixed_are_refused(tmp_path: Path) -> None:
    def free(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"

    path, names = _foreign(tmp_path, nn.GRUCell(5, 8), free, form="unrolled", steps=4)
    with pytest.raises(OptionError, match="a number of steps that is not fixed"):
        _read(path, names)


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"no protobuf at all", lambda data: b""])
def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileDamagedError, match="expected a whole ONNX file"):
        _read(path, names)


@pytest.mark.parametrize("place", ["/etc/passwd", "../weights.bin"])
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, place: str) -> None:
    def move_out(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    path, names = _foreign(tmp_path, nn.GRU(5, 8), move_out)
    with pytest.raises(FileDamagedError, match=re.escape(f"got external data at {place!r}")):
        _read(path, names)


def test_options_for_foreign_models_are_refused_for_rnnxs_own(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    for sources, option in (
        (Sources(checkpoint=path.with_name("weights.safetensors"), names=names), "names"),
        (Sources(checkpoint=path.with_name("weights.safetensors"), module="rnn"), "module"),
        (Sources(batch_first=True), "batch_first"),
    ):
        with pytest.raises(OptionError, match=f"^{option}: got it for a model of rnnx"):
            read_subject(path.with_name("model.onnx"), sources)


def test_a_foreign_model_needs_a_checkpoint(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match=r"names: got no checkpoint"):
        read_subject(path, Sources(names=names))


def test_an_engine_of_a_foreign_model_is_refused(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    with pytest.raises(OptionError, match=re.escape("engine: got one for theirs.onnx, which rnnx did not make")):
        read_subject(
            path,
            Sources(checkpoint=path.with_name("weights.safetensors"), names=names, engine=tmp_path / "model.plan"),
        )


def test_one_of_several_modules_is_chosen_by_its_prefix(tmp_path: Path) -> None:
    path, names = _foreign(tmp_path, nn.GRU(5, 8))
    torch.manual_seed(3)
    layers = nn.ModuleDict({"first": nn.GRU(5, 8), "second": nn.GRU(5, 8)})
    save_file(layers.state_dict(), tmp_path / "weights.safetensors")
    checkpoint = tmp_path / "weights.safetensors"
    with pytest.raises(OptionError, match=re.escape("expected one of first (nn.GRU), second (nn.GRU)")):
        read_subject(path, Sources(checkpoint=checkpoint, names=names))
    chosen = read_subject(path, Sources(checkpoint=checkpoint, names=names, module="second"))
    assert chosen.contract.source.module == "second"


def test_inputs_with_defaults_need_no_map(tmp_path: Path) -> None:
    """ONNX before IR version 4 lists weights among the inputs too."""

    def list_weights(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))

    path, names = _foreign(tmp_path, nn.GRU(5, 8), list_weights)
    assert set(_read(path, names).names) == {"x", "h0", "output", "hn"}
