"""The store: one download path, resumed after a cut, checked before every use. Servers are on loopback."""

from __future__ import annotations

import gzip
import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from dsenv import download
from dsenv.errors import DownloadError, IntegrityError
from dsenv.network import Network
from dsenv.pins import Artifact
from dsenv.store import Store
from dsenv.tools import http
from dsenv.tree import DamagedTreeError, Entry, content_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 4000  # 1 MB, more than one piece


class _Talk:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None: ...

    def update(self, text: str) -> None: ...


@contextmanager
def _serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _send(handler: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    if length is not None:
        handler.send_header("Connection", "close")  # else a quick client asks again on what is being closed
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None:
        handler.close_connection = True


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "MOST", 0.05)


def _artifact(*urls: str, body: bytes = BODY) -> Artifact:
    return Artifact(filename="a.deb", sha256=content_sha256(body), size=len(body), urls=urls)


def test_an_artifact_comes_whole_and_read_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with _serving(lambda handler: _send(handler, BODY)) as url:
        artifact = _artifact(f"{url}/a.deb")
        store.fetch([artifact, artifact])
    path = store.read_checked(artifact)
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((tmp_path / "partial").iterdir()) == []
    store.fetch([artifact])  # nobody serves it any more, and nobody is asked


def test_a_kill_leaves_no_partial_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_path: Path, _mode: int) -> None:
        raise KeyboardInterrupt

    source = tmp_path / "source"
    source.write_bytes(BODY)
    store = Store(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(source), "chmod", kill)
        store.fetch([_artifact(source.as_uri())])
    assert list((tmp_path / "partial").iterdir()) == []
    assert store.read_checked(_artifact()).read_bytes() == BODY


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Range"])
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        if start < 600_000:
            _send(handler, BODY[start : start + 600_000], status=206 if start else 200, length=len(BODY) - start)
        else:
            _send(handler, BODY[start:], status=206)

    with _serving(answer) as url:
        artifact = _artifact(url)
        store = Store(tmp_path)
        store.fetch([artifact])
    assert store.path(artifact).read_bytes() == BODY
    assert asked[0] is None
    assert asked[1] is not None
    assert int(asked[1][6:-1]) > 0


def test_a_server_that_cannot_resume_starts_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with _serving(lambda handler: _send(handler, BODY)) as url:
        artifact = _artifact(url)
        (tmp_path / "partial").mkdir()
        (tmp_path / "partial" / artifact.sha256).write_bytes(BODY[:1000])
        store.fetch([artifact])
    assert store.path(artifact).read_bytes() == BODY


def test_a_bad_beginning_is_thrown_away(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        _send(handler, BODY[start:], status=206 if start else 200)

    store = Store(tmp_path)
    with _serving(answer) as url:
        artifact = _artifact(url)
        (tmp_path / "partial").mkdir()
        (tmp_path / "partial" / artifact.sha256).write_bytes(b"x" * 1000)
        store.fetch([artifact])
    assert store.path(artifact).read_bytes() == BODY


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_bad_beginning_never_hides_bad_bytes(tmp_path: Path, size: int | None) -> None:
    """Each attempt but the last is cut; the last one completes other bytes, and a whole one follows that tells."""
    bad = b"x" * len(BODY)
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Range"])
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        end = len(bad) if len(asked) >= download.ATTEMPTS else start + 300_000
        _send(handler, bad[start:end], status=206 if start else 200, length=len(bad) - start)

    with _serving(answer) as url, pytest.raises(IntegrityError, match="not the file that the lock names"):
        Store(tmp_path).fetch([replace(_artifact(url), size=size)])
    assert asked[-1] is None
    assert len(asked) == download.ATTEMPTS + 1


def test_a_size_may_be_unknown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with _serving(lambda handler: _send(handler, BODY)) as url:
        artifact = replace(_artifact(url), size=None)
        store.fetch([artifact])
    assert store.read_checked(artifact).read_bytes() == BODY


def test_a_whole_partial_asks_nobody(tmp_path: Path) -> None:
    artifact = _artifact("http://127.0.0.1:9/a.deb")
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / artifact.sha256).write_bytes(BODY)
    store = Store(tmp_path)
    store.fetch([artifact])
    assert store.read_checked(artifact).read_bytes() == BODY


@pytest.mark.parametrize(
    ("statuses", "asked"), [((503, 429, 200), 3), ((408, 200), 2), ((500, 502, 503, 200), 3), ((404, 200), 1)]
)
def test_a_busy_server_is_asked_again(tmp_path: Path, statuses: tuple[int, ...], asked: int) -> None:
    given: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        given.append(statuses[len(given)])
        _send(handler, BODY if given[-1] == 200 else b"", status=given[-1])

    with _serving(answer) as url:
        artifact = _artifact(f"{url}/answered-4.deb")
        if 200 in statuses[:asked]:
            Store(tmp_path).fetch([artifact])
        else:
            with pytest.raises(DownloadError) as caught:
                Store(tmp_path).fetch([artifact])
            assert f"answered {statuses[asked - 1]}" in caught.value.cause
    assert len(given) == asked


def test_a_server_says_how_long_it_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download.Meter, "wait", lambda _, seconds: waits.append(seconds))
    monkeypatch.setattr(download, "MOST", 30.0)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(503)
        if paused := [wait for wait in waits if wait]:
            handler.send_header("Retry-After", ("3600", "Wed, 21 Oct 2026 07:28:00 GMT")[len(paused) - 1])
        else:
            handler.send_header("Retry-After", "7")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with _serving(answer) as url, pytest.raises(DownloadError):
        Store(tmp_path).fetch([_artifact(url)])
    assert [wait for wait in waits if wait] == [7.0, 30.0]


def test_bytes_are_hashed_as_they_are_served(tmp_path: Path) -> None:
    """Some servers call a .tar.gz "Content-Encoding: gzip", and a client that believes it gets the .tar."""
    body = gzip.compress(BODY)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    with _serving(answer) as url:
        artifact = _artifact(url, body=body)
        store = Store(tmp_path)
        store.fetch([artifact])
    assert store.read_checked(artifact).read_bytes() == body


@pytest.mark.parametrize("url", ["https://[::1/x", "file:///", "file:///%00", "nonsense", "http://", "x://y/z"])
def test_what_is_no_address_leaves_the_next_one(tmp_path: Path, url: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(BODY)
    store = Store(tmp_path / "store")
    store.fetch([_artifact(url, source.as_uri())])
    with pytest.raises(DownloadError, match="could not be downloaded"):
        Store(tmp_path / "other").fetch([_artifact(url)])


@pytest.mark.parametrize(
    ("environment", "proxied"),
    [
        ({}, True),
        ({"no_proxy": "pool.test"}, False),
        ({"NO_PROXY": "*"}, False),
        ({"http_proxy": "http://127.0.0.1:9"}, False),
        ({"https_proxy": "http://127.0.0.1:9"}, True),
    ],
)
def test_the_environments_proxies_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *, proxied: bool
) -> None:
    """Those of the package manager serve where the environment has no word for an address."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        _send(handler, BODY)

    with _serving(answer) as proxy:
        fallback = {"http": proxy}
        assert (http._proxies("http://pool.test/a.deb", fallback) == fallback) == proxied
        if proxied:
            Store(tmp_path, network=lambda: Network(proxies=fallback)).fetch([_artifact("http://pool.test/a.deb")])
    assert asked == (["http://pool.test/a.deb"] if proxied else [])


@pytest.mark.parametrize("body", [BODY[:-1] + b"x", b"", BODY + b"more", BODY[:-1]])
def test_other_bytes_are_refused_and_named(tmp_path: Path, body: bytes) -> None:
    with (
        _serving(lambda handler: _send(handler, body)) as url,
        pytest.raises(IntegrityError, match=r"a\.deb") as caught,
    ):
        Store(tmp_path).fetch([_artifact(f"{url}/a.deb")])
    assert content_sha256(BODY) in caught.value.cause
    assert not (tmp_path / "artifacts").exists()


def test_any_address_may_serve(tmp_path: Path) -> None:
    with (
        _serving(lambda handler: _send(handler, b"gone", status=404)) as gone,
        _serving(lambda handler: _send(handler, b"x" * len(BODY))) as bad,
        _serving(lambda handler: _send(handler, BODY)) as good,
    ):
        artifact = _artifact("http://127.0.0.1:9/a.deb", gone, bad, good)
        store = Store(tmp_path)
        store.fetch([artifact])
    assert store.path(artifact).read_bytes() == BODY


def test_no_address_serves(tmp_path: Path) -> None:
    with _serving(lambda handler: _send(handler, b"", status=403)) as url, pytest.raises(DownloadError) as caught:
        Store(tmp_path).fetch([_artifact("http://ann:secret@127.0.0.1:9/a.deb", url)])
    assert "secret" not in caught.value.cause
    assert "answered 403" in caught.value.cause
    assert caught.value.cause.splitlines()[0].endswith("[Errno 111] Connection refused")
    assert ".netrc" in caught.value.hint


def test_a_dead_proxy_is_told_in_the_systems_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://ann:secret@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError) as caught:
        Store(tmp_path).fetch([_artifact("http://pool.test/a.deb")])
    assert caught.value.cause.endswith("[Errno 111] Connection refused")
    assert "secret" not in caught.value.cause


def test_offline_fetches_nothing(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="--offline"):
        Store(tmp_path, offline=True).fetch([_artifact("http://127.0.0.1:9/a.deb")])


def test_a_damaged_artifact_is_named_and_fetched_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    source = tmp_path / "source"
    source.write_bytes(BODY)
    artifact = _artifact(source.as_uri())
    store.fetch([artifact])
    store.path(artifact).chmod(0o644)
    store.path(artifact).write_bytes(BODY[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"a\.deb"):
        store.read_checked(artifact)
    talk = _Talk()
    store.fetch([artifact], talk)
    assert store.read_checked(artifact).read_bytes() == BODY
    assert "a.deb" in talk.warnings[0]


def test_a_missing_file_url(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        Store(tmp_path).fetch([_artifact((tmp_path / "no").as_uri())])
    assert "No such file or directory" in caught.value.cause


class _Archive:
    """An archive of one file, ``f``, that counts how often it was unpacked."""

    def __init__(self, store: Store, *, writes: bytes = b"1") -> None:
        self.artifact = Artifact(filename="x", sha256=store.keep(b"archive"))
        self.times = 0
        self._writes = writes

    def unpack(self, _path: Path, destination: Path) -> dict[str, Entry]:
        self.times += 1
        (destination / "f").write_bytes(self._writes)
        return {"f": Entry(kind="file", content=content_sha256(b"1"), owner="o", mtime=5)}


def test_archives_are_unpacked_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    archive = _Archive(store)
    first = store.unpacked(archive.artifact, archive.unpack, "kind")
    assert store.unpacked(archive.artifact, archive.unpack, "kind") == first
    assert archive.times == 1
    store.forget(first[1] / "f")
    assert store.unpacked(archive.artifact, archive.unpack, "kind") == first
    assert archive.times == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'"'])
def test_damaged_entries_are_read_from_the_archive_again(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    archive = _Archive(store)
    first = store.unpacked(archive.artifact, archive.unpack, "kind")
    entries = first[1].with_name("entries")
    entries.write_bytes(entries.read_bytes().replace(b'"o"', damage) if damage else b"")
    assert store.unpacked(archive.artifact, archive.unpack, "kind") == first
    assert archive.times == 2


def test_a_member_is_hashed_at_each_use_and_mended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    archive = _Archive(store)
    path, entry = store.member(archive.artifact, "f", archive.unpack, "kind")
    assert (path.read_bytes(), entry.content) == (b"1", content_sha256(b"1"))
    path.write_bytes(b"2")
    assert store.member(archive.artifact, "f", archive.unpack, "kind")[0].read_bytes() == b"1"
    path.unlink()
    assert store.member(archive.artifact, "f", archive.unpack, "kind")[0].read_bytes() == b"1"
    assert archive.times == 3


def test_what_cannot_be_mended_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    archive = _Archive(store, writes=b"never right")
    with pytest.raises(DamagedTreeError, match="not what was unpacked there"):
        store.member(archive.artifact, "f", archive.unpack, "kind")
    assert archive.times == 2


def test_mending_tells_and_starts_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    archive = _Archive(store)
    _, files = store.unpacked(archive.artifact, archive.unpack, "kind")
    talk = _Talk()

    def work() -> int:
        store.unpacked(archive.artifact, archive.unpack, "kind")
        if archive.times == 1:
            raise DamagedTreeError(files / "f", Entry(kind="file", owner="o"))
        return archive.times

    assert store.mending(work, talk) == 2
    assert talk.warnings == [f"{files}/f, of o, is not what was unpacked there; the package is unpacked anew"]

    def hopeless() -> None:
        raise DamagedTreeError(tmp_path / "elsewhere", Entry(kind="file", owner="o"))

    with pytest.raises(DamagedTreeError):
        store.mending(hopeless)


def test_a_failed_unpacking_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    artifact = Artifact(filename="x", sha256=store.keep(b"archive"))

    def unpack(_path: Path, destination: Path) -> dict[str, Entry]:
        (destination / "half").write_bytes(b"1")
        raise IntegrityError("bad")

    with pytest.raises(IntegrityError):
        store.unpacked(artifact, unpack, "kind")
    assert not list((tmp_path / "trees").rglob("half"))


def test_a_fault_of_the_unpacking_is_its_own(tmp_path: Path) -> None:
    """Not that of a process which was faster, although the system's word for both is the same."""
    store = Store(tmp_path)
    artifact = Artifact(filename="x", sha256=store.keep(b"archive"))

    def unpack(_path: Path, destination: Path) -> dict[str, Entry]:
        (destination / "twice").mkdir()
        (destination / "twice").mkdir()
        raise AssertionError

    with pytest.raises(FileExistsError, match="twice"):
        store.unpacked(artifact, unpack, "kind")


def test_built_files_are_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    calls = []

    def build(path: Path) -> None:
        calls.append(path)
        path.write_text(str(len(calls)))

    path = store.built("key", "f", build)
    assert store.built("key", "f", build) == path
    assert path.read_text() == "1"
    path.with_name("digest").write_text("beside it")
    path.unlink()
    assert store.built("key", "f", build).read_text() == "2"


def _unhashed(*urls: str, md5: str = "", fresh: bool = False) -> download.Unhashed:
    return download.Unhashed(filename="x.tar.gz", urls=urls, md5=md5, fresh=fresh)


MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def test_a_hash_is_learned_once(tmp_path: Path) -> None:
    """What was learned is not asked for again while it is here and sound; what may change is."""
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        _send(handler, BODY)

    store = Store(tmp_path)
    with _serving(answer) as url:
        (artifact,) = store.learn([_unhashed(url, md5=MD5)])
        assert artifact == Artifact(
            filename="x.tar.gz", sha256=hashlib.sha256(BODY).hexdigest(), size=len(BODY), urls=(url,)
        )
        assert store.read_checked(artifact).read_bytes() == BODY
        assert store.learn([_unhashed(f"{url}/mirror", md5=MD5)])[0].sha256 == artifact.sha256
        assert len(asked) == 1
        store.learn([_unhashed(url, fresh=True)])
        store.learn([_unhashed(url, fresh=True)])
        assert len(asked) == 3
        store.path(artifact).chmod(0o644)
        store.path(artifact).write_bytes(b"damaged")
        store.learn([_unhashed(url, md5=MD5)])
        assert len(asked) == 4
        assert store.read_checked(artifact).read_bytes() == BODY


def test_what_an_index_says_of_a_file_is_checked(tmp_path: Path) -> None:
    """The next address is tried where one serves something else."""
    store = Store(tmp_path)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, BODY if handler.path == "/good" else b"something else")

    with _serving(answer) as url:
        assert store.learn([_unhashed(f"{url}/bad", f"{url}/good", md5=MD5)])[0].size == len(BODY)
        with pytest.raises(IntegrityError, match=r"x\.tar\.gz is not the file that its index lists"):
            Store(tmp_path / "other").learn([_unhashed(f"{url}/bad", md5=MD5)])
        with pytest.raises(IntegrityError, match="is not the file that its index lists"):
            store.learn([replace(_unhashed(f"{url}/other"), size=3)])


def test_all_lost_files_are_named(tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, BODY, status=200 if handler.path == "/here" else 404)

    with _serving(answer) as url:
        wanted = [replace(_unhashed(f"{url}/{name}"), filename=name) for name in ("c", "here", "a")]
        with pytest.raises(download.LostError, match="a, c could not be downloaded") as caught:
            Store(tmp_path).learn(wanted)
    assert [file.filename for file in caught.value.files] == ["a", "c"]
    with pytest.raises(DownloadError, match="offline"):
        Store(tmp_path, offline=True).learn(wanted)


def test_any_accepted_hash_will_do(tmp_path: Path) -> None:
    other = replace(_artifact(), sha256="0" * 64, accepted=(_artifact().sha256,), size=None)
    store = Store(tmp_path)
    with _serving(lambda handler: _send(handler, BODY)) as url:
        store.fetch([replace(other, urls=(url,))])
    assert store.path(other).name == _artifact().sha256
    assert store.read_checked(other).read_bytes() == BODY
    assert store.missing([other]) == []
    with pytest.raises(ValueError, match="is not a sha256"):
        replace(other, accepted=("x",))
