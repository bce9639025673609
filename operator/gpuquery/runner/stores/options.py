"""Options by the names that Polars knows (`storage_options`), as the runner takes them.

Where a store is becomes `StoreAccess`; keys are lent to what is below one place, and are in no other process.
https://docs.rs/object_store lists the names (`AmazonS3ConfigKey`, `GoogleConfigKey`, `AzureConfigKey`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.stores import vended

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = {
    "aws_access_key_id": "s3.access-key-id",
    "aws_secret_access_key": "s3.secret-access-key",
    "aws_session_token": "s3.session-token",
    "google_bearer_token": "gcs.oauth2.token",
    "azure_storage_sas_token": "adls.sas-token",
}
_PLACES = (
    "aws_endpoint_url", "aws_region", "aws_virtual_hosted_style_request", "aws_request_payer", "google_base_url",
    "google_skip_signature", "azure_storage_account_name", "azure_storage_endpoint", "azure_skip_signature",
)  # fmt: skip
_IMPLIED = ("aws_allow_http", "google_allow_http", "azure_allow_http", "allow_http")
"""The endpoint's URL says it."""


def access_by(options: Mapping[str, str], uri: str) -> StoreAccess:
    """Return where the stores are, and read what is below a URI with the keys that are given. Raises ValueError.

    Without keys the environment's are used.
    """
    if unknown := sorted(set(options) - {*_KEYS, *_PLACES, *_IMPLIED}):
        raise ValueError(f"storage_options has {', '.join(unknown)}, and may have {', '.join((*_PLACES, *_KEYS))}")
    if keys := {_KEYS[name]: value for name, value in options.items() if name in _KEYS}:
        lease = vended.Lease("storage_options", lambda: vended.Vended({**keys, **_reached(options)}))
        vended.register([uri], lease)
    given = {name: options.get(name) for name in _PLACES}
    return StoreAccess(
        endpoint=given["aws_endpoint_url"],
        region=given["aws_region"],
        path_style=bool(given["aws_endpoint_url"]) and not _true(given["aws_virtual_hosted_style_request"]),
        requester_pays=_true(given["aws_request_payer"]) or None,
        gs=GsStorage(endpoint=given["google_base_url"], anonymous=_true(given["google_skip_signature"])),
        az=AzStorage(
            account=given["azure_storage_account_name"],
            endpoint=given["azure_storage_endpoint"],
            anonymous=_true(given["azure_skip_signature"]),
        ),
    )


def _reached(options: Mapping[str, str]) -> Mapping[str, str]:
    """What a catalog would tell with credentials."""
    style = "false" if _true(options.get("aws_virtual_hosted_style_request")) else "true"
    url = options.get("aws_endpoint_url")
    return {"s3.endpoint": url, "s3.path-style-access": style} if url else {}


def _true(text: str | None) -> bool:
    return str(text).lower() in ("true", "1")
