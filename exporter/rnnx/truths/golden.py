"""The golden file: seeded inputs and float64 reference outputs, so that a host without PyTorch can verify too.

`<name>.golden.npz` holds, for each case, `<case>/in/<input>`, `<case>/out/<output>` in float64, and
`<case>/float32_error/<output>`: the largest error of a float32 evaluation in NumPy, the yardstick for a backend's own.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from rnnx.errors import GoldenError
from rnnx.truths.blas_threads import one_thread
from rnnx.truths.cases import GOLDEN_MATRIX, Case, cases
from rnnx.truths.joined_cases import join_cases, split_outputs
from rnnx.truths.npz_arrays import arrays_from_npz
from rnnx.truths.reference import evaluate
from rnnx.truths.truth import CaseTruth
from rnnx.weights.weights import RecurrentWeights
from rnnx_runtime.array_type import Array
from rnnx_runtime.contract import Contract
from rnnx_runtime.files.regular_file import read_regular

LARGEST_GOLDEN = 2**30
"""Bytes; a model of hidden size 4096 has a golden file of a few MiB."""

WEIGHTS = "weights_sha256"
"""The key of the digest of the weights that a golden file is of."""


def golden_path(model: Path) -> Path:
    """`model.onnx` and `model.plan` → `model.golden.npz`."""
    return model.with_suffix(".golden.npz")


def golden_truth(weights: RecurrentWeights, contract: Contract) -> list[CaseTruth]:
    """The truth of a layer's golden cases, and how far NumPy's float32 is from it."""
    layer = contract.layer()
    golden_cases = cases(layer, GOLDEN_MATRIX)
    batch = join_cases(layer, golden_cases)
    # One thread: products this small only wait for each other, and the count of threads would decide the last bit.
    with one_thread():
        truths, singles = (
            split_outputs(layer, golden_cases, evaluate(weights, layer, batch, dtype))
            for dtype in (np.float64, np.float32)
        )
    return [
        CaseTruth(
            case=case,
            truth=truth,
            float32_error={name: float(np.abs(single[name] - value).max()) for name, value in truth.items()},
        )
        for case, truth, single in zip(golden_cases, truths, singles, strict=True)
    ]


def golden_bytes(truth: Iterable[CaseTruth], weights_sha256: str, **others: Array) -> bytes:
    """A golden file's content, `others` besides the cases; the same truth gives the same bytes."""
    arrays: dict[str, Array] = {WEIGHTS: np.array(weights_sha256), **others}
    for entry in truth:
        name = entry.case.name
        arrays |= {f"{name}/in/{key}": value for key, value in entry.case.feeds.items()}
        arrays |= {f"{name}/out/{key}": value for key, value in entry.truth.items()}
        arrays |= {f"{name}/float32_error/{key}": np.array(value) for key, value in entry.float32_error.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type] # before NumPy 2.1 allow_pickle=False is one more array
    return buffer.getvalue()


def read_golden(path: Path, contract: Contract) -> list[CaseTruth]:
    """The cases of a golden file.

    Raises:
        GoldenError: missing, damaged, or made from other weights than the contract's.
    """
    data, arrays = golden_arrays(path, contract.source.weights_sha256, "verify against the weights, as the checkpoint")
    found = cases_from_arrays(arrays, path, lambda roles: _fits(roles, contract))
    check_whole(path, data, contract.golden_sha256)
    return found


def golden_arrays(path: Path, weights_sha256: str, otherwise: str) -> tuple[bytes, dict[str, Array]]:
    """A golden file's bytes and its arrays by name, without the digest of the weights.

    `otherwise` is what to do where the file cannot be had.

    Raises:
        GoldenError: missing, damaged, or made from other weights.
    """
    try:
        data = read_regular(path, LARGEST_GOLDEN)
        arrays = arrays_from_npz(data)
    except FileNotFoundError:
        raise GoldenError(
            str(path),
            got="no such file",
            expected="the golden file that rnnx export wrote beside the model",
            remedy=f"copy it along with the model, or {otherwise}",
        ) from None
    except OSError as error:
        raise damaged_golden(path, error.strerror or str(error)) from None
    except Exception as error:  # zipfile and NumPy let through whatever a damaged byte leads to
        raise damaged_golden(path, str(error)[:200] or type(error).__name__) from None
    weights = str(arrays.pop(WEIGHTS, ""))
    if weights != weights_sha256:
        raise GoldenError(
            str(path),
            got=f"the golden of weights {weights[:12]}…",
            expected=f"{weights_sha256[:12]}…",
            remedy="the file belongs to another model: copy the right one",
        )
    return data, arrays


def check_whole(path: Path, data: bytes, sha256: str) -> None:
    """Compare a golden file with the digest that its model holds, where it holds one; raises GoldenError."""
    if sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise damaged_golden(path, "other bytes than were exported with the model")


def cases_from_arrays(
    arrays: dict[str, Array], path: Path, fits: Callable[[dict[str, dict[str, Array]]], bool]
) -> list[CaseTruth]:
    """The cases that arrays by name hold, each of which `fits` the model; raises GoldenError where one does not."""
    parts: dict[str, dict[str, dict[str, Array]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in arrays.items():
        case, role, name = [*key.split("/"), "", ""][:3]
        parts[case][role][name] = value
    if not all(fits(roles) for roles in parts.values()):
        raise damaged_golden(path, "arrays that do not fit the model's contract")
    if not parts:
        raise damaged_golden(path, "no cases")
    return [
        CaseTruth(
            case=Case(name=name, feeds=roles["in"]),
            truth=roles["out"],
            float32_error={output: float(value) for output, value in roles["float32_error"].items()},
        )
        for name, roles in parts.items()
    ]


def _fits(roles: dict[str, dict[str, Array]], contract: Contract) -> bool:
    """Whether a case's arrays have the contract's names, dtypes and dims, each symbol one size throughout."""
    specs = {("in", spec.name): (spec.dims, np.dtype(spec.dtype)) for spec in contract.inputs}
    specs |= {("out", spec.name): (spec.dims, np.dtype(np.float64)) for spec in contract.outputs}
    specs |= {("float32_error", spec.name): ((), np.dtype(np.float64)) for spec in contract.outputs}
    found = {(role, name): value for role, named in roles.items() for name, value in named.items()}
    sizes: dict[str, int] = {}
    return found.keys() == specs.keys() and all(
        value.dtype == specs[key][1]
        and value.ndim == len(specs[key][0])
        and all(
            size == (dim if isinstance(dim, int) else sizes.setdefault(dim, size))
            for size, dim in zip(value.shape, specs[key][0], strict=True)
        )
        for key, value in found.items()
    )


def damaged_golden(path: Path, got: str) -> GoldenError:
    """The error for a golden file that is not what was written."""
    return GoldenError(
        str(path), got=got, expected="a whole golden file", remedy="copy it anew or export the model again"
    )
