"""What a fresh process pays before its first answer: run by its path, with a request as JSON on standard input.

Nothing but the standard library may be imported at the top: the imports are part of what is measured.
"""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any


def main() -> None:
    """Measure as the request says, and write the figures as one JSON object, or `{"problem": …}`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a native library prints must not mix with the answer
    answer = measured(json.load(sys.stdin))
    print(json.dumps(answer), file=answers, flush=True)


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """`import_s`, `load_s`, `first_call_ms` and `peak_mib` of one row, or the `problem` that left it without."""
    start = perf_counter()
    __import__("rnnx_runtime")
    with contextlib.suppress(ImportError):  # what is missing is said by the opening, with its remedy
        __import__(request["module"])
    imported = perf_counter()
    from rnnx_runtime.errors import RnnxError

    try:
        call = _opened_subject(request) if request["sources"] else _opened_session(request)
        loaded = perf_counter()
        call()
    except RnnxError as error:
        return {"problem": str(error)}
    called = perf_counter()
    return {
        "import_s": imported - start,
        "load_s": loaded - imported,
        "first_call_ms": 1000 * (called - loaded),
        "peak_mib": peak_mib(),
    }


def _opened_session(request: dict[str, Any]) -> Callable[[], object]:
    """As a service does: the runtime and its engine, and nothing of the toolkit."""
    import numpy as np

    import rnnx_runtime
    from rnnx_runtime.arrays.dim_sizes import shape_from_sizes

    session = rnnx_runtime.load(request["file"], request["row"], threads=request["threads"])
    spec = session.spec

    def shape(own: Any) -> tuple[int, ...]:
        return shape_from_sizes(own, request["sizes"])

    values = {}
    for own in spec.plain_inputs:
        waves = np.sin(np.arange(np.prod(shape(own)), dtype=np.float32)).reshape(shape(own))
        values[own.name] = waves if own.dtype == "float32" else np.zeros(shape(own), own.dtype)
    if spec.bare is not None:
        return lambda: session.run(values["x"])
    state = {own.name: np.zeros(shape(own), own.dtype) for own in spec.state_specs}
    return lambda: session.run(values, state or None)


def _opened_subject(request: dict[str, Any]) -> Callable[[], object]:
    """A row that only the toolkit can open, whose part counts as loading: PyTorch's, or one of a foreign model's."""
    from rnnx.runners.sources import Sources, read_subject
    from rnnx.timing.inputs import timing_feeds
    from rnnx.truths.model_cases import CaseSource
    from rnnx.truths.model_golden import read_model_golden

    if request["module"] == "torch":
        __import__("torch").set_num_threads(request["threads"])
    values = request["sources"]
    paths = {name: values[name] and Path(values[name]) for name in ("checkpoint", "like")}
    subject = read_subject(Path(request["file"]), Sources(**values | paths))
    example = read_model_golden(subject.golden, subject.contract).example.case.feeds if subject.is_whole else {}
    feeds = timing_feeds(CaseSource(contract=subject.contract, example=example), request["sizes"])
    return subject.open(request["row"], request["threads"]).prepare(feeds)


def peak_mib() -> float:
    """The most resident memory this process has had, in MiB.

    Raises:
        OSError: this operating system does not say.
    """
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum survives exec, so that a small child reports its large parent's memory.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    try:
        import resource
    except ImportError:
        raise OSError("no /proc/self/status and no getrusage") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


if __name__ == "__main__":
    main()
