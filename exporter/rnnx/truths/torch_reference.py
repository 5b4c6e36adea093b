"""PyTorch's own modules with a checkpoint's weights: the truth in float64, and the rows `pytorch-cpu`, `pytorch-cuda`.

https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, `GRU.html`, `RNN.html` and their cells' pages.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from rnnx.extras import require
from rnnx.truths.cases import Case
from rnnx.truths.truth import CaseTruth
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Recurrence
from rnnx_runtime.errors import BackendUnavailable

Precision = Literal["float32", "float64"]


class TorchReference:
    """A PyTorch layer or cell run as its contract says: `PackedSequence` for lengths, a loop for an unrolled decoder.

    `name` and `device` are a row's; a call goes from host memory to host memory, copies to a GPU and back included.
    """

    def __init__(
        self,
        weights: RecurrentWeights,
        contract: Recurrence,
        *,
        precision: Precision = "float32",
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        """Raises `BackendUnavailable` for CUDA without a usable device, `MissingExtraError` without torch."""
        self._torch = require("torch", extra="export", purpose="running PyTorch")
        self.name = f"pytorch-{device}"
        self.device = "CPU" if device == "cpu" else cuda_device(self._torch)
        self._contract = contract
        self._place = {"device": device, "dtype": getattr(self._torch, precision)}
        self._module = _module(self._torch, weights, contract, precision).to(device)

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One call over inputs that already are tensors: what a latency measurement repeats."""
        tensors = {name: self._tensor(name, value) for name, value in feeds.items()}
        return lambda: self._run(tensors)

    def prepare_on_device(self, feeds: Mapping[str, Array]) -> Callable[[], float] | None:
        """A call over tensors that lie on the GPU, which says the GPU's time in ms between two events; None on a CPU.

        https://docs.pytorch.org/docs/stable/generated/torch.cuda.Event.html
        """
        if self.device == "CPU":
            return None
        placed = self._placed({name: self._tensor(name, value) for name, value in feeds.items()})
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))

        def run() -> float:
            with self._torch.inference_mode(), self._full_float32():
                start.record()
                self._forward(placed)
                end.record()
            end.synchronize()
            return float(start.elapsed_time(end))

        return run

    def prepare_stream(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """Steps from the state that the last one gave, which stays a tensor; `x` is handed over at each."""
        tensors = {name: self._tensor(name, value) for name, value in feeds.items()}

        def step() -> None:
            values = self._run(tensors | {"x": self._tensor("x", feeds["x"])})
            tensors.update({f"{name[0]}0": value for name, value in values.items() if name != "output"})

        return step

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case."""
        values = self._run({name: self._tensor(name, value) for name, value in case.feeds.items()})
        return {name: value.numpy() for name, value in values.items()}

    def close(self) -> None:
        """Let go of the module."""
        self._module = None

    def _tensor(self, name: str, value: Array) -> Any:
        # pack_padded_sequence wants lengths as int64 in host memory, wherever the module is
        tensor = self._torch.from_numpy(np.ascontiguousarray(value))
        return tensor.long() if name == "lengths" else tensor.to(self._place["dtype"])

    def _run(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        with self._torch.inference_mode(), self._full_float32():
            output, state = self._forward(self._placed(tensors))
            h, c = state if isinstance(state, tuple) else (state, None)
            values = {"output": output, "hn": h, "cn": c}
            return {spec.name: values[spec.name].cpu() for spec in self._contract.outputs}

    def _placed(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v if k == "lengths" else v.to(self._place["device"]) for k, v in tensors.items()}

    def _forward(self, placed: Mapping[str, Any]) -> tuple[Any, Any]:
        run = _run_encoder if self._contract.form == "encoder" else _run_cell
        return run(self._torch, self._module, self._contract, placed)

    def _full_float32(self) -> contextlib.AbstractContextManager[Any]:
        """On CUDA, PyTorch lets cuDNN use TF32 by default; a float32 row must not."""
        if self.device == "CPU":
            return contextlib.nullcontext()
        flags: contextlib.AbstractContextManager[Any] = self._torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        return flags


def torch_truth(
    weights: RecurrentWeights,
    contract: Recurrence,
    cases: Sequence[Case],
    *,
    on_case: Callable[[], None] = lambda: None,
) -> list[CaseTruth]:
    """Each case with PyTorch's float64 outputs and the largest error of PyTorch's own float32 on the same inputs.

    `on_case` is called after each case.
    """
    double = TorchReference(weights, contract, precision="float64")
    single = TorchReference(weights, contract)
    found = []
    for case in cases:
        truth, own = double.outputs(case), single.outputs(case)
        errors = {name: float(np.abs(own[name] - value).max()) for name, value in truth.items()}
        found.append(CaseTruth(case=case, truth=truth, float32_error=errors))
        on_case()
    return found


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch limited to so many CPU threads inside the block, and as before after it."""
    torch = require("torch", extra="export", purpose="running PyTorch")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _module(torch: Any, weights: RecurrentWeights, contract: Recurrence, precision: Precision) -> Any:
    """The layer or cell; made without memory first, so that no random initialisation moves the caller's seed."""
    own = dataclasses.replace(weights.module, prefix="")
    build = getattr(torch.nn, own.type_name.removeprefix("nn."))
    stack: dict[str, Any] = {} if contract.nonlinearity is None else {"nonlinearity": contract.nonlinearity}
    if not own.is_cell:
        stack |= {"num_layers": own.layers, "bidirectional": own.directions == 2, "batch_first": contract.batch_first}
    if own.is_projected:
        stack["proj_size"] = own.projection_size
    with torch.device("meta"):
        module = build(own.input_size, own.hidden_size, bias=own.bias, dtype=getattr(torch, precision), **stack)
    module.load_state_dict(_state_dict(torch, weights, precision), assign=True)
    module.eval().requires_grad_(False)
    if own.is_projected:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # once a process: that oneDNN has no projection and another kernel runs
            module(torch.zeros(1, 1, own.input_size, dtype=getattr(torch, precision)))
    return module


def _state_dict(torch: Any, weights: RecurrentWeights, precision: Precision) -> dict[str, Any]:
    own = dataclasses.replace(weights.module, prefix="")
    fields = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh", "weight_hr": "w_hr"}
    return {
        key: torch.from_numpy(getattr(values, fields[name]).astype(precision))
        for layer, directions in enumerate(weights.directions)
        for direction, values in enumerate(directions)
        for name, key in own.keys(layer, direction).items()
    }


def _run_encoder(torch: Any, module: Any, contract: Recurrence, feeds: Mapping[str, Any]) -> tuple[Any, Any]:
    x, state = feeds["x"], _first_state(feeds)
    if "lengths" not in feeds:
        output, state = module(x, state)
        return output, state
    rnn, batch_first = torch.nn.utils.rnn, contract.batch_first
    packed = rnn.pack_padded_sequence(x, feeds["lengths"], batch_first=batch_first, enforce_sorted=False)
    output, state = module(packed, state)
    time = x.shape[1 if batch_first else 0]
    return rnn.pad_packed_sequence(output, batch_first=batch_first, total_length=time)[0], state


def _run_cell(torch: Any, module: Any, contract: Recurrence, feeds: Mapping[str, Any]) -> tuple[Any, Any]:
    state = _first_state(feeds)
    if contract.form == "step":
        return None, module(feeds["x"], state)
    hidden = []
    for x in feeds["x"]:
        state = module(x, state)
        hidden.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(hidden), state


def _first_state(feeds: Mapping[str, Any]) -> Any:
    if "h0" not in feeds:
        return None
    return (feeds["h0"], feeds["c0"]) if "c0" in feeds else feeds["h0"]


def cuda_device(torch: Any) -> str:
    """The GPU's name; raises BackendUnavailable without a usable one."""
    with warnings.catch_warnings(record=True) as said:  # an unusable driver is told as a warning
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return str(torch.cuda.get_device_name(0))
    build = "a build without CUDA" if torch.version.cuda is None else "no usable CUDA device"
    raise BackendUnavailable(
        "backend pytorch-cuda",
        got=f"torch {torch.__version__}, {' '.join([build, *(str(warning.message) for warning in said)])}",
        expected="a CUDA build and a GPU",
        remedy="install torch for CUDA on a host with an NVIDIA GPU",
    )
