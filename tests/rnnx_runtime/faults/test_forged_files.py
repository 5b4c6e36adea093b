"""Files under a good seal that rnnx would never write: what their seal vouches for is refused all the same."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import GraphProto, ModelProto, SparseTensorProto, TensorProto, helper
from tests.rnnx_runtime.faults.forging import Values, forged, unchanged, with_contract
from tests.rnnx_runtime.faults.specimens import Specimen, write

import rnnx_runtime
from rnnx_runtime import ContractError, FileDamagedError, RnnxError
from rnnx_runtime.files.seal import seal_offset, sealed

ROOT = Path(__file__).parents[3]
SEED = 20265
TEXTS = {"precision", "formulation", "golden_sha256"}
"""What of a contract no graph can contradict, beside the texts of `source` and `versions`."""

GraphChange = Callable[[ModelProto], object]


@pytest.fixture
def lstm(exported: list[Specimen], tmp_path: Path) -> Path:
    write(exported[0], tmp_path)
    return tmp_path / "model.onnx"


@pytest.fixture
def external(exported: list[Specimen], tmp_path: Path) -> Path:
    (specimen,) = (specimen for specimen in exported if specimen.kind == "external.onnx")
    folder = tmp_path / "model"
    folder.mkdir()
    write(specimen, folder)
    return folder / "model.onnx"


def forge(path: Path, graph: GraphChange = unchanged, contract: Callable[[Values], object] = unchanged) -> None:
    path.write_bytes(forged(path.read_bytes(), graph, contract))


def refusal(path: Path) -> RnnxError:
    with pytest.raises(RnnxError, match=r"model\.onnx") as caught:
        rnnx_runtime.load(path, "ort-cpu")
    assert len(str(caught.value)) < 3_000
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        {"input_size": 6},
        {"input_size": 1},
        {"hidden_size": 7, "projection_size": 7},
        {"hidden_size": 9},
        {"projection_size": 4},
        {"layers": 2},
        {"directions": 2},
        {"cell": "gru"},
        {"form": "step"},
        {"form": "unrolled", "steps": 3},
        {"batch_first": True},
        {"state_inputs": False},
        {"lengths": True},
        {"hidden_size": 2**31 - 1, "projection_size": 2**31 - 1},
    ],
    ids=str,
)
def test_a_contract_that_its_graph_contradicts_is_refused(lstm: Path, change: Values) -> None:
    forge(lstm, contract=lambda values: values.update(change))
    assert isinstance(refusal(lstm), ContractError)


NASTY: dict[str, str] = {
    "negative": "-1",
    "zero": "0",
    "past-int32": str(2**31),
    "past-int64": str(2**63),
    "400-digits": "9" * 400,
    "5000-digits": "9" * 5_000,
    "true": "true",
    "fraction": "5.0",
    "exponent": "1e400",
    "nan": "NaN",
    "infinity": "-Infinity",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "number-list": "[5]",
    "deep-list": "[" * 1_000 + "]" * 1_000,
    "deep-object": '{"a":' * 900 + "1" + "}" * 900,
    "bottomless": "[" * 100_000,
    "long-text": '"' + "x" * 100_000 + '"',
    "surrogate": '"\\ud800"',
    "unfinished": '"',
}


SAME = {("decoder", "null"), ("lengths", "[]"), ("recurrent", "[]"), ("versions", "{}")}
"""Nasty values that are the right ones in their place."""


@pytest.mark.parametrize("value", NASTY.values(), ids=NASTY)
def test_a_nasty_value_anywhere_in_a_contract_is_refused_or_is_a_text(lstm: Path, value: str) -> None:
    data = lstm.read_bytes()
    model = ModelProto.FromString(data)
    text = model.metadata_props[0].value
    values = json.loads(text)
    for key in [key for key in values if key != "sha256_of_this_file"]:
        replaced = json.dumps({**values, key: "PLACE"}).replace('"PLACE"', value)
        replaced = replaced.replace(values["sha256_of_this_file"], "0" * 64)
        lstm.write_bytes(with_contract(ModelProto.FromString(data), replaced))
        if value in (NASTY["long-text"], NASTY["surrogate"]) and key in TEXTS:
            rnnx_runtime.load(lstm, "ort-cpu").close()
        elif (key, value) not in SAME:
            refusal(lstm)


def _rename_output(model: ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["other" if name == "hn" else name for name in node.output]


def _resize_weight(model: ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.dims[-1] += 1


def _claim_petabytes(model: ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**31, 2**31]


def _make_cycle(model: ModelProto) -> None:
    model.graph.node.add(op_type="Add", input=["b", "hn"], output=["a"])
    model.graph.node.add(op_type="Add", input=["a", "hn"], output=["b"])


def _declare_x_as_double(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _fill_terabytes(model: ModelProto) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [2**40])
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["shape"], ["filled"]))
    model.graph.node.insert(1, helper.make_node("ReduceSum", ["filled"], ["sum"]))
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda model: model.ClearField("graph"), id="no-graph"),
        pytest.param(lambda model: model.graph.ClearField("node"), id="no-nodes"),
        pytest.param(lambda model: model.graph.ClearField("initializer"), id="no-weights"),
        pytest.param(lambda model: model.graph.ClearField("input"), id="no-inputs"),
        pytest.param(lambda model: model.graph.ClearField("output"), id="no-outputs"),
        pytest.param(lambda model: model.ClearField("opset_import"), id="no-opset"),
        pytest.param(lambda model: setattr(model, "ir_version", 10**6), id="ir-of-the-future"),
        pytest.param(lambda model: setattr(model.opset_import[0], "version", 10**6), id="opset-of-the-future"),
        pytest.param(lambda model: setattr(model.graph.node[0], "op_type", "EPContext"), id="operator-unknown"),
        pytest.param(_rename_output, id="output-unmade"),
        pytest.param(_declare_x_as_double, id="input-double"),
        pytest.param(_resize_weight, id="weight-resized"),
        pytest.param(_claim_petabytes, id="weight-of-petabytes"),
        pytest.param(_make_cycle, id="cycle"),
        pytest.param(_fill_terabytes, id="constant-of-terabytes"),
    ],
)
def test_a_graph_that_is_none_is_refused(lstm: Path, change: GraphChange) -> None:
    forge(lstm, change)
    refusal(lstm)


def _location(model: ModelProto, name: str) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name


OUTSIDE = [
    "../secret.data",
    "../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "./model.onnx.data",
    "sub/../model.onnx.data",
    "other.data",
    "",
    "*/_ORT_MEM_ADDR_/*",
    "file:///etc/passwd",
    "model.onnx.data\0",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda name: repr(name[:24]))
@pytest.mark.parametrize("agreed", [False, True], ids=["protobuf-alone", "contract-too"])
def test_external_data_elsewhere_is_refused_before_an_engine_opens_it(
    external: Path, monkeypatch: pytest.MonkeyPatch, name: str, agreed: bool
) -> None:
    data = external.with_name("model.onnx.data").read_bytes()
    for place in (external.with_name("other.data"), external.parent.parent / "secret.data"):
        place.write_bytes(data)
    monkeypatch.setattr("onnxruntime.InferenceSession", _no_engine)

    def contract(values: Values) -> None:
        values["external_data"]["file"] = name

    forge(external, lambda model: _location(model, name), contract if agreed and name != "other.data" else unchanged)
    assert isinstance(refusal(external), ContractError)


def _no_engine(*arguments: Any, **options: Any) -> None:
    raise AssertionError("an engine was given a file that should have been refused")


def _outside_tensor() -> TensorProto:
    tensor = TensorProto(name="w", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret.data")
    return tensor


def _hidden_in_a_branch(model: ModelProto) -> None:
    inner = GraphProto(node=[helper.make_node("Constant", [], ["w"], value=_outside_tensor())])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=GraphProto()))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda model: model.graph.initializer.append(_outside_tensor()), id="initializer"),
        pytest.param(
            lambda model: model.graph.sparse_initializer.append(SparseTensorProto(values=_outside_tensor())),
            id="sparse-initializer",
        ),
        pytest.param(
            lambda model: model.graph.node.append(helper.make_node("Constant", [], ["w"], value=_outside_tensor())),
            id="attribute",
        ),
        pytest.param(_hidden_in_a_branch, id="subgraph"),
    ],
)
@pytest.mark.parametrize("which", ["lstm", "external"])
def test_one_external_tensor_more_is_refused(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, which: str, change: GraphChange
) -> None:
    path: Path = request.getfixturevalue(which)
    monkeypatch.setattr("onnxruntime.InferenceSession", _no_engine)
    forge(path, change)
    assert refusal(path).got == "external data at '../secret.data'"


@pytest.mark.parametrize("number", ["-1", "99999999", "1e3", "9" * 400])
@pytest.mark.parametrize("key", ["offset", "length"])
def test_external_data_past_the_end_of_its_file_is_refused(external: Path, key: str, number: str) -> None:
    def change(model: ModelProto) -> None:
        for entry in model.graph.initializer[0].external_data:
            if entry.key == key:
                entry.value = number

    forge(external, change)
    assert isinstance(refusal(external), ContractError | FileDamagedError)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_the_weights(path: Path) -> None:
    path.symlink_to(path.with_name("moved.data"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("make", [_fifo, _link_to_zero, _link_to_the_weights, Path.mkdir, Path.touch])
def test_what_stands_in_place_of_the_weights_is_refused(external: Path, make: Callable[[Path], object]) -> None:
    weights = external.with_name("model.onnx.data")
    weights.replace(external.with_name("moved.data"))
    make(weights)
    assert isinstance(refusal(external), ContractError | FileDamagedError)


def test_a_model_behind_linked_folders_and_files_gives_the_same_result(
    external: Path, exported: list[Specimen]
) -> None:
    links = external.parent.with_name("links")
    links.symlink_to(external.parent.name)
    single = external.parent.parent / "model.onnx"
    single.symlink_to("model/model.onnx")
    for path in (external, links / "model.onnx", single):
        with rnnx_runtime.load(path, "ort-cpu") as session:
            assert session.spec.layer().hidden_size == 8


def test_a_name_that_is_not_text_is_refused(lstm: Path, tmp_path: Path) -> None:
    def rename(model: ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "TIME"

    path = tmp_path / "forged.onnx"
    path.write_bytes(sealed(forged(lstm.read_bytes(), rename).replace(b"TIME", b"\xff\xfeME")))
    with pytest.raises(ContractError, match=r"inputs and outputs of .*forged\.onnx: got a name that is not UTF-8"):
        rnnx_runtime.load(path, "ort-cpu")


_OPEN_EACH = """
import pathlib, resource, sys
import rnnx_runtime
files = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
rnnx_runtime.load(files[0], "ort-cpu").close()
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, resource.RLIM_INFINITY))
for path in files:
    print(path.name, end=" ", flush=True)
    try:
        rnnx_runtime.load(path, "ort-cpu").close()
        print("opened", flush=True)
    except rnnx_runtime.RnnxError as error:
        print(type(error).__name__, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as on Linux")
def test_a_sealed_graph_of_any_bytes_crashes_nothing(lstm: Path, tmp_path: Path) -> None:
    data, chance = lstm.read_bytes(), random.Random(SEED)
    end = seal_offset(data) - 2_000  # within the graph: the contract is damaged elsewhere
    folder = tmp_path / "graphs"
    folder.mkdir()
    for number in range(150):
        damaged = bytearray(data)
        for _ in range(chance.randint(0 if number == 0 else 1, 4)):
            damaged[chance.randrange(min(end, 600) if number % 2 else end)] ^= 1 << chance.randrange(8)
        (folder / f"{number:03}.onnx").write_bytes(sealed(data if number == 0 else bytes(damaged)))
    command = [sys.executable, "-W", "error", "-c", _OPEN_EACH, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.returncode} after {done.stdout[-300:]}{done.stderr[-2000:]}"
    ends = [line.split()[1] for line in done.stdout.splitlines()]
    assert len(ends) == 150
    assert {"BackendError", "opened"} <= set(ends)
