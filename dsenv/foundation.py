"""The contract of the foundation: the ecosystem that the others stand on, which has the machine's own packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dsenv.ecosystem import Ecosystem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from dsenv.ecosystem import Offer, Platform, Supplier
    from dsenv.ground import GroundCheck, HostPlan, MachineCheck
    from dsenv.pins import Need, Provided, Selection, Target, Vouched
    from dsenv.progress import Progress
    from dsenv.steps import Place
    from dsenv.store import Store


class Foundation(Ecosystem, Protocol):
    """The ecosystem that the others stand on: the operating system's packages."""

    def survey(
        self,
        spec: Any,
        platform: Platform,
        previous: Sequence[Any],
        statuses: Mapping[Target, bytes],
        store: Store,
        progress: Progress,
    ) -> Mapping[Target, Offer]:
        """Find out what each target's distribution has on offer today.

        ``statuses`` are dpkg's status files of bases that this machine cannot ask.
        """

    def offers(self, pins: Any) -> Mapping[Target, Offer]:
        """Return what the locked rows have on offer: enough for whoever needs nothing beyond them."""

    def answers(self, pins: Any, needs: Sequence[Need]) -> bool:
        """Say whether the rows answer exactly these needs, on every target."""

    def provided(self, pins: Any) -> Mapping[Target, Mapping[str, Provided]]:
        """Return the locked system packages as other ecosystems may see them."""

    def vouched(self, pins: Any, spec: Any, store: Store) -> Iterator[Vouched]:
        """Yield who vouches for each locked package, by signed files of the store, or fetched where that is allowed."""

    def check_root(
        self,
        pins: Any,
        spec: Any,
        platform: Platform,
        selection: Selection,
        place: Place,
        store: Store,
        progress: Progress,
    ) -> None:
        """Refuse, before packages' scripts run as root of this machine, those that no signed file lists."""

    def source_packages(self, pins: Any) -> Mapping[str, str]:
        """Return the source package of each package."""

    def misfit(self, pins: Any, target: Target) -> str:
        """Return why a project on this machine cannot run the locked system packages, or nothing when it can."""

    def check_ground(self, pins: Any, target: Target) -> GroundCheck:
        """Compare the base rows of the lock with what this machine has installed."""

    def seen(self, pins: Any, selection: Selection, names: Collection[str]) -> Any:
        """Return the pins with only those rows that a build may see which names some (``Build.sees``)."""

    def check_machine(self, pins: Any, target: Target, root: str = "") -> MachineCheck:
        """Compare all rows, and what they brought, with this machine, or with the root file system below ``root``."""

    def restore_host(
        self,
        pins: Any,
        spec: Any,
        target: Target,
        store: Store,
        progress: Progress,
        *,
        trust_lock: bool,
        agreed: Callable[[HostPlan], bool],
    ) -> HostPlan:
        """Install what this machine lacks of the rows; nothing is removed, nothing taken back.

        ``agreed`` is asked with the plan before anything is changed.
        """

    def workshop(self, pins: Any, selection: Selection) -> object:
        """Return what a workshop depends on: the rows that it is made of, and how; ``None`` where there are no rows."""

    def bringing(self, pins: Any, target: Target, kind: str, name: str) -> str:
        """Return the package to add for what a build looked for in vain, or nothing when none is known.

        ``kind`` is ``header``, ``library``, ``program``, or ``package`` where the build itself names one.
        """

    def supplier(self, pins: Any, target: Target, soname: str, store: Store) -> Supplier:
        """Return where a shared library comes from: from a locked package, or from one that would have to be."""
