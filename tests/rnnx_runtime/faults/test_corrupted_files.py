import gc
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.rnnx_runtime.faults.campaign import counted, outcomes
from tests.rnnx_runtime.faults.corruption import faults
from tests.rnnx_runtime.faults.specimens import Specimen, descriptors, read, write
from tests.rnnx_runtime.faults.trial import Outcome

import rnnx_runtime
from rnnx_runtime import BackendUnavailable
from rnnx_runtime.cuda import devices as cuda

ROOT = Path(__file__).parents[3]
SEED = 4_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="time and memory are limited as on Linux")


def survived(results: Sequence[Outcome], least: int) -> None:
    """Every fault was refused by name, or changed nothing; hardly any of them may have changed nothing."""
    assert len(results) >= least
    assert not [str(outcome) for outcome in results if outcome.failure]
    unchanged = [outcome for outcome in results if not outcome.refused]
    assert len(unchanged) <= len(results) // 20, f"a generator of faults that changes nothing: {counted(results)}"


def test_a_thousand_corrupted_files_are_refused(exported: list[Specimen], tmp_path: Path) -> None:
    results = list(outcomes(exported, tmp_path, SEED, 1_000))
    survived(results, 1_000)
    assert {outcome.kind for outcome in results} == {specimen.kind for specimen in exported}


def test_refused_files_are_closed(exported: list[Specimen], tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    list(outcomes(exported, tmp_path / "first", SEED, 12))
    gc.collect()  # what earlier tests left open closes now, not in between
    before = descriptors()
    list(outcomes(exported, tmp_path / "second", SEED, 60))
    assert descriptors() <= before


def test_corrupted_files_neither_crash_a_process_nor_take_its_memory(exported: list[Specimen], tmp_path: Path) -> None:
    specimens = tmp_path / "specimens.pickle"
    specimens.write_bytes(pickle.dumps(exported))
    module = "tests.rnnx_runtime.faults.confined"
    command = [sys.executable, "-W", "error", "-m", module, str(specimens), str(SEED + 1_000), "102"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{done.returncode} after {done.stdout[-500:]}{done.stderr[-2000:]}"
    assert len(done.stdout.splitlines()) == 102


@pytest.mark.tensorrt
def test_corrupted_engines_and_sidecars_are_refused_before_a_library_sees_them(
    plans: list[Specimen], tmp_path: Path
) -> None:
    survived(list(outcomes(plans, tmp_path, SEED, 300)), 300)


@pytest.mark.tensorrt
def test_a_sound_engine_lacks_a_gpu_alone(plans: list[Specimen], tmp_path: Path) -> None:
    write(plans[0], tmp_path)
    try:
        cuda.device_count()
    except BackendUnavailable:
        with pytest.raises(BackendUnavailable):
            rnnx_runtime.load(tmp_path / "model.plan")
    else:
        rnnx_runtime.load(tmp_path / "model.plan").close()


def test_a_seed_gives_the_same_faults_again_and_another_seed_others(exported: list[Specimen]) -> None:
    data, others = exported[0].data, [exported[1].data]
    first, again, other = (list(faults(data, others, seed, 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({damaged for _, damaged in first}) == 50
    assert sum(damaged == data for _, damaged in first) == 0


def test_a_sound_file_gives_the_same_answer_twice(exported: list[Specimen], tmp_path: Path) -> None:
    for number, specimen in enumerate(exported):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(specimen, folder)
        assert read(specimen, folder) == read(specimen, folder)
