from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rnnx.tracing.configurations import (
    KINDS,
    STATE_USES,
    Kind,
    StateUse,
    check_configuration,
    configurations,
)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("state", STATE_USES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_layer_in_any_use_equals_pytorch_at_other_sizes(kind: Kind, state: StateUse, packed: bool) -> None:
    @settings(deadline=None, database=None, derandomize=True, max_examples=2, suppress_health_check=[*HealthCheck])
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with TemporaryDirectory() as folder:
            check_configuration(data.draw(configurations(kind, state, packed=packed)), Path(folder))

    check()
