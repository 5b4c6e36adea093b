"""Another exporter's file where a model of rnnx is wanted: adopted for a while, into a folder that goes afterwards."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rnnx.errors import OptionError
from rnnx.linting.message_limits import refuse_swollen
from rnnx_runtime.files.model_file import LARGEST_ONNX, bytes_of
from rnnx_runtime.files.seal import is_sealed


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """A sealed model with its bytes, and where it is a copy what was found out to make it."""

    path: Path
    data: bytes
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def own_model(path: Path) -> Iterator[OwnModel]:
    """A model of rnnx as it lies there; of another exporter's .onnx an adopted copy of its name, inside the block.

    The copy of one file has the same bytes each time, so that an engine built from one belongs to the next.

    Raises what `rnnx.adopt` raises, and OptionError for another suffix.
    """
    if path.suffix != ".onnx":
        remedy = "give the .onnx, and its plan as the engine"
        raise OptionError("the file", got=path.name, expected="an .onnx", remedy=remedy)
    data = bytes_of(path, LARGEST_ONNX)
    if is_sealed(data):
        refuse_swollen(path, data)  # whoever can write a file can seal it
        yield OwnModel(path=path, data=data)
        return
    from rnnx.adopting.adoption import adopt  # here, for it imports onnx, and a golden file is compared without

    with tempfile.TemporaryDirectory(prefix="rnnx-") as folder:
        report = adopt(path, Path(folder) / path.name)
        states = "; ".join(report.states) or "none"
        note = f"{path.name} is another exporter's: states {states}; streaming {report.contract.streaming.kind}"
        yield OwnModel(
            path=report.path,
            data=report.path.read_bytes(),
            notes=(f"{note} (rnnx adopt keeps what it finds)", *report.notes),
        )
