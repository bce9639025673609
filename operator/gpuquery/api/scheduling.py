"""Where pods may run, in Kubernetes' own fields: affinity, tolerations and topology spread.

Names, required fields and allowed values are those of `core/v1` from Kubernetes 1.29 to 1.36; a test compares them with
the API server's own. The API server refuses pods with unknown fields, with an error that no author of a job sees, so
such a job is refused when it is applied. Fields that are not set are not sent.
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
    """The comparison."""
    values: Values | None = None
    """The values to compare with."""


class NodeSelectorTerm(Model):
    """Conditions that must all hold."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=16)] | None = None
    """By the labels of the node."""
    match_fields: Annotated[tuple[NodeSelectorRequirement, ...], Field(max_length=16)] | None = None
    """By fields of the node: metadata.name."""


class NodeSelector(Model):
    """Terms of which at least one must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=16)]
    """Terms."""


class PreferredSchedulingTerm(Model):
    """A preferred term."""

    weight: Weight
    """Its weight, 1 to 100."""
    preference: NodeSelectorTerm
    """The term."""


class NodeAffinity(Model):
    """Which nodes to run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Required terms."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PreferredSchedulingTerm, ...], Field(max_length=16)] | None
    ) = None
    """Preferred terms."""


class LabelSelectorRequirement(Model):
    """One condition on labels."""

    key: Key
    """Label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """The comparison."""
    values: Values | None = None
    """The values to compare with."""


class LabelSelector(Model):
    """Selects objects by their labels; all conditions must hold, and an empty selector selects all."""

    match_labels: Annotated[Mapping[str, LabelValue], Field(max_length=32)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], Field(max_length=16)] | None = None
    """Conditions."""


class PodAffinityTerm(Model):
    """Pods, and which nodes count as near them."""

    topology_key: Key
    """Label of nodes; nodes with the same value are one place."""
    label_selector: LabelSelector | None = None
    """Which pods."""
    namespaces: Annotated[tuple[Value, ...], Field(max_length=16)] | None = None
    """Namespaces of these pods."""
    namespace_selector: LabelSelector | None = None
    """Namespaces of these pods, by their labels."""
    match_label_keys: Keys | None = None
    """Labels whose values must be the same as the pod's own."""
    mismatch_label_keys: Keys | None = None
    """Labels whose values must differ from the pod's own."""


class WeightedPodAffinityTerm(Model):
    """A preferred term."""

    weight: Weight
    """Its weight, 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """The term."""


class PodAffinity(Model):
    """Which pods to be near to, or far from."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[tuple[PodAffinityTerm, ...], Field(max_length=16)] | None
    ) = None
    """Required terms."""
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[tuple[WeightedPodAffinityTerm, ...], Field(max_length=16)] | None
    ) = None
    """Preferred terms."""


class Affinity(Model):
    """Affinity, as in a pod."""

    node_affinity: NodeAffinity | None = None
    """Which nodes to run on."""
    pod_affinity: PodAffinity | None = None
    """Which pods to be near to."""
    pod_anti_affinity: PodAffinity | None = None
    """Which pods to be far from."""


class Toleration(Model):
    """A taint that the pods tolerate."""

    key: Key | None = None
    """Taint. Default with operator Exists: all taints."""
    operator: Literal["", "Exists", "Equal", "Lt", "Gt"] | None = None
    """How its value is compared; Lt and Gt if the cluster supports them. Default: Equal."""
    value: Value | None = None
    """Its value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Its effect. Default: all."""
    toleration_seconds: int | None = None
    """With NoExecute: how long it is tolerated, in seconds."""


class TopologySpreadConstraint(Model):
    """How pods are spread over places."""

    max_skew: Annotated[int, Field(ge=1)]
    """Maximum difference in the number of pods between two places."""
    topology_key: Key
    """Label of nodes; nodes with the same value are one place."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    """What happens if the constraint cannot be met."""
    label_selector: LabelSelector | None = None
    """Which pods count."""
    match_label_keys: Keys | None = None
    """Labels whose values must be the same as the pod's own."""
    min_domains: Annotated[int, Field(ge=1)] | None = None
    """Minimum number of places."""
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes on which the pods may run count."""
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    """Whether only nodes whose taints the pods tolerate count."""
