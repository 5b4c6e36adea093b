"""An ONNX `Scan` node around a step that is written with spox.

https://onnx.ai/onnx/operators/onnx__Scan.html. spox's own `scan` takes the first inputs for the scanned ones when it
types the step's arguments, which the operator has last; so the body is built as a model and the node put around it.
"""

from collections.abc import Callable, Mapping

import onnx
import spox
from onnx import ValueInfoProto, helper
from spox import Tensor, Var, argument

Step = Callable[[Mapping[str, Var]], tuple[Mapping[str, Var], Var]]
"""The next states and the step's output, from all of a step's values by name."""

OPSET = 17


def scan(
    step: Step, *, states: Mapping[str, Var], scanned: Mapping[str, Var], held: Mapping[str, Var], reverse: bool
) -> tuple[dict[str, Var], Var]:
    """Run `step` over the first axis of `scanned`, from its end where `reverse`; `held` are the same at every step.

    Returns the last states, and the outputs of all steps in the order of the scanned values.
    """
    inputs = {**states, **scanned, **held}
    body = _body(step, states, scanned, inputs)
    node = helper.make_node(
        "Scan",
        [*states, *scanned],
        [*(f"last_{name}" for name in states), "outputs"],
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=[int(reverse)] * len(scanned),
        scan_output_directions=[int(reverse)],
    )
    ends = [_value_info(f"last_{name}", var) for name, var in states.items()]
    ends.append(_stacked_info("outputs", body.output[-1]))
    starts = [_value_info(name, var) for name, var in inputs.items()]
    around = helper.make_graph([node], "scan", starts, ends)
    results = spox.inline(helper.make_model(around, opset_imports=[helper.make_opsetid("", OPSET)]))(**inputs)
    return {name: results[f"last_{name}"] for name in states}, results["outputs"]


def _body(
    step: Step, states: Mapping[str, Var], scanned: Mapping[str, Var], inputs: Mapping[str, Var]
) -> onnx.GraphProto:
    """The step as a graph of its states and one of each scanned value; what is held it takes from the graph around."""
    types = {name: var.unwrap_tensor() for name, var in inputs.items()}
    types |= {name: Tensor(types[name].dtype, (types[name].shape or ())[1:]) for name in scanned}
    values = {name: argument(kind) for name, kind in types.items()}
    after, output = step(values)
    body = spox.build(values, {f"next_{name}": after[name] for name in states} | {"output": output}).graph
    body.name = "step"
    del body.input[len(states) + len(scanned) :]
    return body


def _value_info(name: str, var: Var) -> ValueInfoProto:
    kind = var.unwrap_tensor()
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind.dtype), kind.shape)


def _stacked_info(name: str, output: ValueInfoProto) -> ValueInfoProto:
    """The outputs of all steps, joined along a first axis, from what one step puts out."""
    kind = output.type.tensor_type
    sizes = [dim.dim_value or None for dim in kind.shape.dim]
    return helper.make_tensor_value_info(name, kind.elem_type, [None, *sizes])
