"""``dsenv docker``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsenv.cli.report import Report
from dsenv.cli.session import command as make
from dsenv.cli.session import group_options
from dsenv.errors import WrongUseError
from dsenv.pins import TARGETS

if TYPE_CHECKING:
    from dsenv.cli.session import Session
    from dsenv.pins import Groups


target_option = click.option(
    "--target",
    type=click.Choice([name for name in TARGETS if name.startswith("linux")]),
    help="An image for this kind of machine.  [default: as this one]",
)


def require_image(groups: Groups, target: str | None) -> None:
    """Refuse the options that choose an image where none is asked for."""
    if groups or target:
        raise WrongUseError(
            "--group and its like, and --target, choose an image", hint="Add --image, or leave them out."
        )


@make("docker", short_help="Write the Dockerfile and build the image.")
@click.option("--no-build", is_flag=True, help="Only write the Dockerfile and its context.")
@click.option(
    "--plain",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Write a Dockerfile into it that downloads and builds all by itself; nothing is built here.",
)
@group_options
@target_option
@click.option("--frozen", is_flag=True, help="Write nothing into the lock.")
@click.option("--trust-lock", is_flag=True, help="As root: take packages that no signed file lists.")
def command(
    session: Session,
    *,
    no_build: bool,
    plain: Path | None,
    groups: Groups,
    target: str | None,
    frozen: bool,
    trust_lock: bool,
) -> Report:
    """Write the Dockerfile with all that it needs, and build it with the network off."""
    from dsenv.operations.docker import docker  # noqa: PLC0415
    from dsenv.operations.selection import image_target  # noqa: PLC0415

    project = session.project()
    spec = session.spec(project)
    result = docker(
        project,
        spec,
        session.store(spec),
        session.terminal,
        image_target(target),
        groups=groups,
        build=not no_build,
        frozen=frozen,
        plain=plain,
        trust_lock=trust_lock,
    )
    lines = [f"environment {result.environment_id}", f"wrote {result.context}/Dockerfile"]
    if result.learned:
        lines.append("wrote dsenv.lock: it now holds the digest of the system layer")
    if plain:
        lines.append(f"build it anywhere: docker build --tag {result.tag} {result.context}")
    if result.image_id:
        lines.append(f"built {result.tag} ({result.image_id})")
    return Report(
        lines=lines,
        data={
            "context": str(result.context),
            "tag": result.tag,
            "environment": result.environment_id,
            "image": result.image_id,
        },
    )
