"""What a package leaves to its maintainer script, and what only root could give it: read, and never run.

debhelper's own snippets don't count: they register byte-compiled modules, menus and services, which a tree does not
need or names otherwise. What else a script does is found by the programs that it calls; ``scripts.toml`` says which of
them change nothing that a new tree lacks. Settings that ucf(1) would put into /etc are read, snippets included.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dsenv.tree import Tree

_SNIPPET: Final = re.compile(r"(?ms)^# Automatically added by dh\S*\n.*?^# End automatically added section\n?")

_LABEL: Final = re.compile(r"\s*\(?[^\s()$`]+(?:\s*\|\s*[^\s()]+)*\s*\)(?!\s*[({])")  # of `case`: "configure)"
_HERE: Final = re.compile(r"<<-?\s*[\"']?(\w+)")  # a text that the script holds
_ENDS: Final = re.compile(r"[();<>|&]+")  # after it, a command begins
_BEFORE: Final = frozenset(
    {"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "exec", "in_sysroot"}
)
_OLD: Final = ("--compare-versions", '-n "$2"', '"x$2" != "x"')  # what comes before it is for an upgrade only
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.+-]*")  # a variable that holds a program's name tells nothing
_ASSIGNMENT: Final = re.compile(r"\w+\+?=.*", re.DOTALL)
_SERVICE: Final = re.compile(
    r"(?:usr/lib/systemd/system/(?=.*\.service)|etc/init\.d/)(?P<name>[\w.+-]+?)(?:\.service)?"
)
_UNKNOWN: Final = re.compile(r"[$`*?]")  # what only a running shell could tell
_SHOWN: Final = 5  # services that are named
_SPECIAL: Final = {0o4000: "set-user-ID", 0o2000: "set-group-ID"}


def calls(script: str) -> list[str]:
    """Return the programs that a maintainer script calls when its package is new, those that count, sorted."""
    table = _table()
    text = _SNIPPET.sub("", script).replace("\\\n", " ")
    own = set(re.findall(r"^\s*(?:function\s+)?([\w-]+)\s*\(\)", text, re.MULTILINE))
    found = set()
    for words in _commands(text):
        name = posixpath.basename(words[0])
        if name not in own | table["plain"] and _NAME.fullmatch(name) and not words[0].startswith("db_"):
            found.add(name)
    return sorted(found)


def settings(script: str) -> dict[str, str]:
    """Return the files that a maintainer script has ucf(1) put in place, each with the file that it is a copy of."""
    return {path: source for source, path in _copies(script) if not _UNKNOWN.search(source + path)}


def lacking(package: str, script: str, tree: Tree) -> Iterator[str]:
    """Yield what an unpacked package lacks in a tree, each in a sentence.

    Args:
        package: Its name.
        script: Its ``postinst``.
        tree: Its files.

    """
    table = _table()
    if not any(fnmatch.fnmatchcase(package, pattern) for pattern in table["served"]):
        told = [table["lacks"].get(name, f"what `{name}` does") for name in calls(script)]
        if any(_UNKNOWN.search(source + path) for source, path in _copies(script)):
            told.append("settings that it writes are missing")
        if told:
            yield f"{package}: its maintainer script does not run: {', '.join(dict.fromkeys(told))}"
    services = {match["name"] for path in tree if (match := _SERVICE.fullmatch(path)) and tree[path].kind == "file"}
    if services:
        names = sorted(services)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"{package}: no service is started ({', '.join(names[:_SHOWN])}{more})"
    for path, entry in sorted(tree.items()):
        words = [word for bit, word in _SPECIAL.items() if entry.mode & bit and entry.kind == "file"]
        if words:
            yield f"{package}: /{path} is {' and '.join(words)} and has only its caller's rights here"


def _copies(script: str) -> Iterator[tuple[str, str]]:
    """Yield what ucf(1) copies: the source, and where it comes to lie."""
    for words in _commands(script.replace("\\\n", " ")):
        paths = [posixpath.normpath(word) for word in words[1:] if word.startswith(("/", "$", "`"))]
        if posixpath.basename(words[0]) == "ucf" and "--purge" not in words and len(paths) > 1:
            yield paths[-2], paths[-1]


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a script, each as its words, without those that are for an upgrade only."""
    depth = skipped = 0
    until = ""
    for line in text.split("\n"):
        if until:
            until = "" if line.strip() == until else until
            continue
        here = _HERE.search(line)
        until = here[1] if here else ""
        words = _words(_LABEL.sub("", line, count=1))
        if "if" in words[:1]:
            depth += 1
            skipped = skipped or (depth if any(word in line for word in _OLD) else 0)
        if not skipped and not any(word in line for word in _OLD):
            yield from _split(words)
        if "fi" in words:
            skipped = 0 if skipped == depth else skipped
            depth -= 1


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # it ends within quotes
        return []


def _split(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    redirected = False
    for word in [*words, ";"]:
        if _ENDS.fullmatch(word):
            if ">" in word or "<" in word:
                redirected = True  # the next word is a file
                continue
            if command:
                yield command
            command, redirected = [], False
        elif redirected:
            redirected = False
        elif command or not (word in _BEFORE or _ASSIGNMENT.fullmatch(word)):
            command.append(word)


@cache
def _table() -> dict[str, Any]:
    raw = tomllib.loads(resources.files(__package__).joinpath("scripts.toml").read_text("utf-8"))
    return {"plain": frozenset(" ".join(raw["plain"].values()).split()), "served": raw["served"], "lacks": raw["lacks"]}
