"""What a project's tree and a machine are held against: maintainer scripts, dpkg's words, and what starts programs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dsenv.cli.commands.restore import system_report
from dsenv.ecosystems.system import machine, unpacked
from dsenv.ecosystems.system.packages import debversion, scripts
from dsenv.errors import Exit
from dsenv.ground import GroundCheck, HostPlan
from dsenv.outputs import launchers
from dsenv.pins import Target
from dsenv.project import Project
from dsenv.tree import Entry

if TYPE_CHECKING:
    from dsenv.outputs.layout import Variables
    from dsenv.tree import Tree

CASES = Path(__file__).parents[1] / "cases" / "postinst"


@pytest.mark.parametrize(
    ("package", "called"),
    [
        ("dbus-daemon", ["dbus-uuidgen"]),
        ("gdal-bin", []),  # nothing but debhelper's own
        ("ghostscript", ["update-gsfontmap"]),
        ("gnuplot-nox", []),  # an alternative, which is read apart
        ("libblas3", []),
        ("libgvc6", ["libgvc6-config-update"]),
        ("netbase", []),  # texts for files that every machine has
        ("openjdk-17-jre-headless", ["update-binfmts"]),
    ],
)
def test_programs_of_real_scripts(package: str, called: list[str]) -> None:
    assert scripts.calls((CASES / package).read_text("utf-8")) == called


@pytest.mark.parametrize(
    ("script", "called"),
    [
        ('if [ -n "$2" ]; then frob; fi\nif dpkg --compare-versions "$2" lt 1; then\n frob\nfi\nknit', ["knit"]),
        ("frob() {\n  knit a\n}\nfrob", ["knit"]),
        ("cat <<EOF\nfrob\nEOF\ncase $1 in\nconfigure) knit;;\nfrob|x)\n;;\nesac", ["knit"]),
        ("# Automatically added by dh_x/1\nfrob\n# End automatically added section\n/usr/sbin/knit", ["knit"]),
        ("x=1 knit > frob 2>&1 || true", ["knit"]),
        ('"$PROGRAM" --x', []),
    ],
)
def test_programs_of_scripts(script: str, called: list[str]) -> None:
    assert scripts.calls(script) == called


def test_settings_that_a_script_puts_in_place() -> None:
    registry = ("Langpack-en-US", "lingucomponent", "main", "pdfimport", "res/fcfg_langpack_en-US", "xsltfilter")
    assert scripts.settings((CASES / "libreoffice-common").read_text("utf-8")) == {
        f"/etc/libreoffice/registry/{name}.xcd": f"/usr/lib/libreoffice/share/.registry/{name}.xcd" for name in registry
    }
    script = "ucf --purge /etc/a\nucf /usr/a//b /etc/../../c\nucfr p /etc/d\necho ucf /usr/e /etc/e\nucf $f /etc/f"
    assert scripts.settings(script) == {"/c": "/usr/a/b"}
    assert [*scripts.lacking("p", script, {})] == [
        "p: its maintainer script does not run: settings that it writes are missing"
    ]


def test_what_is_made_is_known_by_its_packages() -> None:
    target = Target.parse("linux-arm64")
    assert unpacked.made(["jq"], target) == {}
    made = unpacked.made(["libgvc6", "texlive-base"], target)
    assert made["usr/lib/aarch64-linux-gnu/graphviz/config6a"].startswith("libgvc6: ")
    assert made["var/lib/texmf/"].startswith("texlive-base: ")


def test_services_and_special_files_are_named() -> None:
    tree: Tree = {
        "usr/lib/systemd/system/x.service": Entry(kind="file", content="a"),
        "usr/lib/systemd/system/x.target": Entry(kind="file", content="a"),
        "etc/init.d/old": Entry(kind="file", content="a"),
        "usr/bin/sudo": Entry(kind="file", mode=0o4755, content="a"),
        "usr/share/setgid": Entry(kind="directory", mode=0o2755),
    }
    assert [*scripts.lacking("p", "adduser x", tree)] == [
        "p: its maintainer script does not run: no user is made",
        "p: no service is started (old, x)",
        "p: /usr/bin/sudo is set-user-ID and has only its caller's rights here",
    ]


def test_what_dpkg_was_told_to_leave_out_is_not_missing() -> None:
    rules = machine.filters(["# x\npath-exclude=/usr/share/doc/*\n", "path-include /usr/share/doc/*/copyright\n"])
    said = (
        "??5??????   /usr/bin/jq\n??5?????? c /etc/a b\nmissing     /usr/share/doc/jq/README\n"
        "missing     /usr/share/doc/jq/copyright\nmissing   c /etc/x (Permission denied)\n"
    )
    assert machine.read_verify(said, rules) == (
        ("/usr/bin/jq (changed)", "/usr/share/doc/jq/copyright (missing)"),
        ("/etc/a b (changed)", "/etc/x (missing)"),
    )


@pytest.mark.parametrize(
    ("after", "command", "acts", "code"),
    [
        (GroundCheck(equal=("a",), newer=("b 2 (locked 1)",)), "", True, Exit.DONE),
        (GroundCheck(older=("b 1 (locked 2)",)), "", True, Exit.DRIFT),
        (GroundCheck(missing=("b 1",)), "", False, Exit.DRIFT),
        (GroundCheck(missing=("b 1",)), "sudo apt-get install b=1", False, Exit.INCOMPLETE),
    ],
)
def test_newer_packages_are_no_difference(after: GroundCheck, command: str, *, acts: bool, code: Exit) -> None:
    plan = HostPlan(before=after, after=after, command=command)
    assert system_report(plan, acts=acts, dry_run=False).code == code


def test_a_launcher_starts_the_program_of_its_name(tmp_path: Path) -> None:
    prefix = tmp_path / "it's"
    for path in ("venv/bin/tool", "root/usr/bin/other"):
        (prefix / path).parent.mkdir(parents=True)
        (prefix / path).write_text('#!/bin/sh\necho "$0 $1 $NAME ${GONE-unset} $DSENV_ID"\n')
        (prefix / path).chmod(0o755)
    (prefix / "environment.json").touch()
    variables: Variables = {"PATH": [f"{prefix}/venv/bin", f"{prefix}/root/usr/bin"], "NAME": "a 'b", "GONE": None}
    paths = ["venv/bin/tool", "venv/bin/activate", "venv/pyvenv.cfg", "root/usr/bin/other", "root/usr/lib/other.so"]
    tree, files = launchers.launchers(str(prefix), "0123", variables, paths)
    launchers.write(tree, files, prefix)
    assert {path for path in tree if path.startswith("entry/bin/")} == {
        f"entry/bin/{name}" for name in ("activate", "other", "tool")
    }
    (tmp_path / "venv").symlink_to(prefix / "entry" / "venv")
    env = {"PATH": "/usr/bin:/bin", "GONE": "x"}
    said = subprocess.run([tmp_path / "venv/bin/tool", "x y"], env=env, text=True, capture_output=True, check=True)
    assert said.stdout == f"{prefix}/venv/bin/tool x y a 'b unset 0123\n"
    sourced = f'. "{tmp_path}/venv/bin/activate"; other z'
    said = subprocess.run(["/bin/sh", "-c", sourced], env=env, text=True, capture_output=True, check=True)
    assert said.stdout == f"{prefix}/root/usr/bin/other z a 'b unset 0123\n"


def test_somebodys_own_venv_is_left_alone(tmp_path: Path) -> None:
    project = Project(tmp_path)
    environment = project.environments / "0123-1"
    (environment / "entry" / "venv").mkdir(parents=True)
    project.make_current(environment)
    assert (tmp_path / ".venv").resolve() == environment / "entry" / "venv"
    (tmp_path / ".venv").unlink()
    (tmp_path / ".venv").mkdir()
    project.make_current(environment)
    assert not (tmp_path / ".venv").is_symlink()


def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    versions = ["1", "1~", "1~~", "1~a", "1a", "1+b1", "1-1", "1-1+deb12u2", "1-1+deb12u10", "1-1~deb12u1", "1.0", "01"]
    versions += [
        "1:0.1",
        "0:1",
        "1.2.3-4",
        "1.2.13-4",
        "1.2-a-b",
        "1-0",
        "2026f-0+deb12u1",
        "2025b-0+deb12u2",
        "1.a",
        "1.+",
    ]
    for one in versions:
        for other in versions:
            argv = ["dpkg", "--compare-versions", one, "gt", other]
            is_newer = debversion.order(one) > debversion.order(other)
            assert is_newer == (subprocess.run(argv, check=False).returncode == 0), (one, other)
