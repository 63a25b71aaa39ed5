"""renv itself, of the slice, restores what dsenv's export names: the same versions, which it takes for the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import CRAN, Dsenv

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.apt,
    pytest.mark.cran,
    pytest.mark.skipif(not CRAN.is_dir(), reason=f"the slice of CRAN is not at {CRAN}"),
]
# Of packages without code to compile, as the environment has no compiler; withr 2.5.0 is in the Archive.
PACKAGES = ["renv", "R6", "withr==2.5.0"]
RESTORE = """\
options(renv.consent = TRUE)
library <- file.path(getwd(), "other")
dir.create(library)
renv::restore(lockfile = "renv.lock", library = library, exclude = "renv", prompt = FALSE)
description <- function(package) file.path(library, package, "DESCRIPTION")
for (package in list.files(library)) {
    version <- read.dcf(description(package), "Version")
    hash <- renv:::renv_hash_description(description(package))
    cat(package, version, hash, "\\n", file = "restored", append = TRUE)
}
"""


def test_renv_restores_the_same_versions(tmp_path: Path, store: Path, slice_: str) -> None:
    project = Dsenv(tmp_path, store).r(slice_, PACKAGES)
    project("lock")
    project("restore", code=None)
    records = json.loads(project.locks()["renv.lock"])["Packages"]
    # Its own settings, its own cache; of the environment it is given R and renv.
    settings = {"RENV_PATHS_ROOT": str(tmp_path / "renv"), "RENV_CONFIG_SANDBOX_ENABLED": "FALSE"}
    Dsenv(tmp_path, store, settings)("run", "--", "Rscript", "--vanilla", "-e", RESTORE)
    restored = [line.split() for line in (tmp_path / "restored").read_text().splitlines()]
    assert {name: (version, hash_) for name, version, hash_ in restored} == {
        name: (record["Version"], record["Hash"]) for name, record in records.items() if name != "renv"
    }
    assert len(restored) == len(PACKAGES) - 1
