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
    monkeypatch.setitem(message_limits.MOST_FOREIGN, "NodeProto", 13)
    refuse_swollen(PATH, data)
    monkeypatch.setitem(message_limits.MOST_FOREIGN, "NodeProto", 12)
    words = r"model\.onnx: got more than 12 nodes, expected a graph that can be tried out .*, a Scan or a Loop"
    with pytest.raises(FileDamagedError, match=words):
        refuse_swollen(PATH, data)


@pytest.mark.parametrize(
    "data",
    [
        field(14, b"") * 100,
        field(8, b"") * 100,
        field(25, b"") * 100,
        field(7, field(5, b"") * 100),
        field(7, field(13, b"") * 100),
        field(7, field(1, field(5, b"")) * 100),
        field(7, field(12, field(2, field(1, field(2, field(1, b""))))) * 100),
    ],
    ids=["metadata", "opsets", "functions", "initializers", "value-infos", "attributes", "dims"],
)
def test_parts_of_every_kind_count(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(message_limits, "MOST_PARTS", 50)
    with pytest.raises(FileDamagedError, match=r"more than [0-9]+ parts"):
        refuse_swollen(PATH, data)


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


def test_a_seal_which_can_be_forged_allows_no_more_nodes_but_more_weights() -> None:
    seal = field(14, field(2, b'"sha256_of_this_file": "'))
    refuse_swollen(PATH, _in_graph(field(5, b"") * 20_001) + seal)
    with pytest.raises(FileDamagedError, match="more than 8,000 nodes"):
        refuse_swollen(PATH, _in_graph(field(1, field(4, b"Relu")) * 8_000) + seal)


def _in_graph(data: bytes) -> bytes:
    return field(7, field(1, field(4, b"Relu")) + data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (field(14, field(1, b"key") + field(2, b"v" * 9_000_000)), "bytes of names, documentation and metadata"),
        (field(6, b"d" * 9_000_000), "bytes of names, documentation and metadata"),
        (field(2, b"p" * 70_000), "a name of 70,000 bytes"),
        (_in_graph(field(1, field(4, b"O" * 70_000))), "a name of 70,000 bytes"),
        (_in_graph(field(5, field(8, b"w" * 70_000))), "a name of 70,000 bytes"),
        (_in_graph(field(1, field(5, field(6, field(2, b"g" * 70_000))))), "a name of 70,000 bytes"),
        (_in_graph(field(1, field(1, b"x") * 10_001)), "more than 10,000 names in one part"),
        (_in_graph(field(1, field(5, field(8, b"\x01" * 600_000)))), "more than 524,288 bytes of whole numbers"),
        (_in_graph(field(1, field(5, b"\x40\x01" * 600_000))), "more than 524,288 bytes of whole numbers"),
        (_in_graph(field(5, field(1, b"\x01" * 600_000))), "more than 524,288 bytes of whole numbers"),
        (_in_graph(field(5, field(7, b"\x01" * 4_200_000))), "more than 4,194,304 bytes of whole numbers"),
        (_in_graph(b"") * 2, "more than one graph"),
        (_in_graph(field(13, b"") * 20_001), "more than 20,000 of ValueInfoProto"),
        (_in_graph(field(5, b"") * 20_001), "more than 20,000 tensors"),
        (_in_graph(field(15, b"") * 1_001), "more than 1,000 of SparseTensorProto"),
        (_in_graph(field(1, field(5, field(9, b"") * 200_001))), "more than 200,000 strings"),
        (_in_graph(field(5, field(6, b"") * 200_001)), "more than 200,000 strings"),
    ],
    ids=[
        "metadata", "documentation", "producer", "operator", "weight", "subgraph", "inputs", "packed-ints",
        "ints-one-by-one", "dims", "values", "graphs", "value-infos", "tensors", "sparse", "strings", "string-data",
    ],
)  # fmt: skip
def test_what_no_model_has_so_much_of_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(FileDamagedError, match=words):
        refuse_swollen(PATH, data)


def test_labels_and_a_vocabulary_in_the_metadata_pass() -> None:
    refuse_swollen(PATH, _bytes() + field(14, field(1, b"tokenizer") + field(2, b"v" * 7_000_000)))


def test_documentation_of_every_node_passes_beside_weights() -> None:
    node = field(1, field(4, b"Relu") + field(6, b"File model.py, line 1\n" * 100))
    weights = field(5, field(9, bytes(2**24)))
    refuse_swollen(PATH, field(7, node * 5_000 + weights))
