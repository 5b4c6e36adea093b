"""What a row's figures depend on besides the machine: threads, TF32, CUDA graph, how a device's time is taken."""

from rnnx.runners.subject import Subject

_DEVICE_TIMERS = {
    "pytorch-cuda": "CUDA events",
    "ort-cuda": "host clock around a synchronised run",
    "tensorrt": "CUDA events",
    "tensorrt-rtx": "CUDA events",
}


def conditions_of(subject: Subject, row: str, threads: int) -> dict[str, str]:
    """The conditions of one row, as short texts by name."""
    if row not in _DEVICE_TIMERS:
        return {"threads": str(threads), "precision": subject.precision(row)}
    return {
        "precision": subject.precision(row),
        "TF32": "on" if subject.precision(row) == "tf32" else "off",
        "CUDA graph": "not used",
        "device timer": _DEVICE_TIMERS[row],
    }
