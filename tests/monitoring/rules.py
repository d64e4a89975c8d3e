"""The alerts as the chart renders them, without a chart renderer."""

from __future__ import annotations

from typing import Any

import yaml

from tests.support.serving import ROOT

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


PLAIN = ROOT / "deploy" / "monitoring" / "alerts.yaml"
HEAD = """\
# Generated: `python -m tests.monitoring.rules`. The chart's alerts for a Prometheus without an operator, for
# namespace swr-trust and scrape job swr-trust-webhook, as deploy/base installs them. Each has a section in
# docs/runbook.md.
"""


def render_plain() -> str:
    """Return the rule file for ``rule_files`` of a Prometheus, with a heading of its own."""
    rules = render_alerts()
    return HEAD + rules[rules.index("groups:") :]


if __name__ == "__main__":
    PLAIN.parent.mkdir(parents=True, exist_ok=True)
    PLAIN.write_text(render_plain(), encoding="utf-8")
