"""Images that are trusted by signatures: warm and cold reviews, the calls of many, and the verification."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.load import run_load
from tests.bench.lookups import WARM, admit_crowd, time_added
from tests.bench.report import Figure, at_least, at_most, interleave
from tests.emulator.server import Emulator
from tests.emulator.signing import generate_key, make_payload, public_pem, sign
from tests.signing import sm2
from tests.support.builders import HOST, pod, review
from tests.support.serving import Certificate, ServerProcess
from tests.support.signed import SigningKeys, write_signed_policy
from webhook.app.native_threads import NativeThreads
from webhook.app.webhook_process import VERIFICATION_SLICE
from webhook.signatures.attempt import Attempt, Outcome
from webhook.signatures.keys import PublicKey, load_public_key, read_public_key
from webhook.signatures.requirement import Requirement
from webhook.signatures.simple_signing import SignatureLayer, check_simple_signature

MANY = 16
VERIFICATIONS = 200
DIGEST = "sha256:" + "a" * 64


def measure_signed(folder: Path, certificate: Certificate, emulator: Emulator) -> list[Figure]:
    """Return what signatures cost: warm, cold, in a crowd, and for one verification."""
    keys = SigningKeys(folder, "release")
    server = ServerProcess(folder, emulator.url, certificate)
    write_signed_policy(server, emulator, keys, "lookup: {callsPerSecond: 1000}\n")
    with server:
        return [
            _measure_warm(folder, server, emulator, keys),
            _measure_cold(server, emulator, keys),
            *_measure_crowd(server, emulator, keys),
            *_measure_verification(),
        ]


def _push(emulator: Emulator, keys: SigningKeys, repository: str) -> str:
    """Push a signed image and return its name in a Pod."""
    digest = emulator.state.put_image(f"signed/{repository}:1")
    emulator.state.sign_simple(f"signed/{repository}", digest, keys["release"])
    return f"{HOST}/signed/{repository}:1"


def _measure_warm(folder: Path, server: ServerProcess, emulator: Emulator, keys: SigningKeys) -> Figure:
    """Return the throughput of cached signed images relative to that of images by tag detail."""
    images = {"signed": _push(emulator, keys, "warm"), "by tag detail": WARM}
    runs: dict[str, Callable[[], float]] = {}
    for name, image in images.items():
        body = folder / f"{name.replace(' ', '-')}.json"
        body.write_bytes(review(pod(image)))
        runs[name] = partial(_rate, server, body)
    ratio = interleave(runs).ratio("signed", "by tag detail")
    return at_least("cached review of a signed image relative to one by tag detail", ratio, 0.95)


def _rate(server: ServerProcess, body: Path) -> float:
    return run_load(server.port, server.certificate.ca, body, connections=MANY).per_second


def _measure_cold(server: ServerProcess, emulator: Emulator, keys: SigningKeys) -> Figure:
    """Return the time that ten distinct signed cold images add to a review, in round trips."""
    added = time_added(server, emulator, partial(_push, emulator, keys))
    return at_most("time added by ten uncached signed images, in round trips of 100 ms", added, 4.4)


def _measure_crowd(server: ServerProcess, emulator: Emulator, keys: SigningKeys) -> list[Figure]:
    """Return how often each thing is fetched by 1,000 simultaneous reviews of one cold image."""
    image = _push(emulator, keys, "crowd")
    before = dict(emulator.state.calls)
    admitted = admit_crowd(server, emulator, image, "an uncached signed image", 0.3)
    calls = [
        count - before.get(path, 0)
        for path, count in emulator.state.calls.items()
        if "crowd" in path and count > before.get(path, 0)
    ]
    return [admitted, Figure("  most calls for one thing", f"{max(calls)}", "1", max(calls) == 1)]


def _measure_verification() -> list[Figure]:
    """Return the processor time that one verification takes from the thread of the event loop."""
    payload = make_payload("shop/web", DIGEST)
    key, slow_key = generate_key(), sm2.generate()
    check = _make_check(read_public_key(public_pem(key)), payload, sign(key, payload))
    slow = _make_check(load_public_key(slow_key.der), payload, slow_key.sign(payload))
    threads = NativeThreads(1, VERIFICATION_SLICE)
    taken: dict[str, tuple[Callable[[], Attempt], float]] = {
        "by ECDSA P-256, in the event loop": (check, 0.5),
        "by SM2, in a thread of its own": (partial(threads.run, slow), 0.5),
    }
    figures = []
    for what, (run, limit) in taken.items():
        milliseconds = 1e3 * statistics.median(_loop_time(run) for _ in range(VERIFICATIONS))
        figures.append(
            at_most(f"time of the event loop for a verification {what}", milliseconds, limit, " ms")
        )
    alone = 1e3 * statistics.median(_loop_time(slow) for _ in range(VERIFICATIONS))
    return [*figures, Figure("  SM2 in the event loop, for comparison", f"{alone:.2f} ms")]


def _make_check(public: PublicKey, payload: bytes, signature: bytes) -> Callable[[], Attempt]:
    layer = SignatureLayer(DIGEST, len(payload), signature)
    requirement = Requirement((("release", public),))
    return partial(check_simple_signature, payload, layer, DIGEST, requirement)


def _loop_time(check: Callable[[], Attempt]) -> float:
    """Return the processor time of this thread, which is that of the event loop, for one check."""
    started = time.thread_time()
    attempt = check()
    took = time.thread_time() - started
    if attempt.outcome is not Outcome.VALID:
        raise AssertionError(attempt)
    return took
