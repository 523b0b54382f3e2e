# demo: the whole job on a synthetic cohort; test, lint, bench: what they say. The first call sets up .venv once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# Threads that wait for a busy core sleep instead of spinning: on a shared machine a step is 3 times as fast so.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-slow lint bench clean-demo

# Set up again only when the pinned dependencies change. On Linux the index's torch brings CUDA along.
$(VENV)/.ready: pyproject.toml
	@echo 'setting up $(VENV): some minutes, once'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

RUN := $(BIN)/python -m monai.bundle run
ON_DEMO := --dataset_dir $(DEMO)/data --output_dir $(DEMO)/run

demo: $(VENV)/.ready
	$(BIN)/python -m scripts.prepare_data phantom --output_dir $(DEMO)/data
	$(RUN) training --config_file configs/train.yaml $(ON_DEMO)
	$(RUN) --config_file configs/inference.yaml $(ON_DEMO) --save_also cams
	$(RUN) --config_file configs/evaluate.yaml $(ON_DEMO)
	@printf 'masks    %s\nmaps     %s\npicture  %s\n' $(DEMO)/run/masks $(DEMO)/run/cams $(DEMO)/run/contact_sheet.png

# One process a core, one thread each: tests are many and small.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m 'not slow and not label_server' --disable-warnings

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m 'slow and not label_server' --disable-warnings

lint: $(VENV)/.ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.ready
	$(BIN)/python -m scripts.benchmark all

clean-demo:
	rm -rf $(DEMO)
