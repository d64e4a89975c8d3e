"""The search for signatures: both formats, one good one suffices, and all limits hold for the sum."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tests.emulator.registry_state import OCI_INDEX, OCI_MANIFEST, RegistryState, digest_of
from tests.emulator.server import SEED, Emulator
from tests.emulator.signing import generate_key, public_pem, sign_bundle, sign_simple
from tests.emulator.state import State
from tests.support.builders import NOW, registry
from tests.support.fakes import FakeClock, free
from webhook.deadlines import Deadline
from webhook.errors import Fault, RegistryUnavailable, TrustLookupError, WrongContent
from webhook.evidence.kept_blobs import KeptBlobs
from webhook.evidence.signature_lookup import SignatureLookup, make_requirement
from webhook.http_client.transport import PooledTransport
from webhook.oci.client import OciClient
from webhook.recorder import Recorder
from webhook.registries import Evidence, SignatureSettings, SigningKey
from webhook.signatures.attempt import Attempt
from webhook.signatures.check import SignatureCheck, SignatureResult
from webhook.signatures.keys import read_public_key
from webhook.signatures.limits import MAX_MANIFEST, MAX_SIGNATURES

T = TypeVar("T")

WEB = "shop/web"
RELEASE, SECURITY, STRANGER = generate_key(), generate_key(), generate_key()


def signing_key(name: str, key: EllipticCurvePrivateKey) -> SigningKey:
    """Return the key as the policy holds it."""
    return SigningKey(name, f"/keys/{name}.pub", content=read_public_key(public_pem(key)).der)


KEYS = (signing_key("release", RELEASE), signing_key("security", SECURITY))


class Site:
    """A registry with one image, and the search for its signatures."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.state: RegistryState = emulator.state.registry
        self.state.public.add(WEB)
        self.digest = self.state.put_image(WEB, "1")
        self.in_thread: list[object] = []
        self._kept = KeptBlobs()

    def check(self, settings: SignatureSettings | None = None) -> SignatureCheck:
        """Search as the webhook does."""
        return self._open(settings).check(WEB, self.digest, Deadline.after(10), free)

    def examine(self) -> Iterator[Attempt]:
        """Search for all signatures, also if some of them suffice."""
        return self._open().examine(WEB, self.digest, Deadline.after(10), free)

    def _open(self, settings: SignatureSettings | None = None) -> SignatureLookup:
        settings = settings or SignatureSettings(KEYS)
        judged = registry(
            evidence=Evidence.SIGNATURE, signatures=settings, registry_endpoint=self.emulator.url
        )
        client = OciClient(judged, PooledTransport(), None, Recorder())
        requirement, clock = make_requirement(settings), FakeClock(NOW)
        return SignatureLookup(requirement, client, self._run_slow, clock, self._kept)

    def change_layers(self, change: Callable[[list[dict[str, Any]]], object]) -> None:
        """Write the manifest of simple signatures again, with changed layers."""
        found = self.state.find_manifest(WEB, self.signature_tag)
        assert found is not None
        manifest = json.loads(found[2])
        change(manifest["layers"])
        self.state.put_manifest(WEB, self.signature_tag, OCI_MANIFEST, json.dumps(manifest).encode())

    def _run_slow(self, work: Callable[[], T], deadline: Deadline, tenant: Hashable, /) -> T:
        assert deadline.remaining() > 5
        assert isinstance(tenant, tuple)
        assert tenant[1] == "shop"
        result = work()
        self.in_thread.append(result)
        return result

    @property
    def signature_tag(self) -> str:
        """The tag of simple signatures."""
        return f"{self.digest.replace(':', '-')}.sig"


@pytest.fixture
def site() -> Iterator[Site]:
    with Emulator(State.load(SEED)) as emulator:
        yield Site(emulator)


def test_image_without_signatures_is_unsigned(site: Site) -> None:
    assert site.check() == SignatureCheck(SignatureResult.UNSIGNED, NOW)


@pytest.mark.parametrize(
    ("sign", "kind"), [(sign_simple, "simple-signing"), (sign_bundle, "bundle")], ids=["simple", "bundle"]
)
def test_signature_counts_in_either_format(site: Site, sign: Callable[..., str], kind: str) -> None:
    sign(site.state, WEB, site.digest, RELEASE)
    assert site.check() == SignatureCheck(
        SignatureResult.SIGNED, NOW, ("release",), (kind,), 1, stored=(kind,)
    )


def test_bundle_counts_without_a_referrers_api(site: Site) -> None:
    site.state.has_referrers_api = False
    sign_bundle(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED


def test_bundles_are_not_looked_for_if_a_simple_signature_suffices(site: Site) -> None:
    """That saves the calls of most images."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    sign_bundle(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED
    assert site.emulator.calls("/referrers/") == 0


@pytest.mark.parametrize("sign", [sign_simple, sign_bundle], ids=["simple", "bundle"])
def test_other_signatures_hide_no_good_one(site: Site, sign: Callable[..., str]) -> None:
    """A stranger's bundle makes cosign 3 ignore a good simple signature."""
    for _ in range(3):
        sign_bundle(site.state, WEB, site.digest, STRANGER)
        sign_simple(site.state, WEB, site.digest, STRANGER)
    sign(site.state, WEB, site.digest, RELEASE)
    sign_bundle(site.state, WEB, site.digest, STRANGER)
    sign_simple(site.state, WEB, site.digest, STRANGER)
    found = site.check()
    assert (found.result, found.signers) == (SignatureResult.SIGNED, ("release",))


def test_signatures_of_strangers_prove_nothing(site: Site) -> None:
    sign_simple(site.state, WEB, site.digest, STRANGER)
    sign_bundle(site.state, WEB, site.digest, STRANGER)
    assert site.check() == SignatureCheck(
        SignatureResult.BAD_SIGNATURE,
        NOW,
        found=2,
        stored=("bundle", "simple-signing"),
        problems=(
            "simple-signing: no key that counts has signed it",
            "bundle: no key that counts has signed it",
        ),
    )


def test_attestation_is_no_signature(site: Site) -> None:
    """``cosign verify`` takes any attestation by the key for one."""
    sign_bundle(site.state, WEB, site.digest, RELEASE, predicate_type="https://spdx.dev/Document")
    assert site.check().result is SignatureResult.UNSIGNED


def test_keys_of_both_formats_add_up_to_the_threshold(site: Site) -> None:
    two = SignatureSettings(KEYS, threshold=2)
    sign_simple(site.state, WEB, site.digest, RELEASE)
    sign_simple(site.state, WEB, site.digest, RELEASE, {"again": "yes"})
    assert site.check(two).result is SignatureResult.THRESHOLD
    sign_bundle(site.state, WEB, site.digest, SECURITY)
    found = site.check(two)
    assert (found.result, found.signers) == (SignatureResult.SIGNED, ("release", "security"))


def test_no_key_counts_no_signature(site: Site) -> None:
    """All keys have lapsed or vanished."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    gone = SignatureSettings((SigningKey("release", "/keys/release.pub", problem="cannot be read"),))
    assert site.check(gone).result is SignatureResult.BAD_SIGNATURE


def test_signature_of_another_image_does_not_count(site: Site) -> None:
    """Whoever may push can copy it to the tag of this image."""
    other = site.state.put_image(WEB, "2")
    sign_simple(site.state, WEB, other, RELEASE)
    copied = site.state.find_manifest(WEB, f"{other.replace(':', '-')}.sig")
    assert copied is not None
    site.state.put_manifest(WEB, site.signature_tag, OCI_MANIFEST, copied[2])
    assert site.check().result is SignatureResult.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b"{}", SignatureResult.UNSIGNED),
        (b"not JSON", SignatureResult.BAD_SIGNATURE),
        (b'{"layers":[]}', SignatureResult.UNSIGNED),
    ],
)
def test_garbage_at_the_signature_tag_hides_no_bundle(
    site: Site, content: bytes, result: SignatureResult
) -> None:
    site.state.put_manifest(WEB, site.signature_tag, OCI_MANIFEST, content)
    assert site.check().result is result
    sign_bundle(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED


def test_at_most_fifty_signatures_are_read_in_both_formats_together(site: Site) -> None:
    """Whoever may push can add any number; each costs a call or two."""
    for _ in range(30):
        sign_simple(site.state, WEB, site.digest, STRANGER)
        sign_bundle(site.state, WEB, site.digest, STRANGER)
    found = site.check()
    assert found.result is SignatureResult.BAD_SIGNATURE
    assert site.emulator.calls("/blobs/") == MAX_SIGNATURES
    assert f"bundle: only {MAX_SIGNATURES} signatures are examined" in found.problems


def test_last_signatures_are_read_first(site: Site) -> None:
    """Signers append, so that a release signed now counts beside many old signatures."""
    for _ in range(MAX_SIGNATURES + 10):
        sign_simple(site.state, WEB, site.digest, STRANGER)
    sign_simple(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED
    assert site.emulator.calls("/blobs/") == 1


@pytest.mark.parametrize(
    ("sign", "kind"), [(sign_simple, "simple-signing"), (sign_bundle, "bundle")], ids=["simple", "bundle"]
)
def test_report_says_that_more_signatures_are_stored_than_are_examined(
    site: Site, sign: Callable[..., str], kind: str
) -> None:
    """The oldest one is good. Whoever looks for it must see why it is not found."""
    sign(site.state, WEB, site.digest, RELEASE)
    for _ in range(MAX_SIGNATURES - 1):
        sign(site.state, WEB, site.digest, STRANGER)
    assert site.check().result is SignatureResult.SIGNED
    sign(site.state, WEB, site.digest, STRANGER)
    found = site.check()
    assert (found.result, found.found) == (SignatureResult.BAD_SIGNATURE, MAX_SIGNATURES)
    assert found.problems == (
        f"{kind}: only {MAX_SIGNATURES} signatures are examined",
        f"{kind}: no key that counts has signed it",
    )


def test_slow_keys_verify_fewer_signatures(site: Site) -> None:
    """20 keys of P-384 take 50 ms for each signature by a stranger, and 50 signatures would take seconds."""
    private = [ec.generate_private_key(ec.SECP384R1()) for _ in range(20)]
    keys = tuple(signing_key(str(index), key) for index, key in enumerate(private))
    for _ in range(30):
        sign_simple(site.state, WEB, site.digest, STRANGER)
    found = site.check(SignatureSettings(keys))
    assert (found.found, len(site.in_thread)) == (20, 20)
    assert found.problems[0] == "simple-signing: only 20 signatures are examined"


ODD: dict[str, dict[str, Any]] = {
    "SHA-512": {"digest": "sha512:" + "a" * 128},
    "no digest": {"digest": None},
    "null as an annotation": {"annotations": {"x": None}},
    "an annotation that is a number": {"annotations": {"x": 1}},
    "no size": {"size": None},
    "other spelling": {"Digest": "x"},
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", [0, 1], ids=["before", "after"])
def test_odd_layer_hides_no_good_signature(site: Site, change: dict[str, Any], place: int) -> None:
    """What somebody adds to the tag is one signature that does not count."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    site.change_layers(lambda layers: layers.insert(place, layers[0] | change))
    assert site.check().result is SignatureResult.SIGNED
    site.change_layers(lambda layers: layers.pop(1 - place))
    found = site.check()
    assert (found.result, found.found) == (SignatureResult.BAD_SIGNATURE, 1)


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", [0, 1], ids=["before", "after"])
def test_odd_entry_of_listing_hides_no_good_bundle(site: Site, change: dict[str, Any], place: int) -> None:
    """The registry copies annotations of all that refers to the image to the listing."""
    sign_bundle(site.state, WEB, site.digest, RELEASE)
    entries = site.state.find_referrers(WEB, site.digest)
    entries.insert(place, entries[0] | change)
    site.state.has_referrers_api = False
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    site.state.put_manifest(WEB, site.digest.replace(":", "-"), OCI_INDEX, index)
    assert site.check().result is SignatureResult.SIGNED


def test_attestations_that_the_listing_names_cost_no_call(site: Site) -> None:
    for _ in range(60):
        sign_bundle(site.state, WEB, site.digest, RELEASE, predicate_type="https://spdx.dev/Document")
    sign_bundle(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED
    assert site.emulator.calls("/blobs/") == 1


def test_manifests_are_bounded_in_sum(site: Site) -> None:
    """Each is within its limit."""
    entries = []
    for number in range(10):
        content = json.dumps({"n": number, "padding": "x" * (MAX_MANIFEST - 100)}).encode()
        site.state.put_manifest(WEB, digest_of(content), OCI_MANIFEST, content)
        entries.append({"mediaType": OCI_MANIFEST, "digest": digest_of(content), "size": len(content)})
    site.state.has_referrers_api = False
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    site.state.put_manifest(WEB, site.digest.replace(":", "-"), OCI_INDEX, index)
    site.check()
    assert site.emulator.calls("/manifests/sha256:") == 4


def test_signature_that_cannot_be_read_hides_no_good_one(site: Site) -> None:
    sign_simple(site.state, WEB, site.digest, RELEASE)
    sign_bundle(site.state, WEB, site.digest, SECURITY)
    site.emulator.break_with("status", status=500, match="/blobs/", times=1)
    found = site.check()
    assert (found.result, found.signers) == (SignatureResult.SIGNED, ("security",))


def test_signature_that_cannot_be_read_is_a_gap(site: Site) -> None:
    """It could be a good one, so the image is not unsigned. Its author may be the cause."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    site.emulator.break_with("status", status=500, match="/blobs/")
    with pytest.raises(RegistryUnavailable) as caught:
        site.check()
    assert caught.value.fault is Fault.IMAGE


@pytest.mark.parametrize("sign", [sign_simple, sign_bundle], ids=["simple", "bundle"])
@pytest.mark.parametrize(
    ("kind", "values"), [("status", {"status": 200, "body": "<html>"}), ("gzip", {}), ("huge", {})]
)
def test_wrong_bytes_of_a_blob_prove_nothing(
    site: Site, sign: Callable[..., str], kind: str, values: dict[str, Any]
) -> None:
    """Object storage answers with a page. The signature may be a good one, and another one suffices."""
    sign(site.state, WEB, site.digest, RELEASE)
    sign(site.state, WEB, site.digest, SECURITY, {"again": "yes"})
    site.emulator.break_with(kind, match="/blobs/", **values)
    with pytest.raises(WrongContent) as caught:
        site.check()
    assert caught.value.fault is Fault.IMAGE
    site.emulator.mend()
    site.emulator.break_with(kind, match="/blobs/", times=1, **values)
    assert site.check().signers == ("release",)


def test_compressed_manifest_proves_nothing(site: Site) -> None:
    """Something before the registry has compressed it, and it may name a good signature."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    site.emulator.break_with("gzip", match="/manifests/")
    with pytest.raises(WrongContent):
        site.check()


def test_other_manifest_than_that_of_the_digest_proves_nothing(site: Site) -> None:
    bundle = sign_bundle(site.state, WEB, site.digest, RELEASE)
    site.state.repositories[WEB].manifests[bundle] = (OCI_MANIFEST, b"{}")
    site.state.has_referrers_api = False
    entry = {"mediaType": OCI_MANIFEST, "digest": bundle, "size": 2}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    site.state.put_manifest(WEB, site.digest.replace(":", "-"), OCI_INDEX, index)
    with pytest.raises(WrongContent):
        site.check()
    sign_simple(site.state, WEB, site.digest, RELEASE)
    assert site.check().result is SignatureResult.SIGNED


@pytest.mark.parametrize("is_kept", [False, True])
def test_size_that_an_author_states_wrongly_gains_nothing(site: Site, is_kept: bool) -> None:
    """The blob is as pushed, so that the result is known, and replaces an earlier trust."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    if is_kept:
        assert site.check().result is SignatureResult.SIGNED
    site.change_layers(lambda layers: layers[0].update(size=layers[0]["size"] + 1))
    assert site.check().result is SignatureResult.BAD_SIGNATURE
    assert site.emulator.calls("/blobs/") == 1


def test_missing_blob_is_counted_after_a_failure_and_the_first_failure_is_raised(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one shows what came before the others, such as the object storage that broke."""
    for number in "123":
        sign_simple(site.state, WEB, site.digest, STRANGER, {"number": number})
    answers: list[TrustLookupError | None] = [
        RegistryUnavailable("the first", fault=Fault.IMAGE),
        None,
        RegistryUnavailable("the second", fault=Fault.IMAGE),
    ]

    def answer(*_: object) -> None:
        failure = answers.pop(0)
        if failure is not None:
            raise failure

    monkeypatch.setattr(OciClient, "get_blob", answer)
    attempts = site.examine()
    assert next(attempts).problem == "its content is missing"
    with pytest.raises(RegistryUnavailable, match="the first"):
        next(attempts)


def test_search_ends_if_the_registry_fails(site: Site) -> None:
    sign_simple(site.state, WEB, site.digest, RELEASE)
    site.emulator.break_with("status", status=503, match="/v2/")
    with pytest.raises(TrustLookupError) as caught:
        site.check()
    assert caught.value.fault is Fault.REGISTRY
    assert site.emulator.calls("/referrers/") == 0


def test_slow_verification_runs_outside_of_the_loop(site: Site) -> None:
    """All others run in it: a thread costs more than a P-256 verification."""
    sign_simple(site.state, WEB, site.digest, RELEASE)
    site.check()
    assert site.in_thread == []


@pytest.mark.parametrize("kind", ["p384", "many"])
def test_keys_that_are_slow_together_verify_outside_of_the_loop(site: Site, kind: str) -> None:
    """A signature by a stranger is verified with each of them."""
    private = [generate_key() for _ in range(20)]
    if kind == "p384":
        private = [ec.generate_private_key(ec.SECP384R1())]
    sign_simple(site.state, WEB, site.digest, private[0])
    keys = tuple(signing_key(str(index), key) for index, key in enumerate(private))
    assert site.check(SignatureSettings(keys)).signers == ("0",)
    assert len(site.in_thread) == 1


@pytest.mark.parametrize("what", ["the manifest", "the listing"])
def test_large_content_is_read_outside_of_the_loop(site: Site, what: str) -> None:
    """Anyone who may push can write a megabyte, which takes 15 ms."""
    large = json.dumps({"schemaVersion": 2, "layers": [], "padding": " " * 40_000}).encode()
    if what == "the manifest":
        site.state.put_manifest(WEB, site.signature_tag, OCI_MANIFEST, large)
    else:
        site.state.has_referrers_api = False
        site.state.put_manifest(WEB, site.digest.replace(":", "-"), OCI_INDEX, large)
    site.check()
    assert site.in_thread == [[]]


@pytest.mark.parametrize("sign", [sign_simple, sign_bundle], ids=["simple", "bundle"])
def test_blob_of_a_signature_that_counted_is_downloaded_once(site: Site, sign: Callable[..., str]) -> None:
    """It has a digest. So images that run stay trusted while object storage fails."""
    sign(site.state, WEB, site.digest, RELEASE)
    assert [site.check().result for _ in range(3)] == [SignatureResult.SIGNED] * 3
    assert site.emulator.calls("/blobs/") == 1


@pytest.mark.parametrize("sign", [sign_simple, sign_bundle], ids=["simple", "bundle"])
def test_kept_blob_is_verified_with_the_keys_that_count_now(site: Site, sign: Callable[..., str]) -> None:
    sign(site.state, WEB, site.digest, RELEASE)
    site.check()
    found = site.check(SignatureSettings((signing_key("release", SECURITY),)))
    assert (found.result, site.emulator.calls("/blobs/")) == (SignatureResult.BAD_SIGNATURE, 1)


def test_blob_of_another_signature_is_not_kept(site: Site) -> None:
    """Anyone who may push could fill the space."""
    sign_simple(site.state, WEB, site.digest, STRANGER)
    for _ in range(2):
        site.check()
    assert site.emulator.calls("/blobs/") == 2
