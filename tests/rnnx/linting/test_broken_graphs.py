"""Right graphs and what becomes of them when one thing breaks: no rule speaks of the one, and one names the other."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.examined_files.bases import BASES
from tests.examined_files.broken import BROKEN, UNNAMED
from tests.examined_files.graph_text import GraphText

from rnnx.linting.examination import doctor, examine

FIXTURES = Path(__file__).parents[2] / "fixtures/tf2onnx"

LOADING = {"not-loadable", "invalid"}


@pytest.mark.parametrize("name", BASES)
def test_a_right_graph_has_neither_errors_nor_warnings(name: str) -> None:
    assert {own.severity for own in examine(BASES[name]().checked())} <= {"info"}


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.onnx")), ids=lambda path: path.stem)
def test_what_tf2onnx_writes_has_neither_errors_nor_warnings(path: Path) -> None:
    assert {own.severity for own in examine(onnx.load(path))} <= {"info"}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_broken_graph_is_named_by_its_kind(tmp_path: Path, make: Callable[[], GraphText]) -> None:
    model, rules = make().model(), set(BROKEN[make])
    if rules & LOADING:
        onnx.save(model, tmp_path / "model.onnx")
        findings = doctor(tmp_path / "model.onnx").findings
    else:
        findings = examine(model)
    assert bool({own.rule for own in findings} & rules) == (make.__name__ not in UNNAMED)


def test_an_edit_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'nowhere' in the graph"):
        next(iter(BASES.values()))().edited(("nowhere", ""))


@pytest.mark.parametrize(
    ("name", "recurrence"),
    [("gru", "GRU"), ("gru-reset-before", "GRU"), ("lstm-hard-sigmoid", "LSTM"), ("rnn", "RNN"), ("rnn-relu", "RNN")],
)
def test_the_cell_in_a_loop_of_tf2onnx_is_told(name: str, recurrence: str) -> None:
    (found,) = [own for own in examine(onnx.load(FIXTURES / f"{name}.onnx")) if own.rule == "loop-for-cell"]
    assert f"one {recurrence} step" in found.message
