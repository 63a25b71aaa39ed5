"""What apt has answered, kept on the disk: the same question in the same state has no other answer.

A question holds all that its answer depends on, and nothing of the machine or of the clock is added here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dsenv import tree as trees
from dsenv.pins import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T", str, dict[str, str])
_STATE: Final = "state"
_MOST: Final = 200  # answers; a lock asks for five, of half a megabyte together


class Memory:
    """Answers by their questions; whoever uses them keeps other processes out meanwhile.

    Args:
        directory: Made when something is kept; losing it costs time only.

    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def hold(self, state: str) -> None:
        """Forget what was answered in another state than this one, as nobody will ask for it again, or of too much."""
        path = self._directory / _STATE
        if not path.exists() or path.read_text("utf-8") != state or len([*self._directory.iterdir()]) > _MOST:
            trees.remove(self._directory)
            self._directory.mkdir()
            path.write_text(state, "utf-8")

    def get(self, question: Any, ask: Callable[[], T]) -> T:
        """Return the answer to a question, a JSON value; ``ask`` finds it, and is called once."""
        path = self._directory / f"{digest(question)}.json"
        try:
            answer: T = json.loads(path.read_bytes())
        except FileNotFoundError:
            answer = ask()
            self._directory.mkdir(exist_ok=True)
            trees.replace_file(path, json.dumps(answer, ensure_ascii=False).encode())
        return answer
