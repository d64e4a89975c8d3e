"""SWR breaks in every way that can be produced, and the webhook is watched meanwhile.

``make chaos`` shows each fault to a process under load, one after the other, and prints a table;
``make soak`` lets faults come and go for as long as wanted and watches what grows. A short form, all
faults at the same time against one process, is part of the suite.
"""
