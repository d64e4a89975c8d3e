"""The HTTP surface of a process: TLS, reviews, probes and metrics."""
