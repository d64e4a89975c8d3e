"""The first parse of the policy in another process has the same outcome as in this one."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from tests.support.signing_keys import EXAMPLE_FOLDER, write_keys
from tests.unit.policy.test_loading import EXAMPLE, MINIMAL
from webhook.app import policy_child
from webhook.app.policy_child import PolicyChild, parse_here
from webhook.errors import ConfigError
from webhook.images.reference import parse_reference
from webhook.policy.model import Policy

RULES = (
    MINIMAL
    + """\
rules:
  - {name: sandbox, images: ["**"], namespaces: [sandbox-*], mode: audit}
exemptions:
  - {name: base, images: ["docker.io/library/**"], reason: reviewed, expires: 2030-01-01}
"""
)


# The child never switches to what other tests have left running, so that cannot disturb it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let this process seem to have no threads, and return the processes that it starts."""
    children: list[int] = []
    fork = policy_child._fork

    def record() -> int:
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(policy_child, "_fork", record)
    return children


@pytest.fixture
def only_child(forks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test whose policy was not parsed by the child."""
    parent = os.getpid()

    def parse_in_child(data: bytes) -> Policy:
        assert os.getpid() != parent
        return parse_here(data)

    monkeypatch.setattr(policy_child, "parse_here", parse_in_child)


def parse(path: Path, text: str, *, again: str | None = None) -> Policy:
    """Parse a file in a child; ``again`` is its content when the parent reads it."""
    path.write_text(text, encoding="utf-8")
    return PolicyChild(str(path)).parse((text if again is None else again).encode())


@pytest.mark.parametrize("text", [MINIMAL, RULES, EXAMPLE.read_text(encoding="utf-8")])
def test_policy_of_child_is_equal(text: str, tmp_path: Path, only_child: None) -> None:
    """In all its values, with its version and the contents of its signing keys."""
    write_keys(tmp_path / "keys", "release-2026", "release-2025", "kms")
    text = text.replace(EXAMPLE_FOLDER, str(tmp_path / "keys"))
    assert parse(tmp_path / "policy.yaml", text) == parse_here(text.encode())


def test_problems_of_key_files_are_those_of_child(tmp_path: Path, only_child: None) -> None:
    """Also that they may be solved without a change of the policy file."""
    with pytest.raises(ConfigError) as caught:
        parse(tmp_path / "policy.yaml", EXAMPLE.read_text(encoding="utf-8"))
    assert caught.value.depends_on_files
    assert {problem.path for problem in caught.value.problems} == {
        f"registries[{index}].signatures.keys[{position}].file"
        for index, position in ((0, 0), (0, 1), (2, 0))
    }


def test_policy_of_child_matches_images(tmp_path: Path, only_child: None) -> None:
    """Its indexes are built in this process."""
    policy = parse(tmp_path / "policy.yaml", RULES)
    image = parse_reference("nginx:1.27")
    rule = policy.rule_for("sandbox-1", image)
    exemption = policy.exemption_for("shop", image, 0.0)
    assert (rule and rule.name, exemption and exemption.name) == ("sandbox", "base")
    assert policy.rule_for("shop", image) is None


@pytest.mark.parametrize(
    "text", ["", "mode: [", f"{MINIMAL}mood: warn\nmode: inform\nrules: [{{name: 1}}]\n"]
)
def test_problems_of_child_are_the_same(text: str, tmp_path: Path, only_child: None) -> None:
    """All of them, with their paths."""
    with pytest.raises(ConfigError) as here:
        parse_here(text.encode())
    with pytest.raises(ConfigError) as caught:
        parse(tmp_path / "policy.yaml", text)
    assert caught.value.problems == here.value.problems
    assert str(caught.value) == str(here.value)


def test_file_that_changes_meanwhile_is_parsed_as_it_was_read(tmp_path: Path, forks: list[int]) -> None:
    """The policy in force is that of the content whose version is reported."""
    changed = f"{MINIMAL}mode: warn\n"
    assert parse(tmp_path / "policy.yaml", MINIMAL, again=changed) == parse_here(changed.encode())


def test_policy_is_parsed_here_without_child(
    tmp_path: Path, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory or no process for a child must not stop the start."""

    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(policy_child, "_fork", refuse)
    assert parse(tmp_path / "policy.yaml", MINIMAL) == parse_here(MINIMAL.encode())


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, RuntimeError])
def test_policy_is_parsed_here_if_child_fails(
    error: type[BaseException],
    tmp_path: Path,
    forks: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The child ends silently, and this process finds the same problem, if there is one."""
    parent = os.getpid()

    def parse_in_parent(data: bytes) -> Policy:
        if os.getpid() != parent:
            raise error
        return parse_here(data)

    monkeypatch.setattr(policy_child, "parse_here", parse_in_parent)
    assert parse(tmp_path / "policy.yaml", MINIMAL) == parse_here(MINIMAL.encode())
    assert capfd.readouterr() == ("", "")
    assert len(forks) == 1


def test_process_with_threads_has_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child could wait for a lock that a thread held, and the start would wait for the child."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    monkeypatch.setattr(policy_child, "_fork", lambda: pytest.fail("this process was forked"))
    try:
        assert parse(tmp_path / "policy.yaml", MINIMAL) == parse_here(MINIMAL.encode())
    finally:
        end.set()
        thread.join()


def test_child_that_kernel_has_reaped_is_not_an_error(
    tmp_path: Path, forks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so if the process was started with SIGCHLD ignored; this process then parses the file."""
    wait = os.waitpid

    def find_none(child: int, options: int) -> tuple[int, int]:
        wait(child, options)
        raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))

    monkeypatch.setattr(os, "waitpid", find_none)
    assert parse(tmp_path / "policy.yaml", RULES) == parse_here(RULES.encode())
    assert forks
