"""Notification of the observers of decisions and mutations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from webhook.admission.request import AdmissionRequest

logger = logging.getLogger(__name__)

AnswerT = TypeVar("AnswerT")


def notify(
    observers: Sequence[Callable[[AdmissionRequest, AnswerT, float], None]],
    request: AdmissionRequest,
    answer: AnswerT,
    seconds: float,
) -> None:
    """Pass the answer to a request on to observers; an error of one is logged.

    ``seconds`` is the time that the answer took.
    """
    for observe in observers:
        try:
            observe(request, answer, seconds)
        except Exception:
            logger.exception("failed to record an answer", extra={"uid": request.uid})
