"""Credentials: changed files, shared logins, and pauses after failures."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.exceptions import exceptions as sdk_exceptions
from huaweicloudsdkcore.signer.signer import Signer

from tests.emulator.signature import verify
from tests.support.fakes import FakeClock, FakeTransport, RecorderSpy
from webhook.deadlines import Deadline
from webhook.errors import (
    ConfigError,
    Fault,
    LookupTimeout,
    MalformedAnswer,
    RegistryUnavailable,
    Throttled,
    TrustLookupError,
    Unauthorized,
)
from webhook.http_client.messages import HttpRequest, HttpResponse
from webhook.registries import CredentialSettings
from webhook.swr.credentials import build_credential
from webhook.swr.credentials.fetched import BACK_OFF, Fetched, FetchedSecret
from webhook.swr.credentials.files import SecretFiles, open_secret, read_secret
from webhook.swr.credentials.guard import PAUSE_SECONDS, GuardedCredential, Pause
from webhook.swr.credentials.iam import read_temporary_keys, read_time
from webhook.swr.credentials.secrets import FixedSecret, KeyPair
from webhook.swr.credentials.signing import load_signer

SOON = Deadline(1e9)
REQUEST = HttpRequest(
    "GET", "https://swr-api.example.com", "/v2/manage/namespaces/shop/repos/tools$web/tags/1.0"
)


def written(path: Path, text: str) -> str:
    """Write a file and return its path."""
    path.write_text(text, encoding="utf-8")
    return str(path)


# -- files


def open_pair(
    first: str, second: str, read: Callable[[str], str] = read_secret
) -> SecretFiles[tuple[str, str]]:
    """Return the secrets of two files that belong together."""
    return SecretFiles([first, second], lambda: (read(first), read(second)))


def test_changed_secret_file_is_read_again(tmp_path: Path) -> None:
    """A rotated token is used for the next call, and has another generation."""
    files = open_secret(written(tmp_path / "token", "one\n"))
    assert files.current(SOON) == ("one", 1)
    assert files.current(SOON) == ("one", 1)
    written(tmp_path / "token", "two-two\n")
    assert files.current(SOON) == ("two-two", 2)


def test_rewritten_file_with_same_secret_keeps_generation(tmp_path: Path) -> None:
    """Touching a file does not end a pause."""
    files = open_secret(written(tmp_path / "token", "one\n"))
    files.current(SOON)
    (tmp_path / "token").unlink()
    written(tmp_path / "token", "one")
    assert files.current(SOON) == ("one", 1)


def test_secret_volume_symlink_swap_is_detected(tmp_path: Path) -> None:
    """Kubernetes replaces the link ``..data``: both files change at once."""
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        written(tmp_path / version / "ak", f"ak-{version}")
        written(tmp_path / version / "sk", f"sk-{version}")
    data = tmp_path / "..data"
    data.symlink_to(tmp_path / "a")
    for name in ("ak", "sk"):
        (tmp_path / name).symlink_to(data / name)
    files = open_pair(str(tmp_path / "ak"), str(tmp_path / "sk"))
    assert files.current(SOON) == (("ak-a", "sk-a"), 1)
    fresh = tmp_path / "..fresh"
    fresh.symlink_to(tmp_path / "b")
    fresh.rename(data)
    assert files.current(SOON) == (("ak-b", "sk-b"), 2)


def test_key_pair_changed_during_read_is_read_again(tmp_path: Path) -> None:
    """An old access key is never paired with a new secret key."""
    first, second = tmp_path / "ak", tmp_path / "sk"
    calls = []

    def rotate(path: str) -> str:
        value = read_secret(path)
        calls.append(path)
        if len(calls) == 1:
            written(first, "ak-new!")
            written(second, "sk-new!")
        return value

    files = open_pair(written(first, "ak-old"), written(second, "sk-old"), rotate)
    assert files.current(SOON) == (("ak-new!", "sk-new!"), 1)


BAD_FILES = [
    (None, "cannot be read: No such file or directory"),
    ("", "is empty"),
    ("  \n", "is empty"),
    ("a\nb", "contains more than one line"),
    ("é", "contains characters that no credential has"),
    ("x" * 70_000, "is larger than 65536 bytes"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_invalid_secret_file_is_named_without_content(tmp_path: Path, text: str | None, message: str) -> None:
    """The failure names the file, and never its content."""
    path = tmp_path / "token"
    if text is not None:
        written(path, text)
    with pytest.raises(Unauthorized) as caught:
        open_secret(str(path)).current(SOON)
    assert str(caught.value) == f"{path} {message}"


def test_unreadable_secret_file_keeps_last_secret(tmp_path: Path) -> None:
    """A Secret that is deleted by mistake does not stop the webhook at once."""
    files = open_secret(written(tmp_path / "token", "one"))
    files.current(SOON)
    (tmp_path / "token").unlink()
    assert files.current(SOON) == ("one", 1)
    written(tmp_path / "token", "")
    assert files.current(SOON) == ("one", 1)


# -- the guard


class Guarded:
    """A guard with a secret and a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.notes = RecorderSpy()
        self.secrets = ["one"]
        self.renewable = False
        pause = Pause("token", self.notes, self.clock, lambda low, high: (low + high) / 2)
        self.credential = GuardedCredential("token", self, lambda secret, request: {"X": secret}, pause)

    def current(self, deadline: Deadline) -> tuple[str, int]:
        return self.secrets[-1], len(self.secrets)

    def renew(self, generation: int, fault: Fault = Fault.REGISTRY) -> bool:
        return self.renewable or generation != len(self.secrets)

    def confirm(self) -> None:
        pass

    def authorize(self, seconds: float = 60.0) -> int:
        """Authorize a request and return the generation."""
        return self.credential.authorize(REQUEST, Deadline.after(seconds)).generation


def test_failed_authentication_pauses_credential() -> None:
    """One failure is enough, because five lock the account."""
    guarded = Guarded()
    assert guarded.authorize() == 1
    assert guarded.credential.reject(1) is False
    with pytest.raises(
        Unauthorized, match="the token credential is paused for 480 s after a failed authentication"
    ):
        guarded.authorize()


def test_credential_pause_ends_after_its_time() -> None:
    """After six to ten minutes there is one more attempt."""
    guarded = Guarded()
    guarded.authorize()
    guarded.credential.reject(1)
    guarded.clock.tick(481)
    assert guarded.authorize() == 1
    assert PAUSE_SECONDS == (360.0, 600.0)


def test_changed_secret_ends_credential_pause() -> None:
    """A rotated file is tried at once."""
    guarded = Guarded()
    guarded.authorize()
    guarded.credential.reject(1)
    guarded.secrets.append("two")
    assert guarded.authorize() == 2


def test_failure_of_old_secret_does_not_pause_new_secret() -> None:
    """A late answer is about the secret that was used."""
    guarded = Guarded()
    guarded.authorize()
    guarded.secrets.append("two")
    assert guarded.credential.reject(1) is True
    assert guarded.authorize() == 2


def test_credential_pauses_are_recorded() -> None:
    """``a credential is paused`` is a metric."""
    guarded = Guarded()
    guarded.authorize()
    guarded.credential.reject(1)
    guarded.secrets.append("two")
    guarded.authorize()
    guarded.credential.accept(2)
    paused = [values[1] for values in guarded.notes.named("credential_paused")]
    assert isinstance(paused[0], float)
    assert paused[0] > time.time()
    assert paused[-1] == 0.0


def test_new_secret_is_tried_by_one_request_at_a_time() -> None:
    """A hundred cold lookups with a wrong secret are one failure, not a hundred."""
    guarded = Guarded()
    assert guarded.authorize() == 1
    outcomes: list[object] = []

    def ask() -> None:
        try:
            outcomes.append(guarded.authorize())
        except TrustLookupError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    guarded.credential.reject(1)
    for thread in threads:
        thread.join(10)
    assert outcomes == [Unauthorized] * 100


def test_accepted_secret_is_used_by_all_requests() -> None:
    """After it was accepted no request waits."""
    guarded = Guarded()
    guarded.authorize()
    guarded.credential.accept(1)
    assert [guarded.authorize(0.0) for _ in range(50)] == [1] * 50


def test_trial_without_result_admits_next_trial() -> None:
    """A timeout of SWR says nothing about the secret."""
    guarded = Guarded()
    guarded.authorize()
    guarded.credential.release(1)
    assert guarded.authorize() == 1


def test_wait_for_trial_ends_at_deadline_of_caller() -> None:
    """Fault B2: a wait that ends early says nothing about SWR, so that nothing is admitted because of it."""
    guarded = Guarded()
    guarded.authorize()
    with pytest.raises(LookupTimeout) as caught:
        guarded.authorize(0.02)
    assert (caught.value.fault, caught.value.detail) == (
        Fault.LOCAL,
        "the token credential is being tried for the first time",
    )


@pytest.mark.parametrize(
    ("unanswered", "outcome"),
    [
        pytest.param(None, "1", id="an answer that says nothing of it"),
        pytest.param(LookupTimeout("late", fault=Fault.LOCAL), "1", id="a call that had no time"),
        pytest.param(
            LookupTimeout("late", fault=Fault.REGISTRY),
            "registry: late",
            id="a call that had its time",
        ),
    ],
)
def test_waiting_calls_share_failed_trial_only_if_swr_did_not_answer(
    unanswered: LookupTimeout | None, outcome: str
) -> None:
    """After a start while SWR is down all calls fail at once; one after the other would have too
    little time.
    """
    guarded = Guarded()
    guarded.authorize()
    outcomes: list[str] = []

    def wait() -> None:
        try:
            outcomes.append(str(guarded.authorize(30.0)))
        except LookupTimeout as error:
            outcomes.append(f"{error.fault}: {error.detail}")

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not vars(guarded.credential._changed)["_waiters"]:
        time.sleep(0.001)
    guarded.credential.release(1, unanswered)
    waiting.join(10)
    assert outcomes == [outcome]


def test_trial_without_report_ends_at_its_deadline() -> None:
    """A request that ended without a report does not block the credential."""
    guarded = Guarded()
    guarded.authorize(0.0)
    assert guarded.authorize(1.0) == 1


# -- secrets that are fetched


class Login:
    """A login that can be slow, can fail and is counted."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.count = 0
        self.seconds = 3600.0
        self.failure: TrustLookupError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, deadline: Deadline) -> Fetched[str]:
        self.gate.wait(5)
        self.count += 1
        if self.failure is not None:
            raise self.failure
        return Fetched(f"token-{self.count}", self.clock() + self.seconds)


class Session:
    """A fetched secret with its dependencies."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.login = Login(self.clock)
        self.inputs = "password-1"
        self.notes = RecorderSpy()
        pause = Pause("iamUser", self.notes, self.clock, lambda low, high: (low + high) / 2)
        self.secret = FetchedSecret("iamUser", self.login, lambda: self.inputs, pause, self.notes, self.clock)

    def current(self, seconds: float = 5.0) -> tuple[str, int]:
        return self.secret.current(Deadline.after(seconds))

    def settle(self) -> None:
        """Wait for a fetch in the background."""
        ends = time.monotonic() + 5
        while self.secret._fetches.find("iamUser") is not None and time.monotonic() < ends:
            time.sleep(0.001)


def test_token_is_fetched_once_and_reused() -> None:
    """One login is valid until shortly before its expiry."""
    session = Session()
    assert [session.current() for _ in range(5)] == [("token-1", 1)] * 5
    assert session.login.count == 1


def test_concurrent_callers_share_one_login() -> None:
    """IAM must not get many logins at once."""
    session = Session()
    session.login.gate.clear()
    results: list[tuple[str, int]] = []
    threads = [threading.Thread(target=lambda: results.append(session.current())) for _ in range(50)]
    for thread in threads:
        thread.start()
    session.login.gate.set()
    for thread in threads:
        thread.join(10)
    assert (results, session.login.count) == ([("token-1", 1)] * 50, 1)


def test_callers_share_one_failed_login() -> None:
    """A wrong password is sent once."""
    session = Session()
    session.login.failure = Unauthorized("IAM answered 401")
    for _ in range(50):
        with pytest.raises(Unauthorized):
            session.current()
    assert session.login.count == 1


def test_rejected_password_is_not_sent_again_until_changed() -> None:
    """Neither soon nor later, but at once with another password."""
    session = Session()
    session.login.failure = Unauthorized("IAM answered 401")
    with pytest.raises(Unauthorized):
        session.current()
    session.clock.tick(300)
    with pytest.raises(
        Unauthorized, match="the iamUser credential is paused for 180 s after a failed authentication"
    ):
        session.current()
    assert session.login.count == 1
    session.inputs, session.login.failure = "password-2", None
    assert session.current() == ("token-2", 1)


def test_unavailable_iam_is_retried_after_short_back_off() -> None:
    """An outage of IAM is not a failed authentication."""
    session = Session()
    session.login.failure = RegistryUnavailable("down")
    for _ in range(10):
        with pytest.raises(RegistryUnavailable):
            session.current()
    assert session.login.count == 1
    session.clock.tick(3)
    session.login.failure = None
    assert session.current() == ("token-2", 1)


def test_token_is_refreshed_in_background_before_expiry() -> None:
    """No request waits for the new token while the old one is valid."""
    session = Session()
    session.current()
    session.clock.tick(3400)
    session.login.gate.clear()
    assert session.current(0.0) == ("token-1", 1)
    session.login.gate.set()
    session.settle()
    assert session.current() == ("token-2", 2)


def test_failed_token_refresh_keeps_valid_token() -> None:
    """An outage of IAM has no effect before the token expires."""
    session = Session()
    session.current()
    session.clock.tick(3400)
    session.login.failure = RegistryUnavailable("down")
    session.current()
    session.settle()
    assert session.current() == ("token-1", 1)


def test_token_is_not_used_in_last_minute_before_expiry() -> None:
    """A minute is reserved for differences between clocks."""
    session = Session()
    session.current()
    session.clock.tick(3541)
    assert session.current() == ("token-2", 2)


def test_rejected_token_is_renewed_once() -> None:
    """A token that IAM invalidated early costs one login; a second rejection in a row costs none."""
    session = Session()
    assert session.current() == ("token-1", 1)
    assert session.secret.renew(1) is True
    assert session.current() == ("token-2", 2)
    assert session.secret.renew(2) is False
    with pytest.raises(Unauthorized, match="paused for 480 s after a failed authentication"):
        session.current()
    assert session.login.count == 2


def test_accepted_token_can_be_renewed_again() -> None:
    """IAM may invalidate tokens early more than once."""
    session = Session()
    session.current()
    session.secret.renew(1)
    session.current()
    session.secret.confirm()
    assert session.secret.renew(2) is True
    assert session.current() == ("token-3", 3)


def test_pause_after_two_rejections_ends_with_new_login() -> None:
    """The rejected token is not tried again until it expires; one login per pause."""
    session = Session()
    session.current()
    session.secret.renew(1)
    session.current()
    session.secret.renew(2)
    session.clock.tick(481)
    assert session.current() == ("token-3", 3)
    assert session.secret.renew(3) is False


def test_changed_password_is_tried_at_once_after_two_rejections() -> None:
    """A corrected Secret takes effect without waiting for the pause."""
    session = Session()
    session.current()
    session.secret.renew(1)
    session.current()
    session.secret.renew(2)
    session.inputs = "password-2"
    assert session.current() == ("token-3", 3)


def test_requests_rejected_together_share_new_login() -> None:
    """A token was invalidated early under load: each request may continue with the new one."""
    session = Session()
    session.current()
    assert [session.secret.renew(1) for _ in range(20)] == [True] * 20
    assert [session.current() for _ in range(20)] == [("token-2", 2)] * 20
    assert [session.secret.renew(2) for _ in range(20)] == [False] * 20
    assert session.login.count == 2


def test_wait_for_login_ends_at_deadline_of_caller() -> None:
    """Fault B6: it costs each lookup only its own time, and admits nothing: the author of a Pod may cause a
    login.
    """
    session = Session()
    session.login.gate.clear()
    with pytest.raises(LookupTimeout) as caught:
        session.current(0.02)
    assert caught.value.fault is Fault.LOCAL
    session.login.gate.set()


def test_timeout_of_login_after_failed_login_is_registry_fault() -> None:
    """It is an outage of IAM, during which stale trust is served."""
    session = Session()
    session.login.failure = RegistryUnavailable("IAM did not answer in time")
    with pytest.raises(RegistryUnavailable):
        session.current()
    session.settle()
    session.clock.tick(BACK_OFF + 1)
    session.login.gate.clear()
    with pytest.raises(LookupTimeout) as caught:
        session.current(0.02)
    assert caught.value.fault is Fault.REGISTRY
    session.login.gate.set()


def test_logins_are_counted() -> None:
    """The results of logins are a metric."""
    session = Session()
    session.current()
    session.settle()
    assert session.notes.named("credential_fetched") == [("iamUser", "ok")]


# -- what is sent


def test_access_key_signature_matches_sent_request() -> None:
    """The signature covers exactly the sent path, query and headers."""
    request = HttpRequest(
        "GET",
        "https://swr-api.example.com",
        "/v3/manage/namespaces/shop/repos/tools$web/tags",
        (("limit", "1000"), ("marker", "a b+c/~")),
        {"Content-Type": "application/json;charset=utf-8", "X-Project-Id": "p"},
    )
    added = load_signer()(KeyPair("AK", "SK", "ST"), request)
    headers = {name.lower(): value for name, value in {**request.headers, **added}.items()}
    query = "limit=1000&marker=a%20b%2Bc%2F~"
    assert verify("GET", request.path, query, headers, b"", "SK", time.time()) is None
    assert (
        verify("GET", request.path, query, headers, b"", "other", time.time())
        == "the signature does not match"
    )
    assert headers["x-security-token"] == "ST"
    assert "x-project-id" in headers["authorization"]


SDK_ERRORS = sorted(
    {
        *(
            kind
            for _, kind in inspect.getmembers(sdk_exceptions, inspect.isclass)
            if issubclass(kind, Exception)
        ),
        ValueError,
        UnicodeEncodeError,
        TypeError,
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", SDK_ERRORS, ids=lambda kind: kind.__name__)
def test_any_sdk_exception_is_unauthorized_without_its_text(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This includes exceptions of later versions; their text may contain the key and is not repeated."""

    def fail(self: Signer, request: object) -> None:
        raise kind.__new__(kind)

    monkeypatch.setattr(Signer, "sign", fail)
    with pytest.raises(Unauthorized) as caught:
        load_signer()(KeyPair("AK", "hunter2"), REQUEST)
    assert str(caught.value) == f"a request cannot be signed: {kind.__name__}"


def test_failed_signing_ends_trial_of_secret() -> None:
    """The trial of a new secret ends with it."""
    guarded = Guarded()
    failing = GuardedCredential("aksk", guarded, _cannot_sign, Pause("aksk", RecorderSpy()))
    for _ in range(2):
        with pytest.raises(Unauthorized, match="cannot be signed"):
            failing.authorize(REQUEST, Deadline.after(5.0))


def _cannot_sign(secret: str, request: HttpRequest) -> dict[str, str]:
    raise Unauthorized("a request cannot be signed: ValueError")


def test_secrets_are_not_in_representations() -> None:
    """Not in a repr, a str or an error."""
    pair = KeyPair("AK", "hunter2", "hunter3")
    signed = REQUEST.with_headers({"X-Auth-Token": "hunter2"})
    for value in (pair, Fetched(pair, 1.0), signed, FixedSecret(pair)):
        assert "hunter" not in f"{value!r} {value!s}"


KEYS = {"access": "A", "secret": "S", "securitytoken": "T", "expires_at": "2026-01-01T00:00:00.000000Z"}
SPELLINGS = [
    {"credential": KEYS},
    KEYS,
    {
        "credentials": {
            "access_key_id": "A",
            "secret_access_key": "S",
            "security_token": "T",
            "expiration": "2026-01-01T00:00:00Z",
        }
    },
    {
        "credential": {
            "accessKeyId": "A",
            "secretAccessKey": "S",
            "securityToken": "T",
            "expiration": "2026-01-01T08:00:00+08:00",
        }
    },
]


@pytest.mark.parametrize("value", SPELLINGS)
def test_temporary_keys_are_read_in_every_spelling(value: Any) -> None:
    """IAM, STS and Pod Identity each have their own."""
    assert read_temporary_keys(json.dumps(value).encode()) == Fetched(KeyPair("A", "S", "T"), 1767225600.0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", json.dumps({"credential": {**KEYS, "secret": ""}}).encode()]
)
def test_incomplete_temporary_keys_are_malformed(body: bytes) -> None:
    """Half a pair is not usable."""
    with pytest.raises(MalformedAnswer):
        read_temporary_keys(body)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123Z",
        "2026-01-01T00:00:00.123456Z",
        "2026-01-01T00:00:00",
    ],
)
def test_expiry_times_are_read_with_and_without_fraction(text: str) -> None:
    """The SDK fails on one of them."""
    assert int(read_time(text)) == 1767225600


def test_iam_user_login_follows_api_documentation(tmp_path: Path) -> None:
    """Password, domain and project are in the body, not in the path."""
    expires = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}
    answer = HttpResponse(201, {"x-subject-token": "T1"}, json.dumps(expires).encode())
    transport = FakeTransport([answer])
    settings = CredentialSettings(
        "iamUser", domain_name="acme", user_name="robot", password_file=written(tmp_path / "p", "pw")
    )
    credential = build_credential(
        settings,
        region="cn-north-4",
        iam_endpoint="https://iam.example.com",
        project_id=None,
        transport=transport,
        environment={},
    )
    assert credential.authorize(REQUEST, SOON).headers == {"X-Auth-Token": "T1"}
    (request,) = transport.sent
    assert (request.method, request.path, request.query) == (
        "POST",
        "/v3/auth/tokens",
        (("nocatalog", "true"),),
    )
    assert json.loads(request.body) == {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"domain": {"name": "acme"}, "name": "robot", "password": "pw"}},
            },
            "scope": {"project": {"name": "cn-north-4"}},
        }
    }


LOGINS: list[tuple[int, Any, type[TrustLookupError], str]] = [
    (400, {"error_code": "IAM.0011"}, Unauthorized, "IAM answered 400 IAM.0011"),
    (401, {"error_code": "IAM.0101"}, Unauthorized, "IAM answered 401 IAM.0101"),
    (401, {"error": {"code": 401}}, Unauthorized, "IAM answered 401"),
    (403, {"error_code": "IAM.0073"}, Unauthorized, "IAM answered 403 IAM.0073"),
    (404, {"error_code": "APIGW.0101"}, RegistryUnavailable, "IAM answered 404 APIGW.0101"),
    (429, {"error_code": "APIGW.0308"}, Throttled, "IAM answered 429 APIGW.0308"),
    (302, {}, RegistryUnavailable, "IAM answered 302"),
    (500, {}, RegistryUnavailable, "IAM answered 500"),
    (503, {}, RegistryUnavailable, "IAM answered 503"),
    (201, {}, RegistryUnavailable, "IAM answered a login without X-Subject-Token"),
]


@pytest.mark.parametrize(
    ("status", "answer", "expected", "message"),
    LOGINS,
    ids=[f"{case[0]} {case[1].get('error_code', '')}" for case in LOGINS],
)
def test_iam_failure_is_not_image_fault(
    tmp_path: Path, status: int, answer: Any, expected: type[TrustLookupError], message: str
) -> None:
    """A rejected login pauses the credential; other failures are an outage, in which stale trust is
    served.
    """
    settings = CredentialSettings(
        "iamUser", domain_name="acme", user_name="robot", password_file=written(tmp_path / "p", "pw")
    )
    transport = FakeTransport([HttpResponse(status, {}, json.dumps(answer).encode())])
    credential = build_credential(
        settings,
        region="cn-north-4",
        iam_endpoint="https://iam.example.com",
        project_id=None,
        transport=transport,
        environment={},
    )
    for _ in range(3):
        with pytest.raises(TrustLookupError) as caught:
            credential.authorize(REQUEST, Deadline.after(5))
        told = str(caught.value)
        assert type(caught.value) is expected
        assert told == message or (expected is Unauthorized and "is paused for" in told)
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (CredentialSettings("aksk"), "credentials: the environment variable HUAWEICLOUD_SDK_AK is not set"),
        (
            CredentialSettings("podIdentity"),
            "credentials: the environment variable HC_CONTAINER_CREDENTIALS_FULL_URI is not set",
        ),
        (CredentialSettings("token"), "credentials: tokenFile is missing"),
        (CredentialSettings("oidc"), "credentials: idTokenFile is missing"),
    ],
)
def test_missing_credential_setting_is_config_error(settings: CredentialSettings, message: str) -> None:
    """A kind without its required settings is a problem of the configuration."""
    with pytest.raises(ConfigError) as caught:
        build_credential(
            settings,
            region="r",
            iam_endpoint="https://iam.example.com",
            project_id=None,
            transport=FakeTransport([]),
            environment={},
        )
    assert str(caught.value) == message
