"""The command for whoever administrates a machine: apt's words alone, with third parties' archives that it needs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from dsenv.ecosystems.system.archives import sources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsenv.ecosystems.system.archives.repositories import Repository

_INSTALL: Final = ("sudo", "apt-get", "install", "--no-install-recommends", "--no-remove")
_STANZA: Final = "/etc/apt/sources.list.d/{}.sources"
_KEY: Final = "/etc/apt/keyrings/{}.{}"


def command(requests: Sequence[str], strangers: Sequence[Repository], architecture: str) -> str:
    """Return one line for a shell in the project's directory.

    Args:
        requests: What apt is asked for: ``jq=1.6-2.1``.
        strangers: Third parties' archives that the machine does not have and some of them come from: each gets its key
            and a ``.sources`` stanza that names it, so that it is trusted for nothing else.
        architecture: Debian's word for the machine's.

    """
    steps = []
    for row in strangers:
        key = _KEY.format(row.name, "asc" if row.is_armored else "gpg")
        lines = sources.third_party(row, row.address.url, key, architecture).splitlines()
        steps.append(shlex.join(["sudo", "install", "-D", "-m", "644", "--", row.key, key]))
        steps.append(f"printf '%s\\n' {shlex.join(lines)} | sudo tee {_STANZA.format(row.name)} > /dev/null")
    if strangers:
        steps.append("sudo apt-get update")
    return " && ".join([*steps, shlex.join([*_INSTALL, *requests])])
