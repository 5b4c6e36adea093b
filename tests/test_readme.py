"""The README does what it says: its commands and its Python run, in order, and it names every command and option."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import Field, fields
from pathlib import Path

import click
import pytest
from tests.mutants.catalogue import MUTANTS

from rnnx.cli import group
from rnnx_runtime import PoolMetrics, PoolOptions
from rnnx_runtime.backends.session_options import SessionOptions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs/runtime.md").read_text(encoding="utf-8")


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


BLOCKS = _blocks(README)


def _commands() -> list[click.Command]:
    context = click.Context(group)
    return [command for name in group.list_commands(context) if (command := group.get_command(context, name))]


def _run(language: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    call = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    environment = os.environ | {"PATH": path}
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.tensorrt
def test_every_block_runs_in_order(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    ran = 0
    for language, text in BLOCKS:
        lines = [line for line in text.splitlines() if not line.startswith("make ")]
        if language == "text" or not lines:
            continue
        result = _run(language, "\n".join(lines), tmp_path)
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
        ran += 1
    assert ran >= 5


@pytest.mark.slow
def test_every_block_of_the_runtimes_guide_runs_in_order(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    blocks = _blocks(GUIDE)
    assert {language for language, _ in blocks} == {"sh", "python"}
    for language, text in blocks:
        result = _run(language, text, tmp_path)
        assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("field", fields(PoolOptions), ids=lambda field: field.name)
def test_the_runtimes_guide_has_every_option_of_a_pool_with_its_default(field: "Field[object]") -> None:
    row = re.search(rf"^\| `{field.name}` \| `?([^|`]*?)`? \|", GUIDE, re.MULTILINE)
    assert row is not None
    assert ast.literal_eval(row[1]) == field.default


@pytest.mark.parametrize("field", fields(SessionOptions), ids=lambda field: field.name)
def test_the_runtimes_guide_has_every_option_of_a_session_with_its_default(field: "Field[object]") -> None:
    row = re.search(rf"^\| `{field.name}` \| `?([^|`]*?)`? \|", GUIDE, re.MULTILINE)
    assert row is not None
    assert ast.literal_eval(row[1]) == field.default


def test_the_runtimes_guide_has_every_metric() -> None:
    table = GUIDE.partition("## Metrics")[2].partition("## On a device")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == {field.name for field in fields(PoolMetrics)}


def test_the_runtimes_guide_links_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)


def test_only_make_and_pip_blocks_are_left_unrun() -> None:
    unrun = [text for language, text in BLOCKS if language == "text"]
    assert all(line.startswith("pip install ") for text in unrun for line in text.splitlines())


def test_make_targets_named_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    documents = README + (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"^(?: {4})?make ([\w-]+)(?=$| +#)", documents, flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.name)
def test_every_command_and_option_is_documented(command: click.Command) -> None:
    assert f"`rnnx {command.name}" in README
    options = [name for p in command.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)]
    missing = [name for name in options if not re.search(rf"`{re.escape(name)}[`| =\\]", README)]
    assert not missing


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.name)
def test_every_command_has_a_help_page(command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=command.name))
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option)), text


def test_the_grid_is_what_the_benchmark_wrote() -> None:
    cells = json.loads((ROOT / "benchmarks/results/encoder_grid.json").read_text())["cells"]
    rows = re.findall(r"^\| (LSTM|GRU) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", README, re.MULTILINE)
    shown = {
        (kind, int(h), int(b), t): r for kind, h, b, *ratios in rows for t, r in zip((1, 20, 100), ratios, strict=True)
    }
    assert shown == {(c["kind"], c["H"], c["B"], c["T"]): f"{c['ratio']:.2f}" for c in cells}


@pytest.mark.parametrize("name", ["g2p-lstm", "g2p-gru"])
def test_error_rates_are_what_evaluation_wrote(name: str) -> None:
    quality = json.loads((ROOT / "models" / name / "quality.json").read_text())
    rates = f"{quality['per']:.2f} % | {quality['wer']:.2f} %"
    assert re.search(rf"^\| \[{name}\].*{re.escape(rates)}", README, re.MULTILINE)
    card = (ROOT / "models" / name / "README.md").read_text()
    assert f"| phoneme error rate | {quality['per']:.2f} % |" in card
    assert f"| word error rate | {quality['wer']:.2f} % |" in card


def test_committed_figures_keep_what_is_promised() -> None:
    results = ROOT / "benchmarks/results"
    grid = json.loads((results / "encoder_grid.json").read_text())["cells"]
    cost = json.loads((results / "export_cost.json").read_text())
    overhead = json.loads((results / "session_overhead.json").read_text())["rows"]
    assert min(cell["ratio"] for cell in grid) >= 0.97
    assert cost["help_s"] <= 0.3
    assert cost["export_process_s"] <= 1.5
    assert cost["peak_over_imports_in_weights"] <= 4
    doctor = json.loads((results / "doctor_cost.json").read_text())
    verify = json.loads((results / "verify_cost.json").read_text())
    assert all(case["process_s"] <= 1 for case in doctor.values() if "process_s" in case)
    assert verify["process_s"] <= 15
    assert verify["own_percent"] <= 20
    assert all(row["added_us"] <= 15 or row["added_percent"] <= 10 for row in overhead)


def test_the_figures_of_the_second_table_are_what_the_benchmarks_wrote() -> None:
    cost = json.loads((ROOT / "benchmarks/results/export_cost.json").read_text())
    assert f"| {cost['help_s']:.2f} s |" in README
    assert f"| {cost['export_process_s']:.2f} s |" in README
    ours, theirs = 1000 * cost["export_in_process_s"], cost["torch_onnx_in_process_s"]
    assert f"| {ours:.0f} ms, {theirs:.1f} s: {cost['times_faster']:.0f} times faster |" in README
    assert f"| {cost['peak_over_imports_in_weights']:.1f} times the weights |" in README
    overhead = json.loads((ROOT / "benchmarks/results/session_overhead.json").read_text())["rows"]
    assert f"at most {math.ceil(max(r['added_us'] for r in overhead if r['bare_us'] < 150))} µs |" in README


def test_the_figures_of_the_runtime_are_what_was_measured() -> None:
    results = {path.stem: json.loads(path.read_text()) for path in (ROOT / "benchmarks/results").glob("*.json")}
    one, two = (
        [r for r in results["pool_throughput"]["rows"] if (r["session_threads"], r["client_threads"]) == (1, clients)]
        for clients in (1, 2)
    )
    assert f"| {_range(one, 'times_step', 1)} times as many |" in README
    assert f"| {_range(one, 'share_of_bare', 2, 100)} % |" in README
    assert f"| {_range(two, 'times_step', 1)} times; {_range(two, 'share_of_bare', 2, 100)} % |" in README
    added = max(row["added_us"] for row in results["stream_overhead"]["rows"])
    assert f"| at most {math.ceil(10 * added) / 10:.1f} µs | `python benchmarks/stream_overhead.py` |" in README
    broken = results["corrupted_files"]
    assert f"| {broken['refused']:,}, {broken['unchanged']}, {broken['failed']} of {broken['tried']:,} |" in README
    soak = results["pool_soak"]
    assert f"| {soak['hammer']['wrong']} of {soak['hammer']['pushes']:,} |" in README
    assert soak["hammer, whole model"]["wrong"] == soak["hammer"]["wrong"]
    for part in ("soak", "soak, whole model"):
        assert f"| {soak[part]['growth_mib']} MiB, 0, 0, 0 |" in README
    schedules = [figures for name, figures in soak.items() if name.startswith("schedules")]
    counts = {key: sum(each[key] for each in schedules) for key in ("comparisons", "bitwise", "schedules", "steps")}
    differ = counts["comparisons"] - counts["bitwise"]
    told = f"{differ} of {counts['comparisons']:,} ({counts['schedules']:,} schedules, {counts['steps']:,} steps)"
    assert f"| {told} |" in README
    whole = {
        key: sum(row[key] for row in results["pool_schedules"]["rows"]) for key in ("results", "bitwise", "schedules")
    }
    differ = whole["results"] - whole["bitwise"]
    assert f"| {differ} of {whole['results']:,} ({whole['schedules']:,} schedules) |" in README
    load = results["service_load"]
    told = f"{load['pushes']:,}, {load['p50_ms']:.0f} ms, {load['p99_ms']:.0f} ms, {len(load['errors'])}"
    assert f"| {told}, {load['server_rss_mib_at_start']:.0f} to {load['server_rss_mib_at_end']:.0f} MiB |" in README
    start = results["runtime_startup"]
    imported = next(each["over_ms"] for each in start["imports"] if each["import"] == "rnnx_runtime.load")
    assert f"| {imported:.0f} ms; {start['installed_bytes']['rnnx_runtime'] / 1e6:.2f} MB |" in README


def _range(rows: list[dict[str, float]], key: str, digits: int, scale: int = 1) -> str:
    """The least and the largest value, rounded."""
    values = [round(row[key], digits) * scale for row in rows]
    return f"{min(values):.{0 if scale > 1 else digits}f} to {max(values):.{0 if scale > 1 else digits}f}"


def test_the_figures_of_doctor_verify_and_bench_are_what_was_measured() -> None:
    results = ROOT / "benchmarks/results"
    doctor = json.loads((results / "doctor_cost.json").read_text())
    verify = json.loads((results / "verify_cost.json").read_text())
    noise = json.loads((results / "bench_noise.json").read_text())["models"].values()
    sizes = [case for case in doctor.values() if isinstance(case, dict) and case.get("file_mib", 0) >= 50]
    slowest = max(case["process_s"] for case in sizes)
    assert f"| {slowest:.2f} s | `python benchmarks/doctor_cost.py` |" in README
    assert f"| {verify['process_s']:.1f} s, {verify['own_percent']:.0f} % of it rnnx's own |" in README
    changes, judged = sum(len(model["false_changes"]) for model in noise), sum(model["judged"] for model in noise)
    assert f"| {changes} of {judged} figures |" in README


def test_the_score_of_the_doctor_and_the_sweep_are_what_was_counted() -> None:
    results = ROOT / "benchmarks/results"
    score = json.loads((results / "doctor_score.json").read_text())
    (total, _) = json.loads((results / "backend_tests.json").read_text())["rows"]
    right, broken = score["right"], score["broken"]
    assert right["clean"] == right["files"] >= 40
    assert len(right["makers"]) >= 5
    assert broken["named"] >= 0.9 * broken["files"] >= 36
    figures = f"{right['files'] - right['clean']} of {right['files']}; {broken['named']} of {broken['files']}"
    assert f"| {figures} | `python benchmarks/doctor_score.py` |" in README
    counts = ", ".join(str(total[name]) for name in ("equal", "refused", "not evaluated", "wrong"))
    assert f"| {counts} of {total['count']:,} | `python benchmarks/backend_tests.py` |" in README


def test_nothing_that_tensorrt_gets_wrong_is_unknown() -> None:
    wrong = json.loads((ROOT / "benchmarks/results/backend_tests.json").read_text())["wrong"]
    assert [name for name, why in wrong.items() if why.startswith("unknown")] == []


def test_the_score_of_the_mutation_proof_is_the_catalogues() -> None:
    assert f"{len(MUTANTS)} of {len(MUTANTS)}, " in README


def test_the_table_beside_torch_onnx_is_what_was_measured() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/side_by_side.py"), "--markdown"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert table.count("\n") == 15
    assert table in README


def test_the_table_of_libraries_and_its_tally_are_what_was_measured() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/library_models.py"), "--markdown"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert table in (ROOT / "docs/libraries.md").read_text(encoding="utf-8")
    rows = json.loads((ROOT / "benchmarks/results/library_models.json").read_text())["rows"]
    ours, dynamo, script = (
        sum(row[exporter]["verdict"] == "right" for row in rows) for exporter in ("rnnx", "dynamo", "torchscript")
    )
    assert len(rows) >= 30
    assert ours >= 27
    text = " ".join(README.split())
    libraries = len({row["library"] for row in rows})
    assert f"Of {len(rows)} classes of {libraries} public libraries" in text
    assert f"rnnx has {ours} right, torch.onnx {dynamo} in dynamo mode and {script} in TorchScript mode" in text
    assert "(`python benchmarks/library_models.py`)" in text


def test_the_count_of_hostile_files_is_what_was_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/hostile_files.json").read_text())["rows"]
    runs = [run for row in rows for run in row["runs"]]
    failed = sum(bool(run["failure"]) for run in runs)
    kinds = " and ".join(sorted({row["kind"] for row in rows}))
    told = f"| {len(rows)} hostile ONNX files ({kinds}), each as it is and sealed, through eight commands: over 10 s"
    assert told in README
    assert f"| {failed} of {len(runs)} runs | `python benchmarks/hostile_files.py` |" in README


def test_the_table_of_tools_and_its_tally_are_what_was_measured() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/post_processing.py"), "--markdown"]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert table in README
    rows = json.loads((ROOT / "benchmarks/results/post_processing.json").read_text())["rows"]
    passed, sealed = (
        sum(condition) for condition in zip(*((row["verdict"] == "pass", row["sealed"]) for row in rows), strict=True)
    )
    tools, models = ({row[key] for row in rows} for key in ("tool", "model"))
    told = f"Of {len(tools)} tools on {len(models)} exports {passed} of {len(rows)} files pass and {sealed} are sealed"
    assert told in " ".join(README.split())


def test_the_counts_of_random_models_are_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks/results/random_models.json").read_text())
    text, count = " ".join(README.split()), found["verdicts"]
    assert f"Of {found['cases']} random models" in text
    told = (
        f"{count['right']} are right at every size, {count['narrow']} from a size on that their contract says, "
        f"{count['refused']} are refused by name and {count['wrong']} are wrong"
    )
    assert told in text


def test_the_figures_of_loops_are_what_was_measured() -> None:
    loops = json.loads((ROOT / "benchmarks/results/loops.json").read_text())["loops"].values()
    copies = [own["copies_50"] for own in loops]
    sizes, copied, times = (
        sorted(own["nodes"] for own in loops),
        sorted(own["nodes"] for own in copies),
        sorted(own["time_of_rolled"] for own in copies),
    )
    text = " ".join(README.split())
    assert len(loops) == 10
    assert all(own["right"] for own in loops)
    assert f"one graph of {sizes[0]} to {sizes[-1]} nodes each" in text
    assert f"steps have {copied[0]:,} to {copied[-1]:,} and" in text
    assert f"takes {times[0]} to {times[-1]} times the copies' time" in text


def test_the_counts_of_configurations_are_what_was_measured() -> None:
    results = ROOT / "benchmarks/results"
    drawn = json.loads((results / "model_configurations.json").read_text())
    assert drawn["failed"] == 0
    text = " ".join(README.split())
    assert f"{drawn['cases']} random layers in a model, {drawn['calls_compared']} calls at sizes of their own" in text
    assert f"(`{drawn['command']}`)" in text
    table = json.loads((results / "module_db.json").read_text())["table"]
    evaluated = [row for row in table if row["mode"] == "eval"]
    assert all(row["configurations"] == row["layer"] == row["as_called"] for row in evaluated)
    assert f"All {sum(row['configurations'] for row in evaluated)} configurations of PyTorch's own tests" in text
