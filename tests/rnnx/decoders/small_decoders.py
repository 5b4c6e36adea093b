"""Small decoders as people write them, and a step's graph without a trace."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rnnx.decoders.step_graph import StepGraph, read_step
from rnnx_runtime.contract import Contract, DecoderPart, Source, StatePair, Streaming, TensorSpec

VOCABULARY, HIDDEN = 7, 8


class LstmStack(nn.Module):
    """Two LSTM cells above each other, attention over a context `(T, B, H)`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.cells = nn.ModuleList([nn.LSTMCell(5, HIDDEN), nn.LSTMCell(HIDDEN, HIDDEN)])
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(2 * HIDDEN, VOCABULARY)

    def forward(
        self, token: Tensor, state: tuple[tuple[Tensor, Tensor], ...], memory: Tensor
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        x, states = self.embedding(token), []
        for cell, own in zip(self.cells, state, strict=True):
            x, c = cell(x, own)
            states.append((x, c))
        weights = torch.softmax(torch.einsum("bh,tbh->bt", x, self.key(memory)), dim=-1)
        context = torch.einsum("bt,tbh->bh", weights, memory)
        return 8 * self.head(torch.cat([x, context], dim=-1)), tuple(states)


class GruCell(nn.Module):
    """A GRU cell with one tensor as state."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.cell = nn.GRUCell(5, HIDDEN)
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, token: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(self.embedding(token), state)
        return 8 * self.head(state), state


class RnnCell(nn.Module):
    """An RNN cell, its state in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.cell = nn.RNNCell(5, HIDDEN, nonlinearity="relu")
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, token: Tensor, state: tuple[Tensor]) -> tuple[Tensor, tuple[Tensor]]:
        last = self.cell(self.embedding(token), state[0])
        return self.head(last), (last,)


class LstmLayer(nn.Module):
    """An `nn.LSTM` that is given one time step, its states `(L, B, H)`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 5)
        self.lstm = nn.LSTM(5, HIDDEN, num_layers=2)
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, token: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self.lstm(self.embedding(token)[None], state)
        return 8 * self.head(output[0]), state


def example_of(decoder: nn.Module, batch: int = 3) -> tuple[object, ...]:
    """What a decoder is called with."""
    token = torch.arange(batch) % VOCABULARY
    zeros = torch.zeros(batch, HIDDEN)
    match decoder:
        case LstmStack():
            return token, ((zeros, zeros.clone()), (zeros.clone(), zeros.clone())), torch.randn(4, batch, HIDDEN)
        case GruCell():
            return token, zeros
        case RnnCell():
            return token, (zeros,)
    return token, (torch.zeros(2, batch, HIDDEN), torch.zeros(2, batch, HIDDEN))


DECODERS: dict[str, Callable[[], nn.Module]] = {
    "lstm-stack-attention": LstmStack,
    "gru-cell": GruCell,
    "rnn-cell": RnnCell,
    "lstm-layer": LstmLayer,
}


def decoder_of(name: str) -> nn.Module:
    """A decoder with weights that are large enough to tell tokens apart, the same each time."""
    torch.manual_seed(11)
    decoder = DECODERS[name]()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2.0)
    return decoder.eval()


def hand_written_step() -> StepGraph:
    """`state' = tanh(state · turn + table[token])`, `logits = state' · head + tanh(bias)`; tanh(bias) runs once."""
    from onnx import TensorProto, helper, numpy_helper

    chance = np.random.default_rng(5)
    table = numpy_helper.from_array(chance.standard_normal((VOCABULARY, HIDDEN)).astype(np.float32), "table")
    turn = numpy_helper.from_array(2 * chance.standard_normal((HIDDEN, HIDDEN)).astype(np.float32), "turn")
    head = numpy_helper.from_array(chance.standard_normal((HIDDEN, VOCABULARY)).astype(np.float32), "head")
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["embedded"], name="embed"),
        helper.make_node("Tanh", ["bias"], ["offset"], name="offset"),
        helper.make_node("MatMul", ["state", "turn"], ["turned"], name="turn"),
        helper.make_node("Add", ["turned", "embedded"], ["sum"], name="add"),
        helper.make_node("Tanh", ["sum"], ["next_state"], name="squash"),
        helper.make_node("MatMul", ["next_state", "head"], ["scores"], name="project"),
        helper.make_node("Add", ["scores", "offset"], ["logits"], name="shift"),
    ]
    contract = hand_written_contract()
    kinds = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    first, last = (
        [helper.make_tensor_value_info(own.name, kinds[own.dtype], list(own.dims)) for own in group]
        for group in (contract.inputs, contract.outputs)
    )
    graph = helper.make_graph(nodes, "step", first, last, [table, turn, head])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return read_step(model, contract)


def hand_written_contract() -> Contract:
    """The contract of that step."""
    return Contract(
        inputs=(
            TensorSpec(name="token", dtype="int64", dims=("B",)),
            TensorSpec(name="state", dtype="float32", dims=("B", HIDDEN)),
            TensorSpec(name="bias", dtype="float32", dims=("B", VOCABULARY)),
        ),
        outputs=(
            TensorSpec(name="logits", dtype="float32", dims=("B", VOCABULARY)),
            TensorSpec(name="next_state", dtype="float32", dims=("B", HIDDEN)),
        ),
        states=(StatePair(input="state", output="next_state"),),
        lengths=(),
        recurrent=(),
        streaming=Streaming(kind="exact"),
        precision="float32",
        source=Source(file="", module="", weights_sha256=""),
        versions={"opset": "18"},
        decoder=part_of(form="step", feed=None, steps=None, logits="logits", tokens=None, context=("bias",)),
    )


def part_of(**fields: object) -> DecoderPart:
    """A part of a loop over six tokens, with some fields changed."""
    values: dict[str, object] = {
        "form": "loop",
        "feed": "argmax",
        "steps": 6,
        "token": "token",
        "logits": None,
        "tokens": "tokens",
        "context": ("bias",),
        "start_token": None,
        "end_token": None,
        "pad_token": None,
    }
    return DecoderPart(**{**values, **fields})  # type: ignore[arg-type] # the tests give each its own type
