"""Evidence from the decision log."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving import COMMAND
from webhook.audit.evidence import Evidence, EvidenceReader, evidence_as_csv
from webhook.cli.main import main

IMAGE = "swr.cn-north-4.myhuaweicloud.com/shop/api:1"


def line(**changes: Any) -> dict[str, Any]:
    """Return a record of the decision log: a refusal."""
    return {
        "ts": "2026-11-10T08:00:00.000Z",
        "level": "info",
        "logger": "webhook.decisions",
        "message": "decided",
        "uid": "1",
        "decision": "deny",
        "allowed": False,
        "kind": "Pod",
        "namespace": "shop",
        "object": "api-*",
        "user": "system:serviceaccount:kube-system:replicaset-controller",
        "findings": [
            {"field": "spec.containers[0].image", "image": IMAGE, "finding": "untrusted", "effect": "deny"}
        ],
        **changes,
    }


def finding(name: str, effect: str, **rest: Any) -> list[dict[str, Any]]:
    """Return the findings of a record."""
    return [{"field": "f", "image": IMAGE, "finding": name, "effect": effect, **rest}]


def read(*records: dict[str, Any] | bytes, **period: Any) -> Evidence:
    """Read records."""
    reader = EvidenceReader(**period)
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    reader.read(io.BytesIO(b"\n".join(lines)))
    return reader.finish()


def test_a_refusal_that_is_repeated_is_one_row() -> None:
    """A ReplicaSet tries again each second; first, last and how often are kept."""
    evidence = read(line(), line(ts="2026-11-10T09:00:00.000Z"), line(ts="2026-11-10T08:30:00.000Z"))
    assert [(row.image, row.finding, row.count, row.first, row.last) for row in evidence.refused] == [
        (IMAGE, "untrusted", 3, "2026-11-10T08:00:00.000Z", "2026-11-10T09:00:00.000Z")
    ]
    assert evidence.outcomes == {"deny": 3}


def test_an_exemption_is_named_with_what_it_let_in() -> None:
    """By exemption, namespace and image."""
    evidence = read(line(decision="allow", findings=finding("exempt", "allow", exemption="CCE add-ons")))
    assert [(row.exemption, row.namespace, row.image, row.count) for row in evidence.exempted] == [
        ("CCE add-ons", "shop", IMAGE, 1)
    ]


OWNED = {"owner": "ReplicaSet/api-7c5b9d"}
TRIES = [
    (
        "the log names the owner",
        [line(object=f"api-7c5b9d-{n:05}", **OWNED) for n in range(2000)],
        "ReplicaSet/api-7c5b9d",
    ),
    (
        "an older log",
        [line(object=f"api-7c5b9d-bcdf{'245678'[n % 6]}") for n in range(2000)],
        "Pod/api-7c5b9d-*",
    ),
]


@pytest.mark.parametrize(("lines", "who"), [case[1:] for case in TRIES], ids=[case[0] for case in TRIES])
def test_retries_of_a_workload_are_one_row(lines: list[dict[str, Any]], who: str) -> None:
    """Fault E5: each try of a controller names its Pod anew."""
    (row,) = read(*lines).refused
    assert (f"{row.kind}/{row.object}", row.count) == (who, 2000)


def test_pods_that_a_person_created_are_rows_of_their_own() -> None:
    """Their names were chosen, whatever they look like."""
    evidence = read(line(object="api-bcdfg", user="alice"), line(object="api-bcdfh", user="alice"))
    assert sorted(row.object for row in evidence.refused) == ["api-bcdfg", "api-bcdfh"]


def plain(record: dict[str, Any]) -> str:
    """Return a record as the webhook writes it."""
    return json.dumps(record)


WRAPPERS: dict[str, Any] = {
    "as it is": lambda text: [text],
    "a runtime's prefix": lambda text: [f"2026-11-10T08:00:00.1Z stdout F {text}"],
    "a runtime's parts": lambda text: [
        f"2026-11-10T08:00:00.1Z stdout P {text[:40]}",
        f"2026-11-10T08:00:00.1Z stdout P {text[40:90]}",
        f"2026-11-10T08:00:00.1Z stdout F {text[90:]}",
    ],
    "Docker": lambda text: [json.dumps({"log": text + "\n", "stream": "stdout", "time": "t"})],
    "Docker's parts": lambda text: [
        json.dumps({"log": text[:50], "stream": "stdout", "time": "t"}),
        json.dumps({"log": text[50:] + "\n", "stream": "stdout", "time": "t"}),
    ],
    "a collector": lambda text: [
        json.dumps({"@timestamp": "t", "message": text, "kubernetes": {"pod": "x"}})
    ],
    "a collector of a runtime's lines": lambda text: [
        json.dumps({"content": f"2026-11-10T08:00:00.1Z stdout F {text}", "cluster": "c"})
    ],
    "a collector of Docker's lines": lambda text: [
        json.dumps({"msg": json.dumps({"log": text + "\n", "stream": "stdout"}), "host": "h"})
    ],
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_collectors_wrap_is_unwrapped(wrapper: str) -> None:
    """Fault E5: no decision is lost without a word."""
    lines = [wrapped for _ in range(6) for wrapped in WRAPPERS[wrapper](plain(line()))]
    evidence = read("".join(f"{text}\n" for text in lines).encode())
    assert (evidence.decisions, evidence.is_partial) == (6, False)


def test_a_log_that_is_wrapped_in_part_loses_nothing() -> None:
    """Fault E5: a file in which every way of writing a line occurs."""
    lines = [wrapped for wrap in WRAPPERS.values() for wrapped in wrap(plain(line()))]
    evidence = read("".join(f"{text}\n" for text in lines).encode())
    assert (evidence.decisions, evidence.is_partial) == (len(WRAPPERS), False)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"log": plain(line())[:50] + "\n", "stream": "stdout"}),
        json.dumps({"log": plain(line())[:50], "stream": "stdout"}),
        f"2026-11-10T08:00:00.1Z stdout P {plain(line())[:50]}",
        plain(line())[:50],
    ],
    ids=["Docker", "Docker's first part", "a runtime's first part", "as it is"],
)
def test_a_line_that_is_cut_off_makes_the_report_partial(text: str) -> None:
    """Fault E5: what cannot be put together again is counted."""
    evidence = read(line(), f"{text}\n".encode())
    assert (evidence.decisions, evidence.unreadable, evidence.is_partial) == (1, 1, True)


class Endless:
    """A line of a gibibyte between two decisions, made as it is read."""

    def __init__(self) -> None:
        self._left = 2**30
        self._first = plain(line()).encode() + b"\n{"
        self._last = b"}\n" + plain(line()).encode() + b"\n"

    def read(self, size: int, /) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._left > 0:
            self._left -= 2**24
            return b"x" * 2**24
        last, self._last = self._last, b""
        return last


def test_a_line_without_end_takes_no_memory() -> None:
    """Fault C4: 1 MB of gzip may hold a line of 1 GiB; it is passed over, and the report is partial."""
    tracemalloc.start()
    reader = EvidenceReader()
    reader.read(Endless())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    evidence = reader.finish()
    assert (evidence.decisions, evidence.unreadable, evidence.is_partial) == (2, 1, True)
    assert most < 128 * 2**20


@pytest.mark.slow
def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """Fault C4: the program itself, on a file of 250 KB."""
    path = tmp_path / "log.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(plain(line()).encode() + b"\n")
        for _ in range(256):
            packed.write(b"{" * 2**20)
    limit = f"ulimit -v {600 * 1024}; exec {COMMAND[0]} evidence {path}"
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
    assert "This report is PARTIAL: 1 line(s) of the log cannot be read." in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 decisions, 1 refused")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: data[:40] + b"\xff" * 20 + data[60:]]
)
def test_a_damaged_archive_is_partial(
    tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off, or with other bytes in the middle."""
    path = tmp_path / "log.gz"
    path.write_bytes(damage(gzip.compress(plain(line(uid="x" * 500)).encode() + b"\n")))
    assert main(["evidence", str(path)]) == 3
    assert "This report is PARTIAL" in capsys.readouterr().out


def test_a_table_says_how_many_rows_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault E5: it stops at twenty."""
    path = tmp_path / "log"
    path.write_text("".join(plain(line(namespace=f"n{n}")) + "\n" for n in range(25)), encoding="utf-8")
    assert main(["evidence", str(path)]) == 0
    assert "and 5 more; -o json, csv or html lists all of them" in capsys.readouterr().out.splitlines()


def test_break_glass_says_who_when_and_why() -> None:
    """Each use for itself; its images are no refusals."""
    evidence = read(
        line(decision="warn", user="alice", breakGlass="incident 7", findings=finding("untrusted", "warn"))
    )
    assert [(row.at, row.user, row.reason, row.images) for row in evidence.glass] == [
        ("2026-11-10T08:00:00.000Z", "alice", "incident 7", (f"{IMAGE} (untrusted)",))
    ]
    assert (evidence.refused, evidence.watched) == ([], [])


def test_what_a_mode_let_in_stands_apart() -> None:
    """Warned of or recorded is not refused."""
    evidence = read(line(decision="audit", findings=finding("missing", "record")))
    assert [row.finding for row in evidence.watched] == ["missing"]
    assert evidence.refused == []


def test_a_refusal_without_images_is_one() -> None:
    """An object that could not be read."""
    evidence = read(line(findings=[], reason="the object cannot be judged"))
    assert [(row.finding, row.image) for row in evidence.refused] == [
        ("not judged", "the object cannot be judged")
    ]


def test_dry_runs_are_counted_apart() -> None:
    """Nothing came of them."""
    evidence = read(line(dryRun=True))
    assert (evidence.decisions, evidence.dry_runs, evidence.refused) == (0, 1, [])


def test_the_period() -> None:
    """From the first moment of ``since`` to right before ``until``."""
    stamps = [
        "2026-10-31T23:59:59.999Z",
        "2026-11-01T00:00:00.000Z",
        "2026-11-30T23:59:59.999Z",
        "2026-12-01T00:00:00.000Z",
    ]
    evidence = read(
        *(line(ts=stamp) for stamp in stamps),
        since=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        until=dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
    )
    assert (evidence.decisions, evidence.first, evidence.last) == (2, stamps[1], stamps[2])


def test_what_is_no_record_is_passed_over_and_what_is_broken_is_counted() -> None:
    """Other lines are no gap; a record that was cut off is one. A collector's prefix is removed."""
    evidence = read(
        b"Traceback (most recent call last):\n",
        {"logger": "webhook.server", "message": "serving"},
        json.dumps(line()).encode()[:100],
        b"pod/gate-1 " + json.dumps(line()).encode(),
    )
    assert (evidence.decisions, evidence.other_lines, evidence.unreadable, evidence.is_partial) == (
        1,
        2,
        1,
        True,
    )


def test_hostile_records_are_no_crash() -> None:
    """Any JSON where text is expected."""
    evidence = read(line(findings=[1, {"image": {}}], user=[], ts=3, breakGlass=None))
    assert evidence.decisions == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["ts", "decision", "findings", "breakGlass", "dryRun", "namespace", "user", "kind"])


@pytest.mark.slow
@settings(max_examples=60)
@given(st.binary(max_size=60), st.dictionaries(FIELDS, JSON), st.lists(st.dictionaries(st.text(), JSON)))
def test_no_line_is_a_crash(raw: bytes, fields: dict[str, Any], findings: list[Any]) -> None:
    """Logs pass through many hands; whatever comes out can be written as CSV."""
    evidence = read(raw, line(**fields), line(findings=findings, breakGlass=fields.get("user")))
    assert evidence_as_csv(evidence)


def test_csv() -> None:
    """One table for all."""
    text = evidence_as_csv(read(line(), line(decision="warn", breakGlass="=1", findings=[])))
    assert text.splitlines()[0] == ("kind,namespace,object,image,finding,name,user,count,first,last,reason")
    assert [row.split(",")[0] for row in text.splitlines()[1:]] == ["refused", "break-glass"]
    assert text.splitlines()[2].endswith(",'=1")


def test_the_command_reads_packed_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rotated logs are gzip files."""
    path = tmp_path / "webhook.log.gz"
    path.write_bytes(gzip.compress(json.dumps(line()).encode()))
    assert main(["evidence", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 decisions, 1 refused, 0 exempted images, 0 by break-glass"
    )


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
def test_a_file_that_is_missing_makes_the_report_partial(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, and it says which."""
    path = tmp_path / "webhook.log"
    path.write_text(json.dumps(line()) + "\n", encoding="utf-8")
    assert main(["evidence", "-o", output, str(path), "/nowhere.log"]) == 3
    said = capsys.readouterr()
    assert "/nowhere.log cannot be read: No such file or directory" in said.out + said.err
    assert "api-*" in said.out


def test_a_log_without_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Most likely the wrong file."""
    path = tmp_path / "other.log"
    path.write_text("hello\n", encoding="utf-8")
    assert main(["evidence", str(path)]) == 3
    assert "the log holds no decisions of that time" in capsys.readouterr().out


def test_a_period_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and how to write it."""
    assert main(["evidence", "--since", "November", "x"]) == 2
    assert "such as 2026-11-01" in capsys.readouterr().err
