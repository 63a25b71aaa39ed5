"""Until when files count: ``as-of`` is the end of a day, ``min-age`` an instant that is kept until it is renewed.

Both are UTC and become one instant; what was uploaded at it or later does not exist for the resolution.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import field_validator

from dsenv.model import Model, Text

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class CoolDown(Model):
    """The instant that ``min-age`` meant when it was asked for last: an age alone means another one every day."""

    min_age: Text  # "7d"
    before: datetime

    @field_validator("before")
    @classmethod
    def _is_aware(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            msg = "an instant has a time zone"
            raise ValueError(msg)
        return value


def end_of(day: date) -> datetime:
    """Return the first instant after a day, UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def age(text: str) -> timedelta:
    """Read ``7d``, ``36h`` or ``2w``; raise ``ValueError`` for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text)
    if match is None:
        msg = "expected a number of hours, days or weeks, such as `36h`, `7d` or `2w`"
        raise ValueError(msg)
    return int(match[1]) * _UNITS[match[2]]


def cool_down(min_age: str, previous: Iterable[CoolDown | None], *, renewed: bool, now: datetime) -> CoolDown | None:
    """Return the instant that ``min-age`` means: the locked one, unless it is renewed or the age is another.

    Args:
        min_age: What is asked for, "" for nothing.
        previous: The locked ones; both sides' after a merge, of which the later instant counts.
        renewed: Whether newer packages are wanted.
        now: The time.

    """
    if not min_age:
        return None
    held = [one for one in previous if one and one.min_age == min_age]
    if held and not renewed:
        return max(held, key=lambda one: one.before)
    return CoolDown(min_age=min_age, before=now.replace(microsecond=0) - age(min_age))


def earliest(as_of: date | None, held: CoolDown | None) -> datetime | None:
    """Return the instant from which on nothing counts any more, if there is one."""
    instants = [end_of(as_of)] if as_of else []
    return min([*instants, *([held.before] if held else [])], default=None)


def rfc3339(instant: datetime) -> str:
    """Return an instant as uv and pip read it without regard to where the machine is: ``2026-11-21T00:00:00Z``."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
