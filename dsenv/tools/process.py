"""Start programs: the only room that does.

A program is always a list of words, never a shell line. Both pipes are drained at once, the output travels in the
error, and the whole process group ends when dsenv is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from dsenv.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_TAIL = 30  # lines of a failed program's output that its error carries
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


_GRACE = 5  # seconds that a program has to clean up after itself when it is to end
_running: set[int] = set()

trace: Callable[[str], None] | None = None
"""When set, it is given each command line before it starts (``--verbose``)."""


def find(program: str) -> str | None:
    """Return the path of ``program``, looked for in PATH and where an unprivileged PATH lacks it."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")


def require(program: str, *, hint: str) -> str:
    """Return the path of ``program``, or raise ``ToolError`` with ``hint`` as the next step."""
    path = find(program)
    if path is None:
        raise ToolError(f"there is no `{program}` on this machine", hint=hint)
    return path


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    codes: Sequence[int] | None = (0,),
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: The program and its arguments.
        env: Its whole environment; ``None`` hands on this process's own.
        cwd: Its working directory.
        codes: Exit codes that are no failure; ``None`` for all.
        on_line: Given each line of either output as it comes.

    Raises:
        ToolError: The program could not be started, or ended with another code.

    """
    if trace:
        trace(shlex.join(argv))
    text: dict[str, Any] = {"text": True, "encoding": "utf-8", "errors": "replace"}
    with _started(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, **text) as process:
        stdout, stderr = _drain(process, on_line)
    completed = Completed(argv=tuple(argv), code=process.returncode, stdout=stdout, stderr=stderr)
    if codes is not None and completed.code not in codes:
        raise failure(completed)
    return completed


def failure(completed: Completed) -> ToolError:
    """Return the error for a program that ended badly, with the last lines that it wrote."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    program = completed.argv[0].rsplit("/", 1)[-1]
    end = f"by signal {-completed.code}" if completed.code < 0 else f"with exit code {completed.code}"
    return ToolError(f"`{program}` ended {end}", cause="\n".join(lines[-_TAIL:]))


@contextlib.contextmanager
def pipe(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: IO[bytes] | None = None
) -> Iterator[IO[bytes]]:
    """Run a program and yield what it writes, as a binary stream.

    Args:
        argv: The program and its arguments.
        env: Its whole environment; ``None`` hands on this process's own.
        stdin: A file that it reads.

    Raises:
        ToolError: On leaving, when the program failed.

    """
    if trace:
        trace(shlex.join(argv))
    with _started(argv, env=env, stdin=stdin or subprocess.DEVNULL) as process:
        # dpkg-deb and the like write little to stderr, yet a full pipe must never stop them.
        stderr: list[bytes] = []
        out, err = cast("tuple[IO[bytes], IO[bytes]]", (process.stdout, process.stderr))
        reader = threading.Thread(target=lambda: stderr.append(err.read()))
        reader.start()
        yield out
        while out.read(_CHUNK):  # a reader that stopped early must not break the program's pipe
            pass
        reader.join()
        code = process.wait()
    if code:
        text = b"".join(stderr).decode(errors="replace")
        raise failure(Completed(argv=tuple(argv), code=code, stdout="", stderr=text))


def replace_process(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Become another program; return only by raising ``ToolError``."""
    if trace:
        trace(shlex.join(argv))
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the program would inherit that
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - the point: no shell in between
    except (OSError, ValueError) as error:  # ValueError: of an empty name
        cause = getattr(error, "strerror", None) or str(error)
        raise ToolError(f"`{argv[0]}` cannot be started", cause=cause) from error


def _drain(process: subprocess.Popen[str], on_line: Callable[[str], None] | None) -> tuple[str, str]:
    if on_line is None:
        return process.communicate()
    outputs: tuple[list[str], list[str]] = ([], [])

    def read(stream: IO[str] | None, lines: list[str]) -> None:
        for line in stream or ():
            lines.append(line)
            on_line(line.rstrip("\n"))

    readers = [
        threading.Thread(target=read, args=(stream, lines))
        for stream, lines in zip((process.stdout, process.stderr), outputs, strict=True)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    process.wait()
    return "".join(outputs[0]), "".join(outputs[1])


def end_all() -> None:
    """Ask every running program and its children to end; whoever waits for one sees it fail."""
    for group in list(_running):
        _signal(group, signal.SIGTERM)


@contextlib.contextmanager
def _started(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program in a group of its own, which ends when anything, Ctrl-C included, ends the waiting early.

    Raises:
        ToolError: It could not be started.

    """
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with _interrupts_held() as let_go:
        try:
            process = subprocess.Popen(list(argv), **options)
        except OSError as error:
            raise ToolError(f"`{argv[0]}` cannot be started", cause=str(error)) from error
        with process:
            _running.add(process.pid)
            try:
                let_go()
                yield process
            except BaseException:
                _signal(process.pid, signal.SIGTERM)  # mmdebstrap unmounts what it has mounted
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
                _signal(process.pid, signal.SIGKILL)
                process.wait()
                raise
            finally:
                _running.discard(process.pid)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold back what would interrupt this thread until the yielded function is called; it comes then.

    A program that has just been started would else be left to itself, as nobody knew its number yet.
    """
    held: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def let_go() -> None:
        while before:
            signal.signal(*before.popitem())
        while held:
            signal.raise_signal(held.pop())

    if threading.current_thread() is threading.main_thread():  # no other is interrupted
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, lambda number, _frame: held.append(number))
    try:
        yield let_go
    finally:
        let_go()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
