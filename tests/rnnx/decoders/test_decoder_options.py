"""Options that contradict each other."""

from typing import Any

import pytest

from rnnx.decoders.decoder_options import DecoderOptions, check_options
from rnnx.errors import OptionError


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"form": "loop"}, "steps: got None, expected a whole number from 1", id="loop-without-steps"),
        pytest.param({"form": "unrolled", "steps": 0}, "steps: got 0", id="no-steps"),
        pytest.param({"form": "unrolled", "steps": True}, "steps: got True", id="steps-of-another-type"),
        pytest.param({"steps": 3}, "steps: got 3 for a step", id="step-with-steps"),
        pytest.param({"form": "loop", "steps": 3, "feed": "teacher"}, "feed: got teacher", id="teacher-in-a-loop"),
        pytest.param({"end_token": -1}, "end_token: got -1", id="negative-token"),
        pytest.param({"start_token": 1.0}, "start_token: got 1.0", id="token-of-another-type"),
        pytest.param({"pad_token": 0}, "pad_token: got no end token", id="pad-without-end"),
        pytest.param(
            {"form": "unrolled", "steps": 2, "feed": "teacher", "end_token": 1},
            "teacher forcing",
            id="teacher-with-end",
        ),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_options(DecoderOptions(**fields))


def test_usual_options_pass() -> None:
    check_options(DecoderOptions())
    check_options(DecoderOptions(form="loop", steps=32, start_token=1, end_token=2, pad_token=0))
    check_options(DecoderOptions(form="unrolled", steps=32, feed="teacher"))
