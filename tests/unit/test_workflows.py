"""Workflows of the code host: pinned actions, and minimal permissions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.serving import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
EACH = pytest.mark.parametrize("path", WORKFLOWS, ids=[path.name for path in WORKFLOWS])


def read(path: Path) -> dict[Any, Any]:
    """Return a workflow; a YAML 1.1 parser reads its key ``on`` as ``True``."""
    workflow: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return workflow


@EACH
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    """A new owner of an action can move a tag; the version is in a comment for readers."""
    uses = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    foreign = [(action, rest) for action, rest in uses if not action.startswith("./")]
    assert foreign
    for action, rest in foreign:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", rest), action


def test_each_action_has_same_commit_everywhere() -> None:
    """One commit for each."""
    found: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for name, commit in re.findall(r"uses: ([\w-]+/[\w-]+)@(\w+)", path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in found.items() if len(commits) > 1} == {}


@EACH
def test_workflow_has_read_permission_by_default(path: Path) -> None:
    """No token is left in the checkout."""
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


@EACH
def test_workflow_scripts_do_not_contain_expressions(path: Path) -> None:
    """The name of a branch or a title must not become a command: values are passed by environment
    variables.
    """
    for job in read(path)["jobs"].values():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "")


def test_only_release_workflow_signs_and_publishes() -> None:
    """With the identity that docs/install.md verifies, on tags, after the tests."""
    release = read(ROOT / ".github" / "workflows" / "release.yaml")
    assert release[True] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["release"]["needs"] == "test"
    assert set(release["jobs"]["release"]["permissions"]) == {
        "contents",
        "packages",
        "id-token",
        "attestations",
    }
    identity = "/.github/workflows/release.yaml@refs/tags/v"
    assert (ROOT / "docs" / "install.md").read_text(encoding="utf-8").count(identity) == 2
    assert "permissions" not in read(ROOT / ".github" / "workflows" / "ci.yaml")["jobs"]["test"]


@pytest.mark.parametrize("architecture", ["linux/amd64", "linux/arm64"])
def test_image_is_built_for_both_architectures_with_sbom(architecture: str) -> None:
    """As the chart says on Artifact Hub."""
    (build,) = [
        step
        for step in read(ROOT / ".github" / "workflows" / "release.yaml")["jobs"]["release"]["steps"]
        if step.get("uses", "").startswith("docker/build-push-action@")
    ]
    assert architecture in build["with"]["platforms"].split(",")
    assert (build["with"]["provenance"], build["with"]["sbom"]) == ("mode=max", True)


def test_suite_runs_on_the_oldest_python_and_on_that_of_the_image() -> None:
    """Faults A2 and A4: from nothing, and with the interpreter of the matrix, regardless of the runner's
    others.
    """
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    oldest = re.search(r'^requires-python = ">=(\d+\.\d+)"$', project, re.MULTILINE)
    shipped = re.search(r"^ARG PYTHON_IMAGE=\S+/python:(\d+\.\d+)", image, re.MULTILINE)
    assert oldest is not None
    assert shipped is not None
    job = read(ROOT / ".github" / "workflows" / "ci.yaml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == [oldest[1], shipped[1]]
    assert job["env"] == {"PYTHON": "python"}
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs[-2:] == ["make lint", "make test"]
