"""``dsenv verify``."""

from __future__ import annotations

from collections import Counter
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
    from dsenv.project import Project
    from dsenv.spec import Spec
    from dsenv.store import Store

_ALONE = "Run them one after the other."
_NAMED = 5  # packages of which one reason is told
_SHOWN = 50  # differences that text names; JSON has all


@make("verify", short_help="Prove, file by file, that the environment is what the lock says.")
@click.option("--image", is_flag=True, help="Prove it of the project's image instead.")
@click.option("--trust", is_flag=True, help="Prove instead that signed files vouch for each system package.")
@click.option("--system", is_flag=True, help="Compare this machine's packages, files and settings with the lock.")
@click.option("--root", default="", metavar="DIR", help="With --system: those of the root file system in DIR.")
@group_options
@target_option
@click.option("--strict", is_flag=True, help="Fail, too, where this machine has something else than what is locked.")
def command(
    session: Session,
    *,
    image: bool,
    trust: bool,
    system: bool,
    root: str,
    groups: Groups,
    target: str | None,
    strict: bool,
) -> Report:
    """Compare every file with the locked artifact that it comes from."""
    if root and not system:
        raise WrongUseError("--root is the place of another system", hint="Add --system, or leave it out.")
    if system:
        if image or trust:
            raise WrongUseError("--system is about a machine, not about an image or who signed what", hint=_ALONE)
        require_image(groups, target)
        return _system(session, root, strict=strict)
    from dsenv.operations.selection import image_target  # noqa: PLC0415
    from dsenv.operations.verify import verify, verify_image  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    if image and strict:
        raise WrongUseError("an image stands on nothing of this machine", hint="Leave --strict or --image out.")
    if trust:
        if image or groups or target or strict:
            raise WrongUseError("--trust is about the whole lock: it goes with no other option")
        return _trust(session.store(spec), project, spec)
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


def _trust(store: Store, project: Project, spec: Spec) -> Report:
    """Return who vouches for the locked system packages."""
    from dsenv.operations.trust import trust  # noqa: PLC0415

    rows = trust(project, spec, store)
    bad = [row for row in rows if row.state == "unvouched" or row.file == "damaged"]
    lines = []
    counted = Counter((row.target, row.by, row.key, row.reason) for row in rows if row.state != "unvouched")
    for (target, by, key, note), count in counted.items():
        lines.append(f"{target}: {count:,} packages by {by}, signed by {key}" + (f": {note}" if note else ""))
    if absent := sum(row.file == "absent" for row in rows):
        lines.append(f"{absent:,} of their files are not in the store, and were not compared")
    alike: dict[tuple[str, str], list[str]] = {}
    for row in bad:
        reason = row.reason if row.state == "unvouched" else "its file in the store is damaged"
        alike.setdefault((row.target, reason), []).append(f"{row.name} {row.version}")
    for (target, reason), names in alike.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"  {target}: {', '.join(names[:_NAMED])}{more}: {reason}")
    lines.append(f"{len(rows):,} system packages, {len(bad)} that no signed file vouches for")
    return Report(
        lines=lines,
        code=Exit.DRIFT if bad else Exit.DONE,
        data={"rows": [asdict(row) for row in rows], "unvouched": [f"{row.target}: {row.name}" for row in bad]},
    )


def _system(session: Session, root: str, *, strict: bool) -> Report:
    from dsenv.operations.verify_system import differs, verify_system  # noqa: PLC0415

    project = session.project()
    found = verify_system(project, session.spec(project), root)
    rows = found.packages.by_word()
    lines = [f"{root or 'this machine'}: {found.packages}"]
    lines.extend(f"  {word}: {row}" for word in ("newer", "older", "replaced", "missing") for row in rows[word])
    lines.extend(f"  since it was installed: {item}" for item in found.changed)
    lines.extend(f"  configured here: {item}" for item in found.configuration)
    lines.extend(f"  {item}" for item in found.alternatives)
    lines.extend(f"  {item}: `dsenv run` sets the locked one" for item in found.settings)
    return Report(lines=lines, data=asdict(found), code=Exit.DRIFT if differs(found, strict=strict) else Exit.DONE)


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
