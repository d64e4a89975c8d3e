"""Messages for developers: denials, warnings, and the notes of Events.

There is one catalogue per language (``webhook.admission.catalogues``). A denial names for each image its
field, the image, the problem and the remedy, then the operator's hint. A warning also states the consequence,
because its request was admitted. All text from an object is first shortened and made printable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from webhook.admission.catalogues import CATALOGUES, Catalogue
from webhook.admission.decision import Effect, ImageResult
from webhook.errors import Fault
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Policy
from webhook.registries import SignatureSettings

MAX_DENIAL: Final = 4096
"""Characters of a denial for images; the other images are counted. The operator's hint is added to these.
kube-apiserver limits only the whole response, to megabytes; the limit is for the reader at a terminal."""

MAX_IMAGE_LENGTH: Final = 200

IMAGE_LENGTHS_IN_WARNING: Final = (100, 70, 50, 36)
"""Characters of an image in a warning; the first length that leaves room for the advice is used."""

MAX_WARNING: Final = 256
"""Characters; kube-apiserver truncates longer warnings (Dynamic Admission Control, response)."""

MAX_WARNINGS: Final = 4096
"""Characters of all warnings together; kube-apiserver drops the rest."""

MAX_KEYS_NAMED: Final = 3
"""Names of keys in a message; the others are counted."""

MAX_KEY_NAME: Final = 40
"""Characters of the name of a key in a message."""

ELLIPSIS: Final = "..."


def printable(text: str, limit: int) -> str:
    """Return ``text`` with unprintable characters escaped, shortened in the middle to ``limit`` characters.

    The end is kept because it has the tag.
    """
    if len(text) > limit:
        head = limit // 2
        text = text[:head] + ELLIPSIS + text[len(text) - (limit - head - len(ELLIPSIS)) :]
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
        )
    return text if len(text) <= limit else text[: limit - len(ELLIPSIS)] + ELLIPSIS


class Messages:
    """Writes messages in the language of one policy."""

    def __init__(self, policy: Policy) -> None:
        """Use the policy's language, hint and first registry, which images should be pushed to."""
        self._catalogue: Catalogue = CATALOGUES[policy.messages]
        self._hint = policy.hint
        self._pins = policy.pins
        self._find_registry = policy.registries.find
        registries = policy.registries.registries
        self._home = registries[0].name if registries else "SWR"

    def describe(self, item: ImageResult) -> str:
        """Return the problem of one image, a clause without a full stop."""
        return self._catalogue.what[self._key(item)].format(**self._names(item))

    def advise(self, item: ImageResult) -> str:
        """Return the remedy for one image, a sentence, or ``""``."""
        return self._catalogue.advice[self._key(item)].format(**self._names(item))

    def describe_found(self, item: ImageResult, pinned: str | None = None) -> str:
        """Return the finding of an image, the keys that make it trusted, and the digest that its Pods get."""
        clauses = [self.describe(item)]
        if item.check.finding is Finding.TRUSTED and item.check.signature is not None:
            clauses.append(self.note("signed-by", keys=self._list_names(item.check.signers)))
        if pinned is not None:
            clauses.append(self.note("pods-pinned", digest=pinned))
        return self._catalogue.between.join(clauses)

    def describe_with_advice(self, item: ImageResult) -> str:
        """Return the problem of one image and its remedy, as sentences."""
        return self._advised(self.describe(item), item)

    def denial(self, results: Sequence[ImageResult], notes: Iterable[str] = ()) -> str:
        """Return the message of a denial; ``notes`` are sentences to add before the hint."""
        denied = [item for item in results if item.effect is Effect.DENY]
        catalogue = self._catalogue
        sentences: list[str] = []
        total = len(catalogue.denied)
        for index, item in enumerate(denied):
            sentence = self._advised(self._clause(item, MAX_IMAGE_LENGTH), item)
            total += len(sentence) + len(catalogue.space)
            if sentences and total > MAX_DENIAL:
                sentences.append(catalogue.more.format(count=len(denied) - index) + catalogue.stop)
                break
            sentences.append(sentence)
        sentences += [sentence for sentence in (*notes, self._hint) if sentence]
        return catalogue.denied + catalogue.space.join(sentences)

    def warnings(self, results: Sequence[ImageResult], note: str = "") -> list[str]:
        """Return one warning per image with the effect ``WARN``, within kube-apiserver's limits.

        Each gives the problem, what follows and, if there is room, the remedy. ``note``, a clause about the
        whole request, comes first.
        """
        warned = [item for item in results if item.effect is Effect.WARN]
        lines = [self.warning(note)] if note else []
        total = sum(map(len, lines))
        for index, item in enumerate(warned):
            line = self._warning_of(item)
            rest = self.warning(self._catalogue.more.format(count=len(warned) - index))
            following = len(rest) if index + 1 < len(warned) else 0
            if total + len(line) + following > MAX_WARNINGS:
                lines.append(rest)
                break
            lines.append(line)
            total += len(line)
        return lines

    def warning(self, clause: str) -> str:
        """Return one warning: the policy's name and a clause, shortened to what kube-apiserver shows."""
        return printable(self._catalogue.warned + clause, MAX_WARNING)

    def denial_as_warning(self, denial: str, *, workload: bool) -> str:
        """Return the warning of an admitted request that ``denial`` would have denied."""
        what = denial.removeprefix(self._catalogue.denied).removesuffix(self._catalogue.stop)
        follows = self.note("pods-denied" if workload else "once-enforced")
        line = f"{self._catalogue.warned}{what}{self._catalogue.stop}{self._catalogue.space}{follows}"
        return printable(line, MAX_WARNING)

    def note(self, name: str, **values: object) -> str:
        """Return a sentence of the catalogue by its name."""
        return self._catalogue.notes[name].format(**values)

    def denial_message(self, name: str, **values: object) -> str:
        """Return the message of a denial of the whole request."""
        return self._catalogue.denied + self.note(name, **values)

    def _warning_of(self, item: ImageResult) -> str:
        catalogue = self._catalogue
        consequence = _consequence(item)
        follows = catalogue.between + catalogue.consequences[consequence] if consequence else ""
        clauses = [
            f"{catalogue.warned}{self._clause(item, limit)}{follows}" for limit in IMAGE_LENGTHS_IN_WARNING
        ]
        for line in (*(self._advised(clause, item) for clause in clauses), *clauses):
            if len(line) <= MAX_WARNING:
                return line
        return printable(clauses[-1], MAX_WARNING)

    def _advised(self, clause: str, item: ImageResult) -> str:
        """Return a clause as a sentence, followed by the remedy for the image."""
        advice = self.advise(item)
        catalogue = self._catalogue
        return f"{clause}{catalogue.stop}{catalogue.space}{advice}" if advice else clause + catalogue.stop

    def _clause(self, item: ImageResult, limit: int) -> str:
        image = printable(item.use.image, limit)
        return f'{item.use.field} "{image}"{self._catalogue.colon}{self.describe(item)}'

    def _key(self, item: ImageResult) -> str:
        finding, reason = item.check.finding, item.check.reason
        if finding is Finding.UNTRUSTED and reason:
            reason = "no-keys" if self._signatures_for(item).missing else reason
        elif finding in (Finding.UNTRUSTED, Finding.MISSING):
            reason = _how_named(item)
        elif finding is Finding.DIGEST_MISMATCH and self._pins(item.rule):
            reason = "pinning"  # the webhook may have written the digest
        elif item.check.failure is not None and item.check.failure.fault is not Fault.REGISTRY:
            by_fault = f"{finding}/{reason}/{item.check.failure.fault}"
            if by_fault in self._catalogue.what:
                return by_fault
        key = f"{finding}/{reason}" if reason else str(finding)
        return key if key in self._catalogue.what else str(finding)

    def _names(self, item: ImageResult) -> dict[str, str]:
        reference = item.reference
        names = {
            "host": printable(reference.domain, 100) if reference is not None else "",
            "organization": printable(reference.path.partition("/")[0], 100) if reference is not None else "",
            "home": self._home,
        }
        check = item.check.signature
        if check is None:
            return names
        settings = self._signatures_for(item)
        return names | {
            "signers": self._list_names(check.signers),
            "needed": self._describe_keys(settings),
            "annotations": printable(
                self._catalogue.comma.join(f"{key}={value}" for key, value in settings.annotations), 80
            ),
        }

    def _signatures_for(self, item: ImageResult) -> SignatureSettings:
        """Return the signature settings of an image's registry, none if it has none."""
        registry = self._find_registry(item.reference) if item.reference is not None else None
        return (registry and registry.signatures) or SignatureSettings(())

    def _describe_keys(self, settings: SignatureSettings) -> str:
        """Return the keys of which enough have to sign, as they are written after "with" and "of"."""
        keys = self._list_names([key.name for key in settings.counting])
        if settings.threshold > 1:
            return self.note("several-keys", keys=keys, threshold=settings.threshold)
        if len(settings.counting) == 1:
            return self.note("one-key", keys=keys)
        return self.note("any-key", keys=keys)

    def _list_names(self, names: Sequence[str]) -> str:
        listed = self._catalogue.comma.join(printable(name, MAX_KEY_NAME) for name in names[:MAX_KEYS_NAMED])
        more = len(names) - MAX_KEYS_NAMED
        return self.note("more-keys", keys=listed, count=more) if more > 0 else listed


def _consequence(item: ImageResult) -> str:
    """Return the catalogue's key for what follows from a warning about an image, ``""`` if nothing does."""
    if not item.would_deny:
        return "only-warned" if item.check.finding in (Finding.UNMANAGED, Finding.UNKNOWN) else ""
    enforced = item.mode is Mode.ENFORCE
    if item.use.template:
        return "pods-denied" if enforced else "pods-once-enforced"
    return "break-glass" if enforced else "once-enforced"


def _how_named(item: ImageResult) -> str:
    """Return ``digest`` if only a digest was given, ``implied`` if neither tag nor digest was, or ``""``."""
    reference = item.reference
    if reference is None:
        return ""
    if reference.tag is None:
        return "digest"
    implied = reference.digest is None and not item.use.image.endswith(f":{reference.tag}")
    return "implied" if implied else ""
