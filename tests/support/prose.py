"""Check prose for phrases that this project does not use; the reasons are in CONTRIBUTING.md, "Writing".

``python -m tests.support.prose`` is a part of ``make lint``. It reads Markdown without its code, docstrings and
comments of Python, Chinese string literals, and comments of YAML. ``--all`` also reads the ``PENDING`` files.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parents[2]

SCOPE: Final = (
    "*.md",
    "docs/**/*.md",
    "charts/**/*.md",
    "deploy/**/*.md",
    "charts/*/values.yaml",
    "webhook/**/*.py",
)
"""The files that are checked, as glob patterns."""

PENDING: Final[tuple[str, ...]] = ()
"""The files in scope that are not checked yet, as glob patterns. This list only shrinks."""

MAX_WORDS: Final = 30
"""The longest sentence. CONTRIBUTING.md asks for 25 words; a few more are tolerated."""

CODE: Final = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Replaces inline code, which is not checked."""

CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern that the project does not use, and what to write instead. ``bad`` and ``good`` are examples."""

    pattern: re.Pattern[str]
    message: str
    bad: str
    good: str


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a list item, a table cell, a docstring's paragraph or a comment."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A phrase that breaks a rule."""

    line: int
    phrase: str
    message: str


def _rule(pattern: str, message: str, bad: str, good: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), message, bad, good)


def _sentence(pattern: str, message: str, bad: str, good: str) -> Rule:
    """Return a rule about the beginning of a sentence."""
    return Rule(re.compile(rf"(?:^|(?<=[.!?:] ))(?:{pattern})"), message, bad, good)


ENGLISH_RULES: Final = (
    # The subject is a noun.
    _sentence(
        r"(?:Whoever|Whatever|Nobody|Somebody|Anybody|Everybody)\b",
        "begin the sentence with a noun",
        "Nobody reads it.",
        "No client reads it. If nobody reads it, it is dropped.",
    ),
    _sentence(
        r"What(?! if\b)[^.!?]*\.(?!\w)",
        "begin the sentence with a noun",
        "What is unknown is denied.",
        "An unknown image is denied. What happened?",
    ),
    _rule(
        r"\bwho(?:so)?ever\b|\bwhosever\b",
        "name the person: an attacker, an author, a client",
        "It is sent to whoever asks.",
        "It is sent to every client.",
    ),
    _rule(
        r"\bwhatever\b",
        'write "regardless of" or "any"',
        "It is denied whatever the mode is.",
        "It is denied regardless of the mode.",
    ),
    # Negation, and time.
    _rule(
        r"(?<!there )\b(?:is|are|was|were|be) no\b(?! longer\b| more\b| fewer\b| less\b| later\b| earlier\b)",
        "negate the verb: is not a",
        "This is no list.",
        "This is not a list. There is no list. It is no longer than 3 bytes.",
    ),
    _rule(
        r"\banymore\b|\bany more(?=\s*(?:[.,;:)]|$))",
        'write "no longer"',
        "It is not read any more.",
        "It is no longer read. It has not any more calls.",
    ),
    _rule(r"\bas ever\b", 'write "as before"', "It answers as ever.", "It answers as before."),
    _rule(r"\bfor one\b(?= *[,.;])", 'write "for example"', "SWR, for one, is down.", "Wait for one minute."),
    _rule(
        r"\b(?:anew|afresh)\b",
        'write "again"',
        "It is then written anew.",
        "It is written again. It is renewed.",
    ),
    _rule(r"\bat a stretch\b", 'write "at a time"', "It runs 5 ms at a stretch.", "It runs 5 ms at a time."),
    _rule(r"\bfor ever\b", 'write "without end"', "It waits for ever.", "It waits without end."),
    _rule(r"\ball the same\b", 'write "nevertheless"', "It is admitted all the same.", "They are all equal."),
    # Reasons and conditions.
    _rule(
        r"[,;:] for (?:it|they|he|we|you|there|nobody)\b",
        'write "because"',
        "It is closed, for it is idle.",
        "It is closed, because it is idle. It waits for it.",
    ),
    _sentence(r"Else\b|else (?!\()", 'write "otherwise"', "Else it waits.", "Otherwise it waits."),
    _rule(
        r"\b(?:lest|whence|thence)\b",
        'write "so that" or "from there"',
        "Wait, lest it fails.",
        "At least 3.",
    ),
    _rule(r"\bin (?:its|their) stead\b", 'write "instead"', "It is used in its stead.", "Use it instead."),
    # Code has no feelings and is not a person.
    _rule(
        r"\b(?:im)?patien(?:t|tly|ce)\b|\bpolite(?:ly)?\b|\brude\b",
        "name the mechanism: a timeout, a limit, a retry",
        "The patient client waits.",
        "The client retries for 5 s.",
    ),
    _rule(
        r"\b(?:rests|rested|resting)\b(?! (?:on|with)\b)",
        'write "is paused"',
        "The credential rests.",
        "The rest is paused.",
    ),
    _rule(
        r"\bstand(?:s|ing)? in for\b|\bstands? in (?:while|until)\b|\bstood in for\b",
        'write "is served stale" or "replaces"',
        "Trust stands in while SWR is down.",
        "Stale trust is served.",
    ),
    _rule(r"\bchok(?:e|es|ed|ing)\b", 'write "fails for"', "SWR chokes on it.", "SWR fails for it."),
    _rule(
        r"\btalk(?:s|ed|ing)? round\b|\bways? round\b|\bwave[sd]? through\b",
        'write "bypass" or "admit"',
        "A way round the check.",
        "It bypasses the check.",
    ),
    _rule(
        r"\bis left alone\b|\bleaves? \w+ alone\b",
        "name the mechanism: the circuit breaker is open",
        "The endpoint is left alone.",
        "The circuit breaker is open. The endpoint is left.",
    ),
    _rule(
        r"\bgives? way\b|\bgave way\b",
        'write "is evicted" or "yields"',
        "It gives way to it.",
        "It is evicted.",
    ),
    _rule(r"\bcuts? off\b|\bcutting off\b", 'write "abort"', "It cuts off the call.", "It aborts the call."),
    _rule(
        r"\btak(?:e|es|en|ing) note\b|^Is told\b",
        'write "record" or "metrics for"',
        "Take note of a call.",
        "Record a call. It takes notes.",
    ),
    # One word for one concept.
    _rule(r"\bjudg(?:e[sd]?|ing|e?ments?)\b", 'write "evaluate"', "The image is judged.", "It is evaluated."),
    _rule(
        r"(?<!break-)(?<!break )\bglass\b",
        'write "break-glass"',
        "It breaks the glass.",
        "Break-glass was used.",
    ),
    _rule(r"\b(?:un)?seal(?:s|ed|ing)?\b", 'write "sign"', "The snapshot is sealed.", "It is signed."),
    _rule(
        r"\bthe gate\b|\bthis gate\b",
        'write "the webhook"',
        "The gate denies it.",
        "The API gateway denies it.",
    ),
    _rule(
        r"(?<!certificate )\bauthorit(?:y|ies)\b(?! key)",
        'write "CA"',
        "The authority signs it.",
        "The CA, a certificate authority, signs it for an authorized user.",
    ),
    _rule(
        r"\bask(?:s|ed|ing)? SWR\b|\bSWR (?:is|was|be|can be|cannot be|could not be) asked\b",
        'write "query SWR"',
        "SWR is asked about it.",
        "SWR is queried.",
    ),
    _rule(
        r"\b\w*(?:organi|normali|authori|recogni|summari|synchroni|seriali|initiali)s(?:e[sdr]?|ing|ations?)\b"
        r"|\b(?:behaviour|colour|favour|honour|neighbour)(?:s|ed|ing|able|hoods?)?\b|\blabelled\b|\blicences?\b",
        "use American spelling",
        "An organisation has a favourable colour.",
        "An organization authorizes it. It is otherwise promised.",
    ),
)

CHINESE_RULES: Final = (
    _rule(
        r"(?<=[\u4e00-\u9fff])[,;:?!](?!\d|镜像版本)|[,;?!](?=\s*[\u4e00-\u9fff])"
        r"|(?<=[\w\ufffc)])(?<!sha256):(?=\s*[\u4e00-\u9fff])(?!镜像版本)",
        "use full-width punctuation",
        "拒绝, 并记录。",
        "拒绝，并记录。比例为 1:2。写成 组织/名称:镜像版本。以 sha256: 开头。",
    ),
    _rule(r"(?<=[\u4e00-\u9fff])\.(?=\s|$)", "use the full-width full stop", "已拒绝.", "已拒绝。版本 1.2."),
    _rule(
        r"(?<=[\u4e00-\u9fff])\s*\(|\((?=[^()]*[\u4e00-\u9fff][^()]*\))",
        "use full-width brackets",
        "镜像版本(tag)",
        "镜像版本（tag）",
    ),
    _rule("凭据", "写“凭证”", "凭据已暂停", "凭证已暂停"),
    _rule("断路器", "写“熔断器”", "断路器已打开", "熔断器已打开"),
    _rule("镜像标签|可信标签|标签列表", "写“镜像版本”", "镜像标签", "镜像版本，Pod 的标签"),
    _rule("(?i:webhook) ?拦截", "写“准入控制”", "由 Webhook 拦截", "由准入 Webhook 拒绝"),
    _rule("打破玻璃|破窗", "写“紧急放行”", "破窗放行", "紧急放行"),
    _rule("陈旧|过时的答复", "写“过期缓存”", "陈旧的答复", "过期缓存"),
)


def read_markdown(text: str) -> Iterator[Block]:
    """Yield the prose of a document, without blocks of code and with ``CODE`` for inline code."""
    line = 1
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.map:
            line = token.map[0] + 1
        if token.type == "inline":
            yield Block(line, _flatten(token))


def _flatten(token: Token) -> str:
    parts = []
    for child in token.children or ():
        if child.type == "code_inline":
            parts.append(CODE)
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append(" ")
        elif child.type in {"text", "image"}:
            parts.append(child.content)
    return "".join(parts)


def read_python(text: str) -> Iterator[Block]:
    """Yield docstrings, also those of attributes, comments, and literals that contain Chinese."""
    docstrings = set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            literal = node.value
            if isinstance(literal.value, str):
                docstrings.add(id(literal))
                yield from _paragraphs(literal.value, literal.lineno)
    literals = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings
    )
    for node in literals:
        if isinstance(node.value, str) and CHINESE.search(node.value):
            yield Block(node.lineno, node.value)
    yield from _join_comments(
        (token.start, token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not re.match(r"#!|# (?:noqa|type:|pragma)", token.string)
    )


def _paragraphs(docstring: str, line: int) -> Iterator[Block]:
    """Yield the paragraphs of a docstring; tables and literal blocks are left out."""
    first, _, rest = docstring.partition("\n")
    text = f"{first}\n{textwrap.dedent(rest)}"
    is_literal = False
    for match in re.finditer(r"(?:^.*\S.*(?:\n|\Z))+", text, re.MULTILINE):
        paragraph = match.group()
        is_literal = is_literal and paragraph.startswith(" ")
        if not is_literal and not paragraph.lstrip().startswith(("===", ">>>")):
            begin = line + text.count("\n", 0, match.start())
            yield Block(begin, _strip_code(" ".join(paragraph.split())))
        is_literal = is_literal or paragraph.rstrip().endswith("::")


def read_comments(text: str) -> Iterator[Block]:
    """Yield the comments of YAML."""
    yield from _join_comments(
        ((number, match.start(1)), match[1])
        for number, line in enumerate(text.splitlines(), 1)
        if (match := re.search(r"(?:^|\s)(#.*)", line))
    )


def _join_comments(comments: Iterator[tuple[tuple[int, int], str]]) -> Iterator[Block]:
    """Join comments on successive lines that begin at the same column."""
    begin, last, words = 0, (0, 0), list[str]()
    for (line, column), comment in comments:
        text = comment.strip("# -")
        if words and text and (line, column) == (last[0] + 1, last[1]):
            words.append(text)
        else:
            if words:
                yield Block(begin, _strip_code(" ".join(words)))
            begin, words = line, [text] if text else []
        last = (line, column)
    if words:
        yield Block(begin, _strip_code(" ".join(words)))


def _strip_code(text: str) -> str:
    return re.sub(r"``.+?``|`[^`]+`", CODE, text)


READERS: Final = {".md": read_markdown, ".py": read_python, ".yaml": read_comments}


def check(block: Block) -> Iterator[Problem]:
    """Yield the problems of a block of prose, by the rules of its language."""
    is_chinese = CHINESE.search(block.text)
    for rule in CHINESE_RULES if is_chinese else ENGLISH_RULES:
        for match in rule.pattern.finditer(block.text):
            around = block.text[max(match.start() - 15, 0) : match.end() + 15]
            yield Problem(block.line, around.replace(CODE, "`…`"), rule.message)
    if not is_chinese:
        for sentence in re.split(r"(?<=[.!?]) +|: +(?=[A-Z])", block.text):
            count = len(re.findall(rf"[\w{CODE}][\w{CODE}'./-]*", sentence))
            if count > MAX_WORDS:
                yield Problem(
                    block.line, sentence[:60].replace(CODE, "`…`"), f"split this sentence of {count} words"
                )


def check_file(path: Path) -> list[Problem]:
    """Return the problems of a file, by line."""
    blocks = READERS[path.suffix](path.read_text(encoding="utf-8"))
    return sorted((one for block in blocks for one in check(block)), key=lambda one: one.line)


def find_files(*patterns: str) -> set[Path]:
    """Return the files of the project that match a glob pattern."""
    return {path for pattern in patterns for path in ROOT.glob(pattern)}


def main() -> int:
    """Print every problem; return 1 if there is one."""
    pending = set() if "--all" in sys.argv[1:] else find_files(*PENDING)
    failed = False
    for path in sorted(find_files(*SCOPE) - pending):
        for one in check_file(path):
            print(f"{path.relative_to(ROOT)}:{one.line}: {one.message}: {one.phrase}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
