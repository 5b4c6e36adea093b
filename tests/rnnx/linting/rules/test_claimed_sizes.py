"""What a graph would make of constants alone is told before a backend makes it."""

from pathlib import Path

import pytest
from onnx import ModelProto
from tests.rnnx.linting.hostile_models import SIZES, sound

from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.linting.rules.claimed_sizes import MOST_CLAIMED, claimed_sizes
from rnnx.linting.rules.scopes import scopes_of
from rnnx_runtime import FileDamagedError

CLAIMS = [name for name in SIZES if name.split()[0] in ("ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Pad")]
WEIGHTS = [name for name in SIZES if name.startswith(("a weight", "W of"))]


@pytest.mark.parametrize("name", [*CLAIMS, "RandomNormal of 4 TiB"])
def test_a_claim_is_refused_with_its_node(name: str, tmp_path: Path) -> None:
    data = SIZES[name](tmp_path, 1.0)
    with pytest.raises(FileDamagedError, match=f"got {name.split()[0]} .*large.*, which makes .* values of constants"):
        parse_onnx(tmp_path / "model.onnx", data)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_that_claims_more_than_it_has_is_refused(name: str, tmp_path: Path) -> None:
    data = SIZES[name](tmp_path, 1.0)
    with pytest.raises(FileDamagedError, match=r"with other bytes than its shape .* takes"):
        parse_onnx(tmp_path / "model.onnx", data)


def test_a_mask_of_usual_size_is_none() -> None:
    model: ModelProto = sound()
    assert not [claim for scope in scopes_of(model) for claim in claimed_sizes(scope)]
    assert MOST_CLAIMED == 2**24
