"""Volumes: files that a job's pods read from a claim of its namespace."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gpuquery.api.names import ResourceName
from gpuquery.api.schema import Model, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

VOLUME_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
MOUNT_PATH = "^/mnt(/[A-Za-z0-9][A-Za-z0-9._-]*)+$"
SUB_PATH = "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"


class ClaimReference(Model):
    """A PersistentVolumeClaim in the job's namespace."""

    claim_name: ResourceName
    """Its name."""


class Volume(Model):
    """A claim, mounted read-only. NFS and CSI drivers come as a claim too."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=VOLUME_NAME)]
    """Its name within the pod."""
    mount_path: Annotated[str, Field(max_length=256, pattern=MOUNT_PATH)]
    """The folder of the pods in which it is, below /mnt: `/mnt/lake`. An input reads `file:///mnt/lake/orders/`."""
    sub_path: Annotated[str, Field(min_length=1, max_length=256, pattern=SUB_PATH)] | None = None
    """A folder in the volume, in place of its root."""
    persistent_volume_claim: ClaimReference
    """The claim. All pods of the job mount it, so with several pods it must be ReadOnlyMany or ReadWriteMany. User
    65532 must be allowed to read its files."""


def covered(path: str, volumes: Iterable[Volume]) -> bool:
    """Whether an absolute path, which may be a glob, lies below the folder of a volume and cannot lead out of it."""
    if any(part in (".", "..") for part in path.split("/")):
        return False
    fixed = re.split(r"[*?\[{]", path, maxsplit=1)[0]
    return any(fixed.startswith(f"{volume.mount_path}/") or path == volume.mount_path for volume in volumes)


def nested(volumes: Iterable[Volume]) -> bool:
    """Whether two volumes have the same folder, or one lies in the other's."""
    paths = sorted(f"{volume.mount_path}/" for volume in volumes)
    return any(after.startswith(before) for before, after in itertools.pairwise(paths))


VOLUME_RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.volumes) || self.volumes.all(v, self.volumes.exists_one(w, "
        "(v.mountPath + '/').startsWith(w.mountPath + '/')))",
        lambda self: not nested(self.volumes),
        "two volumes have the same mountPath, or one mountPath lies in another: mount them side by side",
        field_path=".volumes",
    ),
    Rule(
        "",  # the list's type says so: it is a map by name
        lambda self: len({volume.name for volume in self.volumes}) == len(self.volumes),
        "two volumes have the same name",
        field_path=".volumes",
    ),
)
"""Rules of the model that has `volumes`."""
