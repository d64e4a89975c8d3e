"""Decisions in the line formats of log collectors."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.audit.log_lines import LOGGER, MAX_INCOMPLETE, MAX_LINE, DecisionLines


def decision(uid: str = "1", **fields: Any) -> str:
    """Return a line as the webhook writes it, without its line feed."""
    return json.dumps({"ts": "2026-11-10T08:00:00.000Z", "logger": LOGGER, "uid": uid, **fields})


OTHER = json.dumps({"logger": "webhook.server", "message": "serving"})
LONG = decision(image="x{}/" * 100)
STAMP = "2026-11-10T08:00:00.123456789Z"


def read(*lines: str) -> tuple[list[str], int, int]:
    """Return the uids of the decisions, and the numbers of other and of unreadable lines."""
    reader = DecisionLines()
    text = "".join(f"{line}\n" for line in lines)
    found = [record["uid"] for record in reader.read(io.BytesIO(text.encode("utf-8", "surrogateescape")))]
    return found, reader.other_lines, reader.unreadable


def docker(text: str, stream: str = "stdout") -> str:
    """Return a record of Docker's json-file."""
    return json.dumps({"log": text, "stream": stream, "time": STAMP})


@pytest.mark.parametrize(
    "wrapped",
    [
        decision(),
        f"[pod/gate-1/webhook] {decision()}",
        f"{STAMP} {decision()}",
        docker(f"{decision()}\n"),
        f"{STAMP} stdout F {decision()}",
        f"pod/gate-1 {STAMP} stdout F {decision()}",
        json.dumps({"log": decision(), "kubernetes": {"pod_name": "gate-1"}}),
        json.dumps({"log": f"{STAMP} stdout F {decision()}"}),
        json.dumps({"log_processed": json.loads(decision()), "log": decision()}),
        json.dumps({"message": decision(), "@timestamp": STAMP}),
        json.dumps({"content": f"{decision()}\n", "labels": {"podName": "gate-1"}}),
        json.dumps({"line": decision(), "labels": {}}),
        json.dumps({"_raw": decision(), "logger": "collector"}),
        json.dumps({"message": docker(f"{decision()}\n")}),
        json.dumps([{"content": decision()}]),
        json.dumps({"msg": json.loads(decision())}),
    ],
)
def test_wrapped_decision_is_found(wrapped: str) -> None:
    """Fault E5: exactly once, in the format of every collector."""
    assert read(wrapped) == (["1"], 0, 0)


def test_mixed_log_loses_no_decision() -> None:
    """Fault E5: lines of the webhook, of Docker and of containerd in one file."""
    lines = [
        decision("1"),
        docker(f"{decision('2')}\n"),
        f"{STAMP} stdout F {decision('3')}",
        OTHER,
        docker(f"{OTHER}\n"),
        docker("Traceback (most recent call last):\n", "stderr"),
        json.dumps({"log": decision("4")}),
    ]
    assert read(*lines) == (["1", "2", "3", "4"], 3, 0)


def mutation(**fields: Any) -> str:
    """Return the line of a mutation as the webhook writes it."""
    pinned = {"field": "spec.containers[0].image", "image": "swr.example.com/a/b:1@sha256:1", "digest": "x"}
    record = {"logger": "webhook.mutations", "message": "mutated", "uid": "9", "pinned": [pinned], **fields}
    return json.dumps(record)


@pytest.mark.parametrize("form", ["bare", "docker", "cri", "fluent", "list", "object"])
@pytest.mark.parametrize("image", ["swr.example.com/a/b:1", f"swr.example.com/a/{LOGGER}:1", "{}"])
def test_mutation_is_no_decision(form: str, image: str) -> None:
    """It is another line, also if the author of a Pod writes the name of the logger into an image."""
    text = mutation(notPinned=[{"field": "spec.containers[1].image", "image": image, "reason": "untrusted"}])
    wrapped = {
        "bare": text,
        "docker": docker(f"{text}\n"),
        "cri": f"{STAMP} stdout F {text}",
        "fluent": json.dumps({"log": text, "kubernetes": {"pod_name": "gate-1"}}),
        "list": json.dumps([{"content": text}]),
        "object": json.dumps({"msg": json.loads(text)}),
    }
    assert read(wrapped[form], decision()) == (["1"], 1, 0)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("form", ["docker", "cri"])
def test_partial_lines_are_joined(form: str, size: int) -> None:
    """Fault E5: runtimes split lines at 16 KiB, with lines of the other stream in between."""
    pieces = [LONG[start : start + size] for start in range(0, len(LONG), size)]
    lines = []
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        if form == "docker":
            lines += [docker("oops\n", "stderr"), docker(piece + ("\n" if last else ""))]
        else:
            lines += [f"{STAMP} stderr F oops", f"{STAMP} stdout {'F' if last else 'P'} {piece}"]
    assert read(*lines) == (["1"], len(pieces), 0)


@pytest.mark.parametrize(
    "lines",
    [
        [f"{STAMP} stdout P {LONG[:100]}"],
        [docker(LONG[:100])],
        [docker(LONG[:100]), docker(f"{OTHER}\n")],
        [docker(f"{LONG[:100]}\n")],
        [f"{STAMP} stdout F {LONG[:100]}"],
        [LONG[:100]],
        [f'"2026","{decision().replace(chr(34), chr(34) * 2)}"'],
        [json.dumps({"unknownKey": decision()})],
        [json.dumps({"unknownKey": {"deeper": json.loads(decision())}})],
        [f"logger={LOGGER} uid=1"],
        ["x" * (MAX_LINE + 1)],
        [f"{STAMP} stdout P {'{' * (MAX_LINE // 2)}"] * 4 + [f"{STAMP} stdout F x"],
    ],
)
def test_line_that_may_hold_a_decision_is_counted_as_unreadable(lines: list[str]) -> None:
    """Fault E5: decisions are never lost silently."""
    found, _, unreadable = read(*lines)
    assert (found, unreadable) == ([], 1)


def test_incomplete_lines_of_many_sources_are_bounded() -> None:
    """Fault C4: the oldest is dropped and counted; at the end all are."""
    reader = DecisionLines()
    lines = (f"pod-{number} {STAMP} stdout P {{\n" for number in range(MAX_INCOMPLETE * 3))
    assert list(reader.read(io.BytesIO("".join(lines).encode()))) == []
    assert reader.unreadable == MAX_INCOMPLETE * 3


def test_line_after_one_without_end_is_read() -> None:
    """Fault C4: a line over the limit ends with its line feed."""
    assert read("{" * (MAX_LINE * 3), decision()) == (["1"], 0, 1)


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from(["plain", "docker", "cri", "fluent", "other", "pieces"]), min_size=1, max_size=12
    ),
    st.integers(1, 400),
)
def test_every_decision_of_any_mixture_is_found(forms: list[str], size: int) -> None:
    """In any order of the formats."""
    lines: list[str] = []
    for number, form in enumerate(forms):
        record = decision(str(number), image="{" * 30)
        if form == "docker":
            lines.append(docker(f"{record}\n"))
        elif form == "cri":
            lines.append(f"{STAMP} stdout F {record}")
        elif form == "fluent":
            lines.append(json.dumps({"log": record}))
        elif form == "other":
            lines.append(docker("hello\n"))
        elif form == "plain":
            lines.append(record)
        else:
            pieces = [record[start : start + size] for start in range(0, len(record), size)]
            lines += [f"{STAMP} stdout P {piece}" for piece in pieces]
            lines.append(f"{STAMP} stdout F ")
    found = [str(number) for number, form in enumerate(forms) if form != "other"]
    assert read(*lines) == (found, forms.count("other"), 0)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_line_is_read_without_exception(lines: list[bytes]) -> None:
    """Many tools process logs."""
    reader = DecisionLines()
    assert list(reader.read(io.BytesIO(b"\n".join(lines)))) == []
