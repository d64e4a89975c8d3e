"""The same bytes, read by the webhook and by Go's net/http, the HTTP library of kube-apiserver."""
