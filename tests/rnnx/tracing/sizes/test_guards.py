from typing import Any

import pytest
import torch
from tests.rnnx.tracing.traced_forward import traced
from torch import SymBool, Tensor
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from rnnx.tracing.sizes.guards import SizeGuard, recorded_guards


def _found(forward: Any) -> tuple[list[SizeGuard], Any]:
    found: list[SizeGuard] = []

    class Recorded:
        def __enter__(self) -> None:
            self.own = recorded_guards()
            self.guards = self.own.__enter__()

        def __exit__(self, *reason: Any) -> None:
            self.own.__exit__(*reason)
            found.extend(self.guards)

    program = traced(forward, torch.randn(3, 6), Recorded())
    return found, next(iter(program.graph.nodes)).meta["val"].shape[1].node.expr


def _on_parity(x: Tensor) -> Tensor:
    return x * 2 if x.size(1) % 2 else x


def _on_one(x: Tensor) -> Tensor:
    return x * 2 if x.size(1) == 1 else x


def _by_int(x: Tensor) -> Tensor:
    return x[:, : int(x.size(1) / 2)]


@pytest.mark.parametrize(
    ("forward", "holding", "failing", "code"),
    [
        (_on_parity, 8, 7, "if x.size(1) % 2"),
        (_on_one, 2, 1, "if x.size(1) == 1"),
        (_by_int, 7, 8, "int(x.size(1) / 2)"),
    ],
    ids=["remainder", "one", "int"],
)
def test_a_line_that_asks_about_a_size_leaves_a_guard(forward: Any, holding: int, failing: int, code: str) -> None:
    guards, time = _found(forward)
    own = next(guard for guard in guards if guard.is_own)
    assert (own.holds({time: holding}), own.holds({time: failing})) == (True, False)
    assert code in own.code
    assert __file__ in own.line


def test_what_an_operator_asks_is_not_the_lines_own() -> None:
    guards, _ = _found(lambda x: torch.tensor_split(x, 3, 1)[0])
    assert guards
    assert not any(guard.is_own for guard in guards)


def test_pytorch_is_as_it_was() -> None:
    before = ShapeEnv._log_guard, SymBool.__bool__
    _found(_on_parity)
    assert (ShapeEnv._log_guard, SymBool.__bool__) == before
