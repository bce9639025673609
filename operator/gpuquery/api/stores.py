"""Stores: what a job may say of each kind, and what its pods are given to reach it.

The runner has a module for each (`runner/stores`), which this room cannot see.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Store:
    """One kind of store."""

    root: str
    """A URI up to its path, as a regular expression."""
    keys: Mapping[str, bool]
    """Keys of the credentials Secret that become variables of the pods, and whether each may be missing."""
    endpoint: Sequence[str] = ()
    """Variables that say where the store is."""
    region: Sequence[str] = ()
    """Variables that say which region the buckets are in."""
    no_node_role: Mapping[str, str]
    """Variables that keep a pod from asking the node for credentials."""
    reserved: str
    """Variables that a template may not set, as regular expressions with `|` in between; empty: none."""
    plain: Sequence[str] = ()
    """Keys whose values are no secrets."""


S3 = Store(
    root=r"s3://[A-Za-z0-9][A-Za-z0-9._-]+",
    keys={"AWS_ACCESS_KEY_ID": False, "AWS_SECRET_ACCESS_KEY": False, "AWS_SESSION_TOKEN": True},
    endpoint=("AWS_ENDPOINT_URL",),
    region=("AWS_REGION", "AWS_DEFAULT_REGION"),
    no_node_role={"AWS_EC2_METADATA_DISABLED": "true"},
    reserved="AWS_.*",
)
CLOSED = "127.0.0.1:1"
"""An address where nothing answers, in place of a node's metadata service."""
GS = Store(
    root=r"gs://[a-z0-9][a-z0-9._-]+",
    keys={"GOOGLE_SERVICE_ACCOUNT_KEY": False},
    # Names that object_store reads (src/gcp/credential.rs of 0.12).
    no_node_role={"GCE_METADATA_HOST": CLOSED, "GCE_METADATA_IP": CLOSED},
    reserved="GOOGLE_.*|GCE_.*",
)
AZ = Store(
    root=r"(?:az://[a-z0-9$][a-z0-9-]+|abfss://[a-z0-9$][a-z0-9-]+@[a-z0-9]+[.]dfs[.]core[.]windows[.]net)",
    # A key, a signature, or a service principal: one of them.
    keys={
        "AZURE_STORAGE_ACCOUNT_KEY": True, "AZURE_STORAGE_SAS_TOKEN": True, "AZURE_CLIENT_ID": True,
        "AZURE_CLIENT_SECRET": True, "AZURE_TENANT_ID": True,
    },
    no_node_role={"AZURE_MSI_ENDPOINT": f"http://{CLOSED}/"},
    reserved="AZURE_.*|IDENTITY_ENDPOINT|MSI_ENDPOINT",
)  # fmt: skip
HTTPS_TOKEN, HTTPS_USER, HTTPS_PASSWORD = "HTTPS_AUTH_TOKEN", "HTTPS_AUTH_USER", "HTTPS_AUTH_PASSWORD"
HTTPS_HEADER, HTTPS_HOST, HTTPS_URLS = "HTTPS_AUTH_HEADER", "HTTPS_AUTH_HOST", "HTTPS_AUTH_URLS"
WEB = Store(
    root=r"https?://[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?",
    # A token, a user with a password, or a header, for the hosts that are named; and signed URLs.
    keys=dict.fromkeys((HTTPS_TOKEN, HTTPS_USER, HTTPS_PASSWORD, HTTPS_HEADER, HTTPS_HOST, HTTPS_URLS), True),
    no_node_role={},
    reserved="HTTPS_AUTH_.*",
    plain=(HTTPS_USER, HTTPS_HOST),
)
STORES = (S3, GS, AZ, WEB)
KEYS = tuple(key for store in STORES for key in store.keys if key not in store.plain)
"""Variables whose values are secrets."""
RESERVED = tuple(name for store in STORES for name in store.reserved.split("|") if name)
"""Variables that a template may not set, each a regular expression."""
_METADATA_NAMES = ("metadata.google.internal", "metadata.goog", "instance-data.ec2.internal")
_METADATA = tuple(
    ipaddress.ip_network(block)
    for block in (
        "169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32",
    )
)  # fmt: skip


def uri_pattern(character: str) -> str:
    """Return a regular expression for URIs whose paths are made of a kind of character."""
    inside = [f"{store.root}(/{character}*)?" for store in STORES]
    return f"^({'|'.join([*inside, f'file://{character}+'])})$"


def used(uris: Iterable[str]) -> Sequence[Store]:
    """Return the stores of some URIs; a file of this machine has none."""
    found = list(uris)
    return [store for store in STORES if any(re.match(store.root, uri) for uri in found)]


def hands_out_roles(host: str) -> bool:
    """Whether a host's name or address is a metadata service, or any other link-local address.

    Those of AWS, Google, Azure, Alibaba and Oracle hand out the identity of the node, so no job may name them. All
    spellings of an address that the C library takes count: 2852039166 is 169.254.169.254. What a name stands for is
    only known where it is looked up.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in _METADATA_NAMES:
        return True
    found = _address(name.partition("%")[0])
    return found is not None and any(found in block for block in _METADATA if block.version == found.version)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(text)
        inside = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
        return inside or found
    with contextlib.suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(text))
    return None
