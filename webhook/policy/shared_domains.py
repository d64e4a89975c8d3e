"""Domains below which anyone can register a host."""

from __future__ import annotations

from typing import Final

from webhook.images.patterns import ImagePattern

SHARED_DOMAINS: Final = (
    # Huawei Cloud: buckets are BUCKET.obs.REGION.myhuaweicloud.com (OBS User Guide, access domain names),
    # Enterprise instances INSTANCE.swr-pro.myhuaweicloud.com, gateways ID.apic.REGION.huaweicloudapis.com.
    "myhuaweicloud.com",
    "myhuaweicloud.cn",
    "myhuaweicloud.eu",
    "huaweicloudapis.com",
    "hwcloudsite.com",
    # The private section of https://publicsuffix.org/list/public_suffix_list.dat, or the parent of several of
    # its entries: object storage, functions, registries and pages of the large clouds and hosters.
    "aliyuncs.com",
    "amazonaws.com",
    "amazonaws.com.cn",
    "azure.com",
    "azurecr.io",
    "azurewebsites.net",
    "bcebos.com",
    "cloudfront.net",
    "cloudfunctions.net",
    "digitaloceanspaces.com",
    "elasticbeanstalk.com",
    "github.dev",
    "github.io",
    "githubusercontent.com",
    "gitlab.io",
    "googleapis.com",
    "herokuapp.com",
    "myqcloud.com",
    "netlify.app",
    "ngrok.app",
    "ngrok.io",
    "on.aws",
    "oraclecloud.com",
    "otc.t-systems.com",
    "pages.dev",
    "pkg.dev",
    "qiniucs.com",
    "r2.dev",
    "run.app",
    "sslip.io",
    "tencentcloudcr.com",
    "trycloudflare.com",
    "vercel.app",
    "volces.com",
    "windows.net",
    "workers.dev",
    # Hosters of dynamic names: anyone can register a name below.
    "duckdns.org",
    "nip.io",
    "xip.io",
)
"""Not complete. A domain that is missing causes no warning."""


def shared_domain(pattern: ImagePattern) -> str | None:
    """Return the shared domain that the wildcard host of a pattern matches, or ``None``.

    Subdomains of a shared domain are shared, too: the provider decides which of them customers can register,
    and this may change. A pattern with a digest is safe, because the digest identifies the content on any
    host.
    """
    if not pattern.domain.startswith("*.") or pattern.digest is not None:
        return None
    fixed = pattern.domain[1:].partition(":")[0]
    for domain in SHARED_DOMAINS:
        if fixed.endswith(f".{domain}") or f".{domain}".endswith(fixed):
            return domain
    return None
