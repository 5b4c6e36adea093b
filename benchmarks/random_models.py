"""Random models as people write them, exported and held against PyTorch: `python benchmarks/random_models.py`.

Each is drawn from its seed by `drawn_models/` as a file of Python, and tried by `random_trial.py` in a process forked
from one that has exported before. `--seed N --source` prints a model.
"""

import json
import os
import re
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from drawn_models.sources import drawn_model
from random_trial import Verdict, tried
from rounds import write_result
from torch import nn

import rnnx
from rnnx.cli.render import print_table

Row = dict[str, Any]

LIMIT_S = 120
"""Of a processor's time for one model."""
VERDICTS = ("right", "narrow", "refused", "wrong", "void")


@click.command()
@click.option("--cases", default=500, help="how many seeds, from --first on")
@click.option("--first", default=0, help="the first seed")
@click.option("--jobs", default=1, help="how many processes at once")
@click.option("--seed", "seeds", type=int, multiple=True, help="one seed, in place of a range; nothing is written down")
@click.option("--source", is_flag=True, help="print the sources of these seeds and try nothing")
@click.option("--json", "as_json", is_flag=True, help="print the rows as JSON and write nothing down")
def main(cases: int, first: int, jobs: int, seeds: tuple[int, ...], source: bool, as_json: bool) -> None:
    """Draw, export, compare, write down and print."""
    chosen = seeds or range(first, first + cases)
    if source:
        print("\n\n".join(drawn_model(seed).source for seed in chosen))
        return
    rows = sorted(_rows(chosen, jobs), key=lambda row: int(row["seed"]))
    if as_json:
        print(json.dumps(rows))
        return
    counts = Counter(row["verdict"] for row in rows)
    data = {
        "cases": len(rows),
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS},
        "reasons": {kind: _reasons(rows, kind) for kind in ("refused", "narrow", "wrong")},
        "with": dict(sorted(Counter(trait for seed in chosen for trait in drawn_model(seed).traits).items())),
        "seconds": round(sum(row["seconds"] for row in rows)),
        "rows": [row for row in rows if row["verdict"] != "right"],
    }
    if not seeds:
        write_result("random_models", f"python benchmarks/random_models.py --cases {cases} --first {first}", data)
    print_table("Random models", ("", ">models"), [(verdict, str(counts[verdict])) for verdict in VERDICTS])
    for kind in ("refused", "narrow", "wrong"):
        print_table(kind, ("reason", ">models"), [(text, str(n)) for text, n in data["reasons"][kind].items()])
    sys.exit(bool(counts["wrong"] or counts["void"]))


def _rows(seeds: Iterable[int], jobs: int) -> Iterator[Row]:
    """Each seed's verdict as it comes, told on the way."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what only a first export does, once for all
        warm = nn.Sequential(nn.Linear(3, 3), nn.GRU(3, 3))
        rnnx.export(warm.eval(), Path(folder) / "warm.onnx", example_inputs=(torch.zeros(3, 2, 3),))
    with ThreadPoolExecutor(jobs) as threads:
        for done in as_completed([threads.submit(_forked, seed) for seed in seeds]):
            seed, verdict = done.result()
            print(f"{seed}: {verdict.verdict} [{verdict.seconds:.0f} s] {verdict.detail}", file=sys.stderr, flush=True)
            yield {"seed": seed, **asdict(verdict)}


def _forked(seed: int) -> tuple[int, Verdict]:
    """The verdict of a process of its own, which ends with it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))
        try:
            with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nothing:
                os.dup2(nothing.fileno(), 1)
                os.dup2(nothing.fileno(), 2)
                verdict = tried(drawn_model(seed), Path(folder), f"model_{seed}")
            os.write(write, json.dumps(asdict(verdict)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    if not text:
        return seed, Verdict(verdict="wrong", detail=f"the process died or took over {LIMIT_S} s", seconds=LIMIT_S)
    return seed, Verdict(**json.loads(text))


def _reasons(rows: Iterable[Row], verdict: str) -> dict[str, int]:
    """How many of a verdict for each reason: the message without what differs from one model to the next."""
    texts = Counter(_kind(row["detail"]) for row in rows if row["verdict"] == verdict)
    return dict(texts.most_common())


def _kind(detail: str) -> str:
    """What a message says that it got, without names, numbers and places; of a loop, why it is no Scan."""
    reason = re.search(r"does not roll up, because of ([^:]*)", detail)
    got = re.search(r"got (.*?)(, expected|$)", detail)
    text = f"a loop that does not roll up: {reason[1]}" if reason else got[1] if got else detail
    text = re.split(r":? ?(at )?\w+\.py, line", text)[0]
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*\]", "…", text)
    return re.sub(r"-?\b[A-Z]?\d+(\.\d+)?(e-\d+)?", "N", text)[:120]


if __name__ == "__main__":
    main()
