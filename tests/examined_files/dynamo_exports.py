"""Writes the files of `dynamo/`: models of `torch_models.py` through torch.onnx with dynamo=True.

    python -m tests.examined_files.dynamo_exports [NAME...]

They are kept because torch 2.13 does not write them every time: now and then it takes a free axis for a fixed one, and
refuses. Where in the source each node came from is removed: it names the folders of the machine that ran it.
"""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from tests.examined_files.torch_models import SUBJECTS, Subject

FOLDER = Path(__file__).with_name("dynamo")

NAMES = ("last-step", "final-states", "bands", "step", "attention", "twins")
"""The models that torch.onnx writes rightly; of the others it freezes the time, in the graph or in
an output's shape, or it refuses them."""


def main(names: list[str]) -> None:
    """Write one file for each name."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    for name in names or NAMES:
        _export(SUBJECTS[name], FOLDER / f"{name}.onnx")


def _export(subject: Subject, path: Path) -> None:
    dynamic: Any = torch.export.Dim.DYNAMIC
    shapes = tuple(dict.fromkeys(subject.free.get(name, {}), dynamic) for name in subject.names)
    names: dict[str, Any] = {"input_names": subject.names, "output_names": subject.outputs}
    options: dict[str, Any] = {"dynamo": True, "verbose": False, "external_data": False, "dynamic_shapes": shapes}
    torch.onnx.export(subject.module(), subject.fresh(), path, **options, **names)
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [own for own in node.metadata_props if own.key.startswith("pkg.torch.") and "stack_trace" not in own.key]
        copies = [onnx.StringStringEntryProto(key=own.key, value=own.value) for own in kept]
        del node.metadata_props[:]
        node.metadata_props.extend(copies)
    onnx.save(model, path)


if __name__ == "__main__":
    main(sys.argv[1:])
