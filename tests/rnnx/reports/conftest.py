"""What the tests of reports share with those of timing."""

from tests.rnnx.timing.conftest import report as report
