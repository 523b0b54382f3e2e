# demo: the whole job on a synthetic cohort; label-server: MONAI Label on it; test, test-label, lint, bench: what they
# say. The first call sets up .venv once, and .venv-label for MONAI Label, whose dependencies want an older numpy.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LABEL_VENV := .venv-label
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_PORT ?= 8000
DEMO := demo
# Threads that wait for a busy core sleep instead of spinning: on a shared machine a step is 3 times as fast so.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo label-server test test-slow test-label lint bench clean-demo

# Set up again only when the dependencies change. On Linux the index's torch brings CUDA along.
INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo 'setting up $(VENV): some minutes, once'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) '.[dev]'
	touch $@

$(LABEL_VENV)/.ready: pyproject.toml constraints.txt
	@echo 'setting up $(LABEL_VENV): some minutes, once'
	$(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_BIN)/python $(INSTALL) '.[label]'
	touch $@

RUN := $(BIN)/python -m monai.bundle run
ON_DEMO := --dataset_dir $(DEMO)/data --output_dir $(DEMO)/run

demo: $(VENV)/.ready
	$(BIN)/python -m scripts.prepare_data phantom --output_dir $(DEMO)/data
	$(RUN) training --config_file configs/train.yaml $(ON_DEMO)
	$(RUN) --config_file configs/inference.yaml $(ON_DEMO) --save_also cams
	$(RUN) --config_file configs/evaluate.yaml $(ON_DEMO)
	@printf 'masks    %s\nmaps     %s\npicture  %s\n' $(DEMO)/run/masks $(DEMO)/run/cams $(DEMO)/run/contact_sheet.png

# The demo's weights, trained first if they are not there, serve its scans. The server's script calls the first `python`.
label-server: $(LABEL_VENV)/.ready
	test -f $(DEMO)/run/models/model.pt || $(MAKE) demo
	$(LABEL_BIN)/python -m scripts.label_app --studies $(DEMO)/data/raw --run_dir $(DEMO)/run --output_dir $(DEMO)/app \
	  --port $(LABEL_PORT)
	PATH="$(abspath $(LABEL_BIN)):$$PATH" monailabel start_server --app $(DEMO)/app --studies $(DEMO)/app/studies \
	  --conf models tags_to_masks --conf zoo_source ngc --conf sam2 false --host 127.0.0.1 --port $(LABEL_PORT)

# One process a core, one thread each: tests are many and small.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m 'not slow and not label_server' --disable-warnings

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -q -m 'slow and not label_server' --disable-warnings

test-label: $(LABEL_VENV)/.ready
	OMP_NUM_THREADS=1 $(LABEL_BIN)/python -m pytest -q -m label_server --disable-warnings tests/label_server

lint: $(VENV)/.ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: $(VENV)/.ready
	$(BIN)/python -m scripts.benchmark all

clean-demo:
	rm -rf $(DEMO)
