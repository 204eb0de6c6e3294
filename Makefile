# cooptrack: make [target] [VARIABLE=value]. Needs no root; what is missing on the machine is named first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench bench-scaling robustness fuzz soak netns oracle train-tiny lint build shell clean
MAKEFLAGS += --no-print-directory

# Options of `make demo`, as of `cooptrack demo --help`; empty: its default.
SCENE ?=
MODE ?=
DETECTOR ?=
SEED ?=
DURATION ?=
SIZE ?=
RATE ?=
PRESET ?=
WEIGHTS ?=
ROADSIDE_WEIGHTS ?=
DEVICE ?=
ENGINE ?=
LOCKSTEP ?=
RVIZ ?= false
VIDEO ?= true
OUT ?= demo
# Options of `make test`: arguments of pytest; empty: every test, those without a ROS graph side by side.
TESTS ?=
# A dataset for `make robustness`; empty: a synthetic scene without images is made, which detector simulated needs.
DATA ?=
# `make fuzz`: number of messages and seed. `make soak`: length in seconds, a bag (empty: a synthetic one).
MESSAGES ?= 100000
SOAK_S ?= 3600
BAG ?=
# Arguments of scripts/oracle/generate.py; --write replaces what is stored.
ORACLE ?=
# `make bench-scaling`: a folder for the curves; empty: tables alone.
PLOTS ?=
# The interpreter that .venv is made with; empty: that of a sourced ROS 2, else the newest suitable one.
PYTHON ?=

demo_options = --out "$(OUT)" $(if $(SCENE),--scene $(SCENE)) $(if $(MODE),--mode $(MODE)) $(if $(DETECTOR),--detector $(DETECTOR)) \
  $(if $(SEED),--seed $(SEED)) $(if $(DURATION),--duration-s $(DURATION)) $(if $(SIZE),--image-size $(SIZE)) \
  $(if $(RATE),--rate $(RATE)) $(if $(filter true,$(LOCKSTEP)),--lockstep) $(if $(filter false,$(LOCKSTEP)),--no-lockstep) \
  $(if $(PRESET),--preset "$(PRESET)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(DEVICE),--device "$(DEVICE)") $(if $(ENGINE),--engine $(ENGINE)) \
  $(if $(ROADSIDE_WEIGHTS),--roadside-weights "$(ROADSIDE_WEIGHTS)") $(if $(filter true,$(RVIZ)),--rviz) \
  $(if $(filter false,$(VIDEO)),--no-video)

# A ROS graph of our own: nobody else's nodes take part, and we do not take part in theirs.
own_graph = . scripts/env.sh && export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST && \
  export ROS_LOG_DIR=$${ROS_LOG_DIR:-$(CURDIR)/log/ros} && \
  export ROS_DOMAIN_ID=$${ROS_DOMAIN_ID:-$$(python scripts/free_domain.py)}

every_test = python -m pytest -q --numprocesses logical --maxprocesses 8 --dist loadfile test/core; core=$$?; \
  python -m pytest -q test/compat test/ros && [ $$core = 0 ]

# One after the other, all of them: what fails is named at the end.
benches = $(filter-out scripts/bench_scaling.py,$(wildcard scripts/bench_*.py))

help: ## list the targets
	@echo "cooptrack: cooperative 3D tracking for ROS 2"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24
	@echo "Variables of demo: SCENE (single, multi: two roadside units and two vehicles) MODE DETECTOR SEED DURATION SIZE RATE LOCKSTEP RVIZ VIDEO OUT, for a network PRESET WEIGHTS ROADSIDE_WEIGHTS DEVICE ENGINE; of test: TESTS; of robustness: DATA DETECTOR MODE; of fuzz: MESSAGES SEED; of soak: SOAK_S BAG DETECTOR RATE SEED; of train-tiny: DATA RUNS EVERY STEPS OUT; of oracle: ORACLE; of bench-scaling: PLOTS; of all: PYTHON"

demo: build ## a synthetic scene through the nodes over DDS; result in demo/
	@$(own_graph) && exec python -m cooptrack_core.cli demo $(demo_options)

test: build ## every check and test
	@. scripts/env.sh; python scripts/lint.py; checks=$$?; \
	$(own_graph) && $(if $(TESTS),python -m pytest -q $(TESTS),$(every_test)) && \
	{ [ $$checks = 0 ] || { echo "The tests passed, the checks before them did not: make lint" >&2; exit 1; }; }

bench: build ## measure speed and memory: networks, agents, nodes, evaluation, training
	@$(own_graph) || exit 1; failed=; for script in $(benches); do python $$script || failed="$$failed $$script"; done; \
	[ -z "$$failed" ] || { echo "make bench: failed:$$failed" >&2; exit 1; }

bench-scaling: build ## cost against agents, instances, image, grid, history; PLOTS=docs/images draws the curves
	@. scripts/env.sh && exec python scripts/bench_scaling.py $(if $(PLOTS),--plots "$(PLOTS)")

robustness: build ## never worse than ego: a matrix of impairments of the messages; result in robustness/
	@. scripts/env.sh && { [ -n "$(DATA)" ] || [ -f robustness/scene/synthetic.json ] || \
	  python -m cooptrack_core.cli synthesize robustness/scene --sequences 2 --duration-s 8 --renderer none --seed 5 --split val; } && \
	exec python -m cooptrack_core.cli robustness "$(or $(DATA),robustness/scene)" --matrix --out robustness/matrix \
	  --detector $(or $(DETECTOR),simulated) $(if $(MODE),--modes $(MODE))

fuzz: build ## mutated messages through decoding, admission and the vehicle; result in fuzz/
	@. scripts/env.sh && exec python scripts/fuzz_messages.py --messages $(MESSAGES) --seed $(or $(SEED),0) --out fuzz

soak: build ## an hour of replay in a loop, kill -9 of nodes, random transitions; result in soak/
	@$(own_graph) && exec python scripts/soak.py --duration-s $(SOAK_S) --seed $(or $(SEED),0) --out soak \
	  --detector $(or $(DETECTOR),simulated) $(if $(RATE),--rate $(RATE)) $(if $(BAG),--bag "$(BAG)")

netns: build ## both sides in two network namespaces with the deployment DDS profile, loss and delay between
	@$(own_graph) && exec python scripts/netns_check.py

oracle: ## make the stored scores of the nuScenes kit anew, in an environment of its own (.oracle), and compare
	@sh scripts/oracle/run.sh $(ORACLE)

train-tiny: build ## train the weights that ship anew (WEIGHTS.md, docs/training.md); resumes where it stopped
	@. scripts/env.sh && exec bash scripts/train_tiny.sh

lint: build ## style, types, import rules, manifests
	@. scripts/env.sh && exec python scripts/lint.py

build: ## install into .venv and build with colcon, as far as not done yet
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

shell: build ## a shell with everything on its path
	@. scripts/env.sh && exec $${SHELL:-bash} -i

clean: ## remove .venv, .oracle, build, install, log and the output of demo, robustness, fuzz and soak
	rm -rf .venv .oracle build install log demo robustness fuzz soak cooptrack.egg-info
