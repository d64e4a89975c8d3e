"""The tables of the threat model match the tests and the mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bypasses.catalogue import MISTAKES
from tests.bypasses.mistakes import Mistake

ROOT = Path(__file__).parents[2]
BYPASSES = [f"T{number:02}" for number in [*range(1, 47), 50, *range(52, 73)]]
BROKEN = ["A1", *(f"B{number}" for number in range(1, 10)), "C1", "C2", "C3", "A4"]
"""Faults that an attacker could use; the others are in ``docs/resilience.md`` (``test_faults.py``)."""

CASES = [*BYPASSES, *BROKEN]
ADVICE = {"B8"}
"""Cases whose defence is a warning for the operator."""

ROW = re.compile(r"^\| (T[0-9]{2}|[A-E][0-9]{1,2}) \| (.+) \| (.+) \| (.+) \|$")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
MODULE = re.compile(r"`(webhook/[\w/]+\.py)`")


def read_rows(name: str = "threat-model.md") -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return module and tests of each case of the table."""
    rows: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for line in (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines():
        match = ROW.match(line)
        if match is not None:
            (module,) = MODULE.findall(match[3])
            assert match[1] not in rows
            rows[match[1]] = (module, TEST.findall(match[4]))
    return rows


def test_every_case_has_row() -> None:
    """In order, without a duplicate or a gap."""
    assert list(read_rows()) == CASES


def test_translations_name_same_defenses_and_tests() -> None:
    """Case by case, in the same order."""
    assert list(read_rows("threat-model.zh-CN.md").items()) == list(read_rows().items())


@pytest.mark.parametrize("case", CASES)
def test_module_and_tests_of_row_exist(case: str) -> None:
    """The module of the defense, and at least one test, by name."""
    module, tests = read_rows()[case]
    assert (ROOT / module).is_file()
    assert tests
    for path, name in tests:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_mistake_caught_by_test(case: str) -> None:
    """The row names the test that detects it."""
    tests = {f"{path}::{name}" for path, name in read_rows()[case][1]}
    seeing = {item.test for item in MISTAKES if case in item.cases}
    assert seeing or case in ADVICE
    assert seeing <= tests


@pytest.mark.parametrize("item", MISTAKES, ids=[item.mistake for item in MISTAKES])
def test_every_mistake_applies_to_source(item: Mistake) -> None:
    """``make defences`` applies the edit, so the source that it replaces must occur exactly once."""
    for edit in item.edits:
        assert (ROOT / edit.path).read_text(encoding="utf-8").count(edit.old) == 1
    assert set(item.cases) <= set(CASES)
