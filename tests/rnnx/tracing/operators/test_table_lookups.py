"""Tokens are held to the rows of the table that they are looked up in: below 0, ONNX would take one from its end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnx_runtime
from rnnx.modules.model_options import ModelOptions
from rnnx.tracing.exporting import export_model


class Words(nn.Module):
    """Looks tokens up in two tables, one of which is smaller, and others after an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds, self.others = nn.Embedding(20, 4), nn.Embedding(12, 4), nn.Embedding(30, 4)
        self.gru = nn.GRU(12, 6, batch_first=True)

    def forward(self, tokens: Tensor, shifted: Tensor) -> Tensor:
        flat = tokens.reshape(-1)
        kinds = self.kinds(flat).reshape(*tokens.shape, 4)
        output: Tensor = self.gru(torch.cat([self.words(tokens), kinds, self.others(shifted + 10)], -1))[0]
        return output


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = torch.randint(0, 12, (2, 9)), torch.randint(-10, 20, (2, 9))
    file = tmp_path_factory.mktemp("words") / "words.onnx"
    return export_model(Words().eval(), inputs, file, ModelOptions(stateful=True)).path


def test_the_contract_has_the_smallest_table_of_an_input(path: Path) -> None:
    with rnnx_runtime.load(path) as session:
        assert session.spec.table_sizes == {"tokens": 12}


@pytest.mark.parametrize("wrong", [-1, -100, 12, 2**40])
def test_a_session_refuses_what_no_row_has(path: Path, wrong: int) -> None:
    tokens = np.zeros((2, 3), np.int64)
    with rnnx_runtime.load(path) as session:
        session.run({"tokens": tokens + 11, "shifted": tokens - 10})
        tokens[1, 2] = wrong
        with pytest.raises(rnnx_runtime.InputError, match=f"input 'tokens': got {wrong} in it, expected 0 to 11"):
            session.run({"tokens": tokens, "shifted": tokens})


def test_a_pool_refuses_it_at_the_push_and_goes_on(path: Path) -> None:
    with rnnx_runtime.StreamPool(rnnx_runtime.load(path)) as pool, pool.open() as stream:
        frame: dict[str, Any] = {"tokens": np.int64(3), "shifted": np.int64(-2)}
        before = stream.push(frame)
        with pytest.raises(rnnx_runtime.InputError, match="got -1 in it"):
            stream.push({**frame, "tokens": np.int64(-1)})
        assert before is not None
        stream.push(frame)
