"""What the log and the metrics say about signing keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tests.support.builders import HOST, policy, registry
from tests.support.fakes import RecorderSpy
from webhook.policy.key_reports import KeyReports
from webhook.policy.model import Policy
from webhook.policy.signing_keys import KeyState
from webhook.registries import Evidence, RegistryTable, SignatureSettings, SigningKey

NOW = 1_800_000_000.0
DAY = 86400.0

GOOD = SigningKey("good", "/good", content=b"SECRET?")
GONE = SigningKey("gone", "/gone", problem="cannot be read (No such file or directory): mount the file")
ENDING = SigningKey("ending", "/ending", NOW + DAY, content=b"e")
OLD = SigningKey("old", "/old", NOW - DAY, problem="lapsed on 2027-01-14")


def signed(*keys: SigningKey, threshold: int = 1, **changes: Any) -> Policy:
    """Return a policy with one registry of these keys."""
    return several((keys, threshold, changes))


def several(*registries: tuple[tuple[SigningKey, ...], int, dict[str, Any]]) -> Policy:
    """Return a policy with registries of these keys, thresholds and changes."""
    return policy(
        registries=RegistryTable.of(
            registry(
                **{
                    "evidence": Evidence.SIGNATURE,
                    "signatures": SignatureSettings(keys, threshold),
                    **changes,
                }
            )
            for keys, threshold, changes in registries
        )
    )


def cast_states(values: tuple[object, ...]) -> tuple[str, Mapping[str, int], int]:
    """Return the arguments of ``signing_keys_changed``."""
    return cast("tuple[str, Mapping[str, int], int]", values)


class Reported:
    """Reports, and what they have recorded."""

    def __init__(self) -> None:
        self.spy = RecorderSpy()
        self.reports = KeyReports(self.spy)

    @property
    def states(self) -> list[tuple[object, ...]]:
        """The states that were recorded, as numbers of counting, unreadable and lapsed keys."""
        return [
            (name, *(states[state] for state in KeyState if states))
            for name, states, _ in map(cast_states, self.spy.named("signing_keys_changed"))
        ]


def test_states_and_ends_are_recorded() -> None:
    """States first: with them, the recorder forgets the ends of removed keys."""
    reported = Reported()
    reported.reports.report(signed(GOOD, GONE, ENDING, OLD), None, NOW)
    assert reported.states == [(HOST, 2, 1, 1)]
    assert reported.spy.named("signing_key_lapses") == [(HOST, "ending", NOW + DAY), (HOST, "old", NOW - DAY)]
    assert [line[0] for line in reported.spy.lines] == ["signing_keys_changed", *["signing_key_lapses"] * 2]


def test_registries_of_one_name_are_counted_together() -> None:
    """Several accounts share a host; the earliest end of a key counts."""
    later = SigningKey("ending", "/ending", NOW + 9 * DAY, content=b"e")
    current = several(
        ((GOOD, later), 1, {"organizations": frozenset({"shop"})}),
        ((ENDING, GONE), 1, {"organizations": frozenset({"base"})}),
        ((GOOD,), 1, {"hosts": ("other.example.com",)}),
    )
    reported = Reported()
    reported.reports.report(current, None, NOW)
    assert reported.states == [(HOST, 3, 1, 0), ("other.example.com", 1, 0, 0)]
    assert reported.spy.named("signing_key_lapses") == [(HOST, "ending", NOW + DAY)]


@pytest.mark.parametrize(
    ("registries", "missing"),
    [
        ([((GOOD,), 1)], 0),
        ([((GOOD, OLD), 2)], 1),
        ([((GONE, OLD), 2)], 2),
        ([((GOOD, GONE), 1)], 0),
        ([((OLD,), 1), ((GOOD,), 1)], 1),
        ([((GOOD,), 1), ((OLD, GONE), 2)], 2),
    ],
)
def test_missing_keys_of_a_registry_are_those_of_its_worst_entry(
    registries: list[tuple[tuple[SigningKey, ...], int]], missing: int
) -> None:
    """While some are missing, all images of the entry are denied."""
    current = several(
        *(
            (keys, threshold, {"organizations": frozenset({f"team{number}"})})
            for number, (keys, threshold) in enumerate(registries)
        )
    )
    reported = Reported()
    reported.reports.report(current, None, NOW)
    assert [values[2] for values in reported.spy.named("signing_keys_changed")] == [missing]


def test_keys_that_do_not_decide_are_not_recorded() -> None:
    """An alert about too few keys would be wrong: they are for surveys only."""
    reported = Reported()
    reported.reports.report(signed(OLD, evidence=Evidence.TAG_DETAIL), signed(GOOD), NOW)
    assert reported.states == [(HOST,)]
    assert reported.spy.named("signing_key_lapses") == []


def test_registry_without_keys_is_forgotten() -> None:
    """It had keys under the policy before."""
    reported = Reported()
    reported.reports.report(policy(), signed(GOOD), NOW)
    assert reported.states == [(HOST,)]


LINES: list[tuple[str, Policy, Policy | None, tuple[str, str, list[str], list[str]] | None]] = [
    ("a start", signed(GOOD), None, None),
    ("no change", signed(GOOD), signed(GOOD), None),
    ("a policy without keys", policy(), None, None),
    (
        "a key at start that has lapsed",
        signed(GOOD, OLD),
        None,
        ("WARNING", "a signing key does not count", ["good"], ["old lapsed on 2027-01-14"]),
    ),
    (
        "a key that is new",
        signed(GOOD, ENDING),
        signed(GOOD),
        ("INFO", "the signing keys have changed", ["good", "ending"], []),
    ),
    (
        "a registry that is new",
        signed(GOOD),
        policy(),
        ("INFO", "the signing keys have changed", ["good"], []),
    ),
    (
        "a key that is gone",
        signed(GOOD, GONE),
        signed(GOOD, SigningKey("gone", "/gone", content=b"g")),
        (
            "WARNING",
            "a signing key does not count",
            ["good"],
            ["gone cannot be read (No such file or directory): mount the file"],
        ),
    ),
    (
        "the last key",
        signed(GONE),
        signed(SigningKey("gone", "/gone", content=b"g")),
        (
            "ERROR",
            "too few signing keys count: no image of this registry is trusted",
            [],
            ["gone cannot be read (No such file or directory): mount the file"],
        ),
    ),
    (
        "fewer than the threshold",
        signed(GOOD, OLD, threshold=2),
        None,
        (
            "ERROR",
            "too few signing keys count: no image of this registry is trusted",
            ["good"],
            ["old lapsed on 2027-01-14"],
        ),
    ),
    (
        "the last key of a registry that is only surveyed",
        signed(OLD, evidence=Evidence.TAG_DETAIL),
        None,
        ("WARNING", "a signing key does not count", [], ["old lapsed on 2027-01-14"]),
    ),
]


@pytest.mark.parametrize(
    ("current", "before", "expected"), [case[1:] for case in LINES], ids=[case[0] for case in LINES]
)
def test_change_of_keys_is_logged_once(
    current: Policy,
    before: Policy | None,
    expected: tuple[str, str, list[str], list[str]] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the names of keys and the reasons, and without contents."""
    with caplog.at_level(logging.INFO):
        Reported().reports.report(current, before, NOW)
    lines = [
        (record.levelname, record.getMessage(), vars(record)["keys"], vars(record)["problems"])
        for record in caplog.records
    ]
    assert lines == ([expected] if expected is not None else [])
    assert all(vars(record)["registry"] == HOST for record in caplog.records)
    assert "SECRET?" not in str([vars(record) for record in caplog.records])


def test_ending_keys_are_logged_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    """Two weeks before, and after the end until they are removed."""
    reports, current = Reported().reports, signed(GOOD, ENDING, OLD)
    for seconds in (0, 2, DAY - 1, DAY):
        reports.remind(current, NOW + seconds)
    lines = [(vars(record)["soon"], vars(record)["ended"]) for record in caplog.records]
    assert lines == [
        ([f"ending of {HOST}"], [f"old of {HOST}"]),
        ([], [f"ending of {HOST}", f"old of {HOST}"]),
    ]
    assert {record.getMessage() for record in caplog.records} == {"signing keys lapse soon or have lapsed"}


def test_keys_of_new_policy_are_logged_without_delay(caplog: pytest.LogCaptureFixture) -> None:
    """A key that was added may end soon."""
    reports = Reported().reports
    reports.remind(signed(OLD), NOW)
    reports.report(signed(OLD, ENDING), signed(OLD), NOW + 1)
    caplog.clear()
    reports.remind(signed(OLD, ENDING), NOW + 1)
    assert [vars(record)["soon"] for record in caplog.records] == [[f"ending of {HOST}"]]
