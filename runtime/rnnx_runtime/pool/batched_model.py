"""A session as a pool sees it: a batch of rows, each with k frames and a state, whatever the model's form."""

from collections.abc import Sequence
from typing import Any

from rnnx_runtime.array_type import Array
from rnnx_runtime.arrays.frame_layout import FrameLayout, Frames
from rnnx_runtime.arrays.time_axis import why_no_next_step
from rnnx_runtime.contract import Contract, Recurrence, TensorSpec
from rnnx_runtime.errors import ContractError, InputError
from rnnx_runtime.pool.row_ends import RowEnds
from rnnx_runtime.session import Session
from rnnx_runtime.snapshot import without_leading_ones
from rnnx_runtime.state import State, state_of
from rnnx_runtime.stream import refuse_without_next


class BatchedModel:
    """Runs rows of frames: an input is `(k, B, …)`, or `(B, …)` where the model has no axis of time there; an output
    is `(k, B, …)`. Of a model whose steps of time have several frames, k is a multiple of theirs.

    Raises:
        InputError: the model does not stream, or a state's size would differ from stream to stream.
    """

    def __init__(self, session: Session) -> None:
        if not isinstance(getattr(session, "spec", None), Contract):
            got, remedy = type(session).__name__, "give what rnnx_runtime.load returns"
            raise InputError("session", got=got, expected="a Session", remedy=remedy)
        _check_streams(session.spec)
        self.session = session
        self.layout = layout = FrameLayout(session.spec)
        self.states = session.spec.state_specs
        self.state_names = session.initial_state(1).names
        self.ends = RowEnds(session.spec, layout)
        self.takes_chunks = layout.has_time
        """Whether one run may hold several frames of each row."""
        self.statics = tuple(layout.has_time and not own.is_sequence for own in layout.inputs.values())
        """Which inputs are given once a push, whatever its frames."""
        self.has_open_frames = any(isinstance(dim, str) for own in layout.inputs.values() for dim in own.row_dims)
        """Whether frames of two streams may have other shapes, and then cannot run together."""
        self.timed = tuple(own.time is not None for own in layout.inputs.values())
        """Which inputs have an axis of time in the model."""
        self.output_names = tuple(layout.outputs)
        self._row_shapes = [tuple(int(dim) for dim in spec.dims if dim != "B") for spec in self.states]
        self._input_orders = tuple(_input_order(own) for own in layout.inputs.values())
        self._output_orders = tuple((_output_order(own), own.time is None) for own in layout.outputs.values())
        self.input_names = tuple(layout.inputs)
        self._is_lone = layout.lone is not None and layout.lone_output is not None
        self._slot_dims: tuple[tuple[int, ...], ...] | None = None
        self._has_rows_first = all(own.row_indexed(None)[:1] == (None,) for own in self._tensors())

    @property
    def runs_directly(self) -> bool:
        """Whether a step takes and gives rows as they come: each tensor's first axis but for time is the batch's."""
        return self._has_rows_first and self._slot_dims is None

    def _tensors(self) -> tuple[Frames, ...]:
        return (*self.layout.inputs.values(), *self.layout.outputs.values())

    def run(self, inputs: Sequence[Array], state: State) -> tuple[list[Array], State]:
        """Run the inputs in the contract's order; gives the outputs `(k, B, …)` and the next state.

        Raises:
            BackendError: the backend failed.
        """
        if self._slot_dims is not None:
            state = _reshaped(state, [spec.dims for spec in self.states])
        orders = zip(inputs, self._input_orders, strict=True)
        values = [value if order is None else value.transpose(order) for value, order in orders]
        given: list[Array]
        if self._is_lone:
            y, following = self.session.run(values[0], state)
            given = [y]
        else:
            named, following = self.session.run(dict(zip(self.input_names, values, strict=True)), state)
            given = [*named.values()]
        outputs = []
        for value, (order, is_timeless) in zip(given, self._output_orders, strict=True):
            turned = value if order is None else value.transpose(order)
            outputs.append(turned[None] if is_timeless else turned)
        if self._slot_dims is not None:
            following = _reshaped(following, self._slot_dims)
        return outputs, following

    def own_rows(self, rows: Sequence[Array]) -> tuple[Array, ...]:
        """The states of one stream, as slots hold them, in the shapes of this model's specs."""
        return tuple([row.reshape(shape) for row, shape in zip(rows, self._row_shapes, strict=True)])

    def is_over(self, rows: Sequence[Array]) -> bool:
        """Whether one stream's states, in the specs' order, are those after its sequence's end."""
        end = self.session.spec.streaming.end
        places = [place for place, spec in enumerate(self.states) if spec.name == end]
        return any(int(rows[place].item()) > 0 for place in places)

    def follow(self, other: "BatchedModel") -> None:
        """Go on from another model's states, which lie as that model's specs say.

        Raises:
            ContractError: this model could not: its inputs, outputs or states are others.
        """
        old, new = _kept(other), _kept(self)
        tables = self.session.spec.table_sizes
        for name, rows in other.session.spec.table_sizes.items():
            if tables.get(name, rows) < rows:  # what a stream was told it may push must go on to be a row
                old[f"rows looked up by {name}"], new[f"rows looked up by {name}"] = f"{rows}", f"{tables[name]}"
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if differing:
            raise ContractError(
                "swap",
                got=", ".join(f"{name} {new.get(name)}" for name in differing),
                expected=", ".join(f"{name} {old.get(name)}" for name in differing),
                remedy="open a second pool for a model of other sizes",
            )
        slots: Any = other._slot_dims or tuple(spec.dims for spec in other.states)
        self._slot_dims = None if slots == tuple(spec.dims for spec in self.states) else slots


def _input_order(own: Frames) -> tuple[int, ...] | None:
    """The transposition from the pool's axes to an input's; None where they are the same."""
    lead = [axis for axis in (own.time, own.batch) if axis is not None]
    rest = [axis for axis in range(len(own.spec.dims)) if axis not in lead]
    places = [*lead, *rest]  # the input's axis that each of the pool's becomes
    return _unless_same(tuple(places.index(axis) for axis in range(len(places))))


def _output_order(own: Frames) -> tuple[int, ...] | None:
    """The transposition from an output's axes to the pool's."""
    lead = [axis for axis in (own.time, own.batch) if axis is not None]
    return _unless_same((*lead, *(axis for axis in range(len(own.spec.dims)) if axis not in lead)))


def _unless_same(order: tuple[int, ...]) -> tuple[int, ...] | None:
    return None if order == tuple(range(len(order))) else order


def _reshaped(state: State, dims: Sequence[Sequence[Any]]) -> State:
    """The same states in another layout, which differs in leading axes of 1."""
    values = []
    for name, own in zip(state, dims, strict=True):
        value = state[name]
        lead = len(own) - value.ndim
        values.append(value[(None,) * lead] if lead > 0 else value[(0,) * -lead])
    return state_of(state.names, tuple(values))


def _kept(model: BatchedModel) -> dict[str, str]:
    """What a new version of a model must share with the old one, for the streams and their states to go on."""
    layout = model.layout
    found = {f"input {name}": f"{own.spec.dtype} {own.frame_dims}" for name, own in layout.inputs.items()}
    found |= {f"output {name}": f"{own.spec.dtype} {own.frame_dims}" for name, own in layout.outputs.items()}
    found |= {f"state {spec.name}": f"{spec.dtype} {_row_dims(spec)}" for spec in model.states}
    streaming = model.session.spec.streaming
    found |= {f"input {name}, its time": f"axis {own.chunk_axis}" for name, own in layout.inputs.items()}
    found |= {f"output {name}, its time": f"axis {own.chunk_axis}" for name, own in layout.outputs.items()}
    late = [f"{name} {delay} frames late" for name, delay in streaming.delays.items()]
    long = [f"{name} {length} frames long" for name, length in streaming.lengths.items()]
    found["results"] = ", ".join([*late, *long, f"{streaming.lookahead} frames ahead"])
    found["layers"] = ", ".join(_kind(own) for own in model.session.spec.recurrent)
    bare = model.session.spec.bare
    if bare is not None:  # a step calls hn what an encoder calls output
        found = {name: value for name, value in found.items() if not name.startswith("output ")}
    return found


def _row_dims(spec: TensorSpec) -> tuple[Any, ...]:
    return without_leading_ones(tuple(dim for dim in spec.dims if dim != "B"))


def _kind(own: Recurrence) -> str:
    nonlinearity = f" {own.nonlinearity}" if own.nonlinearity else ""
    return f"{own.cell}{nonlinearity} {own.input_size}→{own.hidden_size}/{own.projection_size} ×{own.layers}"


def _check_streams(spec: Contract) -> None:
    refuse_without_next(spec, "pool")
    if spec.batching.rows != "independent":
        what = "depend on each other" if spec.batching.rows == "coupled" else "may depend on each other"
        raise InputError(
            "pool",
            got=f"a model whose rows {what}: {spec.batching.reason}",
            expected="rows that are streams of their own",
            remedy="run each stream by itself with Session.stream",
        )
    reason = why_no_next_step(spec)
    open_states = [own for own in spec.state_specs if any(dim != "B" for dim in own.dims if isinstance(dim, str))]
    if open_states:
        reason = f"a state {open_states[0].name!r} of {open_states[0].shape}, whose size may differ between streams"
    if reason:
        raise InputError(
            "pool",
            got=reason,
            expected="a model with a single next step",
            remedy="export it in form step" if spec.bare else "run it with Session.stream",
        )
