# The same words here and in CI: install, demo, fix, check, quick, test, floors, bench; core-flow runs on newer Pythons,
# and train rebuilds the models' weights.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := exporter runtime tests benchmarks examples models

# Tests start hundreds of processes: where no byte code is kept, each of them compiles rnnx anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo fix check quick test floors core-flow bench train evaluate

install: .venv/.installed

# torch goes in first and pinned, so that nothing after it replaces the build that is there (a CPU build is enough).
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[export,cpu,tensorrt-rtx,report,models,service,dev]'
	touch $@

demo: install
	$(BIN)/python examples/demo.py

fix: install
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

check: install
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy

# Two processes, a file of tests in one of them: files share their models. Slow files come first (tests/conftest.py).
test: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# A round for each change: nothing that is slow, downloads, or runs the README.
quick: install
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

floors:
	$(PYTHON) -m tests.floors.run --json benchmarks/results/floors.json

core-flow:
	$(PYTHON) -m tests.floors.run --python 3.12 --versions pinned --json benchmarks/results/core_flow_3.12.json
	$(PYTHON) -m tests.floors.run --python 3.13 --versions pinned --json benchmarks/results/core_flow_3.13.json

bench: install
	$(BIN)/python benchmarks/encoder_grid.py
	$(BIN)/python benchmarks/session_overhead.py
	$(BIN)/python benchmarks/export_cost.py
	$(BIN)/python benchmarks/doctor_cost.py
	$(BIN)/python benchmarks/doctor_score.py
	$(BIN)/python benchmarks/backend_tests.py
	$(BIN)/python benchmarks/verify_cost.py
	$(BIN)/python benchmarks/bench_noise.py
	$(BIN)/python benchmarks/session_options.py
	$(BIN)/python benchmarks/stream_overhead.py
	$(BIN)/python benchmarks/bound_steps.py
	$(BIN)/python benchmarks/push_many.py
	$(BIN)/python benchmarks/combining.py
	$(BIN)/python benchmarks/ragged.py
	$(BIN)/python benchmarks/streaming_models.py
	$(BIN)/python benchmarks/runtime_startup.py
	$(BIN)/python benchmarks/pool_throughput.py
	$(BIN)/python benchmarks/pool_latency.py
	$(BIN)/python benchmarks/pool_soak.py
	$(BIN)/python benchmarks/pool_schedules.py
	$(BIN)/python benchmarks/service_load.py
	$(BIN)/python benchmarks/corrupted_files.py
	$(BIN)/python benchmarks/module_db.py
	$(BIN)/python benchmarks/model_configurations.py
	$(BIN)/python benchmarks/random_models.py
	$(BIN)/python benchmarks/library_models.py
	$(BIN)/python benchmarks/foreign_files.py
	$(BIN)/python benchmarks/post_processing.py
	$(BIN)/python benchmarks/hostile_files.py
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/loops.py
	$(BIN)/python benchmarks/decoder_forecast.py
	$(BIN)/python benchmarks/g2p_engines.py

train: install
	PYTHONPATH=models $(BIN)/python models/g2p-lstm/train.py
	PYTHONPATH=models $(BIN)/python models/g2p-gru/train.py
	$(BIN)/python -m pip install --quiet --no-deps 'aeon>=1.3'
	PYTHONPATH=models $(BIN)/python -m motions.train

evaluate: install
	PYTHONPATH=models $(BIN)/python -m g2p.evaluate models/g2p-lstm
	PYTHONPATH=models $(BIN)/python -m g2p.evaluate models/g2p-gru
	$(BIN)/python -m pip install --quiet --no-deps 'aeon>=1.3'
	PYTHONPATH=models $(BIN)/python -m motions.evaluate
