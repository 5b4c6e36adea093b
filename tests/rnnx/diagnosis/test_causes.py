import re

import pytest

from rnnx.diagnosis.causes import KNOWN_CAUSES


@pytest.mark.parametrize("name", KNOWN_CAUSES)
def test_a_cause_has_a_slug_tells_its_detail_and_says_what_to_do(name: str) -> None:
    cause = KNOWN_CAUSES[name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert cause.told("layer 1").endswith(": layer 1")
    assert cause.remedy
