"""Each fault that testers found has a row in a document and a test that names it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.bypasses.test_threat_model import BROKEN, TEST

ROOT = Path(__file__).parents[2]
FAULTS = [
    *(f"A{number}" for number in range(1, 6)),
    *(f"B{number}" for number in range(1, 10)),
    *(f"C{number}" for number in range(1, 5)),
    *(f"D{number}" for number in range(1, 7)),
    *(f"E{number}" for number in range(1, 13)),
]
ROW = re.compile(r"^\| ([A-E][0-9]{1,2}) \| .+ \| .+ \| (.+) \|$", re.MULTILINE)
NUMBER = re.compile(r"\b([A-E])([0-9]{1,2})(?: to [A-E]([0-9]{1,2}))?\b")


def read_rows(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the tests of each fault in a document."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return {match[1]: TEST.findall(match[2]) for match in ROW.finditer(text)}


ROWS = {**read_rows("threat-model.md"), **read_rows("resilience.md")}


@cache
def read_docstrings(path: str) -> dict[str, str]:
    """Return the docstring of each test of a module."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)
    }


def numbers_in(docstring: str) -> set[str]:
    """Return the faults that a docstring names; ``B1 to B4`` are four."""
    return {
        f"{letter}{number}"
        for letter, first, last in NUMBER.findall(docstring)
        for number in range(int(first), int(last or first) + 1)
    }


def test_every_fault_is_in_one_document() -> None:
    """A fault that an attacker could use is in the threat model, all others are in the report on
    resilience.
    """
    assert set(read_rows("threat-model.md")) == set(BROKEN)
    assert set(read_rows("resilience.md")) == set(FAULTS) - set(BROKEN)


@pytest.mark.parametrize("name", ["threat-model", "resilience"])
def test_translations_name_same_tests(name: str) -> None:
    """Fault by fault, in the same order."""
    assert list(read_rows(f"{name}.zh-CN.md").items()) == list(read_rows(f"{name}.md").items())


@pytest.mark.parametrize("fault", FAULTS)
def test_docstrings_of_fault_tests_name_fault(fault: str) -> None:
    """The number leads from a failing test to its row."""
    assert ROWS[fault]
    for path, name in ROWS[fault]:
        assert fault in numbers_in(read_docstrings(path)[name]), f"{path}::{name}"
