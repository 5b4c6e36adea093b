import sys
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rnnx.engines.tensorrt_library import TensorRTLibrary, installed_flavors, open_library
from rnnx.errors import EngineError, MissingExtraError

VERSIONS = {"tensorrt": "10.13.0", "tensorrt_rtx": "1.7.1"}

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make these modules, and no others, the TensorRT libraries installed; each is empty but for its version."""

    def make(*names: str) -> None:
        for name in VERSIONS:
            module: Any = ModuleType(name)
            module.__spec__, module.__version__ = ModuleSpec(name, None), VERSIONS[name]
            monkeypatch.setitem(sys.modules, name, module if name in names else None)

    return make


@pytest.fixture
def without_gpu(fake_cudart: Any) -> Any:
    fake_cudart.devices = 0
    return fake_cudart


def _library(**trt: Any) -> TensorRTLibrary:
    return TensorRTLibrary(flavor="tensorrt-rtx", version="1.7.1", chosen="", trt=SimpleNamespace(**trt))


def test_neither_installed_names_the_command(install: Install) -> None:
    install()
    assert installed_flavors() == ()
    with pytest.raises(MissingExtraError, match=r"pip install 'rnnx\[tensorrt-rtx\]'"):
        open_library()


@pytest.mark.parametrize(("module", "flavor"), [("tensorrt", "tensorrt"), ("tensorrt_rtx", "tensorrt-rtx")])
def test_the_only_one_installed_is_taken(install: Install, module: str, flavor: str) -> None:
    install(module)
    library = open_library()
    assert (library.flavor, library.version, library.chosen) == (flavor, VERSIONS[module], "the only one installed")
    assert library.trt is sys.modules[module]
    assert library.name == f"{flavor} {VERSIONS[module]}"


@pytest.mark.usefixtures("fake_cudart")
def test_of_both_a_gpu_decides_for_tensorrt(install: Install) -> None:
    install(*VERSIONS)
    assert installed_flavors() == ("tensorrt", "tensorrt-rtx")
    library = open_library()
    assert library.flavor == "tensorrt"
    assert "this host has a GPU" in library.chosen


@pytest.mark.usefixtures("without_gpu")
def test_of_both_no_gpu_decides_for_rtx(install: Install) -> None:
    install(*VERSIONS)
    library = open_library()
    assert library.flavor == "tensorrt-rtx"
    assert "no GPU" in library.chosen


def test_a_flavor_asked_for_is_taken_or_missed(install: Install) -> None:
    install("tensorrt_rtx")
    assert open_library("tensorrt-rtx").chosen == "as asked for"
    with pytest.raises(MissingExtraError, match=r"got no package tensorrt, .* pip install 'rnnx\[tensorrt\]'"):
        open_library("tensorrt")


def test_an_installed_library_that_cannot_be_imported_is_said(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("tensorrt")

    def broken(*_: object, **__: object) -> None:
        raise ImportError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr("rnnx.engines.tensorrt_library.require", broken)
    with pytest.raises(EngineError, match=r"package tensorrt: got ImportError: libnvinfer.so.10.*force-reinstall"):
        open_library()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, 2), ({"STRONGLY_TYPED": 0}, 1), ({"OTHER": 0}, 0)],
    ids=["10", "11", "without-the-flag"],
)
def test_networks_are_strongly_typed_by_the_flags_own_number(flags: dict[str, int], expected: int) -> None:
    library = _library(NetworkDefinitionCreationFlag=IntEnum("NetworkDefinitionCreationFlag", flags))
    assert library.create_network(SimpleNamespace(create_network=lambda given: given)) == expected


def test_targets_are_the_librarys_own_in_order() -> None:
    library = _library(
        ComputeCapability=IntEnum("ComputeCapability", {"NONE": 0, "CURRENT": 1, "SM120": 120, "SM89": 89})
    )
    assert list(library.targets.items()) == [("8.9", 89), ("12.0", 120)]
    assert TensorRTLibrary(flavor="tensorrt", version="10", chosen="", trt=None).targets == {}


@pytest.mark.parametrize("taken", [True, False])
def test_a_target_refused_with_false_is_an_error(taken: bool) -> None:
    config = SimpleNamespace(num_compute_capabilities=0, set_compute_capability=lambda value, index: taken)
    library = _library(ComputeCapability=IntEnum("ComputeCapability", {"SM89": 89}))
    if taken:
        library.set_targets(config, ("8.9",))
    else:
        with pytest.raises(EngineError, match=r"target 8.9: got a refusal from tensorrt-rtx 1.7.1"):
            library.set_targets(config, ("8.9",))
    assert config.num_compute_capabilities == 1


@pytest.mark.usefixtures("fake_cudart")
def test_the_own_gpu_is_its_compute_capability() -> None:
    assert _library().own_gpu() == "8.9"


@pytest.mark.usefixtures("without_gpu")
def test_no_own_gpu_is_an_error_with_the_way_out() -> None:
    with pytest.raises(EngineError, match=r"building with tensorrt-rtx 1.7.1: got 0 devices, .*flavor tensorrt-rtx"):
        _library().own_gpu()


@pytest.mark.tensorrt
def test_the_real_library_offers_the_known_targets() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    library = open_library("tensorrt-rtx")
    assert {"7.5", "8.0", "8.6", "8.9", "12.0"} <= set(library.targets)
