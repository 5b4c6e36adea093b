from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from tests.rnnx.model_export.configurations import Configuration, check_configuration, configurations


@pytest.mark.slow
@settings(deadline=None, database=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(own=configurations())
def test_any_layer_in_any_use_equals_pytorch_at_other_sizes(own: Configuration) -> None:
    with TemporaryDirectory() as folder:
        check_configuration(own, Path(folder))
