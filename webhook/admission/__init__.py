"""AdmissionReviews in and out, and the decision in between: which images, what findings, what to say."""
