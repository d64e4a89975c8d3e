"""Validation of AdmissionReviews: decoding, image extraction, evaluation, and the response."""
