"""Where a whole model first leaves its module: the first recurrent layer whose values differ, in the file's own graph.

The module runs in float64 with a hook on each recurrent layer, and the graph in ONNX Runtime with what each layer gives
and takes among its outputs; a layer's nodes are those whose names begin with its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnx.diagnosis.diagnosis import Diagnosis, Location
from rnnx.parity.limits import limits_of_values, steps_of
from rnnx.parity.parity import CaseParity, ParityRow
from rnnx.runners.subject import Subject
from rnnx.truths.cases import Case
from rnnx.truths.truth import CaseTruth
from rnnx.verifying.model_reference import ModelReference
from rnnx_runtime.array_type import Array

if TYPE_CHECKING:
    from onnx import GraphProto

_RIGHT, _UNKNOWN = "right", "unknown"


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of a layer in the module: the tensors it took and gave, in float64, and float32's error of each."""

    lead: str
    taken: tuple[Array, ...]
    given: tuple[Array, ...]
    errors: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class _Ends:
    """The graph's values that a layer's nodes take from outside, and those that others read of them."""

    node: str
    taken: tuple[str, ...]
    given: tuple[str, ...]


def located_in_layers(
    subject: Subject, reference: ModelReference, row: ParityRow, truth: Sequence[CaseTruth]
) -> Diagnosis | None:
    """The diagnosis of a failed row of a whole model; None where nothing can be told, as without ONNX Runtime."""
    failed = {result.case for result in row.failures}
    smallest = min(
        (entry for entry in truth if entry.case.name in failed),
        key=lambda entry: sum(value.size for value in entry.case.feeds.values()),
        default=None,
    )
    if smallest is None or subject.model.external_data is not None:
        return None
    try:
        graph, run = _opened(subject.model.data)
        calls = _calls(subject, reference, smallest.case)
        ends = {call.lead: _ends(graph, call.lead) for call in calls}
        wanted = dict.fromkeys(name for own in ends.values() if own for name in (*own.taken, *own.given))
        values = run([*wanted], smallest.case.feeds)
    except Exception:  # a package that is not there, or a graph or module that does not run so: nothing is located
        return None
    failure = next(result for result in row.failures if result.case == smallest.case.name)
    return _diagnosis(subject, row.backend, failure, smallest.case, calls, ends, values)


def _diagnosis(
    subject: Subject,
    backend: str,
    failure: CaseParity,
    case: Case,
    calls: Sequence[_Call],
    ends: Mapping[str, _Ends | None],
    values: Mapping[str, Array],
) -> Diagnosis | None:
    compared = 0
    for call in calls:
        own = ends[call.lead]
        given = _compared(subject, case, call, [values[name] for name in own.given]) if own else _UNKNOWN
        if own is None or given == _UNKNOWN:
            continue
        compared += 1
        if given != _RIGHT:
            taken = _compared(subject, case, call, [values[name] for name in own.taken], of_taken=True)
            before = {_RIGHT: "what it takes is right", _UNKNOWN: "what it takes could not be compared"}
            where = before.get(taken, f"what it takes differs already: {taken}")
            return Diagnosis(
                backend=backend,
                cause=None,
                summary=f"the first recurrent layer whose values differ from the module's is {_layer(call)}: {given}",
                location=Location(output=failure.output, case=case.name),
                node=own.node,
                evidence=(where,),
                remedy="look at the layer's nodes and weights, and export again"
                if taken == _RIGHT
                else "look at what comes before the layer, and export again",
            )
    if not compared or not backend.startswith("ort-"):
        return None  # the graph is right where it was looked at; what another backend makes of it is not seen here
    return Diagnosis(
        backend=backend,
        cause=None,
        summary="each recurrent layer gives the module's values in ONNX Runtime on the CPU",
        location=Location(output=failure.output, case=case.name),
        remedy="look at what comes after the recurrent layers, and export again",
    )


def _layer(call: _Call) -> str:
    name, _, count = call.lead.rstrip("/").rpartition("/")
    return repr(name) if count == "0" else f"{name!r} in its call {int(count) + 1}"


def _compared(subject: Subject, case: Case, call: _Call, values: Sequence[Array], *, of_taken: bool = False) -> str:
    """Whether each value is one of the call's tensors: `right`, `unknown` where no shape fits, or how it differs."""
    known, found = (call.taken if of_taken else call.given), _UNKNOWN
    time = steps_of(subject.contract, case.feeds)
    for value in values:
        apart = []
        for tensor in known:
            if tensor.shape == value.shape and tensor.dtype.kind == value.dtype.kind == "f":
                error = call.errors[id(tensor)]
                precision = subject.contract.precision
                limits = limits_of_values(
                    {"": tensor}, case.feeds, subject.contract, precision, time=time, float32_error={"": error}
                )
                limit = limits[""]
                with np.errstate(invalid="ignore"):
                    largest = float(np.abs(value - tensor).max())
                apart.append((not largest <= limit, largest, limit))
        if apart:
            is_apart, largest, limit = min(apart)
            if is_apart:
                return f"by {largest:.2g}, where {limit:.2g} is allowed"
            found = _RIGHT
    return found


def _calls(subject: Subject, reference: ModelReference, case: Case) -> list[_Call]:
    """The calls of recurrent layers in the module, in their order."""
    import torch

    eager = reference.live.eager()
    double, single = (_watched(eager, subject, case, dtype) for dtype in (torch.float64, torch.float32))
    found = []
    for lead, (taken, given) in double.items():
        pairs = zip((*taken, *given), (*single[lead][0], *single[lead][1]), strict=True)
        errors = {id(value): float(np.abs(value - other).max(initial=0)) for value, other in pairs}
        found.append(_Call(lead=lead, taken=taken, given=given, errors=errors))
    return found


def _watched(
    eager: Any, subject: Subject, case: Case, dtype: Any
) -> dict[str, tuple[tuple[Array, ...], tuple[Array, ...]]]:
    """What each call took and gave, by what its nodes' names begin with."""
    from torch.utils import _pytree as pytree

    module, counts = eager.module(dtype), dict[str, int]()
    found: dict[str, tuple[tuple[Array, ...], tuple[Array, ...]]] = {}
    labels = {own.name for own in subject.contract.recurrent}

    def arrays(nested: Any) -> tuple[Array, ...]:
        leaves = [leaf for leaf in pytree.tree_leaves(nested) if hasattr(leaf, "detach") and leaf.is_floating_point()]
        return tuple(np.array(leaf.detach().numpy(), np.float64) for leaf in leaves)

    def taker(label: str) -> Any:
        def take(_: Any, args: Any, kwargs: Any, result: Any) -> None:
            count = counts[label] = counts.get(label, -1) + 1
            found[f"{label}/{count}/"] = (arrays((args, kwargs)), arrays(result))

        return take

    named = ((name or type(own).__name__.lower(), own) for name, own in module.named_modules())
    with ExitStack() as hooks:
        for name, own in named:
            if name in labels:
                hooks.enter_context(own.register_forward_hook(taker(name), with_kwargs=True))
        eager.outputs(case.feeds, dtype)
    return found


def _opened(data: bytes) -> tuple["GraphProto", Any]:
    """The graph, and what runs it for the values of these names."""
    onnx, onnxruntime = import_module("onnx"), import_module("onnxruntime")
    model = onnx.load_model_from_string(data)
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        inner = [name for name in names if name not in feeds]
        values = dict(zip(inner, session.run(inner, dict(feeds)), strict=True))
        return {name: np.asarray(feeds[name] if name in feeds else values[name]) for name in names}

    return model.graph, run


def _ends(graph: "GraphProto", lead: str) -> _Ends | None:
    """The ends of a layer's nodes; None where the graph has none."""
    own = [node for node in graph.node if node.name.startswith(lead)]
    if not own:
        return None
    written = {name for node in own for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    read = {name for node in graph.node if not node.name.startswith(lead) for name in node.input}
    read |= {value.name for value in graph.output}
    taken = dict.fromkeys(name for node in own for name in node.input if name and name not in written | weights)
    return _Ends(node=_main_node(own), taken=tuple(taken), given=tuple(sorted(written & read - {""})))


def _main_node(nodes: Sequence[Any]) -> str:
    """The first node that computes a recurrence, or the first of all."""
    recurrent: Iterator[Any] = (node for node in nodes if node.op_type in ("LSTM", "GRU", "RNN", "Scan", "Loop"))
    return str(next(recurrent, nodes[0]).name)
