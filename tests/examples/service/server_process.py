"""The service as a process of its own, on a free port of the loopback."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
STARTS_WITHIN_S = 30


class ServerProcess:
    """A running service; its settings are keywords, such as `max_streams=2`; None leaves one out."""

    def __init__(self, folder: Path, **settings: object) -> None:
        models = {"stream_model": folder / "step.onnx", "encoder_model": folder / "encoder.onnx"}
        values = {"port": 0, **models, **settings}
        given = {name: value for name, value in values.items() if value is not None}
        variables = {f"RNNX_SERVICE_{name.upper()}": str(value) for name, value in given.items()}
        path = os.pathsep.join([str(ROOT / "examples"), str(ROOT / "models")])
        self.log = folder / f"service-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "service"],
                env=os.environ | variables | {"PYTHONPATH": path},
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        self.address = self._address()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()

    def _address(self) -> str:
        limit = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < limit and self.process.poll() is None:
            if "startup complete" in self.text and (found := re.search(r"http://([\d.]+:\d+) ", self.text)):
                return found[1]
            time.sleep(0.02)  # a port without what follows it may lack digits: the line is being written
        self.process.kill()
        raise AssertionError(f"the service did not start:\n{self.text}")

    @property
    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8")

    @property
    def stream(self) -> str:
        """The address of its streams."""
        return f"ws://{self.address}/stream"

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.address.partition(":")
        return host, int(port)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def metrics(self) -> dict[str, float]:
        """Every sample of its metrics by its name and labels."""
        with urlopen(f"http://{self.address}/metrics", timeout=10) as response:
            families = text_string_to_metric_families(response.read().decode())
        return {
            sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
            for family in families
            for sample in family.samples
        }

    def health(self) -> tuple[int, Any]:
        """The status and the body of its health."""
        try:
            with urlopen(f"http://{self.address}/healthz", timeout=10) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)

    def wait_for(self, name: str, value: float, within_s: float = 10.0) -> None:
        """Wait until a metric has a value."""
        limit = time.monotonic() + within_s
        while (found := self.metrics().get(name)) != value:
            assert time.monotonic() < limit, f"{name} is {found}, not {value}, after {within_s} s\n{self.text}"
            time.sleep(0.02)
