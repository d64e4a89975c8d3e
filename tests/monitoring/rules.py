"""The alerts as the chart renders them, without a chart renderer."""

from __future__ import annotations

from typing import Any

import yaml

from tests.serving import ROOT

FILES = ROOT / "charts" / "swr-trust-webhook" / "files"

WORDS = {
    "__WEBHOOKS__": "(pods|workloads)[.]swr-trust-webhook[.]swr-trust[.]svc",
    "__JOB__": "swr-trust-webhook",
    "__NAMESPACE__": "swr-trust",
}


def render_alerts() -> str:
    """Return the rule file of a release ``swr-trust-webhook`` in namespace ``swr-trust``."""
    text = (FILES / "alerts.yaml").read_text(encoding="utf-8")
    for word, value in WORDS.items():
        text = text.replace(word, value)
    return text


def read_alerts() -> list[dict[str, Any]]:
    """Return the rules."""
    return [rule for group in yaml.safe_load(render_alerts())["groups"] for rule in group["rules"]]
