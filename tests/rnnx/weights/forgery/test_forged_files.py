import sys

import pytest
from tests.rnnx.weights.forgery.campaign import outcomes

SEED, COUNT = 20_271, 300

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="time and memory are limited as on Linux")


def test_a_forged_file_is_refused_in_a_line_or_read_as_torch_reads_it() -> None:
    found = list(outcomes(SEED, 0, COUNT))
    assert [outcome["number"] for outcome in found] == list(range(COUNT))
    assert not [outcome for outcome in found if outcome["failure"]]
    read = {outcome["kind"] for outcome in found if not outcome["refused"]}
    assert {"pickle", "zip", "legacy", "safetensors"} <= read, "the grammar makes too little that is sound"


def test_a_process_that_dies_is_a_failure_and_the_files_after_it_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.rnnx.weights.forgery.campaign.SILENCE_SECONDS", 0.0)
    found = list(outcomes(SEED, 0, 2))
    assert [(outcome["number"], outcome["failure"]) for outcome in found] == [
        (0, "ended or hung the process"),
        (1, "ended or hung the process"),
    ]
