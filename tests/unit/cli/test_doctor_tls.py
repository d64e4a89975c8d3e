"""``swr-trust doctor`` verifies the serving certificate as the API server does."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.private_cas import ACCEPTED, LEAF, REFUSED, HttpsServer, Site
from tests.unit.cli.test_doctor import cluster, hook
from webhook.cli.checks import Check, CheckStatus


def look(site: Site, folder: Path) -> Check:
    """Return the result of the check of a running webhook's certificate."""
    with HttpsServer(site.server_context(folder)) as server:
        bundle = base64.b64encode(site.trusted).decode()
        client = {"url": f"{server.url}/validate", "caBundle": bundle}
        return cluster(hook(clientConfig=client))["serving certificate"]


@pytest.mark.parametrize("kind", ACCEPTED)
def test_certificate_that_the_api_server_accepts_is_accepted(kind: str, tmp_path: Path) -> None:
    """Fault A5: on Python 3.13 the doctor reported a failure that the API server does not have."""
    assert look(ACCEPTED[kind](), tmp_path).status is CheckStatus.OK


@pytest.mark.parametrize("kind", REFUSED)
def test_certificate_that_the_api_server_refuses_is_a_failure(kind: str, tmp_path: Path) -> None:
    """Fault A5: with OpenSSL's reason."""
    make, reason = REFUSED[kind]
    check = look(make(), tmp_path)
    assert (check.status, check.found) == (CheckStatus.FAILED, f"pods.gate: {reason}")


def test_common_name_does_not_count_as_host_name(tmp_path: Path) -> None:
    """The API server uses only subjectAltName, too."""
    check = look(Site.of(leaf=replace(LEAF, names=(), common_name="127.0.0.1")), tmp_path)
    assert check.status is CheckStatus.FAILED
