"""How commands show the signatures of one image: what was found, and what is missing."""

from __future__ import annotations

import datetime as dt

from webhook.admission.decision import ImageResult
from webhook.admission.messages import Messages, printable
from webhook.audit.coverage import MAX_IMAGE
from webhook.audit.report import count
from webhook.audit.tables import format_moment
from webhook.registries import Registry
from webhook.signatures.check import SignatureCheck


def signature_row(check: SignatureCheck | None) -> dict[str, object] | None:
    """Return what was found as JSON shows it."""
    if check is None:
        return None
    return {
        "result": check.result.value,
        "signers": list(check.signers),
        "formats": [str(name) for name in check.formats],
        "storedFormats": [str(name) for name in check.stored],
        "examined": check.found,
        "problems": list(check.problems),
        "checked": format_moment(dt.datetime.fromtimestamp(check.checked_at, dt.UTC)),
    }


def required_row(registry: Registry | None) -> dict[str, object] | None:
    """Return which signatures an image needs, as JSON shows it; ``None`` if it needs none."""
    if registry is None or not registry.needs_signature or registry.signatures is None:
        return None
    settings = registry.signatures
    return {
        "keys": [key.name for key in settings.counting],
        "problems": {key.name: key.problem for key in settings.keys if key.problem},
        "threshold": settings.threshold,
        "annotations": dict(settings.annotations),
    }


def explain_signatures(item: ImageResult, messages: Messages, registry: Registry | None) -> list[str]:
    """Return lines about the signatures of an image that is not trusted because of them.

    ``registry`` is that of the image. Its keys that do not count are named with the reason.
    """
    check = item.check.signature
    if check is None or not item.check.reason:
        return []
    keys = registry.signatures.keys if registry is not None and registry.signatures is not None else ()
    formats = f" ({', '.join(check.stored)})" if check.stored else ""
    found = f"{count(check.found, 'signature')} examined{formats}"
    if check.signers:
        found += f", of which those by {', '.join(check.signers)} count"
    return [
        f"{printable(item.use.image, MAX_IMAGE)}: {found}",
        *(f"  {problem}" for problem in check.problems),
        *(f"  the key {key.name} does not count: {key.problem}" for key in keys if key.problem),
        f"  {messages.advise(item)}",
    ]
