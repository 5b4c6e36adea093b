"""What an unrolled decoder will cost, said before it is built: nodes, bytes, TensorRT's build time and plan.

The count of nodes is exact. Time and plan are fits over the nodes of decoders with one and two cells, hidden sizes of
16 and 128, and 8 to 64 steps, built with TensorRT for RTX on a CPU: `benchmarks/decoder_forecast.py`, whose results say
how far off they were. Another builder or machine has other figures of the same order.
"""

from dataclasses import replace

from rnnx.decoders.decoder_options import DecoderOptions
from rnnx.decoders.step_graph import StepGraph
from rnnx.decoders.unrolled_decoder import unrolled_graph
from rnnx.errors import OptionError
from rnnx.graphs.export_report import Forecast
from rnnx_runtime.contract import DecoderPart

SECONDS_PER_NODE = 1.85e-3
SECONDS_PER_NODE_SQUARED = 1.03e-6
"""CPU seconds of the builder, which uses one core; of a long decoder they grow with the square of its nodes."""

PLAN_BYTES = 1.38e6
PLAN_BYTES_PER_NODE = 1.14e4
"""A plan holds compiled code for each node, and the weights once."""

_BYTES_PER_NODE = 110
"""Of an .onnx, for a node's names and attributes."""

LONGEST_BUILD_S = 60.0
"""Above this an unrolled decoder is refused unless it is wanted so: by then a loop is the better graph."""


def forecast(step: StepGraph, part: DecoderPart) -> Forecast:
    """The forecast of an unrolled decoder, from its graphs of one and of two steps."""
    one, two = (len(unrolled_graph(step, replace(part, steps=steps)).nodes) for steps in (1, 2))
    steps = part.steps or 0
    nodes = one + (steps - 1) * (two - one)
    weights = sum(tensor.ByteSize() for tensor in step.weights)
    return Forecast(
        steps=steps,
        nodes=nodes,
        onnx_bytes=weights + _BYTES_PER_NODE * nodes,
        build_s=build_seconds(nodes),
        plan_bytes=plan_size(nodes, weights),
    )


def build_seconds(nodes: int) -> float:
    """How long TensorRT takes for so many nodes."""
    return SECONDS_PER_NODE * nodes + SECONDS_PER_NODE_SQUARED * nodes**2


def plan_size(nodes: int, weights: int) -> int:
    """Bytes of the plan of so many nodes and bytes of weights."""
    return int(PLAN_BYTES + PLAN_BYTES_PER_NODE * nodes) + weights


def check_forecast(expected: Forecast, options: DecoderOptions) -> None:
    """Refuse an unrolled decoder that is too large, unless `options.allow_large`.

    Raises:
        OptionError: its build is forecast to take longer than `LONGEST_BUILD_S`; says the forecast.
    """
    if expected.build_s <= LONGEST_BUILD_S or options.allow_large:
        return
    raise OptionError(
        f"an unrolled decoder of {expected.steps} steps",
        got=f"a forecast of {expected.nodes} nodes, {expected.build_s:.0f} s to build an engine "
        f"and a plan of {expected.plan_bytes / 2**20:.0f} MiB",
        expected=f"at most {LONGEST_BUILD_S:.0f} s",
        remedy="use the form loop, which has the nodes of one step, or fewer steps; to build it anyway give "
        "allow_large=True (--allow-large)",
    )
