"""A TensorRT library in NumPy: it computes the contract's maths and refuses calls in an order TensorRT refuses.

It has the shape of what the three real libraries share; what it cannot show is how they behave on a device.
"""

import hashlib
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.contracts import changed

import rnnx_runtime
from rnnx.truths.cases import random_feeds
from rnnx.truths.reference import evaluate
from rnnx.weights.recurrence import RecurrentModule
from rnnx.weights.weights import DirectionWeights, RecurrentWeights
from rnnx_runtime import Contract, Session, State
from rnnx_runtime.files.sidecar import Flavor, Profile, Range, Sidecar, sidecar_path, text_from_sidecar

PLAN = b"the bytes of an engine"
VERSION = "1.2.3.4"
MODULES: dict[Flavor, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
SMALL: Profile = {"B": Range(min=1, opt=1, max=2), "T": Range(min=1, opt=2, max=8)}
LARGE: Profile = {"B": Range(min=1, opt=16, max=32), "T": Range(min=1, opt=50, max=100)}

ERROR, WARNING = "ERROR", "WARNING"


class FakeEngine:
    """`ICudaEngine` over `rnnx.truths.reference`.

    Addresses are looked up in the fake CUDA runtime, host memory for the tensors in `on_host` alone, and the maths
    happens when the stream is synchronized. The methods named in `refused` answer False and log why; `calls` are the
    calls of all contexts, `contexts` those that were made and `alive` those still there.
    """

    def __init__(self, cudart: Any, contract: Any, profiles: tuple[Profile, ...]) -> None:
        self.cudart, self.contract, self.profiles = cudart, contract, profiles
        self.weights = _weights(contract) if contract.bare else None
        self.specs = {spec.name: spec for spec in (*contract.inputs, *contract.outputs)}
        self.num_io_tensors = len(self.specs)
        self.num_optimization_profiles = len(profiles)
        self.on_host: set[str] = set()
        self.log: Callable[[str, str], None] = lambda severity, message: None
        self.calls: list[str] = []
        self.contexts = 0
        self.alive: weakref.WeakSet[FakeContext] = weakref.WeakSet()
        self.addresses: dict[str, int] = {}  # of the last execution
        self.capturable: bool | None = None  # None: a library that cannot say
        self.refused: set[str] = set()
        self.unspecified: list[str] = []
        weakref.finalize(self, cudart.calls.append, "engine destroyed")

    def get_tensor_name(self, index: int) -> str:
        name: str = list(self.specs)[index]
        return name

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name in {spec.name for spec in self.contract.inputs} else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        names = {"float32": "FLOAT", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
        return SimpleNamespace(name=names[self.specs[name].dtype])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(-1 if isinstance(dim, str) else dim for dim in self.specs[name].dims)

    def get_tensor_location(self, name: str) -> str:
        return "HOST" if name in self.on_host else "DEVICE"

    def is_shape_inference_io(self, name: str) -> bool:
        return name in self.on_host

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [self._sizes_in(self.profiles[index], name, bound) for bound in ("min", "opt", "max")]

    def _sizes_in(self, profile: Profile, name: str, bound: str) -> tuple[int, ...]:
        return tuple(getattr(profile[d], bound) if isinstance(d, str) else d for d in self.specs[name].dims)

    def computed(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """The outputs for these inputs."""
        assert self.weights is not None
        return evaluate(self.weights, self.contract.layer(), feeds, np.float32)

    def create_runtime_config(self) -> Any:
        return FakeSettings()

    def create_execution_context(self, settings: Any = None) -> Any:
        self.contexts += 1
        context = FakeContext(self, settings)
        self.alive.add(context)
        if self.capturable is not None:
            context.is_stream_capturable = lambda stream: stream in self.cudart.queues and self.capturable
        return context


class FakeSettings(SimpleNamespace):
    """`IRuntimeConfig` of TensorRT for RTX."""

    def create_runtime_cache(self) -> str:
        return "a cache"

    def set_runtime_cache(self, cache: str) -> bool:
        self.cache = cache
        return True


class FakeContext:
    """`IExecutionContext` of a `FakeEngine`; changes are counted, for a graph of a changed context is undefined."""

    def __init__(self, engine: FakeEngine, settings: Any) -> None:
        self.engine, self.settings = engine, settings
        self.profile = self.changes = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.is_inferred = self.has_run = False
        self.is_stream_capturable: Callable[[int], Any]
        weakref.finalize(self, engine.cudart.calls.append, "context destroyed")

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._changed(f"profile {index}")
        assert stream in self.engine.cudart.queues
        self.profile, self.shapes, self.addresses = index, {}, {}  # whether a real one keeps addresses is not said
        self.is_inferred = self.has_run = False
        return self._answer("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._changed(f"shape {name} {shape}")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.profile)
        assert all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)), "outside the active profile"
        self.shapes[name] = shape
        self.is_inferred = self.has_run = False
        return self._answer("set_input_shape")

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._changed(f"address {name}")
        assert address in self._memory(name), "an address of the wrong kind of memory"
        self.addresses[name] = address
        return self._answer("set_tensor_address")

    def infer_shapes(self) -> list[str]:
        self._changed("infer shapes")
        self.is_inferred = True
        on_host = [name for name in self.engine.on_host if self.engine.get_tensor_mode(name) == "INPUT"]
        assert all(name in self.addresses for name in on_host), "a shape tensor without an address"
        if "infer_shapes" in self.engine.refused:
            raise RuntimeError("shape inference failed")
        missing = [spec.name for spec in self.engine.contract.inputs if spec.name not in self.shapes]
        return missing + self.engine.unspecified

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert self.is_inferred, "shapes are known after infer_shapes"
        inputs = self.engine.contract.inputs
        sizes = {d: n for spec in inputs for d, n in zip(spec.dims, self.shapes[spec.name], strict=True)}
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.engine.specs[name].dims)

    def execute_async_v3(self, stream: int) -> bool:
        self.engine.calls.append("execute")
        assert set(self.addresses) == set(self.engine.specs), "a tensor without an address"
        assert self.is_inferred, "shapes that were not inferred"
        cudart = self.engine.cudart
        if stream in cudart.captures:
            assert self.has_run, "a capture before the first execution of a shape"
            assert not self.engine.on_host, "a graph over values that the host reads"
        self.has_run = True
        cudart.queue(stream, _Compute(self))
        return self._answer("execute_async_v3")

    def array(self, name: str, address: int) -> Any:
        """A tensor's values where they lie."""
        shape, spec = self.get_tensor_shape(name), self.engine.specs[name]
        size = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
        return self._memory(name)[address][:size].view(spec.dtype).reshape(shape)

    def _memory(self, name: str) -> Any:
        return self.engine.cudart.host if name in self.engine.on_host else self.engine.cudart.device

    def _changed(self, call: str) -> None:
        self.engine.calls.append(call)
        self.changes += 1

    def _answer(self, method: str) -> bool:
        refused = method in self.engine.refused
        if refused:
            self.engine.log(WARNING, "a warning that explains nothing")
            self.engine.log(ERROR, f"{method}: no, because")
        return not refused


class _Compute:
    """A queued execution, with the addresses that its context had when it was queued."""

    def __init__(self, context: FakeContext) -> None:
        self._context = weakref.ref(context)
        self._changes = context.changes
        self._bound = dict(context.addresses)
        self.addresses = tuple(self._bound.values())

    def __call__(self) -> None:
        context = self._context()
        assert context is not None, "an execution whose context is gone"
        assert context.changes == self._changes, "an execution whose context was changed"
        engine = context.engine
        engine.addresses = self._bound
        feeds = {spec.name: context.array(spec.name, self._bound[spec.name]) for spec in engine.contract.inputs}
        for name, value in engine.computed(feeds).items():
            context.array(name, self._bound[name])[...] = value


class FakeLibrary(SimpleNamespace):
    """The module `tensorrt` or `tensorrt_rtx`; `engine` is what a plan deserializes to, None for a refusal."""

    def __init__(self, engine: FakeEngine | None) -> None:
        super().__init__()
        self.__version__ = VERSION
        self.engine = engine
        self.TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
        self.TensorLocation = SimpleNamespace(HOST="HOST", DEVICE="DEVICE")
        self.ILogger = type("ILogger", (), {"Severity": SimpleNamespace(INTERNAL_ERROR="INTERNAL_ERROR", ERROR=ERROR)})
        self.Runtime = self._runtime

    def _runtime(self, logger: Any) -> SimpleNamespace:
        def deserialize(data: bytes) -> FakeEngine | None:
            assert data == PLAN
            if self.engine is None:
                logger.log(ERROR, "the plan is of another planet")
            else:
                self.engine.log = logger.log
            return self.engine

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


class Bench:
    """A plan on disk, the fake library that reads it, and the fake GPU below both."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, cudart: Any, contract: Contract) -> None:
        self.path, self.cudart, self.contract = folder / "model.plan", cudart, contract
        self.small, self.large = SMALL, LARGE
        self._patch = patch
        self.use(SMALL, LARGE)

    def use(self, *profiles: Profile, flavor: Flavor = "tensorrt-rtx", **changes: Any) -> "Bench":
        """Set up an engine with these profiles, and a sidecar that says so but for the changes."""
        contract = self.contract
        used = tuple(
            {d: r for d, r in profile.items() if contract.layer().form == "encoder" or d == "B"} for profile in profiles
        )
        self.engine = FakeEngine(self.cudart, contract, used)
        self.library = FakeLibrary(self.engine)
        for module in MODULES.values():
            self._patch.setitem(sys.modules, module, None)
        self._patch.setitem(sys.modules, MODULES[flavor], self.library)
        sidecar = Sidecar(
            contract=contract,
            flavor=flavor,
            version=VERSION,
            targets=("portable",),
            tf32=False,
            profiles=used,
            plan_sha256=hashlib.sha256(PLAN).hexdigest(),
            onnx_sha256="cd" * 32,
        )
        self.path.write_bytes(PLAN)
        sidecar_path(self.path).write_text(text_from_sidecar(replace(sidecar, **changes)), encoding="utf-8")
        return self

    def load(self, backend: rnnx_runtime.BackendName | None = None) -> Session:
        """The plan as a session."""
        return rnnx_runtime.load(self.path, backend)

    def check(self, session: Session, time: int, batch: int) -> None:
        """Compare one call with the float64 reference."""
        feeds = random_feeds(self.contract.layer(), time, batch, seed=3)
        state = State(feeds["h0"], feeds.get("c0")) if "h0" in feeds else None
        output, last = session.run(feeds["x"], state, feeds.get("lengths"))
        actual: dict[str, Any] = {"output": output, "hn": last.h, "cn": last.c}
        assert self.engine.weights is not None
        for name, truth in evaluate(self.engine.weights, self.contract.layer(), feeds).items():
            np.testing.assert_allclose(actual[name], truth, atol=1e-5, err_msg=name)


def _weights(contract: Contract) -> RecurrentWeights:
    chance = np.random.default_rng(5)
    gates = (4 if contract.layer().cell == "lstm" else 3) * contract.layer().hidden_size

    def uniform(*shape: int) -> Any:
        return chance.uniform(-1, 1, shape).astype(np.float32)

    def direction(width: int) -> DirectionWeights:
        return DirectionWeights(
            w_ih=uniform(gates, width),
            w_hh=uniform(gates, contract.layer().hidden_size),
            b_ih=uniform(gates),
            b_hh=uniform(gates),
        )

    widths = [contract.input_size] + [contract.layer().directions * contract.layer().hidden_size] * (
        contract.layer().layers - 1
    )
    layers = tuple(tuple(direction(width) for _ in range(contract.layer().directions)) for width in widths)
    module: RecurrentModule = SimpleNamespace()  # type: ignore[assignment] # evaluate reads the contract alone
    return RecurrentWeights(module=module, directions=layers, sha256="")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_cudart: Any, contract: Contract) -> Bench:
    """A one-layer LSTM, I=3, H=4, with two profiles: `small` (B to 2, T to 8) and `large` (B to 32, T to 100)."""
    small = changed(contract, layers=1, directions=1, input_size=3)
    return Bench(tmp_path, monkeypatch, fake_cudart, small)
