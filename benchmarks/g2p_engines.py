"""Every piece of the trained models, exported whole and built into an engine: `python benchmarks/g2p_engines.py`.

Layers, sizes and seconds of each. What TensorRT understood of each is evaluated in NumPy against the golden file.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rounds import write_result

import rnnx
from rnnx.cli.render import print_table
from rnnx_runtime.files.sidecar import Range

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("g2p-lstm", "g2p-gru")
BATCH, TIME = Range(min=1, opt=64, max=256), Range(min=1, opt=8, max=40)


def main() -> None:
    """Export, build, write down and print."""
    sys.path.insert(0, str(ROOT / "models"))
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for model in MODELS for row in _pieces(model, Path(folder))]
    write_result("g2p_engines", "python benchmarks/g2p_engines.py", {"pieces": rows})
    keys = ("piece", "nodes", "onnx_bytes", "export_s", "layers", "plan_bytes", "build_s", "network")
    columns = ("piece", ">nodes", ">onnx bytes", ">export s", ">layers", ">plan bytes", ">build s", "network")
    print_table("Engines of the trained models", columns, [tuple(_text(row[key]) for key in keys) for row in rows])


def _pieces(model: str, folder: Path) -> list[dict[str, Any]]:
    from g2p.export import export_speller

    start = time.perf_counter()
    report = export_speller(ROOT / "models" / model, folder)
    seconds = time.perf_counter() - start
    files = {"encoder": report.encoder, **report.decoders}
    return [{"piece": f"{model} {role}", "export_s": seconds, **_engine(file)} for role, file in files.items()]


def _engine(file: Any) -> dict[str, Any]:
    dims = {dim for spec in file.contract.inputs for dim in spec.dims if isinstance(dim, str)}
    profile = {dim: BATCH if dim == "B" else TIME for dim in sorted(dims)}
    plan = file.path.with_suffix(".plan")
    engine = rnnx.build_engine(file.path, plan, rnnx.EngineOptions(profiles=(profile,), tf32=False))
    verified = rnnx.verify(file.path, rnnx.VerifyOptions(backends=("tensorrt-network",), latency=False))
    return {
        "nodes": sum(file.nodes.values()),
        "onnx_bytes": file.bytes,
        "layers": engine.layers,
        "loops": engine.loops,
        "plan_bytes": engine.bytes,
        "build_s": engine.build_s,
        "network": verified.parity.rows[0].status,
        "library": f"{engine.sidecar.flavor} {engine.sidecar.version}",
    }


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
