"""Running Pods, as far as an audit needs them, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from webhook.admission.extraction import ImageUse


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """What a person would change to change a Pod: its Deployment, say; or the Pod itself.

    Two of one kind and name are one; ``api_version`` and ``uid`` are empty where nobody said them.
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
    """One Pod. ``digests`` is what the node says it runs (``sha256:...``), by place of the use.

    ``is_static`` marks the mirror of a static Pod, which no admission can keep from running.
    """

    namespace: str
    name: str
    workload: Workload
    uses: tuple[ImageUse, ...]
    digests: Mapping[tuple[str, str], str] = field(default_factory=dict)
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class PodPage:
    """Some Pods. ``remaining`` is how many follow, ``None`` where the API server does not say.

    ``gaps`` are sentences about Pods that could not be read: with one of them the audit is
    partial. ``notes`` are remarks that leave it whole.
    """

    pods: tuple[RunningPod, ...] = ()
    remaining: int | None = None
    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PodSource(Protocol):
    """Where Pods come from; ``webhook.cluster.pods.PodReader`` is one."""

    def pages(self) -> Iterator[PodPage]:
        """Yield all Pods in pages. Does not raise for what the API server does: that is a gap."""
        ...  # pragma: no cover
