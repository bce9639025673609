"""Reasons, failure classes and events: every word that a user meets in a status or an event, once.

A failure's class, never its text, decides what happens next: it carries the policy, and how far it reaches.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Self


class Policy(StrEnum):
    """What a failure of some class means for the next attempt."""

    NEVER = "Never"
    """The same attempt would fail again: no retry."""
    BUDGETED = "Budgeted"
    """May pass: retried with backoff, up to `spec.backoffLimit`."""
    FREE = "Free"
    """Not the job's fault (its node was taken away): retried without spending the budget, but not for ever."""
    RESUMED = "Resumed"
    """Ended on purpose (`spec.suspend`): another attempt begins once the job is resumed, and nothing is counted."""


class Reach(IntEnum):
    """How far a failure of some class reaches among those of one attempt; the least is the first cause."""

    CAUSE = 0
    """It says what went wrong, and no other failure explains it."""
    TAKEN = 1
    """Kubernetes took a pod away. A pod that failed by itself did so for a reason of its own."""
    LOSS = 2
    """A process or a pod is gone or silent; what became of it, it may say itself, or Kubernetes."""
    CONSEQUENCE = 3
    """What every process says whose partner is gone."""


class FailureClass(StrEnum):
    """A word for users that carries its policy and its reach: none can be defined without them."""

    policy: Policy
    """Whether another attempt may be made after a failure of this class."""
    reach: Reach
    """Whether another failure may explain it."""

    def __new__(cls, word: str, policy: Policy | None = None, reach: Reach | None = None) -> Self:
        """Define a class; with the word alone, as in `Failure("UserError")`, Python looks one up."""
        if policy is None or reach is None:
            raise TypeError(f'the failure class "{word}" needs a policy and a reach')
        made = str.__new__(cls, word)
        made._value_, made.policy, made.reach = word, policy, reach
        return made


class Failure(FailureClass):
    """Why an attempt failed; also the reason of the `Failed` condition.

    Docstrings are two paragraphs of the API reference: what it means, and the way out.
    """

    INVALID_QUERY = "InvalidQuery", Policy.NEVER, Reach.CAUSE
    """The query cannot be run: it does not parse, reads what is not declared, or its parameters do not fit.

    The message names line and column, and the names that are known. `gpuquery validate` finds most of these beforehand.
    """
    INVALID_COMBINATION = "InvalidCombination", Policy.NEVER, Reach.CAUSE
    """Engine, cluster, release and options do not fit together.

    The message names the field, its value, and the releases and engines that can do what was asked.
    """
    NOT_ALLOWED = "NotAllowed", Policy.NEVER, Reach.CAUSE
    """The job asks for what the administrator does not allow in its namespace.

    The message names the field, its value, what is allowed, and by which Helm value or annotation that was said. Ask
    for something else, or ask the administrator.
    """
    UNKNOWN_RELEASE = "UnknownRelease", Policy.NEVER, Reach.CAUSE
    """There is no such RAPIDS release, or this operator does not know it.

    The message lists those that it knows. Choose one of them in `runtime.release`, or install a newer operator.
    """
    LIMIT_EXCEEDED = "LimitExceeded", Policy.NEVER, Reach.CAUSE
    """The job is larger than this operator or this namespace allows: pods, GPUs, or the size of the spec itself.

    The message names the field, the maximum, and who can raise it.
    """
    RELEASE_MISMATCH = "ReleaseMismatch", Policy.NEVER, Reach.CAUSE
    """The image holds another RAPIDS release than the job asks for.

    Correct `runtime.release` or `runtime.image`: the message names both.
    """
    UNSUPPORTED_QUERY = "UnsupportedQuery", Policy.NEVER, Reach.CAUSE
    """The GPU engine of this release cannot run a part of the query.

    The message names the operation. Write it another way, choose another release, or `engine: cpu`.
    """
    SCHEMA_MISMATCH = "SchemaMismatch", Policy.NEVER, Reach.CAUSE
    """An input is not what its `schema` says.

    The message names every column that differs, with what was wanted and what was found. Correct the data or `schema`.
    """
    INVALID_INPUT = "InvalidInput", Policy.NEVER, Reach.CAUSE
    """An input cannot be read: no file matches, the files' schemas clash, or they are not of the declared format.

    The message names the input and the files. Correct `uri` or `format`.
    """
    USER_ERROR = "UserError", Policy.NEVER, Reach.CAUSE
    """The query was understood and failed: an unknown column, a failing cast, an exception of `query.python`.

    The message ends with the last frames of your own code. Run it on a sample with `gpuquery run`.
    """
    OUTPUT_EXISTS = "OutputExists", Policy.NEVER, Reach.CAUSE
    """`output.mode` is errorIfExists, and the table has a commit of another job.

    The message names its version. Choose another `output.uri`, or mode append or overwrite.
    """
    STORAGE_AUTH = "StorageAuth", Policy.NEVER, Reach.CAUSE
    """The object store refuses the credentials, or there are none.

    Check the keys of the Secret in `storage.secretName`, and that its user may read the inputs and write the output.
    """
    STORAGE_UNAVAILABLE = "StorageUnavailable", Policy.BUDGETED, Reach.CAUSE
    """The object store does not answer, or answers with errors, or nobody knows the host of `storage.endpoint`.

    Check `storage.endpoint` and `storage.region`; or wait until the store is back.
    """
    INVALID_ENDPOINT = "InvalidEndpoint", Policy.NEVER, Reach.CAUSE
    """No store can be where `storage.endpoint` says: there is no such host or port, what answers there is no HTTP
    server, or it speaks TLS where `http` is said.

    The message says which; most often it is `https://` for a port without TLS, or the other way round.
    """
    BUCKET_NOT_FOUND = "BucketNotFound", Policy.NEVER, Reach.CAUSE
    """The object store answers, but has no such bucket.

    Create the bucket, or correct its name in `output.uri` or in an input.
    """
    UNSAFE_STORE = "UnsafeStore", Policy.NEVER, Reach.CAUSE
    """The store, or the table's log in it, cannot be trusted: it ignores conditional writes, so that two jobs could
    both believe that they committed, or it holds a record that no runner writes.

    Use a store, or a newer version of it, that honours `If-None-Match: *` on PUT. Of a record the message says which it
    is and what is wrong with it: nothing was done about it, and the table's owner may delete it.
    """
    OUTPUT_LIMIT = "OutputLimit", Policy.NEVER, Reach.CAUSE
    """The result breaks a limit of the store or of the file system: a key too long, too many partitions.

    The message names the limit. Partition by fewer columns, or by values that are shorter.
    """
    HOST_OUT_OF_MEMORY = "HostOutOfMemory", Policy.BUDGETED, Reach.CAUSE
    """The query used more memory than its pod may.

    Raise `memory` in `workers.resources.limits`, or read fewer columns and rows.
    """
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory", Policy.BUDGETED, Reach.CAUSE
    """The query used more GPU memory than there is.

    Use more or larger GPUs, or read fewer columns and rows.
    """
    NO_GPU = "NoGpu", Policy.BUDGETED, Reach.CAUSE
    """A pod that asked for a GPU has none that works: no device, no driver, or one too old for the release.

    Look at the node's driver and device plugin, and at the RuntimeClass of the pods (`template.spec.runtimeClassName`).
    """
    GPU_ERROR = "GpuError", Policy.BUDGETED, Reach.CAUSE
    """A GPU reported an error while the query ran.

    Nothing to do if a retry succeeds. If it happens again on one node, look at the driver's log there (Xid errors).
    """
    TRANSPORT_ERROR = "TransportError", Policy.BUDGETED, Reach.CONSEQUENCE
    """The ranks of the query could not exchange data: UCX reported an error.

    Look at the network between the nodes and at `spec.network`.
    """
    RANK_STALLED = "RankStalled", Policy.BUDGETED, Reach.LOSS
    """A process of the query stopped making progress: it was frozen, or waited for something that never came.

    Nothing to do if a retry succeeds. If it happens again, look at the node that the message names.
    """
    PLANS_DIFFER = "PlansDiffer", Policy.BUDGETED, Reach.CAUSE
    """The ranks made different plans of the one query, which would wait for each other forever.

    Input files that changed meanwhile are read anew by the next attempt. A Python query must give the same plan in
    every process: no random numbers, no clock, no host names.
    """
    SCRATCH_FULL = "ScratchFull", Policy.BUDGETED, Reach.CAUSE
    """The pod's scratch volume is full: spilled data and files under way lie there.

    Raise `ephemeral-storage` in `workers.resources.limits`.
    """
    WORKER_LOST = "WorkerLost", Policy.BUDGETED, Reach.LOSS
    """A pod was killed or deleted, and nobody says why.

    Nothing to do if a retry succeeds. If it happens again, look at the node's log and at who deletes pods.
    """
    EVICTED = "Evicted", Policy.FREE, Reach.TAKEN
    """The pod's node was drained, lost or given to a pod of higher priority, or its batch Job was suspended.

    Nothing to do: such attempts do not count against `backoffLimit`. They follow each other after pauses that grow, and
    the twentieth ends the job. `template.spec.priorityClassName` makes them rarer.
    """
    SUSPENDED = "Suspended", Policy.RESUMED, Reach.CAUSE
    """The job was suspended (`spec.suspend`) while the attempt was under way. It stands in `status.attempts` only.

    Nothing to do: it counts against nothing. Once the job is resumed another attempt begins.
    """
    POD_REFUSED = "PodRefused", Policy.BUDGETED, Reach.CAUSE
    """The kubelet of its node refused the pod, which never ran: a policy of the node, a device plugin, or no room.

    The message is the kubelet's, with what to look at for its reason (AppArmor, UnexpectedAdmissionError,
    TopologyAffinityError, OutOfcpu and others).
    """
    IMAGE_PULL_FAILED = "ImagePullFailed", Policy.NEVER, Reach.CAUSE
    """The name of the image is not one.

    Correct `runtime.image`.
    """
    INVALID_PLAN = "InvalidPlan", Policy.NEVER, Reach.CAUSE
    """Image and operator do not fit together: the image knows another plan version, lacks the engine, or has no runner.

    Use the runtime image of the operator's own version.
    """
    CLUSTER_UNAVAILABLE = "ClusterUnavailable", Policy.NEVER, Reach.CAUSE
    """The Dask cluster that the job asks for cannot be had: it is not there, dask-kubernetes is not installed, or
    scheduler and client do not accept each other's certificates.

    The message says what is missing, which file is at fault, or what Dask says of the handshake. `dask.backend:
    native` needs none of these.
    """
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded", Policy.NEVER, Reach.CAUSE
    """The pods were not ready within `startDeadlineSeconds`.

    The message says what they were waiting for: free resources, an image, a Secret, a quota.
    """
    DEADLINE_EXCEEDED = "DeadlineExceeded", Policy.NEVER, Reach.CAUSE
    """The job did not end within `activeDeadlineSeconds`.

    Raise it (it may be changed while the job runs), or give the pods more resources.
    """
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded", Policy.NEVER, Reach.CAUSE
    """More than `backoffLimit` attempts failed.

    The message and `status.attempts` tell how each of them failed.
    """
    TEMPLATE_REJECTED = "TemplateRejected", Policy.NEVER, Reach.CAUSE
    """The API server refuses the pods for good, or `template` sets what belongs to the operator.

    The message is the API server's own. Correct `template`, or the policy of the namespace.
    """
    INTERNAL_ERROR = "InternalError", Policy.BUDGETED, Reach.CAUSE
    """A defect of GpuQuery or of a library.

    Please report it with the message and the log of the pod.
    """


class Reason(StrEnum):
    """Reasons of conditions that are not failures."""

    RESOLVED = "Resolved"
    """The spec was resolved to a plan; the message says to which and why."""
    PENDING = "Pending"
    """The job waits for what its spec refers to; the message names it."""
    TOO_MANY_JOBS = "TooManyJobs"
    """The namespace has as many jobs that have begun and not ended as it may: this one begins in its turn."""
    JOB_SUSPENDED = "JobSuspended"
    """`spec.suspend` is true, and nothing of the job runs."""
    JOB_RESUMED = "JobResumed"
    """`spec.suspend` was set to false again."""
    PASSED = "Passed"
    """The preflight found nothing that keeps the query from running; the message tells sizes and warnings."""
    IN_POD = "InPod"
    """The same checks run in the query's own pod before the engine starts; the condition becomes True when it has."""
    SKIPPED = "Skipped"
    """`spec.preflight` is `never`."""
    CHECKING = "Checking"
    """The preflight's pod is at work or on its way."""
    DRY_RUN = "DryRun"
    """`spec.dryRun`: the preflight passed, and nothing else was to be done."""
    STARTING = "Starting"
    """The pods are on their way."""
    UNSCHEDULABLE = "Unschedulable"
    """No node takes a pod; the message is the scheduler's."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The image cannot be pulled; the message is the kubelet's. It is tried again until the start deadline."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A ResourceQuota of the namespace has no room. It is tried again until the start deadline."""
    CREATION_REFUSED = "CreationRefused"
    """The API server refuses the attempt's pods for another reason than quota (pod security, an admission webhook)."""
    OPERATOR_ERROR = "OperatorError"
    """The operator cannot go on with this job; the message says why. It tries again, and deadlines hold."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    """`storage.secretName` or `dask.tlsSecretName`, or a key of it, is not there. The pods start as soon as it is.

    After two minutes they are given up, since they keep their nodes' resources from others."""
    CONTAINER_CANNOT_START = "ContainerCannotStart"
    """The kubelet cannot start the container; the message is the kubelet's."""
    SUSPENDED = "Suspended"
    """The batch Job is suspended, by a queue or by somebody, and gets no pods until it is resumed."""
    NAME_TAKEN = "NameTaken"
    """An object that the attempt needs cannot be made: one of its name belongs to somebody else. It is left alone."""
    DASK_CLUSTER_NOT_HANDLED = "DaskClusterNotHandled"
    """dask-kubernetes makes no pods for the DaskCluster of the attempt. It is waited for until the start deadline."""
    DASK_CLUSTER_IN_USE = "DaskClusterInUse"
    """The Dask cluster that the job names runs the query of another job. It is waited for until the start deadline."""
    POD_READY = "PodReady"
    """The pod of a query that runs as one process is ready."""
    ALL_RANKS_JOINED = "AllRanksJoined"
    """All pods of a distributed query are ready."""
    NOT_STARTED = "NotStarted"
    """It is not time for this yet."""
    QUERY_RUNNING = "QueryRunning"
    """The query process is at work."""
    PROGRESS_UNREADABLE = "ProgressUnreadable"
    """The pods are ready, but the operator cannot read their progress (a network policy?). The query may well run."""
    RETRYING = "Retrying"
    """An attempt failed, and another will follow."""
    RELEASING = "Releasing"
    """The outcome is known, but pods of the job are still alive."""
    ENDED = "Ended"
    """The job has ended."""
    COMMITTED = "Committed"
    """The commit record exists, as the report of a pod says."""
    UNCONFIRMED = "Unconfirmed"
    """A pod told of a commit while it ran. That is a hint: its report counts, which has not come, or never will."""
    NOT_COMMITTED = "NotCommitted"
    """This job has committed nothing."""
    IN_PROGRESS = "InProgress"
    """The job has not ended."""
    COMPLETED = "Completed"
    """The output is committed and published, and no pod is alive."""
    FAILED = "Failed"
    """The job failed; the `Failed` condition says why."""


class Event(StrEnum):
    """Reasons of the events that the operator posts on a GpuQueryJob."""

    PLANNED = "Planned"
    """The spec was resolved: engine, pods, and why."""
    REJECTED = "Rejected"
    """The spec cannot be run, whoever tries."""
    DEPRECATED = "Deprecated"
    """The spec uses a field that a later version will not have; the message names its successor."""
    DEFAULT_CHANGES = "DefaultChanges"
    """The engine was left to a default that a coming release changes."""
    PREFLIGHT_PASSED = "PreflightPassed"
    """The query was checked without a GPU: sizes, and what the author should know."""
    PREFLIGHT_FAILED = "PreflightFailed"
    """The query cannot run: the class and the finding, in place of `Failed`. Or the preflight's pod was lost, and
    another will follow. No GPU was asked for."""
    ATTEMPT_STARTED = "AttemptStarted"
    """The pods of an attempt were asked for."""
    ATTEMPT_FAILED = "AttemptFailed"
    """An attempt failed and another will follow: class, first cause, node."""
    SUSPENDED = "Suspended"
    """The job is suspended, and nothing of it runs."""
    RESUMED = "Resumed"
    """The job was resumed."""
    STATUS_CORRECTED = "StatusCorrected"
    """Somebody else had written a status that contradicts itself; it was derived anew from what there is."""
    OUTPUT_COMMITTED = "OutputCommitted"
    """A report tells of the commit, while pods are still at work. Most jobs go straight to `Complete`."""
    QUERY_WARNING = "QueryWarning"
    """What the query's author should know about the result, such as decimals that lose digits."""
    CANNOT_START = "CannotStart"
    """Something holds the pods up; the message says what."""
    HISTORY_LIMIT = "HistoryLimit"
    """The finished job is deleted, for the namespace has as many as are kept that ended after it. Its output stays."""
    COMPLETE = "Complete"
    """The job is complete: version, rows, duration, attempts."""
    FAILED = "Failed"
    """The job has failed: reason and message of the `Failed` condition."""
