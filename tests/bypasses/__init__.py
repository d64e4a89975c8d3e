"""Tests of every known bypass.

``docs/threat-model.md`` lists the cases. ``tests/unit`` specifies each package alone. The tests here need
several packages together: memory and time, an SWR that lies or hangs, and the answers to the API server.
"""
