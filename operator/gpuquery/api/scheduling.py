"""Where pods may run, as Kubernetes says it: affinity, tolerations and topology spread, field by field.

Names, required fields and allowed values are those of `core/v1` from Kubernetes 1.29 to 1.36; a test compares them with
the API server's own. A field that is not there would be taken by nobody: the API server refuses such pods with an error
that tells no user of the job, so the job is refused where it is applied. What is not set is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from gpuquery.api.names import LabelValue
from gpuquery.api.schema import Model

Key = Annotated[str, Field(max_length=317)]
"""Name of a label or of a taint, with its domain."""
Value = Annotated[str, Field(max_length=253)]
Values = Annotated[tuple[Value, ...], Field(max_length=64)]
Keys = Annotated[tuple[Key, ...], Field(max_length=16)]
Weight = Annotated[int, Field(ge=1, le=100)]


class NodeSelectorRequirement(Model):
    """One condition on a node."""

    key: Key
    """Label of the node."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How it is compared."""
    values: Values | None = None
    """What it is compared with."""


class NodeSelectorTerm(Model):
    """Conditions that must all hold."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=16)] | None = None
    """By the labels of the node."""
    match_fields: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=16)] | None = None
    """By fields of the node: metadata.name."""


class NodeSelector(Model):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=16)]
    """The terms."""


class PreferredSchedulingTerm(Model):
    """A term that is wished for."""

    weight: Weight
    """How much, 1 to 100."""
    preference: NodeSelectorTerm
    """The term."""


class NodeAffinity(Model):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredSchedulingTerm, ...], Field(max_length=16)] | None
    ) = None
    """What is wished for."""


class LabelSelectorRequirement(Model):
    """One condition on labels."""

    key: Key
    """Label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How it is compared."""
    values: Values | None = None
    """What it is compared with."""


class LabelSelector(Model):
    """Which objects, by their labels; all conditions must hold, and an empty one takes all."""

    match_labels: Annotated[Mapping[str, LabelValue], Field(max_length=32)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] | None = None
    """Other conditions."""


class PodAffinityTerm(Model):
    """Pods, and what counts as near them."""

    topology_key: Key
    """Label of nodes; those of one value are one place."""
    label_selector: LabelSelector | None = None
    """Which pods."""
    namespaces: Annotated[tuple[Value, ...], Field(max_length=16)] | None = None
    """Namespaces of these pods."""
    namespace_selector: LabelSelector | None = None
    """The same by labels."""
    match_label_keys: Keys | None = None
    """Labels that must be as the pod's own."""
    mismatch_label_keys: Keys | None = None
    """Labels that must not be so."""


class WeightedPodAffinityTerm(Model):
    """A term that is wished for."""

    weight: Weight
    """How much, 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """The term."""


class PodAffinity(Model):
    """Near which pods, or far from which."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PodAffinityTerm, ...], Field(max_length=16)] | None
    ) = None
    """What must hold."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[WeightedPodAffinityTerm, ...], Field(max_length=16)] | None
    ) = None
    """What is wished for."""


class Affinity(Model):
    """Affinity, as in a pod."""

    node_affinity: NodeAffinity | None = None
    """Which nodes."""
    pod_affinity: PodAffinity | None = None
    """Near which pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Far from which pods."""


class Toleration(Model):
    """A taint that the pods tolerate."""

    key: Key | None = None
    """Taint. Left out, with operator Exists: all taints."""
    operator: Literal["", "Exists", "Equal", "Lt", "Gt"] | None = None
    """How its value is compared; Lt and Gt where the cluster knows them. Left out: Equal."""
    value: Value | None = None
    """Its value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Its effect. Left out: all."""
    toleration_seconds: int | None = None
    """With NoExecute: for how long it is tolerated, in seconds."""


class TopologySpreadConstraint(Model):
    """How the pods are spread."""

    max_skew: Annotated[int, Field(ge=1)]
    """By how many pods two places may differ."""
    topology_key: Key
    """Label of nodes; those of one value are one place."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens where it cannot be had."""
    label_selector: LabelSelector | None = None
    """Which pods count."""
    match_label_keys: Keys | None = None
    """Labels that must be as the pod's own."""
    min_domains: Annotated[int, Field(ge=1)] | None = None
    """Least number of places."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes count that the pods may run on."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes count whose taints they tolerate."""
