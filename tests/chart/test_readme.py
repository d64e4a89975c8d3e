"""The names in the README match those of the chart."""

from __future__ import annotations

import re

import pytest

from tests.chart.installation import PINNING
from tests.chart.rendering import NAME, NAMESPACE, render
from tests.support.serving import ROOT


@pytest.mark.parametrize("document", ["README.md", "README.zh-CN.md"])
def test_webhook_name_in_readme_matches_chart(document: str) -> None:
    """Fault E12: for the release and the namespace of the README's own ``helm install``."""
    text = (ROOT / document).read_text(encoding="utf-8")
    assert f"helm install {NAME} charts/swr-trust-webhook -n {NAMESPACE} " in text
    shown = re.findall(r'admission webhook "([^"]+)" denied the request', text)
    assert shown == [render().webhooks["pods"]["name"]]


@pytest.mark.parametrize(
    "document", ["README.md", "README.zh-CN.md", "docs/runbook.md", "docs/runbook.zh-CN.md"]
)
def test_webhook_configuration_in_delete_commands_matches_chart(document: str) -> None:
    """Fault E12: the command that disables the webhook must name an existing object."""
    text = (ROOT / document).read_text(encoding="utf-8")
    shown = re.findall(r"kubectl delete ([a-z,]*webhookconfiguration)\s+([a-z0-9-]+)", text)
    kinds = {kind for listed, _ in shown for kind in listed.split(",")}
    assert kinds == {"validatingwebhookconfiguration", "mutatingwebhookconfiguration"}
    objects = render(PINNING)
    kinds_of_chart = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    assert {name for _, name in shown} == {objects.one(kind)["metadata"]["name"] for kind in kinds_of_chart}
