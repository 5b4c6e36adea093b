"""A graph's weights turned to int8 by ONNX Runtime's own quantizer."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import quantize_dynamic
from tests.mutants.mutant import Edit


def quantized(*, reduce_range: bool) -> Edit:
    """The graph after `quantize_dynamic`, which makes every LSTM a DynamicQuantizeLSTM."""

    def edit(model: onnx.ModelProto) -> None:
        props = list(model.metadata_props)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_dynamic(model, path, reduce_range=reduce_range, extra_options={"WeightSymmetric": True})
            model.CopyFrom(onnx.load(path))
        del model.metadata_props[:]
        model.metadata_props.extend(props)

    return edit
