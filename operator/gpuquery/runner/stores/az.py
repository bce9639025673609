"""Azure Blob Storage and Data Lake Storage: `az://container/path` and `abfss://container@account.dfs.core.windows.net/path`.

Credentials are an account's key, a shared access signature or a service principal in variables of the environment, or
the workload identity of Azure, whose webhook sets such variables, or none for public containers.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from obstore.store import AzureStore

from gpuquery.api import stores
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import az_signing, az_table, retries
from gpuquery.runner.stores.cloud import Cloud, allows_http, given
from gpuquery.runner.stores.rest import Rest

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Location
    from gpuquery.runner.stores.vended import Loan

WAYS = (
    ("AZURE_STORAGE_ACCOUNT_KEY",),
    ("AZURE_STORAGE_SAS_TOKEN",),
    ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"),
    ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"),
)
"""Variables that are credentials together; the last are those of the workload identity's webhook."""

CODES: Mapping[Failure, Sequence[str]] = {
    Failure.STORAGE_AUTH: (
        "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch", "InvalidAuthenticationInfo",
        "PublicAccessNotPermitted", "NoAuthenticationInformation", "Error performing token request", "AADSTS",
    ),
    Failure.BUCKET_NOT_FOUND: ("ContainerNotFound", "The specified container does not exist"),
}  # fmt: skip
"""What the store's codes, and words of object_store, mean."""


class Az(Cloud):
    """Blobs in containers of a storage account."""

    title = "Azure"
    nobody = 'there is no container "{}" in the storage account'
    endpoint_field = "storage.az.endpoint"
    codes = CODES

    def __init__(self, scheme: str, example: str) -> None:
        """Make the store of one of the two schemes."""
        self.scheme, self.example = scheme, example

    def locate(self, uri: str) -> Location | None:
        """Split the URI; an abfss:// URI must name its account."""
        place = super().locate(uri)
        return place if place and (self.scheme == "az") is ("@" not in place.bucket) else None

    def endpoint_of(self, access: StoreAccess) -> str | None:
        """Return storage.az.endpoint."""
        return access.az.endpoint.rstrip("/") if access.az and access.az.endpoint else None

    def client(
        self, bucket: str, access: StoreAccess, *, hurried: bool = False, loan: Loan | None = None
    ) -> AzureStore:
        """Make an obstore client, which reads the environment."""
        url = self.endpoint_of(access)
        config: Any = {"account_name": account_of(bucket, access)}
        config |= ({"endpoint": url} if url else {}) | ({"skip_signature": True} if _anonymous(access) else {})
        client_options, retry_config = retries.for_obstore(allow_http=bool(allows_http(url)), hurried=hurried)
        return AzureStore(
            bucket.partition("@")[0],
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
    ) -> az_table.AzStore:
        """Open a table's folder."""
        account = account_of(place.bucket, access)
        signer = az_signing.signer(account, loan, anonymous=_anonymous(access))
        rest = Rest(signer, az_table.WORDS, hurried=stop is None, stop=stop)
        return az_table.AzStore(place, self.endpoint_of(access) or f"https://{account}.blob.core.windows.net", rest)

    def scan_options(self, uri: str, access: StoreAccess) -> dict[str, Any]:
        """Say where the store is; Polars finds the credentials in the environment."""
        url = self.endpoint_of(access)
        own = {"azure_storage_account_name": account_of(uri.partition("://")[2].partition("/")[0], access)}
        own |= {**({"azure_storage_endpoint": url} if url else {}), **allows_http(url)}
        if _anonymous(access):
            own["azure_skip_signature"] = "true"
        return retries.for_polars({**retries.options(), **own})

    def check_credentials(self, access: StoreAccess) -> None:
        """Look at the variables, without showing them."""
        if _anonymous(access):
            return
        found = given({name for way in WAYS for name in way})
        if any(all(name in found for name in way) for way in WAYS):
            return
        if os.environ.get("AZURE_MSI_ENDPOINT") != stores.AZ.no_node_role["AZURE_MSI_ENDPOINT"]:
            return  # the identity of the node, or of this machine
        half = next((way for way in WAYS[2:] if any(name in found for name in way)), ())
        lacks = f" ({', '.join(sorted(set(half) - set(found)))} is missing)" if half else ""
        raise JobError(
            Failure.STORAGE_AUTH,
            f"no credentials for {self.scheme}://{lacks}: name a Secret in storage.secretName with "
            f"{'; or '.join(' and '.join(way) for way in WAYS[:3])}; or a ServiceAccount with a workload identity in "
            'storage.serviceAccountName, with the label azure.workload.identity/use: "true" in '
            "template.metadata.labels; for public containers set storage.az.anonymous: true",
        )


def account_of(bucket: str, access: StoreAccess) -> str:
    """Return the storage account of `container@account.dfs...` or of the job. Raises JobError(InvalidPlan)."""
    account = bucket.partition("@")[2].partition(".")[0] or (access.az.account if access.az else None)
    if not account:
        raise JobError(
            Failure.INVALID_PLAN,
            f"az://{bucket}: the storage account is not known: set storage.az.account, or write "
            "abfss://container@account.dfs.core.windows.net/path",
        )
    return account


def _anonymous(access: StoreAccess) -> bool:
    return access.az is not None and access.az.anonymous
