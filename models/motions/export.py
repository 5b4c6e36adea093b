"""`python -m motions.export [FOLDER]`: the trained spotter as an ONNX file that streams."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import rnnx
from motions.network import MotionSpotter
from motions.recordings import CHANNELS

HERE = Path(__file__).parent


def export_spotter(folder: Path, build: Path) -> Path:
    """Write `motions.onnx`, which carries all that it needs from sample to sample; gives its path."""
    network = MotionSpotter()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    path = build / "motions.onnx"
    example = (torch.randn(2, 40, CHANNELS),)
    rnnx.export(network.eval(), path, rnnx.ModelOptions(stateful=True), example_inputs=example)
    return path


if __name__ == "__main__":
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "build"
    build.mkdir(parents=True, exist_ok=True)
    print(export_spotter(HERE, build))
