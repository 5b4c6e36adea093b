import json
from pathlib import Path

import onnx
import pytest
from onnx import helper
from torch import nn

import rnnx


@pytest.mark.parametrize(
    ("schema", "told"),
    [(None, []), (1, ["it is of schema 1"]), (2, ["it is of schema 2"]), ("2", [])],
    ids=["own", "1", "2", "text"],
)
def test_a_contract_of_another_schema_is_told(tmp_path: Path, schema: object, told: list[str]) -> None:
    path = rnnx.export(nn.GRU(3, 4), tmp_path / "model.onnx").path
    model = onnx.load(path)
    contract = json.loads({own.key: own.value for own in model.metadata_props}["rnnx"])
    del model.metadata_props[:]
    helper.set_model_props(model, {"rnnx": json.dumps(contract if schema is None else contract | {"schema": schema})})
    onnx.save(model, path)
    found = [own.message for own in rnnx.doctor(path).findings if own.rule == "older-contract"]
    assert [message.split(",")[0] for message in found] == told
