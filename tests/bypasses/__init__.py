"""Every way round the gate that we know of, and the test that fails where it is open.

``docs/threat-model.md`` lists the cases. What one package does is specified in ``tests/unit``; here
is what only shows with several of them at work: memory and time, an SWR that lies or hangs, and what
the API server is told.
"""
