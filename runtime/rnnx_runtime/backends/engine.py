"""From a .plan to an engine: the library and the device that it needs, and proof that it holds what it promises.

One reader for `tensorrt` 10 and 11 and `tensorrt_rtx` 1, whose Python interfaces agree in all that is used here.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.cuda.devices import compute_capability, current_device, device_count, device_name
from rnnx_runtime.errors import BackendError, BackendUnavailable, ContractError
from rnnx_runtime.files.model_file import PlanFile
from rnnx_runtime.files.sidecar import Profile, ranges_of

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_DTYPES = {"FLOAT": "float32", "INT32": "int32", "INT64": "int64", "BOOL": "bool", "HALF": "float16"}


@dataclass(frozen=True, kw_only=True)
class LoadedEngine:
    """An engine whose inputs, outputs and profiles are the sidecar's, and what must outlive it.

    Fields are let go from the first to the last: the engine before its runtime, the runtime before its logger.
    """

    engine: Any
    runtime: Any
    logger: Any
    library: Any
    contract: Contract
    profiles: tuple[Profile, ...]
    device: str

    def is_on_host(self, name: str) -> bool:
        """Whether the engine reads or writes a tensor in host memory, as where a shape depends on its values."""
        host = self.library.TensorLocation.HOST
        return bool(self.engine.get_tensor_location(name) == host or self.engine.is_shape_inference_io(name))


def load_engine(name: str, model: PlanFile) -> LoadedEngine:
    """Load a plan with the library `tensorrt` or `tensorrt-rtx`.

    Raises:
        BackendUnavailable: a plan of the other library, the library or a GPU is missing, or either is not the one the
            plan was built for.
        BackendError: the library refused the plan.
        ContractError: the engine's inputs, outputs or profiles are not what its sidecar says.
    """
    _check_flavor(name, model)
    library = _library(name)
    _check_version(name, library, model)
    device_count()
    device = current_device()
    _check_target(name, compute_capability(device), model)
    logger = _logger(library)
    runtime, engine = _deserialize(library, logger, model)
    _check_signature(library, engine, model)
    _check_profiles(engine, model)
    return LoadedEngine(
        engine=engine,
        runtime=runtime,
        logger=logger,
        library=library,
        contract=model.contract,
        profiles=model.sidecar.profiles,
        device=device_name(device),
    )


def refusal(action: str, logger: Any, cause: Exception | None = None) -> BackendError:
    """What to raise when the library refuses: its own logged messages, which say more than its return value."""
    messages = list(logger.errors) + ([str(cause)] if cause else [])
    logger.errors.clear()
    return BackendError(
        f"TensorRT {action}",
        got="; ".join(messages) or "a refusal without a message",
        expected="success",
        remedy="load the model again; if it fails again, build the engine again on this machine",
    )


def _check_flavor(name: str, model: PlanFile) -> None:
    flavor = model.sidecar.flavor
    if name != flavor:
        raise BackendUnavailable(
            f"backend {name}",
            got=f"{model.path.name}, a plan for {flavor}",
            expected=f"a plan for {name}",
            remedy=f"load it on {flavor}, or build one with rnnx build-engine --flavor {name}",
        )


def _library(name: str) -> Any:
    """The library, the one place where it is imported."""
    module = _MODULES[name]
    try:
        return import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        raise BackendUnavailable(
            f"backend {name}",
            got=f"no {module} package" if missing else f"a broken {module} package ({error})",
            expected="it installed",
            remedy=f"pip install {'' if missing else '--force-reinstall '}'rnnx[{name}]'",
        ) from None


def _check_version(name: str, library: Any, model: PlanFile) -> None:
    # Plans run on the version that built them alone, unless built otherwise, which rnnx does not do.
    built = model.sidecar.version
    if library.__version__ != built:
        raise BackendUnavailable(
            f"backend {name}",
            got=f"{_MODULES[name]} {library.__version__}",
            expected=f"{built}, which built {model.path.name}",
            remedy=f"install {name} {built}, or build the engine again with rnnx build-engine",
        )


def _check_target(name: str, capability: str, model: PlanFile) -> None:
    targets = model.sidecar.targets
    if capability not in targets and "portable" not in targets:
        raise BackendUnavailable(
            f"backend {name}",
            got=f"a GPU of compute capability {capability}",
            expected=f"{' or '.join(targets)}, which {model.path.name} was built for",
            remedy="build the engine for this GPU with rnnx build-engine",
        )


def _logger(library: Any) -> Any:
    """A logger that keeps the last errors and prints nothing."""
    severity = library.ILogger.Severity
    kept = (severity.INTERNAL_ERROR, severity.ERROR)

    class Collector(library.ILogger):  # type: ignore[misc] # the library is known at run time alone
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, message: str) -> None:
            if severity in kept:
                self.errors.append(message)

    return Collector()


def _deserialize(library: Any, logger: Any, model: PlanFile) -> tuple[Any, Any]:
    action = f"loading {model.path.name}"
    try:
        runtime = library.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(model.data)
    except Exception as error:  # pybind11 turns a null pointer into TypeError or RuntimeError, by version
        raise refusal(action, logger, error) from error
    if engine is None:
        raise refusal(action, logger)
    return runtime, engine


def _check_signature(library: Any, engine: Any, model: PlanFile) -> None:
    mode = library.TensorIOMode
    for side, wanted, declared in (
        ("inputs", mode.INPUT, model.contract.inputs),
        ("outputs", mode.OUTPUT, model.contract.outputs),
    ):
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        symbols = {spec.name: spec.dims for spec in declared}
        # A whole model's output may be of a size that the engine alone, or the contract alone, can tell.
        open_sizes = wanted == mode.OUTPUT and model.contract.bare is None
        actual = {
            name: _spec(engine, name, symbols.get(name, ()), open_sizes=open_sizes)
            for name in names
            if engine.get_tensor_mode(name) == wanted
        }
        if actual != {spec.name: spec for spec in declared}:
            raise ContractError(
                f"{side} of {model.path}",
                got=_listing(actual.values()),
                expected=_listing(declared),
                remedy="the engine and its sidecar disagree: build the engine again with rnnx build-engine",
            )


def _spec(engine: Any, name: str, declared: tuple[str | int, ...], *, open_sizes: bool) -> TensorSpec:
    """An engine's tensor with its dynamic dims, -1, under the names that the contract gives them.

    With `open_sizes` a size of the contract stands where the engine has a dynamic dim, too.
    """
    dtype = engine.get_tensor_dtype(name).name
    dims: tuple[str | int, ...] = tuple(int(size) for size in engine.get_tensor_shape(name))
    if len(dims) == len(declared):
        # A symbol may be a fixed size in the engine, where all profiles agree on it; the profiles guard it.
        dims = tuple(
            there if (isinstance(there, str) and here != 0) or (open_sizes and here == -1) else here
            for here, there in zip(dims, declared, strict=True)
        )
    return TensorSpec(name=name, dtype=_DTYPES.get(dtype, dtype.lower()), dims=dims)


def _listing(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs) or "none"


def _check_profiles(engine: Any, model: PlanFile) -> None:
    declared = [_profile_shapes(profile, model.contract) for profile in model.sidecar.profiles]
    actual = [
        {
            spec.name: [tuple(map(int, dims)) for dims in engine.get_tensor_profile_shape(spec.name, index)]
            for spec in model.contract.inputs
        }
        for index in range(engine.num_optimization_profiles)
    ]
    if actual != declared:
        raise ContractError(
            f"profiles of {model.path}",
            got=f"{len(actual)} in the engine: {actual}",
            expected=f"{len(declared)} as in its sidecar: {declared}",
            remedy="the engine and its sidecar disagree: build the engine again with rnnx build-engine",
        )


def _profile_shapes(profile: Profile, contract: Contract) -> dict[str, list[tuple[object, ...]]]:
    """Each input's min, opt and max shape as its profile says."""
    return {
        spec.name: [tuple(getattr(own, bound) for own in ranges_of(profile, spec)) for bound in ("min", "opt", "max")]
        for spec in contract.inputs
    }
