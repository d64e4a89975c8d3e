"""Fault injection: SWR fails in every way that can be produced, while the webhook is under load.

``make chaos`` applies each fault to a process under load, one after the other, and prints a table. ``make
soak`` starts and ends faults for any length of time and measures growth. A short form, all faults at the same
time against one process, is part of the suite.
"""
