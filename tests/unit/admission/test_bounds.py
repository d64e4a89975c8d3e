"""Limits of a body: equal on every Python version, and counted without decoding."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders import UID, pod, review
from webhook.admission import bounds
from webhook.admission.bounds import MAX_DEPTH, MAX_ELEMENTS, Structure, find_excess, split_into_pieces
from webhook.admission.review import read_review
from webhook.server.reviews import MAX_BODY

texts = st.text(alphabet='{}[]"\\,a\n\u00e9', max_size=8)
documents = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def naive_depth(value: Any) -> int:
    """Return the nesting depth of a decoded document."""
    if isinstance(value, dict):
        return 1 + max(map(naive_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(naive_depth, value), default=0)
    return 0


def naive_elements(value: Any) -> int:
    """Return the number of opening brackets and commas of a decoded document outside of strings."""
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        return 1 + max(0, len(value) - 1) + sum(map(naive_elements, inner))
    return 0


def count(body: bytes, size: int) -> Structure:
    """Count a text in pieces of so many bytes."""
    structure = Structure()
    for piece in split_into_pieces(body, size):
        structure.add(piece)
    return structure


@given(documents, st.booleans(), st.integers(1, 40))
def test_counted_depth_and_elements_equal_those_of_document(
    document: Any, ascii_only: bool, size: int
) -> None:
    """Faults A4 and C1: with any strings, including escapes and brackets, and with any end of a piece."""
    structure = count(json.dumps(document, ensure_ascii=ascii_only).encode(), size)
    assert structure.deepest == naive_depth(document)
    assert structure.elements == naive_elements(document)


@given(documents, st.binary(max_size=12).map(lambda end: end.translate(None, b" \n")), st.integers(1, 40))
def test_depth_and_elements_before_syntax_error_are_counted(document: Any, end: bytes, size: int) -> None:
    """Faults A4 and C1: a decoder creates all objects before the error."""
    structure = count(json.dumps([document]).encode()[:-1] + end, size)
    assert structure.deepest >= naive_depth([document])
    assert structure.elements >= naive_elements([document])


@given(st.binary(max_size=60), st.integers(1, 20))
def test_pieces_join_to_whole_body(body: bytes, size: int) -> None:
    """No piece is lost, and none ends within an escape."""
    pieces = list(split_into_pieces(body, size))
    assert b"".join(pieces) == body
    assert all((len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0 for piece in pieces[:-1])


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
@pytest.mark.parametrize(
    ("levels", "excess"),
    [(MAX_DEPTH, ""), (MAX_DEPTH + 1, "is nested too deeply"), (100_000, "is nested too deeply")],
)
def test_nesting_limit_does_not_depend_on_python_version(
    brackets: tuple[str, str], levels: int, excess: str
) -> None:
    """Fault A4: the interpreter's limit was 998 levels on Python 3.11, 1,498 on 3.12 and 9,999 on 3.13."""
    body = brackets[0] * levels + "1" + brackets[1] * levels
    assert find_excess(body.encode()) == excess


def filled(unit: str, start: str, end: str) -> bytes:
    """Return a review of 7 MiB that contains ``unit`` as often as possible."""
    shell = review(json.loads('{"metadata": "HERE"}')).decode()
    before, after = shell.split('"metadata": "HERE"')
    room = MAX_BODY - len(before) - len(after) - len(start) - len(end) - 2
    return (before + start + unit * (room // len(unit)) + end + after).encode()


FULL: dict[str, bytes] = {
    "containers": filled("{},", '"spec":{"containers":[', "{}]}"),
    "owners": filled("{},", '"metadata":{"ownerReferences":[', "{}]}"),
    "image volumes": filled('{"image":{}},', '"spec":{"volumes":[', "{}]}"),
    "annotations": filled('"a":"",', '"metadata":{"annotations":{', '"b":""}}'),
    "an unknown field": filled("[],", '"x":[', "[]]"),
    "an error at the end": filled("{},", '"spec":{"containers":[', '{"name":5}]}'),
    "strings": filled('"",', '"x":[', '""]'),
    "commas": filled(",", '"x":[', "]"),
}


@pytest.mark.parametrize("case", FULL)
def test_body_with_too_many_elements_is_unreadable_but_keeps_uid(case: str) -> None:
    """Fault C1: they are not decoded."""
    tracemalloc.start()
    request = read_review(FULL[case])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (request.uid, request.object) == (UID, None)
    assert request.unreadable == f"it has more than {MAX_ELEMENTS} elements"
    assert most < 2 * MAX_BODY


def test_old_object_with_too_many_elements_is_unreadable() -> None:
    """Fault C1: an update contains the object twice."""
    body = FULL["containers"].replace(b'"oldObject": null', b'"oldObject": {"spec":{"containers":[{}]}}')
    assert read_review(body).unreadable == f"it has more than {MAX_ELEMENTS} elements"


def test_user_groups_count_toward_element_limit() -> None:
    """Fault C1: they are left out, and the review is denied with its uid instead of failing."""
    request = read_review(review(pod("a"), groups=["g"] * 300_000))
    assert (request.uid, request.object, request.user_info.groups) == (UID, None, [])
    assert request.unreadable == f"it has more than {MAX_ELEMENTS} elements"


def test_largest_accepted_body_is_decoded_in_bounded_memory() -> None:
    """Fault C1: with the maximum number of elements, twice."""
    containers: list[dict[str, Any]] = [{} for _ in range(MAX_ELEMENTS // 4)]
    body = review(
        {"spec": {"containers": containers}},
        old={"spec": {"containers": containers[:-200]}},
        operation="UPDATE",
    )
    body = body.replace(b", ", b",").replace(b": ", b":")
    assert find_excess(body) == ""
    tracemalloc.start()
    request = read_review(body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert request.unreadable == ""
    assert most < 32 * 2**20


def test_large_legitimate_object_is_accepted() -> None:
    """Fault C1 must not affect them: 1.5 MiB with thousands of variables and managed fields, and its old
    version.
    """
    obj = pod("a")
    obj["spec"]["containers"][0]["env"] = [{"name": f"N{n}", "value": "v" * 100} for n in range(5_000)]
    obj["metadata"]["managedFields"] = [{"fieldsV1": {f"f:{n}": {} for n in range(10_000)}}]
    obj["metadata"]["annotations"] = {"last": "[" + ",{}" * 85_000}
    body = review(obj, old=obj, operation="UPDATE")
    assert body.count(b",") + body.count(b"{") > 4 * MAX_ELEMENTS
    assert find_excess(body) == ""
    assert read_review(body).unreadable == ""


HOSTILE: dict[str, bytes] = {
    "quotes behind brackets": b"[" * (MAX_DEPTH + 1) + b'""' * (MAX_BODY // 2 - MAX_DEPTH),
    "strings behind brackets": b"[" * (MAX_DEPTH + 1) + b'"",' * (MAX_BODY // 3 - MAX_DEPTH),
    "endings behind brackets": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_BODY - MAX_DEPTH),
    "commas": b"," * MAX_BODY,
    "brackets in a string": filled("[]{},", '"x":["', '"]'),
    "backslashes": b"[" * (MAX_DEPTH + 1) + b'"' + b"\\" * (MAX_BODY - MAX_DEPTH - 1),
}


@pytest.mark.parametrize("case", [*HOSTILE, *FULL])
def test_body_check_yields_after_each_piece(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault C3: at most one piece is scanned at a time, and at most the limit is listed."""
    stretches = [0]
    add = Structure.add

    def count_bytes(structure: Structure, piece: bytes) -> None:
        stretches[-1] += len(piece)
        tracemalloc.reset_peak()
        add(structure, piece)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20

    monkeypatch.setattr(Structure, "add", count_bytes)
    tracemalloc.start()
    find_excess({**HOSTILE, **FULL}[case], lambda: stretches.append(0))
    tracemalloc.stop()
    assert 0 < max(stretches) <= bounds.PIECE + 1
