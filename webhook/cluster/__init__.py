"""The Kubernetes API: certificates, snapshots, Events and running Pods.

The only importer of the ``kubernetes`` client. Nothing here stands in the way of an answer: the API
server slow or gone costs what it would have brought, and no review.
"""
