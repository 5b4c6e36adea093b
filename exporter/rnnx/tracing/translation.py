"""A traced program as an ONNX graph, by torch.onnx; every recurrent layer is a placeholder node in it still."""

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import onnx_ir as ir
import torch
import torch.onnx
from torch.export import ExportedProgram
from torch.fx import Node

from rnnx.errors import BrokenExtraError, OptionError, UntracedError
from rnnx.extras import installed
from rnnx.modules.source_lines import line_of_node
from rnnx.tracing.operators.elu_nodes import write_elus_as_selus
from rnnx.tracing.operators.registry import composites_listed_once, kept_registry
from rnnx.tracing.operators.split_sequences import replace_sequences
from rnnx.tracing.tracing import quiet_torch

OPSETS = range(18, 24)
"""What torch.onnx writes: https://docs.pytorch.org/docs/stable/onnx_export.html."""

DEFAULT_OPSET = 20


def model_opset_of(opset: int | None) -> int:
    """The opset to declare.

    Raises:
        OptionError: it is none of `OPSETS`.
    """
    if opset is None:
        return DEFAULT_OPSET
    if type(opset) is not int or opset not in OPSETS:
        raise OptionError(
            "opset",
            got=str(opset),
            expected=f"{OPSETS[0]} to {OPSETS[-1]} for a whole model",
            remedy=f"leave it out for {DEFAULT_OPSET}",
        )
    return opset


def onnx_from_program(program: ExportedProgram, opset: int) -> ir.Model:
    """The program's graph, optimised.

    Raises:
        UntracedError: torch.onnx has no ONNX form of an operator; names the model's line that calls it.
        BrokenExtraError: the versions of torch, onnxscript and onnx do not fit together.
    """
    with quiet_torch(), kept_registry(), composites_listed_once():
        try:
            written: Any = torch.onnx.export(program, dynamo=True, verbose=False, optimize=True, opset_version=opset)
        except Exception as error:
            raise _refusal(program, error) from error
    model: ir.Model = written.model
    replace_sequences(model)
    write_elus_as_selus(model)
    return model


def _refusal(program: ExportedProgram, error: BaseException) -> UntracedError | BrokenExtraError:
    chain = list(_chain(error))
    if any(map(_is_mismatch, chain)):
        return _mismatch(chain[-1])
    called = [node for node in program.graph.nodes if node.op == "call_function"]
    nodes = [node for name in _names_in(error) for node in called if _is_named(node, name)]
    if not nodes:
        return _mismatch(chain[-1])
    return UntracedError(
        f"operator {nodes[0].target}, {line_of_node(nodes[0].meta)}",
        got=_first_line(chain[-1]),
        expected="operators that torch.onnx can write",
        remedy="write this line with other operators",
    )


def _mismatch(reason: BaseException) -> BrokenExtraError:
    """The refusal that blames no line of the model, for none is named."""
    versions = [installed(package) for package in ("torch", "onnxscript", "onnx_ir", "onnx")]
    return BrokenExtraError(
        got=f"{type(reason).__name__}: {_first_line(reason)} from torch.onnx, of no operator of the model",
        expected=f"versions that fit together, not {' with '.join(versions)}",
        extra="export",
        purpose="exporting a whole model",
    )


def _is_mismatch(error: BaseException) -> bool:
    """Whether a module or a name of one is missing: the model has run by then, and imports nothing any more."""
    lacks_name = isinstance(error, AttributeError) and isinstance(error.obj, ModuleType)
    return isinstance(error, ImportError) or lacks_name


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _is_named(node: Node, name: str) -> bool:
    """Whether a node has this name or operator, or one that torch.onnx took apart into it, such as `cdist_forward`."""
    operator = str(node.target).split(".")[1] if "." in str(node.target) else str(node.target)
    taken_apart = name.startswith(f"{operator}_") or name.endswith(f"_{operator}")
    return name == node.name or name in str(node.target) or taken_apart


def _names_in(error: BaseException) -> Iterator[str]:
    """The nodes and operators that an error and its causes name, the most exact first."""
    texts = [*(str(reason) for reason in _chain(error.__cause__)), str(error)]
    for pattern in (r"node %(\w+)", r"op='[^.']*\.(\w+)'", r"for node 'node_(\w+)'"):
        yield from (name.strip("_") for text in texts for name in re.findall(pattern, text))
