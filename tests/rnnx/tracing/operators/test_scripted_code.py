import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.rnnx.tracing.small_models import sequence
from torch import Tensor, nn

from rnnx.errors import ExportError
from rnnx.tracing.exporting import export_model
from rnnx.tracing.operators.scripted_code import python_functions, python_module
from rnnx_runtime import load


def _normed_in_python(x: Tensor, epsilon: float) -> Tensor:
    steps = torch.arange(x.size(1), dtype=torch.float32)
    return x / (x.std(1, keepdim=True) + epsilon) + steps[None, :, None]


def scripted(code: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(code)


_normed = scripted(_normed_in_python)


class _Inner(nn.Module):
    __constants__ = ("gain",)

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = 2.0, 3
        self.front = nn.Sequential(nn.Conv1d(5, 5, 3, padding=1, bias=False), nn.BatchNorm1d(5), nn.ReLU())
        self.layers = nn.ModuleList([nn.Linear(5, 5), nn.LayerNorm(5)])
        self.gru = nn.GRU(5, 8, batch_first=True, bidirectional=True)
        self.register_buffer("offset", torch.ones(16))
        self.offset: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x.transpose(1, 2)).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        y, _ = self.gru(x)
        result: Tensor = y * self.gain + self.shift + self.offset
        return result


class _Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _normed(self.inner(x), 1.0)  # so large that no small deviation magnifies what rounding leaves
        return result


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "inside"])
def test_scripted_code_is_exported_as_the_python_it_was_made_of(whole: bool, tmp_path: Path) -> None:
    given = scripted(_Inner().eval()) if whole else _Outer(scripted(_Inner().eval()))
    report = export_model(given.eval(), (sequence(2, 4),), tmp_path / "m.onnx")
    assert report.contract.inputs[0].dims == ("B", "T", 5)
    with load(report.path, "ort-cpu") as session:
        for batch, time in ((1, 2), (3, 7)):
            x = sequence(batch, time)
            assert np.allclose(session.run(x.numpy())[0], given(x).detach().numpy(), atol=1e-5)


def test_a_module_without_scripts_is_itself() -> None:
    module = _Outer(_Inner())
    assert python_module(module) is module


def test_the_copy_has_the_modules_own_parameters() -> None:
    given = nn.Sequential(nn.Linear(5, 5), scripted(nn.Linear(5, 5))).eval()
    made: Any = python_module(given)
    assert type(made[1]) is nn.Linear
    assert made[0].weight is given[0].weight
    assert isinstance(given[1], torch.jit.ScriptModule)


class _Function(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.act = nn.GRU(5, 8, batch_first=True), torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.gru(x)[0])


class _Changed(_Inner):
    """Scripted, and then its class in Python was changed."""


def test_a_class_that_cannot_do_without_what_scripting_drops_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"got a scripted module, and AttributeError: .*'act'.*state_dict\(\)"):
        export_model(scripted(_Function().eval()), (sequence(2, 3),), tmp_path / "m.onnx")


def test_a_class_that_gives_other_values_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = scripted(_Changed().eval())
    monkeypatch.setattr(_Changed, "forward", lambda self, x: self.gru(x)[0])
    with pytest.raises(ExportError, match=r"got a scripted module, and other values from its class"):
        export_model(given, (sequence(2, 3),), tmp_path / "m.onnx")


def test_functions_are_compiled_in_other_threads_and_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def python(x: Tensor, _: float) -> Tensor:
        called.append(threading.current_thread().name)
        return x

    monkeypatch.setattr(_normed, "_torchdynamo_inline", python)
    with python_functions():
        _normed(sequence(1, 3), 1.0)
        thread = threading.Thread(target=lambda: _normed(sequence(1, 3), 1.0))
        thread.start()
        thread.join()
    _normed(sequence(1, 3), 1.0)
    assert called == [threading.current_thread().name]
