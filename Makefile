# Every target works on a fresh machine that has Python 3.10+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread per test process: on a few cores, more only fight. And the many programs that tests start find ours compiled.
TEST_ENV := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
JOBS ?= 2

.PHONY: demo test slow soak sabotage repeated lint docs bench clean

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "error: Python 3.10 or newer is needed; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	# Without what it asks for: a second OpenCV would be written over the first. What it needs, supervision and rich of the dev extra bring.
	$(BIN)/python -m pip install --quiet --no-deps 'trackers>=2'
	touch $@

## Train a detector from scratch on generated images, on two CPU cores, in minutes.
demo: $(READY)
	$(BIN)/accelerate launch --config_file accelerate_configs/2cpu.yaml train.py --data demo --device cpu

## The suite without what is slow.
test: $(READY)
	$(TEST_ENV) $(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist worksteal -q

## What is slow: whole trainings, installed wheels. A file stays in one process: its tests share what they train.
slow: $(READY)
	$(TEST_ENV) $(BIN)/python -m pytest -m "slow and not alone" -n $(JOBS) --dist loadfile -q
	$(TEST_ENV) $(BIN)/python -m pytest -m "slow and alone" -q

## Random faults on trainings, for as long as you like: MINUTES=480 SEED=7. Linux and root, for machines and disks of its own.
MINUTES ?= 60
SEED ?= 1
soak: $(READY)
	$(TEST_ENV) PYTHONPATH=.:tests $(BIN)/python -m soak --minutes $(MINUTES) --seed $(SEED) --record benchmarks/results/soak.md

## One line of the program made wrong at a time: the tests named for it must notice.
sabotage: $(READY)
	$(TEST_ENV) $(BIN)/python tests/sabotage.py --record

## The tests of interrupted, damaged and hanging runs again and again, while other processes use the processors.
ROUNDS ?= 10
LOAD ?= 2
repeated: $(READY)
	$(BIN)/python tests/repeated.py --rounds $(ROUNDS) --load $(LOAD) --record

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/hadolint docker/Dockerfile.cpu docker/Dockerfile.gpu

## Write the pages that are made from the code, and the site of all pages to site/: open site/index.html.
docs: $(READY)
	$(BIN)/python docs/generated_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

## What this machine does: loader, training step, waiting for data. With REFERENCE=checkout
## REFERENCE_PYTHON=its/python DATA=coco128.yaml WEIGHTS=yolov5n.pt side by side with the reference, in turns;
## PARTS=loader,epoch chooses.
DATA ?= demo
REFERENCE_PYTHON ?= $(BIN)/python
bench: $(READY)
	$(BIN)/python benchmarks/side_by_side.py --data $(DATA) $(if $(PARTS),--parts $(PARTS)) $(if $(WEIGHTS),--weights $(WEIGHTS)) \
		$(if $(REFERENCE),--reference $(REFERENCE) --reference-python $(REFERENCE_PYTHON),--rounds 3)

clean:
	rm -rf $(VENV) build dist site *.egg-info
