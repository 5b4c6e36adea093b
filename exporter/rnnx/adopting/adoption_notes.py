"""What an adoption tells besides its contract, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rnnx.linting.findings import Finding
from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.dim_sizes import sizes_from_feeds
from rnnx_runtime.contract import Contract


def proofs_of(contract: Contract, example: Mapping[str, Array]) -> tuple[str, ...]:
    """What was run of dims and states, and held."""
    found = []
    if contract.free_dims:
        sizes = sizes_from_feeds(contract.inputs, example)
        listed = ", ".join(f"{dim} = {size}" for dim, size in sizes.items())
        found.append(f"free dims: run at {listed} and at other sizes of each")
    if contract.states and contract.streaming.kind == "exact":
        is_step = "T" not in contract.free_dims
        told = (
            "each call is one step, and what it gives depends on them"
            if is_step
            else "chunks give what the whole gives"
        )
        found.append(f"states: {told}")
    return tuple(found)


def inputs_to_fix(contract: Contract, compared: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Inputs of one value for a whole call, which no stream has of its own: fixed, they are not in the way."""
    scalars = [spec for spec in contract.plain_inputs if not spec.dims and contract.states]
    return tuple(
        f"{spec.name} is one value for all rows, which is in the way of streams: fix it by "
        f"--constant {spec.name}={compared.get(spec.name, ('VALUE',))[0]}"
        for spec in scalars
    )


def joined_notes(notes: Sequence[str]) -> Iterator[str]:
    """Notes on several nodes that say the same, as one."""
    said: dict[str, list[str]] = {}
    for note in notes:
        node, _, message = note.partition(": ")
        said.setdefault(message, []).append(node)
    for message, nodes in said.items():
        yield f"{nodes[0]}{f' (and {len(nodes) - 1} others)' if len(nodes) > 1 else ''}: {message}"


def doctor_line(findings: Sequence[Finding]) -> str:
    """The findings as one line, each rule once."""
    counts = Counter(f"{own.severity} {own.rule}" for own in findings)
    return f"rnnx doctor: {', '.join(f'{count} {rule}' for rule, count in counts.items()) or 'nothing found'}"
