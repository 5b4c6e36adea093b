"""Every configuration that PyTorch's own tests have of its recurrent layers, exported and held against float64.

    python benchmarks/module_db.py [--json]

The list is `torch.testing._internal.common_modules.module_db`. Each entry is exported twice: as a bare layer or cell
with `rnnx.export`, run at batches and times that no entry has, and as a whole model with the entry's own inputs, which
have no batch axis. The truth is the entry's module in float64, PyTorch's own float32 error the yardstick.
"""

import argparse
import copy
import json
import sys
import tempfile
import types
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rounds import write_result
from torch import nn

import rnnx
import rnnx_runtime
from rnnx.parity.tolerances import products_per_sum, tolerance_for
from rnnx.tracing.exporting import export_model
from rnnx.truths.cases import random_feeds
from rnnx_runtime import Contract, RnnxError

Array = NDArray[Any]

MODULES = ("nn.RNN", "nn.GRU", "nn.LSTM", "nn.RNNCell", "nn.GRUCell", "nn.LSTMCell")
SIZES = ((1, 1), (1, 3), (2, 2), (5, 3), (7, 1), (20, 5))
"""(T, B) of the bare layer's inputs: those of `rnnx verify --matrix quick`."""

EQUAL = "equal"
SEED = 20290


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A module as PyTorch's tests make it, in one mode, with the inputs they call it with."""

    module: str
    mode: str
    options: str
    build: Callable[[], nn.Module]
    inputs: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an entry: `equal`, or the reason why not, as a layer and as it is called."""

    module: str
    mode: str
    options: str
    inputs: str
    layer: str
    as_called: str


def entries() -> Iterator[Entry]:
    """Every entry of the recurrent layers and cells, in the order of `MODULES`."""
    # A base class of PyTorch's test cases comes from this package; the list itself has no use for it.
    sys.modules.setdefault("expecttest", types.ModuleType("expecttest")).__dict__.setdefault(
        "TestCase", unittest.TestCase
    )
    from torch.testing._internal.common_modules import module_db

    infos = {info.name: info for info in module_db}
    for name in MODULES:
        info = infos[name]
        for mode in ("eval", "train"):
            made = info.module_inputs_func(
                info, device="cpu", dtype=torch.float32, requires_grad=False, training=mode == "train"
            )
            for own in made:
                yield Entry(
                    module=name,
                    mode=mode,
                    options=_words(own.constructor_input.args, own.constructor_input.kwargs),
                    build=_builder(info.module_cls, own.constructor_input, mode),
                    inputs=tuple(own.forward_input.args),
                )


def _builder(kind: Any, constructor: Any, mode: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        torch.manual_seed(SEED)
        module: nn.Module = kind(*constructor.args, **constructor.kwargs)
        return module.train(mode == "train")

    return build


def _words(arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    return ", ".join([*map(str, arguments), *(f"{name}={value}" for name, value in options.items())])


def outcome_of(entry: Entry, folder: Path) -> Outcome:
    """Export one entry both ways and compare."""
    return Outcome(
        module=entry.module,
        mode=entry.mode,
        options=entry.options,
        inputs=", ".join(str(tuple(value.shape)) for value in _flat(entry.inputs)),
        layer=_judged(lambda: as_layer(entry, folder / "layer.onnx")),
        as_called=_judged(lambda: as_called(entry, folder / "called.onnx")),
    )


def _judged(check: Callable[[], str]) -> str:
    try:
        return check()
    except RnnxError as error:
        return str(error)


def as_layer(entry: Entry, path: Path) -> str:
    """The bare layer or cell, with states as inputs, at other sizes than any entry's."""
    module = entry.build()
    contract = rnnx.export(module, path).contract
    with rnnx_runtime.load(path, "ort-cpu") as session:
        for time, batch in SIZES:
            feeds = random_feeds(contract.layer(), time, batch, SEED)
            arguments = _arguments(contract, [feeds[spec.name] for spec in contract.inputs])
            state = rnnx_runtime.State(feeds["h0"], feeds.get("c0"))
            output, last = (session.step if contract.layer().form == "step" else session.run)(feeds["x"], state)
            states = [part for part in (last.h, last.c) if part is not None]
            found = states if contract.layer().form == "step" else [output, *states]
            problem = _difference(module, arguments, found, contract, time)
            if problem:
                return f"T={time}, B={batch}: {problem}"
    return EQUAL


def _arguments(contract: Contract, values: Sequence[Array]) -> tuple[Any, ...]:
    """The contract's inputs as PyTorch takes them: `x`, then `h0` or `(h0, c0)`."""
    x, *state = (torch.from_numpy(value) for value in values)
    return (x, tuple(state) if contract.layer().cell == "lstm" else state[0])


def as_called(entry: Entry, path: Path) -> str:
    """The whole model on inputs like the entry's own, of the entry's time and of others."""
    module = entry.build()
    contract = export_model(module, entry.inputs, path).contract
    layer = rnnx.export(module, path.with_name("layer.onnx")).contract
    with rnnx_runtime.load(path, "ort-cpu") as session:
        times = (3, 1, 2, 20) if any("T" in spec.dims for spec in contract.inputs) else (1,)
        for time in times:
            arguments = _drawn(entry.inputs, time, has_time=layer.layer().form == "encoder")
            feeds = {spec.name: value.numpy() for spec, value in zip(contract.inputs, _flat(arguments), strict=True)}
            states = {pair.input: feeds.pop(pair.input) for pair in contract.states}
            outputs, after = session.run(feeds, states or None)
            values = {**outputs, **{pair.output: after[pair.input] for pair in contract.states}}
            problem = _difference(module, arguments, [values[spec.name] for spec in contract.outputs], layer, time)
            if problem:
                return f"T={time}: {problem}"
    return EQUAL


def _drawn(inputs: tuple[Any, ...], time: int, *, has_time: bool) -> tuple[Any, ...]:
    """Random inputs of the entry's shapes, its sequence `(T, I)` of another length."""
    chance = torch.Generator().manual_seed(SEED + time)

    def draw(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.randn(value.shape, generator=chance)
        return tuple(draw(part) for part in value)

    first, *rest = inputs
    x = torch.randn((time, *first.shape[1:]) if has_time else first.shape, generator=chance)
    return (x, *(draw(value) for value in rest))


def _difference(
    module: nn.Module, arguments: tuple[Any, ...], found: Sequence[Array], contract: Contract, time: int
) -> str:
    """What is wrong with the values found, by the tolerance of float32; empty where nothing is."""
    truth, single = (_called(module, arguments, dtype) for dtype in (torch.float64, torch.float32))
    depth, products = time * contract.layer().layers, products_per_sum(contract.layer())
    for index, (value, right, own) in enumerate(zip(found, truth, single, strict=True)):
        if value.shape != right.shape:
            return f"result {index} has shape {value.shape}, not {right.shape}"
        largest = float(np.abs(right).max())
        limit = tolerance_for("float32").limit(float(np.abs(own - right).max()), products, depth, largest)
        error = float(np.abs(value - right).max())
        if not error <= limit:
            return f"result {index} has an error of {error:.3g}, more than {limit:.3g}"
    return ""


def _called(module: nn.Module, arguments: tuple[Any, ...], dtype: torch.dtype) -> list[Array]:
    own = copy.deepcopy(module).eval().to(dtype)
    with torch.no_grad():
        return [value.numpy() for value in _flat(own(*_as(arguments, dtype)))]


def _as(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, torch.Tensor) else tuple(_as(part, dtype) for part in value)


def _flat(value: Any) -> list[Any]:
    return [value] if isinstance(value, torch.Tensor) else [leaf for part in value for leaf in _flat(part)]


def table_of(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One line a module and mode: how many configurations there are, are equal either way, and why others are not."""
    return [
        {
            "module": module,
            "mode": mode,
            "configurations": len(own),
            "layer": sum(one.layer == EQUAL for one in own),
            "as_called": sum(one.as_called == EQUAL for one in own),
            "reasons": sorted({text for one in own for text in (one.layer, one.as_called) if text != EQUAL}),
        }
        for (module, mode), own in (
            (key, list(group)) for key, group in groupby(outcomes, lambda one: (one.module, one.mode))
        )
    ]


def main() -> None:
    """Export and compare every entry; write benchmarks/results/module_db.json, or print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result and write no file")
    as_json = parser.parse_args().json
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [outcome_of(entry, Path(folder)) for entry in entries()]
    data = {"torch": torch.__version__, "table": table_of(outcomes), "entries": [asdict(one) for one in outcomes]}
    if as_json:
        print(json.dumps(data))
        return
    write_result("module_db", "python benchmarks/module_db.py", data)
    for line in data["table"]:
        print(line)


if __name__ == "__main__":
    main()
