"""Contract of registries: the same tests for the emulator and for the real registries of the signing kit.

Therefore a test over the emulator also holds for a registry. SWR's own cannot be run; what is known of it is in
the emulator: tokens, no referrers API in the basic edition, redirected blobs.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tests.emulator.registry_state import OCI_INDEX, OCI_MANIFEST, RegistryState, digest_of, make_manifest
from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key, make_payload, sign_bundle, sign_simple
from tests.support.fakes import free
from tests.support.real_registries import DISTRIBUTION, GO_CONTAINERREGISTRY, copy, push, serve
from tests.support.registries import open_client, write_docker_config
from tests.support.signing_kit import signing_kit
from webhook.deadlines import Deadline
from webhook.errors import MalformedAnswer
from webhook.evidence.signature_lookup import SignatureLookup, make_requirement
from webhook.oci.client import OciClient
from webhook.oci.control_repositories import ControlRepositories, make_control_tag
from webhook.oci.manifests import Manifest, fallback_tag
from webhook.oci.tokens import LoginState
from webhook.registries import SignatureSettings, SigningKey
from webhook.signatures.attempt import SignatureFormat
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.signatures.keys import read_public_key
from webhook.signatures.simple_signing import signature_tag

IMAGE = "shop/tools/web"
NOTHING = "sha256:" + "0" * 64

EMULATED = ("SWR Basic", "SWR Enterprise", "open")
REAL = (DISTRIBUTION, GO_CONTAINERREGISTRY)
NO_KIT = "SIGNING_KIT names no folder with cosign and registries"

pytestmark = pytest.mark.slow  # real registries are processes


@dataclass
class RegistryContents:
    """One repository with an image, an index, a simple signature and a bundle."""

    state: RegistryState
    image: str
    index: str
    signature: str
    bundle: str


def fill(state: RegistryState, *, has_referrers_api: bool, key: EllipticCurvePrivateKey) -> RegistryContents:
    """Make the contents in the state of an emulator."""
    state.has_referrers_api = has_referrers_api
    image = state.put_image(IMAGE, "1")
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": image,
        "size": len(state.repositories[IMAGE].manifests[image][1]),
    }
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    named = state.put_manifest(IMAGE, "multi", OCI_INDEX, index)
    ordinary = make_manifest(state.put_blob(IMAGE, b"{}"), {"test": "an ordinary tag"})
    state.put_manifest(IMAGE, fallback_tag(named), OCI_MANIFEST, ordinary)
    signature = sign_simple(state, IMAGE, image, key, {"stage": "prod"})
    return RegistryContents(state, image, named, signature, sign_bundle(state, IMAGE, image, key))


@dataclass
class Site:
    """A registry, and a client of it."""

    client: OciClient
    url: str
    contents: RegistryContents
    login: LoginState

    def manifest(self, reference: str) -> Manifest | None:
        """Read a manifest."""
        return self.client.get_manifest(IMAGE, reference, Deadline.after(10), free)

    def referrers(self, digest: str) -> list[str]:
        """List the digests of what refers to a digest."""
        listed = self.client.list_referrers(IMAGE, digest, Deadline.after(10), free)
        return [] if listed is None else [entry["digest"] for entry in json.loads(listed)["manifests"]]

    def blob(self, digest: str, size: int) -> bytes | None:
        """Read a blob."""
        return self.client.get_blob(IMAGE, digest, size, Deadline.after(10), free)


@pytest.fixture(scope="module", params=[*EMULATED, *REAL])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a registry of each kind, with the same contents, byte for byte."""
    kind, key = request.param, generate_key()
    folder = tmp_path_factory.mktemp("registry")
    if kind in EMULATED:
        with Emulator() as emulator, Emulator(emulator.state) as storage:
            state = emulator.state.registry
            contents = fill(state, has_referrers_api=kind != "SWR Basic", key=key)
            state.asks_for_tokens = kind != "open"
            state.redirects_blobs_to = "" if kind == "open" else storage.url
            file = write_docker_config(folder / "login.json", {emulator.url: ("robot", "emulator-password")})
            client, _ = open_client(emulator.url, file)
            login = LoginState.OPEN if kind == "open" else LoginState.LOGGED_IN
            yield Site(client, emulator.url, contents, login)
        return
    kit = signing_kit()
    if kit is None:
        pytest.skip(NO_KIT)
    with serve(kit, kind, folder) as url:
        contents = fill(RegistryState(), has_referrers_api=kind == GO_CONTAINERREGISTRY, key=key)
        push(url, IMAGE, contents.state)
        client, _ = open_client(url)
        yield Site(client, url, contents, LoginState.OPEN)


def test_login_is_that_of_the_registry(site: Site) -> None:
    """As ``swr-trust doctor`` says."""
    assert site.client.check_login(Deadline.after(10), free) is site.login


def test_tag_has_digest_of_its_manifest(site: Site) -> None:
    """Of an image and of an index alike: never that of a child that a node will choose."""
    deadline = Deadline.after(10)
    assert site.client.resolve_tag(IMAGE, "1", deadline, free) == site.contents.image
    assert site.client.resolve_tag(IMAGE, "multi", deadline, free) == site.contents.index


def test_missing_tag_and_repository_have_no_digest(site: Site) -> None:
    """The registry says so with an error code."""
    deadline = Deadline.after(10)
    assert site.client.resolve_tag(IMAGE, "2", deadline, free) is None
    assert site.client.resolve_tag("shop/nothing", "1", deadline, free) is None


def test_control_request_is_answered_as_one_for_a_missing_manifest(site: Site) -> None:
    """Its repository and its tag are random. A failure would count as an outage."""
    probes = ControlRepositories({"shop"})
    probe = probes.choose(IMAGE)
    assert probe is not None
    assert site.client.get_manifest(probe, make_control_tag(), Deadline.after(10), free) is None


def test_registry_that_works_is_alive(site: Site) -> None:
    """The answer to a control request is one of a registry. Otherwise each odd answer would be an outage."""
    assert site.client.resolve_tag(IMAGE, "1", Deadline.after(10), free) is not None
    assert site.client._controls.is_alive(IMAGE, Deadline.after(10), free)
    assert site.client._tokens.refuses_all(Deadline.after(10), free) == ""


def test_digest_exists_or_not(site: Site) -> None:
    """By its manifest."""
    deadline = Deadline.after(10)
    assert site.client.has_manifest(IMAGE, site.contents.image, deadline, free)
    assert site.client.has_manifest(IMAGE, site.contents.index, deadline, free)
    assert not site.client.has_manifest(IMAGE, NOTHING, deadline, free)


def test_manifest_is_what_was_pushed(site: Site) -> None:
    """By tag and by digest, with its media type."""
    for reference, digest in (("1", site.contents.image), ("multi", site.contents.index)):
        media_type, content = site.contents.state.repositories[IMAGE].manifests[digest]
        assert site.manifest(reference) == site.manifest(digest) == Manifest(content, media_type, digest)
    assert site.manifest("2") is None
    assert site.manifest(NOTHING) is None


def test_signature_and_its_payload_are_read(site: Site) -> None:
    """The tag is that of cosign's simple signing."""
    found = site.manifest(f"{site.contents.image.replace(':', '-')}.sig")
    assert found is not None
    assert found.digest == site.contents.signature
    layer = json.loads(found.content)["layers"][0]
    assert site.blob(layer["digest"], layer["size"]) == make_payload(
        IMAGE, site.contents.image, {"stage": "prod"}
    )


def test_blob_needs_its_size(site: Site) -> None:
    """One byte more or less is another blob."""
    content = next(iter(site.contents.state.repositories[IMAGE].blobs.values()))
    digest = digest_of(content)
    assert site.blob(digest, len(content)) == content
    for size in (len(content) - 1, len(content) + 1):
        with pytest.raises(MalformedAnswer):
            site.blob(digest, size)
    assert site.blob(NOTHING, 5) is None


def test_referrers_are_listed_by_api_or_fallback_tag(site: Site) -> None:
    """What refers to nothing is an empty list, or no list."""
    assert site.referrers(site.contents.image) == [site.contents.bundle]
    assert site.referrers(site.contents.signature) == []
    assert site.referrers(NOTHING) == []


def test_ordinary_tag_under_name_of_fallback_is_not_a_list(site: Site) -> None:
    """Anybody who may push can name a tag so."""
    assert site.manifest(fallback_tag(site.contents.index)) is not None
    assert site.referrers(site.contents.index) == []


TOOLS = {
    "cosign 3, simple signing": ("cosign", "--use-signing-config=false", "--new-bundle-format=false"),
    "cosign 3, bundle": ("cosign", "--use-signing-config=false"),
    "cosign 2, simple signing": ("cosign2",),
    "cosign 2, bundle": ("cosign2", "--new-bundle-format"),
}


@dataclass
class SignedImage:
    """An image that a real cosign has signed in a real registry."""

    url: str
    repository: str
    digest: str
    key: SigningKey
    has_referrers_api: bool


class Signing:
    """The tools of the kit, with a key of their own."""

    def __init__(self, kit: Path, folder: Path) -> None:
        self._kit, self._folder = kit, folder
        self._run("cosign", "generate-key-pair", "--output-key-prefix", "test")
        content = read_public_key((folder / "test.pub").read_bytes()).der
        self.key = SigningKey("test", str(folder / "test.pub"), content=content)

    def sign(self, url: str, repository: str, tool: str) -> str:
        """Push an image, sign it, and return its digest."""
        host = url.partition("//")[2]
        (self._folder / "layer.txt").write_text(repository, encoding="utf-8")
        subprocess.run(["tar", "cf", "layer.tar", "layer.txt"], cwd=self._folder, check=True, timeout=60)
        image = f"{host}/{repository}:1"
        self._run("crane", "append", "--insecure", "--oci-empty-base", "-f", "layer.tar", "-t", image)
        digest = self._run("crane", "digest", "--insecure", image).strip()
        program, *options = TOOLS[tool]
        offline = ["--key", "test.key", "--tlog-upload=false", "--allow-http-registry", "-a", "stage=prod"]
        self._run(program, "sign", *offline, *options, f"{host}/{repository}@{digest}")
        return digest

    def _run(self, program: str, *arguments: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "COSIGN_PASSWORD": "test-only",
            "COSIGN_YES": "true",
            "OTEL_TRACES_EXPORTER": "none",
        }
        done = subprocess.run(
            [self._kit / program, *arguments],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr[-2000:]}"
        return done.stdout


@pytest.fixture(scope="module", params=REAL)
def signed_images(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, SignedImage]]:
    """Return an image of each tool and format, in each kind of registry."""
    kit = signing_kit()
    if kit is None:
        pytest.skip(NO_KIT)
    folder = tmp_path_factory.mktemp("signing")
    tools = Signing(kit, folder)
    with serve(kit, request.param, folder) as url:
        images = {}
        for number, tool in enumerate(TOOLS):
            repository = f"team/image{number}"
            digest = tools.sign(url, repository, tool)
            has_api = request.param == GO_CONTAINERREGISTRY
            images[tool] = SignedImage(url, repository, digest, tools.key, has_api)
        yield images


def read_all(url: str, image: SignedImage) -> tuple[object, ...]:
    """Return everything that a client reads about the signatures of an image, and what they prove."""
    client, _ = open_client(url)
    deadline, repository = Deadline.after(30), image.repository

    def read_blobs(manifest: Manifest | None) -> list[bytes | None]:
        layers = json.loads(manifest.content)["layers"] if manifest is not None else []
        return [
            client.get_blob(repository, layer["digest"], layer["size"], deadline, free) for layer in layers
        ]

    simple = client.get_manifest(repository, signature_tag(image.digest), deadline, free)
    index = client.list_referrers(repository, image.digest, deadline, free)
    entries = json.loads(index)["manifests"] if index is not None else []
    bundles = [client.get_manifest(repository, entry["digest"], deadline, free) for entry in entries]
    return (
        client.resolve_tag(repository, "1", deadline, free),
        simple,
        read_blobs(simple),
        bundles,
        [read_blobs(bundle) for bundle in bundles],
        check(client, image),
    )


def check(client: OciClient, image: SignedImage, **annotations: str) -> SignatureCheck:
    """Return what the signatures of an image prove."""
    settings = SignatureSettings((image.key,), 1, tuple(annotations.items()))
    lookup = SignatureLookup(make_requirement(settings), client, clock=lambda: 0.0)
    return lookup.check(image.repository, image.digest, Deadline.after(30), free)


@pytest.mark.parametrize("tool", TOOLS)
def test_signatures_of_cosign_are_read_alike_from_emulator(
    signed_images: dict[str, SignedImage], tool: str
) -> None:
    """Everything was copied into it. Both prove the same: the image is signed."""
    image = signed_images[tool]
    real = read_all(image.url, image)
    with Emulator() as emulator:
        state = emulator.state.registry
        state.has_referrers_api, state.asks_for_tokens = image.has_referrers_api, False
        copy(image.url, image.repository, image.digest, state)
        assert read_all(emulator.url, image) == real
    kind = SignatureFormat.BUNDLE if "bundle" in tool else SignatureFormat.SIMPLE_SIGNING
    assert real[0] == image.digest
    assert real[-1] == SignatureCheck(SignatureResult.SIGNED, 0.0, ("test",), (kind,), 1, (), (kind,))


@pytest.mark.parametrize("tool", TOOLS)
def test_annotations_are_missing_only_in_bundles_of_cosign_2(
    signed_images: dict[str, SignedImage], tool: str
) -> None:
    """It was called with ``-a stage=prod``, too (sigstore/cosign issue 4634)."""
    image = signed_images[tool]
    client, _ = open_client(image.url)
    expected = SignatureResult.ANNOTATIONS if tool == "cosign 2, bundle" else SignatureResult.SIGNED
    assert check(client, image, stage="prod").result is expected
    assert check(client, image, stage="test").result is SignatureResult.ANNOTATIONS
