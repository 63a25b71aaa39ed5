"""A program that builds small C things in a workshop, as an ecosystem would ask for them.

It runs for itself, so that it can be killed, and started as another user. Its arguments are one JSON object; it
prints what came of the builds, or what went wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsenv import locks
from dsenv.builds import PLACE, Build
from dsenv.ecosystems import FOUNDATION
from dsenv.errors import DsenvError
from dsenv.operations.selection import host_target, select
from dsenv.outputs import building
from dsenv.outputs.workshop import Demand, Root, Workshop
from dsenv.pins import digest
from dsenv.progress import Silent
from dsenv.steps import Input, Run
from dsenv.store import Store

if TYPE_CHECKING:
    from dsenv.steps import Place

LIBRARY = '#include <stdio.h>\nint say(void) { return printf("%s %s %s\\n", __FILE__, __DATE__, "hello"); }\n'
PROGRAM = "int say(void);\nint main(void) { say(); return 0; }\n"
BROKEN = "#include <stdio.h>\n#include <libpq-fe.h>\nint main(void) { return 0; }\n"
SCRIPTS = {
    "library": "cc -g -O2 -shared -fPIC -o {out}/libsay.so {in}/library.c",
    "program": "gcc -g -O2 -o say {in}/program.c -L{in}/built/library -lsay\n"
    "LD_LIBRARY_PATH={in}/built/library ./say\nmake --version > /dev/null\nmv say {out}/say",
    "broken": "gcc -c {in}/broken.c",
    # Leaves its process group, as a daemon does.
    "slow": "(setsid sleep {seconds} &)\nsleep {seconds}\ntouch {out}/slow",
    "report": "exec > {out}/report\nenv | grep -v '^_=\\|^MAKEFLAGS=' | sort\nid\nhostname\numask\npwd\n"
    "ls / /dev /build /build/home /tmp /etc/resolv.conf 2>&1 || true\n"
    "cut -d' ' -f2 /proc/mounts | grep -v '^/dev/' | sort\ncat /proc/net/route\necho /proc/[0-9]*\n"
    "for path in /here /usr/here /build/in/here /etc/passwd; do (echo x > $path) 2>&1 || true; done\n"
    "echo x > /tmp/here; echo x > $HOME/here; stat -c '%u %a %n' /build/in /tmp/here /usr",
}


def builds(place: Place, names: list[str], seconds: str) -> dict[str, list[Build]]:
    """Return the builds of these names."""
    words = {"{in}": place.inputs, "{out}": f"{place.prefix}/out", "{seconds}": seconds}
    sources = {"library": LIBRARY, "program": PROGRAM, "broken": BROKEN}
    found = []
    for name in names:
        text = SCRIPTS[name]
        for word, value in words.items():
            text = text.replace(word, value)
        inputs = (Input(name=f"{name}.c", source=sources[name]),) if name in sources else ()
        after = ("library",) if name == "program" else ()
        step = Run(argv=("sh", "-euc", text))
        found.append(Build(name=name, title=f"{name} 1.0", inputs=inputs, steps=(step,), after=after))
    return {"test": found}


def workshop(project: Path, store: Store, names: list[str], *, beside: bool, seconds: str) -> Workshop:
    """Return the workshop of a locked project."""
    selected = select(locks.read(project), host_target())
    pins, selection = selected.ground, selected.selection
    rows = FOUNDATION.seen(pins, selection, ())  # the base, and what a person asked for
    demand = Demand(
        root=lambda _: Root(
            key=digest(FOUNDATION.workshop(rows, selection)),
            artifacts=FOUNDATION.artifacts(rows, selection, PLACE),
            recipe=lambda at: FOUNDATION.recipe(rows, selection, at, store, Silent(), {}),
        ),
        misfit="",
        builds=lambda at: builds(at, names, seconds),
        suggest=lambda lost: FOUNDATION.bringing(pins, selection.target, lost.kind, lost.name),
    )
    return Workshop(demand, store, Silent(), beside=beside)


def main(project: str, store: str, names: list[str], *, beside: bool = False, seconds: str = "600") -> dict[str, Any]:
    """Build, and return what came of it."""
    made = workshop(Path(project), Store(Path(store)), names, beside=beside, seconds=seconds)
    try:
        results = building.make(made)["test"]
    except DsenvError as error:
        return {"error": error.sentence, "cause": error.cause}
    return {
        name: {"path": str(built.path), "sha256": built.sha256, "canonical": built.canonical}
        for name, built in results.items()
    }


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))  # noqa: T201
