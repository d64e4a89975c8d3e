"""Documents as code hosts render them: no markup is shown as text, and every link resolves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.serving import ROOT
from tests.unit.test_documents import DOCUMENTS, TWINS, anchors, english, headings, prose, read, slug

CODE = ("fence", "code_block")
HTML = re.compile(r"<a id=\"[^\"]+\">|</a>|<br>|<!--.*-->\n?")
"""The HTML elements that documents use. A placeholder such as ``<name>`` outside code is HTML, too, and is
not shown.
"""
MARKUP = re.compile(r"\*\*|`|\]\(|\]\[|\]:|^#+ ")
"""Markup that was meant to be rendered. For example, ``**`` before Chinese punctuation is not markup."""


def parse(text: str) -> list[Token]:
    """Return the tokens of a document in CommonMark with the tables of GitHub and GitLab."""
    return MarkdownIt("commonmark").enable("table").parse(text)


def lines_of(tokens: list[Token], *kinds: str) -> set[int]:
    """Return the line numbers of blocks of some kinds, from 0."""
    return {line for token in tokens if token.type in kinds and token.map for line in range(*token.map)}


def stray_rows(text: str) -> list[str]:
    """Return the lines that look like rows and are not in a table, have too many cells, or follow one by mistake."""
    tokens = parse(text)
    code, tables = lines_of(tokens, *CODE), lines_of(tokens, "table_open")
    columns: dict[int, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "table_open" and token.map:
            end = next(i for i in range(index, len(tokens)) if tokens[i].type == "thead_close")
            count = sum(one.type == "th_open" for one in tokens[index:end])
            columns |= dict.fromkeys(range(*token.map), count)
    return [
        line
        for number, line in enumerate(text.splitlines())
        if number in tables or (re.match(r" *\|", line) and number not in code)
        if number not in tables or len(re.split(r"(?<!\\)\|", line.strip())) - 2 != columns[number]
    ]


def unrendered(text: str) -> list[str]:
    """Return the texts that contain markup, and the HTML that a renderer may hide."""
    tokens = parse(text)
    return [
        token.content
        for token in [*tokens, *inline(tokens)]
        if (token.type == "text" and MARKUP.search(token.content))
        or (token.type.startswith("html_") and not HTML.fullmatch(token.content))
    ]


def inline(tokens: list[Token]) -> Iterator[Token]:
    """Yield the parts of all paragraphs, headings and cells."""
    for token in tokens:
        yield from token.children or ()


def test_row_outside_of_table_is_found() -> None:
    """This includes a row with too many cells, which renderers drop, and a paragraph that becomes a row."""
    assert stray_rows("| a | b |\n|---|---|\n\n| 1 | 2 |\n") == ["| 1 | 2 |"]
    assert stray_rows("| a | b |\n|---|---|\n| 1 | `x|y` |\n") == ["| 1 | `x|y` |"]
    assert stray_rows("text\n| a |\n") == ["| a |"]
    assert stray_rows("| a | b |\n|---|---|\n| 1 | 2 |\nA paragraph.\n") == ["A paragraph."]
    assert stray_rows("```\n| a |\n```\n\n| a | b |\n|---|---|\n| 1 | `x\\|y` |\n") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("**bold**, `code`, [link](#a), `**` and `<name>`", []),
        ("**注意：**文字", ["**注意：**文字"]),
        ("a [link][a] without a target", ["a [link][a] without a target"]),
        ("a ` alone", ["a ` alone"]),
        ("use <name> here", ["<name>"]),
        ('<a id="a"></a>text<br>', []),
    ],
)
def test_markup_that_is_shown_as_text_is_found(text: str, found: list[str]) -> None:
    assert unrendered(text) == found


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_document_shows_no_markup_as_text(path: Path) -> None:
    assert unrendered(read(path)) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_row_of_a_table_is_rendered_in_a_table(path: Path) -> None:
    """Fault E11: seven of the threat model's tables were shown as lines of text."""
    assert stray_rows(read(path)) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_link_resolves(path: Path) -> None:
    """Fault E11: to an existing file, and to an existing anchor in it."""
    broken = []
    for token in inline(parse(read(path))):
        target = str(token.attrGet("href") or token.attrGet("src") or "")
        if not target or re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = ((ROOT / path).parent / file if file else ROOT / path).resolve()
        if (
            not found.is_relative_to(ROOT)
            or not found.exists()
            or (
                found.suffix == ".md"
                and anchor
                and MarkdownIt().normalizeLink(anchor) not in _normalized(found)
            )
        ):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("twin", TWINS, ids=str)
def test_anchor_precedes_heading_of_its_english_name(twin: Path) -> None:
    """A link with an English name must not lead to another section of the translation."""
    names = [slug(text) for _, text in headings(english(twin))]
    own = re.findall(r'^<a id="([^"]+)"></a>\n|^#+ .+$', prose(twin), re.MULTILINE)
    number, misplaced = 0, []
    for anchor in own:
        if not anchor:
            number += 1
        elif anchor in names and names[number : number + 1] != [anchor]:
            misplaced.append(anchor)
    assert misplaced == []


def _normalized(path: Path) -> set[str]:
    """Return the anchors of a document as a renderer writes them into a link."""
    normalize = MarkdownIt().normalizeLink
    return {normalize(name) for name in anchors(path.relative_to(ROOT))}
