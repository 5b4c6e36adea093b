"""The sound files that the faults are made in, written once."""

import pytest
from tests.rnnx_runtime.faults.specimens import Specimen, exported_specimens, plan_specimens


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[Specimen]:
    """Models, a golden file and a snapshot."""
    return exported_specimens(tmp_path_factory.mktemp("specimens"))


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[Specimen]:
    """A real engine and its sidecar."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    return plan_specimens(tmp_path_factory.mktemp("plans"))
