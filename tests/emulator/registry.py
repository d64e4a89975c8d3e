"""The registry API (OCI distribution) with SWR's token service, and object storage for redirected blobs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

from tests.emulator.registry_state import OCI_INDEX, RegistryState

Reply = tuple[int, dict[str, str], bytes]

TOKEN_PATH = "/swr/auth/v2/registry/auth/"
STORAGE_PATH = "/storage/"
SERVICE = "dockyard"


class RegistryApi:
    """Answers requests from the state."""

    def __init__(self, state: RegistryState, scheme: str) -> None:
        self._state = state
        self._scheme = scheme

    @staticmethod
    def serves(path: str) -> bool:
        """Return whether a path, without a query, is one of the registry."""
        is_registry = path.startswith("/v2/") and not path.startswith("/v2/manage/")
        return is_registry or path == "/v2" or path.startswith((TOKEN_PATH, STORAGE_PATH))

    def answer(self, target: str, headers: Mapping[str, str]) -> Reply:
        """Answer one ``GET`` or ``HEAD``; header names are lower case."""
        path, _, query = target.partition("?")
        authorization = headers.get("authorization", "")
        if authorization:
            with self._state.lock:
                self._state.authorizations.append((headers.get("host", ""), path, authorization))
        if path.startswith(TOKEN_PATH):
            return self._issue(query, authorization)
        if path.startswith(STORAGE_PATH):
            return self._send_stored(path.removeprefix(STORAGE_PATH), authorization)
        parts = path.removeprefix("/v2").strip("/").rsplit("/", 2)
        repository = parts[0] if len(parts) == 3 else ""
        refusal = self._authenticate(repository, headers)
        if refusal is not None:
            return refusal
        match parts:
            case [""]:
                return _json(200, {})
            case [_, "manifests", reference]:
                return self._manifest(repository, reference)
            case [_, "referrers", digest]:
                return self._referrers(repository, digest)
            case [_, "blobs", digest]:
                return self._blob(repository, digest)
        return 404, {"Content-Type": "text/plain"}, b"404 page not found\n"

    def _authenticate(self, repository: str, headers: Mapping[str, str]) -> Reply | None:
        if not self._state.asks_for_tokens:
            return None
        token = headers.get("authorization", "").removeprefix("Bearer ")
        with self._state.lock:
            issued = self._state.tokens.get(token)
        if issued is not None and time.time() < issued.ends:
            if not repository or repository in issued.repositories:
                return None
            return self._challenge(headers, "DENIED", "requested access to the resource is denied")
        return self._challenge(headers, "UNAUTHORIZED", "authentication required")

    def _challenge(self, headers: Mapping[str, str], code: str, message: str) -> Reply:
        realm = f"{self._scheme}://{headers.get('host', '')}{TOKEN_PATH}"
        status, known, body = _error(401, code, message)
        return status, {**known, "WWW-Authenticate": f'Bearer realm="{realm}",service="{SERVICE}"'}, body

    def _issue(self, query: str, authorization: str) -> Reply:
        options = parse_qs(query)
        if options.get("service") != [SERVICE]:
            return _error(400, "UNSUPPORTED", "no such service")
        repositories = {scope.split(":")[1] for scope in options.get("scope", [])}
        is_known = self._knows(authorization)
        if authorization and not is_known:
            with self._state.lock:
                self._state.failed_logins += 1
            return _error(401, "UNAUTHORIZED", "Authenticate Error")
        with self._state.lock:
            missing = {name.partition("/")[0] for name in repositories} & self._state.missing_organizations
            allowed = repositories - self._state.private if is_known else repositories & self._state.public
            seconds = self._state.token_seconds
        if missing:
            return _error(401, "UNAUTHORIZED", "Image organization does not exist")
        if not is_known and repositories - allowed:
            return _error(401, "UNAUTHORIZED", "authentication required")
        token = self._state.issue(frozenset(allowed))
        return _json(200, {"token": token, "expires_in": seconds})

    def _knows(self, authorization: str) -> bool:
        try:
            login = base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode()
        except ValueError:
            return False
        user, _, password = login.partition(":")
        with self._state.lock:
            return password != "" and self._state.logins.get(user) == password

    def _manifest(self, repository: str, reference: str) -> Reply:
        found = self._state.find_manifest(repository, reference)
        if found is None:
            known = repository in self._state.repositories
            return _error(404, "MANIFEST_UNKNOWN" if known else "NAME_UNKNOWN", "manifest unknown")
        digest, media_type, content = found
        stated = {"Docker-Content-Digest": digest} if self._state.states_digest else {}
        return 200, {"Content-Type": media_type, **stated}, content

    def _referrers(self, repository: str, digest: str) -> Reply:
        if not self._state.has_referrers_api:
            return 404, {"Content-Type": "text/plain"}, b"404 page not found\n"
        found = self._state.find_referrers(repository, digest)
        status, _, body = _json(200, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        return status, {"Content-Type": OCI_INDEX}, body

    def _blob(self, repository: str, digest: str) -> Reply:
        with self._state.lock:
            content = self._state.repositories[repository].blobs.get(digest)
            storage = self._state.redirects_blobs_to
        if content is None:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if storage:
            return 307, {"Location": f"{storage}{STORAGE_PATH}{repository}/{digest}?Signature=a%2Fb%3D"}, b""
        return 200, {"Content-Type": "application/octet-stream"}, content

    def _send_stored(self, name: str, authorization: str) -> Reply:
        if authorization:
            # Amazon S3 and OBS refuse a signed URL with a second kind of authentication.
            return 400, {"Content-Type": "application/xml"}, b"<Error><Code>InvalidArgument</Code></Error>"
        repository, _, digest = name.rpartition("/")
        with self._state.lock:
            content = self._state.repositories[repository].blobs.get(digest)
        if content is None:
            return 404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, {"Content-Type": "binary/octet-stream"}, content


def _json(status: int, value: object) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _error(status: int, code: str, message: str) -> Reply:
    return _json(status, {"errors": [{"code": code, "message": message, "detail": None}]})
