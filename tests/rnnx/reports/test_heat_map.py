import pytest
from tests.rnnx.reports.made_reports import LIMIT, case, failing_report, passing_report, row

from rnnx.parity.parity import ParityReport, ParityRow
from rnnx.reports.heat_map import heat_map_of, share_text


def test_a_case_is_a_row_and_an_output_of_a_backend_a_column() -> None:
    found = heat_map_of(failing_report().parity)
    assert found is not None
    assert found.backends == {"pytorch-cpu": 2, "ort-cpu": 2, "tensorrt-rtx": 2}
    assert found.outputs == ("output", "hn") * 3
    texts = {name: [cell.text for cell in cells] for name, cells in found.rows.items()}
    assert texts["T1 B1"] == ["20 %", "20 %", "20 %", "✕ 4e5×", "✕ none", "20 %"]
    assert texts["T5 B3"] == ["20 %", "20 %", "20 %", "✕ 4e5×", "20 %", "20 %"]


def test_a_cell_tells_its_figures_or_its_problem() -> None:
    found = heat_map_of(failing_report().parity)
    assert found is not None
    first, lost = found.rows["T1 B1"][0], found.rows["T1 B1"][4]
    assert first.title.startswith("pytorch-cpu, output of T1 B1: max 2.00e-07, p99 1.00e-07")
    assert lost.title == "tensorrt-rtx, output of T1 B1: 3 of 24 values are NaN or Inf"
    assert (lost.level, lost.share) == ("nothing", None)


def test_a_case_that_a_backend_did_not_run_is_no_cell_of_another_shade() -> None:
    found = heat_map_of(passing_report().parity)
    assert found is not None
    cells = found.rows["T500 B64"]
    assert [cell.level for cell in cells] == ["missing"] * 4
    assert cells[2].title == "ort-cpu, T500 B64: no profile of the engine covers it"
    assert cells[0].title == "pytorch-cpu, T500 B64: not run"


def test_nothing_that_ran_is_no_map() -> None:
    assert heat_map_of(ParityReport(rows=(ParityRow(backend="ort-cuda", status="skip"),))) is None


@pytest.mark.parametrize(
    ("share", "text", "level"),
    [
        (0.0, "0 %", "within-1"),
        (0.2, "20 %", "within-1"),
        (0.201, "21 %", "within-2"),
        (0.999, "100 %", "within-5"),
        (1.0, "100 %", "within-5"),
        (1.01, "✕ 1.0×", "beyond-1"),
        (9.94, "✕ 9.9×", "beyond-1"),
        (321.4, "✕ 321×", "beyond-2"),
        (4e5, "✕ 4e5×", "beyond-3"),
        (4e12, "✕ 4e12×", "beyond-3"),
    ],
)
def test_shade_and_text_say_how_much_of_the_limit_is_used(share: float, text: str, level: str) -> None:
    assert share_text(share) == text
    found = heat_map_of(ParityReport(rows=(row("ort-cpu", (case("T1 B1", "output", share * LIMIT),)),)))
    assert found is not None
    assert found.rows["T1 B1"][0].level == level
