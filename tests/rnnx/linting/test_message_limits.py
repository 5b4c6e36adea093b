"""Files of more parts than a model has are refused before protobuf makes an object of each."""

from pathlib import Path

import pytest
from onnx import ModelProto, NodeProto, helper
from tests.rnnx.linting.hostile_models import field, sound

from rnnx.linting import message_limits
from rnnx.linting.message_limits import refuse_swollen
from rnnx_runtime import FileDamagedError

PATH = Path("model.onnx")


def _bytes(*nodes: NodeProto) -> bytes:
    model = ModelProto()
    model.CopyFrom(sound())
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def test_a_sound_file_passes() -> None:
    refuse_swollen(PATH, _bytes())


def test_nodes_of_subgraphs_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])] * 5, "body", [], [])
    data = _bytes(helper.make_node("If", ["x"], ["z"], then_branch=body, else_branch=body))
    monkeypatch.setattr(message_limits, "MOST_NODES", 13)
    refuse_swollen(PATH, data)
    monkeypatch.setattr(message_limits, "MOST_NODES", 12)
    with pytest.raises(FileDamagedError, match=r"model\.onnx: got more than 12 nodes, expected a whole ONNX file"):
        refuse_swollen(PATH, data)


@pytest.mark.parametrize(
    "data",
    [
        field(14, b""),
        field(8, b""),
        field(25, b""),
        field(7, field(5, b"")),
        field(7, field(13, b"")),
        field(7, field(1, field(5, b""))),
        field(7, field(12, field(2, field(1, field(2, field(1, b"")))))),
    ],
    ids=["metadata", "opsets", "functions", "initializers", "value-infos", "attributes", "dims"],
)
def test_parts_of_every_kind_count(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(message_limits, "MOST_PARTS", 50)
    with pytest.raises(FileDamagedError, match=r"more than [0-9]+ parts"):
        refuse_swollen(PATH, data * 100)


def test_a_large_file_may_have_more_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_limits, "MOST_PARTS", 50)
    refuse_swollen(PATH, field(14, b"v" * 64) * 100)


def test_what_is_nested_too_deep_is_refused() -> None:
    data = field(1, b"")
    for _ in range(60):
        data = field(1, field(5, field(6, data)))
    with pytest.raises(FileDamagedError, match="nested deeper than 100 levels"):
        refuse_swollen(PATH, field(7, data))


def test_what_is_no_protobuf_is_refused() -> None:
    with pytest.raises(FileDamagedError, match="runs past the end"):
        refuse_swollen(PATH, b"\x3a\x7f")
