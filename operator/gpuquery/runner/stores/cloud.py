"""Object stores that are read through object_store, by Polars and by obstore, and written by their REST interfaces.

All find credentials in the pod's environment (a Secret, or the token of a cloud identity), or ask `vended` for what a
catalog vends. So no plan, log line or error message can hold one.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import obstore

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import endpoint, vended
from gpuquery.runner.stores.base import Backend, Location
from gpuquery.runner.stores.objects import Objects

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Sequence

    from obstore.store import ObjectStore

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Store
    from gpuquery.runner.stores.vended import Loan

LOOKED_AT = 1000
"""Names that are listed to say what is there."""


class Cloud(Backend):
    """Objects in buckets."""

    remote = True
    scheme: str
    """Of its URIs."""
    title: str
    """What the store is called in messages."""
    nobody: str
    """What is said where there is no bucket of that name; `{}` stands for the name."""
    endpoint_field: str
    """The field of the job that says where it is."""
    unsafe = (
        "ignores conditional writes, so two attempts could both commit: use the store itself, or a server that honours "
        "them"
    )
    unread_by_gpus = "the GPU readers of RAPIDS 25.08 to 26.10 reach s3:// and https:// only"

    @abstractmethod
    def client(
        self, bucket: str, access: StoreAccess, *, hurried: bool = False, loan: Loan | None = None
    ) -> ObjectStore:
        """Make an obstore client of a bucket, which is the part of a URI up to its path. Raises JobError.

        `loan` are vended credentials, in place of those of the environment.
        """

    @abstractmethod
    def endpoint_of(self, access: StoreAccess) -> str | None:
        """Return where it is, if not where everybody knows it to be."""

    @abstractmethod
    def check_credentials(self, access: StoreAccess) -> None:
        """Raise StorageAuth if the environment holds no credentials, or none that can be right."""

    @abstractmethod
    def store(
        self,
        place: Location,
        access: StoreAccess,
        *,
        staging: str,
        stop: threading.Event | None = None,
        loan: Loan | None = None,
    ) -> Store:
        """Open a table's folder. Without `stop` it gives up within seconds. Raises JobError."""

    def locate(self, uri: str) -> Location | None:
        """Split `scheme://bucket/prefix`."""
        bucket, _, prefix = uri.removeprefix(f"{self.scheme}://").partition("/")
        return Location(uri.rstrip("/"), bucket, prefix.strip("/")) if bucket else None

    def files(self, uri: str, access: StoreAccess) -> Objects:
        """Read through obstore."""
        bucket = uri.partition("://")[2].partition("/")[0]
        return Objects(f"{self.scheme}://{bucket}", self._made(bucket, access, loan=vended.of(uri)))

    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[Store, Store]:
        """Write by the store's REST interface."""
        self.check_credentials(access)
        loan = vended.of(place.uri)
        slow = self.store(place, access, staging=staging, stop=stop, loan=loan)
        return slow, self.store(place, access, staging=staging, loan=loan)

    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        """List one page, hurried."""
        try:
            for page in obstore.list(
                self._made(place.bucket, access, hurried=True), folder or None, chunk_size=LOOKED_AT
            ):
                below = (one["path"].removeprefix(folder).partition("/") for one in page)
                return sorted({name + slash for name, slash, _ in below})
        except Exception as exc:
            fault = classify(OSError(first_paragraph(exc)))
            if fault.failure is Failure.BUCKET_NOT_FOUND:
                raise JobError(
                    Failure.BUCKET_NOT_FOUND,
                    f"{self.nobody.format(clean(place.bucket))}: correct the input's uri, or {self.endpoint_field}",
                ) from None
        return ()

    def check(self, places: Sequence[Location], access: StoreAccess) -> None:
        """Look at the credentials and at the endpoint."""
        self.check_credentials(access)
        if url := self.endpoint_of(access):
            endpoint.answers(url, self.endpoint_field)

    def _made(
        self, bucket: str, access: StoreAccess, *, hurried: bool = False, loan: Loan | None = None
    ) -> ObjectStore:
        try:
            return self.client(bucket, access, hurried=hurried, loan=loan)
        except JobError:
            raise
        except Exception as exc:
            raise classify(OSError(first_paragraph(exc)), f"reading {self.scheme}://{bucket}") from exc


def unwritten(uri: str) -> JobError:
    """Return the error for an output in a store that is only read."""
    return JobError(
        Failure.INVALID_PLAN,
        f"output.uri is {clean(uri, 200)!r}: web servers are only read: write it like s3://bucket/folder, "
        "gs://bucket/folder or az://container/folder",
    )


def given(names: Iterable[str]) -> dict[str, str]:
    """Return the variables of these names that are set. Raises StorageAuth for a blank or line break at an edge."""
    found = {name: value for name in names if (value := os.environ.get(name))}
    for name, value in found.items():
        if value.strip() != value:
            raise JobError(
                Failure.STORAGE_AUTH,
                f"the value of {name} begins or ends with a blank or a line break: make the Secret in "
                "storage.secretName anew, with `kubectl create secret --from-literal`",
            )
    return found


def allows_http(url: str | None) -> dict[str, Any]:
    """Return the option of Polars for an endpoint without encryption."""
    return {"allow_http": "true"} if url and url.startswith("http://") else {}
