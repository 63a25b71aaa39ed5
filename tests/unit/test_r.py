"""R: where it looks, and whether its pins are those of the system part."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dsenv.ecosystems.r import install, pins
from dsenv.ecosystems.r.spec import Spec
from dsenv.ecosystems.r.versions import is_version_of
from dsenv.errors import LockFormatError
from dsenv.pins import Artifact, Provided, Selection, Target
from dsenv.progress import Silent
from dsenv.steps import Place, SetEnv, Write
from dsenv.store import Store

AMD64 = Target("linux", "amd64")
PROJECT = Place(kind="project", prefix="/p", root="/p/root", inputs="/p/.inputs")
IMAGE = Place(kind="image", prefix="/opt/dsenv", root="", inputs="/dev/dsenv")


def _pins(sha256: str = "1", target: str = "linux-amd64") -> pins.Pins:
    artifact = {"kind": "deb", "package": "r-cran-glue", "sha256": sha256 * 64}
    row = {"name": "glue", "version": "1.6-2", "why": ["requested"], "renv-hash": "a" * 32}
    return pins.Pins.model_validate(
        {"version": "4.2.2", "package": "r-base-core", "packages": [{**row, "artifacts": {target: artifact}}]}
    )


def _provided(r: str = "4.2.2.20221110-2", **rows: str) -> dict[Target, dict[str, Provided]]:
    versions = {"r-base-core": r, "r-cran-glue": "1.6.2-1", **rows}
    artifact = Artifact(filename="x.deb", sha256="1" * 64)
    return {
        AMD64: {
            name: Provided(name=name, version=version, artifact=artifact, dependencies=())
            for name, version in versions.items()
            if version
        }
    }


def test_pins_are_system_packages() -> None:
    pins.check(_pins(), _provided())


@pytest.mark.parametrize(
    ("locked", "provided", "told"),
    [
        (_pins("2"), _provided(), "R package glue for linux-amd64 with another sha256"),
        (_pins(target="linux-arm64"), _provided(), "R package glue for linux-arm64"),
        (_pins(), _provided(**{"r-cran-glue": ""}), "r-cran-glue"),
        (_pins(), _provided("4.2.20-1"), r"R 4\.2\.2 for linux-amd64, and r-base-core 4\.2\.20-1"),
        (_pins(), _provided(""), "r-base-core none"),
    ],
)
def test_pins_that_are_no_system_packages_are_refused(locked: pins.Pins, provided: Any, told: str) -> None:
    with pytest.raises(LockFormatError, match=told):
        pins.check(locked, provided)


@pytest.mark.parametrize(
    ("debian", "version", "holds"),
    [
        ("4.2.2.20221110-2", "4.2.2", True),
        ("4.2.2.20221110-2", "4.2", True),
        ("4.5.0-3", "4.5.0", True),
        ("1:4.5.0+dfsg-3", "4.5.0", True),
        ("4.20.0-1", "4.2", False),
        ("4.2.20-1", "4.2.2", False),
        ("14.2.2-1", "4.2.2", False),
        ("none", "4.2", False),
    ],
)
def test_the_distributions_version_of_r(debian: str, version: str, holds: bool) -> None:  # noqa: FBT001
    assert is_version_of(debian, version) is holds


@pytest.mark.parametrize("version", ["4", "4.2.2.2", "٤.٢", "4.2\n", "v4.2"])
def test_what_is_no_version_of_r(version: str) -> None:
    with pytest.raises(ValidationError):
        Spec(version=version)


@pytest.mark.parametrize("place", [PROJECT, IMAGE], ids=lambda place: place.kind)
def test_no_renviron_stands_above_the_environment(place: Place, tmp_path: Any) -> None:
    """R reads none by itself; the site profile reads it and then sets again whatever the steps set."""
    recipe = install.recipe(_pins(), Selection(target=AMD64), place, Store(tmp_path), Silent(), {})
    values = {step.name: step.value for step in recipe.steps if isinstance(step, SetEnv)}
    texts = {step.path: step.text for step in recipe.steps if isinstance(step, Write)}
    assert values["R_ENVIRON"] == values["R_ENVIRON_USER"] == "/dev/null"
    profile = texts[str(values["R_PROFILE"])]
    assert values["R_PROFILE_USER"] in texts
    before, _, after = profile.partition("readRenviron(")
    assert all(f'"{name}"' in before for name in values)
    assert "do.call(Sys.setenv, ours)" in after
    assert ".libPaths(c(" in after
