"""The two TensorRT libraries as one: `tensorrt` 10 and 11, which build on the GPU they will run on, and
`tensorrt_rtx` 1, which builds for any GPU it knows, on a machine without one too.

Their Python modules have nearly one API, so code takes the module as `TensorRTLibrary.trt` and asks this class where
they differ. What only `tensorrt` reaches has never run on hardware; its tests stand on a fake of the module.
https://docs.nvidia.com/deeplearning/tensorrt/, https://docs.nvidia.com/deeplearning/tensorrt-rtx/
"""

import importlib.util
from dataclasses import dataclass
from typing import Any

from rnnx.errors import EngineError, MissingExtraError
from rnnx.extras import require
from rnnx_runtime.cuda.devices import compute_capability, device_count
from rnnx_runtime.errors import BackendUnavailable
from rnnx_runtime.files.sidecar import Flavor

_MODULES: dict[Flavor, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Each flavor's module; the extra that installs it has the flavor's own name."""


@dataclass(frozen=True, kw_only=True)
class TensorRTLibrary:
    """An imported TensorRT library and why it was chosen; `trt` is its Python module."""

    flavor: Flavor
    version: str
    chosen: str
    trt: Any

    @property
    def name(self) -> str:
        """Flavor and version, such as `tensorrt-rtx 1.7.1.116`."""
        return f"{self.flavor} {self.version}"

    @property
    def builds_for_its_own_gpu(self) -> bool:
        """Whether a plan runs only on the GPU that built it, so that targets cannot be chosen."""
        return self.flavor == "tensorrt"

    @property
    def targets(self) -> dict[str, Any]:
        """The compute capabilities a plan can be built for, such as `"8.9"`, with the library's own values."""
        members = {} if self.builds_for_its_own_gpu else self.trt.ComputeCapability.__members__
        digits = {name.removeprefix("SM"): value for name, value in members.items() if name.startswith("SM")}
        ordered = sorted(digits.items(), key=lambda item: int(item[0]))
        return {f"{number[:-1]}.{number[-1]}": value for number, value in ordered}

    def create_network(self, builder: Any) -> Any:
        """An empty network whose precision is what the ONNX graph's types say."""
        # The flag is needed in 10, where the other kind of network is the default; later ones know no other kind and
        # may drop it. Its number differs between versions.
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def set_targets(self, config: Any, targets: tuple[str, ...]) -> None:
        """Build for these compute capabilities.

        Raises:
            EngineError: the library took a target it offers and then refused it.
        """
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            if not config.set_compute_capability(self.targets[target], index):  # False, never an exception
                raise EngineError(
                    f"target {target}",
                    got=f"a refusal from {self.name}",
                    expected=f"one of {', '.join(self.targets)}",
                    remedy="build for this target alone, or for fewer",
                )

    def own_gpu(self) -> str:
        """The compute capability of the GPU that a build runs on.

        Raises:
            EngineError: this library builds for its own GPU, and there is none.
        """
        try:
            device_count()
            return compute_capability(0)  # a build has a thread of its own, and a new thread is on device 0
        except BackendUnavailable as error:
            raise EngineError(
                f"building with {self.name}",
                got=error.got,
                expected="the GPU that the engine is for",
                remedy=f"{error.remedy}, or use flavor tensorrt-rtx, which builds without a GPU",
            ) from None


def installed_flavors() -> tuple[Flavor, ...]:
    """The flavors whose module can be found; nothing is imported."""
    return tuple(flavor for flavor, module in _MODULES.items() if importlib.util.find_spec(module) is not None)


def open_library(flavor: Flavor | None = None) -> TensorRTLibrary:
    """The library of a flavor; left out, the one installed, and of both the one that this host can build with.

    Raises:
        MissingExtraError: it is not installed, or neither is.
        EngineError: it is installed and cannot be imported.
    """
    if flavor is not None:
        return _imported(flavor, "as asked for")
    installed = installed_flavors()
    if not installed:
        raise MissingExtraError("tensorrt_rtx or tensorrt", extra="tensorrt-rtx", purpose="building an engine")
    if len(installed) == 1:
        return _imported(installed[0], "the only one installed")
    if _has_gpu():
        return _imported("tensorrt", "both are installed and this host has a GPU")
    return _imported("tensorrt-rtx", "both are installed and this host has no GPU that tensorrt could build on")


def _imported(flavor: Flavor, chosen: str) -> TensorRTLibrary:
    module = _MODULES[flavor]
    try:
        trt = require(module, extra=flavor, purpose=f"building an engine of flavor {flavor}")
    except (ImportError, OSError) as error:
        raise EngineError(
            f"package {module}",
            got=f"{type(error).__name__}: {error}",
            expected="a package that can be imported",
            remedy=f"install it again: pip install --force-reinstall 'rnnx[{flavor}]'",
        ) from error
    return TensorRTLibrary(flavor=flavor, version=trt.__version__, chosen=chosen, trt=trt)


def _has_gpu() -> bool:
    try:
        return device_count() > 0
    except BackendUnavailable:
        return False
