"""Google Cloud Storage: `gs://bucket/path`.

Credentials are the JSON of a service account's key in GOOGLE_SERVICE_ACCOUNT_KEY, or what Google's metadata server
gives to the pod (workload identity of GKE), or none for public buckets.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from obstore.store import GCSStore

from gpuquery.api import stores
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import gs_table, gs_tokens, retries
from gpuquery.runner.stores.cloud import Cloud, allows_http
from gpuquery.runner.stores.gs_tokens import FILES, KEY
from gpuquery.runner.stores.rest import Rest

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Location
    from gpuquery.runner.stores.vended import Loan

NEEDED = ("client_email", "private_key")
_MAKE = "make the Secret in storage.secretName anew with `kubectl create secret generic <name> --from-file="

CODES: Mapping[Failure, Sequence[str]] = {
    Failure.STORAGE_AUTH: ("GCP credential error", "Error performing token request", "invalid_grant"),
    Failure.BUCKET_NOT_FOUND: ("NoSuchBucket", "The specified bucket does not exist", "no bucket named"),
}
"""What the store's codes, and words of object_store, mean."""


class Gs(Cloud):
    """Objects in Google's buckets."""

    example = "gs://bucket/folder"
    scheme = "gs"
    title = "Google Cloud Storage"
    nobody = 'there is no bucket "{}" in Google Cloud Storage, or these credentials may not see it'
    endpoint_field = "storage.gs.endpoint"
    codes = CODES

    def endpoint_of(self, access: StoreAccess) -> str | None:
        """Return storage.gs.endpoint."""
        return access.gs.endpoint.rstrip("/") if access.gs and access.gs.endpoint else None

    def client(self, bucket: str, access: StoreAccess, *, hurried: bool = False, loan: Loan | None = None) -> GCSStore:
        """Make an obstore client, which reads the environment."""
        url = self.endpoint_of(access)
        config: Any = ({"base_url": url} if url else {}) | ({"skip_signature": True} if _anonymous(access) else {})
        client_options, retry_config = retries.for_obstore(allow_http=bool(allows_http(url)), hurried=hurried)
        return GCSStore(
            bucket,
            config=config,
            client_options=client_options,
            retry_config=retry_config,
            credential_provider=loan.for_obstore if loan else None,
        )

    def store(
        self,
        place: Location,
        access: StoreAccess,
        *,
        staging: str,
        stop: threading.Event | None = None,
        loan: Loan | None = None,
    ) -> gs_table.GsStore:
        """Open a table's folder."""
        signer = gs_tokens.signer(loan, anonymous=_anonymous(access))
        rest = Rest(signer, gs_table.WORDS, hurried=stop is None, stop=stop)
        return gs_table.GsStore(place, self.endpoint_of(access), staging, rest)

    def scan_options(self, uri: str, access: StoreAccess) -> dict[str, Any]:
        """Say where the store is; Polars finds the credentials in the environment."""
        url = self.endpoint_of(access)
        own = {**({"google_base_url": url} if url else {}), **allows_http(url)}
        if _anonymous(access):
            own["google_skip_signature"] = "true"
        return retries.for_polars({**retries.options(), **own})

    def check_credentials(self, access: StoreAccess) -> None:
        """Look at the key, without showing it."""
        if _anonymous(access):
            return
        key = os.environ.get(KEY)
        if key:
            _check_key(key)
        elif os.environ.get("GCE_METADATA_HOST") == stores.CLOSED and not any(map(os.environ.get, FILES)):
            raise JobError(
                Failure.STORAGE_AUTH,
                f"no credentials for gs://: name a Secret with {KEY} in storage.secretName; for the workload identity "
                "of GKE leave it out, and have the administrator set the Helm value runtime.nodeMetadata; for public "
                "buckets set storage.gs.anonymous: true",
            )


def _anonymous(access: StoreAccess) -> bool:
    return access.gs is not None and access.gs.anonymous


def _check_key(key: str) -> None:
    try:
        found = json.loads(key)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in NEEDED):
        raise JobError(
            Failure.STORAGE_AUTH,
            f"{KEY} is not the JSON of a service account's key, which has {' and '.join(NEEDED)}: "
            f"{_MAKE}{KEY}=key.json`",
        )
