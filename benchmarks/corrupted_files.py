"""What becomes of 10,000 damaged files of every kind that rnnx writes: `python benchmarks/corrupted_files.py`.

The faults are those of tests/rnnx_runtime/faults under other seeds: flipped bits, truncations and splices, anywhere and
aimed at headers, lengths, keys and digests. Each file is read within limits of time and memory; a file that is read all
the same must give the sound file's result, bit for bit. An engine's files are checked up to where a library would see
them, since opening one needs a GPU.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rounds import write_result

from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
SEED, COUNT = 10_000, 10_000


def main() -> None:
    """Damage, read, count, write down and print."""
    sys.path.insert(0, str(ROOT))  # the generator is the tests' own
    from tests.rnnx_runtime.faults.campaign import outcomes
    from tests.rnnx_runtime.faults.specimens import exported_specimens, plan_specimens

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        specimens = exported_specimens(folder) + plan_specimens(folder)
        (folder / "trials").mkdir()
        results = list(outcomes(specimens, folder / "trials", SEED, COUNT))
    rows = [_row(specimen.kind, results) for specimen in specimens]
    failures = [str(outcome) for outcome in results if outcome.failure]
    total = {key: sum(row[key] for row in rows) for key in ("tried", "refused", "unchanged", "failed")}
    data = {"seed": SEED, **total, "failures": failures[:20], "kinds": rows}
    write_result("corrupted_files", "python benchmarks/corrupted_files.py", data)
    _print(rows, total)
    sys.exit(bool(failures))


def _row(kind: str, results: list[Any]) -> dict[str, Any]:
    own = [outcome for outcome in results if outcome.kind == kind]
    refusals = Counter(outcome.refused for outcome in own if outcome.refused)
    return {
        "kind": kind,
        "tried": len(own),
        "refused": refusals.total(),
        "refused_by": dict(refusals.most_common()),
        "unchanged": sum(not (outcome.refused or outcome.failure) for outcome in own),
        "failed": sum(bool(outcome.failure) for outcome in own),
        "slowest_ms": round(1e3 * max(outcome.seconds for outcome in own), 1),
        "peak_kib": round(max(outcome.peak_bytes for outcome in own) / 1024),
    }


def _print(rows: list[dict[str, Any]], total: dict[str, int]) -> None:
    columns = ("file", ">tried", "refused as", ">unchanged", ">failed", ">slowest ms", ">peak KiB")
    table = [
        (
            row["kind"],
            str(row["tried"]),
            ", ".join(f"{name} {count}" for name, count in row["refused_by"].items()),
            str(row["unchanged"]),
            str(row["failed"]),
            str(row["slowest_ms"]),
            str(row["peak_kib"]),
        )
        for row in rows
    ]
    print_table(f"{total['tried']} corrupted files", columns, table)


if __name__ == "__main__":
    main()
