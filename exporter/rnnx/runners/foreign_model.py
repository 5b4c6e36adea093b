"""An ONNX file that rnnx did not make, read as if it had a contract: the checkpoint says the sizes, a map the names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnx.errors import CheckpointError, OptionError
from rnnx.linting.declared_tensors import GraphDims, GraphTensor, refuse_vast, shape_text, signature_of
from rnnx.linting.graph_precision import precision_of
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.linting.outside_files import outside_files
from rnnx.weights.recurrence import recurrence_from_module
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.contract import Contract, Form, Nonlinearity, Recurrence, Source, TensorSpec, layer_contract
from rnnx_runtime.files.model_file import OnnxFile

FORMULATION = "foreign"


@dataclass(frozen=True, kw_only=True)
class ForeignModel:
    """The file with the contract it ought to have, and how it differs from a file of rnnx.

    `names` gives the graph's tensor for each of the contract's names; `outputs` are those of the contract's outputs
    that the graph gives, with the graph's dtypes; `fixed` are the sizes of T and B that the graph's inputs fix, and
    `unmapped` its outputs that stand for none of the contract's. `dtypes` are the graph's where they are others than
    the contract's, by the contract's names. `assumed_nonlinearity` is a plain RNN's where only its graph says it.
    """

    file: OnnxFile
    names: Mapping[str, str]
    outputs: tuple[TensorSpec, ...]
    fixed: Mapping[str, int]
    unmapped: tuple[str, ...] = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    assumed_nonlinearity: Nonlinearity | None = None

    @property
    def dtypes_text(self) -> str:
        """`dtypes` in words, such as `x, hn in float16`."""
        groups = {
            dtype: [name for name, own in self.dtypes.items() if own == dtype]
            for dtype in dict.fromkeys(self.dtypes.values())
        }
        return "; ".join(f"{', '.join(names)} in {dtype}" for dtype, names in groups.items())


def read_foreign_model(
    path: Path,
    data: bytes,
    weights: RecurrentWeights,
    checkpoint: str,
    names: Mapping[str, str],
    *,
    batch_first: bool,
    nonlinearity: Nonlinearity | None = None,
    proto: Any = None,
) -> ForeignModel:
    """Read an ONNX file of any exporter against the weights it is said to hold.

    Args:
        path: the file, whose bytes are `data`.
        weights: the module's weights; its sizes are the contract's.
        checkpoint: the base name of the file they came from.
        names: the graph's tensor for each of the contract's names; a name that is left out is the graph's own where the
            graph has a tensor of that name.
        batch_first: whether x and output are `(B, T, …)`, which neither file says.
        nonlinearity: a plain RNN's; left out, it is taken to be the graph's, which is then no proof of it.
        proto: the graph, where `parse_onnx` has read it before.

    Raises:
        FileDamagedError: no whole ONNX file, or external data that is not inside its folder.
        OptionError: a name that is not the contract's or not the graph's, an input that nothing is mapped to, a
            nonlinearity for a layer that has gates, or a time or batch that is fixed at what no case can have.
        CheckpointError: the graph's sizes are not the checkpoint's.
    """
    proto = parse_onnx(path, data) if proto is None else proto
    inputs, outputs = signature_of(proto)
    of_graph = _nonlinearity(proto.graph.node)
    contract = _contract(weights, checkpoint, batch_first=batch_first, nonlinearity=nonlinearity or of_graph)
    has_gates = contract.layer().nonlinearity is None
    if nonlinearity is not None and has_gates:
        raise _no_plain_rnn(contract.layer(), nonlinearity)
    mapped = _mapped(path, names, contract, inputs, outputs)
    compared = [mapped[spec.name] for spec in contract.outputs if spec.name in mapped]
    contract = _completed(contract, mapped, inputs, path, precision_of(proto, compared))
    given = tuple(
        replace(spec, dtype=outputs[mapped[spec.name]][0]) for spec in contract.outputs if spec.name in mapped
    )
    sides = [(contract.inputs, inputs), (given, outputs)]
    tensors = [(spec, mapped[spec.name], side[mapped[spec.name]][1]) for specs, side in sides for spec in specs]
    return ForeignModel(
        file=OnnxFile(
            path=path, contract=contract, data=data, external_data=next(iter(outside_files(path, data)), None)
        ),
        names=mapped,
        outputs=given,
        fixed=_fixed(path, checkpoint, tensors),
        unmapped=tuple(name for name in outputs if name not in mapped.values()),
        assumed_nonlinearity=None if nonlinearity or has_gates else of_graph,
    )


def _nonlinearity(nodes: Iterable[Any]) -> Nonlinearity:
    """What a plain RNN's graph applies, which no checkpoint says: ReLU where it has one and no tanh."""
    applied: set[str] = set()
    for node in nodes:
        named = [name for own in node.attribute if own.name == "activations" for name in own.strings]
        applied |= {node.op_type, *(name.decode() for name in named)}
        for inner in (own.g.node for own in node.attribute if own.HasField("g")):
            applied.add("Relu" if _nonlinearity(inner) == "relu" else "")
    return "relu" if "Relu" in applied and "Tanh" not in applied else "tanh"


def _contract(weights: RecurrentWeights, checkpoint: str, *, batch_first: bool, nonlinearity: Nonlinearity) -> Contract:
    module = weights.module
    layer = recurrence_from_module(
        module,
        form="step" if module.is_cell else "encoder",
        formulation=FORMULATION,
        state_inputs=True,
        lengths=not module.is_cell,
        batch_first=batch_first,
        nonlinearity=nonlinearity,
    )
    source = Source(file=checkpoint, module=module.prefix, weights_sha256=weights.sha256)
    return layer_contract(layer, precision="float32", source=source)


def _mapped(
    path: Path,
    names: Mapping[str, str],
    contract: Contract,
    inputs: Mapping[str, GraphTensor],
    outputs: Mapping[str, GraphTensor],
) -> dict[str, str]:
    """The graph's tensor for each of the contract's names that the graph has one for, every one checked."""
    ours_in = [spec.name for spec in contract.inputs]
    ours_out = ["output", *(spec.name for spec in contract.outputs if spec.name != "output")]
    for ours, theirs in names.items():
        if ours not in (*ours_in, *ours_out):
            raise _no_name(
                "names",
                ours,
                [*ours_in, *ours_out],
                "give NAME=TENSOR, NAME of the contract and TENSOR of the graph",
            )
        side, tensors = ("input", inputs) if ours in ours_in else ("output", outputs)
        if theirs not in tensors:
            raise _no_name(f"names for {ours}", theirs, tensors, f"name an {side} of {path.name}")
    taken = set(names.values())  # a tensor that the map gives another name is not its namesake's too
    found = {ours: ours for ours in ours_in if ours in inputs and ours not in taken}
    found |= {ours: ours for ours in ours_out if ours in outputs and ours not in taken}
    found |= names
    _refuse_shared(path, found)
    _refuse_unmapped(path, found, ours_in, inputs, ours_out, outputs)
    return found


def _refuse_shared(path: Path, found: Mapping[str, str]) -> None:
    for theirs in found.values():
        sharing = [ours for ours, tensor in found.items() if tensor == theirs]
        if len(sharing) > 1:
            raise OptionError(
                f"names for {path.name}",
                got=f"{theirs!r} for {' and '.join(sharing)}",
                expected="another tensor for each name",
                remedy="map each of them once",
            )


def _refuse_unmapped(
    path: Path,
    found: Mapping[str, str],
    ours_in: Sequence[str],
    inputs: Iterable[str],
    ours_out: Sequence[str],
    outputs: Iterable[str],
) -> None:
    """Refuse a map that leaves an input without a value, or nothing to compare; suggest one by position."""
    unfed = [name for name in inputs if name not in found.values()]
    nothing = not any(name in found for name in ours_out)
    if not unfed and not nothing and "x" in found:
        return
    pairs = [*zip(ours_in, inputs, strict=False), *zip(ours_out, outputs, strict=False)]
    what = f"nothing for its input {unfed[0]!r}" if unfed else "no output of it" if nothing else "nothing for x"
    others = {ours: theirs for ours, theirs in pairs if ours != theirs}
    options = " ".join(f"--map {ours}={theirs}" for ours, theirs in others.items())
    raise OptionError(
        f"names for {path.name}",
        got=what,
        expected=f"a name for each input ({_listed(inputs)}) and at least one output ({_listed(outputs)})",
        remedy=f"by position it would be names={others} ({options})"
        if others
        else "by position each name is the graph's own",
    )


def _completed(
    contract: Contract, mapped: Mapping[str, str], inputs: Mapping[str, GraphTensor], path: Path, precision: str
) -> Contract:
    """The contract with what only the graph says: which optional inputs it has, an unrolled decoder's steps."""
    states = [spec.name for spec in contract.inputs if spec.name in ("h0", "c0")]
    given = [name for name in states if name in mapped]
    if given and given != states:
        raise OptionError(
            f"names for {path.name}",
            got=f"{given[0]} alone",
            expected=" and ".join(states),
            remedy="map both, or neither where the graph starts from zeros",
        )
    form, steps = _form(contract.layer(), inputs[mapped["x"]][1], path)
    layer = replace(contract.layer(), form=form, steps=steps, state_inputs=bool(given), lengths="lengths" in mapped)
    return layer_contract(layer, precision=precision, source=contract.source)


def _form(layer: Recurrence, dims: tuple[int | str | None, ...] | None, path: Path) -> tuple[Form, int | None]:
    """A cell's graph over `x (N, B, I)` is an unrolled decoder of N steps."""
    if layer.form == "encoder" or dims is None or len(dims) != 3:
        return layer.form, None
    if not isinstance(dims[0], int):
        raise OptionError(
            f"x of {path.name}",
            got=f"{dims}, a number of steps that is not fixed",
            expected="(B, I) of a step or (N, B, I) of N unrolled steps",
            remedy="a graph over any number of steps is verified with the checkpoint of a layer",
        )
    return "unrolled", dims[0]


def _fixed(path: Path, checkpoint: str, tensors: Iterable[tuple[TensorSpec, str, GraphDims | None]]) -> dict[str, int]:
    """The sizes of T and B that the graph's tensors fix, each tensor's other sizes compared with the contract's."""
    fixed: dict[str, int] = {}
    for spec, theirs, dims in tensors:
        if dims is not None:
            _check_dims(path, checkpoint, spec, theirs, dims)
            pairs = zip(dims, spec.dims, strict=True)
            fixed |= {own: dim for dim, own in pairs if isinstance(dim, int) and isinstance(own, str)}
    refuse_vast(path, fixed)
    return fixed


def _check_dims(path: Path, checkpoint: str, spec: TensorSpec, theirs: str, dims: GraphDims) -> None:
    """Compare declared dims with the contract's."""
    sizes = zip(dims, spec.dims, strict=False)
    if len(dims) != len(spec.dims) or any(isinstance(d, int) and isinstance(own, int) and d != own for d, own in sizes):
        raise CheckpointError(
            f"tensor {theirs!r} of {path.name}, mapped to {spec.name}",
            got=shape_text(dims),
            expected=f"{spec.shape}, by the sizes of {checkpoint}",
            remedy="give the checkpoint that the file was exported from, or map another tensor",
        )


def _no_plain_rnn(layer: Recurrence, nonlinearity: Nonlinearity) -> OptionError:
    return OptionError(
        "nonlinearity",
        got=f"{nonlinearity} for nn.{layer.cell.upper()}",
        expected="a plain RNN",
        remedy="leave it out",
    )


def _no_name(subject: str, got: str, expected: Iterable[str], remedy: str) -> OptionError:
    return OptionError(subject, got=repr(got), expected=f"one of {_listed(expected)}", remedy=remedy)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
