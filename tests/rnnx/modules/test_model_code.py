"""Modules whose own code raises: each is one error that names the line, and a bug of rnnx is none of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnx.errors import FactoryError, OptionError
from rnnx.exporting.factory_export import export_factory
from rnnx.modules.factories import importable, is_factory, make_model
from rnnx.modules.model_code import model_code, reason_of

MODELS = """
import sys
import torch
from torch import nn

def boom(*_, **__):
    raise ValueError("boom\\nand more")

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4)
        self.example = (torch.zeros(2, 1, 3),)
    @property
    def example_inputs(self): return self.example
    def forward(self, x): return self.lstm(x)[0]

class NoExample(Base):
    example_inputs = None
class Eval(Base):
    eval = boom
class Train(Base):
    train = boom
class Modules(Base):
    modules = boom
class Parameters(Base):
    named_parameters = boom
class Class(Base):
    __class__ = property(boom)
class Training(Base):
    training = property(boom, lambda self, value: None)
class Example(Base):
    example_inputs = property(boom)
class Forward(Base):
    forward = property(boom)
class Exits(Base):
    def forward(self, x): sys.exit(3)
class BaseError(Base):
    def forward(self, x): raise type("Own", (BaseException,), {})("boom")
class Hash(Base):
    __hash__ = boom
class Equal(Base):
    def __eq__(self, other): return self is other
class Interrupted(Base):
    def forward(self, x): raise KeyboardInterrupt

class Wordless(Exception):
    def __str__(self): raise RuntimeError("none")
def wordless(): raise Wordless
def base_error(): raise type("Own", (BaseException,), {})("boom")
class Stranger:
    __class__ = property(boom)
def stranger(): return Stranger()
class Pair(tuple):
    def __len__(self): boom()
def pair(): return Pair((1, 2))
"""


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "odd_models.py").write_text(MODELS, encoding="utf-8")
    with importable(tmp_path):
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Eval", "ValueError: boom from"),
        ("Train", "ValueError: boom from"),
        ("Modules", "ValueError: boom from"),
        ("Parameters", "ValueError: boom from"),
        ("Class", "ValueError: boom from"),
        ("Training", "ValueError: boom from"),
        ("Example", "ValueError: boom from"),
        ("Forward", "ValueError: boom from"),
        ("Hash", "ValueError: boom from"),
        ("Exits", "SystemExit: 3 from"),
        ("BaseError", "Own: boom from"),
        ("Equal", "a module that defines __eq__ alone"),
        ("wordless", "Wordless: no message from calling it"),
        ("base_error", "Own: boom from calling it"),
        ("stranger", "ValueError: boom from"),
        ("pair", "ValueError: boom from"),
    ],
)
def test_what_a_models_code_raises_is_one_error_with_its_line(models: Path, name: str, said: str) -> None:
    with pytest.raises(FactoryError) as caught:
        export_factory(f"odd_models:{name}", models / "model.onnx")
    assert said in str(caught.value)
    assert "odd_models.py, line" in str(caught.value) or name == "Equal"
    assert [path.name for path in models.glob("*.onnx")] == []


def test_an_interrupt_stays_one(models: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        export_factory("odd_models:Interrupted", models / "model.onnx")


def test_a_bug_of_rnnx_keeps_its_traceback(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnx.exporting.factory_export.inspect", None)  # which rnnx's own code then trips over
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'signature'"):
        export_factory("odd_models:NoExample", models / "model.onnx")


def test_errors_of_rnnx_pass_as_they_are() -> None:
    with pytest.raises(OptionError, match="mine"), model_code("m:f"):
        raise OptionError("mine", got="a", expected="b", remedy="c")


def test_a_long_reason_is_cut() -> None:
    assert len(reason_of(ValueError("x" * 10**6))) < 400
    assert reason_of(ValueError("\x1b[31m\nmore")) == r"ValueError: \x1b[31m"


@pytest.mark.parametrize("name", ["x" * 5000, ".".join(["x"] * 3000)], ids=["long", "many-parts"])
def test_a_name_that_no_file_can_have_is_refused_in_one_line(name: str) -> None:
    assert is_factory(f"{name}:M")
    with pytest.raises(FactoryError) as caught:
        make_model(f"{name}:M")
    assert len(str(caught.value)) < 8_000


@pytest.mark.parametrize("name", ["a\0b", "\ud800", ".a", "a.", "a b", "../a"])
def test_a_name_that_python_cannot_import_is_refused(name: str) -> None:
    with pytest.raises(FactoryError, match="a dotted name that Python can import"):
        make_model(f"{name}:M")
