"""A value that is null gets its default, and the chart works as a conditional dependency."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.generating import OPEN, build_defaults, build_regions
from tests.chart.rendering import CHART, NAME, VALUES, HelmError, Objects, find_helm, find_helms, template

VALUES_TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")

NEEDED = {
    "policy": "policy.registries",
    "policy.registries": "policy.registries",
    "credentials": "credentials.existingSecret",
    "credentials.existingSecret": "credentials.existingSecret",
}
"""Values without a usable default, and the instruction in the error."""


def paths(values: dict[str, Any], parents: str = "") -> Iterator[str]:
    """Yield the path of every key, sections included."""
    for key, value in values.items():
        path = f"{parents}{key}"
        yield path
        if isinstance(value, dict) and path not in OPEN:
            yield from paths(value, f"{path}.")


def put(path: str, value: Any) -> dict[str, Any]:
    """Return the minimum of values with one replaced."""
    result: dict[str, Any] = json.loads(json.dumps(VALUES))
    *parents, last = path.split(".")
    section = result
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return result


KEYS = sorted(paths(yaml.safe_load(VALUES_TEXT)))


def _write_parent(parent: Path, dependencies: list[dict[str, Any]]) -> Path:
    shutil.copytree(CHART, parent / "charts" / NAME)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    entry = {"name": NAME, "version": chart["version"]}
    document = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "1.0.0",
        "dependencies": [{**entry, **dependency} for dependency in dependencies],
    }
    (parent / "Chart.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return parent


def _render(helm: Path, chart: Path, values: dict[str, Any]) -> str:
    command = [str(helm), "template", "parent", str(chart), "--namespace=swr-trust", "--values=-"]
    done = subprocess.run(
        command, input=json.dumps(values), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


def _by_alias(manifests: str) -> dict[str, str]:
    """Return the rendered objects of each dependency, without its alias."""
    result: dict[str, str] = {}
    for document in f"\n{manifests}".split("\n---\n")[1:]:
        alias = document.partition("# Source: parent/charts/")[2].partition("/")[0]
        result[alias] = result.get(alias, "") + document.replace(alias, "ALIAS").rstrip() + "\n"
    return result


def test_generated_defaults_and_regions_are_current() -> None:
    """``python -m tests.chart.generating`` writes them."""
    files = CHART / "files"
    assert (files / "defaults.json").read_text(encoding="utf-8") == build_defaults(VALUES_TEXT)
    assert (files / "regions.json").read_text(encoding="utf-8") == build_regions()


def test_null_value_uses_default(tmp_path: Path) -> None:
    """Fault E9: a null is never a nil pointer, and changes nothing.

    The parent has a dependency for each key, in which that key is null, and one without a null. One run of
    Helm renders them all, which takes seconds instead of minutes.
    """
    keys = [key for key in KEYS if key not in NEEDED and key not in OPEN]
    aliases = [f"null-{number:03}" for number in range(len(keys))]
    values = {alias: put(key, None) for alias, key in zip(aliases, keys, strict=True)}
    values["plain-000"] = dict(VALUES)
    parent = _write_parent(tmp_path, [{"alias": alias} for alias in values])
    rendered = _by_alias(_render(find_helm(), parent, values))
    assert "ValidatingWebhookConfiguration" in rendered["plain-000"]
    differing = [
        key for alias, key in zip(aliases, keys, strict=True) if rendered[alias] != rendered["plain-000"]
    ]
    assert differing == []


@pytest.mark.parametrize("key", NEEDED)
def test_required_null_value_is_rejected_with_instruction(key: str) -> None:
    """Fault E9: without a usable default, a sentence says what to set."""
    with pytest.raises(HelmError) as caught:
        template(put(key, None))
    assert f"\nset {NEEDED[key]} to " in str(caught.value)


@pytest.mark.parametrize("key", OPEN)
def test_null_empties_passed_through_mapping(key: str) -> None:
    """Fault E9: a null is the way to remove a default there."""
    values = put(key, None)
    values["audit"] = {**values.get("audit", {}), "enabled": True}
    values["dashboard"] = {**values.get("dashboard", {}), "enabled": True}
    assert "grafana_dashboard" in template({**VALUES, "dashboard": {"enabled": True}})
    text = template(values)
    removed = {
        "resources": "memory: 512Mi",
        "audit.resources": "memory: 384Mi",
        "webhook.annotations": 'sync-wave: "1"',
        "dashboard.labels": 'grafana_dashboard: "1"',
    }
    assert removed[key] not in text


def test_null_removes_key_of_passed_through_mapping() -> None:
    """Fault E9: the limit is gone, the reservation stays."""
    pod = Objects(template(put("resources", {"limits": {"memory": None}}))).container
    assert pod["resources"] == {"limits": {}, "requests": {"cpu": "100m", "memory": "192Mi"}}


@pytest.mark.parametrize(("enabled", "kinds"), [(True, True), (False, False)])
def test_parent_condition_enables_chart(tmp_path: Path, enabled: bool, kinds: bool) -> None:
    """Fault E9: ``condition: swr-trust-webhook.enabled``, with global values and tags."""
    parent = _write_parent(tmp_path, [{"condition": f"{NAME}.enabled"}])
    values = {NAME: {**VALUES, "enabled": enabled}, "global": {"site": "a"}, "tags": {"security": True}}
    for helm in find_helms():
        assert ("ValidatingWebhookConfiguration" in _render(helm, parent, values)) is kinds


def test_parent_tags_disable_chart(tmp_path: Path) -> None:
    """Fault E9: this is the other way to make a dependency conditional."""
    parent = _write_parent(tmp_path, [{"tags": ["security"]}])
    assert _render(find_helm(), parent, {NAME: VALUES, "tags": {"security": False}}).strip() == ""


def test_enabled_false_without_parent_is_rejected() -> None:
    """Fault E9: it would not disable anything."""
    with pytest.raises(HelmError) as caught:
        template({**VALUES, "enabled": False})
    expected = (
        "enabled: false has no effect here. It is used by a parent chart whose dependency on this chart has "
        "condition: NAME.enabled"
    )
    assert expected in str(caught.value)
