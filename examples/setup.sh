#!/bin/sh
# Install dsenv from this checkout into .venv, with all that it needs on a fresh Debian 12.
#
# Usage: sh examples/setup.sh [GROUP]    GROUP: a dependency group of pyproject.toml to install as well
#
# As root, missing Debian packages are installed; anyone else is told which are missing.
set -eu
cd "$(dirname "$0")/.."

has_venv() { python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! has_venv; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3 and python3-venv" >&2
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends python3 python3-venv ca-certificates >/dev/null
    fi
    if ! has_venv; then
        echo "dsenv needs Python 3.11 or newer with its venv module: apt-get install python3 python3-venv" >&2
        exit 1
    fi
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
# uv understands dependency groups and compiles what it installs; its wheel brings the program along.
.venv/bin/python -c 'import uv' 2>/dev/null || .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --editable . ${1:+--group "$1"}
