"""Packs a RAPIDS release's wheels for a machine without a package registry: pieces of at most 60 MB, and a script.

    python -m tools.pack_wheels 26.10 --cuda 12 --into pieces [--without 'nvidia_*' --without 'cupy_*'] [--wheels DIR]

The wheels are those of requirements/releases/, for the Python that runs this; with --wheels they are taken from a
folder instead. On the other machine `sh unpack.sh FOLDER` checks the pieces, installs them into FOLDER with that
machine's pip (same version of Python), and leaves FOLDER/python, which runs with them. --without leaves out what that
machine has: CUDA's libraries are two thirds of it.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
PIECE = 60_000_000
NAME = "wheels.tar"
SUMS = "SHA256SUMS"
UNPACK = f"""#!/bin/sh
# Puts the pieces beside this script together and installs the wheels in them: sh unpack.sh FOLDER
# PYTHON=... names another Python than python3; it has to be of version @VERSION@, and have pip.
set -eu
folder=${{1:?name a folder to install into: sh unpack.sh FOLDER}}
python=${{PYTHON:-python3}}
here=$(cd "$(dirname "$0")" && pwd)
has=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$has" != "@VERSION@" ]; then
    echo "these wheels are for Python @VERSION@, and $python is $has: set PYTHON" >&2
    exit 1
fi
(cd "$here" && sha256sum --quiet --check {SUMS})
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
mkdir -p "$folder/wheels"
cat "$here"/{NAME}.* | tar -x -C "$folder/wheels"
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --upgrade \\
    --target "$folder/site" "$folder"/wheels/*.whl
rm -r "$folder/wheels"
printf '#!/bin/sh\\nPYTHONPATH="%s/site${{PYTHONPATH:+:$PYTHONPATH}}" exec "%s" "$@"\\n' \\
    "$folder" "$(command -v "$python")" > "$folder/python"
chmod +x "$folder/python"
echo "$folder/python"
"""


class Pieces:
    """A file that is written as several, none larger than `most` bytes."""

    def __init__(self, folder: Path, most: int) -> None:
        self.sums: list[str] = []
        """Lines for sha256sum."""
        self._folder, self._most = folder, most
        self._file: Any = None
        self._left = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write, to as many pieces as it takes."""
        rest = memoryview(data)
        while rest:
            if self._left == 0:
                self._begin()
            part, rest = rest[: self._left], rest[self._left :]
            self._file.write(part)
            self._digest.update(part)
            self._left -= len(part)
        return len(data)

    def close(self) -> None:
        """End the last piece."""
        if self._file is not None:
            self._file.close()
            self.sums.append(f"{self._digest.hexdigest()}  {Path(self._file.name).name}")
            self._file = None

    def _begin(self) -> None:
        self.close()
        # Three digits: the shell sorts them as they belong.
        self._file = (self._folder / f"{NAME}.{len(self.sums):03d}").open("wb")
        self._left, self._digest = self._most, hashlib.sha256()


def pack(wheels: Sequence[Path], into: Path, *, most: int = PIECE) -> list[Path]:
    """Pack wheels into a folder that is empty or not there; returns all files that have to travel."""
    if into.exists() and any(into.iterdir()):
        raise SystemExit(f"{into} is not empty: name another folder, or empty it")
    if not wheels:
        raise SystemExit("there are no wheels to pack: see --wheels and --without")
    into.mkdir(parents=True, exist_ok=True)
    pieces = Pieces(into, most)
    with tarfile.open(fileobj=cast("Any", pieces), mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for wheel in sorted(wheels):
            tar.add(wheel, wheel.name, filter=_plain)
    pieces.close()
    (into / SUMS).write_text("\n".join(pieces.sums) + "\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (into / "unpack.sh").write_text(UNPACK.replace("@VERSION@", version))
    return sorted(into.iterdir())


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes whoever packs."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime, info.mode = 0, 0o644
    return info


def chosen(folder: Path, without: Sequence[str]) -> Iterator[Path]:
    """Wheels of a folder but for those whose file names match a pattern."""
    for wheel in sorted(folder.glob("*.whl")):
        if not any(fnmatch.fnmatch(wheel.name, pattern) for pattern in without):
            yield wheel


def download(lock: Path, folder: Path) -> None:
    """Get a lock's wheels with pip."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--requirement", lock, "--dest", folder,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", help="such as 26.10")
    parser.add_argument("--cuda", type=int, default=12)
    parser.add_argument("--into", type=Path, required=True, help="folder for the pieces")
    parser.add_argument("--wheels", type=Path, help="folder with wheels, in place of downloading them")
    parser.add_argument("--without", action="append", default=[], help="pattern of wheels to leave out")
    args = parser.parse_args()
    lock = ROOT / "requirements" / "releases" / f"{args.release}-cu{args.cuda}.txt"
    if args.wheels is None and not lock.exists():
        there = ", ".join(sorted(path.stem for path in lock.parent.glob("*.txt")))
        parser.error(f"no wheels of {args.release} for CUDA {args.cuda} are locked: there are {there}")
    with tempfile.TemporaryDirectory() as temporary:
        wheels = args.wheels
        if wheels is None:
            wheels = Path(temporary)
            download(lock, wheels)
        for file in pack(list(chosen(wheels, args.without)), args.into):
            print(f"{file.stat().st_size:>12,}  {file}")


if __name__ == "__main__":
    main()
