"""A whole root file system from nothing but the locked rows: one call of mmdebstrap, bit-identical every time.

The locked .debs are a tiny apt archive; apt checks, orders and configures them, maintainer scripts included. As root
or in a user namespace, the tar archive has one sha256.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dsenv import tree
from dsenv.ecosystems.system.pins import Layer, deb_name
from dsenv.errors import ToolError
from dsenv.pins import digest
from dsenv.tools import deb, process

if TYPE_CHECKING:
    from dsenv.ecosystems.system.pins import Package, Pins, Root
    from dsenv.pins import Target
    from dsenv.progress import Progress
    from dsenv.store import Store

_HINT: Final = "Install it: apt-get install --no-install-recommends mmdebstrap uidmap"
_MERGED: Final = {"amd64": ("bin", "lib", "lib64", "sbin")}
_DROPPED: Final = ("Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512")


def layer(pins: Pins, root: Root, target: Target, epoch: int, store: Store, progress: Progress) -> tuple[Path, Layer]:
    """Return the root file system as a tar archive, and its digest, read anew; made once for the same rows.

    Args:
        pins: The lock's system part.
        root: The rows, all of them.
        target: For which machine.
        epoch: The newest time stamp that a file may have, in seconds since 1970.
        store: Holds the rows' .debs.
        progress: Told what is going on.

    """
    program = process.require("mmdebstrap", hint=_HINT)
    version = process.run([program, "--version"]).stdout.strip()
    key = digest([[row.name, row.version, row.sha256] for row in root.installed] + [[str(epoch), version]])

    def build(path: Path) -> None:
        progress.say(f"installing {len(root.installed)} packages into a new root file system ({version})")
        _bootstrap(program, pins, root, target, epoch, store, path, progress)
        path.with_name("sha256").write_text(tree.file_sha256(path), "utf-8")

    path = store.built(key, "system.tar", build)
    sha256 = tree.file_sha256(path)
    if sha256 != path.with_name("sha256").read_text("utf-8"):
        progress.warn(f"the root file system in the store was damaged ({path}) and is made anew")
        tree.remove(path.parent)
        sha256 = tree.file_sha256(store.built(key, "system.tar", build))
    return path, Layer(sha256=sha256, made_with=version)


def _merging(root: Root, target: Target) -> str:
    """Return the option that makes /usr merged before anything is unpacked.

    mmdebstrap's own hook ends with the package usr-is-merged, which bullseye has not yet, and noble no more.
    """
    if any(row.name == "usr-is-merged" for row in root.installed):
        return "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
    names = " ".join(_MERGED.get(target.architecture, ("bin", "lib", "sbin")))
    return f'--setup-hook=for name in {names}; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done'


def packages_index(pins: Pins, root: Root, store: Store, pool: str) -> str:
    """Return the Packages file of an apt archive that holds the rows' .debs below ``pool``."""
    return "\n".join(stanza(deb.control_text(store.path(pins.artifact(row))), row, pool) for row in root.installed)


def stanza(control: str, row: Package, pool: str) -> str:
    """Return a row's stanza of such a file, from the control fields of its .deb."""
    kept = re.sub(rf"^(?:{'|'.join(_DROPPED)}):.*\n", "", control, flags=re.MULTILINE)
    return f"{kept}Filename: {pool}{deb_name(row)}\nSize: {row.size}\nSHA256: {row.sha256}\n"


def _bootstrap(
    program: str, pins: Pins, root: Root, target: Target, epoch: int, store: Store, path: Path, progress: Progress
) -> None:
    mode = "root" if os.geteuid() == 0 else "unshare"
    # A user namespace and apt's own user must be able to read it: no private home, and no private TMPDIR either.
    with tempfile.TemporaryDirectory(prefix="dsenv-pool-", dir="/tmp") as directory:
        pool = Path(directory)
        pool.chmod(0o755)
        for row in root.installed:
            shutil.copyfile(store.path(pins.artifact(row)), pool / deb_name(row))
            (pool / deb_name(row)).chmod(0o644)
        (pool / "Packages").write_text(packages_index(pins, root, store, ""), "utf-8")
        (pool / "Packages").chmod(0o644)
        argv = [
            program,
            "--variant=custom",
            f"--mode={mode}",
            "--format=tar",
            f"--architectures={target.architecture}",
            _merging(root, target),
            "--include=" + ",".join(f"{row.name}={row.version}" for row in root.installed),
            '--aptopt=APT::Install-Recommends "false"',
            # It names the pool, whose place is another one each time and gone afterwards.
            '--customize-hook=rm "$1/etc/apt/sources.list"',
            root.codename,
            str(path),
            f"deb [trusted=yes] copy:{pool} ./",
        ]
        env = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(epoch),
            "DEBIAN_FRONTEND": "noninteractive",
        }
        try:
            process.run(argv, env=env, on_line=progress.update)
        except ToolError as error:
            hint = "" if mode == "root" else "It needs user namespaces: the package uidmap, and a range in /etc/subuid."
            raise ToolError("the root file system could not be made", cause=error.cause, hint=hint) from error
