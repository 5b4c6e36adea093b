"""What unrolled decoders cost to build, and how near the forecast is: `python benchmarks/decoder_forecast.py`.

Three decoders, each with 8, 32 and 64 greedy steps, exported and built with TensorRT for RTX on this CPU. The constants
of `rnnx.decoders.forecast` are fits to these builds: seconds over nodes and their square, bytes over nodes, both by
least squares of the relative error; the fits to this run are written down beside the builds. The fit is of CPU seconds,
which other work on the machine hardly changes: the builder uses one core.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rounds import write_result
from torch import Tensor, nn

import rnnx
from rnnx.cli.render import print_table
from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.exporting import export_decoder
from rnnx_runtime.files.sidecar import Range

STEPS = (8, 32, 64)
DECODERS = {
    "1 LSTMCell, H = 16": {"cells": 1, "hidden": 16, "vocabulary": 11, "attends": False},
    "2 LSTMCell, H = 16, attention": {"cells": 2, "hidden": 16, "vocabulary": 11, "attends": True},
    "1 LSTMCell, H = 128, attention": {"cells": 1, "hidden": 128, "vocabulary": 500, "attends": True},
}


class Stack(nn.Module):
    """LSTM cells above each other, with or without attention over a memory `(T, B, H)`."""

    def __init__(self, cells: int, hidden: int, vocabulary: int, attends: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(cells))
        self.head = nn.Linear(hidden, vocabulary)
        self.hidden, self.attends = hidden, attends

    def forward(
        self, token: Tensor, state: tuple[tuple[Tensor, Tensor], ...], memory: Tensor | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        """Logits and the new state."""
        x, following = self.embedding(token), []
        for cell, own in zip(self.cells, state, strict=True):
            x, c = cell(x, own)
            following.append((x, c))
        if memory is not None:
            weights = torch.softmax(torch.einsum("bh,tbh->bt", x, memory), dim=-1)
            x = x + torch.einsum("bt,tbh->bh", weights, memory)
        return self.head(x), tuple(following)

    def example(self) -> tuple[Any, ...]:
        """What `forward` is called with."""
        state = tuple((torch.zeros(3, self.hidden), torch.zeros(3, self.hidden)) for _ in self.cells)
        return (torch.arange(3), state, *([torch.randn(4, 3, self.hidden)] if self.attends else []))


def main() -> None:
    """Build, write down and print."""
    torch.manual_seed(0)
    builds = [_build(name, steps) for name in DECODERS for steps in STEPS]
    data = {"builds": builds, "fit": _fit(builds)}
    write_result("decoder_forecast", "python benchmarks/decoder_forecast.py", data)
    columns = ("decoder", ">steps", ">nodes", ">build s", ">CPU s", ">forecast s", ">plan MiB", ">forecast MiB")
    print_table("Unrolled decoders", columns, [_row(own) for own in builds])
    print_table("Fit", ("", ">"), [(name, f"{value:.3g}") for name, value in data["fit"].items()])  # type: ignore[attr-defined]


def _build(name: str, steps: int) -> dict[str, Any]:
    decoder = Stack(**DECODERS[name]).eval()  # type: ignore[arg-type]
    options = DecoderOptions(form="unrolled", steps=steps, end_token=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        expected = export_decoder(decoder, decoder.example(), path, options).forecast
        assert expected is not None
        dims = {dim for spec in _inputs(path) for dim in spec.dims if isinstance(dim, str)}
        profile = {dim: Range(min=1, opt=4, max=16) for dim in dims}
        start = time.process_time()
        engine = rnnx.build_engine(path, path.with_suffix(".plan"), rnnx.EngineOptions(profiles=(profile,)))
        seconds = time.process_time() - start
        weights = sum(4 * value.numel() for value in decoder.state_dict().values())
    return {
        "decoder": name,
        "steps": steps,
        "nodes": expected.nodes,
        "weights_bytes": weights,
        "layers": engine.layers,
        "build_s": engine.build_s,
        "cpu_s": seconds,
        "forecast_s": expected.build_s,
        "plan_bytes": engine.bytes,
        "forecast_plan_bytes": expected.plan_bytes,
        "library": f"{engine.sidecar.flavor} {engine.sidecar.version}",
    }


def _inputs(path: Path) -> Any:
    from rnnx_runtime.files.model_file import read_onnx

    return read_onnx(path).contract.inputs


def _fit(builds: list[dict[str, Any]]) -> dict[str, float]:
    nodes = np.array([own["nodes"] for own in builds], np.float64)
    seconds = np.array([own["cpu_s"] for own in builds])
    plan = np.array([own["plan_bytes"] - own["weights_bytes"] for own in builds], np.float64)
    linear, square = _least_squares(np.stack([nodes, nodes**2], axis=1), seconds)
    base, each = _least_squares(np.stack([np.ones_like(nodes), nodes], axis=1), plan)
    return {
        "seconds_per_node": linear,
        "seconds_per_node_squared": square,
        "plan_bytes": base,
        "plan_bytes_per_node": each,
    }


def _least_squares(columns: NDArray[Any], values: NDArray[Any]) -> tuple[float, ...]:
    """Coefficients whose relative errors have the least sum of squares."""
    found = np.linalg.lstsq(columns / values[:, None], np.ones_like(values), rcond=None)[0]
    return tuple(float(value) for value in found)


def _row(own: dict[str, Any]) -> tuple[object, ...]:
    sizes = (f"{own[key] / 2**20:.1f}" for key in ("plan_bytes", "forecast_plan_bytes"))
    seconds = (f"{own[key]:.2f}" for key in ("build_s", "cpu_s", "forecast_s"))
    return (own["decoder"], own["steps"], own["nodes"], *seconds, *sizes)


if __name__ == "__main__":
    main()
