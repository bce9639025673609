"""Lakes: a folder for a table in each kind of store, and what a stranger sees of it. As a pytest fixture: `lake`.

The servers are emulators, each weaker than what it stands for somewhere. The fake GCS server (1.54) ignores
`ifGenerationMatch` when it composes and checks no checksum, so that nothing is overwritten there was not seen, only
asked for; where a source of a composition is missing it answers 500, which Google does with 404. azurite knows no
hierarchical namespaces and keeps uncommitted blocks for good. Neither knows rights, identities or throttling.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from tests.support.sinks import plan
from tests.support.store_servers import ACCOUNT, ACCOUNT_KEY

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.stores.base import Store

STAGING = "_staging/11111111-0000-4000-8000-000000000000/1"
KINDS = ("s3", "gs", "az", "abfss", "file")


@dataclass(frozen=True)
class Lake:
    """A folder for a table."""

    kind: str
    uri: str
    access: StoreAccess
    all: Callable[[], Mapping[str, bytes]]
    """All that there is, by its key in the bucket, or by its path below the folder."""
    prefix: str = "out/"
    environment: Mapping[str, str] = field(default_factory=dict)

    def contents(self) -> dict[str, bytes]:
        """What everybody sees, by keys of the table, through another client than the runner's, but hidden locks."""
        there = {key: body for key, body in self.all().items() if not key.rpartition("/")[2].startswith(".")}
        return {key.removeprefix(self.prefix): body for key, body in there.items() if key.startswith(self.prefix)}

    def data(self) -> dict[str, bytes]:
        """What readers see of the table."""
        return {key: body for key, body in self.contents().items() if key.startswith("data/")}

    def plan(self, **output: Any) -> Plan:
        """A plan whose output is here."""
        return plan(self.uri, store=self.access, **output)

    def store(self, stop: threading.Event | None = None, staging: str = STAGING) -> Store:
        """Open it anew, as another process does."""
        import threading

        place = stores.locate(self.uri)
        return stores.of(self.uri).table(place, self.access, staging=staging, stop=stop or threading.Event())[0]

    def copied(self, folder: Path) -> Path:
        """Copy what readers see to a folder of this machine, for readers that know no such store."""
        for key, body in self.data().items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        return folder / "data"


@pytest.fixture(params=KINDS)
def lake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lake:
    return made(request.param, request, monkeypatch, tmp_path)


def made(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lake:
    """Make a lake of one kind; skips where its server is not installed."""
    name = f"b{uuid.uuid4().hex[:12]}"
    match kind:
        case "s3":
            bucket, seaweed = request.getfixturevalue("bucket"), request.getfixturevalue("seaweed")

            def of_s3() -> Mapping[str, bytes]:
                client = seaweed.client()
                return {k: client.get_object(Bucket=bucket, Key=k)["Body"].read() for k in seaweed.keys(bucket)}

            access = StoreAccess(endpoint=seaweed.endpoint, path_style=True)
            return Lake(kind, f"s3://{bucket}/out", access, of_s3, environment=seaweed.environment)
        case "gs":
            gcs = request.getfixturevalue("fake_gcs")
            gcs.make_bucket(name)
            access = StoreAccess(gs=GsStorage(endpoint=gcs.endpoint, anonymous=True))
            return Lake(kind, f"gs://{name}/out", access, lambda: gcs.contents(name))
        case "az" | "abfss":
            azurite = request.getfixturevalue("azurite")
            azurite.make_container(name)
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY)
            access = StoreAccess(az=AzStorage(endpoint=azurite.endpoint, account=ACCOUNT if kind == "az" else None))
            uri = f"az://{name}/out" if kind == "az" else f"abfss://{name}@{ACCOUNT}.dfs.core.windows.net/out"
            env = {"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
            return Lake(kind, uri, access, lambda: azurite.contents(name), environment=env)
        case _:
            root = tmp_path / "out"

            def of_files() -> Mapping[str, bytes]:
                return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

            return Lake(kind, f"file://{root}", StoreAccess(), of_files, prefix="")
