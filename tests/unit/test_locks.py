"""The locks as a set: written and read back, identified, held against the spec, never half-written."""

from __future__ import annotations

import json
import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import locks, spec
from dsenv.ecosystem import LockFiles
from dsenv.ecosystems import ECOSYSTEMS
from dsenv.ecosystems.r import pins as r_pins
from dsenv.ecosystems.system import pins as system_pins
from dsenv.errors import DsenvError, LockFormatError, StaleLockError, TornLockError
from dsenv.formats import toml_write
from dsenv.pins import Selection, Target
from tests.unit.test_python import PYLOCK, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

AMD64 = Target("linux", "amd64")
SPEC = """
[project]
name = "x"
[platform]
base = "bootstrap:debian:bookworm"
targets = ["linux-amd64"]
[python]
version = "3.11"
packages = ["one"]
[r]
version = "4.2"
repositories = ["apt"]
packages = ["glue"]
"""


def _row(name: str, version: str, *, base: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "architecture": "amd64",
        "sha256": "1" * 64,
        "size": 5,
        "base": base,
        "filename": f"pool/{name}.deb",
        "origin": "bookworm",
        "why": ["requested"],
        "dependencies": ["libc6"],
    }


def _locks(text: str = SPEC) -> locks.Locks:
    asked = spec.parse(text)
    system = {
        "linux-amd64": {
            "distribution": "debian",
            "codename": "bookworm",
            "packages": [
                _row("libc6", "2.36-9", base=True),
                _row("python3.11", "3.11.2-6+deb12u6"),
                _row("r-base-core", "4.2.2.20221110-2"),
                _row("r-cran-glue", "1:1.6-2-1"),
            ],
            "alternatives": {"/usr/lib/libblas.so.3": "/usr/lib/blas/libblas.so.3"},
        },
    }
    archive = {
        "uri": "http://deb.example/debian",
        "suite": "bookworm",
        "date": "today",
        "inrelease": "2" * 64,
        "indexes": [{"target": "linux-amd64", "path": "main/binary-amd64/Packages.xz", "sha256": "3" * 64}],
    }
    inputs = {
        row.name: row.inputs(asked.parts[row.name], asked.platform) for row in ECOSYSTEMS if asked.parts[row.name]
    }
    read = {
        "system": ECOSYSTEMS[0].read(
            LockFiles(table={**system, "inputs": inputs["system"]}, provenance={"apt": "2.6.1", "archives": [archive]})
        )[0],
        "python": ECOSYSTEMS[1].read(
            LockFiles(table=TABLE, provenance={"engine": "uv 1"}, files={"pylock.toml": PYLOCK})
        )[0],
        "r": r_pins.Pins.model_validate(
            {
                "version": "4.2.2",
                "package": "r-base-core",
                "packages": [
                    {
                        "name": "glue",
                        "version": "1.6-2",
                        "why": ["requested"],
                        "requires": ["R", "methods"],
                        "renv-hash": "a" * 32,
                        "artifacts": {"linux-amd64": {"kind": "deb", "package": "r-cran-glue", "sha256": "1" * 64}},
                    }
                ],
            }
        ),
    }
    return locks.Locks(
        targets=asked.platform.targets,
        parts={name: locks.Part(pins=read[name], inputs=inputs[name]) for name in inputs},
    )


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    held = _locks()
    changed, foreign = locks.write(tmp_path, held)
    assert (changed, foreign) == (["dsenv.lock", "pylock.toml", "renv.lock"], [])
    again = locks.read(tmp_path)
    assert again.digest() == held.digest()
    assert locks.differences(spec.parse(SPEC), again) == []
    assert locks.write(tmp_path, again) == ([], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dsenv.lock", "pylock.toml", "renv.lock"]


def test_provenance_is_in_no_digest() -> None:
    held = _locks()
    pins = held.parts["system"].pins
    other = pins.model_copy(update={"provenance": system_pins.Provenance(apt="9")})
    layer = system_pins.Layer(sha256="4" * 64, made_with="mmdebstrap 9")
    root = pins.roots["linux-amd64"].model_copy(update={"layer": layer})
    for changed in (other, pins.model_copy(update={"roots": {"linux-amd64": root}})):
        parts = {**held.parts, "system": locks.Part(pins=changed, inputs=held.parts["system"].inputs)}
        wiser = locks.Locks(targets=held.targets, parts=parts)
        assert wiser.digest() == held.digest()
        assert wiser.environment_id(Selection(target=AMD64)) == held.environment_id(Selection(target=AMD64))


def test_every_pin_is_in_the_digest_and_the_id() -> None:
    held = _locks()
    row = held.parts["system"].pins.roots["linux-amd64"].packages[0].model_copy(update={"sha256": "5" * 64})
    root = held.parts["system"].pins.roots["linux-amd64"].model_copy(update={"packages": (row,)})
    pins = held.parts["system"].pins.model_copy(update={"roots": {"linux-amd64": root}})
    other = locks.Locks(
        targets=held.targets,
        parts={
            **held.parts,
            "system": locks.Part(pins=pins, inputs=held.parts["system"].inputs),
        },
    )
    assert other.digest() != held.digest()
    assert other.environment_id(Selection(target=AMD64)) != held.environment_id(Selection(target=AMD64))


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ('packages = ["one"]', 'packages = ["one", "two>=2"]', "[python] packages: + two>=2"),
        ('packages = ["one"]', "packages = []", "[python] packages: - one"),
        ('packages = ["one"]', 'packages = ["one"]\ngroups = { dev = ["x"] }', "[python.groups] dev: + x"),
        ('version = "4.2"', 'version = "4.3"', "[r] version: 4.2 -> 4.3"),
        (
            'base = "bootstrap:debian:bookworm"',
            'base = "debian:12"',
            "[system] base: bootstrap:debian:bookworm -> debian:12",
        ),
        ('targets = ["linux-amd64"]', 'targets = ["linux-amd64", "linux-arm64"]', "[platform] targets: + linux-arm64"),
    ],
)
def test_the_spec_says_what_is_stale(old: str, new: str, difference: str) -> None:
    asked = spec.parse(SPEC.replace(old, new))
    assert difference in locks.differences(asked, _locks())
    with pytest.raises(StaleLockError) as caught:
        locks.check_fresh(asked, _locks())
    assert difference in caught.value.cause


def test_a_part_that_comes_or_goes_is_stale() -> None:
    assert locks.differences(spec.parse(SPEC.partition("[r]")[0]), _locks()) == ["[r] was removed"]
    assert locks.differences(spec.parse(SPEC), _locks(SPEC.partition("[r]")[0])) == ["[r] was added"]


def test_a_torn_set_is_noticed(tmp_path: Path) -> None:
    """Another branch's pylock.toml answers other requirements."""
    locks.write(tmp_path, _locks())
    text = (tmp_path / "pylock.toml").read_text()
    assert '"one",' in text
    (tmp_path / "pylock.toml").write_text(text.replace('    "one",\n', '    "one",\n    "other",\n'))
    assert locks.differences(spec.parse(SPEC), locks.read(tmp_path)) == ["[python] packages: - other"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("lock-version = 1", "lock-version = 2"),
        lambda text: text.replace("lock-version = 1", ""),
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("1" * 64, "1" * 63),
        lambda text: text.replace('"pool/libc6.deb"', '"../../libc6.deb"'),
        lambda text: "<<<<<<< ours\n" + text,
        lambda text: text.replace('targets = ["linux-amd64"]', 'targets = ["linux-x"]'),
        lambda _: "\0",
        lambda text: "lock-version = 0\n" + text.replace("lock-version = 1", ""),
        lambda text: text.replace("lock-version = 1", "lock-version = 1\nx = " + "9" * 5000),
        lambda text: text.replace("lock-version = 1", "lock-version = 1\nx = " + "[" * 5000 + "]" * 5000),
        lambda text: text.replace('name = "glue"', 'name = "gl;ue"'),
        lambda text: text.replace("size = 5", "size = 5\nx = 1"),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, damage: Any) -> None:
    locks.write(tmp_path, _locks())
    path = tmp_path / "dsenv.lock"
    path.write_text(damage(path.read_text()))
    with pytest.raises(LockFormatError):
        locks.read(tmp_path)


def test_no_lock_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StaleLockError) as caught:
        locks.read(tmp_path)
    assert "dsenv lock" in caught.value.hint
    assert locks.read_previous(tmp_path) == ()


def test_a_missing_pylock_is_told_and_locked_anew(tmp_path: Path) -> None:
    locks.write(tmp_path, _locks())
    (tmp_path / "pylock.toml").unlink()
    with pytest.raises(TornLockError, match=r"pylock\.toml is missing") as caught:
        locks.read(tmp_path)
    assert "dsenv lock" in caught.value.hint
    (previous,) = locks.read_previous(tmp_path)
    assert locks.differences(spec.parse(SPEC), previous) == ["[python] was added"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('sha256 = "1', 'sha256 = "2', "r-cran-glue"),
        ('version = "4.2.2"', 'version = "4.2.3"', "4.2.3"),
        ('version = "3.11.2"', 'version = "3.11.3"', "3.11.3"),
        ('libc = "2.36"', 'libc = "2.37"', "2.37"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    """What R and Python say of themselves must be what the system's rows say."""
    locks.write(tmp_path, _locks())
    path = tmp_path / "dsenv.lock"
    system, mark, languages = path.read_text().partition("[[python.interpreters]]")
    assert old in languages
    path.write_text(system + mark + languages.replace(old, new, 1))
    with pytest.raises(LockFormatError) as caught:
        locks.read(tmp_path)
    assert told in caught.value.sentence
    assert caught.value.hint


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container of a document with each of its keys or indexes, the first of a list standing for all."""
    for key in list(value) if isinstance(value, dict) else range(min(1, len(value))):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@pytest.mark.parametrize("name", ["dsenv.lock", "pylock.toml"])
def test_no_value_of_another_kind_gets_through(tmp_path: Path, name: str) -> None:
    """Each value of the locks, replaced by one of every other kind: they are read, or refused in a sentence."""
    locks.write(tmp_path, _locks())
    path = tmp_path / name
    text = path.read_text()
    for number, _ in enumerate(_places(tomllib.loads(text))):
        for wrong in (7, "x", [], ["x"], {}, {"x": 1}, datetime(2026, 1, 1, tzinfo=UTC)):
            document = tomllib.loads(text)
            container, key = list(_places(document))[number]
            container[key] = wrong
            path.write_text(toml_write.dumps(document))
            try:
                held = locks.read(tmp_path)
                held.digest()
                held.environment_id(Selection(target=AMD64))
                locks.differences(spec.parse(SPEC), held)
                locks.render(held)
            except DsenvError as error:
                assert error.sentence


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "{}",
        lambda text: text.replace("1.6-2", "1.7"),
        lambda _: "not json",
        lambda _: "[]",
    ],
)
def test_a_foreign_renv_lock_is_left_alone(tmp_path: Path, change: Any) -> None:
    locks.write(tmp_path, _locks())
    foreign = change((tmp_path / "renv.lock").read_text())
    (tmp_path / "renv.lock").write_text(foreign)
    changed, left = locks.write(tmp_path, _locks())
    assert (changed, left) == ([], ["renv.lock"])
    assert (tmp_path / "renv.lock").read_text() == foreign


def test_our_renv_lock_is_brought_up_to_date(tmp_path: Path) -> None:
    held = _locks()
    locks.write(tmp_path, held)
    assert json.loads((tmp_path / "renv.lock").read_text())["Packages"]["glue"]["Version"] == "1.6-2"
    pins = held.parts["r"].pins.model_copy(update={"version": "4.2.3"})
    parts = {**held.parts, "r": locks.Part(pins=pins, inputs=held.parts["r"].inputs)}
    changed, _ = locks.write(tmp_path, locks.Locks(targets=held.targets, parts=parts))
    assert changed == ["dsenv.lock", "renv.lock"]
    assert json.loads((tmp_path / "renv.lock").read_text())["R"]["Version"] == "4.2.3"


def test_a_full_disk_leaves_the_old_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locks.write(tmp_path, _locks())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    parts = dict(_locks().parts)
    del parts["r"]
    with pytest.raises(OSError, match=r"dsenv\.lock|pylock\.toml"):
        locks.write(tmp_path, locks.Locks(targets=(AMD64,), parts=parts))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_lock_is_toml_that_diffs_well(tmp_path: Path) -> None:
    locks.write(tmp_path, _locks())
    text = (tmp_path / "dsenv.lock").read_text()
    assert tomllib.loads(text)["lock-version"] == 1
    assert "\r" not in text
    assert (
        text.index("[[system.linux-amd64.packages]]") < text.index("[[r.packages]]") < text.index("[provenance.system]")
    )
    assert str(Path.cwd()) not in text
