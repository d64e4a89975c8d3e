"""Audit: evaluates running Pods with the evaluator and the messages of the webhook.

Does no I/O of its own. Pods come from a ``PodSource``, and results from the same lookup as in the webhook.
"""
