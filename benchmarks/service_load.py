"""The example service under 200 sockets for a minute: `python benchmarks/service_load.py`.

Each client sends one frame, waits for its output, and sends the next: the load is what the service can take. Clients
and service share the machine's cores.
"""

import asyncio
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rounds import write_result
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

import rnnx
from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "models" / "g2p-lstm" / "model.safetensors"
WARM_UP_S = 2.0


@click.command()
@click.option("--sockets", default=200, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(sockets: int, seconds: float) -> None:
    """Load the service, write down what its clients saw, and print it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rnnx.export(CHECKPOINT, folder / "step.onnx", rnnx.ExportOptions(module="decoder", form="step"))
        rnnx.export(CHECKPOINT, folder / "encoder.onnx", rnnx.ExportOptions(module="encoder", lengths=True))
        process, address = _started(folder)
        try:
            figures = asyncio.run(_load(address, sockets, seconds))
            figures["exit_code"] = _ended(process)
        finally:
            process.kill()
    write_result("service_load", "python benchmarks/service_load.py", figures)
    print_table("The example service", ("figure", ">value"), [(name, str(value)) for name, value in figures.items()])


def _started(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A running service, and its address."""
    variables = {"STREAM_MODEL": folder / "step.onnx", "ENCODER_MODEL": folder / "encoder.onnx", "PORT": 0}
    environment = os.environ | {f"RNNX_SERVICE_{name}": str(value) for name, value in variables.items()}
    log = folder / "service.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env=environment | {"PYTHONPATH": str(ROOT / "examples")},
            stdout=output,
            stderr=output,
        )
    while not ("startup complete" in (text := log.read_text()) and (found := re.search(r"http://([\d.:]+)", text))):
        if process.poll() is not None:
            sys.exit(f"the service did not start:\n{text}")
        time.sleep(0.05)
    return process, found[1]


def _ended(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    return process.wait(30)


@dataclass(kw_only=True)
class Load:
    """What all clients share: when to count, and what was counted."""

    begun: float = math.inf
    until: float = math.inf
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


async def _load(address: str, sockets: int, seconds: float) -> dict[str, Any]:
    load, all_there = Load(), asyncio.Barrier(sockets + 1)
    clients = [asyncio.create_task(_talk(address, seed, load, all_there)) for seed in range(sockets)]
    await all_there.wait()
    await asyncio.sleep(WARM_UP_S)
    before = await asyncio.to_thread(_rss_mib, address)
    load.begun = time.perf_counter()
    load.until = load.begun + seconds
    await asyncio.gather(*clients)
    took = time.perf_counter() - load.begun
    after = await asyncio.to_thread(_rss_mib, address)
    p50, p99 = (round(1e3 * float(value), 2) for value in np.percentile(load.latencies, (50, 99)))
    pushes = len(load.latencies)
    return {
        "sockets": sockets,
        "seconds": round(took, 1),
        "pushes": pushes,
        "pushes_per_s": round(pushes / took),
        "p50_ms": p50,
        "p99_ms": p99,
        "errors": dict(load.errors),
        "server_rss_mib_at_start": before,
        "server_rss_mib_at_end": after,
    }


async def _talk(address: str, seed: int, load: Load, all_there: asyncio.Barrier) -> None:
    """Push frame after frame; what is sent before `load.begun` warms up and is not counted."""
    frame = np.random.default_rng(seed).standard_normal(64, np.float32).tobytes()
    async with connect(f"ws://{address}/stream", open_timeout=60) as socket:
        await all_there.wait()
        while (sent := time.perf_counter()) < load.until:
            try:
                await socket.send(frame)
                answer = await socket.recv()
            except WebSocketException as error:
                load.errors[type(error).__name__] += 1
                return
            if isinstance(answer, str):
                load.errors[json.loads(answer)["error"]["title"]] += 1
            elif sent >= load.begun:
                load.latencies.append(time.perf_counter() - sent)


def _rss_mib(address: str) -> float:
    """The memory that the service holds, by its own metrics."""
    with urlopen(f"http://{address}/metrics") as response:
        families = text_string_to_metric_families(response.read().decode())
    samples = {sample.name: sample.value for family in families for sample in family.samples}
    return round(samples["process_resident_memory_bytes"] / 2**20, 1)


if __name__ == "__main__":
    main()
