"""The published schema of a contract: what exports write fits, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, ValidationError
from tests.rnnx.reports.test_json_schema import objects_in
from torch import Tensor, nn

import rnnx
from rnnx.reports.contract_schema import contract_schema
from rnnx_runtime.contract_json import json_from_contract
from rnnx_runtime.files.sidecar import Range, Sidecar, text_from_sidecar

PUBLISHED = Path(__file__).parents[3] / "docs" / "contract.schema.json"
WRITE = (
    "python -c 'import json; from rnnx.reports.contract_schema import contract_schema; "
    "print(json.dumps(contract_schema(), indent=2, ensure_ascii=False))' > docs/contract.schema.json"
)
VALIDATOR = Draft202012Validator(contract_schema())


class Tagger(nn.Module):
    """A whole model with lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.gru(x)[0])
        return scores


class Speller(nn.Module):
    """A decoder's step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell, self.head = nn.Embedding(11, 4), nn.GRUCell(4, 6), nn.Linear(6, 11)

    def forward(self, token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(self.embedding(token), state)
        return self.head(state), state


SPELT = (torch.tensor([1, 2]), torch.zeros(2, 6))

KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "layer": (lambda: nn.LSTM(3, 4, 2, bidirectional=True), rnnx.ExportOptions(lengths=True), {}),
    "step": (lambda: nn.RNNCell(3, 4), None, {}),
    "unrolled": (lambda: nn.LSTMCell(3, 4), rnnx.ExportOptions(form="unrolled", steps=3), {}),
    "model": (Tagger, rnnx.ModelOptions(stateful=True), {"example_inputs": (torch.randn(2, 5, 3),)}),
    "decoder": (Speller, rnnx.DecoderOptions(form="loop", steps=4, end_token=2), {"example_inputs": SPELT}),
}


@pytest.fixture(scope="module", params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The JSON value under `rnnx` in an exported file."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    build, options, example = KINDS[request.param]
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    rnnx.export(build().eval(), path, options, **example)
    return json.loads({own.key: own.value for own in onnx.load(path).metadata_props}["rnnx"])


def test_the_published_schema_is_that_of_the_contract() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == contract_schema(), f"write it again: {WRITE}"


def test_it_is_a_strict_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(contract_schema())
    assert all(one["additionalProperties"] is False and one["description"] for one in objects_in(contract_schema()))


def test_what_an_export_writes_fits(written: Any) -> None:
    VALIDATOR.validate(written)


@pytest.mark.parametrize("part", ["", "source", "streaming", "batching", "inputs", "recurrent"])
def test_an_unknown_key_does_not_fit(written: Any, part: str) -> None:
    changed = json.loads(json.dumps(written))
    own = changed[part] if part else changed
    (own[0] if isinstance(own, list) else own)["unknown"] = 1
    with pytest.raises(ValidationError, match="'unknown' was unexpected"):
        VALIDATOR.validate(changed)


@pytest.mark.parametrize("key", sorted({"schema", "inputs", "states", "batching", "decoder", "golden_sha256"}))
def test_a_missing_key_does_not_fit(written: Any, key: str) -> None:
    with pytest.raises(ValidationError, match=f"'{key}' is a required property"):
        VALIDATOR.validate({name: value for name, value in written.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"lengths": "x"}, {"inputs": [{"name": "x", "dtype": "str", "dims": [0]}]}, {"streaming": None}],
    ids=["older", "text", "tensor", "null"],
)
def test_another_value_does_not_fit(written: Any, change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(written | change)


def test_the_contract_in_a_sidecar_fits(tmp_path: Path) -> None:
    contract = rnnx.export(nn.GRU(3, 4), tmp_path / "model.onnx").contract
    sidecar = Sidecar(
        flavor="tensorrt",
        version="10.0",
        targets=("8.9",),
        tf32=False,
        profiles=({"B": Range(min=1, opt=2, max=4)},),
        plan_sha256="ab" * 32,
        onnx_sha256="cd" * 32,
        contract=contract,
    )
    data = json.loads(text_from_sidecar(sidecar))
    assert data["contract"] == json_from_contract(contract)
    VALIDATOR.validate(data["contract"])
