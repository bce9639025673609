"""The operator has the rights that its code uses, and none beside: read off its source, and compared with the chart."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gpuquery.api.labels import DASK_KIND
from gpuquery.kube.client import BY_KIND, Resource
from gpuquery.reconcile.observe.children import CALLED
from tests.unit.project.test_chart import rules
from tools.kubectl import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = [
    path for part in ("app", "kube", "reconcile") for path in (ROOT / "operator" / "gpuquery" / part).rglob("*.py")
]
VERBS = {
    "get": "get", "_exists": "get", "list": "list", "list_metadata": "list", "digested": "list", "pages": "list",
    "delete": "delete", "delete_whole": "delete", "merge": "patch",
}  # fmt: skip
MADE = {kind: resource for kind, resource in BY_KIND.items() if kind != DASK_KIND}
"""What `reconcile/apply.py` makes, or looks at where it is there already; but for the token, which nobody reads."""
Right = tuple[str, str, str]
"""API group, resource, verb."""


def right(resource: Resource, verb: str, subresource: str = "") -> Right:
    path, plural = resource.value
    group = path.removeprefix("apis/").rpartition("/")[0] if path.startswith("apis/") else ""
    return group, plural + subresource, verb


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield name, node


def named(call: ast.Call) -> Resource | None:
    """The resource that a call names among its arguments."""
    for argument in call.args:
        if isinstance(argument, ast.Attribute) and getattr(argument.value, "id", "") == "Resource":
            return Resource[argument.attr]
    return None


def used() -> set[Right]:
    """Every right that some call needs."""
    found: set[Right] = set()
    for name, call in calls():
        resource = named(call)
        if name in VERBS and resource is not None:
            found.add(right(resource, VERBS[name]))
        elif name == "Scope":
            followed = [resource] if resource is not None else CALLED
            found |= {right(each, verb) for each in followed for verb in ("list", "watch")}
        elif name == "_dask_cluster":
            found.add(right(Resource.DASK_CLUSTERS, "create"))
        elif name == "_made":
            found |= {right(made, "create") for made in MADE.values()}
            found |= {right(made, "get") for kind, made in MADE.items() if kind != "Secret"}
        elif name == "apply_status":
            found.add(right(Resource.JOBS, "patch", "/status"))
        elif name == "create_event":
            found.add(right(Resource.EVENTS, "create"))
        elif name == "LeaderElection":
            found |= {right(Resource.LEASES, verb) for verb in ("get", "create", "update")}
    # An owner reference that blocks deletion asks for it: see `owner` in render/attempt.py.
    return found | {right(Resource.JOBS, "update", "/finalizers")}


def test_every_right_that_the_chart_gives_is_used_and_every_one_that_is_used_is_given() -> None:
    both = 'dask={"operator":{"enabled":true},"attach":{"enabled":true}}'
    given = {(group, resource, verb) for (group, resource), verbs in rules(both).items() for verb in verbs}
    assert given - used() == set(), "rights that nothing uses"
    assert used() - given == set(), "rights that are missing"


def test_nothing_of_others_can_be_changed_or_deleted() -> None:
    changing = {"update", "patch", "delete", "deletecollection"}
    for (group, resource), verbs in rules().items():
        if changing & verbs:
            owned = {"gpuqueryjobs", "gpuqueryjobs/status", "gpuqueryjobs/finalizers", "jobs", "leases"}
            assert resource in owned, (group, resource)
