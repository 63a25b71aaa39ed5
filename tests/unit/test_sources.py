"""Requirements that stand in other files: what is taken over, and what is refused in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dsenv import spec
from dsenv.errors import WrongUseError

if TYPE_CHECKING:
    from pathlib import Path

    from dsenv.ecosystems.python.spec import Spec

HEAD = '[project]\nname = "x"\n[platform]\nbase = "bootstrap:debian:bookworm"\ntargets = ["linux-amd64"]\n'
PYPROJECT = """
[project]
name = "study"
requires-python = ">=3.10"
dependencies = ["pandas >= 2.2", "six"]
[project.optional-dependencies]
plot = ["matplotlib"]
[dependency-groups]
test = ["pytest"]
dev = [{ include-group = "test" }, "ruff"]
"""
REQUIREMENTS = """
# what the study needs
pandas>=2.2,\\
    <3   # continued
six==1.16.0 --hash=sha256:0000 \\
    --hash=sha256:1111
-r more.in
-c bounds.txt
colorama; sys_platform == "win32"
"""


def _load(directory: Path, source: str, more: str = "", **files: str) -> Spec:
    for name, text in files.items():
        path = directory / name.replace("__", ".")
        path.write_text(text)
    (directory / "dsenv.toml").write_text(f'{HEAD}[python]\nversion = "3.11"\nfrom = "{source}"\n{more}')
    found: Spec = spec.load(directory / "dsenv.toml").parts["python"]
    return found


def test_a_pyproject_brings_its_extras_and_groups(tmp_path: Path) -> None:
    more = 'packages = ["attrs"]\ngroups = { dev = ["mypy"] }\n'
    found = _load(tmp_path, "pyproject.toml", more, pyproject__toml=PYPROJECT)
    assert found.packages == ("pandas>=2.2", "six", "attrs")
    assert found.groups == {"plot": ("matplotlib",), "test": ("pytest",), "dev": ("pytest", "ruff", "mypy")}


def test_a_requirements_file_brings_its_includes(tmp_path: Path) -> None:
    files = {"requirements__in": REQUIREMENTS, "more__in": "requests[socks]\n", "bounds__txt": "numpy<2\n-r deep.txt\n"}
    found = _load(tmp_path, "requirements.in", "", deep__txt="scipy<2\n", **files)
    assert found.packages == (
        "pandas<3,>=2.2",
        "six==1.16.0",
        "requests[socks]",
        'colorama; sys_platform == "win32"',
    )
    assert found.constraints == ("numpy<2", "scipy<2")


def test_a_uv_lock_brings_its_pins(tmp_path: Path) -> None:
    lock = """
version = 1
[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://index.example/simple" }
[[package]]
name = "numpy"
version = "1.26.0"
source = { registry = "https://index.example/simple" }
[[package]]
name = "numpy"
version = "2.0.0"
source = { registry = "https://index.example/simple" }
[[package]]
name = "study"
version = "0"
source = { virtual = "." }
"""
    found = _load(tmp_path, "uv.lock", "", uv__lock=lock, pyproject__toml=PYPROJECT)
    assert found.packages == ("pandas>=2.2", "six")
    assert found.constraints == ("six==1.16.0",)


@pytest.mark.parametrize(
    ("source", "text", "told"),
    [
        ("requirements.in", None, "there is no"),
        ("../requirements.in", "six", "outside of the project"),
        ("requirements.in", "-r ../../x.in\n", "outside of the project"),
        ("requirements.in", "-r requirements.in\n", "includes itself"),
        ("requirements.in", "six\n--index-url https://x.example\n", "requirements.in:2: --index-url is not taken over"),
        ("requirements.in", "six\n\nfoo; touch x\n", "requirements.in:3: 'foo; touch x' is not a requirement"),
        ("requirements.in", "-e .\n", "'-e .' is not a requirement"),
        ("requirements.in", "git+https://x.example/a\n", "write `NAME @ git+https"),
        ("requirements.in", "a @ file:///srv/a\n", "expected `git+https://"),
        ("requirements.in", "-e ../a\n", "expected a path inside the project"),
        ("pyproject.toml", "[", "not valid TOML"),
        ("pyproject.toml", '[project]\nname = "x"\ndynamic = ["dependencies"]\n', "dynamic"),
        ("pyproject.toml", '[project]\ndependencies = ["-x"]\n', "cannot be read"),
        ("pyproject.toml", "[project]\ndependencies = 7\n", "cannot be read"),
        ("pyproject.toml", '[project]\nrequires-python = ">=3.12"\n', "requires Python >=3.12"),
        ("pyproject.toml", '[project]\nrequires-python = "x"\n', "cannot be read"),
        ("pyproject.toml", '[dependency-groups]\na = [{ include-group = "a" }]\n', "cannot be read"),
        (
            "pyproject.toml",
            '[tool.uv.sources]\nsix = { index = "acme" }\n',
            "what [tool.uv.sources] says of six is not taken over",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_told(tmp_path: Path, source: str, text: str | None, told: str) -> None:
    files = {} if text is None else {source.rpartition("/")[2].replace(".", "__"): text}
    with pytest.raises(WrongUseError) as caught:
        _load(tmp_path, source, "", **files)
    assert told in f"{caught.value.sentence}\n{caught.value.cause}"


SOURCES = """
[project]
name = "study"
dependencies = ["own[x]>=1", "one", "two ; os_name == 'posix'", "six"]
[dependency-groups]
dev = ["one>2"]
[tool.uv.sources]
own = { path = "../pkgs/own", editable = true }
One = { git = "https://host/one", tag = "v1", subdirectory = "py" }
two = { url = "https://host/two-1.0.tar.gz", marker = "python_version < '4'" }
"""


def test_uvs_sources_are_taken_over(tmp_path: Path) -> None:
    for name in ("sub", "pkgs/own"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sub" / "pyproject.toml").write_text(SOURCES)
    found = _load(tmp_path, "sub/pyproject.toml")
    assert found.packages == (
        "own[x] @ ./pkgs/own#editable=true",
        "One @ git+https://host/one@refs/tags/v1#subdirectory=py",
        'two @ https://host/two-1.0.tar.gz ; python_version < "4" and os_name == "posix"',
        "six",
    )
    assert found.groups == {"dev": ("One @ git+https://host/one@refs/tags/v1#subdirectory=py",)}


@pytest.mark.parametrize(
    "source",
    ['{ index = "acme" }', "{ workspace = true }", '[{ git = "https://host/a", marker = "x" }]', '{ path = "/srv/a" }'],
)
def test_what_of_uvs_sources_means_more_is_told(tmp_path: Path, source: str) -> None:
    text = f'[project]\nname = "study"\ndependencies = ["six"]\n[tool.uv.sources]\nsix = {source}\n'
    with pytest.raises(WrongUseError, match=r"\[tool\.uv\.sources\] says of six|outside of the project"):
        _load(tmp_path, "pyproject.toml", pyproject__toml=text)


def test_a_requirements_file_names_sources_as_pip_takes_them(tmp_path: Path) -> None:
    (tmp_path / "pkgs" / "own").mkdir(parents=True)
    for directory in (tmp_path, tmp_path / "pkgs" / "own"):
        (directory / "pyproject.toml").write_text(f'[project]\nname = "{directory.name}"\n')
    (tmp_path / "a_b-1.0-py3-none-any.whl").touch()
    text = """
-e .
--editable=./pkgs/own[x,y]
./a_b-1.0-py3-none-any.whl ; os_name == "nt"
git+https://host/one@v1#egg=one&subdirectory=py
-e git+https://host/two#egg=two
three @ git+ssh://git@host/three
https://host/four-1.0.tar.gz
five
"""
    assert _load(tmp_path, "requirements.in", requirements__in=text).packages == (
        f"{tmp_path.name} @ ./.#editable=true",
        "own[x,y] @ ./pkgs/own#editable=true",
        'a-b @ ./a_b-1.0-py3-none-any.whl ; os_name == "nt"',
        "one @ git+https://host/one@v1#egg=one&subdirectory=py",
        "two @ git+https://host/two#egg=two",
        "three @ git+ssh://git@host/three",
        "four @ https://host/four-1.0.tar.gz",
        "five",
    )
