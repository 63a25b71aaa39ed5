#!/bin/sh
# The main job on the shipped example: lock, restore, run; and the same again as an image, where an engine answers.
#
# Usage: sh examples/demo.sh
set -eu
cd "$(dirname "$0")/.."
sh examples/setup.sh
dsenv=$PWD/.venv/bin/dsenv
cd examples/penguins
rm -rf results results-image

step() { printf '\n== %s\n' "$*"; }

step "dsenv lock: pin Python, R and system packages"
"$dsenv" lock
step "dsenv restore: rebuild the environment in .dsenv, without touching this machine"
code=0
"$dsenv" restore || code=$?
[ "$code" = 0 ] || [ "$code" = 5 ] || exit "$code"
if [ "$code" = 5 ]; then
    echo "this machine cannot have the whole environment (see above): the R part runs in the image only"
    exit 5
fi
step "dsenv run: the analysis in the environment"
"$dsenv" run -- sh analysis/run.sh results
step "dsenv verify: every file against the locked artifact that it comes from"
"$dsenv" verify

if ! "$PWD/../../.venv/bin/python" -c 'import docker; docker.from_env().ping()' 2>/dev/null; then
    step "no container engine answers: the image is not built"
else
    if ! command -v mmdebstrap >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends mmdebstrap >/dev/null
    fi
    step "dsenv docker: the image, built with the network off"
    "$dsenv" docker --quiet
    step "dsenv run --image: the same analysis in a container"
    "$dsenv" run --image -- sh analysis/run.sh results-image
    step "dsenv verify --image"
    "$dsenv" verify --image
    step "the tables, from this machine and from the image"
    for table in classification.csv summary.csv; do
        cmp "results/$table" "results-image/$table"
        echo "$table: equal"
    done
fi

step "the figures"
ls -l "$PWD/results/classification.png" "$PWD/results/summary.png"
