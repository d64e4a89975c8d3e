"""The serving process: HTTP over TLS, probes, metrics, and the place where all parts are wired."""
