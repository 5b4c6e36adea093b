"""One tool on one model: `post_processing_tools.py TOOL MODEL GOLDEN OUT`, in an environment of its own.

Each is called as its own documentation calls it. The golden file's inputs calibrate the static quantizer.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import shape_inference, version_converter
from onnxruntime import quantization

Tool = Callable[[Path, Path, Path], None]


def _onnxslim(model: Path, _golden: Path, out: Path) -> None:
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(model)), out)


def _onnxsim(model: Path, _golden: Path, out: Path) -> None:
    import onnxsim

    simplified, is_equal = onnxsim.simplify(onnx.load(model))
    if not is_equal:
        raise ValueError("onnxsim's own check of its values failed")
    onnx.save(simplified, out)


def _polygraphy(model: Path, _golden: Path, out: Path) -> None:
    command = [str(Path(sys.executable).with_name("polygraphy")), "surgeon", "sanitize", str(model)]
    done = subprocess.run([*command, "--fold-constants", "-o", str(out)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError((done.stdout + done.stderr).strip().splitlines()[-1])


def _shapes(model: Path, _golden: Path, out: Path) -> None:
    onnx.save(shape_inference.infer_shapes(onnx.load(model), check_type=True, strict_mode=True, data_prop=True), out)


def _optimized(level: str) -> Tool:
    def run(model: Path, _golden: Path, out: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(out)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    return run


def _half(*, keep_io_types: bool) -> Tool:
    def run(model: Path, _golden: Path, out: Path) -> None:
        from onnxconverter_common import float16

        onnx.save(float16.convert_float_to_float16(onnx.load(model), keep_io_types=keep_io_types), out)

    return run


def _onnxruntime_half(model: Path, _golden: Path, out: Path) -> None:
    from onnxruntime.transformers import float16

    onnx.save(float16.convert_float_to_float16(onnx.load(model), keep_io_types=True), out)


def _dynamic(model: Path, _golden: Path, out: Path) -> None:
    quantization.quantize_dynamic(model, out, weight_type=quantization.QuantType.QInt8)


class _Inputs(quantization.CalibrationDataReader):  # type: ignore[misc, unused-ignore] # untyped outside its venv
    """The golden file's inputs, case by case."""

    def __init__(self, golden: Path) -> None:
        cases: dict[str, dict[str, Any]] = {}
        for key, value in np.load(golden).items():
            case, role, name = [*key.split("/"), "", ""][:3]
            if role == "in":
                cases.setdefault(case, {})[name] = value
        self._cases: Iterator[dict[str, Any]] = iter(cases.values())

    def get_next(self) -> dict[str, Any] | None:
        """The next case, None after the last."""
        return next(self._cases, None)


def _static(model: Path, golden: Path, out: Path) -> None:
    quantization.quantize_static(model, out, _Inputs(golden), quant_format=quantization.QuantFormat.QDQ)


def _external(model: Path, _golden: Path, out: Path) -> None:
    onnx.save(onnx.load(model), out, save_as_external_data=True, location=f"{out.name}.data")


def _other_opset(model: Path, _golden: Path, out: Path) -> None:
    onnx.save(version_converter.convert_version(onnx.load(model), 22), out)


def _renamed(model: Path, _golden: Path, out: Path) -> None:
    import onnx_graphsurgeon

    graph = onnx_graphsurgeon.import_onnx(onnx.load(model))
    for side, tensors in (("in", graph.inputs), ("out", graph.outputs)):
        for index, tensor in enumerate(tensors):
            tensor.name = f"{side}_{index}"
    onnx.save(onnx_graphsurgeon.export_onnx(graph), out)


TOOLS: dict[str, Tool] = {
    "onnxslim": _onnxslim,
    "onnxsim": _onnxsim,
    "polygraphy surgeon sanitize": _polygraphy,
    "onnx shape inference": _shapes,
    "onnxruntime basic": _optimized("ORT_ENABLE_BASIC"),
    "onnxruntime extended": _optimized("ORT_ENABLE_EXTENDED"),
    "onnxconverter-common float16": _half(keep_io_types=False),
    "onnxconverter-common float16, float32 ends": _half(keep_io_types=True),
    "onnxruntime float16": _onnxruntime_half,
    "onnxruntime dynamic int8": _dynamic,
    "onnxruntime static QDQ int8": _static,
    "external data": _external,
    "onnx version_converter to 22": _other_opset,
    "graphsurgeon, renamed": _renamed,
}
"""What a person calls each of them, and the call."""


if __name__ == "__main__":
    tool, *paths = sys.argv[1:]
    TOOLS[tool](*map(Path, paths))
