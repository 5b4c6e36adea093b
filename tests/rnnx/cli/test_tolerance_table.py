import pytest

from rnnx.cli.tolerance_table import print_tolerances
from rnnx.parity.tolerances import TOLERANCES


def test_every_precision_has_its_limit_and_its_whole_reason(capsys: pytest.CaptureFixture[str]) -> None:
    print_tolerances()
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 100
    flat = " ".join(out.split())
    for precision, tolerance in TOLERANCES.items():
        assert f"{precision}: {tolerance.rule}" in flat
        assert " ".join(tolerance.reason.split()) in flat
