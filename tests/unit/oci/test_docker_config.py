"""Docker configuration files: which login they contain, and what happens when they change."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.registries import write_docker_config
from webhook.deadlines import Deadline
from webhook.errors import Fault, Unauthorized
from webhook.oci.docker_config import MAX_FILE, UserLogin, open_docker_config, read_docker_config

HOST = "swr.cn-north-4.myhuaweicloud.com"
SOON = Deadline(1e9)


def encode(text: str) -> str:
    """Return a text as ``auth`` has it."""
    return base64.b64encode(text.encode()).decode()


def config(auths: Any) -> bytes:
    """Return a file with these entries."""
    return json.dumps({"auths": auths}).encode()


LOGIN = {"auth": encode("robot:a:b")}
READABLE = [
    ({HOST: LOGIN}, ("robot", "a:b")),
    ({f"https://{HOST}": LOGIN}, ("robot", "a:b")),
    ({f"https://{HOST}/v1/": LOGIN}, ("robot", "a:b")),
    ({f"http://{HOST.upper()}/": LOGIN}, ("robot", "a:b")),
    ({HOST: {"username": "u", "password": "p"}}, ("u", "p")),
    ({HOST: {"username": "u", "password": "p", "auth": ""}}, ("u", "p")),
    ({HOST: {"username": "u", "password": "p", **LOGIN}}, ("robot", "a:b")),
    ({HOST: {"auth": encode("u:p\0\0"), "email": "x@example.com"}}, ("u", "p")),
    ({HOST: {"auth": encode("ü:密码")}}, ("ü", "密码")),
    ({f"https://{HOST}/v1/": {"username": "old", "password": "p"}, HOST: LOGIN}, ("robot", "a:b")),
    ({"other.example.com": {"username": "x", "password": "x"}, HOST: LOGIN}, ("robot", "a:b")),
    ({"second.example.com:8443": LOGIN}, ("robot", "a:b")),
    ({f"https://{HOST}/v2/": LOGIN}, ("robot", "a:b")),
    ({f"{HOST}/shop": {"username": "x", "password": "x"}, HOST: LOGIN}, ("robot", "a:b")),
    ({f"{HOST}/shop": {"username": "x", "password": "x"}, f"https://{HOST}": LOGIN}, ("robot", "a:b")),
    (
        {f"{HOST}/shop": {"username": "x", "password": "x"}, "second.example.com:8443": LOGIN},
        ("robot", "a:b"),
    ),
]


@pytest.mark.parametrize(("auths", "login"), READABLE, ids=[str(case[0])[:60] for case in READABLE])
def test_entry_of_host_is_read(auths: Any, login: tuple[str, str]) -> None:
    """As docker and Kubernetes write it; the first name of the registry with an entry counts."""
    assert read_docker_config(config(auths), [HOST, "second.example.com:8443"]) == UserLogin(*login)


def test_header_is_that_of_basic_authentication() -> None:
    """RFC 7617, in UTF-8."""
    assert UserLogin("ü", "p:q").header == f"Basic {encode('ü:p:q')}"


def test_password_is_not_represented() -> None:
    """Logs may show a login."""
    assert repr(UserLogin("robot", "hunter2")) == "UserLogin(user='robot')"


NONE = f"has no user and password for {HOST}"
PARTIAL = (
    f"has a login for {HOST} only with a path after the host: "
    f"write the key {HOST}, with a login that may pull all images"
)
UNREADABLE = [
    (b"", "is not JSON"),
    (b"<html>", "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    (b"[" * 100_000, "is not JSON"),
    (b"[]", "has no object auths"),
    (b"{}", "has no object auths"),
    (b'{"auths": []}', "has no object auths"),
    (config({}), f"has no login for {HOST} or second.example.com"),
    (config({"other.example.com": LOGIN}), f"has no login for {HOST} or second.example.com"),
    (config({f"{HOST}.evil.net": LOGIN}), f"has no login for {HOST} or second.example.com"),
    (config({f"{HOST}/shop": LOGIN, f"{HOST}/team": LOGIN}), PARTIAL),
    (config({f"https://{HOST.upper()}/shop/web": LOGIN}), PARTIAL),
    (config({HOST: "robot:hunter2"}), f"has an entry for {HOST} that is not an object"),
    (config({HOST: {"auth": "%%%"}}), f"has an auth for {HOST} that is not base64"),
    (
        config({HOST: {"auth": base64.b64encode(b"\xff\xff").decode()}}),
        f"has an auth for {HOST} that is not base64",
    ),
    (config({HOST: {"auth": encode("hunter2")}}), NONE),
    (config({HOST: {"auth": encode(":hunter2")}}), NONE),
    (config({HOST: {"auth": encode("u:hunt\ner2")}}), NONE),
    (config({HOST: {"username": "u:v", "password": "hunter2"}}), NONE),
    (config({HOST: {"username": "u"}}), NONE),
    (config({HOST: {"identitytoken": "hunter2"}}), NONE),
    (b" " * (MAX_FILE + 1), f"is larger than {MAX_FILE} bytes"),
]


@pytest.mark.parametrize(("data", "problem"), UNREADABLE, ids=[repr(case[0])[:50] for case in UNREADABLE])
def test_other_content_is_described_without_secrets(data: bytes, problem: str) -> None:
    """The text is part of a message about the file."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        read_docker_config(data, [HOST, "second.example.com"])
    assert str(caught.value) == problem


def replace(path: Path, text: str) -> None:
    """Replace a file, as a Secret volume does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    """Another login is another generation, so that a refused one is not used any longer."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "old")}), [HOST])
    assert file.current(SOON) == (UserLogin("robot", "old"), 1)
    assert not file.renew(1)
    replace(path, config({HOST: {"username": "robot", "password": "new"}}).decode())
    assert file.renew(1)
    assert file.current(SOON) == (UserLogin("robot", "new"), 2)


def test_change_of_another_entry_is_not_another_login(tmp_path: Path) -> None:
    """A refused login would otherwise be tried again."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "p")}), [HOST])
    file.current(SOON)
    write_docker_config(path, {HOST: ("robot", "p"), "other.example.com": ("x", "y")})
    assert file.current(SOON) == (UserLogin("robot", "p"), 1)


@pytest.mark.parametrize("text", ["", "<html>", '{"auths": {}}'])
def test_broken_file_keeps_last_login(tmp_path: Path, text: str) -> None:
    """A bad edit must not stop lookups; a good one is used at once."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "p")}), [HOST])
    file.current(SOON)
    replace(path, text)
    assert file.current(SOON) == (UserLogin("robot", "p"), 1)
    write_docker_config(path, {HOST: ("robot", "q")})
    assert file.current(SOON) == (UserLogin("robot", "q"), 2)


def test_removed_file_keeps_last_login(tmp_path: Path) -> None:
    """As of a Secret that is replaced."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "p")}), [HOST])
    file.current(SOON)
    path.unlink()
    assert file.current(SOON) == (UserLogin("robot", "p"), 1)


def test_file_without_login_from_the_start_is_unauthorized(tmp_path: Path) -> None:
    """There is nothing to call with. The author of a Pod cannot cause it."""
    path = tmp_path / "config.json"
    file = open_docker_config(str(path), [HOST])
    with pytest.raises(Unauthorized) as missing:
        file.current(SOON)
    assert str(missing.value) == f"{path} cannot be read: No such file or directory"
    path.write_text("{}", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(Unauthorized) as empty:
            file.current(SOON)
        assert str(empty.value) == f"{path} has no object auths"
        assert empty.value.fault is Fault.REGISTRY
    write_docker_config(path, {HOST: ("robot", "p")})
    assert file.current(SOON) == (UserLogin("robot", "p"), 1)


def test_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an old file and half of a new one may be JSON, too."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "old")}), [HOST])
    stamps = iter([(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)])
    monkeypatch.setattr("webhook.file_stamps.read_stamp", lambda _: next(stamps))
    assert file.current(SOON) == (UserLogin("robot", "old"), 1)
    assert next(stamps, None) is None


def test_file_that_never_stops_changing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading ends after a few attempts."""
    path = tmp_path / "config.json"
    file = open_docker_config(write_docker_config(path, {HOST: ("robot", "p")}), [HOST])
    stamps = iter(range(100))
    monkeypatch.setattr("webhook.file_stamps.read_stamp", lambda _: (next(stamps), 0, 0))
    with pytest.raises(Unauthorized) as caught:
        file.current(SOON)
    assert str(caught.value) == f"{path} is being replaced"


def test_file_behind_changed_link_is_read_again(tmp_path: Path) -> None:
    """A Secret volume changes a symbolic link."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        write_docker_config(tmp_path / name / ".dockerconfigjson", {HOST: ("robot", name)})
    (tmp_path / "..data").symlink_to("old")
    file = open_docker_config(str(tmp_path / "..data" / ".dockerconfigjson"), [HOST])
    assert file.current(SOON)[0].password == "old"
    (tmp_path / "..tmp").symlink_to("new")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    assert file.current(SOON)[0].password == "new"


def test_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """It stopped the event loop for as long as nobody wrote into it."""
    pipe = tmp_path / "dockerconfig.json"
    os.mkfifo(pipe)
    with pytest.raises(Unauthorized, match="is not JSON"):
        open_docker_config(str(pipe), [HOST]).current(SOON)
