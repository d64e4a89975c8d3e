"""HTTPS calls with deadlines: connections, proxies, TLS, and whether an endpoint responds at all."""
