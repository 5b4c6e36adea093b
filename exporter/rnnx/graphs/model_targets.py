"""Where an exported model may be written, found out before any work."""

from collections.abc import Iterable
from pathlib import Path

from rnnx.artifacts import check_targets
from rnnx.errors import OptionError
from rnnx.truths.golden import golden_path


def check_model_target(target: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Find out what would keep an export from writing a model and its golden file, or which of `inputs` they are.

    Raises:
        OptionError: the name does not end in .onnx.
        OutputError: as `check_targets`.
    """
    if target.suffix != ".onnx":
        raise OptionError(
            "output", got=str(target), expected="a file name ending in .onnx", remedy="name one, such as model.onnx"
        )
    check_targets(target, golden_path(target), inputs=inputs)
