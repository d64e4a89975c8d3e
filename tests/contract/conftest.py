"""The Kubernetes API of the contract tests: in memory, and a real API server."""

from __future__ import annotations

import pytest

from tests.controlplane import ControlPlane
from tests.support.fake_api import FakeApi
from webhook.cluster.client import CONFLICT, KubernetesApi, connect
from webhook.errors import ClusterError


@pytest.fixture(params=["memory", "API server"])
def api(request: pytest.FixtureRequest) -> KubernetesApi:
    """Return an API server with the ``NAMESPACE`` of the test's module."""
    if request.param == "memory":
        return FakeApi()
    cluster: ControlPlane = request.getfixturevalue("control_plane")
    api = connect(str(cluster.kubeconfig("admin")))
    try:
        api.create("/api/v1/namespaces", {"metadata": {"name": request.module.NAMESPACE}})
    except ClusterError as error:
        if error.status != CONFLICT:
            raise
    return api
