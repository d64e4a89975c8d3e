"""The effects of a kubelet on a release that are visible in the API.

There is no node here. Replicas that a test runs beside the API server are reported as ready, and the Pod of
``helm test`` is run. Each of its containers is a process, on the files of its volumes, with every name
resolving to the loopback address.
"""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from tests.controlplane import ControlPlane
from tests.support.serving import COMMAND, ROOT

_ETC: Final = "/etc/swr-trust"
_LOOPBACK: Final = """\
import socket, sys
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **options: look_up("127.0.0.1", *rest, **options)
code, *sys.argv[1:] = sys.argv[1:]
exec(code)
"""


class Kubelet:
    """Updates the Pods of a namespace while its context is entered."""

    def __init__(
        self, cluster: ControlPlane, namespace: str, folder: Path, serves: Callable[[], bool] = lambda: True
    ) -> None:
        """Report webhooks as ready while ``serves`` is true; keep volumes below ``folder``."""
        self._cluster = cluster
        self._namespace = namespace
        self._folder = folder
        self._serves = serves
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.output = ""
        """The output of the containers of tests."""

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            for pod in self._cluster.get("pods", "-n", self._namespace)["items"]:
                if pod.get("status", {}).get("phase") != "Pending":
                    continue
                if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "test":
                    failed = sum(not self._run(pod, container) for container in pod["spec"]["containers"])
                    self._report(pod, {"phase": "Failed" if failed else "Succeeded"})
                elif self._serves():
                    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
                    self._report(pod, {"phase": "Running", "conditions": [ready]})

    def _report(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        name, change = pod["metadata"]["name"], json.dumps({"status": status})
        patch = ("patch", "pod", name, "-n", self._namespace, "--subresource=status", "-p", change)
        self._cluster.kubectl(*patch, check=False)

    def _run(self, pod: dict[str, Any], container: dict[str, Any]) -> bool:
        self._mount(pod)
        if "command" in container:
            (_, _, code), arguments = container["command"][:3], container["command"][3:]
            command = [sys.executable, "-c", _LOOPBACK, code, *map(self._inside, arguments)]
        else:
            command = [*COMMAND, *map(self._inside, container["args"])]
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.output += done.stdout + done.stderr
        return done.returncode == 0

    def _mount(self, pod: dict[str, Any]) -> None:
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in itertools.chain(*(container["volumeMounts"] for container in pod["spec"]["containers"])):
            target = Path(self._inside(mount["mountPath"]))
            target.mkdir(parents=True, exist_ok=True)
            for key, content in self._content(volumes[mount["name"]]).items():
                text = self._inside(content.decode())
                (target / key).write_text(text, encoding="utf-8")

    def _content(self, volume: dict[str, Any]) -> dict[str, bytes]:
        if "configMap" in volume:
            found = self._cluster.get("configmap", volume["configMap"]["name"], "-n", self._namespace)
            return {key: text.encode() for key, text in found["data"].items()}
        found = self._cluster.get("secret", volume["secret"]["secretName"], "-n", self._namespace)
        wanted = {item["key"] for item in volume["secret"]["items"]}
        return {key: base64.b64decode(text) for key, text in found["data"].items() if key in wanted}

    def _inside(self, text: str) -> str:
        return text.replace(_ETC, str(self._folder))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(90)
