"""JUnit XML for CI servers: one test case per image use, one suite per file."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # only writes, never parses
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from webhook.admission.messages import Messages, printable
from webhook.cli.manifests import ReviewedUse
from webhook.policy.findings import Finding

MAX_TEXT: Final = 300


def build_junit(reviewed: Sequence[ReviewedUse], messages: Messages) -> str:
    """Return the report. A denied image is a ``failure``, or an ``error`` if SWR could not be queried."""
    root = ET.Element("testsuites", name="swr-trust review")
    for file, group in groupby(reviewed, lambda item: item.manifest.file):
        items = list(group)
        suite = ET.SubElement(root, "testsuite", name=_text(file))
        verdicts = [_add_case(suite, item, messages) for item in items]
        suite.set("tests", str(len(items)))
        suite.set("failures", str(verdicts.count("failure")))
        suite.set("errors", str(verdicts.count("error")))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ET.Element, item: ReviewedUse, messages: Messages) -> str:
    result, manifest = item.result, item.manifest
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_text(f"{manifest.kind}/{manifest.name}"),
        name=_text(f"{result.use.field} {result.use.image}"),
        file=_text(manifest.file),
        line=str(item.line),
    )
    if not result.would_deny:
        return ""
    finding = result.check.finding
    verdict = "error" if finding is Finding.UNKNOWN else "failure"
    what = messages.describe(result)
    element = ET.SubElement(case, verdict, type=finding.value, message=_text(what))
    where = f"{manifest.file}:{item.line}: {result.use.field}"
    element.text = _text(f"{where}: {what}. {messages.advise(result)}")
    return verdict


def _text(text: str) -> str:
    # XML 1.0 cannot contain control characters, not even escaped.
    return printable(text, MAX_TEXT * 2)
