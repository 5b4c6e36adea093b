from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contracts import contract_of

from rnnx.engines.engine_options import EngineOptions, completed
from rnnx.engines.tensorrt_library import TensorRTLibrary
from rnnx.errors import OptionError
from rnnx_runtime.contract import Source
from rnnx_runtime.files.sidecar import Range

STEP = contract_of(
    form="step",
    cell="gru",
    input_size=10,
    hidden_size=20,
    projection_size=20,
    layers=1,
    directions=1,
    steps=None,
    batch_first=False,
    state_inputs=True,
    lengths=False,
    precision="float32",
    formulation="gemm-gates",
    source=Source(file="GRUCell", module="", weights_sha256="ab" * 32),
)
CAPABILITIES = SimpleNamespace(__members__={"NONE": 0, "SM75": 75, "SM89": 89, "SM120": 120})
RTX = TensorRTLibrary(
    flavor="tensorrt-rtx", version="1.7.1", chosen="", trt=SimpleNamespace(ComputeCapability=CAPABILITIES)
)
TENSORRT = TensorRTLibrary(flavor="tensorrt", version="10.13.0", chosen="", trt=None)


def test_a_default_profile_is_filled_in() -> None:
    assert completed(EngineOptions(), RTX, STEP).profiles == ({"B": Range(min=1, opt=8, max=64)},)


def test_given_profiles_stay() -> None:
    profiles = ({"B": Range(min=2, opt=2, max=2)},)
    assert completed(EngineOptions(profiles=profiles), RTX, STEP).profiles == profiles


def test_a_target_twice_is_one_target() -> None:
    assert completed(EngineOptions(targets=("12.0", "8.9", "12.0")), RTX, STEP).targets == ("12.0", "8.9")


@pytest.mark.parametrize("options", [{"workspace_mib": 1}, {"optimization_level": 0}, {"optimization_level": 5}])
def test_limits_are_inside(options: dict[str, Any]) -> None:
    completed(EngineOptions(**options), RTX, STEP)


@pytest.mark.parametrize(
    ("library", "options", "message"),
    [
        pytest.param(RTX, {"targets": ("9.0",)}, r"targets: got 9.0, expected one of 7.5, 8.9, 12.0", id="target"),
        pytest.param(RTX, {"targets": ("7.5",)}, "TensorRT has no float32 GEMM for 7.5", id="float32-on-7.5"),
        pytest.param(
            TENSORRT, {"targets": ("8.9",)}, "got 8.9 with tensorrt 10.13.0, expected no target", id="own-gpu"
        ),
        pytest.param(RTX, {"timing_cache": Path("c")}, "timing_cache: got it with tensorrt-rtx", id="rtx-cache"),
        pytest.param(
            TENSORRT, {"timing_cache": Path("no/c")}, "expected a file in a folder that exists", id="cache-at"
        ),
        pytest.param(TENSORRT, {"timing_cache": Path("/")}, "expected a file in a folder", id="cache-is-a-folder"),
        pytest.param(RTX, {"workspace_mib": 0}, "workspace_mib: got 0, expected a whole number", id="workspace"),
        pytest.param(RTX, {"optimization_level": 6}, "optimization_level: got 6, expected 0 to 5", id="level"),
        pytest.param(RTX, {"optimization_level": True}, "got True, expected 0 to 5", id="level-type"),
    ],
)
def test_what_does_not_fit_is_refused(library: TensorRTLibrary, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        completed(EngineOptions(**options), library, STEP)
