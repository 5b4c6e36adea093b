"""The causes that a diagnosis can name: each an error that is known to be made between PyTorch and a backend."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What a known cause means, with `{detail}` for what was found in one case, and what to do about it."""

    summary: str
    remedy: str

    def told(self, detail: str) -> str:
        """The summary of one case."""
        return self.summary.format(detail=detail)


KNOWN_CAUSES: Mapping[str, Cause] = {
    "gate-order": Cause(
        summary="the gates are in the wrong order: {detail}",
        remedy="reorder each weight's gate blocks: PyTorch has i, f, g, o and r, z, n; ONNX has i, o, f, c and z, r, h",
    ),
    "reset-gate-before": Cause(
        summary="the GRU applies its reset gate before the recurrent product, PyTorch after it: {detail}",
        remedy="set linear_before_reset=1 on the GRU node; its default is 0",
    ),
    "input-forget": Cause(
        summary="input and forget gate are coupled: {detail}",
        remedy="set input_forget=0 on the LSTM node, as is its default",
    ),
    "bias-swapped": Cause(
        summary="the input's and the recurrent bias are mixed up: {detail}",
        remedy="write B as [Wb, Rb], the input's half first, and never add the halves of a GRU's candidate",
    ),
    "bias-dropped": Cause(
        summary="a bias is missing: {detail}",
        remedy="write both of PyTorch's biases, bias_ih and bias_hh, into the graph",
    ),
    "directions-swapped": Cause(
        summary="forward and backward have changed places: {detail}",
        remedy="put forward first in weights, states and outputs; PyTorch's backward keys end in _reverse",
    ),
    "output-interleaved": Cause(
        summary="the halves of output are put together wrongly: {detail}",
        remedy="transpose ONNX's Y (T, D, B, H) to (T, B, D, H) before the Reshape to (T, B, D·H), forward first",
    ),
    "time-reversed": Cause(
        summary="a sequence runs in the wrong order of time: {detail}",
        remedy="run the backward direction from the last step, and turn its output back into the sequence's order",
    ),
    "layer-states-mixed": Cause(
        summary="the states of layers or directions are mixed up: {detail}",
        remedy="order the rows of h0, c0, hn and cn by layer, then by direction, as PyTorch does",
    ),
    "states-swapped": Cause(
        summary="h and c have changed places: {detail}",
        remedy="connect h0 to initial_h, c0 to initial_c, hn to Y_h and cn to Y_c",
    ),
    "state-ignored": Cause(
        summary="an initial state is taken as zeros: {detail}",
        remedy="connect h0 and c0 to the recurrent node instead of constants",
    ),
    "batch-for-time": Cause(
        summary="the batch is taken for the time: {detail}",
        remedy="verify a model trained with batch_first=True with the same option (--batch-first); in any other, "
        "transpose x to (T, B, I) inside the graph, and write no layout=1, which TensorRT reads as layout=0",
    ),
    "baked-time": Cause(
        summary="the time length of the export's example is fixed in the graph: {detail}",
        remedy="export with a dynamic time axis; where the node is a Reshape, give it 0 or -1 for that length",
    ),
    "baked-batch": Cause(
        summary="the batch size of the export's example is fixed in the graph: {detail}",
        remedy="export with a dynamic batch axis and the initial states as inputs",
    ),
    "lengths-ignored": Cause(
        summary="the lengths are ignored: {detail}",
        remedy="connect lengths to the node's sequence_lens, and keep the mask where there is one",
    ),
    "lengths-shifted": Cause(
        summary="the lengths are off by one: {detail}",
        remedy="feed the count of valid steps, not the place of the last one, and take no step off or add one",
    ),
    "backward-padding": Cause(
        summary="the backward direction starts in the padding: {detail}",
        remedy="reverse each row within its own length (ReverseSequence), not the whole padded sequence",
    ),
    "clip": Cause(
        summary="values are clipped that PyTorch does not clip: {detail}",
        remedy="remove the attribute clip from the recurrent node",
    ),
    "wrong-activation": Cause(
        summary="an activation function is another than PyTorch's: {detail}",
        remedy="leave the attribute activations out, or write Sigmoid, Tanh and Tanh (GRU: Sigmoid and Tanh)",
    ),
    "weights-transposed": Cause(
        summary="a weight is transposed within its gates: {detail}",
        remedy="keep ONNX's W and R as (D, G·H, I) and (D, G·H, H); transpose them only for a plain MatMul",
    ),
    "tf32": Cause(
        summary="products are computed in TF32, whose factors have 11 bits: {detail}",
        remedy="switch TF32 off (rnnx build-engine --no-tf32), or have the row judged as tf32",
    ),
    "float16-precision": Cause(
        summary="values are rounded to float16: {detail}",
        remedy="keep the model in float32, or have it judged as float16",
    ),
    "bfloat16-precision": Cause(
        summary="values are rounded to bfloat16: {detail}",
        remedy="keep the model in float32, or have it judged as bfloat16",
    ),
    "float16-overflow": Cause(
        summary="a value outgrows float16, whose largest is 65,504: {detail}",
        remedy="keep the cell state and the sums in float32 (or bfloat16), and cast only the weights",
    ),
    "float64-as-float32": Cause(
        summary="a float64 graph is computed in float32: {detail}",
        remedy="cast the graph to float32 and judge it as such; TensorRT has no float64",
    ),
    "int8-precision": Cause(
        summary="weights and inputs are rounded to int8: {detail}",
        remedy="have the model judged as int8, or keep it in float32",
    ),
    "int8-saturation": Cause(
        summary="int8 values saturate at the end of their range: {detail}",
        remedy="quantize with reduce_range=True, or calibrate on inputs as large as the service's",
    ),
    "output-scaled": Cause(
        summary="an output is multiplied by a factor: {detail}",
        remedy="remove what scales it behind the recurrence: a Mul, a Div, a DequantizeLinear of another scale",
    ),
    "weights-scaled": Cause(
        summary="a weight or a bias is multiplied by a factor: {detail}",
        remedy="write the checkpoint's values as they are; where they are quantized, look at the scale",
    ),
    "weights-rounded": Cause(
        summary="weights are rounded: {detail}",
        remedy="write them in float32, in full; a format of text keeps 9 digits of one",
    ),
    "weight-fault": Cause(
        summary="weights differ from the checkpoint's: {detail}",
        remedy="compare the file's weight with the checkpoint's key that is named, and export again",
    ),
}
"""The table by name. Each is tried as a prediction: it is named when it explains the backend's values, which the truth
does not."""
