import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from rnnx.errors import FactoryError
from rnnx.modules.factories import MadeModel, importable, is_factory, make_model

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(autouse=True)
def in_the_fixtures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(FIXTURES)
    with importable(FIXTURES):
        yield


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("taggers:make", True),
        ("models.taggers:Tagger.make", True),
        ("models/tagger.py:make", True),
        ("best.pt", False),
        ("folder/best.safetensors", False),
        (":make", False),
        ("taggers:", False),
        ("taggers:make()", False),
        ("C:\\models\\best.pt", False),
    ],
)
def test_a_factory_is_told_by_its_colon(source: str, expected: bool) -> None:
    assert is_factory(source) == expected


def test_a_file_of_that_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_factory("taggers:make")
    Path("taggers:make").touch()
    assert not is_factory("taggers:make")


def test_a_function_is_called() -> None:
    made = make_model("factories.taggers:make_tagger")
    assert type(made.module).__name__ == "Tagger"
    assert made.example_inputs is None


def test_a_class_is_called_and_an_instance_is_not() -> None:
    instance = make_model("factories.taggers:scorer").module
    assert instance is make_model("factories.taggers:scorer").module
    assert type(make_model("factories.taggers:Scorer").module) is type(instance)
    assert make_model("factories.taggers:Scorer").module is not instance


def test_an_attribute_of_an_attribute_is_found() -> None:
    assert isinstance(make_model("factories.taggers:scorer.encoder").module, nn.GRU)


def test_example_inputs_come_with_the_module() -> None:
    made = make_model("factories.taggers:make_tagger_with_example")
    assert isinstance(made.example_inputs, tuple)
    assert [tuple(tensor.shape) for tensor in made.example_inputs] == [(3, 7), (3,)]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param("x", "(x,)", id="tensor"),
        pytest.param("[x]", "(x,)", id="list"),
        pytest.param("(x, x)", "(x, x)", id="tuple"),
        pytest.param("{'x': x}", "{'x': x}", id="dict"),
    ],
)
def test_a_lone_tensor_is_the_only_argument(
    inputs: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.zeros(1)
    program = f"import torch\ndef make():\n    x = torch.zeros(1)\n    return torch.nn.GRU(1, 1), {inputs}\n"
    (tmp_path / "lone_tensor.py").write_text(program)
    monkeypatch.delitem(sys.modules, "lone_tensor", raising=False)
    with importable(tmp_path):
        assert make_model("lone_tensor:make").example_inputs == eval(expected, {"x": x})


def test_the_folder_is_importable_inside_the_block_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("import torch\nmake = torch.nn.GRU(1, 1)\n")
    with importable(tmp_path):
        assert isinstance(make_model("only_here:make"), MadeModel)
    monkeypatch.delitem(sys.modules, "only_here")
    assert str(tmp_path) not in sys.path
    with pytest.raises(FactoryError, match="got no module 'only_here'"):
        make_model("only_here:make")


def refusal(source: str) -> FactoryError:
    with pytest.raises(FactoryError) as caught:
        make_model(source)
    assert caught.value.subject == f"factory {source}"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("nobody.has.this:make", "nobody"),
        ("factories.tagers:make", "factories.tagers"),
        ("factories.taggers.more:make", "factories.taggers.more"),
    ],
)
def test_a_missing_module_is_named(source: str, missing: str) -> None:
    error = refusal(source)
    assert error.got == f"no module {missing!r}"
    assert str(FIXTURES) in error.expected


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("models/tagger.py:make", "write models.tagger:make"),
        ("models\\tagger.py:make", "write models.tagger:make"),
        ("my-models/tagger.py:make", "write such as models.tagger:make_tagger"),
        ("two words:make", "write such as models.tagger:make_tagger"),
    ],
)
def test_a_path_in_place_of_a_module_is_told_how_to_write_it(source: str, remedy: str) -> None:
    assert refusal(source).remedy == remedy


def test_a_missing_attribute_lists_similar_ones() -> None:
    error = refusal("factories.taggers:make_taggr")
    assert error.got == "no attribute 'make_taggr'"
    assert "make_tagger" in error.expected


def test_a_missing_attribute_lists_what_the_module_has() -> None:
    assert "such as Tagger, Scorer, make_tagger, " in refusal("factories.taggers:qqqq").expected


def test_an_attribute_that_a_module_imports_late_may_fail(tmp_path: Path) -> None:
    (tmp_path / "late_names.py").write_text("def __getattr__(name):\n    raise RuntimeError(f'no {name} today')\n")
    with importable(tmp_path):
        error = refusal("late_names:make")
    assert error.got.startswith("RuntimeError: no make today from importing it (")
    assert "late_names.py, line 2" in error.got


def test_a_module_may_take_its_folder_off_the_path(tmp_path: Path) -> None:
    (tmp_path / "own_path.py").write_text("import sys, torch\nsys.path.pop(0)\nmake = torch.nn.GRU(1, 1)\n")
    with importable(tmp_path):
        assert isinstance(make_model("own_path:make").module, nn.GRU)
    assert str(tmp_path) not in sys.path


def test_a_module_that_fails_when_it_is_imported_names_its_line() -> None:
    error = refusal("factories.needs_package:make")
    assert error.got.startswith("ModuleNotFoundError: No module named 'a_package_nobody_has' from importing it (")
    assert "needs_package.py, line 1: import a_package_nobody_has" in error.got


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "half_written.py").write_text("import torch\n\ndef make(:\n")
    with importable(tmp_path):
        error = refusal("half_written:make")
    assert error.got.startswith("SyntaxError: ")
    assert f"{tmp_path / 'half_written.py'}, line 3" in error.got


@pytest.mark.parametrize(
    ("factory", "got", "line"),
    [
        ("raises", "ValueError: hidden is -1 from calling it", 'raise ValueError(f"hidden is {hidden}'),
        ("fails_in_torch", "ValueError: hidden_size must be greater than zero", "return nn.LSTM(5, 0)"),
        ("exits", "SystemExit: no GPU here", 'sys.exit("no GPU here")'),
    ],
)
def test_a_factory_that_raises_names_its_own_last_line(factory: str, got: str, line: str) -> None:
    error = refusal(f"factories.taggers:{factory}")
    assert error.got.startswith(got)
    assert "taggers.py, line " in error.got
    assert line in error.got
    assert f"python -c 'import factories.taggers; factories.taggers.{factory}()'" in error.remedy


@pytest.mark.parametrize(
    ("factory", "got"),
    [
        ("gives_nothing", "None"),
        ("gives_a_class", "an object of type type"),
        ("gives_three", "a tuple of Scorer, NoneType, NoneType"),
        ("gives_later", "a coroutine"),
        ("gives_text_as_example", "example inputs of type str"),
        ("COUNT", "an object of type int"),
        ("needs_arguments", "one that needs the arguments words"),
    ],
)
def test_what_is_no_model_is_named(factory: str, got: str) -> None:
    assert refusal(f"factories.taggers:{factory}").got == got
