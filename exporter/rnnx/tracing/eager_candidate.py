"""A whole model's own module as a candidate: the rows `pytorch-cpu` and `pytorch-cuda`."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnx.tracing.contract_call import tensors_of
from rnnx.tracing.eager import StatefulCall
from rnnx.tracing.operators.float_dtypes import copied, reading_floats
from rnnx.tracing.operators.random_numbers import MeansOfRandomNumbers
from rnnx.tracing.signature import CallSignature
from rnnx.tracing.states.lifted_states import LiftedStates
from rnnx.truths.cases import Case
from rnnx.truths.torch_reference import cuda_device
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.errors import BackendError, BackendUnavailable

_Answer = Callable[[StatefulCall, Mapping[str, Tensor]], dict[str, Tensor]]
"""All outputs, or what the module itself gives."""


class EagerCandidate:
    """The module in float32; a call goes from host memory to host memory, copies to a GPU and back included."""

    def __init__(
        self,
        module: nn.Module,
        signature: CallSignature,
        contract: Contract,
        *,
        results: tuple[str, ...],
        lifted: LiftedStates,
        example: Mapping[str, Array],
        device: Literal["cpu", "cuda"],
    ) -> None:
        """Raises BackendUnavailable for CUDA without a usable device, or where the module fails on it."""
        self.name = f"pytorch-{device}"
        self.device = "CPU" if device == "cpu" else cuda_device(torch)
        self._contract = contract
        self._signature = signature
        self._results = results
        self._lifted = lifted
        self._place = torch.device(device)
        self._on_host: tuple[str, ...] = ()
        self._means: contextlib.AbstractContextManager[Any] = MeansOfRandomNumbers()
        self._module = module if device == "cpu" else copied(module).to(device)
        if device == "cuda":
            self._on_host = self._found_on_host(contract.lengths, example)

    def outputs(self, case: Case) -> dict[str, Array]:
        """The contract's outputs of one case.

        Raises:
            BackendError: the module raises.
        """
        return {
            name: value.numpy() for name, value in self._answer(tensors_of(case.feeds), StatefulCall.outputs).items()
        }

    def prepare(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """One call of the module over inputs that already are tensors: what a latency measurement repeats."""
        tensors = tensors_of(feeds)
        return lambda: self._answer(tensors, StatefulCall.called)

    def prepare_stream(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """Steps from the state that the last one gave, which stays a tensor; other inputs are handed over at each.

        A loop in Python, which cannot be given a state, begins as always: the work is the same.
        """
        states = {pair.input: pair.output for pair in self._contract.states}
        carried = tensors_of({name: value for name, value in feeds.items() if name in states})
        given = {name: value for name, value in feeds.items() if name not in states}

        def step() -> None:
            values = self._answer(carried | tensors_of(given), StatefulCall.called)
            carried.update({name: values[output] for name, output in states.items() if output in values})

        return step

    def close(self) -> None:
        """Nothing to let go of: the module is its owner's."""

    def _answer(self, tensors: Mapping[str, Tensor], answer: _Answer) -> dict[str, Tensor]:
        try:
            return self._run(tensors, answer)
        except Exception as error:  # the model's own, which may raise anything
            raise BackendError(
                f"backend {self.name}",
                got=_said(error),
                expected="an answer, as in float64",
                remedy="call the module on these sizes in float32 by hand",
            ) from error

    def _run(self, tensors: Mapping[str, Tensor], answer: _Answer) -> dict[str, Tensor]:
        own = {name: value if name in self._on_host else value.to(self._place) for name, value in tensors.items()}
        with (
            torch.inference_mode(),
            _full_float32(self._place),
            reading_floats(self._module, torch.float32),
            self._means,
        ):
            call = StatefulCall(self._module, self._signature, self._results, self._lifted)
            found = {name: value.cpu() for name, value in answer(call, own).items()}
        if not getattr(self._means, "replaced", None):
            self._means = contextlib.nullcontext()  # a model that draws none, which nothing should slow down
        return found

    def _found_on_host(self, lengths: tuple[str, ...], example: Mapping[str, Array]) -> tuple[str, ...]:
        """Which inputs stay in host memory: pack_padded_sequence wants lengths there, a mask wants them on the GPU."""
        tensors, problem = tensors_of(example), ""
        for self._on_host in dict.fromkeys((lengths, ())):
            try:
                self._run(tensors, StatefulCall.called)
            except Exception as error:
                problem = problem or _said(error)
            else:
                return self._on_host
        raise BackendUnavailable(
            f"backend {self.name}",
            got=f"{problem} from the module on its example",
            expected="a module that runs on a GPU",
            remedy="create tensors in forward on the device of its inputs",
        )


def _full_float32(place: torch.device) -> contextlib.AbstractContextManager[Any]:
    """On CUDA, PyTorch lets cuDNN use TF32 by default; a float32 row must not."""
    if place.type == "cpu":
        return contextlib.nullcontext()
    flags: contextlib.AbstractContextManager[Any] = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    return flags


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
