"""What an R session reads when it starts: profiles that show it the environment's libraries and guard them.

``site.R`` and ``user.R`` are the profiles of an R that ``dsenv run`` starts; ``activate.R`` is for one that something
else has started; ``guard.R`` stops what would change the libraries.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from dsenv.steps import Place, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

SITE: Final = "etc/Rprofile.site"  # below a place's prefix, as are the others
USER: Final = "etc/Rprofile"
_GUARD: Final = "etc/guard.R"
_ACTIVATE: Final = "entry/activate.R"


def profiles(place: Place, version: str, libraries: Sequence[str], variables: Sequence[str], site: str) -> list[Write]:
    """Return the steps that write them.

    Args:
        place: Where the environment is put.
        version: R's: ``4.2.2``.
        libraries: All that a session is to see, the first the one that installing would write into.
        variables: Names of those that are to stand above any .Renviron.
        site: The locked R's own site profile.

    """
    values = {
        "guard": string(f"{place.prefix}/{_GUARD}"),
        "libraries": ", ".join(map(string, libraries)),
        "minor": string(".".join(version.split(".")[:2])),
        "prefix": string(place.prefix),
        "profile": string(f"{place.prefix}/{SITE}"),
        "site": string(site),
        "variables": ", ".join(map(string, variables)),
        "version": version,
    }
    files = {SITE: "site.R", USER: "user.R", _GUARD: "guard.R"}
    if place.kind == "project":
        files[_ACTIVATE] = "activate.R"
    return [Write(path=f"{place.prefix}/{path}", text=_text(name, values)) for path, name in files.items()]


def string(text: str) -> str:
    """Return a text as R writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(name: str, values: dict[str, str]) -> str:
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text
