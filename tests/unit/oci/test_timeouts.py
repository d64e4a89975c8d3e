"""Concurrent lookups, and registries that do not answer in time, over real connections."""

from __future__ import annotations

import threading

import pytest

from tests.emulator.registry import TOKEN_PATH
from tests.support.registry_environment import RegistryEnvironment


def test_concurrent_lookups_fetch_one_token(environment: RegistryEnvironment) -> None:
    """Ten lookups of one repository, with a real transport."""
    environment.emulator.break_with("none", latency=0.1)
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(environment.read("tag")), daemon=True)
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [environment.digest] * 10
    assert environment.emulator.calls(TOKEN_PATH) == 1


HANGS = [
    ("hang", "/v2/shop/signed/", "manifest", "image"),
    ("hang", "/v2/", "manifest", "registry"),
    ("hang", "signed%3Apull", "manifest", "image"),
    ("hang", TOKEN_PATH, "manifest", "registry"),
    ("hang", "/storage/", "blob", "image"),
    ("trickle-headers", "/v2/shop/signed/", "manifest", "image"),
    ("trickle-body", TOKEN_PATH, "manifest", "registry"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "match", "what", "fault"), HANGS, ids=[f"{case[0]} {case[1]}" for case in HANGS]
)
def test_missing_answer_is_registry_fault_only_without_image_too(
    environment: RegistryEnvironment, kind: str, match: str, what: str, fault: str
) -> None:
    """The deadline is that of the whole answer: a byte now and then does not prolong it."""
    environment.redirect()
    environment.read("tag", seconds=1.5, repository="shop/warm")
    environment.emulator.break_with(kind, match=match, latency=0.0 if kind == "hang" else 0.3)
    said = str(environment.read(what, seconds=1.5))
    assert said.startswith(f"timeout, {fault}: ")
    environment.emulator.mend()
    assert environment.read("tag") == environment.digest
