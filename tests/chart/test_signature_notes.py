"""The notes of the chart show what makes an image trusted, and warn if no image can be."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from tests.chart.conftest import Prepare
from tests.chart.rendering import NAME, merged
from tests.chart.signing import ENTERPRISE_HOST, PUBLIC_KEYS, enterprise, signed, values_of, with_keys

NAMESPACES = (f"noted-{number}" for number in itertools.count())
"""One for each test: an API server without controllers never removes a namespace."""


def warnings_in(said: str) -> list[str]:
    """Return the warnings of the notes about signatures and evidence."""
    lines = said.partition("\nWarnings\n")[2].splitlines()
    words = ("trusted", "The key", "The signatures", "signatures.keys")
    return [line.removeprefix("  - ") for line in lines if any(word in line for word in words)]


BY_MARK = (
    "It is possible that no image of this account is trusted: every registry has evidence tagDetail, and SWR does not "
    "document what marks an image as trusted. If the survey finds none, every Pod with an image of SWR is denied. "
    "Then set presets.stage=audit, or sign the images and set evidence: signature."
)
BASIC = {"region": "cn-north-4"}
RULE = {"name": "a", "images": ["**"], "mode": "enforce"}


@pytest.mark.parametrize(
    ("changes", "is_warned"),
    [
        ({"policy": {"registries": [BASIC]}}, True),
        ({"policy": {"registries": [BASIC]}, "presets": {"stage": "audit"}}, False),
        ({"policy": {"registries": [BASIC], "rules": [RULE]}, "presets": {"stage": "warn"}}, True),
        ({"policy": {"registries": [BASIC], "rules": [RULE]}, "presets": {"override": "audit"}}, False),
        ({"policy": {"registries": [signed("release", evidence="tagDetail")]}}, True),
        ({"policy": {"registries": [BASIC, enterprise("release")]}}, False),
        ({"policy": {"registries": [signed("release", evidence="both")]}}, False),
    ],
    ids=["enforce", "audit", "a rule enforces", "override", "keys for the survey", "one signature", "both"],
)
def test_notes_warn_if_no_image_may_be_trusted(
    prepare: Prepare, changes: dict[str, Any], is_warned: bool
) -> None:
    """No document says what sets the mark of SWR: if nothing does, enforcement denies every image."""
    values = merged(values_of(signed("release")), changes)
    said = prepare(next(NAMESPACES), values).dry_run({})
    assert (BY_MARK in warnings_in(said)) is is_warned


SURVEY = """
Survey the running images before you enforce: how many SWR marks as trusted, how many are signed, and by which keys
{0}  kubectl -n {1} exec deployment/{2}-audit -- swr-trust survey --config /etc/swr-trust/policy/policy.yaml \\
    --exclude-namespace=kube-node-lease \\
    --exclude-namespace=kube-public \\
    --exclude-namespace=kube-system \\
    --exclude-namespace={1}

In an emergency"""
FIRST = (
    "  (set audit.enabled=true first: its Pod may list the Pods of all namespaces, which the survey needs)\n"
)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"presets": {"stage": "audit"}}, FIRST),
        ({"presets": {"stage": "audit"}, "audit": {"enabled": True}}, ""),
        ({"policy": {"registries": [BASIC]}}, FIRST),
        ({}, None),
    ],
    ids=["before it is enforced", "the audit is there", "enforced by the mark", "enforced by signatures"],
)
def test_notes_show_how_to_survey(prepare: Prepare, changes: dict[str, Any], first: str | None) -> None:
    """In the Pod of the audit, whose ServiceAccount may list Pods."""
    installation = prepare(next(NAMESPACES), merged(values_of(signed("release")), changes))
    said = installation.dry_run({})
    if first is None:
        assert "swr-trust survey" not in said
    else:
        assert SURVEY.format(first, installation.namespace, NAME) in said


def day(offset: int) -> str:
    """Return a date in UTC, some days from now."""
    return (dt.datetime.now(dt.UTC) + dt.timedelta(days=offset)).strftime("%Y-%m-%d")


LAPSED = (
    "The key old of cn-north-4 no longer counts: its notAfter is {}. Images that only this key signed are denied. Sign "
    "them with another key, or remove this one."
)
LAPSES = "The key old of cn-north-4 does not count after {} (notAfter). Before that, sign its images with another key."


@pytest.mark.parametrize(
    ("not_after", "warning"),
    [
        (day(-1), LAPSED),
        ("2026-01-01T00:00:00+08:00", LAPSED),
        (day(0), LAPSES),
        (day(13), LAPSES),
        (f"{day(13)}T12:00:00+08:00", LAPSES),
        (day(15), ""),
        ("2199-12-31T00:00:00Z", ""),
    ],
)
def test_notes_warn_of_keys_that_lapse(prepare: Prepare, not_after: str, warning: str) -> None:
    """A date counts until its end; warned of 14 days ahead."""
    registry = with_keys({"name": "old", "notAfter": not_after}, {"name": "release"})
    values = merged(values_of(registry), {"credentials": {"kind": "aksk"}, "checkSecrets": False})
    said = prepare(next(NAMESPACES), values).dry_run({})
    assert warnings_in(said) == ([warning.format(not_after)] if warning else [])


def test_notes_warn_of_registry_without_enough_keys_and_login(prepare: Prepare) -> None:
    """They also name keys that no registry uses, and list what makes an image trusted."""
    registry = with_keys({"name": "old", "notAfter": day(-1)}, {"name": "release"}, threshold=2)
    values = values_of(
        registry, enterprise("release"), {"region": "cn-north-1", "organizations": ["shop", "base"]}
    )
    values["signatures"]["keys"]["spare"] = PUBLIC_KEYS[2]
    said = prepare(next(NAMESPACES), values).dry_run({})
    assert warnings_in(said) == [
        "The signatures of cn-north-4 are read without a login: set registryLogin.existingSecret, unless all its "
        "repositories are public.",
        LAPSED.format(day(-1)),
        "No image of cn-north-4 can be trusted: 1 of its keys count, and signatures.threshold is 2.",
        f"The signatures of {ENTERPRISE_HOST} are read without a login: set registryLogin.existingSecret, unless all "
        "its repositories are public.",
        "signatures.keys.spare is not used: name it in policy.registries[].signatures.keys, or remove it.",
    ]
    assert (
        f"\n  registries       cn-north-4, {ENTERPRISE_HOST}, cn-north-1 (shop, base)\n"
        "  evidence         cn-north-4: signature (by 2 of the keys old, release)\n"
        f"  evidence         {ENTERPRISE_HOST}: signature (by 1 of the keys release)\n"
        "  evidence         cn-north-1 (shop, base): tagDetail\n"
    ) in said
