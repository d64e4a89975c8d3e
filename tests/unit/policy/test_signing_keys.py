"""The files of signing keys: what does not count, and what changes when they are read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.builders import policy, registry
from tests.support.signing_keys import private_pem, public_pem, to_der, write_keys
from webhook.policy.model import Policy
from webhook.policy.signing_keys import (
    KeyReader,
    KeyState,
    has_lapsed,
    lapsing_keys,
    last_day,
    refresh_keys,
    state_of,
)
from webhook.registries import Registry, RegistryTable, SignatureSettings, SigningKey

NOW = 1_800_000_000.0
DAY = 86400.0
MISSING = "cannot be read (No such file or directory): mount the file, or correct the path"


def keys(folder: Path, *names: str) -> SignatureSettings:
    """Return the settings of keys that have not been read."""
    return SignatureSettings(tuple(SigningKey(name, f"{folder}/{name}.pub") for name in names))


def problems(settings: SignatureSettings) -> dict[str, str]:
    """Return the problem of each key that does not count."""
    return {key.name: key.problem for key in settings.keys if not key.content}


def test_key_that_is_read_counts(tmp_path: Path) -> None:
    """Its content is the SubjectPublicKeyInfo, whatever surrounds it in the file."""
    (tmp_path / "a.pub").write_bytes(b"# our key\r\n" + public_pem("a").replace(b"\n", b"\r\n") + b"\n\n")
    (read,) = KeyReader(NOW).read(keys(tmp_path, "a")).keys
    assert read == SigningKey("a", f"{tmp_path}/a.pub", content=to_der(public_pem("a")))


def test_unusable_files_do_not_affect_other_keys(tmp_path: Path) -> None:
    """One mistake must not stop what all other keys have signed."""
    write_keys(tmp_path, "good", "late")
    (tmp_path / "private.pub").write_bytes(private_pem("x"))
    (tmp_path / "folder.pub").mkdir()
    (tmp_path / "loop.pub").symlink_to("loop.pub")
    settings = KeyReader(NOW).read(keys(tmp_path, "gone", "private", "good", "folder", "loop", "late"))
    assert [key.name for key in settings.counting] == ["good", "late"]
    assert problems(settings) == {
        "gone": MISSING,
        "private": "is a private key: give the public key, as by openssl pkey -in FILE -pubout or "
        "cosign public-key, and replace the key if others could read it",
        "folder": "cannot be read (Is a directory): mount the file, or correct the path",
        "loop": "cannot be read (Too many levels of symbolic links): mount the file, or correct the path",
    }


def test_key_with_content_of_another_does_not_count(tmp_path: Path) -> None:
    """One signature would satisfy a threshold of two."""
    write_keys(tmp_path, "a", "b")
    (tmp_path / "b.pub").write_bytes(b"a copy\n" + public_pem("a"))
    settings = KeyReader(NOW).read(keys(tmp_path, "a", "b"))
    assert problems(settings) == {"b": "contains the same key as a: remove one of them"}


def test_same_file_twice_counts_once(tmp_path: Path) -> None:
    """The names do not make it two keys."""
    write_keys(tmp_path, "a")
    file = f"{tmp_path}/a.pub"
    settings = KeyReader(NOW).read(SignatureSettings((SigningKey("a", file), SigningKey("b", file))))
    assert [key.name for key in settings.counting] == ["a"]


def test_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nor does a device without an end fill the memory."""
    os.mkfifo(tmp_path / "pipe.pub")
    (tmp_path / "zeros.pub").symlink_to("/dev/zero")
    wanted = "give one PEM block with the label PUBLIC KEY"
    assert problems(KeyReader(NOW).read(keys(tmp_path, "pipe", "zeros"))) == {
        "pipe": f"is empty: {wanted}",
        "zeros": f"has more than 64 KiB: {wanted}",
    }


def test_unusable_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Such files are read every two seconds."""
    (tmp_path / "folder.pub").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        KeyReader(NOW).read(keys(tmp_path, "folder", "gone"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("not_after", "expected"),
    [(None, False), (NOW + 1, False), (NOW, True), (NOW - 1, True)],
    ids=["never", "before", "at the end", "after"],
)
def test_key_lapses_at_its_end(not_after: float | None, expected: bool) -> None:
    """The end itself is no longer part of the last day."""
    assert has_lapsed(SigningKey("a", "/a", not_after), NOW) is expected


def test_lapsed_key_is_not_read(tmp_path: Path) -> None:
    """Its file may be gone, and another key may have its content."""
    write_keys(tmp_path, "new")
    old = SigningKey("old", f"{tmp_path}/new.pub", NOW)
    gone = SigningKey("gone", "/nowhere/gone.pub", NOW - DAY)
    settings = KeyReader(NOW).read(SignatureSettings((old, gone, *keys(tmp_path, "new").keys)))
    assert [key.name for key in settings.counting] == ["new"]
    assert problems(settings) == {"old": "lapsed on 2027-01-15", "gone": "lapsed on 2027-01-14"}


def test_last_day_is_that_of_the_configuration() -> None:
    """``notAfter: 2027-01-15`` counts until midnight."""
    midnight = 1_800_057_600.0  # 2027-01-16T00:00:00Z
    assert str(last_day(SigningKey("a", "/a", midnight))) == "2027-01-15"
    assert str(last_day(SigningKey("a", "/a", -1e11))) == "1970-01-01"


STATES = [
    (SigningKey("a", "/a", content=b"x"), KeyState.COUNTING),
    (SigningKey("a", "/a", NOW - 1, content=b"x"), KeyState.COUNTING),
    (SigningKey("a", "/a", NOW - 1, problem="has lapsed"), KeyState.LAPSED),
    (SigningKey("a", "/a", NOW + 1, problem=MISSING), KeyState.UNREADABLE),
    (SigningKey("a", "/a", problem=MISSING), KeyState.UNREADABLE),
]


@pytest.mark.parametrize(("key", "expected"), STATES)
def test_state_of_key_is_what_is_in_force(key: SigningKey, expected: KeyState) -> None:
    """A key with content counts until the policy is replaced."""
    assert state_of(key, NOW) is expected


def signed(folder: Path, *names: str) -> Policy:
    """Return a policy with a registry of these keys, as read now, and one without keys."""
    settings = KeyReader(NOW).read(keys(folder, *names))
    registries = registry(signatures=settings, evidence="signature"), registry(hosts=("other.example.com",))
    return policy(registries=RegistryTable.of(registries))


def first(policy: Policy) -> Registry:
    """Return the registry with keys."""
    return policy.registries.registries[0]


def test_refreshed_policy_is_same_object_without_change(tmp_path: Path) -> None:
    """A touched file, or a new generation of a volume, changes nothing."""
    write_keys(tmp_path, "a")
    before = signed(tmp_path, "a", "gone")
    (tmp_path / "a.pub").write_bytes(b"\n" + public_pem("a"))
    assert refresh_keys(before, NOW) is before


def test_refreshed_policy_has_keys_of_files(tmp_path: Path) -> None:
    """Vanished keys lose their content, new contents replace old ones, and all else is equal."""
    write_keys(tmp_path, "a", "b", "c")
    before = signed(tmp_path, "a", "b", "c", "d")
    (tmp_path / "a.pub").unlink()
    (tmp_path / "b.pub").write_bytes(public_pem("b2"))
    write_keys(tmp_path, "d")
    after = refresh_keys(before, NOW)
    assert first(after).signatures == SignatureSettings(
        (
            SigningKey("a", f"{tmp_path}/a.pub", problem=MISSING),
            SigningKey("b", f"{tmp_path}/b.pub", content=to_der(public_pem("b2"))),
            SigningKey("c", f"{tmp_path}/c.pub", content=to_der(public_pem("c"))),
            SigningKey("d", f"{tmp_path}/d.pub", content=to_der(public_pem("d"))),
        )
    )
    assert after.registries.registries[1] is before.registries.registries[1]
    assert after.version == before.version


def test_records_of_removed_key_are_not_used(tmp_path: Path) -> None:
    """Cache and snapshot use the fingerprint of the registry, which depends on what counts."""
    write_keys(tmp_path, "a", "b")
    before = signed(tmp_path, "a", "b")
    (tmp_path / "a.pub").unlink()
    removed = refresh_keys(before, NOW)
    assert first(removed).key != first(before).key
    write_keys(tmp_path, "a")
    assert first(refresh_keys(removed, NOW)).key == first(before).key


def test_keys_that_lapse_soon_are_found(tmp_path: Path) -> None:
    """From 14 days before, with their positions; those that have lapsed, too."""
    ends = [None, NOW + 15 * DAY, NOW + 14 * DAY, NOW - DAY]
    settings = SignatureSettings(tuple(SigningKey(f"k{n}", "/k", end) for n, end in enumerate(ends)))
    current = policy(registries=RegistryTable.of([registry(), registry(signatures=settings)]))
    found = [(index, position, key.name, left) for index, position, key, left in lapsing_keys(current, NOW)]
    assert found == [(1, 2, "k2", 14 * DAY), (1, 3, "k3", -DAY)]
