"""Places: which URIs and endpoints a job may name, as far as the job itself shows it.

What only the network shows, such as the address of a name, is checked in the pod (runner/stores).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.stores import hands_out_roles
from gpuquery.api.volumes import covered
from gpuquery.plan.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.types import GpuQueryJob

METADATA = "is a metadata service or another link-local address, which no job may reach"


def refused(job: GpuQueryJob, *, local: bool) -> Iterator[Rejected]:
    """Refuse places that no pod can, or may, read or write; `local` is for a process without a pod."""
    for field, url in job.spec.storage.endpoints.items():
        if hands_out_roles(_host(url)):
            yield Rejected(Failure.INVALID_ENDPOINT, f'{field} is "{url}", which {METADATA}: name a store')
    for item in job.spec.inputs:
        for uri in item.places:
            if why := _input(uri, job, local=local):
                yield Rejected(Failure.INVALID_INPUT, f"inputs[{item.name}].{'uris' if item.uris else 'uri'} {why}")
    for uri in job.spec.output.places:
        if uri.startswith("az://") and (why := _input(uri, job, local=local)):
            yield Rejected(Failure.INVALID_INPUT, f"output.uri {why}")
        if uri.startswith("file://") and not local:
            yield Rejected(
                Failure.INVALID_INPUT,
                f"output.uri is {uri!r}: a pod has no such file, and volumes are only read: write it to a store, or "
                "run the job on your machine with `gpuquery run`",
            )


def _input(uri: str, job: GpuQueryJob, *, local: bool) -> str:
    """Return what is wrong with an input's URI; empty if nothing is."""
    storage, volumes = job.spec.storage, job.spec.template.spec.volumes
    scheme = uri.partition("://")[0]
    match scheme:
        case "file" if not local and not covered(uri.removeprefix("file://"), volumes):
            mounted = ", ".join(volume.mount_path for volume in volumes) or "none"
            return (
                f"is {uri!r}: a pod has no such file, because it lies below no mountPath of template.spec.volumes "
                f"({mounted}): mount a claim that holds it, copy it to a store, or run the job on your machine with "
                "`gpuquery run`"
            )
        case "file" if not local and job.spec.dask is not None and job.spec.dask.attaches:
            return (
                f"is {uri!r}, and the workers of a running Dask cluster have no volumes of the job: use dask.backend "
                '"native" or "operator", or copy it to a store'
            )
        case "az" if storage.az is None or storage.az.account is None:
            return (
                f"is {uri!r}, and the storage account is not known: set storage.az.account, or write "
                "abfss://container@account.dfs.core.windows.net/path"
            )
        case "http" if not storage.allow_http:
            return f"is {_bare(uri)!r}, which is not encrypted: write https://, or set storage.allowHttp: true"
        case "http" | "https":
            return _web(uri)
    return ""


def _web(uri: str) -> str:
    """Return what is wrong with the URI of a single file."""
    path = urlsplit(uri).path
    if re.search(r"[?#]", uri):
        return (
            f"is {_bare(uri)!r} with a query: everybody who may read the job would see a key in it, and `?` is no "
            "glob here: put the whole URL into the Secret in storage.secretName (HTTPS_AUTH_URLS), and name the file "
            "without its query"
        )
    if path in ("", "/") or path.endswith("/") or re.search(r"[*\[\]{}]", uri):
        return f"is {uri!r}, and a web server does not list its files: name each file in uris, or copy them to a store"
    if hands_out_roles(_host(uri)):
        return f"is {uri!r}, which {METADATA}: name another host"
    return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _bare(uri: str) -> str:
    return re.split(r"[?#]", uri, maxsplit=1)[0]
