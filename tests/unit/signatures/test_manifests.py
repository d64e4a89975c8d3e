"""Manifests and listings, by the types of go-containerregistry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.signing.making import bundle_manifest, compact, image_manifest, index, referrer
from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_MANIFEST
from webhook.signatures.manifests import read_descriptor, read_index, read_layers, read_manifest
from webhook.signatures.shapes import JsonObject

PLATFORM = {
    "architecture": "amd64",
    "os": "windows",
    "os.version": "10",
    "os.features": ["win32k"],
    "variant": "v8",
    "features": ["x"],
}
DESCRIPTOR = {
    **referrer(b"{}"),
    "data": "e30=",
    "urls": ["https://example.com"],
    "annotations": {"x": "y"},
    "platform": PLATFORM,
}
MANIFEST = bundle_manifest(b"{}") | {"layers": [DESCRIPTOR]}
INDEX = index([DESCRIPTOR], annotations={"x": "y"}, subject=DESCRIPTOR, artifactType="x")


def read_first_entry(data: bytes) -> JsonObject:
    """Return the first entry of a listing."""
    return check(read_index(data)[0])


def read_first_layer(data: bytes) -> JsonObject:
    """Return the first layer of a manifest whose layers are read one by one."""
    return check(read_layers(data)[0])


def read_bundle_layer(data: bytes) -> JsonObject:
    """Return the first layer of a manifest that is read as a whole."""
    return read_manifest(data).objects("layers")[0]


def check(descriptor: JsonObject | MalformedSignature) -> JsonObject:
    """Return a descriptor, or raise why it is not one."""
    if isinstance(descriptor, MalformedSignature):
        raise descriptor
    return descriptor


READERS = [(read_bundle_layer, MANIFEST), (read_first_layer, MANIFEST), (read_first_entry, INDEX)]


@pytest.mark.parametrize(("read", "value"), READERS)
def test_whole_manifest_is_read(read: Callable[[bytes], JsonObject], value: dict[str, Any]) -> None:
    """All members of the specification."""
    assert read_descriptor(read(compact(value)), 2) == (DESCRIPTOR["digest"], 2)


@pytest.mark.parametrize(("read", "value"), READERS)
def test_member_of_another_type_is_refused(
    read: Callable[[bytes], JsonObject], value: dict[str, Any]
) -> None:
    """Each of them, wherever it is."""
    text = json.dumps(value)
    changed = 0
    for place in _members(value):
        other = json.loads(text)
        target = other
        for part in place[:-1]:
            target = target[part]
        target[place[-1]] = 1.5
        with pytest.raises(MalformedSignature, match=r"\A[\w.\[\]-]+ of the \w+ is not "):
            read(json.dumps(other).encode())
        changed += 1
    assert changed > 25


def _members(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [step for key, child in children for step in [(*place, key), *_members(child, (*place, key))]]


@pytest.mark.parametrize("size", [-1, 101, 2**40])
def test_size_out_of_range_is_refused(size: int) -> None:
    """Nothing larger is fetched."""
    [layer] = read_manifest(compact(image_manifest([DESCRIPTOR | {"size": size}]))).objects("layers")
    with pytest.raises(MalformedSignature, match=r"\Aits size is not from 0 to 100 bytes\Z"):
        read_descriptor(layer, 100)


def test_content_without_size_is_not_fetched() -> None:
    """No more is read than the size."""
    [layer] = read_manifest(compact(image_manifest([DESCRIPTOR | {"size": None}]))).objects("layers")
    with pytest.raises(MalformedSignature, match=r"\Athe manifest has no layers\[0\]\.size\Z"):
        read_descriptor(layer, 100)


@pytest.mark.parametrize("change", [{"digest": None}, {"digest": "sha512:" + "b" * 128}, {"annotations": []}])
def test_descriptor_that_is_malformed_says_nothing_about_others(change: dict[str, Any]) -> None:
    """Other clients refuse the whole document, so that anyone who may push can hide a signature."""
    broken = DESCRIPTOR | change
    for read, value in (
        (read_layers, image_manifest([DESCRIPTOR, broken])),
        (read_index, index([DESCRIPTOR, broken])),
    ):
        good, bad = read(compact(value))
        assert read_descriptor(check(good), 2) == (DESCRIPTOR["digest"], 2)
        assert isinstance(bad, MalformedSignature)
        assert "[1]" in str(bad)


def test_bundle_manifest_with_a_malformed_layer_is_refused() -> None:
    """It has exactly one layer."""
    broken = {name: DESCRIPTOR[name] for name in DESCRIPTOR if name != "digest"}
    with pytest.raises(MalformedSignature, match=r"\Athe manifest has no layers\[1\]\.digest\Z"):
        read_manifest(compact(image_manifest([DESCRIPTOR, broken])))
    assert read_manifest(compact(image_manifest([], config={}, subject={}))).has("config")


def test_size_of_manifest_is_limited() -> None:
    """A megabyte."""
    padding = "x" * MAX_MANIFEST
    with pytest.raises(MalformedSignature, match=r"\Athe manifest has more than 1048576 bytes\Z"):
        read_manifest(compact(image_manifest([], annotations={"x": padding})))
    with pytest.raises(MalformedSignature, match=r"\Athe listing has more than 1048576 bytes\Z"):
        read_index(compact(index([], annotations={"x": padding})))
