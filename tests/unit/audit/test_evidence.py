"""Evidence report from the decision log."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import logging
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import DIGEST, pod, request
from tests.support.serving import COMMAND
from webhook.admission.extraction import ImageUse
from webhook.admission.mutation import Mutation, Pin
from webhook.app.mutation_recorder import MutationRecorder
from webhook.audit.evidence import Evidence, EvidenceReader, evidence_as_csv
from webhook.cli.main import main
from webhook.telemetry.logs import LineLog
from webhook.telemetry.metrics import Metrics

IMAGE = "swr.cn-north-4.myhuaweicloud.com/shop/api:1"


def line(**changes: Any) -> dict[str, Any]:
    """Return a denial in the decision log."""
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
    reader.read(io.BytesIO(b"".join(text.rstrip(b"\n") + b"\n" for text in lines)))
    return reader.finish()


def test_repeated_denial_is_one_row() -> None:
    """A ReplicaSet retries each second; the row has the first time, the last time and the count."""
    evidence = read(line(), line(ts="2026-11-10T09:00:00.000Z"), line(ts="2026-11-10T08:30:00.000Z"))
    assert [(row.image, row.finding, row.count, row.first, row.last) for row in evidence.refused] == [
        (IMAGE, "untrusted", 3, "2026-11-10T08:00:00.000Z", "2026-11-10T09:00:00.000Z")
    ]
    assert evidence.outcomes == {"deny": 3}


def test_exemption_row_names_admitted_image() -> None:
    """By exemption, namespace and image."""
    evidence = read(line(decision="allow", findings=finding("exempt", "allow", exemption="CCE add-ons")))
    assert [(row.exemption, row.namespace, row.image, row.count) for row in evidence.exempted] == [
        ("CCE add-ons", "shop", IMAGE, 1)
    ]


def test_break_glass_row_has_user_time_and_reason() -> None:
    """One row per use; its images do not count as denied."""
    evidence = read(
        line(decision="warn", user="alice", breakGlass="incident 7", findings=finding("untrusted", "warn"))
    )
    assert [(row.at, row.user, row.reason, row.images) for row in evidence.glass] == [
        ("2026-11-10T08:00:00.000Z", "alice", "incident 7", (f"{IMAGE} (untrusted)",))
    ]
    assert (evidence.refused, evidence.watched) == ([], [])


def test_image_admitted_by_mode_is_not_listed_as_denied() -> None:
    """A warning or a record is not a denial."""
    evidence = read(line(decision="audit", findings=finding("missing", "record")))
    assert [row.finding for row in evidence.watched] == ["missing"]
    assert evidence.refused == []


def test_denial_without_images_is_listed() -> None:
    """The object could not be read."""
    evidence = read(line(findings=[], reason="the object cannot be judged"))
    assert [(row.finding, row.image) for row in evidence.refused] == [
        ("not judged", "the object cannot be judged")
    ]


def test_dry_runs_are_counted_separately() -> None:
    """They have no effect."""
    evidence = read(line(dryRun=True))
    assert (evidence.decisions, evidence.dry_runs, evidence.refused) == (0, 1, [])


def test_period_includes_since_and_excludes_until() -> None:
    """``since`` is the first moment, and ``until`` the first one after the period."""
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


def test_other_lines_are_skipped_and_truncated_records_are_counted() -> None:
    """An unrelated line is not a gap, a truncated record is one. A collector's prefix is removed."""
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


def test_mutations_are_not_counted_as_decisions() -> None:
    """Written by the webhook's own recorder. Pinning decides nothing, and the report stays complete."""
    stream = io.StringIO()
    use = ImageUse("spec.containers[0].image", ("containers", "c0"), IMAGE)
    mutation = Mutation.of([Pin(use, f"{IMAGE}@{DIGEST}")], [], "v1")
    recorder = MutationRecorder(Metrics("1"), LineLog(stream, "json", logging.INFO))
    recorder.observe_mutation(request(pod(IMAGE)), mutation, 0.01)
    evidence = read(stream.getvalue().encode(), line())
    assert (evidence.decisions, evidence.other_lines, evidence.unreadable, evidence.is_partial) == (
        1,
        1,
        0,
        False,
    )


def test_records_with_wrong_types_do_not_raise() -> None:
    """Any JSON value where a string is expected."""
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
def test_any_line_is_read_without_exception(raw: bytes, fields: dict[str, Any], findings: list[Any]) -> None:
    """Many tools process logs; every result can be written as CSV."""
    evidence = read(raw, line(**fields), line(findings=findings, breakGlass=fields.get("user")))
    assert evidence_as_csv(evidence)


REPLICASETS = "system:serviceaccount:kube-system:replicaset-controller"
JOBS = "system:serviceaccount:kube-system:job-controller"
STATEFUL_SETS = "system:serviceaccount:kube-system:statefulset-controller"
DAEMON_SETS = "system:serviceaccount:kube-system:daemon-set-controller"


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({"object": "api-7d4b9c-x2zvq", "user": REPLICASETS}, "ReplicaSet/api-7d4b9c"),
        ({"object": "api-7d4b9c-*", "user": REPLICASETS}, "ReplicaSet/api-7d4b9c"),
        ({"object": "report-29384-x2zvq", "user": JOBS}, "Job/report-29384"),
        ({"object": "agent-x2zvq", "user": DAEMON_SETS}, "DaemonSet/agent"),
        ({"object": "db-12", "user": STATEFUL_SETS}, "StatefulSet/db"),
        ({"object": "x2zvq", "user": REPLICASETS}, "Pod/x2zvq"),
        ({"object": "api-7d4b9c-x2zvq", "user": "alice"}, "Pod/api-7d4b9c-x2zvq"),
        ({"object": "api-NOT-made", "user": REPLICASETS}, "Pod/api-NOT-made"),
        ({"object": "api", "kind": "Deployment", "user": "alice"}, "Deployment/api"),
        ({"object": "web-1", "user": "alice", "owner": "CloneSet/web"}, "CloneSet/web"),
    ],
)
def test_denial_is_listed_by_workload(fields: dict[str, Any], row: str) -> None:
    """Fault E5: by the owner in the log, otherwise by the controller's user and the name."""
    (refused,) = read(line(**fields)).refused
    assert f"{refused.kind}/{refused.object}" == row


def test_retries_of_workload_are_one_row() -> None:
    """Fault E5: a ReplicaSet retries for hours, each time with another name."""
    names = [f"api-7d4b9c-{a}{b}{c}xz" for a in "bcdfgh" for b in "2456789" for c in "bcdfghjklm"]
    evidence = read(*(line(object=name) for name in names))
    assert [(row.kind, row.object, row.count) for row in evidence.refused] == [
        ("ReplicaSet", "api-7d4b9c", len(names))
    ]


def test_rows_beyond_text_limit_are_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C4: the sum of what is kept is bounded, not the number of rows alone."""
    monkeypatch.setattr("webhook.audit.evidence.MAX_BYTES", 2000)
    many = [{"image": f"{number}/{'x' * 250}", "finding": "untrusted"} for number in range(10)]
    evidence = read(line(), line(decision="warn", breakGlass="incident", findings=many))
    assert (len(evidence.refused), evidence.glass, evidence.omitted, evidence.is_partial) == (1, [], 1, True)


def test_unknown_decisions_are_counted_as_other() -> None:
    """Fault C4: the number of separate counters is bounded, too."""
    evidence = read(*(line(decision=f"d{number}", findings=[]) for number in range(100)))
    assert (len(evidence.outcomes), evidence.outcomes["other"]) == (33, 68)


def test_evidence_csv_is_one_table() -> None:
    """One table contains all."""
    text = evidence_as_csv(read(line(), line(decision="warn", breakGlass="=1", findings=[])))
    assert text.splitlines()[0] == ("kind,namespace,object,image,finding,name,user,count,first,last,reason")
    assert [row.split(",")[0] for row in text.splitlines()[1:]] == ["refused", "break-glass"]
    assert text.splitlines()[2].endswith(",'=1")


def test_evidence_command_reads_gzip_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rotated logs are gzip files."""
    path = tmp_path / "webhook.log.gz"
    path.write_bytes(gzip.compress(json.dumps(line()).encode()))
    assert main(["evidence", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 decisions, 1 denied, 0 exempted images, 0 by break-glass"
    )


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
def test_missing_log_file_makes_report_partial(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, and the file is named."""
    path = tmp_path / "webhook.log"
    path.write_text(json.dumps(line()) + "\n", encoding="utf-8")
    assert main(["evidence", "-o", output, str(path), "/nowhere.log"]) == 3
    said = capsys.readouterr()
    assert "/nowhere.log cannot be read: No such file or directory" in said.out + said.err
    assert IMAGE in said.out


def test_log_without_decisions_exits_with_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is probably the wrong file."""
    path = tmp_path / "other.log"
    path.write_text("hello\n", encoding="utf-8")
    assert main(["evidence", str(path)]) == 3
    assert "the log contains no decisions of that time" in capsys.readouterr().out


def test_invalid_period_exits_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """The error shows the format."""
    assert main(["evidence", "--since", "November", "x"]) == 2
    assert "such as 2026-11-01" in capsys.readouterr().err


def test_partly_wrapped_log_loses_no_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fault E5: six decisions, four of them wrapped by a collector."""
    path = tmp_path / "webhook.log"
    text = json.dumps(line())
    wrapped = json.dumps({"log": f"{text}\n", "stream": "stdout"})
    path.write_text(f"{text}\n{wrapped}\n{wrapped}\n{text}\n{wrapped}\n{wrapped}", encoding="utf-8")
    assert main(["evidence", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "6 decisions, 6 denied, 0 exempted images, 0 by break-glass"
    )


TABLES = """\
Break-glass:
WHEN  USER  REASON  NAMESPACE  OBJECT

Exempted:
EXEMPTION  NAMESPACE  IMAGE  TIMES  LAST

Denied:
"""


def test_truncated_table_states_number_of_omitted_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault E5: twenty rows must not look like all rows."""
    path = tmp_path / "webhook.log"
    records = [line(object=f"api-{number}", user="alice") for number in range(23)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    assert main(["evidence", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(TABLES)
    assert out.splitlines()[-4:-1] == [
        out.splitlines()[-4],
        "3 more: use -o csv, json or html for all rows",
        "",
    ]
    assert "Pod/api-19" in out.splitlines()[-4]


@pytest.mark.parametrize("output", ["table", "json", "csv", "html"])
def test_unreadable_lines_are_counted_in_every_format(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault E5: PARTIAL with a count, exit code 3."""
    path = tmp_path / "webhook.log"
    path.write_text(json.dumps(line()) + "\n" + json.dumps(line())[:200], encoding="utf-8")
    assert main(["evidence", "-o", output, str(path)]) == 3
    said = capsys.readouterr()
    assert "1 line(s) of the log cannot be read" in said.out + said.err


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_line_without_end_is_skipped_in_bounded_memory(
    tmp_path: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault C4: it is skipped in pieces and makes the report PARTIAL; the lines around it count."""
    record = json.dumps(line()).encode() + b"\n"
    piece = b"{" * 2**24
    path = tmp_path / "webhook.log"
    with path.open("wb") as stream:
        for _ in range(2):
            stream.write(gzip.compress(record) if packed else record)
            for _ in range(8):
                stream.write(gzip.compress(piece, 1) if packed else piece)
            stream.write(gzip.compress(b"\n") if packed else b"\n")
        stream.write(gzip.compress(record) if packed else record)
    tracemalloc.start()
    try:
        assert main(["evidence", str(path)]) == 3
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "This report is PARTIAL: 2 line(s) of the log cannot be read.",
        "3 decisions, 3 denied, 0 exempted images, 0 by break-glass",
    ]


@pytest.mark.slow
def test_gzip_line_of_one_gigabyte_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    """Fault C4: the program itself, on an archive of some megabytes."""
    path = tmp_path / "webhook.log.gz"
    piece = gzip.compress(b"{" * 2**24)
    path.write_bytes(gzip.compress(json.dumps(line()).encode() + b"\n") + piece * 64)
    limit = f"ulimit -v {600 * 1024}; exec {COMMAND[0]} evidence {path}"
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines()[-2:] == [
        "This report is PARTIAL: 1 line(s) of the log cannot be read.",
        "1 decisions, 1 denied, 0 exempted images, 0 by break-glass",
    ]


@pytest.mark.parametrize("name", ["webhook.log", "webhook.log.gz", "webhook.log.1"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_gzip_log_is_detected_by_content(
    tmp_path: Path, name: str, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault C4: rotation and downloads rename files; several archives in one file are one log."""
    record = json.dumps(line()).encode() + b"\n"
    path = tmp_path / name
    path.write_bytes((gzip.compress(record) if packed else record) * 3)
    assert main(["evidence", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 decisions")


def broken(kind: str) -> bytes:
    """Return a damaged archive of 1,000 decisions."""
    data = gzip.compress((json.dumps(line()).encode() + b"\n") * 1000, 0)
    if kind == "cut off":
        return data[:-3000]
    if kind == "another byte":
        return data[:200_000] + b"\xff" + data[200_001:]
    if kind == "a wrong block":
        return data[:10] + b"\x07" + data[11:]
    return data + b"something else"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("cut off", "Compressed file ended before the end-of-stream marker was reached"),
        ("another byte", "CRC check failed"),
        ("a wrong block", "Error -3 while decompressing data: invalid block type"),
        ("something behind it", "Not a gzipped file"),
    ],
)
def test_damaged_archive_makes_report_partial(
    tmp_path: Path, kind: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault C4: the decisions before the damage count, and the gap is reported."""
    path = tmp_path / "webhook.log.gz"
    path.write_bytes(broken(kind))
    assert main(["evidence", str(path)]) == 3
    assert f"This report is PARTIAL: {path} cannot be read: {problem}" in capsys.readouterr().out
