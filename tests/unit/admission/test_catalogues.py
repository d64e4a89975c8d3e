"""Message catalogs: complete in both languages, and equal to the reasons in the source."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from webhook.admission.catalogues import CATALOGUES, Catalogue
from webhook.admission.evaluator import NOT_PINNED, PLACEHOLDER
from webhook.errors import Fault, LookupTimeout, RegistryUnavailable, Throttled, TrustLookupError
from webhook.policy.findings import Finding
from webhook.signatures.check import SignatureResult

WEBHOOK = Path(__file__).parents[3] / "webhook"
ENGLISH, CHINESE = CATALOGUES["en"], CATALOGUES["zh"]
PARTS = ("what", "advice", "notes")


def calls(name: str, *packages: str) -> Iterator[ast.Call]:
    """Yield every call of a function or method of this name in some packages, by default in all."""
    for path in (path for package in packages or (".",) for path in (WEBHOOK / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                if name == getattr(called, "id", None) or name == getattr(called, "attr", None):
                    yield node


def strings(node: ast.AST) -> set[str]:
    """Return every string literal to which an expression may evaluate, except conditions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.IfExp):
        return strings(node.body) | strings(node.orelse)
    return set()


def invalid_reasons() -> set[str]:
    """Return the reasons for which an image can be invalid."""
    raised = calls("InvalidReferenceError", "images", "swr")
    reasons = {reason for call in raised for reason in strings(call.args[0])}
    said = {
        reason
        for call in calls("result")
        if len(call.args) > 1 and ast.unparse(call.args[0]) == "Finding.INVALID"
        for reason in strings(call.args[1])
    }
    return reasons | said | {PLACEHOLDER, NOT_PINNED}


def unmanaged_reasons() -> set[str]:
    """Return the possible results of ``Evaluator._unmanaged_reason``."""
    tree = ast.parse((WEBHOOK / "admission" / "evaluator.py").read_text(encoding="utf-8"))
    (function,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "_unmanaged_reason"
    )
    found = {
        reason
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None
        for reason in strings(node.value)
    }
    return found - {""}


def leaves(error: type[TrustLookupError]) -> set[str]:
    """Return the reasons of every kind of failed lookup."""
    found: set[str] = {error.reason}
    for child in error.__subclasses__():
        found |= leaves(child)
    return found


def faulted_reasons() -> set[str]:
    """Return the reasons of failed lookups whose fault is not the registry's."""
    return {
        f"{error.reason}/{keyword.value.attr.lower()}"
        for error in (LookupTimeout, Throttled, RegistryUnavailable)
        for call in calls(error.__name__)
        for keyword in call.keywords
        if keyword.arg == "fault" and isinstance(keyword.value, ast.Attribute)
        if ast.unparse(keyword.value.value) == "Fault" and keyword.value.attr != Fault.REGISTRY.name
    }


SAYABLE = {
    *map(str, Finding),
    *(f"invalid/{reason}" for reason in invalid_reasons()),
    *(f"unmanaged/{reason}" for reason in unmanaged_reasons()),
    *(f"unknown/{reason}" for reason in leaves(TrustLookupError)),
    *(f"unknown/{reason}" for reason in faulted_reasons()),
    *(f"{finding}/{how}" for finding in ("untrusted", "missing") for how in ("digest", "implied")),
    *(f"untrusted/{result}" for result in SignatureResult if result is not SignatureResult.SIGNED),
    "untrusted/no-keys",
    "digest-mismatch/pinning",
}


def test_message_keys_are_found_in_source() -> None:
    """The scan finds the expected keys."""
    assert {
        "invalid/bad-tag",
        "invalid/organization",
        "invalid/pull-policy",
        "invalid/digest-only",
    } <= SAYABLE
    assert {"unmanaged/enterprise", "unmanaged/organization", "unknown/forbidden"} <= SAYABLE


@pytest.mark.parametrize("catalogue", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_message_key_has_text(catalogue: Catalogue) -> None:
    """Every finding, reason and failure has an entry, and every entry is used."""
    assert set(catalogue.what) == SAYABLE
    assert set(catalogue.advice) == SAYABLE


def test_used_notes_equal_defined_notes() -> None:
    """In both languages."""
    used = {
        name
        for called in ("note", "denial_message")
        for call in calls(called)
        for name in strings(call.args[0])
    }
    assert used | {"break-glass-used", "break-glass-unneeded"} == set(ENGLISH.notes) == set(CHINESE.notes)


def placeholders(text: str) -> set[str]:
    """Return the names in the braces of a text."""
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


@pytest.mark.parametrize("part", PARTS)
def test_both_languages_have_same_keys_and_placeholders(part: str) -> None:
    """The same keys, and the same values in the texts."""
    english, chinese = getattr(ENGLISH, part), getattr(CHINESE, part)
    assert list(english) == list(chinese)
    for key in english:
        assert placeholders(english[key]) == placeholders(chinese[key]), key
    assert placeholders(ENGLISH.more) == placeholders(CHINESE.more) == {"count"}


@pytest.mark.parametrize("key", sorted(SAYABLE))
def test_message_has_clause_and_advice_sentence(key: str) -> None:
    """``what`` is a clause without a full stop; ``advice`` is a whole sentence, unless the image is
    admitted.
    """
    for catalogue in (ENGLISH, CHINESE):
        what, advice = catalogue.what[key], catalogue.advice[key]
        assert what == what.strip()
        assert not what.endswith((".", "。"))
        assert bool(advice) is (key not in ("trusted", "exempt"))
        assert not advice or advice.endswith(catalogue.stop)


def test_chinese_catalog_texts_are_chinese() -> None:
    """Every text contains Chinese characters."""
    for part in PARTS:
        for key, text in getattr(CHINESE, part).items():
            assert not text or any("一" <= char <= "鿿" for char in text), key
