"""The prose checker finds its examples, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.prose import (
    CHINESE_RULES,
    CODE,
    ENGLISH_RULES,
    MAX_WORDS,
    PENDING,
    ROOT,
    SCOPE,
    Block,
    Rule,
    check,
    check_file,
    find_files,
    read_comments,
    read_markdown,
    read_python,
)

RULES = [*ENGLISH_RULES, *CHINESE_RULES]
EACH_RULE = pytest.mark.parametrize("rule", RULES, ids=[rule.bad for rule in RULES])


@EACH_RULE
def test_bad_example_breaks_only_its_rule(rule: Rule) -> None:
    assert {problem.message for problem in check(Block(1, rule.bad))} == {rule.message}


@EACH_RULE
def test_good_example_breaks_no_rule(rule: Rule) -> None:
    assert list(check(Block(1, rule.good))) == []


def test_sentence_above_the_limit_is_reported_with_its_words() -> None:
    words = " ".join(["word"] * MAX_WORDS)
    assert list(check(Block(1, f"{words}. {words}."))) == []
    (problem,) = check(Block(1, f"Short. {words} {CODE}."))
    assert problem.message == f"split this sentence of {MAX_WORDS + 1} words"


AGAIN = 'write "again"'
WIDTH = "use full-width punctuation"
MARKDOWN = """# What an image is

A paragraph whose phrase runs over the end of a line: it is read
anew.

- It is `read anew` in code.

| a | b |
|---|---|
| 1 | It is read anew. |

```yaml
comment: it is read anew
```
"""
PYTHON = '''"""It is read anew.

``read anew`` is code::

    read anew
"""

NAME = "read anew"
"""It is read
anew."""

MESSAGE = f"拒绝, {NAME}"  # a comment that is read anew
# noqa: ANEW


def read() -> None:
    """Return it anew."""
    # It is then read
    # anew.
'''
YAML = """# It is read
# anew.
key: value  # read anew, too
other: "anew"
"""


@pytest.mark.parametrize(
    ("reader", "text", "found"),
    [
        (read_markdown, MARKDOWN, [(3, AGAIN), (10, AGAIN)]),
        (
            read_python,
            PYTHON,
            [(1, AGAIN), (9, AGAIN), (12, WIDTH), (12, AGAIN), (17, AGAIN), (18, AGAIN)],
        ),
        (read_comments, YAML, [(1, AGAIN), (3, AGAIN)]),
    ],
    ids=["Markdown", "Python", "YAML"],
)
def test_prose_is_read_without_code(
    reader: Callable[[str], Iterator[Block]], text: str, found: list[tuple[int, str]]
) -> None:
    problems = [(one.line, one.message) for block in reader(text) for one in check(block)]
    assert sorted(problems) == sorted(found)


def test_file_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("As ever.\n\nIt is not read any more.\n", encoding="utf-8")
    assert [(one.line, one.message) for one in check_file(path)] == [
        (1, 'write "as before"'),
        (3, 'write "no longer"'),
    ]


@pytest.mark.parametrize("pattern", [*SCOPE, *PENDING])
def test_pattern_of_paths_matches_a_file(pattern: str) -> None:
    """A pattern that matches nothing is a mistake, or can be removed."""
    assert find_files(pattern)


def test_documents_of_contributors_are_checked() -> None:
    checked = {path.relative_to(ROOT).as_posix() for path in find_files(*SCOPE) - find_files(*PENDING)}
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "docs/decisions/README.md"} <= checked
