"""The documents about the configuration match the schema, in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook.images.patterns import parse_pattern
from webhook.images.reference import parse_reference
from webhook.policy.loading import parse_policy
from webhook.policy.schema import build_json_schema

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {
    "en": (DOCS / "configuration.md").read_text(encoding="utf-8"),
    "zh": (DOCS / "configuration.zh-CN.md").read_text(encoding="utf-8"),
}
REQUIRED = {"en": "required", "zh": "必填"}
NO_DEFAULT = "–"  # noqa: RUF001 - what the tables show

ROW = re.compile(r"^\| `([A-Za-z\[\].]+)` \| (`[^`]*`|required|必填|–) \| (.+) \|$", re.MULTILINE)  # noqa: RUF001
PATTERN_ROW = re.compile(
    r"^\| `([^`]*\*[^`]*|nginx|[^`]*/web)` \| `([^`]+)` \| (?:`([^`]+)` )?\|$", re.MULTILINE
)
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST: dict[str, Any] = {
    "apiVersion": "swr-trust/v1",
    "kind": "TrustPolicy",
    "registries": [{"region": "cn-north-4"}],
    "credentials": {"kind": "token", "tokenFile": "/etc/swr/token"},
}


def schema_keys() -> dict[str, str]:
    """Return every key of the schema by its path, with its default as the documents show it."""
    schema = build_json_schema()

    def resolve(part: dict[str, Any]) -> dict[str, Any]:
        name = part.get("$ref", "").rpartition("/")[2]
        found: dict[str, Any] = schema["$defs"][name] if name else part
        return found

    def walk(part: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for key, value in part["properties"].items():
            here = f"{path}{key}"
            if key in part.get("required", ()):
                yield here, "required"
            elif "default" in value:
                default = value["default"]
                shown = default if isinstance(default, str) and default else json.dumps(default)
                yield here, f"`{shown}`"
            else:
                yield here, NO_DEFAULT
            inner = resolve(value.get("items", value))
            if "properties" in inner and here != "registries[].credentials":
                yield from walk(inner, f"{here}[]." if value.get("type") == "array" else f"{here}.")

    return dict(walk(schema, ""))


@pytest.mark.parametrize("language", PAGES)
def test_every_schema_key_is_documented_with_its_default(language: str) -> None:
    """Every key has a row, every row has a key, and the defaults are the program's."""
    written = {
        key: "required" if default == REQUIRED[language] else default
        for key, default, _ in ROW.findall(PAGES[language])
        if key != "nginx"  # an image pattern
    }
    assert written == schema_keys()


def test_both_pages_have_the_same_tables_and_examples() -> None:
    """In the same order."""
    english, chinese = PAGES["en"], PAGES["zh"]
    assert [row[0] for row in ROW.findall(english)] == [row[0] for row in ROW.findall(chinese)]
    assert BLOCK.findall(english) == BLOCK.findall(chinese)
    assert PATTERN_ROW.findall(english) == PATTERN_ROW.findall(chinese)
    assert len(re.findall(r"^## ", english, re.MULTILINE)) == len(re.findall(r"^## ", chinese, re.MULTILINE))
    assert len(re.findall(r"^\|", english, re.MULTILINE)) == len(re.findall(r"^\|", chinese, re.MULTILINE))


SIGNATURES = (DOCS / "signatures.md").read_text(encoding="utf-8")
POLICIES = [
    text
    for text in BLOCK.findall(PAGES["en"] + SIGNATURES)
    if not text.startswith("# in values.yaml")  # values of the chart
]


@pytest.mark.parametrize("text", POLICIES, ids=lambda text: text.partition("\n")[0])
def test_every_documented_example_is_valid_policy(text: str) -> None:
    """As it is, or with the required keys added."""
    rest = {key: value for key, value in REST.items() if f"\n{key}:" not in f"\n{text}"}
    parse_policy(text + (yaml.safe_dump(rest) if rest else ""), with_keys=False)


EXAMPLES = PATTERN_ROW.findall(PAGES["en"])


def test_pattern_examples_are_found() -> None:
    """All rows of the table."""
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize(("pattern", "match", "other"), EXAMPLES)
def test_pattern_examples_match_as_documented(pattern: str, match: str, other: str) -> None:
    """The pattern matches one image and not the other."""
    compiled = parse_pattern(pattern)
    assert compiled.matches(parse_reference(match))
    assert not other or not compiled.matches(parse_reference(other))


@pytest.mark.parametrize("language", PAGES)
def test_every_link_has_existing_target(language: str) -> None:
    """Files that exist, and headings of the document."""
    page = PAGES[language]
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", page):
        file, _, anchor = target.partition("#")
        if file:
            assert (DOCS / file).exists(), target
        else:
            assert anchor in anchors, target
