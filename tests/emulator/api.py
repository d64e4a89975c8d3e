"""The documented APIs: SWR's tag detail and tag lists, IAM's tokens, STS and Pod Identity."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.emulator.signature import access_key_of, verify
from tests.emulator.state import MAX_FAILURES, State

Reply = tuple[int, dict[str, str], bytes]

_MESSAGES = {
    "4040115": "The tag does not exist.",
    "4040113": "The repository does not exist.",
    "4040058": "The organization does not exist.",
    "4010000": "The token has expired.",
    "4011064": "Cross-account error.",
    "4000014": "Invalid parameters.",
}


class Api:
    """Answers requests from the state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request; header names are lower case."""
        path, _, query = target.partition("?")
        if method == "POST":
            return self._post(path, headers, body)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        gateway = {"error_msg": "The API does not exist", "error_code": "APIGW.0101", "request_id": "0"}
        is_detail = parts[:1] == ["v2"] and parts[-2:-1] == ["tags"]
        if is_detail and not self._state.offers_tag_detail:
            return _json(404, gateway)  # before the credential is checked
        problem = self._authenticate(method, path, query, headers, body)
        if problem is not None:
            return problem
        accepted = self._state.project_ids
        if accepted is not None and headers.get("x-project-id", "") not in accepted:
            unavailable = {"error_msg": "The project is unavailable", "error_code": "APIGW.0310"}
            return _json(403, {**unavailable, "request_id": "0"})
        match parts:
            case ["v2", "manage", "namespaces", organization, "repos", repository, "tags", tag]:
                return self._show_tag(organization, repository.replace("$", "/"), tag)
            case ["v2", "manage", "namespaces", organization, "repos", repository, "tags"]:
                return self._list_v2(organization, repository.replace("$", "/"), query)
            case ["v3", "manage", "namespaces", organization, "repos", repository, "tags"]:
                return self._list_v3(organization, repository.replace("$", "/"), query)
        return _json(404, gateway)

    def _authenticate(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        token = headers.get("x-auth-token")
        if token is not None:
            expires = self._state.tokens.get(token)
            return None if expires is not None and time.time() < expires else self._error(401, "4010000")
        access = access_key_of(headers)
        if access is None:
            return self._error(401, "4019000", "SVCSTG.S2I")
        key = self._state.keys.get(access)
        if key is None:
            return _json(401, {"error_msg": "ak not exist", "error_code": "APIGW.0301", "request_id": "0"})
        # All signatures are verified by the emulator's clock, so that the clock of a key may be wrong.
        now = time.time() + float(key.get("skew", 0.0))
        problem = verify(method, path, query, headers, body, str(key["secret"]), now)
        if key.get("token") is not None and headers.get("x-security-token") != key["token"]:
            problem = "the security token does not match"
        if problem is not None:
            return _json(401, {"error_msg": problem, "error_code": "APIGW.0301", "request_id": "0"})
        return None

    def _show_tag(self, organization: str, repository: str, tag: str) -> Reply:
        missing = self._missing(organization, repository)
        if missing is not None:
            return missing
        found = self._state.find_tag(organization, repository, tag)
        if found is None:
            return self._error(404, "4040115")
        return _json(200, self._tag(organization, repository, tag, found))

    def _list_v2(self, organization: str, repository: str, query: str) -> Reply:
        missing = self._missing(organization, repository)
        if missing is not None:
            return missing
        tags = sorted((self._state.find_tags(organization, repository) or {}).items())
        options = parse_qs(query)
        offset, limit = int(options.get("offset", ["0"])[0]), int(options.get("limit", ["100"])[0])
        page = [
            self._tag(organization, repository, tag, found) for tag, found in tags[offset : offset + limit]
        ]
        for item in page:
            item["Tag"] = item.pop("tag")
        return _json(200, page, {"Content-Range": f"{offset}-{len(page)}/{len(tags)}"})

    def _list_v3(self, organization: str, repository: str, query: str) -> Reply:
        missing = self._missing(organization, repository)
        if missing is not None:
            return missing
        tags = sorted((self._state.find_tags(organization, repository) or {}).items())
        options = parse_qs(query)
        limit = int(options.get("limit", ["100"])[0])
        marker = options.get("marker", [""])[0]
        fuzzy = options.get("tag", [""])[0].lower()
        rest = [item for item in tags if item[0] > marker and fuzzy in item[0].lower()]
        page = [self._tag(organization, repository, tag, found) for tag, found in rest[:limit]]
        more = len(rest) > limit
        answer: dict[str, Any] = {"tags": page, "has_more": more}
        if more:
            answer["nextMarker"] = page[-1]["tag"]
        return _json(200, answer)

    def _missing(self, organization: str, repository: str) -> Reply | None:
        owner = self._state.organizations.get(organization)
        if owner is None:
            return self._error(404, "4040058")
        if owner.get("foreign"):
            return self._error(401, "4011064")
        if owner.get("forbidden"):
            return self._error(403, "4039001")
        if self._state.find_tags(organization, repository) is None:
            return self._error(404, "4040113")
        return None

    def _tag(self, organization: str, repository: str, tag: str, found: Mapping[str, Any]) -> dict[str, Any]:
        image = f"{organization}/{repository}:{tag}"
        answer = {
            "id": 12,
            "repo_id": 7,
            "tag": tag,
            "image_id": "0" * 64,
            "digest": found.get("digest", ""),
            "schema": 2,
            "path": f"swr.cn-north-4.myhuaweicloud.com/{image}",
            "internal_path": f"10.125.0.198:20202/{image}",
            "size": 2048,
            "is_trusted": found.get("is_trusted", False),
            "created": found.get("created", "2026-01-01T00:00:00Z"),
            "updated": found.get("updated", "2026-01-01T00:00:00Z"),
            "deleted": None,
            "domain_id": "d",
            "scanned": False,
            "tag_type": 0,
            **found.get("answer", {}),
        }
        if found.get("is_trusted", False) == "absent":
            del answer["is_trusted"]
        return answer

    def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            value = json.loads(body or b"{}")
        except ValueError:
            return _json(400, {"error_code": "IAM.0001", "error_msg": "no JSON"})
        if path == "/v3/auth/tokens":
            return self._login(value)
        if path == "/v3.0/OS-AUTH/id-token/tokens":
            known = value.get("auth", {}).get("id_token", {}).get("id") in self._state.id_tokens
            return self._subject_token() if known and headers.get("x-idp-id") else _json(401, {})
        if path == "/v3.0/OS-CREDENTIAL/securitytokens":
            token = value.get("auth", {}).get("identity", {}).get("token", {}).get("id")
            return self._temporary_keys("credential", 201) if token in self._state.tokens else _json(401, {})
        if path == "/v5/agencies/assume-with-oidc":
            known = value.get("id_token") in self._state.id_tokens
            return self._temporary_keys("credentials", 200) if known else _json(403, {})
        if path == "/pod-identity":
            known = headers.get("authorization") in self._state.id_tokens
            return self._temporary_keys("credential", 200) if known else _json(401, {})
        return _json(404, {"error_msg": "The API does not exist", "error_code": "APIGW.0101"})

    def _login(self, value: Any) -> Reply:
        try:
            user = value["auth"]["identity"]["password"]["user"]
            name, domain, password = user["name"], user["domain"]["name"], user["password"]
            project = value["auth"]["scope"]["project"]
        except (KeyError, TypeError):
            return _json(
                400, {"error": {"code": 400, "message": "Expecting to find auth", "title": "Bad Request"}}
            )
        known = self._state.users.get(name, {})
        with self._state.lock:
            if self._state.failures[name] >= MAX_FAILURES:
                return _json(401, {"error_code": "IAM.0101", "error_msg": "The account is locked."})
            if known.get("domain") != domain or known.get("password") != password:
                self._state.failures[name] += 1
                return _json(
                    401, {"error_code": "IAM.0101", "error_msg": "The username or password is wrong."}
                )
            self._state.failures[name] = 0
        if project not in ({"name": known.get("project")}, {"id": known.get("projectId")}):
            return _json(401, {"error_code": "IAM.0101", "error_msg": "no such project"})
        return self._subject_token()

    def _subject_token(self) -> Reply:
        token, expires = self._state.issue_token()
        return _json(201, {"token": {"expires_at": _iso(expires)}}, {"X-Subject-Token": token})

    def _temporary_keys(self, name: str, status: int) -> Reply:
        keys, expires = self._state.issue_keys()
        if name == "credentials":
            keys = {
                "access_key_id": keys["access"],
                "secret_access_key": keys["secret"],
                "security_token": keys["securitytoken"],
            }
            return _json(status, {name: {**keys, "expiration": _iso(expires)}})
        return _json(status, {name: {**keys, "expires_at": _iso(expires)}})

    def _error(self, status: int, number: str, service: str = "SVCSTG.SWR") -> Reply:
        code, message = f"{service}.{number}", _MESSAGES.get(number, "Error.")
        entry = {"errorCode": code, "errorMessage": message, "detail": ""}
        if self._state.error_format == "legacy":
            return _json(status, [entry])
        return _json(status, {"errors": [entry], "error_code": code, "error_msg": message, "details": []})


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Reply:
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()


def _iso(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
