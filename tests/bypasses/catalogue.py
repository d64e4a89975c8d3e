"""All mistakes, those of the known bypasses and those behind the faults that testers found."""

from __future__ import annotations

from typing import Final

from tests.bypasses.connection_faults import CONNECTION_FAULTS
from tests.bypasses.decision_mistakes import DECISION_MISTAKES
from tests.bypasses.extraction_mistakes import EXTRACTION_MISTAKES
from tests.bypasses.http_mistakes import HTTP_MISTAKES
from tests.bypasses.loop_faults import LOOP_FAULTS
from tests.bypasses.memory_faults import MEMORY_FAULTS
from tests.bypasses.mistakes import Mistake
from tests.bypasses.pinning_mistakes import PINNING_MISTAKES
from tests.bypasses.policy_mistakes import POLICY_MISTAKES
from tests.bypasses.review_faults import REVIEW_FAULTS
from tests.bypasses.signature_mistakes import SIGNATURE_MISTAKES
from tests.bypasses.swr_mistakes import SWR_MISTAKES
from tests.bypasses.trust_faults import TRUST_FAULTS
from tests.bypasses.trust_mistakes import TRUST_MISTAKES

MISTAKES: Final[tuple[Mistake, ...]] = (
    *EXTRACTION_MISTAKES,
    *POLICY_MISTAKES,
    *DECISION_MISTAKES,
    *PINNING_MISTAKES,
    *SWR_MISTAKES,
    *SIGNATURE_MISTAKES,
    *TRUST_MISTAKES,
    *HTTP_MISTAKES,
    *REVIEW_FAULTS,
    *TRUST_FAULTS,
    *MEMORY_FAULTS,
    *LOOP_FAULTS,
    *CONNECTION_FAULTS,
)
