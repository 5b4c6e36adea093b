"""An ONNX file that another tool made of a sealed one: its contract is the original's, its names and dtypes may not be.

Such tools fold and fuse nodes, rename tensors, change the opset, quantize, round to half precision, or move the weights
out. None of it changes what the file is for, so the original's golden file is its truth too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnx.errors import OptionError
from rnnx.linting.declared_tensors import GraphTensor, refuse_vast, shape_text, signature_of
from rnnx.linting.graph_precision import coarsest_of
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.linting.outside_files import outside_files
from rnnx.runners.foreign_model import ForeignModel
from rnnx_runtime.contract import Contract, TensorSpec
from rnnx_runtime.files.model_file import OnnxFile

_ALSO = {"float32": ("float16", "bfloat16", "float64"), "int64": ("int32",), "int32": ("int64",)}
"""The dtypes that a converter gives an input or output of a contract's."""


def read_like_model(path: Path, data: bytes, original: OnnxFile, names: Mapping[str, str]) -> ForeignModel:
    """Read an ONNX file against the contract of the one that it was made from.

    Args:
        path: the file, whose bytes are `data`.
        original: the sealed model that it was made from.
        names: the file's tensor for each of the contract's names; a name that is left out is the file's own where it
            has a tensor of that name, else the next of the tensors that are left, in their order.

    Raises:
        FileDamagedError: no whole ONNX file, or external data that is not inside its folder.
        OptionError: a name that is not the contract's or not the file's, an input or output without its counterpart, or
            one of another dtype or of other sizes.
    """
    proto = parse_onnx(path, data)
    inputs, outputs = signature_of(proto)
    contract = original.contract
    _refuse_unknown(path, names, contract, inputs, outputs)
    mapped = _matched(path, "input", contract.inputs, inputs, names, whole=True)
    mapped |= _matched(path, "output", contract.outputs, outputs, names, whole=False)
    tensors = {spec.name: inputs[mapped[spec.name]] for spec in contract.inputs}
    tensors |= {spec.name: outputs[mapped[spec.name]] for spec in contract.outputs}
    precision = coarsest_of(proto, [mapped[spec.name] for spec in contract.outputs])
    file = OnnxFile(
        path=path,
        contract=replace(contract, precision=precision),
        data=data,
        external_data=next(iter(outside_files(path, data)), None),
    )
    specs = (*contract.inputs, *contract.outputs)
    fixed = _fixed(contract.inputs, tensors)
    refuse_vast(path, fixed)
    return ForeignModel(
        file=file,
        names=mapped,
        outputs=tuple(replace(spec, dtype=tensors[spec.name][0]) for spec in contract.outputs),
        fixed=fixed,
        unmapped=tuple(name for name in outputs if name not in mapped.values()),
        dtypes={spec.name: tensors[spec.name][0] for spec in specs if tensors[spec.name][0] != spec.dtype},
    )


def _refuse_unknown(
    path: Path,
    names: Mapping[str, str],
    contract: Contract,
    inputs: Mapping[str, GraphTensor],
    outputs: Mapping[str, GraphTensor],
) -> None:
    sides = {spec.name: ("input", inputs) for spec in contract.inputs}
    sides |= {spec.name: ("output", outputs) for spec in contract.outputs}
    for ours, theirs in names.items():
        side, tensors = sides.get(ours, ("", {}))
        if not side or theirs not in tensors:
            listed, remedy = (tensors, f"name an {side} of {path.name}") if side else (sides, "give NAME=TENSOR")
            raise OptionError(
                f"names for {ours}" if side else "names",
                got=repr(theirs if side else ours),
                expected=f"one of {', '.join(listed)}",
                remedy=remedy,
            )


def _matched(
    path: Path,
    side: str,
    specs: Sequence[TensorSpec],
    tensors: Mapping[str, GraphTensor],
    names: Mapping[str, str],
    *,
    whole: bool,
) -> dict[str, str]:
    """The file's tensor for each spec; `whole`: a tensor that is nobody's is refused too.

    What has no namesake is matched by position with the tensors that are left, where those are as many and fit.
    """
    taken = set(names.values())
    found = {spec.name: names.get(spec.name, spec.name) for spec in specs}
    found = {
        ours: theirs for ours, theirs in found.items() if ours in names or (theirs in tensors and ours not in taken)
    }
    wanted = [spec for spec in specs if spec.name not in found]
    left = [name for name in tensors if name not in found.values()]
    in_turn = len(wanted) == len(left) and all(map(_fits, wanted, (tensors[name] for name in left)))
    if wanted and in_turn:
        found |= {spec.name: name for spec, name in zip(wanted, left, strict=True)}
    elif wanted or (left and whole):
        raise _no_counterpart(path, side, specs, tensors, wanted, left)
    for spec in specs:
        if not _fits(spec, tensors[found[spec.name]]):
            raise _misfit(path, spec, found[spec.name], tensors[found[spec.name]])
    return found


def _fits(spec: TensorSpec, tensor: GraphTensor) -> bool:
    dtype, dims = tensor
    if dtype not in (spec.dtype, *_ALSO.get(spec.dtype, ())):
        return False
    if dims is None:
        return True
    pairs = zip(dims, spec.dims, strict=False)
    return len(dims) == len(spec.dims) and not any(
        isinstance(dim, int) and isinstance(own, int) and dim != own for dim, own in pairs
    )


def _fixed(specs: Iterable[TensorSpec], tensors: Mapping[str, GraphTensor]) -> dict[str, int]:
    """The sizes of free dims that the file's inputs fix."""
    return {
        own: dim
        for spec in specs
        for own, dim in zip(spec.dims, tensors[spec.name][1] or (), strict=False)
        if isinstance(dim, int) and isinstance(own, str)
    }


def _no_counterpart(
    path: Path,
    side: str,
    specs: Sequence[TensorSpec],
    tensors: Mapping[str, GraphTensor],
    wanted: Sequence[TensorSpec],
    left: Sequence[str],
) -> OptionError:
    listed = ", ".join(f"{name} {dtype} {shape_text(dims)}" for name, (dtype, dims) in tensors.items()) or f"no {side}"
    lack = f"none for {wanted[0].name} {wanted[0].dtype} {wanted[0].shape}" if wanted else f"{left[0]} besides"
    return OptionError(
        f"the {side}s of {path.name}",
        got=f"{listed}: {lack}",
        expected=f"the original's, {', '.join(f'{spec.name} {spec.dtype} {spec.shape}' for spec in specs)}",
        remedy="say which stands for which (names, --map NAME=TENSOR), or process the original again so that it keeps "
        "them",
    )


def _misfit(path: Path, spec: TensorSpec, theirs: str, tensor: GraphTensor) -> OptionError:
    return OptionError(
        f"tensor {theirs!r} of {path.name}, which stands for {spec.name}",
        got=f"{tensor[0]} {shape_text(tensor[1])}",
        expected=f"{spec.dtype} {spec.shape}, as the original has it",
        remedy="give the original that the file was made from, or map another tensor",
    )
