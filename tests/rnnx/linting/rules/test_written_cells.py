import time
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tests.rnnx.linting.rules.conftest import model_of
from torch import nn

import rnnx
from rnnx.linting.rules.scopes import scopes_of
from rnnx.linting.rules.written_cells import written_cells


def cells(model: onnx.ModelProto) -> list[str]:
    return [cell.operator for scope in scopes_of(model) for cell in written_cells(scope)]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("steps", [None, 1, 3])
@pytest.mark.parametrize(("cell", "operator"), [(nn.LSTMCell, "LSTM"), (nn.GRUCell, "GRU")], ids=["lstm", "gru"])
def test_the_steps_that_rnnx_writes_are_told(
    tmp_path: Path, cell: type[nn.RNNCellBase], operator: str, steps: int | None, bias: bool
) -> None:
    options: dict[str, Any] = {"form": "unrolled", "steps": steps} if steps else {}
    report = rnnx.export(cell(3, 4, bias=bias), tmp_path / "m.onnx", rnnx.ExportOptions(**options))  # type: ignore[call-arg]
    assert cells(onnx.load(report.path)) == [operator] * (steps or 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("cell", "operator"), [(nn.LSTMCell, "LSTM"), (nn.GRUCell, "GRU")], ids=["lstm", "gru"])
def test_the_steps_that_torch_onnx_writes_are_told(tmp_path: Path, cell: type[nn.RNNCellBase], operator: str) -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell: Any = cell(3, 4)  # type: ignore[call-arg]

        def forward(self, x: torch.Tensor) -> Any:
            state = None
            for now in (x[0], x[1]):
                state = self.cell(now, state)
            return state

    torch.onnx.export(Decoder().eval(), (torch.randn(2, 1, 3),), tmp_path / "m.onnx", dynamo=False)
    assert cells(onnx.load(tmp_path / "m.onnx")) == [operator] * 2


@pytest.mark.parametrize(
    "nodes",
    [
        "a = Sigmoid (x)\nb = Tanh (x)\ny = Mul (a, b)",
        "a = Sigmoid (x)\nb = Mul (a, x)\ny = Tanh (b)",
        "a = Sigmoid (x)\nb = Tanh (x)\nc = Mul (a, x)\nd = Mul (a, b)\ny = Add (c, d)",
    ],
    ids=["gated-linear-unit", "gated-tanh", "highway"],
)
def test_other_gates_are_no_cells(nodes: str) -> None:
    assert cells(model_of(f"g (float[N] x) => (float[N] y) {{ {nodes} }}")) == []


GRU_BEFORE = """
    rz = Gemm (x, w)
    r, z = Split <axis = 1> (rz)
    sr = Sigmoid (r)
    sz = Sigmoid (z)
    reset = Mul (sr, h)
    back = MatMul (reset, u)
    inner = Add (x, back)
    n = Tanh (inner)
    left = Sub (one, sz)
    new = Mul (left, n)
    kept = Mul (sz, h)
    y = Add (new, kept)
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [(("", ""), ["GRU"]), (("reset = Mul (sr, h)", "reset = Identity (h)"), [])],
    ids=["reset-before", "no-reset-gate"],
)
def test_a_gru_that_resets_before_the_product_is_told_by_its_reset_gate(
    change: tuple[str, str], expected: list[str]
) -> None:
    nodes = GRU_BEFORE.replace(*change) if change[0] else GRU_BEFORE
    text = f"g (float[B,8] x, float[B,8] h, float[8,16] w, float[8,8] u, float one) => (float[B,8] y) {{ {nodes} }}"
    assert cells(model_of(text)) == expected


def test_sums_that_share_their_parts_are_looked_at_once() -> None:
    chain = "a0 = Add (x, y)\na1 = Add (a0, x)\n"
    chain += "".join(f"a{n} = Add (a{n - 1}, a{n - 2})\n" for n in range(2, 3_000))
    text = f"g (float[B,8] x, float[B,8] h, float[8,16] w, float[8,8] u, float one) => (float[B,8] y) {{ {GRU_BEFORE} "
    start = time.process_time()
    assert set(cells(model_of(f"{text} {chain} }}"))) == {"GRU"}
    assert time.process_time() - start < 2


def rnn_steps(weight: str = "r") -> str:
    return f"""g (float[B,3] x0, float[B,3] x1, float[B,4] h0) => (float[B,4] h2)
        <float[3,4] w = {{{", ".join(["0.1"] * 12)}}}, float[4,4] r = {{{", ".join(["0.1"] * 16)}}},
         float[4,4] other = {{{", ".join(["0.1"] * 16)}}}> {{
        a0 = MatMul (x0, w) b0 = MatMul (h0, r) s0 = Add (a0, b0) h1 = Tanh (s0)
        a1 = MatMul (x1, w) b1 = MatMul (h1, {weight}) s1 = Add (a1, b1) h2 = Tanh (s1) }}"""


def test_plain_rnn_steps_share_the_weight_of_their_states() -> None:
    assert cells(model_of(rnn_steps(), "", 17, "")) == ["RNN", "RNN"]
    assert cells(model_of(rnn_steps("other"), "", 17, "")) == []
