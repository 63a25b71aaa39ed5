"""A program that runs a build's steps in a root of their own, or beside the machine's files where that is forbidden.

It stands alone, runs with the machine's own Python and reads what to do from the JSON file that it is given. In a root
of its own, nothing of the machine is to be seen but the kernel: user, mount, process, network, IPC and host name are
in namespaces that end with this program, and this program ends with whoever started it. The steps' outputs go to the
log; how they ended is written to standard output as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, Final

# linux/sched.h, sys/mount.h, sys/prctl.h, sys/personality.h
CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_NAMESPACES: Final = (
    CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET
)  # fmt: skip
MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_KEPT: Final = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # statvfs(3): what a remount must not drop
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_ADDR_NO_RANDOMIZE: Final = 0x0040000
_OWN: Final = frozenset({"build", "dev", "proc", "run", "sys", "tmp"})  # made anew in each root
_DEVICES: Final = ("full", "null", "random", "urandom", "zero")
_DEVICE_LINKS: Final = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_HOST: Final = b"build"
_SIGNALED: Final = 128  # as a shell counts: the number of the signal is added

_libc = ctypes.CDLL(None, use_errno=True)


def main(plan: dict[str, Any]) -> None:
    """Do what ``plan`` says, and tell how it ended."""
    try:
        log = os.open(plan["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        ended = _enter(plan, log) if plan["root"] is not None else _beside(plan, log)
    except OSError as error:
        ended = {"refused": str(error)}
    os.write(1, json.dumps(ended).encode())
    if plan["root"] is None:
        _end_children()  # what the steps have left running


def _enter(plan: dict[str, Any], log: int) -> dict[str, Any]:
    """Run the steps in a root of their own."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", _NAMESPACES)
    _end_with_parent(plan["parent"], signal.SIGKILL)  # afterwards: a change of rights clears it
    Path("/proc/self/setgroups").write_text("deny", "utf-8")
    Path("/proc/self/uid_map").write_text(f"{plan['uid']} {uid} 1", "utf-8")
    Path("/proc/self/gid_map").write_text(f"{plan['uid']} {gid} 1", "utf-8")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # the first process of its namespace: when it ends, the kernel ends all others
        os.close(reader)
        try:
            _end_with_starter(writer)
            _make_root(plan)
            ended = _run(plan, log)
        except OSError as error:
            ended = {"refused": str(error)}
        os.write(writer, json.dumps(ended).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    answer: dict[str, Any] = json.loads(told or b'{"refused": "it was killed"}')
    return answer


def _beside(plan: dict[str, Any], log: int) -> dict[str, Any]:
    """Run the steps as the machine's processes; all that they start end with this one."""

    def end(_number: int, _frame: object) -> None:
        _end_children()
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what loses its parent becomes a child of this process
    _end_with_parent(plan["parent"], signal.SIGTERM)
    return _run(plan, log)


def _make_root(plan: dict[str, Any]) -> None:
    """Make the root, and become unable to reach anything else."""
    root = plan["mountpoint"]
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")
    for name in sorted(os.listdir(plan["root"])) if plan["root"] else ():
        path = f"{plan['root']}/{name}"
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{root}/{name}")
        elif name not in _OWN and os.path.isdir(path):
            os.mkdir(f"{root}/{name}")
            _bind(path, f"{root}/{name}", writable=False)
    for name in sorted(_OWN):
        os.mkdir(f"{root}/{name}")
    if plan["build"]:
        _bind(plan["build"], f"{root}/build", writable=True)
        _bind(f"{plan['build']}/in", f"{root}/build/in", writable=False)
        _bind(f"{plan['build']}/tmp", f"{root}/tmp", writable=True)
        for place, source in plan["shared"].items():
            _bind(source, f"{root}{place}", writable=True)
    _make_devices(root)
    mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    call("sethostname", _HOST, len(_HOST))
    call("setdomainname", _HOST, 0)
    os.chdir(root)
    call("pivot_root", b".", b".")  # pivot_root(2): the old root lies over the new one until it is unmounted
    call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    mount(None, "/", None, _MS_REMOUNT | MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _make_devices(root: str) -> None:
    for name in _DEVICES:
        with open(f"{root}/dev/{name}", "xb"):
            pass
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/shm")
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")


def _bind(source: str, target: str, *, writable: bool) -> None:
    mount(source, target, None, MS_BIND | MS_REC)
    has = os.statvfs(target).f_flag
    flags = sum(flag for said, flag in _KEPT.items() if has & said)
    if not writable:
        flags |= MS_RDONLY
    mount(None, target, None, _MS_REMOUNT | MS_BIND | _MS_NOSUID | flags)


def _run(plan: dict[str, Any], log: int) -> dict[str, Any]:
    """Run one step after the other until one fails; return its number and exit code."""
    for number, step in enumerate(plan["steps"]):
        child = os.fork()
        if child == 0:
            _become(step, plan["cwd"], log)
        code = 0
        while True:
            pid, status = os.wait()  # the first process of a namespace inherits what others leave behind
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                break
        if code:
            return {"step": number, "code": code if code > 0 else _SIGNALED - code}
    return {"step": len(plan["steps"]), "code": 0}


def _become(step: dict[str, Any], cwd: str, log: int) -> None:
    """Become a step's program; its outputs go to the log, and it has nothing to read."""
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 1024)
        os.umask(0o022)
        os.chdir(cwd)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM):  # as Python or this program has set them
            signal.signal(number, signal.SIG_DFL)
        _libc.personality(_ADDR_NO_RANDOMIZE)
        _execute(step["argv"], step["env"])
    except OSError as error:
        os.write(2, f"{step['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _execute(argv: list[str], env: dict[str, str]) -> None:
    places = [""] if "/" in argv[0] else [f"{directory}/" for directory in env.get("PATH", "").split(":")]
    for place in places:
        try:
            os.execve(place + argv[0], argv, env)  # noqa: S606 - no shell in between
        except FileNotFoundError:
            continue
    raise FileNotFoundError(errno.ENOENT, "command not found")


def _end_with_parent(parent: int, number: int) -> None:
    call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def _end_with_starter(pipe: int) -> None:
    """End with a parent that has no number here, outside of the namespace: while it lives, it reads a pipe."""
    call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    poll = select.poll()
    poll.register(pipe, 0)
    if poll.poll(0):
        os._exit(1)


def _end_children() -> None:
    """Kill all processes below this one, those that they start meanwhile among them."""
    pending = [os.getpid()]
    while pending:
        pid = pending.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
                children = [int(word) for word in file.read().split()]
        except OSError:
            children = []
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:
                continue
        pending.extend(children)
        if not pending:
            try:
                os.wait()
            except ChildProcessError:
                return
            pending = [os.getpid()]


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount something (mount(2)); raise what went wrong as ``OSError``."""
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    call("mount", *words, flags, data.encode() if data else None, about=target)


def call(name: str, *arguments: Any, about: str = "") -> None:
    """Call the C library; raise what went wrong as ``OSError``."""
    converted = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_libc, name)(*converted):
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {about}".strip() + f": {os.strerror(number)}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
