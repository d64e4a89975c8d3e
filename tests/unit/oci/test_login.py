"""The login for a registry: from a file, from an access key, or none."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import registry
from tests.support.fakes import RecorderSpy
from tests.support.registries import write_docker_config
from webhook.deadlines import Deadline
from webhook.errors import ConfigError
from webhook.http_client.messages import HttpRequest
from webhook.oci.login import build_login
from webhook.registries import CredentialSettings, Registry

SOON = Deadline(1e9)
KEYS = {"HUAWEICLOUD_SDK_AK": "AK1", "HUAWEICLOUD_SDK_SK": "SK1"}


def header(at: Registry, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the user and the password that are sent, ``None`` without a login."""
    login = build_login(at, environment or {})
    if login is None:
        return None
    value = login.authorize(HttpRequest("GET", "https://x", "/"), SOON).headers["Authorization"]
    return base64.b64decode(value.removeprefix("Basic ")).decode()


def test_access_key_makes_login_without_a_call() -> None:
    """SWR, long-term login command: user region@AK, password HMAC-SHA256 of the AK by the SK, in hex.

    The value was computed by ``printf AK1 | openssl dgst -sha256 -hmac SK1``.
    """
    at = registry(credentials=CredentialSettings("aksk"))
    password = "6d93cb90c7334d684d79cb7540a07c45961193c6ba5f8da04f7a6a89b6966935"
    assert header(at, KEYS) == f"cn-north-4@AK1:{password}"


def test_changed_key_files_make_another_login(tmp_path: Path) -> None:
    """A rotated access key is used at once."""
    for name, text in (("ak", "AK1"), ("sk", "SK1")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = {"access_key_file": str(tmp_path / "ak"), "secret_key_file": str(tmp_path / "sk")}
    login = build_login(registry(credentials=CredentialSettings("aksk", **files)), {})
    assert login is not None
    request = HttpRequest("GET", "https://x", "/")
    first = login.authorize(request, SOON)
    login.accept(first.generation)
    (tmp_path / "ak").write_text("AK-2", encoding="utf-8")
    second = login.authorize(request, SOON)
    assert first.generation != second.generation
    assert base64.b64decode(second.headers["Authorization"][6:]).startswith(b"cn-north-4@AK-2:")


ANONYMOUS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"kind": "none"}, {}),
    ({"kind": "token", "token_file": "/t"}, {}),
    ({"kind": "podIdentity"}, {}),
    ({"kind": "aksk"}, {**KEYS, "HUAWEICLOUD_SDK_SECURITY_TOKEN": "t"}),
    ({"kind": "aksk", "access_key_file": "/a", "secret_key_file": "/b", "security_token_file": "/c"}, {}),
]


@pytest.mark.parametrize(("settings", "environment"), ANONYMOUS, ids=[str(case[0]) for case in ANONYMOUS])
def test_other_credentials_have_no_login(settings: dict[str, Any], environment: dict[str, str]) -> None:
    """Temporary keys cannot log in to the registry; a token of IAM cannot either."""
    assert header(registry(credentials=CredentialSettings(**settings)), environment) is None


def test_missing_access_key_is_a_problem_of_the_configuration() -> None:
    """As it is for the API."""
    with pytest.raises(ConfigError):
        build_login(registry(credentials=CredentialSettings("aksk")), {})


FILES = [
    ("https://swr.example.com:8443", {"swr.example.com:8443": ("a", "p")}, "a:p"),
    ("https://swr.example.com:8443", {"https://swr.example.com:8443/v2/": ("a", "p")}, "a:p"),
    ("https://swr.example.com", {"10.125.0.198:20202": ("b", "p"), "swr.example.com": ("a", "p")}, "a:p"),
    ("https://swr.example.com", {"10.125.0.198:20202": ("b", "p")}, "b:p"),
    ("", {"swr.cn-north-4.myhuaweicloud.com": ("c", "p")}, "c:p"),
]


@pytest.mark.parametrize(("endpoint", "logins", "expected"), FILES, ids=[str(case[1]) for case in FILES])
def test_login_of_file_is_that_of_endpoint_or_host(
    tmp_path: Path, endpoint: str, logins: dict[str, tuple[str, str]], expected: str
) -> None:
    """The file precedes an access key."""
    file = write_docker_config(tmp_path / "config.json", logins)
    at = registry(registry_endpoint=endpoint, docker_config_file=file, credentials=CredentialSettings("aksk"))
    assert header(at, KEYS) == expected


def test_refused_login_is_paused_and_recorded(tmp_path: Path) -> None:
    """More than five failed authentications lock the access key."""
    notes = RecorderSpy()
    file = write_docker_config(tmp_path / "config.json", {"swr.cn-north-4.myhuaweicloud.com": ("a", "p")})
    login = build_login(registry(docker_config_file=file), {}, notes)
    assert login is not None
    generation = login.authorize(HttpRequest("GET", "https://x", "/"), SOON).generation
    assert not login.reject(generation)
    assert 360 <= login.paused_for <= 600
    assert [line[0] for line in notes.named("credential_paused")] == ["registryLogin"]
