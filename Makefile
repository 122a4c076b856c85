# Everything here happens in .venv, which is made when it is first needed and brought up to date when pyproject.toml
# changes. `make PYTHON=/path/to/python3.12 …` chooses the Python; otherwise it is the newest one found.

VENV := .venv
BIN := $(VENV)/bin
# Where the environment forbids it, every process would translate hundreds of modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Twice quiet: errors only. Modules are translated when they are first imported: few of them ever are.
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
MODEL := checkpoints/dinosaurs.safetensors
# Other programs, for benchmarks/labels.py, tags.py and translate.py.
PEERS := .venv-peers

.NOTPARALLEL:
.PHONY: help demo test test-slow test-peers peers kills fuzz mutants lint types wheel-check checkpoint options-page clean

help:
	@echo "make demo         train on the names of dinosaurs, then show each task in a line (a minute, and what pip takes)"
	@echo "make test         run the tests (under 4 minutes)"
	@echo "make test-slow    run those that take longer: every command of the README, other processors, many processes"
	@echo "make test-peers   run the tests that need PyTorch, ONNX, Jupyter, MPI or Dask, which are installed first"
	@echo "make peers        install other programs into .venv-peers, to compare with (benchmarks/)"
	@echo "make kills        kill a training of each task 50 times, and compare what it ends with (10 minutes)"
	@echo "make fuzz         try 20,000 checkpoints that were changed in a thousand ways (some minutes)"
	@echo "make mutants      make 20 small mistakes, one after the other, and see whether the tests notice (10 to 30 minutes)"
	@echo "make lint         check style and formatting with ruff"
	@echo "make types        check types with mypy"
	@echo "make wheel-check  build the wheel and try it outside this folder"
	@echo "make checkpoint   train the models checkpoints/demo*.safetensors again"
	@echo "make options-page write docs/options.md, docs/charrnn.1 and docs/completions again"
	@echo "make clean        remove .venv, .venv-peers and what the tools leave behind (models in checkpoints/ stay)"

# Learns one model, and ends with a picture of the tasks: a command and its result each. make prints the commands.
demo: $(VENV)/.installed
	$(BIN)/charrnn train corpora/dinosaurs.txt --lines -o $(MODEL) --force --epochs 30
	$(BIN)/charrnn score -q -c $(MODEL) "Brachyraptor" "Windowsaurus" "A quiet evening"
	@echo; echo "What the tasks are; the models, but for the first, came with the project:"
	$(BIN)/charrnn sample -q -c $(MODEL) --count 10 --delimiter ' '; echo
	$(BIN)/charrnn predict -q -c checkpoints/demo-labels.safetensors "the old king near our horses"
	$(BIN)/charrnn predict -q -c checkpoints/demo-tags.safetensors "the old king near our horses sleeps"
	$(BIN)/python corpora/ball.py --throws 1 | $(BIN)/charrnn predict -q -c checkpoints/demo-throws.safetensors
	$(BIN)/charrnn predict -q -c checkpoints/demo-numbers.safetensors 90017

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not peers and not slow" -n 2 --dist worksteal

test-slow: $(VENV)/.installed-slow
	$(BIN)/python -m pytest -m "slow and not peers" -n 2 --dist worksteal

test-peers: $(VENV)/.installed-peers
	$(BIN)/python -m pytest -m peers -n 2 --dist worksteal

peers: $(PEERS)/.installed

kills: $(VENV)/.installed-test
	$(BIN)/python -m tests.kills --count 50

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz --count 20000

mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutants --count 20

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

wheel-check: $(VENV)/.created
	.ci/wheel-check $(BIN)/python

# The models of a fresh clone: fixed passes and seed, saved once more without their training state.
FINISHED = $(BIN)/python -c 'import sys; from pathlib import Path; from charrnn import checkpoint, tasks; \
	    source, target = map(Path, sys.argv[1:]); \
	    checkpoint.save(target, checkpoint.load(source, tasks.task_of(source).format))'

define demo-model
	$(BIN)/charrnn train $(2) --seed 0 -o checkpoints/training.safetensors --force
	$(FINISHED) checkpoints/training.safetensors checkpoints/$(1).safetensors
endef

checkpoint: $(VENV)/.installed
	$(call demo-model,demo,corpora/dinosaurs.txt --lines --layers 1 --hidden-size 128 --dropout 0.5 \
	    --optimizer adamw --lr 0.003 --epochs 40)
	$(BIN)/python corpora/numerals.py dates --pairs 20000 -o checkpoints/dates.tsv
	$(call demo-model,demo-dates,checkpoints/dates.tsv --task translate --hidden-size 96 --embedding-size 32 --dropout 0.1 --epochs 5)
	$(BIN)/python corpora/numerals.py numbers --pairs 20000 -o checkpoints/numbers.tsv
	$(call demo-model,demo-numbers,checkpoints/numbers.tsv --task translate --hidden-size 64 --embedding-size 24 --dropout 0.05 --epochs 8)
	$(BIN)/python corpora/agreement.py --labels --sentences 10000 -o checkpoints/labels.tsv
	$(call demo-model,demo-labels,checkpoints/labels.tsv --task classify --hidden-size 32 --embedding-size 16 --ngrams 0 --dropout 0.2 --lr 0.003 --epochs 5)
	$(BIN)/python corpora/agreement.py --tags --sentences 10000 -o checkpoints/tags.conll
	$(call demo-model,demo-tags,checkpoints/tags.conll --task tag --hidden-size 32 --embedding-size 16 --char-ngrams 0 --dropout 0.2 --lr 0.005 --epochs 5)
	$(BIN)/python corpora/ball.py -o checkpoints/throws.csv
	$(call demo-model,demo-throws,checkpoints/throws.csv --task forecast --group throw --hidden-size 24 --epochs 12)
	rm checkpoints/training.safetensors $(addprefix checkpoints/,dates.tsv numbers.tsv labels.tsv tags.conll throws.csv)
	$(BIN)/charrnn sample -c checkpoints/demo.safetensors --count 10
	$(BIN)/charrnn predict -c checkpoints/demo-dates.safetensors "the 21st of March, 1987"

# The page of all options and the man page, from the options; the files for shells.
options-page: $(VENV)/.installed
	$(BIN)/python -m charrnn.cli.options_page docs/options.md
	$(BIN)/python -m charrnn.cli.man_page docs/charrnn.1
	$(BIN)/python -m charrnn.cli.completions docs/completions

clean:
	rm -rf $(VENV) $(PEERS) build dist charrnn.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment

$(VENV)/.installed: WANTED := .
$(VENV)/.installed-test: WANTED := '.[test]'
$(VENV)/.installed-dev: WANTED := '.[dev]'
$(VENV)/.installed-slow: WANTED := '.[test,report]'
$(VENV)/.installed-peers: WANTED := '.[test,report,mpi,dask]' openmpi torch==2.13.0 onnx onnxruntime nbclient ipykernel 'seqeval>=1.2.2,<2'

STAMPS := $(VENV)/.installed $(addprefix $(VENV)/.installed-,test slow dev peers)
$(STAMPS): pyproject.toml | $(VENV)/.created
	@echo "installing $(WANTED) into $(VENV)" >&2
	@$(PIP) install --no-compile --editable $(WANTED)
	@touch $@

$(PEERS)/.installed: benchmarks/peers.txt | $(PEERS)/.created
	@echo "installing what benchmarks/peers.txt says into $(PEERS)" >&2
	@$(PEERS)/bin/python -m pip --quiet --quiet --disable-pip-version-check install --requirement benchmarks/peers.txt
	@touch $@

# A Python counts when it runs (a version manager may leave a stub that does not), is 3.11 or later, and can make a
# virtual environment (Debian and Ubuntu package that part on its own). `choose` prints the newest, or one sentence.
MINORS := 20 19 18 17 16 15 14 13 12 11
CANDIDATES := $(or $(PYTHON),$(addprefix python3.,$(MINORS)) python3 python)
choose = $(shell newest=0; best=; lacking=; for python in $(CANDIDATES); do \
	minor=$$("$$python" -c 'import sys; print(sys.version_info[1] * (sys.version_info >= (3, 11)))' 2>/dev/null) || continue; \
	test "$$minor" -gt "$$newest" || continue; \
	if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then best=$$python; newest=$$minor; \
	else lacking=python3.$$minor; fi; \
	done; \
	if test -n "$$best"; then echo "$$best"; \
	elif test -n "$$lacking"; then echo "$$lacking has no venv module: install it (Debian or Ubuntu: apt install $$lacking-venv)"; \
	else echo "Python 3.11 or later is needed and none was found: install one, or name it with make PYTHON=/path/to/python3"; fi)

$(VENV)/.created $(PEERS)/.created:
	$(eval CHOSEN := $(choose))$(if $(filter 1,$(words $(CHOSEN))),,$(error $(CHOSEN)))
	@echo "making $(@D) with $(CHOSEN)" >&2
	@$(CHOSEN) -m venv --clear $(@D)
	@touch $@
