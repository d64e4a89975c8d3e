"""Builders of running Pods for tests of the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.support.builders import HOST, NOW, FakeAnswers, policy
from webhook.admission.extraction import ImageUse
from webhook.audit.pods import PodPage, RunningPod, Workload
from webhook.audit.report import AuditReport
from webhook.audit.scanning import Audit
from webhook.policy.model import Policy
from webhook.trust.records import TrustStatus

FACTS = {
    "shop/web:1": TrustStatus.TRUSTED,
    "shop/api:1": TrustStatus.UNTRUSTED,
}


def running(
    image: str | Sequence[str] = "shop/web:1",
    name: str = "web-1",
    namespace: str = "shop",
    workload: str = "Deployment/web",
    digest: str = "",
    **rest: Any,
) -> RunningPod:
    """Return a Pod; an image without a dot is below SWR's host."""
    images = [image] if isinstance(image, str) else image
    uses = tuple(
        ImageUse(
            f"spec.containers[{index}].image",
            ("containers", f"c{index}"),
            text if "." in text else f"{HOST}/{text}",
        )
        for index, text in enumerate(images)
    )
    kind, _, owner = workload.partition("/")
    digests = {("containers", "c0"): digest} if digest else {}
    return RunningPod(namespace, name, Workload(kind, owner), uses, digests, **rest)


class Pages:
    """Implements ``PodSource`` from a list of pages; a function in it is called instead."""

    def __init__(self, *pages: PodPage | Callable[[], Any]) -> None:
        self._pages = pages

    def pages(self) -> Iterator[PodPage]:
        for page in self._pages:
            if isinstance(page, PodPage):
                yield page
            else:
                page()


def audit(
    *pods: RunningPod | PodPage | Callable[[], Any],
    facts: Mapping[str, Any] = FACTS,
    current: Policy | None = None,
    excluded: Sequence[str] = (),
) -> AuditReport:
    """Audit some Pods, each on a page of its own."""
    pages = [PodPage((pod,)) if isinstance(pod, RunningPod) else pod for pod in pods]
    judge = Audit(
        current if current is not None else policy(),
        FakeAnswers(facts),
        excluded,
        clock=lambda: NOW,
        sleep=lambda _seconds: None,
    )
    return judge.run(Pages(*pages))
