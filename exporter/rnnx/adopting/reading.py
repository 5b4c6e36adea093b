"""A foreign .onnx read as if it had a contract: what its graph says, with nothing run."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import ModelProto, TensorProto, shape_inference

from rnnx.adopting.adopt_options import AdoptOptions
from rnnx.adopting.constant_inputs import fix_inputs
from rnnx.adopting.dim_names import NamedSignature, named_signature
from rnnx.adopting.graph_signature import LARGEST_INFERRED, GraphSignature, graph_signature
from rnnx.adopting.handed_values import HandedValues, handed_values
from rnnx.adopting.recurrent_parts import has_unknown_sizes, listed, operators_of, other_recurrences, recurrent_parts
from rnnx.adopting.state_pairs import FoundState, found_states, open_states
from rnnx.adopting.value_ranges import compared_values, length_inputs, table_sizes
from rnnx.errors import AdoptionError, OptionError
from rnnx.linting.examination import as_onnx_defines
from rnnx.linting.graph_precision import precision_of
from rnnx.linting.light_models import light_model
from rnnx.linting.onnx_parsing import parse_onnx
from rnnx.linting.rules.inlining import inlined
from rnnx.linting.rules.scopes import Scope, scopes_of
from rnnx_runtime.contract import Batching, Contract, Source, Streaming, TensorSpec

NOT_TRIED = "not tried: rnnx adopt finds out"


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A foreign file and the contract that its graph suggests.

    `theirs` has the graph's name of each input and output; `states` say what speaks for each pair,
    `open_states` what may be one. `others` are
    recurrences that the contract does not list, such as loops; `compared` the constants that integer inputs are
    compared with; `guessed` has what the file calls those of B and T that its name alone says, `called` the name
    here of each dim by its name in the file or its place.
    """

    path: Path
    proto: ModelProto
    contract: Contract
    theirs: Mapping[str, str]
    states: tuple[FoundState, ...]
    open_states: tuple[str, ...]
    others: Mapping[str, int]
    compared: Mapping[str, tuple[int, ...]]
    guessed: Mapping[str, str]
    called: Mapping[str, str]
    operators: Mapping[str, int]

    @property
    def renamed(self) -> dict[str, str]:
        """The graph's names that a contract cannot hold, and what they become."""
        return {theirs: ours for ours, theirs in self.theirs.items() if ours != theirs}


def read_recurrent(path: Path, data: bytes, options: AdoptOptions | None = None) -> Reading:
    """Read an .onnx of any exporter.

    Raises:
        FileDamagedError: no whole ONNX file.
        AdoptionError: no recurrence, no state and no lengths in it, or an input or output that no contract has.
        OptionError: an option names what the file does not have.
        MissingExtraError: the package onnx is not installed.
    """
    options = options or AdoptOptions()
    refuse_other_formats(path, data)
    proto = parse_onnx(path, data)
    with as_onnx_defines(str(path), proto):
        return _read(path, proto, options)


def _read(path: Path, proto: ModelProto, options: AdoptOptions) -> Reading:
    fix_inputs(proto, options.constants)
    scopes = scopes_of(inlined(proto))
    signature = graph_signature(proto, path.name)
    named = named_signature(signature, scopes)
    handed = handed_values(scopes)
    lengths = _lengths(handed, named, signature, options)
    states = _states(handed, named, signature, lengths, options)
    sized = _with_inferred_shapes(proto, scopes)
    parts, others = recurrent_parts(sized), other_recurrences(sized)
    operators = operators_of(scopes)
    if not (parts or others or states or lengths):
        raise _not_recurrent(path, operators)
    _refuse_unknown(options, named, signature)
    contract = Contract(
        inputs=named.inputs,
        outputs=_with_dims_of_states(named, states),
        states=tuple(state.pair for state in states),
        lengths=lengths,
        recurrent=parts,
        streaming=Streaming(kind="no", reason=NOT_TRIED),
        batching=Batching(rows="unknown", padding="unknown", reason=NOT_TRIED),
        precision=precision_of(proto, [signature.theirs[spec.name] for spec in signature.outputs]),
        source=Source(file=_utf8(path.name), module="", weights_sha256=weights_digest(scopes)),
        versions={"opset": str(_opset(proto)), "producer": f"{proto.producer_name} {proto.producer_version}".strip()},
        table_sizes=table_sizes(handed, named.inputs, signature.theirs),
    )
    return Reading(
        path=path,
        proto=proto,
        contract=contract,
        theirs=signature.theirs,
        states=states,
        open_states=tuple(open_states(handed, named.inputs, named.outputs, signature.theirs, states)),
        others=others,
        compared=compared_values(handed, named.inputs, signature.theirs),
        guessed=named.guessed,
        called=named.called,
        operators=operators,
    )


def refuse_other_formats(path: Path, data: bytes) -> None:
    """Refuse what is told by its first bytes: ONNX Runtime's own format; raises AdoptionError."""
    if data[4:8] == b"ORTM" or path.suffix == ".ort":
        raise AdoptionError(
            str(path),
            got="a file in ONNX Runtime's own format (.ort), which only ONNX Runtime reads",
            expected="the .onnx that it was converted from",
            remedy="give that file: no tool converts an .ort back",
        )


def weights_digest(scopes: Sequence[Scope]) -> str:
    """A SHA-256 over the constants of a graph in order; of external ones where they lie, and not their values."""
    digest = hashlib.sha256()
    for scope in scopes:
        for name, tensor in sorted(scope.tensors.items()):
            digest.update(f"{name}\0{tensor.data_type}\0{list(tensor.dims)}\0".encode())
            digest.update(_values(tensor))
    return digest.hexdigest()


def _values(tensor: TensorProto) -> bytes:
    if tensor.raw_data:
        return bytes(tensor.raw_data)
    bare = TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("name")
    return bytes(bare.SerializeToString(deterministic=True))


def _with_inferred_shapes(proto: ModelProto, scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """The scopes with the shapes of what lies between, where a recurrent node's sizes need them."""
    if not has_unknown_sizes(scopes) or proto.ByteSize() > LARGEST_INFERRED:
        return scopes
    try:
        return scopes_of(inlined(shape_inference.infer_shapes(light_model(proto))))
    except Exception:  # of graphs that ONNX cannot follow, and ONNX Runtime can
        return scopes


def _lengths(
    handed: HandedValues, named: NamedSignature, signature: GraphSignature, options: AdoptOptions
) -> tuple[str, ...]:
    """Those that are given, or mapped to a layer's, and those that reach a recurrent node, in the inputs' order."""
    ours = {signature.theirs[spec.name]: spec for spec in named.inputs} | {spec.name: spec for spec in named.inputs}
    given = set[str]()
    for name in options.lengths:
        spec = ours.get(name)
        if spec is None or not _may_be_lengths(spec):
            vectors = [own.name for own in named.inputs if _may_be_lengths(own)]
            raise OptionError(
                "lengths",
                got=f"{name!r}" + (f" {spec.dtype} {spec.shape}" if spec else ", no input"),
                expected=f"an input of one length for each row ({', '.join(vectors) or 'the file has none'})",
                remedy="name an int32 or int64 input of the dims (B,)",
            )
        given.add(spec.name)
    mapped = ours.get(options.names.get("lengths", ""))
    given |= {mapped.name} if mapped is not None and _may_be_lengths(mapped) else set()
    found = {*length_inputs(handed, named.inputs, signature.theirs), *given}
    return tuple(spec.name for spec in named.inputs if spec.name in found)


def _may_be_lengths(spec: TensorSpec) -> bool:
    return spec.dtype in ("int32", "int64") and len(spec.dims) == 1


def _states(
    handed: HandedValues,
    named: NamedSignature,
    signature: GraphSignature,
    lengths: Sequence[str],
    options: AdoptOptions,
) -> tuple[FoundState, ...]:
    ours = {theirs: own for own, theirs in signature.theirs.items()}
    given = {ours.get(name, name): ours.get(output, output) for name, output in options.states.items()}
    inputs = [spec for spec in named.inputs if spec.name not in lengths]
    return found_states(handed, inputs, named.outputs, given, signature.theirs)


def _with_dims_of_states(named: NamedSignature, states: Sequence[FoundState]) -> tuple[TensorSpec, ...]:
    """The outputs, those that the next call takes with the dims of their inputs."""
    inputs = {spec.name: spec for spec in named.inputs}
    dims = {state.pair.output: inputs[state.pair.input].dims for state in states}
    return tuple(replace(spec, dims=dims.get(spec.name, spec.dims)) for spec in named.outputs)


def _refuse_unknown(options: AdoptOptions, named: NamedSignature, signature: GraphSignature) -> None:
    known = {*signature.theirs.values(), *signature.theirs}
    for name in options.values:
        if name not in known:
            listed_names = ", ".join(spec.name for spec in named.inputs)
            raise OptionError(
                "values", got=f"{name!r}", expected=f"one of the inputs {listed_names}", remedy="name an input"
            )


def _opset(proto: ModelProto) -> int:
    return next((own.version for own in proto.opset_import if own.domain in ("", "ai.onnx")), 0)


def _utf8(name: str) -> str:
    return name.encode(errors="replace").decode()


def _not_recurrent(path: Path, operators: Mapping[str, int]) -> AdoptionError:
    most = dict(list(operators.items())[:12])
    more = f" and {len(operators) - 12} operators more" if len(operators) > 12 else ""
    return AdoptionError(
        str(path),
        got=f"no recurrence, no state and no lengths, but {listed(most)}{more}",
        expected="an LSTM, GRU, RNN, Scan or Loop, or an input that takes what an output gave",
        remedy="name the state (--state IN=OUT) if there is one; rnnx is about recurrent models",
    )


def rows_of_reading(reading: Reading) -> Iterator[tuple[str, str]]:
    """What the graph alone says, as (name, value) for people."""
    yield from (("state by", state.shown) for state in reading.states)
    yield from (("perhaps", text) for text in reading.open_states)
    if reading.others:
        yield "also inside", listed(reading.others)
    for theirs, ours in reading.renamed.items():
        yield "renamed", f"{theirs!r} is {ours} here"
    yield "nodes", listed(reading.operators)
    yield "written by", reading.contract.versions["producer"] or "not said"
    yield "contract", "none in the file: rnnx adopt tries this out and writes one"
