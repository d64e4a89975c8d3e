"""Documents: both languages have the same structure and the same commands."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.serving import ROOT

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"(^| +)#( .*|$)", re.MULTILINE)

DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "charts/**/*.md", "deploy/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
TWINS = [path for path in DOCUMENTS if path.name.endswith(".zh-CN.md")]
ENGLISH_ONLY = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def read(path: Path) -> str:
    """Return a document."""
    return (ROOT / path).read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """Return a document without its blocks of code."""
    return _FENCE.sub("", read(path))


def headings(path: Path) -> list[tuple[int, str]]:
    """Return level and text of every heading."""
    return [(len(marks), text) for marks, text in re.findall(r"^(#+) (.+)$", prose(path), re.MULTILINE)]


def slug(heading: str) -> str:
    """Return the anchor of a heading as code hosts spell it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@functools.cache
def anchors(path: Path) -> set[str]:
    """Return the possible link targets in a document: its headings as code hosts spell them, and its
    anchors.
    """
    found: dict[str, int] = {}
    names: set[str] = set(re.findall(r'<a id="([^"]+)">', read(path)))
    for _, text in headings(path):
        name = slug(text)
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return language and text of the blocks of code, without comments, which are translated."""
    return [(language, _COMMENT.sub("", text)) for language, text in _FENCE.findall(read(path))]


def english(twin: Path) -> Path:
    """Return the path of the English original of a Chinese document."""
    return twin.with_name(twin.name.replace(".zh-CN.md", ".md"))


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_translation_has_same_structure_as_original(twin: Path) -> None:
    """The same number of headings of each level in the same order, of table rows and of list items."""

    def shape(path: Path) -> tuple[list[int], int, int]:
        text = prose(path)
        rows, points = (len(re.findall(mark, text, re.MULTILINE)) for mark in (r"^\|", r"^ *(?:-|\d+\.) "))
        return [level for level, _ in headings(path)], rows, points

    assert shape(twin) == shape(english(twin))


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_translation_has_same_commands_and_files(twin: Path) -> None:
    """Except for comments."""
    languages = {"sh", "yaml", "json"}
    shown, original = (
        [block for block in blocks(path) if block[0] in languages] for path in (twin, english(twin))
    )
    assert shown == original


def test_user_documents_exist_in_both_languages() -> None:
    """Decisions, and documents for contributors, are in English only."""
    users = [path for path in DOCUMENTS if path.parent in (Path(), Path("docs")) and path not in TWINS]
    assert [
        str(path)
        for path in users
        if path.name not in ENGLISH_ONLY and not (ROOT / path).with_name(f"{path.stem}.zh-CN.md").exists()
    ] == []


def test_each_document_links_to_its_translation() -> None:
    """Near its top, in both directions."""
    for twin in TWINS:
        for path, other in ((twin, english(twin)), (english(twin), twin)):
            assert f"]({other.name})" in read(path)[:900], path
