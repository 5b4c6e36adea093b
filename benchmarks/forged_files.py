"""What becomes of 10,000 files forged by a grammar: `python benchmarks/forged_files.py [--files N] [--seed S]`.

Pickles in zips and in the format of before torch 1.6, zips whose records lie, TorchScript and exported programs,
safetensors and protobufs. Each is read as `rnnx inspect`, `rnnx export` and `rnnx doctor` begin, in a process with
limits: it must be refused in one line, or give what `torch.load(weights_only=True)` gives, bit for bit, within 10 s of
the processor and four times its own size and 64 MiB. The grammar is that of tests/rnnx/weights/forgery.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rounds import write_result

from rnnx.cli.render import print_table

ROOT = Path(__file__).parents[1]
SEED, COUNT, PER_PROCESS = 20_270, 10_000, 1_000


def main() -> None:
    """Forge, read, count, write down and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))  # the grammar is the tests' own
    from tests.rnnx.weights.forgery.campaign import outcomes

    found: list[dict[str, Any]] = []
    for first in range(0, options.files, PER_PROCESS):
        found += outcomes(options.seed, first, min(first + PER_PROCESS, options.files))
        print(f"{len(found)} files, {sum(bool(one['failure']) for one in found)} failed", file=sys.stderr, flush=True)
    rows = [
        _row(kind, [one for one in found if one["kind"] == kind]) for kind in sorted({one["kind"] for one in found})
    ]
    failures = [one for one in found if one["failure"]]
    total = {key: sum(row[key] for row in rows) for key in ("files", "refused", "read", "failed")}
    data = {"seed": options.seed, **total, "failures": failures[:20], "kinds": rows}
    write_result("forged_files", f"python benchmarks/forged_files.py --files {options.files}", data)
    _print(rows, total)
    sys.exit(bool(failures))


def _row(kind: str, own: list[dict[str, Any]]) -> dict[str, Any]:
    refusals = Counter(one["refused"] for one in own if one["refused"] and not one["failure"])
    return {
        "kind": kind,
        "files": len(own),
        "refused": refusals.total(),
        "refused_by": dict(refusals.most_common()),
        "read": sum(not (one["refused"] or one["failure"]) for one in own),
        "failed": sum(bool(one["failure"]) for one in own),
        "slowest_s": max(one["seconds"] for one in own),
        "peak_mib": max(one["peak_mib"] for one in own),
    }


def _print(rows: list[dict[str, Any]], total: dict[str, int]) -> None:
    columns = ("file", ">forged", "refused as", ">read as PyTorch does", ">failed", ">slowest s", ">peak MiB")
    table = [
        (
            row["kind"],
            str(row["files"]),
            ", ".join(f"{name} {count}" for name, count in row["refused_by"].items()),
            *(str(row[key]) for key in ("read", "failed", "slowest_s", "peak_mib")),
        )
        for row in rows
    ]
    print_table(f"{total['files']} forged files", columns, table)


if __name__ == "__main__":
    main()
