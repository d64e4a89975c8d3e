"""``docs/metrics.md`` and its translation list exactly the registered metrics, with types and labels."""

from __future__ import annotations

import re
from enum import Enum

import pytest

from tests.monitoring.registered import families, labels_by_sample
from tests.support.serving import ROOT
from webhook.admission.decision import Effect
from webhook.admission.extraction import TargetKind
from webhook.admission.mutation import Outcome
from webhook.policy.findings import Finding, Mode
from webhook.signatures.check import SignatureResult
from webhook.telemetry.metrics import OPERATIONS
from webhook.telemetry.signature_metrics import KEY_STATES

TEXTS = {
    name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("metrics.md", "metrics.zh-CN.md")
}
BOTH = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \| (?P<labels>[^|]*) \|", re.MULTILINE)


def _in_code() -> dict[str, tuple[str, tuple[str, ...]]]:
    labels = labels_by_sample()
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            labels.get(family.name, ()),
        )
        for family in families()
    }


def _documented(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {
        row["name"]: (row["type"], tuple(re.findall(r"`(\w+)`", row["labels"]))) for row in ROW.finditer(text)
    }


@BOTH
def test_every_metric_is_documented_with_type_and_labels(text: str) -> None:
    """The labels are in the code's order."""
    assert _documented(text) == _in_code()


@BOTH
def test_metrics_are_documented_once(text: str) -> None:
    """Each metric has one row."""
    names = [row["name"] for row in ROW.finditer(text)]
    assert sorted(names) == sorted(set(names))


@BOTH
@pytest.mark.parametrize("values", [Finding, Mode, TargetKind, Outcome, SignatureResult])
def test_every_label_value_is_documented(text: str, values: type[Enum]) -> None:
    """The author of a query finds every value there."""
    assert [value.value for value in values if f"`{value.value}`" not in text] == []


@BOTH
def test_every_operation_effect_and_key_state_is_documented(text: str) -> None:
    """The same for values that are not strings in the code."""
    effects = [label for effect in Effect for label in (effect.decision_label, effect.image_label)]
    words = [*OPERATIONS, *effects, *KEY_STATES]
    assert [word for word in words if f"`{word}`" not in text] == []
