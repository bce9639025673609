"""Ready: the startup probe of an attempt's pods. It waits inside the container until the supervisor says that it is.

A probe that is asked again and again fails until then, and each failure is a `Warning` event of a pod with which all is
well; one that goes on fails once more when the pod ends. This one is asked once, ends when the pod is ready, and never
comes back. It imports next to nothing: it runs beside a process that starts.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
GROWTH = 1.2


def main(port: int) -> None:
    """Return when `/readyz` on this port answers 200."""
    pause = FIRST_PAUSE
    while not _ready(port):
        time.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_PAUSE)


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LONGEST_PAUSE) as sock:
        sock.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        return sock.recv(64).split(b" ")[1:2] == [b"200"]
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]))
