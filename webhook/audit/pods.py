"""The parts of running Pods that an audit needs, and the interface of their source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from webhook.admission.extraction import ImageUse


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """The object to edit to change a Pod, such as its Deployment or the Pod itself.

    Workloads of the same kind and name are equal. ``api_version`` and ``uid`` are empty if they are unknown.
    """

    kind: str
    name: str
    api_version: str = field(default="", compare=False)
    uid: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return ``Kind/name``."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class RunningPod:
    """One Pod. ``digests`` are those that the node reports as running (``sha256:...``), by place of the use.

    ``is_static`` marks the mirror of a static Pod, which runs without admission.
    """

    namespace: str
    name: str
    workload: Workload
    uses: tuple[ImageUse, ...]
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class PodPage:
    """One page of Pods. ``remaining`` is the number that follow, ``None`` if it is unknown.

    ``gaps`` are sentences about Pods that could not be read; with one, the audit is partial. ``notes`` are
    remarks that do not make it partial.
    """

    pods: tuple[RunningPod, ...] = ()
    remaining: int | None = None
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PodSource(Protocol):
    """A source of Pods, such as ``webhook.cluster.pods.PodReader``."""

    def pages(self) -> Iterator[PodPage]:
        """Yield all Pods in pages. A failure of the API server is a gap, not an exception."""
        ...  # pragma: no cover
