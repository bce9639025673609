"""Credentials that a catalog vends for the files of one table: no other file is read with them.

They are in the memory of this process alone, and in no plan, JSON or pickle: each process asks the catalog for itself,
and again before they end. https://iceberg.apache.org/spec/ names no keys; those of `_KINDS` are the Java and Python
libraries' (`S3FileIOProperties`, `GCPProperties`, `AzureProperties`, `pyiceberg.io`).
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import redaction
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess

MARGIN = timedelta(minutes=5)
"""So long before their end, or half of their time if that is shorter, credentials are asked for again."""
UNSAID = timedelta(minutes=10)
"""Credentials whose end is not told are asked for again after this time."""
LEAST = timedelta(seconds=30)
"""Sooner they are not asked for again, even if they have ended by this machine's clock, which may be wrong."""


@dataclass(frozen=True)
class _Kind:
    """What a catalog vends for one kind of store."""

    names: Mapping[str, tuple[str, str]]
    """Keys of credentials: Iceberg's name, and those of Polars and obstore."""
    needed: tuple[str, ...]
    ends: Sequence[str]
    """Keys of the moment when they end, in milliseconds since 1970."""
    own: Sequence[str]
    """Variables that hold a secret of the job for this store."""


_S3 = _Kind(
    {
        "s3.access-key-id": ("aws_access_key_id", "access_key_id"),
        "s3.secret-access-key": ("aws_secret_access_key", "secret_access_key"),
        "s3.session-token": ("aws_session_token", "token"),
    },
    ("s3.access-key-id", "s3.secret-access-key"),
    ("s3.session-token-expires-at-ms", "expiration-time"),
    ("AWS_SECRET_ACCESS_KEY",),
)
_GS = _Kind(
    {"gcs.oauth2.token": ("bearer_token", "token")},
    ("gcs.oauth2.token",),
    ("gcs.oauth2.token-expires-at", "expiration-time"),
    ("GOOGLE_SERVICE_ACCOUNT_KEY",),
)
_AZ = _Kind(
    {"adls.sas-token": ("sas_token", "sas_token")},
    ("adls.sas-token",),
    ("adls.sas-token-expires-at-ms", "expiration-time"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_SECRET"),
)
_KINDS = {"s3": _S3, "gs": _GS, "abfss": _AZ, "az": _AZ}
_SECRET = tuple(name for kind in _KINDS.values() for name in kind.names)


@dataclass(frozen=True)
class Keys:
    """Credentials for one place."""

    values: Mapping[str, str] = field(repr=False)
    """By Iceberg's names."""
    ends: datetime | None
    told: Mapping[str, str] = field(repr=False)
    """All that was told with them: where the store is, too."""


@dataclass(frozen=True)
class Vended:
    """What a catalog has told with a table."""

    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For all files of the table."""
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """For what begins with a prefix: these win, and of several the longest."""

    def keys(self, uri: str) -> Keys | None:
        """Return the credentials for a place; None where none were vended."""
        scheme, _, rest = uri.partition("://")
        if (kind := _KINDS.get(scheme)) is None:
            return None
        near = [prefix for prefix in self.places if f"{uri}/".startswith(prefix)]
        told = {**self.config, **(self.places[max(near, key=len)] if near else {})}
        account = rest.partition("/")[0].partition("@")[2].partition(".")[0]
        for name, value in list(told.items()):  # Azure's are told by account: `adls.sas-token.<account or host>`
            for plain in ("adls.sas-token", "adls.sas-token-expires-at-ms"):
                if account and name.startswith(f"{plain}.") and name[len(plain) + 1 :].partition(".")[0] == account:
                    told[plain] = value
        values = {name: told[name] for name in kind.names if told.get(name)}
        if any(name not in values for name in kind.needed):
            return None
        ends = next((told[name] for name in kind.ends if str(told.get(name, "")).isdigit()), None)
        return Keys(values, None if ends is None else datetime.fromtimestamp(int(ends) / 1000, UTC), told)


class Lease:
    """Credentials of one table, for all threads of this process."""

    def __init__(self, what: str, ask: Callable[[], Vended]) -> None:
        """`what` names table and catalog. `ask` asks the catalog and raises JobError."""
        self.what = what
        self._ask = ask
        self._lock = threading.Lock()
        self._held: Vended | None = None
        self._since = datetime.now(UTC)

    def take(self, vended: Vended) -> None:
        """Hold what has just come from the catalog."""
        for told in (vended.config, *vended.places.values()):
            redaction.learn(value for name, value in told.items() if name.startswith(_SECRET))
        self._held, self._since = vended, datetime.now(UTC)

    def keys(self, uri: str) -> Keys | None:
        """Return credentials that do not end soon; None where the catalog vends none. Raises JobError."""
        with self._lock:
            found = self._held.keys(uri) if self._held else None
            if self._held is None or (found is not None and datetime.now(UTC) >= self.due(found)):
                self.take(self._ask())
                found = self._held.keys(uri) if self._held else None
            return found

    def ends(self, uri: str) -> datetime | None:
        """When the credentials end that are held; None if that is not known."""
        found = self._held.keys(uri) if self._held else None
        return found.ends if found else None

    def due(self, keys: Keys) -> datetime:
        """When they are asked for again."""
        if keys.ends is None:
            return self._since + UNSAID
        return max(keys.ends - min(MARGIN, (keys.ends - self._since) / 2), self._since + LEAST)


@dataclass(frozen=True)
class Loan:
    """The credentials of one place. Another process that gets one by pickle has what its own catalog vends."""

    uri: str
    lease: Lease = field(repr=False, compare=False)

    def __reduce__(self) -> Any:
        return _loan, (self.uri,)

    def keys(self) -> Keys:
        """Return credentials. Raises JobError."""
        if (found := self.lease.keys(self.uri)) is None:
            raise JobError(
                Failure.STORAGE_AUTH, f"{self.lease.what}: the catalog vends no credentials for {self.uri}: give the "
                "job some (storage.secretName), or have the catalog vend them",
            )  # fmt: skip
        return found

    def __call__(self) -> tuple[dict[str, str], int]:
        """Return what Polars takes from a `credential_provider`."""
        keys = self.keys()
        return self._named(keys, 0), int(self.lease.due(keys).timestamp())

    def for_obstore(self) -> Any:
        """Return what obstore takes from a `credential_provider`."""
        keys = self.keys()
        return {**self._named(keys, 1), "expires_at": self.lease.due(keys) + MARGIN}  # it asks five minutes before

    def _named(self, keys: Keys, who: int) -> dict[str, str]:
        names = _KINDS[self.uri.partition("://")[0]].names
        return {names[name][who]: value for name, value in keys.values.items()}


_LEASES: dict[str, Lease] = {}
"""By the places that they are for, without a slash at the end."""


def register(prefixes: Sequence[str], lease: Lease) -> None:
    """Read what is below these places with the credentials of a lease from now on."""
    _LEASES.update({prefix.rstrip("/"): lease for prefix in prefixes})


def leased(prefixes: Sequence[str]) -> bool:
    """Whether there is a lease for these places."""
    return all(prefix.rstrip("/") in _LEASES for prefix in prefixes)


def forget() -> None:
    """Drop all leases."""
    _LEASES.clear()


def place(uri: str) -> str:
    """Return the place with a lease that a file lies in; empty if it is read with the job's credentials."""
    near = [prefix for prefix in list(_LEASES) if uri == prefix or uri.startswith(f"{prefix}/")]
    return max(near, key=len, default="")


def of(uri: str) -> Loan | None:
    """Return what a file is read with, if that is not the job's own credentials."""
    found = place(uri)
    return Loan(found, _LEASES[found]) if found else None


def _loan(uri: str) -> Loan:
    return Loan(uri, _LEASES[uri])


def remark(uri: str) -> str:
    """Say whose credentials the store has refused, with the way out; nothing if they are the job's own."""
    if (loan := of(uri)) is None:
        return ""
    ends = loan.lease.ends(loan.uri)
    until = f", which {'ended' if ends <= datetime.now(UTC) else 'end'} at {ends:%Y-%m-%d %H:%M} UTC" if ends else ""
    return (
        f"; these are credentials that are vended for {loan.lease.what}{until}: run the job again, which asks for new "
        "ones, see what the catalog grants, or name a Secret for the files in storage.secretName"
    )


def owns(uri: str) -> bool:
    """Whether the job has been given a secret for the store of this place."""
    kind = _KINDS.get(uri.partition("://")[0])
    return kind is not None and any(os.environ.get(name) for name in kind.own)


def reached(loan: Loan | None, access: StoreAccess) -> StoreAccess:
    """Return where the store is: what the catalog has told with credentials counts for what they open."""
    if loan is None:
        return access
    told = loan.keys().told
    found: dict[str, Any] = {}
    if loan.uri.startswith("s3://"):
        if url := told.get("s3.endpoint"):
            found = {"endpoint": url, "path_style": str(told.get("s3.path-style-access", "")).lower() == "true"}
        if region := told.get("s3.region") or told.get("client.region"):
            found["region"] = region
    return access.model_copy(update=found)
