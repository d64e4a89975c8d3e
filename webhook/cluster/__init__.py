"""The Kubernetes API: certificates, snapshots, Events and running Pods.

Only this package imports the ``kubernetes`` client. Reviews do not wait for it: if the API server is slow or
unreachable, only what it would have returned is missing.
"""
