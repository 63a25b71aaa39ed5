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
from typing import IO, TYPE_CHECKING

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
    try:
        process = subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"`{argv[0]}` cannot be started", cause=str(error)) from error
    with process, _ending_with_us(process):
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
    with subprocess.Popen(
        list(argv),
        env=env,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        # dpkg-deb and the like write little to stderr, yet a full pipe must never stop them.
        stderr: list[bytes] = []
        reader = threading.Thread(target=lambda: stderr.append(process.stderr.read() if process.stderr else b""))
        reader.start()
        with _ending_with_us(process):
            if process.stdout is None:
                raise ToolError(f"`{argv[0]}` has no output")
            yield process.stdout
            while process.stdout.read(_CHUNK):  # a reader that stopped early must not break the program's pipe
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
def _ending_with_us(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    """End the process group when anything, Ctrl-C included, ends the waiting early."""
    _running.add(process.pid)
    try:
        yield
    except BaseException:
        _signal(process.pid, signal.SIGTERM)  # mmdebstrap unmounts what it has mounted
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        _signal(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        _running.discard(process.pid)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
