"""Every command of docs/signatures.md works with the real cosign, and the webhook counts what it signs.

The hosts of SWR are replaced by registries on loopback: one without a referrers API, and one with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import textwrap
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.fakes import free
from tests.support.process_stats import wait_until
from tests.support.registries import open_client
from tests.support.serving import ROOT, free_port
from tests.support.signing_kit import VARIABLE, signing_kit
from webhook.deadlines import Deadline
from webhook.evidence.signature_lookup import SignatureLookup, make_requirement
from webhook.registries import SignatureSettings, SigningKey
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.signatures.keys import read_public_key

pytestmark = pytest.mark.slow

GUIDE: Final = ROOT / "docs" / "signatures.md"
BASIC: Final = "swr.cn-north-4.myhuaweicloud.com"
MIRROR: Final = "swr.cn-east-3.myhuaweicloud.com"
ENTERPRISE: Final = "team-1a2b3c.swr-pro.cn-north-4.myhuaweicloud.com"
OTHER_PROGRAMS: Final = ("swr-trust", "kubectl")
"""Their commands have tests of their own."""

BEFORE: Final = f"""
echo basic > file; tar cf layer.tar file; crane append --oci-empty-base -f layer.tar -t {BASIC}/shop/web:1.0
echo enterprise > file; tar cf layer.tar file
crane append --oci-empty-base -f layer.tar -t {ENTERPRISE}/shop/web:1.0
crane index append -m {BASIC}/shop/web:1.0 -t {BASIC}/shop/multi:1.0
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out kms.pem
openssl pkey -in kms.pem -pubout -out kms.pub
cosign generate-key-pair --output-key-prefix release-2027
"""
"""What a reader has before the first command, and the key of the next year."""


class Reader:
    """Follows the guide in a folder."""

    def __init__(self, kit: Path, folder: Path, hosts: Mapping[str, str]) -> None:
        self.folder = folder
        self._hosts = hosts
        self._environment = {
            "PATH": f"{kit}:{os.environ['PATH']}",
            "HOME": str(folder),
            "COSIGN_PASSWORD": "test-only",
            "OTEL_TRACES_EXPORTER": "none",
        }
        parts = re.split(r"^##+ (.+)$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
        self._sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        self._followed: set[str] = set()

    def type(self, text: str) -> str:
        """Run commands in one shell."""
        for name, host in self._hosts.items():
            text = text.replace(name, host)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def follow(self, section: str) -> None:
        """Run the blocks of a section in one shell, so that variables stay."""
        self._followed.add(section)
        self.type("\n".join(self._read(section)))

    def left_out(self) -> list[str]:
        """Return the sections with commands that were not run."""
        return [name for name in self._sections if name not in self._followed and any(self._read(name))]

    def _read(self, section: str) -> list[str]:
        """Return the commands of a section that are not of other programs."""
        blocks = re.findall(r"^( *)```sh\n(.*?)^\1```$", self._sections[section], re.MULTILINE | re.DOTALL)
        lines = "".join(textwrap.dedent(block) for _, block in blocks).replace("\\\n", "").splitlines()
        return [line for line in lines if not line.startswith(OTHER_PROGRAMS)]

    def check(
        self,
        host: str,
        image: str,
        *keys: str,
        threshold: int = 1,
        annotations: Mapping[str, str] | None = None,
    ) -> SignatureCheck:
        """Return what the webhook says about an image, by its tag or its digest."""
        digest = image.partition("@")[2] or self.type(f"crane digest {host}/{image}")
        found = tuple(
            SigningKey(
                key,
                f"/keys/{key}.pub",
                content=read_public_key((self.folder / f"{key}.pub").read_bytes()).der,
            )
            for key in keys
        )
        settings = SignatureSettings(found, threshold, tuple((annotations or {}).items()))
        client, _ = open_client(f"http://{self._hosts[host]}")
        repository = re.split("[:@]", image)[0]
        return SignatureLookup(make_requirement(settings), client).check(
            repository, digest, Deadline.after(10), free
        )


@contextlib.contextmanager
def running(port: int, *command: str | Path) -> Iterator[None]:
    """Run a registry until the end of the block."""

    def is_ready() -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).status == 200)
        return False

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_until(is_ready)
            yield
        finally:
            process.terminate()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Return a reader with two registries, in which nothing is signed."""
    kit = signing_kit()
    if kit is None:
        pytest.skip(f"{VARIABLE} names no folder with the real cosign")
    plain, referrers = free_port(), free_port()
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{plain}', secret: test}}\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'data'}}}, delete: {{enabled: true}}}}\n",
        encoding="utf-8",
    )
    with (
        running(plain, kit / "registry", "serve", config),
        running(referrers, kit / "registry-referrers", "-address", f"127.0.0.1:{referrers}"),
    ):
        hosts = {
            BASIC: f"localhost:{plain}",
            MIRROR: f"localhost:{referrers}",
            ENTERPRISE: f"localhost:{referrers}",
        }
        home = tmp_path / "home"
        home.mkdir()
        yield Reader(kit, home, hosts)


@pytest.mark.timeout(300)
def test_commands_sign_what_the_webhook_counts(reader: Reader) -> None:
    """From the first key to the last revocation, in the order of the guide."""
    web, multi = "shop/web:1.0", "shop/multi:1.0"
    reader.type(BEFORE)
    reader.follow("Keys")
    assert reader.check(BASIC, web, "release-2026", "p384").result is SignatureResult.UNSIGNED
    reader.follow("SWR Basic with cosign")
    assert reader.check(BASIC, web, "release-2026").formats == ("simple-signing",)
    reader.follow("A key in KMS or another signer")
    assert reader.check(BASIC, web, "kms").signers == ("kms",)
    reader.type(f"cosign attach signature --payload payload.json --signature payload.sig {BASIC}/{web}")
    assert reader.check(BASIC, web, "sm2").signers == ("sm2",)
    reader.follow("SWR Enterprise with KMS")
    reader.follow("SWR Enterprise with cosign")
    assert reader.check(ENTERPRISE, web, "release-2026").formats == ("bundle",)
    reader.follow("Several architectures")
    child = reader.type(f"crane digest {BASIC}/{web}")
    for image in (multi, f"shop/multi@{child}"):
        assert reader.check(BASIC, image, "release-2026").signers == ("release-2026",)
    reader.follow("Annotations")
    assert reader.check(BASIC, web, "release-2026", annotations={"stage": "prod"}).signers == (
        "release-2026",
    )
    reader.follow("Keep signatures")
    assert reader.check(MIRROR, web, "release-2026").formats == ("simple-signing",)
    reader.follow("Rotate a key")
    both = reader.check(BASIC, web, "release-2027", "release-2026", threshold=2)
    assert both.signers == ("release-2027", "release-2026")
    reader.follow("Revoke")
    assert reader.check(BASIC, web, "release-2026", "release-2027").result is SignatureResult.UNSIGNED
    assert reader.left_out() == []
