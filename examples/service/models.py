"""The models that the service runs, and new versions of them in place of the old."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import rnnx_runtime
from rnnx_runtime import ContractError, PoolOptions, Session, StreamPool
from rnnx_runtime.contract import Contract, TensorSpec
from service.settings import Settings


@dataclass(frozen=True, kw_only=True)
class StreamSizes:
    """The numbers of a frame and of its output, and of how many frames a message must have a multiple."""

    frame: int
    output: int
    multiple: int


class Models:
    """A pool of streams, and an encoder for whole sequences where one is served.

    Raises:
        RnnxError: a model cannot be loaded, or is not what the service needs.
    """

    def __init__(self, settings: Settings, options: PoolOptions) -> None:
        self._settings = settings
        self.encoder = _encoder(settings.encoder_model)
        try:
            self.pool = StreamPool(_streaming(settings.stream_model), options)
        except BaseException:
            _close(self.encoder)
            raise

    @property
    def sizes(self) -> StreamSizes:
        """Those of the streams' model."""
        return _sizes(self.pool.spec)

    def reload(self) -> None:
        """Read both files again and go on with them: streams keep their states; runs in flight end on the old one.

        Raises:
            RnnxError: a file is damaged, or its model is of other sizes; the models that run go on.
        """
        encoder = _encoder(self._settings.encoder_model)
        try:
            self._swap(_streaming(self._settings.stream_model))
        except BaseException:
            _close(encoder)
            raise
        old, self.encoder = self.encoder, encoder
        _close(old)

    def _swap(self, step: Session) -> None:
        try:
            self.pool.swap(step)
        except BaseException:
            step.close()
            raise

    def close(self) -> None:
        """Run what waits, and free the models."""
        self.pool.close()
        _close(self.encoder)


def _close(session: Session | None) -> None:
    if session is not None:
        session.close()


def _encoder(path: Path | None) -> Session | None:
    if path is None:
        return None
    session = rnnx_runtime.load(path)
    bare = session.spec.bare
    if bare is not None and bare.form == "encoder" and session.spec.lengths and not bare.batch_first:
        return session
    session.close()
    got = "a whole model" if bare is None else f"a model of form {bare.form}"
    raise _unfit(path, f"{got}, or without lengths, or with the batch first", "form encoder, with lengths, time first")


def _streaming(path: Path) -> Session:
    session = rnnx_runtime.load(path)
    try:
        _sizes(session.spec)
    except ContractError:
        session.close()
        raise
    return session


def _sizes(spec: Contract) -> StreamSizes:
    """Of frames `(I,)` and outputs of any shape; raises ContractError where there are others."""
    inputs, outputs = spec.plain_inputs, spec.plain_outputs
    frame, output = _frame(inputs[0]), _frame(outputs[0])
    is_lone = len(inputs) == len(outputs) == 1 and {inputs[0].dtype, outputs[0].dtype} == {"float32"}
    if not is_lone or frame is None or len(frame) != 1 or output is None:
        shown = ", ".join(f"{own.dtype} {own.shape}" for own in (*inputs, *outputs))
        expected = "one input of frames (I,) and one output, of float32, time in front of their other axes"
        raise _unfit(Path(spec.source.file or "model"), shown, expected)
    multiple = _unit(inputs[0])
    # Of an output of several frames for one of the input, all of them.
    return StreamSizes(frame=frame[0], output=-(-prod(output) * _unit(outputs[0]) // multiple), multiple=multiple)


def _frame(spec: TensorSpec) -> tuple[int, ...] | None:
    """The sizes behind the axes of batch and time; None where one is in front of them."""
    lead = sum(isinstance(dim, str) for dim in spec.dims)
    sizes = tuple(dim for dim in spec.dims[lead:] if isinstance(dim, int))
    return sizes if len(sizes) + lead == len(spec.dims) else None


def _unit(spec: TensorSpec) -> int:
    """How many frames a step of time has, such as 4 of `4*T`."""
    units = [int(dim.partition("*")[0]) for dim in spec.dims if isinstance(dim, str) and dim.endswith("*T")]
    return max(units, default=1)


def _unfit(path: Path, got: str, expected: str) -> ContractError:
    return ContractError(path.name, got=got, expected=expected, remedy="export it as examples/service/README.md shows")
