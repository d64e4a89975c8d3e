"""Manifests and listings, by the types of go-containerregistry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.signing.making import bundle_manifest, compact, image_manifest, index, referrer
from webhook.errors import MalformedSignature
from webhook.signatures.limits import MAX_MANIFEST
from webhook.signatures.manifests import read_descriptor, read_index, read_manifest
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


@pytest.mark.parametrize(("read", "value"), [(read_manifest, MANIFEST), (read_index, INDEX)])
def test_whole_manifest_is_read(read: Callable[[bytes], JsonObject], value: dict[str, Any]) -> None:
    """All members of the specification."""
    document = read(compact(value))
    name = "layers" if "layers" in value else "manifests"
    assert read_descriptor(document.objects(name)[0], 2) == (DESCRIPTOR["digest"], 2)


@pytest.mark.parametrize(("read", "value"), [(read_manifest, MANIFEST), (read_index, INDEX)])
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


def test_content_without_digest_is_refused() -> None:
    """Go-containerregistry refuses the whole manifest."""
    broken = {name: DESCRIPTOR[name] for name in DESCRIPTOR if name != "digest"}
    with pytest.raises(MalformedSignature, match=r"\Athe manifest has no layers\[1\]\.digest\Z"):
        read_manifest(compact(image_manifest([DESCRIPTOR, broken])))
    with pytest.raises(MalformedSignature, match=r"\Athe listing has no manifests\[0\]\.digest\Z"):
        read_index(compact(index([broken, DESCRIPTOR])))
    assert read_manifest(compact(image_manifest([], config={}, subject={}))).has("config")


def test_size_of_manifest_is_limited() -> None:
    """A megabyte."""
    padding = "x" * MAX_MANIFEST
    with pytest.raises(MalformedSignature, match=r"\Athe manifest has more than 1048576 bytes\Z"):
        read_manifest(compact(image_manifest([], annotations={"x": padding})))
    with pytest.raises(MalformedSignature, match=r"\Athe listing has more than 1048576 bytes\Z"):
        read_index(compact(index([], annotations={"x": padding})))
