"""Trees of files: laying over each other, relocating, comparing, copying with a check."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsenv import tree
from dsenv.errors import DsenvError, IntegrityError
from dsenv.outputs import merge
from dsenv.tree import DamagedTreeError, Difference, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator


def _file(text: str, *, mode: int = 0o644, owner: str = "") -> Entry:
    return Entry(kind="file", mode=mode, content=tree.content_sha256(text.encode()), owner=owner)


def _link(target: str) -> Entry:
    return Entry(kind="link", mode=0o777, content=target)


@given(st.text("ab./\0", max_size=12))
def test_safe_paths_stay_inside(path: str) -> None:
    try:
        safe = tree.safe_path(path)
    except IntegrityError:
        assert path.startswith("/") or ".." in path.split("/") or "\0" in path
    else:
        assert not safe.startswith("/")
        assert not {"", ".", ".."} & set(safe.split("/")) or safe == ""


def test_equal_paths_may_come_twice_and_others_not(tmp_path: Path) -> None:
    one, same = {"usr/x": _file("a", owner="one")}, {"usr/x": _file("a", owner="two"), "usr": Entry(kind="directory")}
    whole, places = merge.merge([(one, tmp_path / "1"), (same, tmp_path / "2")])
    assert places["usr/x"] == tmp_path / "1/usr/x"
    assert set(whole) == {"usr", "usr/x"}
    with pytest.raises(DsenvError, match="one and three both bring /usr/x"):
        merge.merge([(one, tmp_path), ({"usr/x": _file("b", owner="three")}, tmp_path)])


def test_nothing_lies_below_what_is_no_directory(tmp_path: Path) -> None:
    """dpkg would write through the link; in a tree of its own, the file would come to lie elsewhere, or nowhere."""
    link: tree.Tree = {"usr/share/doc/x": Entry(kind="link", content="y", owner="one")}
    file: tree.Tree = {"usr/share/doc": Entry(kind="directory"), "usr/share/doc/x/a/b": _file("b", owner="two")}
    for both in ([(link, tmp_path), (file, tmp_path)], [(file, tmp_path), (link, tmp_path)]):
        with pytest.raises(DsenvError, match="two brings /usr/share/doc/x/a/b, and one /usr/share/doc/x, which is no"):
            merge.merge(both)


def test_links_into_the_tree_become_relative() -> None:
    moved = merge.relocate(
        {
            "usr/lib/R/etc/Rprofile": _link("/etc/R/Rprofile"),
            "etc/R/Rprofile": _file("x"),
            "usr/ssl": _link("/etc/ssl"),
            "usr/bin/su": _file("x", mode=0o4755),
            "usr/lib/x86_64-linux-gnu/libfoo.so.1": _file("x"),
            "usr/lib/x86_64-linux-gnu/libfoo.so": _link("/lib/x86_64-linux-gnu/libfoo.so.1"),
            "usr/lib/gcc/libfoo.so": _link("../../../lib/x86_64-linux-gnu/libfoo.so.1"),
            "usr/lib/gcc/own.so": _link("../x86_64-linux-gnu/libfoo.so.1"),
            "usr/lib/base.so": _link("/lib/x86_64-linux-gnu/libc.so.6"),
            "usr/lib/current": _link("x86_64-linux-gnu"),
            "usr/lib/through.so": _link("/lib/current/libfoo.so.1"),
        }
    )
    assert moved["usr/lib/R/etc/Rprofile"].content == "../../../../etc/R/Rprofile"
    assert moved["usr/ssl"].content == "/etc/ssl"
    assert moved["usr/bin/su"].mode == 0o755
    # under a merged /usr, /lib is /usr/lib
    assert moved["usr/lib/x86_64-linux-gnu/libfoo.so"].content == "libfoo.so.1"
    assert moved["usr/lib/gcc/libfoo.so"].content == "../x86_64-linux-gnu/libfoo.so.1"
    assert moved["usr/lib/gcc/own.so"].content == "../x86_64-linux-gnu/libfoo.so.1"
    assert moved["usr/lib/base.so"].content == "/lib/x86_64-linux-gnu/libc.so.6"
    assert moved["usr/lib/through.so"].content == "current/libfoo.so.1"


def test_links_out_of_a_package_become_copies(tmp_path: Path) -> None:
    files: tree.Tree = {
        "lib/shiny/www/jquery.js": _link("../../../share/js/jquery.min.js"),
        "lib/shiny/www/own.js": _link("real.js"),
        "lib/shiny/www/real.js": _file("own"),
        "lib/shiny/fonts": _link("/share/fonts"),
        "lib/shiny/gone": _link("../../share/nowhere"),
        "usr/lib/merged.js": _file("merged"),
        "lib/shiny/merged.js": _link("/lib/merged.js"),
        "share/js": Entry(kind="directory"),
        "share/js/jquery.min.js": _link("../jquery/jquery.js"),
        "share/jquery/jquery.js": _file("jquery"),
        "share/fonts": Entry(kind="directory"),
        "share/fonts/a.woff": _link("../glyphs/a.woff"),
        "share/glyphs": _link("other"),
        "share/other": Entry(kind="directory"),
        "share/other/a.woff": _file("glyph"),
    }
    places: dict[str, tree.Content] = {path: tmp_path / path for path, entry in files.items() if entry.kind == "file"}
    merge.dereference(files, places, "lib")
    assert files["lib/shiny/www/jquery.js"] == files["share/jquery/jquery.js"]
    assert places["lib/shiny/www/jquery.js"] == tmp_path / "share/jquery/jquery.js"
    assert files["lib/shiny/fonts"].kind == "directory"
    assert files["lib/shiny/fonts/a.woff"] == files["share/other/a.woff"]
    assert files["lib/shiny/www/own.js"] == _link("real.js")
    assert files["lib/shiny/gone"] == _link("../../share/nowhere")
    assert files["lib/shiny/merged.js"] == files["usr/lib/merged.js"]


def test_links_in_a_circle_lead_nowhere() -> None:
    files = {"lib/a/x": _link("../../share/y"), "share/y": _link("../lib/a/x")}
    merge.dereference(files, {}, "lib")
    assert files["lib/a/x"].kind == "link"
    circle = {"a": _link("/b"), "b": _link("/a"), "c": _link("/a/x"), "d": _link("/d/d")}
    assert merge.relocate(circle)["c"].content == "/a/x"


def test_a_directory_never_comes_to_hold_itself() -> None:
    directories: tree.Tree = {
        path: Entry(kind="directory") for path in ("lib", "lib/a", "lib/a/deep", "share", "share/x")
    }
    files = {
        **directories,
        "lib/a/up": _link(".."),
        "lib/a/deep/out": _link("../../../share/x"),
        "share/x/back": _link("../../lib/a"),
        "share/x/self": _link("."),
        "share/x/file": _file("x"),
    }
    merge.dereference(files, {}, "lib")
    assert files["lib/a/up"] == _link("..")
    assert files["lib/a/deep/out/file"] == _file("x")
    assert {path for path in files if path.startswith("lib/a/deep/out/")} == {"lib/a/deep/out/file"}


def test_differences_are_named() -> None:
    expected = {
        "a": _file("1", owner="p"),
        "b": _file("1"),
        "c": _link("x"),
        "d": Entry(kind="directory"),
        "e": Entry(kind="file", mode=-1, content=_file("1").content),
        "f": _file("1"),
    }
    actual = {
        "a": _file("2"),
        "b": _file("1", mode=0o755),
        "c": _link("y"),
        "e": _file("1", mode=0o600),
        "g": _file("1"),
        "h": Entry(kind="directory"),
        "f": _file("1"),
    }
    assert tree.compare(expected, actual) == [
        Difference("a", "changed", "p"),
        Difference("b", "mode"),
        Difference("c", "changed"),
        Difference("d", "missing"),
        Difference("g", "unexpected"),
    ]


def test_what_is_written_is_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hello")
    files = {
        "bin/x": _file("hello", mode=0o755),
        "bin/y": _link("x"),
        "bin/z": _file("text", mode=0o600),
        "empty": Entry(kind="directory"),
    }
    tree.materialise(files, {"bin/x": tmp_path / "source", "bin/z": b"text"}, tmp_path / "out")
    found = tree.scan(tmp_path / "out")
    assert tree.compare(files, found) == []
    assert (tmp_path / "out/bin/y").read_text() == "hello"


def test_a_damaged_source_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("other")
    with pytest.raises(DamagedTreeError, match="source"):
        tree.materialise({"x": _file("hello")}, {"x": tmp_path / "source"}, tmp_path / "out")
    with pytest.raises(DamagedTreeError, match="gone"):
        tree.materialise({"y": _file("hello")}, {"y": tmp_path / "gone"}, tmp_path / "out")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").symlink_to(tmp_path / "victim")
    (tmp_path / "source").write_text("hello")
    with pytest.raises(FileExistsError):
        tree.materialise({"x": _file("hello")}, {"x": tmp_path / "source"}, tmp_path / "out")
    assert not (tmp_path / "victim").exists()


def test_removing_takes_a_whole_tree_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep/file").write_text("precious")
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "keep")
    (tmp_path / "b").symlink_to(tmp_path / "keep")
    (tmp_path / "c").write_text("a file")
    for name in ("a", "a", "b", "c"):
        tree.remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]
    assert (tmp_path / "keep/file").read_text() == "precious"


def test_removing_takes_read_only_directories() -> None:
    """For root no directory is read-only, so root becomes somebody else meanwhile."""
    with tempfile.TemporaryDirectory() as home, _unprivileged(home):
        inner = Path(home, "a/b")
        inner.mkdir(parents=True)
        (inner / "file").write_text("1")
        inner.chmod(0o555)
        inner.parent.chmod(0)
        tree.remove(inner.parent)
        assert list(Path(home).iterdir()) == []


@contextlib.contextmanager
def _unprivileged(home: str) -> Iterator[None]:
    """Be a user without privileges who owns ``home``."""
    user = os.getuid() or 65534
    os.chown(home, user, -1)
    os.setresuid(user, user, -1)
    try:
        yield
    finally:
        os.setresuid(*[os.getresuid()[2]] * 3)


def test_a_tree_that_nobody_writes_to_may_share_its_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    entry = Entry(kind="file", mode=0o755, content=tree.content_sha256(b"x"), mtime=7, owner="a 1")
    known: tree.Known = {}
    for name in ("one", "other"):
        tree.materialise({"b/c": entry}, {"b/c": source}, tmp_path / name, known=known, share=True)
        made = (tmp_path / name / "b/c").stat()
        assert (made.st_ino, made.st_mode & 0o777, made.st_mtime) == (source.stat().st_ino, 0o755, 7)
        assert not tree.compare({"b/c": entry}, tree.scan(tmp_path / name, known=known))
    source.write_text("y")
    with pytest.raises(tree.DamagedTreeError):
        tree.materialise({"b/c": entry}, {"b/c": source}, tmp_path / "third", known=known, share=True)
    assert [item.what for item in tree.compare({"b/c": entry}, tree.scan(tmp_path / "one", known=known))] == ["changed"]
