"""What R's packages, their versions and the system packages beside them may be called, as types of a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from dsenv.ecosystems.r.requests import NAME

RName = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
RVersionText = Annotated[str, StringConstraints(pattern=r"^[0-9]+([.-][0-9]+)*$")]
SystemName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
