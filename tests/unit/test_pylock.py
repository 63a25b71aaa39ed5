"""What other tools read of the pins, and a lock file of theirs that is adopted and never lost."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from dsenv import locks
from dsenv.ecosystem import LockFiles, Upgrade
from dsenv.ecosystems.python import interop, pins
from dsenv.ecosystems.python.resolve import _preferred
from dsenv.errors import LockFormatError, WrongUseError
from dsenv.pins import Selection, Target

CASES = Path(__file__).parents[1] / "cases" / "pylock"
LINUX, MAC = Target("linux", "amd64"), Target("macos", "arm64")


@pytest.mark.parametrize("path", sorted(CASES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_lock_of_another_tool_is_adopted(path: Path) -> None:
    adopted = interop.adopt({"pylock.toml": path.read_text()})
    assert adopted
    assert adopted.tool.partition("-")[0] == path.stem.partition("-")[0]
    preferred = {pin.name: pin for pin in _preferred([adopted.pins], Upgrade())}
    assert (preferred["idna"].version, preferred["six"].version) == ("3.4", "1.17.0")
    assert adopted.count == len(preferred)
    assert all(pin.index.startswith("https://") for pin in preferred.values())


def test_our_own_is_not_adopted_and_a_damaged_one_stops() -> None:
    ours = (CASES / "pip.toml").read_text().replace('created-by = "pip"', 'created-by = "dsenv"')
    assert interop.adopt({"pylock.toml": ours}) is None
    assert interop.adopt({}) is None
    assert pins.owns("pylock.toml", ours)
    assert not pins.owns("pylock.x.toml", ours)
    for text in ("[", "", "lock-version = '9.0'\ncreated-by = 'uv'\npackages = []", "x = " + "[" * 5000):
        assert not pins.owns("pylock.toml", text)
        with pytest.raises(LockFormatError, match="another tool's"):
            interop.adopt({"pylock.toml": text})


def test_what_is_written_over_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    for text, name in (("a", "pylock.toml.orig"), ("b", "pylock.toml.orig.1"), ("a", "pylock.toml.orig")):
        path.write_text(text)
        assert locks.set_aside(tmp_path, "pylock.toml") == name
        assert (tmp_path / name).read_text() == text


def _wheel(name: str, tag: str, digit: str) -> str:
    return f'{{ url = "https://files.example/{name}-{tag}.whl", hashes = {{ sha256 = "{digit * 64}" }} }}'


PYLOCK = f"""
lock-version = "1.0"
requires-python = ">=3.11.2,<3.12"
dependency-groups = ["dev"]
created-by = "dsenv"

[[packages]]
name = "one"
version = "1"
wheels = [
    {_wheel("one-1", "cp311-cp311-manylinux_2_17_x86_64", "2")},
    {_wheel("one-1", "cp311-abi3-manylinux_2_36_x86_64", "1")},
    {_wheel("one-1", "cp311-cp311-macosx_11_0_arm64", "3")},
]

[[packages]]
name = "torch"
version = "2+cu130"
marker = "sys_platform == 'linux'"
wheels = [{_wheel("torch-2+cu130", "py3-none-any", "5")}]

[[packages]]
name = "torch"
version = "2"
marker = "sys_platform == 'darwin'"
wheels = [{_wheel("torch-2", "py3-none-any", "6")}]

[[packages]]
name = "two"
version = "2"
marker = "'dev' in dependency_groups"
wheels = [{_wheel("two-2", "py3-none-any", "7")}]
"""
TABLE = {
    "interpreters": [
        {"target": "linux-amd64", "version": "3.11.2", "package": "python3.11", "libc": "2.36"},
        {"target": "macos-arm64", "version": "3.11.2"},
    ]
}


def _pins() -> pins.Pins:
    return pins.read(LockFiles(table=TABLE, files={"pylock.toml": PYLOCK}))[0]


def test_requirements_have_the_hash_of_every_wheel_that_fits() -> None:
    text = interop.export("requirements", _pins(), [Selection(target=LINUX), Selection(target=MAC)])
    assert text.splitlines()[2:] == [
        "--only-binary :all:",
        "one==1 \\",
        f"    --hash=sha256:{'1' * 64} \\",
        f"    --hash=sha256:{'2' * 64}",
        "torch==2+cu130 \\",
        f"    --hash=sha256:{'5' * 64}",
    ]
    assert "linux-amd64" in text
    assert f"two==2 \\\n    --hash=sha256:{'7' * 64}\n" in interop.export(
        "requirements", _pins(), [Selection(target=MAC, groups=("dev",))]
    )


def test_constraints_differ_where_targets_do() -> None:
    both = interop.export("uv-constraints", _pins(), [Selection(target=LINUX), Selection(target=MAC)])
    rows = tomllib.loads(both)["tool"]["uv"]["constraint-dependencies"]
    found = [Requirement(row) for row in rows]
    assert [f"{row.name}{row.specifier}" for row in found] == ["one==1", "torch==2", "torch==2+cu130", "two==2"]
    assert [bool(row.marker) for row in found] == [False, True, True, False]
    alone = interop.export("uv-constraints", _pins(), [Selection(target=MAC)])
    assert tomllib.loads(alone)["tool"]["uv"]["constraint-dependencies"] == ["one==1", "torch==2", "two==2"]
    with pytest.raises(WrongUseError, match="all groups"):
        interop.export("uv-constraints", _pins(), [Selection(target=MAC, groups=("dev",))])
