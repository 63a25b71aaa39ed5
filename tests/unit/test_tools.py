"""The rooms that touch the world: processes, Debian packages, a container engine and BuildKit's reports."""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from dsenv.errors import DsenvError, IntegrityError, ToolError
from dsenv.tools import buildkit, deb, engine, http, process, tar

if TYPE_CHECKING:
    from pathlib import Path

FLOOD = "import sys; sys.stderr.write('e' * 300_000); sys.stdout.write('o' * 300_000)"


def test_both_pipes_are_drained() -> None:
    completed = process.run([sys.executable, "-c", FLOOD])
    assert (len(completed.stdout), len(completed.stderr)) == (300_000, 300_000)


def test_lines_come_as_they_are_written() -> None:
    lines: list[str] = []
    process.run([sys.executable, "-c", "print('one'); print('two')"], on_line=lines.append)
    assert lines == ["one", "two"]


def test_a_failure_carries_the_programs_words() -> None:
    with pytest.raises(ToolError, match="exit code 3") as caught:
        process.run([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])
    assert caught.value.cause == "why"
    assert process.run([sys.executable, "-c", "raise SystemExit(3)"], codes=(3,)).code == 3


def test_a_missing_program_is_told() -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        process.run(["/nonexistent/program"])
    with pytest.raises(ToolError, match="no `nonexistent-program`") as caught:
        process.require("nonexistent-program", hint="Install it.")
    assert caught.value.hint == "Install it."


def test_words_never_meet_a_shell() -> None:
    word = "$(touch x); `id` > y"
    assert process.run([sys.executable, "-c", "import sys; print(sys.argv[1])", word]).stdout == word + "\n"


def test_a_pipe_that_is_left_early_is_no_failure() -> None:
    with process.pipe([sys.executable, "-c", "import sys; sys.stdout.write('x' * 1_000_000)"]) as stream:
        assert stream.read(3) == b"xxx"


def test_a_pipe_tells_of_a_failure() -> None:
    with (
        pytest.raises(ToolError, match="exit code 2"),
        process.pipe([sys.executable, "-c", "raise SystemExit(2)"]) as stream,
    ):
        stream.read()


def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    script = (
        "from dsenv.tools import process; import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background has it ignored
        f"process.run(['sh', '-c', 'sleep 60 & echo $! > {tmp_path}/pid; wait'])"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(30) != 0
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _trace(*parts: bytes) -> dict[str, Any]:
    return {"id": "moby.buildkit.trace", "aux": base64.b64encode(b"".join(parts)).decode()}


def _vertex(name: str, *, started: bool = True, cached: bool = False) -> bytes:
    fields = _field(1, b"sha256:" + name.encode()) + _field(3, name.encode())
    fields += _field(4, 1) if cached else b""
    return _field(1, fields + (_field(5, b"") if started else b""))


def test_a_build_is_followed() -> None:
    lines: list[str] = []
    image = buildkit.follow(
        [
            _trace(_vertex("[1/2] FROM scratch", started=False)),
            _trace(_vertex("[1/2] FROM scratch"), _vertex("[1/2] FROM scratch")),
            _trace(_vertex("[2/2] RUN x", cached=True), _field(3, _field(1, b"v") + _field(4, b"hello\n\nworld\n"))),
            {"stream": "Successfully tagged\n"},
            {"id": "moby.image.id", "aux": {"ID": "sha256:abc"}},
        ],
        lines.append,
    )
    assert image == "sha256:abc"
    assert lines == ["=> [1/2] FROM scratch", "=> [2/2] RUN x (cached)", "hello", "world"]


def test_a_failed_build_tells_what_it_wrote() -> None:
    events = [
        _trace(_field(3, _field(4, b"E: no space\n"))),
        {"errorDetail": {"message": "exit code: 1"}, "error": "x"},
    ]
    with pytest.raises(ToolError, match="could not be built") as caught:
        buildkit.follow(events, lambda _: None)
    assert caught.value.cause.splitlines() == ["E: no space", "exit code: 1"]


def test_a_build_without_an_image_is_a_failure() -> None:
    with pytest.raises(ToolError, match="no image"):
        buildkit.follow([], lambda _: None)


@given(st.lists(st.tuples(st.integers(1, 1 << 20), st.one_of(st.integers(0, 1 << 62), st.binary(max_size=300)))))
def test_protobuf_fields_read_back(fields: list[tuple[int, int | bytes]]) -> None:
    assert list(buildkit._fields(b"".join(_field(*field) for field in fields))) == fields


def test_a_request_error_shows_its_innermost_reason() -> None:
    outer = ConnectionError(RuntimeError("pool", OSError("Temporary failure")))
    assert http.reason(outer) == "Temporary failure"


LONG = "charset_normalizer-3.5.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"


def test_a_context_holds_long_names_and_begins_with_the_dockerfile(tmp_path: Path) -> None:
    """More than 100 characters need a header of their own, and the first header must be a plain one."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / LONG).write_text("wheel")
    (tmp_path / "0" / ("d" * 120)).mkdir()
    (tmp_path / "0" / ("d" * 120) / "ä").write_text("x" * 2_000_000)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with engine.tarfile_of(tmp_path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        found = {member.name: (member.size, member.mtime, member.uid) for member in archive}
    assert list(found)[:2] == ["Dockerfile", "0"]
    assert found[f"0/{LONG}"] == (5, 0, 0)
    assert found[f"0/{'d' * 120}/ä"] == (2_000_000, 0, 0)


def test_a_context_that_cannot_be_packed_is_told(tmp_path: Path) -> None:
    """Before whatever the reader of the half of it says."""
    (tmp_path / "Dockerfile").write_text("x" * 1000)
    (tmp_path / "gone").symlink_to("x")

    def vanish(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file", "gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile.TarFile, "gettarinfo", vanish)
        with pytest.raises(FileNotFoundError, match="gone"), engine.tarfile_of(tmp_path) as stream:
            stream.read()
            raise ToolError("half a context")


def test_a_reader_that_stops_stops_the_packing(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(b"x" * 10_000_000)
    with engine.tarfile_of(tmp_path) as stream:
        assert stream.read(10) == b"Dockerfile"


class _Client:
    """An engine that refuses to start what it has created."""

    def __init__(self) -> None:
        self.containers = self
        self.created: list[dict[str, Any]] = []
        self.removed = 0

    def create(self, *_: Any, **settings: Any) -> _Client:
        self.created.append(settings)
        return self

    def attach(self, **_: Any) -> Any:
        return iter(())

    def start(self) -> None:
        raise APIError("400 Client Error", explanation='exec: "nosuch": executable file not found in $PATH')

    def remove(self, **_: Any) -> None:
        self.removed += 1


def test_what_an_engine_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    client = _Client()
    with pytest.raises(ToolError, match="the container engine refused") as caught:
        engine.Engine(client).run(
            "x",
            ["nosuch"],
            mount=(tmp_path, "/work"),
            directory="/work",
            user="0:0",
            env={},
            stdin=None,
            write=lambda _piece, _stderr: None,
        )
    assert caught.value.cause == 'exec: "nosuch": executable file not found in $PATH'
    assert client.created[0]["use_config_proxy"] is False
    assert client.removed == 1


def test_an_image_says_its_settings_as_a_dockerfile_does() -> None:
    config = {
        "Env": ["PATH=/bin", "A=b=c"],
        "Cmd": ["sh", "-c"],
        "Entrypoint": None,
        "User": "1000:1000",
        "WorkingDir": "",
        "Labels": {"x": "1"},
    }
    assert engine._settings(config) == {
        "ENV PATH": "/bin",
        "ENV A": "b=c",
        "LABEL x": "1",
        "USER": "1000:1000",
        "CMD": '["sh", "-c"]',
    }
    assert engine._settings({}) == {}


def _tar(*members: tuple[str, str]) -> bytes:
    """Return a tar archive of members: files with their text, directories with a slash, links with an arrow."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, text in members:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mode = 0o755
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
            elif text.startswith("-> "):
                member.type, member.linkname = tarfile.SYMTYPE, text[3:]
            else:
                member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _deb(path: Path, *members: tuple[str, str], scripts: tuple[tuple[str, str], ...] = ()) -> Path:
    """Write a Debian package (deb(5)) such as no dpkg-deb would write."""
    control = ("./control", "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: b\n")
    parts = {"debian-binary": b"2.0\n", "control.tar": _tar(control, *scripts), "data.tar": _tar(*members)}
    content = b"!<arch>\n"
    for name, part in parts.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2)
        )
    path.write_bytes(content)
    return path


on_debian = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb")


@on_debian
def test_a_merged_usr_is_one_directory(tmp_path: Path) -> None:
    path = _deb(
        tmp_path / "x.deb",
        ("./", ""),
        ("./lib/", ""),
        ("./lib/x", "1"),
        ("./usr/", ""),
        ("./usr/lib/", ""),
        ("./usr/lib/y", "2"),
        ("./lib64", "-> usr/lib64"),
        ("./usr/lib64/", ""),
    )
    found = deb.unpack(path, tmp_path / "out")
    assert found == deb.entries(path)
    assert {name: entry.kind for name, entry in found.items()} == {
        "usr": "directory",
        "usr/lib": "directory",
        "usr/lib/x": "file",
        "usr/lib/y": "file",
        "usr/lib64": "directory",
    }


@on_debian
@pytest.mark.parametrize(
    ("members", "name"),
    [
        ([("./lib/x", "1"), ("./usr/lib/x", "1")], "usr/lib/x"),
        ([("./a", "-> /victim"), ("./a/b", "1")], "a/b"),
        ([("./a", "1"), ("./a/b/c", "1")], "a/b/c"),
        ([("./a/b", "1"), ("./a", "-> /victim")], "a"),
        ([("./a", "1"), ("./a/", "")], "a"),
        ([("./a/", ""), ("./a", "1")], "a"),
    ],
)
def test_a_package_that_contradicts_itself_is_refused(
    tmp_path: Path, members: list[tuple[str, str]], name: str
) -> None:
    path = _deb(tmp_path / "x.deb", *members)
    (tmp_path / "out").mkdir()
    for read in (deb.entries, lambda path: deb.unpack(path, tmp_path / "out")):
        with pytest.raises(IntegrityError, match=f"x 1 brings {name} twice, or below"):
            read(path)


@on_debian
def test_a_script_is_found_or_not_or_cannot_be_read(tmp_path: Path) -> None:
    path = _deb(tmp_path / "x.deb", scripts=(("./postinst", "#!/bin/sh\nä"),))
    assert deb.script(path, "postinst") == "#!/bin/sh\nä"
    assert deb.script(path, "prerm") == ""
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DsenvError):
        deb.script(path, "postinst")


@on_debian
@pytest.mark.parametrize("packed", ["gzip", "xz", "none"])
def test_a_package_is_read_without_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str) -> None:
    home = tmp_path / "x"
    (home / "DEBIAN").mkdir(parents=True)
    (home / "DEBIAN" / "control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: b\n"
    )
    (home / "DEBIAN" / "postinst").write_text("#!/bin/sh\n")
    (home / "DEBIAN" / "postinst").chmod(0o755)
    (home / "a").write_text("1")
    path = tmp_path / "x.deb"
    subprocess.run(["dpkg-deb", f"-Z{packed}", "--build", home, path], check=True, capture_output=True)
    ours = deb.control(path), deb.script(path, "postinst"), deb.entries(path), deb.control_text(path)
    monkeypatch.setattr(process, "find", lambda _: None)
    assert (deb.control(path), deb.script(path, "postinst"), deb.entries(path), deb.control_text(path)) == ours
    assert deb.script(path, "prerm") == ""
    path.write_bytes(path.read_bytes().replace(b"data.tar", b"data.tor"))
    with pytest.raises(IntegrityError, match="not a readable Debian package"):
        deb.entries(path)
    zstd = _deb(tmp_path / "z.deb").read_bytes().replace(b"control.tar     ", b"control.tar.zst ")
    path.write_bytes(zstd)
    with pytest.raises(DsenvError, match="packed with zstd" if sys.version_info < (3, 14) else ""):
        deb.control(path)


@on_debian
def test_reading_some_files_leaves_the_rest(tmp_path: Path) -> None:
    path = _deb(tmp_path / "x.deb", ("./a", "1"), ("./b", "2"), ("./c", "3" * 3_000_000))
    tracemalloc.start()
    try:
        assert deb.read_files(path, lambda name: name < "c", most=1) == {"a": b"1"}
        assert tracemalloc.get_traced_memory()[1] < 2_900_000, "what nobody wants is never held as a whole"
    finally:
        tracemalloc.stop()


def _archive(path: Path, *members: tuple[str, str], device: bool = False, mode: int = 0o755) -> Path:
    """Write a compressed tar archive such as no tar would write."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members:
            member = tarfile.TarInfo(name)
            member.mode = mode
            if text.startswith("-> "):
                member.type, member.linkname = tarfile.SYMTYPE, text[3:]
            elif text.startswith("= "):
                member.type, member.linkname = tarfile.LNKTYPE, text[2:]
            else:
                member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        if device:
            member = tarfile.TarInfo("top/null")
            member.type = tarfile.CHRTYPE
            archive.addfile(member)
    return path


def test_an_archive_of_one_directory_is_unpacked(tmp_path: Path) -> None:
    path = _archive(
        tmp_path / "x.tar.gz",
        ("top/bin/python3.12", "\x7f"),
        ("top/bin/python3", "-> python3.12"),
        ("top/lib/terminfo", "-> ../share/terminfo"),
        ("./top/bin/again", "= top/bin/python3.12"),
        mode=0o6755,
    )
    (tmp_path / "out").mkdir()
    found = tar.unpack(path, tmp_path / "out", "x")
    assert found == tar.entries(path, "x")
    assert {name: (entry.kind, entry.mode, entry.owner) for name, entry in found.items()} == {
        "bin/python3.12": ("file", 0o755, "x"),
        "bin/python3": ("link", 0o777, "x"),
        "lib/terminfo": ("link", 0o777, "x"),
        "bin/again": ("file", 0o755, "x"),
    }
    assert (tmp_path / "out/bin/again").read_text() == "\x7f"
    assert stat.S_IMODE((tmp_path / "out/bin/python3.12").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([("top/../../evil", "1")], "leads outside"),
        ([("/etc/passwd", "1")], "leads outside"),
        ([("top/a", "-> /etc/passwd")], "leads outside"),
        ([("top/a/b", "-> ../../../x")], "leads outside"),
        ([("top/a", "-> ../top/x")], "leads outside"),
        ([("top/a", "-> b"), ("top/a/c", "1")], "below a path that is no directory"),
        ([("top/a", "1"), ("other/a", "1")], "brings a twice"),
        ([("top/a", "= /etc/passwd")], "leads outside"),
        ([("top/a", "= top/b")], "does not precede it"),
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(members: list[tuple[str, str]], told: str, tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.tar.gz", *members)
    with pytest.raises(IntegrityError, match=told):
        tar.entries(path, "x")
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match=told):
        tar.unpack(path, tmp_path / "out", "x")
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = _archive(tmp_path / "x.tar.gz", ("top/a", "1" * 100_000), device=True)
    with pytest.raises(IntegrityError, match="null is neither a file, a link nor a directory"):
        tar.entries(path, "x")
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"no archive", content[:60] + b"\0" * 60 + content[120:]):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="x is not a readable archive"):
            tar.entries(path, "x")
