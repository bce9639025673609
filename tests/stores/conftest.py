"""One shelf for each kind of store: where a test puts files, and what the runner is given to read them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.api.stores import KEYS
from gpuquery.plan.plan import StoreAccess
from tests.support.store_servers import ACCOUNT, ACCOUNT_KEY, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Shelf:
    """A place for files in a store."""

    root: str
    """URI of the place, ending with a slash."""
    prefix: str
    """What the keys of the place begin with."""
    put: Callable[[str, bytes], None]
    access: StoreAccess
    lists: bool = True


KINDS = ("s3", "gs", "az", "abfss", "file", "http")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=KINDS)
def shelf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shelf]:
    name = f"b{uuid.uuid4().hex[:12]}"
    match request.param:
        case "s3":
            bucket, seaweed = request.getfixturevalue("bucket"), request.getfixturevalue("seaweed")

            def put(key: str, body: bytes) -> None:
                seaweed.client().put_object(Bucket=bucket, Key=f"t/{key}", Body=body)

            yield Shelf(f"s3://{bucket}/t/", "t/", put, StoreAccess(endpoint=seaweed.endpoint, path_style=True))
        case "gs":
            gcs = request.getfixturevalue("fake_gcs")
            gcs.make_bucket(name)
            access = StoreAccess(gs=GsStorage(endpoint=gcs.endpoint, anonymous=True))
            yield Shelf(f"gs://{name}/t/", "t/", lambda key, body: gcs.put(name, f"t/{key}", body), access)
        case "az" | "abfss":
            azurite = request.getfixturevalue("azurite")
            azurite.make_container(name)
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
            account = ACCOUNT if request.param == "az" else None
            access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint, account=account))
            at = f"az://{name}/t/" if account else f"abfss://{name}@{ACCOUNT}.dfs.core.windows.net/t/"
            yield Shelf(at, "t/", lambda key, body: azurite.put(name, f"t/{key}", body), access)
        case "file":

            def write(key: str, body: bytes) -> None:
                path = tmp_path / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)

            yield Shelf(f"file://{tmp_path}/", f"{tmp_path}/", write, StoreAccess())
        case _:
            with WebServer().serving() as web:
                put_web = lambda key, body: web.put(f"t/{key}", body)  # noqa: E731
                yield Shelf(f"{web.root}/t/", "t/", put_web, StoreAccess(allow_http=True), lists=False)
