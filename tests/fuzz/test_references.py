"""No string is parsed as a trusted image that it is not."""

from __future__ import annotations

from hypothesis import event, example, given
from hypothesis import strategies as st

from tests.fuzz.effort import thorough
from tests.fuzz.inputs import images, spoilt
from tests.fuzz.oracle import GOOD, HOSTS, is_trusted
from tests.support.builders import DIGEST, NOW, SOON, FakeAnswers, exemption, policy
from tests.support.strategies import near_misses, references
from webhook.admission.evaluator import Evaluator
from webhook.admission.extraction import ImageUse
from webhook.errors import InvalidPatternError, InvalidReferenceError
from webhook.images.patterns import parse_pattern
from webhook.images.reference import parse_reference
from webhook.policy.findings import Finding
from webhook.trust.records import TrustRecord, TrustStatus

assert DIGEST == GOOD
TRUST_ALL_OF = {"shop/web:1": TrustRecord(TrustStatus.TRUSTED, NOW, GOOD)}
TRUST_ALL_OF["shop/tools/web:1"] = TRUST_ALL_OF["shop/web:1"]
EVALUATOR = Evaluator(policy(), FakeAnswers(TRUST_ALL_OF))
EXEMPTING = Evaluator(policy(exemptions=(exemption("shop", [f"{HOSTS[0]}/shop/**"]),)), FakeAnswers({}))


def find(evaluator: Evaluator, image: str) -> Finding:
    """Return the finding of an image in a Pod."""
    use = ImageUse("spec.containers[0].image", ("containers", "main"), image)
    return evaluator.evaluate([use], "shop", SOON, NOW)[0].check.finding


@thorough
@given(images | spoilt())
def test_image_is_trusted_only_on_exact_match(image: str) -> None:
    """Only the case of its host may differ."""
    finding = find(EVALUATOR, image)
    event(finding)
    if finding is Finding.TRUSTED:
        assert is_trusted(image)


@thorough
@given(images | spoilt())
@example(f"{HOSTS[0]}/shopping/web:1")
def test_exemption_covers_only_matching_images(image: str) -> None:
    """Every exempt image begins with the whole host and the whole organization."""
    if find(EXEMPTING, image) is Finding.EXEMPT:
        assert image.lower().startswith(f"{HOSTS[0]}/shop/")


@thorough
@given(images | references() | near_misses() | st.text(max_size=600))
def test_parsed_reference_round_trips(text: str) -> None:
    """The canonical form parses to itself, and contains nothing that a URL parser could misread."""
    try:
        reference = parse_reference(text)
    except InvalidReferenceError as error:
        event(error.reason)
        return
    assert parse_reference(str(reference)) == reference
    assert not set(str(reference)) & set("$%?#\\ \n\r\t\0\"'<>")
    assert "//" not in str(reference)


@thorough
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["*", "**", "a", "/", ":", "@", ".", "-", "h.io"]), max_size=9).map("".join)
)
def test_random_text_is_pattern_or_rejected(text: str) -> None:
    """A valid pattern can be matched with any image."""
    try:
        pattern = parse_pattern(text)
    except InvalidPatternError:
        return
    event("a pattern")
    pattern.matches(parse_reference("nginx"))
    if pattern.matches(parse_reference(f"{HOSTS[0]}/shop/web:1")):
        assert text.startswith(("**", "*.", HOSTS[0]))
