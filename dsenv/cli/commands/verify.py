"""``dsenv verify``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dsenv.cli.commands.docker import require_image, target_option
from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.errors import Exit, WrongUseError

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.operations.verify import VerifyResult
    from dsenv.pins import Groups

_SHOWN = 50  # differences that text names; JSON has all


@make("verify", short_help="Prove, file by file, that the environment is what the lock says.")
@click.option("--image", is_flag=True, help="Prove it of the project's image instead.")
@group_options
@target_option
@click.option("--strict", is_flag=True, help="Fail, too, where this machine has something else than what is locked.")
def command(session: Session, *, image: bool, groups: Groups, target: str | None, strict: bool) -> Report:
    """Compare every file with the locked artifact that it comes from."""
    from dsenv.operations.selection import image_target  # noqa: PLC0415
    from dsenv.operations.verify import verify, verify_image  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    if image and strict:
        raise WrongUseError("an image stands on nothing of this machine", hint="Leave --strict or --image out.")
    if image:
        result = verify_image(project, spec, session.store(spec), session.terminal, image_target(target), groups=groups)
    else:
        require_image(groups, target)
        result = verify(project, spec, session.store(spec), session.terminal, strict=strict)
    return Report(
        lines=_lines(result),
        code=Exit.DRIFT if result.differences else Exit.DONE,
        data={
            "subject": result.subject,
            "compared": dict(result.compared),
            "total": result.total,
            "differences": [asdict(item) for item in result.differences],
            "exceptions": [{"path": path, "reason": reason} for path, reason in result.exceptions],
            "generated": [{"path": path, "reason": reason} for path, reason in result.generated],
            "settings": result.settings,
            "unlisted": result.unlisted,
            "bytecode": result.bytecode,
        },
    )


def _lines(result: VerifyResult) -> list[str]:
    bad = {item.path for item in result.differences if item.what != "unexpected"}
    equal = result.total - len(bad) - len(result.exceptions)
    lines = [result.subject]
    lines.extend(f"  {count:7,} files of {name}" for name, count in result.compared.items())
    if result.settings:
        lines.append(f"  {result.settings:7,} settings of the Dockerfile")
    lines.append(f"  {result.total:7,} compared with what is locked, {equal:,} equal")
    lines.extend(f"          exception: /{path}: {reason}" for path, reason in result.exceptions)
    if result.generated:
        how = "compared with how they were left" if result.vouched else "not compared"
        lines.append(f"  {len(result.generated):7,} written by installers, {how} (--json names them)")
    if result.bytecode:
        lines.append(f"  {result.bytecode:7,} of bytecode, not compared")
    if result.unlisted:
        lines.append(
            f"  {result.unlisted:7,} made by maintainer scripts in the image or the project's own, not compared"
        )
    lines.extend(
        f"  {item.what}: {item.path}" + (f" ({item.owner})" if item.owner else "")
        for item in result.differences[:_SHOWN]
    )
    if len(result.differences) > _SHOWN:
        lines.append(f"  and {len(result.differences) - _SHOWN} more")
    lines.append(f"{len(result.differences)} differences")
    return lines
