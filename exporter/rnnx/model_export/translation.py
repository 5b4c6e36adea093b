"""A traced program as an ONNX graph, by torch.onnx; every recurrent layer is a placeholder node in it still."""

import re
import traceback
from typing import Any

import onnx_ir as ir
import torch
import torch.onnx
from torch.export import ExportedProgram

from rnnx.errors import ExportError, OptionError
from rnnx.model_export.source_lines import model_line
from rnnx.model_export.split_sequences import replace_sequences
from rnnx.model_export.tracing import quiet_torch

OPSETS = range(18, 24)
"""What torch.onnx writes: https://docs.pytorch.org/docs/stable/onnx_export.html."""

DEFAULT_OPSET = 20

_FRAME = re.compile(r'File "(.+)", line (\d+), in (.+)\n\s*(.*)')


def model_opset_of(opset: int | None) -> int:
    """The opset to declare.

    Raises:
        OptionError: it is none of `OPSETS`.
    """
    if opset is None:
        return DEFAULT_OPSET
    if type(opset) is not int or opset not in OPSETS:
        raise OptionError(
            "--opset",
            got=str(opset),
            expected=f"{OPSETS[0]} to {OPSETS[-1]} for a whole model",
            remedy=f"leave it out for {DEFAULT_OPSET}",
        )
    return opset


def onnx_from_program(program: ExportedProgram, opset: int) -> ir.Model:
    """The program's graph, optimised.

    Raises:
        ExportError: torch.onnx has no ONNX form of an operator; names the model's line that calls it.
    """
    with quiet_torch():
        try:
            written: Any = torch.onnx.export(program, dynamo=True, verbose=False, optimize=True, opset_version=opset)
        except Exception as error:
            raise _refusal(program, error) from error
    model: ir.Model = written.model
    replace_sequences(model)
    return model


def _refusal(program: ExportedProgram, error: BaseException) -> ExportError:
    reason = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    text = str(reason).strip().splitlines()[0][:300]
    found = re.search(r"op='[^.']*\.(\w+)'", text)
    nodes = [node for node in program.graph.nodes if found and found[1].strip("_") in str(node.target)]
    return ExportError(
        f"operator {nodes[0].target}, {_line(nodes[0].meta)}" if nodes else "the traced model",
        got=text,
        expected="operators that torch.onnx can write",
        remedy="write this line with other operators",
    )


def _line(meta: dict[str, Any]) -> str:
    frames = [
        traceback.FrameSummary(file, int(line), function, line=code)
        for file, line, function, code in _FRAME.findall(meta.get("stack_trace") or "")
    ]
    return model_line(frames)
