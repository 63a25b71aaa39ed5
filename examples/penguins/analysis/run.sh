#!/bin/sh
# The whole analysis: sh analysis/run.sh DIRECTORY
set -eu
here=$(dirname "$0")
mkdir -p "$1"
python "$here/classify.py" "$1"
Rscript "$here/summarise.R" "$1"
ls "$1"
