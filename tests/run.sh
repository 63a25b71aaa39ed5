#!/bin/sh
# Check and test dsenv.
#
# Usage: sh tests/run.sh [PYTEST ARGUMENT ...]
#   --integration   also run the tests that use real tools and the network; what a machine lacks is skipped, and said
set -eu
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE # the real tests start dsenv hundreds of times: it need not be compiled each time
sh examples/setup.sh dev
.venv/bin/ruff check
.venv/bin/ruff format --check
.venv/bin/mypy
.venv/bin/python -m pytest "$@"
