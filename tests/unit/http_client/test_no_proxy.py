"""``NO_PROXY`` with Go's semantics: the hosts that are called without a proxy."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.http_client.no_proxy import NoProxy
from webhook.http_client.proxies import Proxies

NAME = "swr-api.example.com"

# The rules of golang.org/x/net/http/httpproxy, the documentation of Config.NoProxy and its UseProxy tests:
# "a comma-separated list of values specifying hosts that should be excluded from proxying. Each value is
# represented by an IP address prefix (1.2.3.4), an IP address prefix in CIDR notation (1.2.3.4/8), a domain
# name, or a special DNS label (*). An IP address prefix and domain name can also include a literal port
# number (1.2.3.4:80). A domain name matches that name and all subdomains. A domain name with a leading "."
# matches subdomains only. For example "foo.com" matches "foo.com" and "bar.foo.com"; ".y.com" matches
# "x.y.com" but not "y.com". A single asterisk (*) indicates that no proxying should be done."
CASES = [
    ("", NAME, 443, False),
    ("*", NAME, 443, True),
    ("other.test, *", "10.1.2.3", 443, True),
    (NAME, NAME, 443, True),
    (NAME.upper(), NAME, 443, True),
    (NAME, NAME.upper(), 443, True),
    ("example.com", NAME, 443, True),
    ("ample.com", NAME, 443, False),
    (".example.com", NAME, 443, True),
    (".example.com", "example.com", 443, False),
    ("*.example.com", NAME, 443, True),
    ("*.example.com", "example.com", 443, False),
    ("*example.com", NAME, 443, False),
    ("example.com.", NAME, 443, True),
    ("example.com", f"{NAME}.", 443, True),
    ("example.com:443", NAME, 443, True),
    ("example.com:8443", NAME, 443, False),
    (".example.com:443", NAME, 443, True),
    ("*.example.com:8443", NAME, 443, False),
    ("com", "com.example", 443, False),
    ("10.0.0.0/8", "10.1.2.3", 443, True),
    ("10.9.9.9/8", "10.1.2.3", 443, True),
    ("10.0.0.0/8", "11.1.2.3", 443, False),
    ("10.0.0.0/8", "10.example.com", 443, False),
    ("10.1.2.3/32", "10.1.2.3", 443, True),
    ("10.1.2.3", "10.1.2.3", 443, True),
    ("10.1.2.3", "10.1.2.30", 443, False),
    ("10.1.2.3:443", "10.1.2.3", 443, True),
    ("10.1.2.3:80", "10.1.2.3", 443, False),
    ("10.1.2.3", "::ffff:10.1.2.3", 443, True),
    ("fd00::/8", "fd12::1", 443, True),
    ("fd00::/8", "fe12::1", 443, False),
    ("fd12::1", "fd12:0:0::1", 443, True),
    ("[fd12::1]", "fd12::1", 443, True),
    ("[fd12::1]:443", "fd12::1", 443, True),
    ("[fd12::1]:80", "fd12::1", 443, False),
    (" other.test , example.com ", NAME, 443, True),
    ("other.test example.com", NAME, 443, True),
    ("other.test,,example.com,", NAME, 443, True),
    (":443", NAME, 443, False),
    (".", NAME, 443, False),
    ("10.0.0.0/33", "10.1.2.3", 443, False),
    ("10.0.0.0/255.0.0.0", "10.1.2.3", 443, False),
    ("https://example.com", NAME, 443, False),
    ("a:b:c, example.com", NAME, 443, True),
]


@pytest.mark.parametrize(("text", "host", "port", "direct"), CASES)
def test_host_in_no_proxy_is_called_directly(text: str, host: str, port: int, direct: bool) -> None:
    """Fault D3: networks and ports were not understood."""
    assert NoProxy.parse(text).matches(host, port) is direct


@given(st.text(max_size=60), st.text(max_size=30), st.integers(0, 65535))
def test_any_no_proxy_list_is_read_without_error(text: str, host: str, port: int) -> None:
    """An invalid list must not deny Pods."""
    NoProxy.parse(text).matches(host, port)


@given(
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){1,3}", fullmatch=True),
    st.text(string.ascii_lowercase, min_size=1),
)
def test_no_proxy_domain_matches_itself_and_subdomains(domain: str, label: str) -> None:
    """For each domain."""
    listed, below = NoProxy.parse(domain), NoProxy.parse(f".{domain}")
    assert (listed.matches(domain, 1), listed.matches(f"{label}.{domain}", 1)) == (True, True) or domain[
        -1
    ].isdigit()
    assert not below.matches(domain, 1)
    assert not listed.matches(f"{label}{domain}", 1)


HTTPS, HTTP = f"https://{NAME}", "http://10.1.2.3"
VARIABLES = [
    ({"HTTPS_PROXY": "proxy:1"}, HTTPS, "http://proxy:1"),
    ({"https_proxy": "proxy:1"}, HTTPS, "http://proxy:1"),
    ({"https_proxy": "lower:1", "HTTPS_PROXY": "upper:1"}, HTTPS, "http://lower:1"),
    ({"HTTP_PROXY": "proxy:1"}, HTTPS, None),
    ({"HTTP_PROXY": "proxy:1"}, HTTP, "http://proxy:1"),
    ({"HTTP_PROXY": "proxy:1", "REQUEST_METHOD": "GET"}, HTTP, None),
    ({"http_proxy": "proxy:1", "REQUEST_METHOD": "GET"}, HTTP, "http://proxy:1"),
    ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "example.com:443"}, HTTPS, None),
    ({"HTTPS_PROXY": "proxy:1", "no_proxy": "example.com:443"}, HTTPS, None),
    ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "example.com:443"}, f"{HTTPS}:8443", "http://proxy:1"),
    ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "10.0.0.0/8"}, "https://10.1.2.3", None),
    ({"HTTPS_PROXY": "proxy:1", "NO_PROXY": "[fd12::1]:443"}, "https://[fd12::1]", None),
    ({"HTTP_PROXY": "proxy:1", "NO_PROXY": "10.1.2.3:80"}, HTTP, None),
]


@pytest.mark.parametrize(("variables", "url", "proxy"), VARIABLES)
def test_proxy_is_read_from_environment_variables(
    variables: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault D3: upper and lower case, the port of the scheme, and CGI."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Proxies().find(url)
    assert (found.url if found is not None else None) == proxy
