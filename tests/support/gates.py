"""Gates between processes of a test, over a socket: what a coordinator does, without any of its guards."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class GateServer:
    """Opens a gate once every index has come to it, and tells all of them all values. Notes are kept by index."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.notes: dict[int, dict[str, Any]] = {}
        self.gates: list[str] = []
        """Names of gates that opened, in order."""
        self._waiting: dict[str, dict[int, tuple[Any, Any]]] = {}
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End."""
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rw") as lines:
            for line in lines:
                said = json.loads(line)
                if "note" in said:
                    self.notes.setdefault(said["index"], {}).update(said["note"])
                else:
                    self._came(said["gate"], said["index"], said["value"], lines)

    def _came(self, name: str, index: int, value: Any, lines: Any) -> None:
        with self._lock:
            there = self._waiting.setdefault(name, {})
            there[index] = (value, lines)
            if len(there) < self.size:
                return
            self.gates.append(name)
            answer = json.dumps([there[i][0] for i in range(self.size)]) + "\n"
            for _, other in there.values():
                other.write(answer)
                other.flush()


class GateClient:
    """One process's gates; a `gpuquery.runner.engines.Ranks`."""

    def __init__(self, index: int, size: int, port: int) -> None:
        self.index, self.size = index, size
        self._lock = threading.Lock()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._lines = self._socket.makefile("rw")

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        """Wait for the others."""
        self._say({"gate": name, "index": self.index, "value": value})
        found: list[Any] = json.loads(self._lines.readline())
        return found

    def note(self, **facts: Any) -> None:
        """Tell the server."""
        self._say({"note": facts, "index": self.index})

    def advance(self) -> None:
        """Nobody asks."""

    def _say(self, said: dict[str, Any]) -> None:
        with self._lock:
            self._lines.write(json.dumps(said) + "\n")
            self._lines.flush()
