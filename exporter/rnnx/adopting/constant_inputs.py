"""Inputs of a foreign graph that a deployment never changes, made constants of it."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from rnnx.errors import OptionError
from rnnx.linting.declared_tensors import dims_of, inputs_of
from rnnx_runtime.contract_json import is_size

_WORDS = {"true": 1.0, "false": 0.0}


def fix_inputs(model: ModelProto, constants: Mapping[str, str | float]) -> None:
    """Give inputs their one value and take them out of the signature; every element of an input has it.

    Raises:
        OptionError: a name that is no input, an input of free dims, or a value that its dtype does not hold.
    """
    inputs = {value.name: value for value in inputs_of(model)}
    for name, value in constants.items():
        if name not in inputs:
            raise _refused(name, "no input", f"one of the inputs {', '.join(inputs)}", "name an input")
        model.graph.initializer.append(numpy_helper.from_array(_array(inputs[name], name, value), name))
    kept = [value for value in model.graph.input if value.name not in constants]
    copies = [ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del model.graph.input[:]
    model.graph.input.extend(copies)


def _array(declared: ValueInfoProto, name: str, value: str | float) -> np.ndarray:
    dims = dims_of(declared)
    if dims is None or not all(map(is_size, dims)):
        raise _refused(name, "an input of free dims", "an input of a fixed shape", "keep it as an input")
    dtype = helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
    try:
        number = _WORDS.get(str(value).lower(), value)
        found = np.full([int(dim or 1) for dim in dims], float(number)).astype(dtype)
        whole = dtype.kind == "f" or float(number) == float(found.flat[0])
    except (ValueError, OverflowError):
        whole = False
    if not whole:
        raise _refused(name, repr(value), f"a value of {dtype.name}", f"such as --constant {name}=1")
    return found


def _refused(name: str, got: str, expected: str, remedy: str) -> OptionError:
    return OptionError(f"constants {name}", got=got, expected=expected, remedy=remedy)
