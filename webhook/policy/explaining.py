"""Messages for the errors of the configuration schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from webhook.errors import Problem
from webhook.policy.document import join_path
from webhook.policy.schema import PolicyModel

_ADVICE_IF_MISSING: Final[Mapping[str, str]] = {
    "apiVersion": "write apiVersion: swr-trust/v1",
    "registries": "write at least one registry, such as region: cn-north-4",
    "file": "write the absolute path of the PEM file with the public key",
    "keys": "write at least one public key, with its name and file",
    "dockerConfigFile": "write the absolute path of the file, such as /etc/swr-trust/login/.dockerconfigjson",
    "name": "give it a unique name",
    "images": "write patterns of the images that it applies to, ** for every image",
    "reason": "write why these images are admitted without a lookup",
}

_EXPECTED: Final[Mapping[str, str]] = {
    "bool_type": "write true or false",
    "int_type": "write a whole number",
    "float_type": "write a number",
    "list_type": "write a list",
    "model_type": "write a mapping, one key: value a line",
    "too_short": "write at least one entry, or remove the key",
    "dict_type": "write a mapping, one key: value a line",
    "too_long": "write at most {max_length} entries",
    "greater_than_equal": "write a number of at least {ge:g}",
    "less_than_equal": "write a number of at most {le:g}",
    "value_error": "{error}",
}

_SECRETS: Final = ("secret", "password", "token", "accesskey")


def explain(error: ValidationError) -> Iterator[Problem]:
    """Return the problems that a validation error reports."""
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "problems":
            for part, message in detail["ctx"]["problems"]:
                yield Problem(_path(*detail["loc"], *part), message)
        else:
            yield Problem(_path(*detail["loc"]), _describe(detail))


def _describe(detail: ErrorDetails) -> str:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    if kind == "missing":
        key = str(loc[-1])
        if key == "kind":
            return "is missing: write kind: TrustPolicy" if len(loc) == 1 else f"is missing: {_kinds()}"
        return f"is missing: {_ADVICE_IF_MISSING[key]}"
    if kind == "extra_forbidden":
        return _describe_unknown(loc)
    if kind == "literal_error":
        return f"write {context['expected'].replace(chr(39), '')}"
    if kind == "too_short" and loc[-1] == "keys":
        return _ADVICE_IF_MISSING["keys"]
    expected = _EXPECTED.get(kind)
    return expected.format_map(context) if expected is not None else detail["msg"]


def _describe_unknown(loc: tuple[str | int, ...]) -> str:
    key = str(loc[-1])
    if _looks_secret(key):
        return "a secret does not belong in this file: name a file that holds it, or use the environment"
    if key == "<<":
        return "merge keys are not used here: write the keys out"
    known = _keys(_model_at(loc[:-1]))
    close = difflib.get_close_matches(key, known, n=1) or [
        name for name in known if name.lower() == key.lower()
    ]
    if close:
        return f"there is no such key, did you mean {close[0]}?"
    for section, model in _sections(PolicyModel, ""):
        if key in _keys(model):
            where = f"below {section}" if section else "at the top level"
            return f"there is no such key here, it belongs {where}"
    return f"there is no such key: known are {', '.join(known)}"


def _model_at(loc: tuple[str | int, ...]) -> type[BaseModel]:
    model: type[BaseModel] = PolicyModel
    for part in loc:
        if isinstance(part, str):
            field = next(field for name, field in model.model_fields.items() if part in (field.alias, name))
            model = _find_model(field.annotation) or model
    return model


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models and their paths, the outermost first."""
    yield path, model
    for field in model.model_fields.values():
        inner = _find_model(field.annotation)
        if inner is not None:
            yield from _sections(inner, join_path(path, str(field.alias)))


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _find_model(part)
        if found is not None:
            return found
    return None


def _keys(model: type[BaseModel]) -> list[str]:
    return [str(field.alias) for field in model.model_fields.values()]


def _kinds() -> str:
    return "write aksk, token, iamUser, podIdentity or oidc"


def _looks_secret(key: str) -> bool:
    lowered = key.lower()
    return lowered in ("ak", "sk") or (
        not lowered.endswith("file") and any(word in lowered for word in _SECRETS)
    )


def _path(*parts: str | int) -> str:
    if parts[-1:] == ("[key]",):  # pydantic marks a problem of a key, instead of its value
        parts = parts[:-1]
    path = ""
    for part in parts:
        path = join_path(path, part)
    return path
