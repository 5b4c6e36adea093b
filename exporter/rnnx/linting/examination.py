"""What is wrong, or may go wrong, with an ONNX file, told from its graph alone: no torch, no engine, no GPU."""

import contextlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnx.errors import OptionError
from rnnx.extras import require
from rnnx.linting.findings import DoctorReport, Finding
from rnnx.linting.kinds import by_kind
from rnnx.linting.loading import loading_findings
from rnnx.linting.message_limits import refuse_swollen
from rnnx.linting.outside_files import outside_files
from rnnx.weights.recurrence import GATES
from rnnx_runtime.errors import FileDamagedError, RnnxError
from rnnx_runtime.files.model_file import LARGEST_ONNX
from rnnx_runtime.files.regular_file import read_regular

if TYPE_CHECKING:
    from onnx import ModelProto

    from rnnx.linting.rules.examined_model import ExaminedModel

MOST_SHAPE_NUMBERS = 64
"""Numbers in a tensor up to which it may be a shape."""

_WORST_FIRST = ("error", "warning", "info")


def doctor(path: str | os.PathLike[str]) -> DoctorReport:
    """Examine an .onnx file of any exporter that holds a recurrence.

    Raises:
        FileDamagedError: the file is missing, truncated, malformed, or no ONNX file.
        OptionError: there is no recurrence in it, and no contract with states.
        MissingExtraError: the package onnx is not installed.
    """
    path = Path(path)
    proto = _read(path)

    from rnnx.linting.rules.examined_model import examined
    from rnnx.linting.rules.origins import contract_values, origin_of

    with as_onnx_defines(str(path), proto):
        model = examined(proto, path.parent)
        recurrences, findings = _counted(model) or _declared(proto), _findings(model)
    if not recurrences and not contract_values(proto).get("states"):
        raise OptionError(
            str(path),
            got="no LSTM, GRU, RNN, Scan or Loop and no written-out cell in it",
            expected="an ONNX file with a recurrence",
            remedy="name the file that holds the recurrent part",
        )
    return DoctorReport(
        path=str(path),
        producer=origin_of(proto).producer,
        opset=next((opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx")), 0),
        recurrences=recurrences,
        findings=_ordered((*loading_findings(path), *findings)),
    )


def examine(model: "ModelProto", folder: Path | None = None) -> tuple[Finding, ...]:
    """All findings of a model, worst first; `folder` is where its external data lies, which is read for int8 alone.

    Raises:
        FileDamagedError: the graph is not as ONNX defines it, so that it cannot be examined.
    """
    from rnnx.linting.rules.examined_model import examined

    with as_onnx_defines("the graph", model):
        return _findings(examined(model, folder))


def concerning(findings: Iterable[Finding], *backends: str) -> tuple[Finding, ...]:
    """The findings that concern one of these backends, those that concern every backend included."""
    return tuple(own for own in findings if not own.backends or set(own.backends) & set(backends))


def each_finding(model: "ExaminedModel") -> tuple[Finding, ...]:
    """What every rule says of every node, worst first, before findings of one kind are put together."""
    return _ordered({finding: None for find in _rules() for finding in find(model)})


def _findings(model: "ExaminedModel") -> tuple[Finding, ...]:
    return by_kind(each_finding(model))


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.severity)))


def _rules() -> "tuple[Callable[[ExaminedModel], Iterator[Finding]], ...]":
    from rnnx.linting.rules import (
        baked_lengths,
        chained_states,
        crossed_states,
        dim_names,
        directions,
        leftovers,
        lengths,
        loop_ends,
        loops,
        node_shapes,
        older_contracts,
        other_runtimes,
        padded_steps,
        partial_lengths,
        picked_steps,
        precision,
        quantization,
        recurrent_attributes,
        reset_gate,
        rounded_states,
        states,
        tensorrt_nesting,
        tensorrt_operators,
        tensorrt_quantization,
        tensorrt_silent,
        time_order,
        training,
        unread_inputs,
        unrolled_steps,
        weight_patterns,
        weight_values,
    )

    modules = (
        node_shapes, weight_values, weight_patterns, reset_gate, baked_lengths, unrolled_steps, picked_steps,
        directions, time_order, recurrent_attributes, lengths, partial_lengths, padded_steps, unread_inputs,
        crossed_states, chained_states, rounded_states, dim_names, precision, loop_ends, loops, tensorrt_operators,
        tensorrt_nesting, tensorrt_quantization, tensorrt_silent, training, quantization, states,
        leftovers, older_contracts, other_runtimes,
    )  # fmt: skip
    return tuple(module.find for module in modules)


def _counted(model: "ExaminedModel") -> dict[str, int]:
    """The recurrences by operator; cells that stand in no loop are steps written out."""
    from rnnx.linting.rules.scopes import is_onnx
    from rnnx.linting.rules.written_cells import written_cells

    names = [layer.node.op_type for layer in model.layers]
    for part in model.parts:
        names += [node.op_type for node in part.scope.nodes if is_onnx(node, "Loop", "Scan")]
        if not part.scope.is_repeated:
            names += [f"{cell.operator} cell" for cell in written_cells(part.scope)]
    return dict(sorted(Counter(names).items()))


def _declared(proto: "ModelProto") -> dict[str, int]:
    """The cells that rnnx's own contract names; a plain RNN's step looks like any other layer."""
    from rnnx.linting.rules.origins import contract_values

    contract = contract_values(proto)
    parts: list[Any] = [contract]
    if isinstance(contract.get("recurrent"), list):
        parts += contract["recurrent"]
    cells = [part.get("cell") for part in parts if isinstance(part, dict)]
    return dict(Counter(f"{cell.upper()} cell" for cell in cells if isinstance(cell, str) and cell in GATES))


@contextlib.contextmanager
def as_onnx_defines(subject: str, proto: "ModelProto") -> Iterator[None]:
    """Tell a graph that ONNX's own checker refuses by its words; what that takes, and a rule stumbles over, is a bug.

    The checker comes last: it refuses graphs of other exporters that can be examined all the same.
    """
    from onnx import checker

    from rnnx.linting.rules.inlining import EndlessError

    try:
        yield
    except (EndlessError, checker.ValidationError) as error:
        raise _malformed(subject, error) from None
    except RnnxError:
        raise
    except Exception as error:
        try:
            checker.check_model(proto)
        except checker.ValidationError as refusal:
            raise _malformed(subject, refusal) from error
        raise


def _malformed(subject: str, error: Exception) -> FileDamagedError:
    return FileDamagedError(
        subject, got=_first_line(error), expected="a model as ONNX defines it", remedy="export it again"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _read(path: Path) -> "ModelProto":
    onnx: Any = require("onnx", extra="doctor", purpose="reading an ONNX file")

    from rnnx.linting.rules.validity import malformed_parts

    try:
        data = read_regular(path, LARGEST_ONNX)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error), "a readable file", "check the path") from None
    refuse_swollen(path, data)
    try:
        model: ModelProto = onnx.load_model_from_string(data)
    except Exception as error:
        if type(error).__name__ != "DecodeError":  # protobuf's, which is no dependency of its own
            raise
        raise _damaged(path, "bytes that are no protobuf", "a whole .onnx file", "copy or export it again") from None
    for part, is_there in (("graph", model.graph.node), ("opset", model.opset_import)):
        if not is_there:
            raise _damaged(path, f"no {part} in it", "a whole .onnx file", "copy or export it again")
    for text in malformed_parts(model):
        raise _damaged(path, text, "a model as ONNX defines it", "export it again")
    outside_files(path, data)  # before ONNX Runtime and the checker open what it names
    _read_small_weights(onnx, model, path.parent)
    return model


def _read_small_weights(onnx: Any, model: "ModelProto", folder: Path) -> None:
    """Read what is small of the external data: shapes are, and the rules read them; weights may stay where they are."""
    from rnnx.linting.rules.outside_values import with_outside_values

    for tensor in model.graph.initializer:
        if tensor.external_data and math.prod(tensor.dims) <= MOST_SHAPE_NUMBERS:
            with contextlib.suppress(OSError, ValueError, onnx.checker.ValidationError):  # absent, or outside
                tensor.CopyFrom(with_outside_values(tensor, folder))


def _damaged(path: Path, got: str, expected: str, remedy: str) -> FileDamagedError:
    return FileDamagedError(str(path), got=got, expected=expected, remedy=remedy)
