"""Reloading of the policy in a running process: valid files take effect, invalid ones do not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fakes import FakeClock, RecorderSpy
from tests.support.signing_keys import ConfigMapVolume, public_pem
from tests.unit.policy.test_loading import MINIMAL
from webhook.errors import ConfigError, Problem
from webhook.policy.findings import Mode
from webhook.policy.loading import parse_policy
from webhook.policy.model import Policy
from webhook.policy.reloading import PolicyFile

SIGNED = """\
apiVersion: swr-trust/v1
kind: TrustPolicy
registries:
  - edition: enterprise
    hosts: [images.example.com]
    evidence: signature
    signatures: {keys: %s}
"""


class Watched:
    """A policy file on disk."""

    def __init__(self, folder: Path, text: str = MINIMAL) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(text, encoding="utf-8")
        self.notes, self.clock = RecorderSpy(), FakeClock(1_800_000_000.0)
        self.file = PolicyFile(
            str(self.path), self.notes, self.clock, pause=lambda seconds: None, parse=self.parse
        )

    def parse(self, data: bytes, may_be_unusable: Callable[[str], bool]) -> Policy:
        """Parse the file at the time of the clock."""
        return parse_policy(data, may_be_unusable, now=self.clock())

    def write(self, text: str) -> bool:
        """Change the file and check it."""
        self.path.write_text(text, encoding="utf-8")
        return self.file.check()


def test_changed_policy_file_takes_effect(tmp_path: Path) -> None:
    """Subscribers get it before it is in force."""
    watched = Watched(tmp_path)
    heard: list[tuple[Policy, bool]] = []
    watched.file.on_change(lambda policy: heard.append((policy, watched.file.current is policy)))
    assert watched.write(MINIMAL + "mode: warn\n") is True
    assert watched.file.current.mode is Mode.WARN
    assert heard == [(watched.file.current, False)]
    assert watched.file.check() is False


def test_config_map_symlink_swap_is_detected(tmp_path: Path) -> None:
    """Kubernetes replaces the link ``..data``."""
    for name, mode in (("a", "warn"), ("b", "audit")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(MINIMAL + f"mode: {mode}\n", encoding="utf-8")
    (tmp_path / "..data").symlink_to("a")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    file = PolicyFile(str(tmp_path / "policy.yaml"), RecorderSpy(), parse=parse_policy)
    (tmp_path / "..new").symlink_to("b")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert file.check() is True
    assert file.current.mode is Mode.AUDIT


@pytest.mark.parametrize("text", ["", "mode: [", MINIMAL + "mood: warn\n", MINIMAL[: len(MINIMAL) // 2]])
def test_invalid_policy_file_keeps_last_policy(tmp_path: Path, text: str) -> None:
    """The last valid policy stays in force, and the problem is counted and kept for the probe."""
    watched = Watched(tmp_path)
    before = watched.file.current
    assert watched.write(text) is False
    assert watched.file.current is before
    assert watched.file.problems
    assert len(watched.notes.named("policy_rejected")) == 1


def test_invalid_policy_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log lists all problems, but not again every two seconds."""
    watched = Watched(tmp_path)
    with caplog.at_level(logging.ERROR):
        watched.write(MINIMAL + "mood: warn\n")
        for _ in range(5):
            watched.file.check()
    (record,) = caplog.records
    assert vars(record)["problems"][0].startswith("mood: there is no such key, did you mean mode?")


def test_policy_that_cannot_be_applied_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For example, a CA file may be mounted a moment later; the problem is logged once."""
    watched = Watched(tmp_path)
    missing = [Problem("registries", "the caFile is not there")]

    def follow(policy: Policy) -> None:
        if missing:
            raise ConfigError(missing)

    watched.file.on_change(follow)
    with caplog.at_level(logging.ERROR):
        assert watched.write(MINIMAL + "mode: warn\n") is False
        assert watched.file.check() is False
    before = watched.file.current
    assert before.mode is Mode.ENFORCE
    assert watched.file.problems == tuple(missing)
    assert len(caplog.records) == 1
    missing.clear()
    assert watched.file.check() is True
    assert watched.file.current.mode is Mode.WARN
    assert watched.file.problems == ()


def test_missing_policy_file_keeps_last_policy(tmp_path: Path) -> None:
    """A file may be absent for a moment."""
    watched = Watched(tmp_path)
    watched.path.unlink()
    assert watched.file.check() is False
    assert str(watched.file.problems[0]).endswith("cannot be read: No such file or directory")
    assert watched.write(MINIMAL + "mode: warn\n") is True
    assert watched.file.problems == ()


def test_restored_policy_file_clears_problems(tmp_path: Path) -> None:
    """An undone mistake is a success, too."""
    watched = Watched(tmp_path)
    watched.write("broken")
    watched.write(MINIMAL)
    assert watched.file.problems == ()


def test_invalid_policy_file_at_start_is_error(tmp_path: Path) -> None:
    """There is no last valid policy yet."""
    with pytest.raises(ConfigError):
        Watched(tmp_path, "broken: [")


def test_ending_exemptions_are_reported_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two weeks before the end, in log and metric."""
    ending = "exemptions: [{name: soon, reason: r, images: [a], expires: 2027-01-20}, {name: gone, reason: r, images: [b], expires: 2026-01-01}]\n"
    with caplog.at_level(logging.WARNING):
        watched = Watched(tmp_path, MINIMAL + ending)
        watched.file.check()
        assert set(watched.notes.named("exemptions_expiring")) == {(1, 1)}
        assert [(vars(record)["soon"], vars(record)["ended"]) for record in caplog.records] == [
            (["soon"], ["gone"])
        ]
        watched.clock.tick(90_000)
        watched.file.check()
    assert len(caplog.records) == 2


class WatchedKeys(Watched):
    """A policy file whose signing keys are in a ConfigMap volume."""

    def __init__(self, folder: Path, *names: str, rest: str = "", **not_after: str) -> None:
        self.volume = ConfigMapVolume(folder / "keys", {f"{name}.pub": public_pem(name) for name in names})
        self.rest, self.not_after = rest, not_after
        super().__init__(folder, self.text(*names))
        self.heard: list[list[str]] = []
        self.file.on_change(lambda policy: self.heard.append(counting(policy)))

    def text(self, *names: str) -> str:
        """Return a policy with these keys."""
        keys = (
            {
                "name": name,
                "file": str(self.volume.folder / f"{name}.pub"),
                **({"notAfter": self.not_after[name]} if name in self.not_after else {}),
            }
            for name in names
        )
        return SIGNED % json.dumps(list(keys)) + self.rest

    def mount(self, *names: str) -> None:
        """Replace the files of the volume by these."""
        self.volume.replace({f"{name}.pub": public_pem(name) for name in names})


def counting(policy: Policy) -> list[str]:
    """Return the names of the keys that count."""
    (registry,) = policy.registries.registries
    assert registry.signatures is not None
    return [key.name for key in registry.signatures.counting]


def test_vanished_key_counts_no_longer(tmp_path: Path) -> None:
    """At the next check, for the subscribers and the policy in force, and it counts again when it is back."""
    watched = WatchedKeys(tmp_path, "a", "b", rest="mode: warn\n")
    version = watched.file.current.version
    watched.mount("b")
    assert watched.file.check() is True
    assert counting(watched.file.current) == ["b"]
    assert (watched.file.current.version, watched.file.current.mode) == (version, Mode.WARN)
    watched.mount("a", "b")
    assert watched.file.check() is True
    assert watched.heard == [["b"], ["a", "b"]]
    assert watched.file.problems == ()


def test_last_key_counts_no_longer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is trusted then, which is logged once, and the policy stays in force."""
    watched = WatchedKeys(tmp_path, "a")
    watched.volume.replace({})
    with caplog.at_level(logging.INFO):
        assert [watched.file.check() for _ in range(3)] == [True, False, False]
    assert counting(watched.file.current) == []
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "too few signing keys count: no image of this registry is trusted")
    ]
    assert watched.notes.named("signing_keys_changed")[-1] == (
        "images.example.com",
        {"counting": 0, "unreadable": 1, "lapsed": 0},
        1,
    )


def test_key_of_other_content_counts_instead(tmp_path: Path) -> None:
    """Rotation under the same name."""
    watched = WatchedKeys(tmp_path, "a")
    before = watched.file.current.registries.registries[0]
    watched.volume.replace({"a.pub": public_pem("a2")})
    assert watched.file.check() is True
    assert watched.file.current.registries.registries[0].key != before.key


@pytest.mark.parametrize("text", ["", "mode: [", SIGNED + "mood: warn\n"])
def test_vanished_key_counts_no_longer_under_invalid_policy_file(text: str, tmp_path: Path) -> None:
    """The last good policy stays in force, but not a key that was removed since."""
    watched = WatchedKeys(tmp_path, "a", "b")
    watched.write(text)
    watched.mount("b")
    assert watched.file.check() is True
    assert counting(watched.file.current) == ["b"]
    assert watched.file.problems != ()


def test_vanished_key_counts_no_longer_without_policy_file(tmp_path: Path) -> None:
    """Both volumes may fail."""
    watched = WatchedKeys(tmp_path, "a")
    watched.path.unlink()
    watched.volume.replace({})
    assert watched.file.check() is True
    assert counting(watched.file.current) == []


def test_vanished_key_counts_no_longer_after_failure_of_parser(tmp_path: Path) -> None:
    """A bug in one part must not keep a removed key."""
    watched = WatchedKeys(tmp_path, "a")

    def crash(data: bytes, may_be_unusable: Callable[[str], bool]) -> Policy:
        raise RuntimeError

    watched.file._parse = crash
    watched.path.write_text("changed", encoding="utf-8")
    watched.volume.replace({})
    with pytest.raises(RuntimeError):
        watched.file.check()
    assert counting(watched.file.current) == []


def test_vanished_key_counts_no_longer_if_registry_cannot_be_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For example, the login has vanished with it. The subscriber is called until it succeeds."""
    watched = WatchedKeys(tmp_path, "a", "b")
    missing = [Problem("registries", "the login is not there")]

    def follow(policy: Policy) -> None:
        if missing:
            raise ConfigError(missing)

    watched.file.on_change(follow)
    watched.mount("b")
    with caplog.at_level(logging.ERROR):
        assert [watched.file.check() for _ in range(3)] == [True, False, False]
    assert counting(watched.file.current) == ["b"]
    assert [vars(record)["problems"] for record in caplog.records] == [["registries: the login is not there"]]
    missing.clear()
    assert watched.file.check() is False
    assert watched.heard == [["b"]] * 4
    watched.file.check()
    assert watched.heard == [["b"]] * 4


def test_key_lapses_while_policy_is_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the end of its last day in UTC, although no file has changed."""
    watched = WatchedKeys(tmp_path, "a", "b", a="2027-01-15")
    midnight = 1_800_057_600.0
    watched.clock.now = midnight - 1
    watched.file.check()
    assert counting(watched.file.current) == ["a", "b"]
    watched.clock.tick(1)
    with caplog.at_level(logging.WARNING):
        assert watched.file.check() is True
    assert counting(watched.file.current) == ["b"]
    problems = [vars(record)["problems"] for record in caplog.records if "problems" in vars(record)]
    assert problems == [["a lapsed on 2027-01-15"]]
    assert watched.notes.named("signing_keys_changed")[-1] == (
        "images.example.com",
        {"counting": 1, "unreadable": 0, "lapsed": 1},
        0,
    )
    assert watched.notes.named("signing_key_lapses")[-1] == ("images.example.com", "a", midnight)


def test_ending_keys_are_reported_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As ending exemptions are; metrics are recorded for every key."""
    with caplog.at_level(logging.WARNING):
        watched = WatchedKeys(tmp_path, "a", a="2027-01-20")
    assert [vars(record)["soon"] for record in caplog.records] == [["a of images.example.com"]]
    assert [line[:2] for line in watched.notes.named("signing_key_lapses")] == [("images.example.com", "a")]


def test_changed_policy_with_missing_key_is_rejected_until_key_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The volumes of policy and keys are updated one after the other; the problem is logged once."""
    watched = WatchedKeys(tmp_path, "a")
    with caplog.at_level(logging.ERROR):
        assert watched.write(watched.text("a", "new")) is False
        assert watched.file.check() is False
    assert counting(watched.file.current) == ["a"]
    missing = "cannot be read (No such file or directory): mount the file, or correct the path"
    problem = f"registries[0].signatures.keys[1].file: {missing}"
    assert [str(problem) for problem in watched.file.problems] == [problem]
    assert len(caplog.records) == 1
    watched.mount("a", "new")
    assert watched.file.check() is True
    assert watched.heard == [["a", "new"]]
    assert watched.file.problems == ()


def test_key_that_is_removed_from_policy_and_volume_leaves_nothing(tmp_path: Path) -> None:
    """The usual end of a rotation, in either order."""
    watched = WatchedKeys(tmp_path, "a", "b")
    assert watched.write(watched.text("b")) is True
    watched.mount("b")
    assert watched.file.check() is False
    assert watched.heard == [["b"]]


def test_key_file_that_changes_between_parse_and_first_check_is_noticed(tmp_path: Path) -> None:
    """A child process parses the first policy, and this process reads no file then."""
    watched = WatchedKeys(tmp_path, "a", "b")
    parsed = watched.file.current
    watched.mount("b")
    file = PolicyFile(
        str(watched.path),
        RecorderSpy(),
        watched.clock,
        parse=watched.parse,
        parse_first=lambda data: parsed,
    )
    assert counting(file.current) == ["a", "b"]
    assert file.check() is True
    assert counting(file.current) == ["b"]


def test_key_file_at_start_must_be_usable(tmp_path: Path) -> None:
    """There is no last good policy, and a wrong path would deny every image."""
    watched = WatchedKeys(tmp_path, "a")
    watched.volume.replace({})
    with pytest.raises(ConfigError) as caught:
        PolicyFile(str(watched.path), RecorderSpy(), parse=parse_policy)
    assert caught.value.depends_on_files


@pytest.mark.parametrize("change", ["mode: audit\n", "hint: ask us\n"])
def test_policy_can_change_while_a_key_of_it_is_unusable(tmp_path: Path, change: str) -> None:
    """The change may be the remedy, such as an exemption or the mode. The key does not count under it either."""
    watched = WatchedKeys(tmp_path, "a", "b")
    watched.mount("b")
    assert watched.file.check() is True
    assert watched.write(watched.text("a", "b") + change) is True
    assert (counting(watched.file.current), list(watched.file.problems)) == (["b"], [])
    watched.mount("a", "b")
    assert watched.file.check() is True
    assert counting(watched.file.current) == ["a", "b"]


def test_changed_policy_must_not_add_an_unusable_key(tmp_path: Path) -> None:
    """Probably its path is wrong, and the person who has made the change is there."""
    watched = WatchedKeys(tmp_path, "a", "b")
    watched.mount("b")
    watched.file.check()
    assert watched.write(watched.text("a", "b", "new")) is False
    assert [problem.path for problem in watched.file.problems] == ["registries[0].signatures.keys[2].file"]


def test_invalid_policy_file_with_missing_key_is_not_parsed_again(tmp_path: Path) -> None:
    """Only a change of the file can help."""
    watched = WatchedKeys(tmp_path, "a")
    watched.write(watched.text("a", "new") + "mood: warn\n")
    watched.file._parse = lambda data, _: pytest.fail("was parsed again")
    assert watched.file.check() is False
