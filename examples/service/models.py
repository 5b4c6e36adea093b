"""The two models that the service runs, and new versions of them in place of the old."""

from pathlib import Path

import rnnx_runtime
from rnnx_runtime import ContractError, PoolOptions, Session, StreamPool
from rnnx_runtime.contract import Form
from service.settings import Settings


class Models:
    """A pool of streams on a cell, and an encoder for whole sequences.

    Raises:
        RnnxError: a model cannot be loaded, or is not what the service needs.
    """

    def __init__(self, settings: Settings, options: PoolOptions) -> None:
        self._settings = settings
        self.encoder = _encoder(settings.encoder_model)
        try:
            self.pool = StreamPool(_loaded(settings.step_model, "step"), options)
        except BaseException:
            self.encoder.close()
            raise

    def reload(self) -> None:
        """Read both files again and go on with them: streams keep their states; runs in flight end on the old one.

        Raises:
            RnnxError: a file is damaged, or its model is of other sizes; the models that run go on.
        """
        encoder = _encoder(self._settings.encoder_model)
        try:
            self._swap(_loaded(self._settings.step_model, "step"))
        except BaseException:
            encoder.close()
            raise
        old, self.encoder = self.encoder, encoder
        old.close()

    def _swap(self, step: Session) -> None:
        try:
            self.pool.swap(step)
        except BaseException:
            step.close()
            raise

    def close(self) -> None:
        """Run what waits, and free both models."""
        self.pool.close()
        self.encoder.close()


def _encoder(path: Path) -> Session:
    session = _loaded(path, "encoder")
    if session.spec.lengths and not session.spec.layer().batch_first:
        return session
    session.close()
    raise _unfit(path, "one without lengths, or with the batch first", "one with lengths and the time first")


def _loaded(path: Path, form: Form) -> Session:
    session = rnnx_runtime.load(path)
    if session.spec.layer().form == form:
        return session
    session.close()
    raise _unfit(path, f"a model of form {session.spec.layer().form}", f"form {form}")


def _unfit(path: Path, got: str, expected: str) -> ContractError:
    return ContractError(path.name, got=got, expected=expected, remedy="export it as examples/service/README.md shows")
