"""A store of another scheme, as one module adds it: objects in memory, which Polars reads over HTTP by itself."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.stores.base import Backend, Files, Found, Location, Part
from tests.support.memory_store import Content, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuquery.plan.plan import StoreAccess

PAGE = 1000
"""Keys in one answer to a listing."""


class AwayError(Exception):
    """What this store's client raises when the store is away."""


class Memory(Backend, Files):
    """Each first part of a path is a folder of its own."""

    example = "http://host/folder"
    remote = True

    def __init__(self) -> None:
        self.folders: dict[str, Content] = {}
        self.checked: list[str] = []
        self.parts_read = 0
        self.pages_listed = 0

    def put(self, path: str, body: bytes) -> None:
        """Put an object there."""
        folder, _, key = path.strip("/").partition("/")
        self.folders.setdefault(folder, Content()).objects[key] = body

    def get(self, path: str) -> bytes | None:
        """The object at a path."""
        folder, _, key = path.strip("/").partition("/")
        return self.folders.get(folder, Content()).objects.get(key)

    def locate(self, uri: str) -> Location | None:
        host, _, path = uri.removeprefix("http://").partition("/")
        return Location(uri.rstrip("/"), host, path.strip("/")) if path else None

    def files(self, uri: str, access: StoreAccess) -> Files:
        return self

    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[MemoryStore, MemoryStore]:
        store = MemoryStore(self.folders.setdefault(place.prefix, Content()))
        return store, store

    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        first, _, below = folder.partition("/")
        keys = self.folders.get(first, Content()).objects
        return sorted({key.removeprefix(below) for key in keys if key.startswith(below)})

    def check(self, places: Sequence[Location], access: StoreAccess) -> None:
        self.checked += [place.uri for place in places]

    def failure_of(self, exc: BaseException) -> Failure | None:
        return Failure.STORAGE_UNAVAILABLE if isinstance(exc, AwayError) else None

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        found: dict[str, Found] = {}
        for folder, content in self.folders.items():
            for key, body in content.objects.items():
                path = f"{folder}/{key}"
                more = path[len(prefix) :]
                if path.startswith(prefix) and (deep or "/" not in more):
                    found[path] = Found(path, len(body), str(hash(body)))
                elif path.startswith(prefix):
                    at = prefix + more.partition("/")[0] + "/"
                    found[at] = Found(at, 0)
        names = sorted(found)
        for at in range(0, max(1, len(names)), PAGE):
            self.pages_listed += 1
            yield [found[name] for name in names[at : at + PAGE]]

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        keys = {path: path.removeprefix("http://").partition("/")[2] for path in paths}
        there = {path: (key, self.get(key)) for path, key in keys.items()}
        return {path: Found(key, len(body), str(hash(body))) for path, (key, body) in there.items() if body is not None}

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        return {path: len(self._body(path)) for path in paths}

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], Any]) -> list[Any]:
        self.parts_read += len(parts)
        return [then(part, self._body(part.path)[part.start : part.end]) for part in parts]

    def _body(self, uri: str) -> bytes:
        place = self.locate(uri)
        body = self.get(place.prefix) if place else None
        assert body is not None, uri
        return body

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve all objects; yields the URI of the root."""
        memory = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                body = memory.get(self.path)
                if body is not None and (span := self.headers.get("Range")):
                    first, last = (int(number or 0) for number in span.removeprefix("bytes=").split("-"))
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
                    body = body[first : last + 1]
                else:
                    self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if self.command == "GET" and body:
                    self.wfile.write(body)

            def do_GET(self) -> None:
                self.do_HEAD()

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
