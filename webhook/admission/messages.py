"""What a developer reads: denials, warnings and the sentences in audit annotations.

One catalogue per language (``webhook.admission.catalogues``), complete in both. A denial says per
image which field, which image, what is wrong and what to do, then the operator's hint. A warning
also says what follows, because the request it belongs to was admitted.
Everything that comes out of an object is shortened and made printable first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from webhook.admission.catalogues import CATALOGUES, Catalogue
from webhook.admission.decision import Effect, JudgedUse
from webhook.errors import Fault
from webhook.policy.findings import Finding, Mode
from webhook.policy.model import Policy

MAX_DENIAL: Final = 4096
"""Characters of a denial that images are named in; the rest of them is counted. The operator's hint comes
on top. kube-apiserver sets no limit of its own below the megabytes of an answer; a terminal does."""

MAX_IMAGE_LENGTH: Final = 200

IMAGE_LENGTHS_IN_WARNING: Final = (100, 70, 50, 36)
"""Characters of an image; the first length that leaves room for the advice is taken."""

MAX_WARNING: Final = 256
"""Characters; kube-apiserver cuts longer ones (Dynamic Admission Control, response)."""

MAX_WARNINGS: Final = 4096
"""Characters of all warnings together; kube-apiserver drops what is above."""

ELLIPSIS: Final = "..."


def printable(text: str, limit: int) -> str:
    """Return ``text`` with what is not printable escaped, shortened in its middle to ``limit``.

    The end is kept because that is where the tag stands.
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
    """Writes the sentences of one policy's language."""

    def __init__(self, policy: Policy) -> None:
        """Choose the catalogue, and the registry that images should be moved to."""
        self._catalogue: Catalogue = CATALOGUES[policy.messages]
        self._hint = policy.hint
        registries = policy.registries.registries
        self._home = registries[0].name if registries else "SWR"

    def describe(self, item: JudgedUse) -> str:
        """Return what is wrong with one image, a clause without a full stop."""
        return self._what(item)

    def advise(self, item: JudgedUse) -> str:
        """Return what to do about one image, a whole sentence, or ``""``."""
        return self._catalogue.advice[self._key(item)].format(**self._names(item))

    def denial(self, judged: Sequence[JudgedUse], notes: Iterable[str] = ()) -> str:
        """Return the message of a refusal; ``notes`` are whole sentences to add before the hint."""
        denied = [item for item in judged if item.effect is Effect.DENY]
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

    def warnings(self, judged: Sequence[JudgedUse], note: str = "") -> list[str]:
        """Return one warning per image that is warned of, within kube-apiserver's limits.

        Each says what is wrong, what follows and, where there is room for it, what to do. ``note``
        comes first, a clause that is about the request as a whole.
        """
        warned = [item for item in judged if item.effect is Effect.WARN]
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
        """Return one warning: the gate's name, a clause, shortened to what kube-apiserver shows."""
        return printable(self._catalogue.warned + clause, MAX_WARNING)

    def refusal_as_warning(self, refusal: str, *, workload: bool) -> str:
        """Return a ``refusal`` of the whole request as the warning of a request that is admitted."""
        what = refusal.removeprefix(self._catalogue.denied).removesuffix(self._catalogue.stop)
        follows = self.note("pods-refused" if workload else "once-enforced")
        line = f"{self._catalogue.warned}{what}{self._catalogue.stop}{self._catalogue.space}{follows}"
        return printable(line, MAX_WARNING)

    def note(self, name: str, **values: object) -> str:
        """Return one of the catalogue's whole sentences, by name."""
        return self._catalogue.notes[name].format(**values)

    def refusal(self, name: str, **values: object) -> str:
        """Return a denial that is about the request as a whole and no single image."""
        return self._catalogue.denied + self.note(name, **values)

    def _warning_of(self, item: JudgedUse) -> str:
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

    def _advised(self, clause: str, item: JudgedUse) -> str:
        """Return a clause as a sentence, with what to do about the image behind it."""
        advice = self.advise(item)
        catalogue = self._catalogue
        return f"{clause}{catalogue.stop}{catalogue.space}{advice}" if advice else clause + catalogue.stop

    def _clause(self, item: JudgedUse, limit: int) -> str:
        return (
            f'{item.use.field} "{printable(item.use.image, limit)}"{self._catalogue.colon}{self._what(item)}'
        )

    def _what(self, item: JudgedUse) -> str:
        return self._catalogue.what[self._key(item)].format(**self._names(item))

    def _key(self, item: JudgedUse) -> str:
        finding, reason = item.judgement.finding, item.judgement.reason
        if finding in (Finding.UNTRUSTED, Finding.MISSING):
            reason = _how_named(item)
        elif item.judgement.failure is not None and item.judgement.failure.fault is not Fault.REGISTRY:
            by_fault = f"{finding}/{reason}/{item.judgement.failure.fault}"
            if by_fault in self._catalogue.what:
                return by_fault
        key = f"{finding}/{reason}" if reason else str(finding)
        return key if key in self._catalogue.what else str(finding)

    def _names(self, item: JudgedUse) -> dict[str, str]:
        reference = item.reference
        return {
            "host": printable(reference.domain, 100) if reference is not None else "",
            "organization": printable(reference.path.partition("/")[0], 100) if reference is not None else "",
            "home": self._home,
        }


def _consequence(item: JudgedUse) -> str:
    """Return the key of what follows for an image that is warned of, ``""`` where nothing does."""
    if not item.refused:
        return "only-warned" if item.judgement.finding in (Finding.UNMANAGED, Finding.UNKNOWN) else ""
    enforced = item.mode is Mode.ENFORCE
    if item.use.template:
        return "pods-refused" if enforced else "pods-once-enforced"
    return "break-glass" if enforced else "once-enforced"


def _how_named(item: JudgedUse) -> str:
    """Return how an image was named: ``digest`` without a tag, ``implied`` by no tag, or by its tag."""
    reference = item.reference
    if reference is None:
        return ""
    if reference.tag is None:
        return "digest"
    implied = reference.digest is None and not item.use.image.endswith(f":{reference.tag}")
    return "implied" if implied else ""
