"""SWR image trust for Kubernetes: a validating admission webhook for Huawei Cloud CCE."""

__version__ = "0.1.0"
