"""Reasons, failure classes and events: all words of statuses and events that users see.

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
    """Not the job's fault (preempted, or its node was lost): retried without using the budget, but not forever."""
    RESUMED = "Resumed"
    """Ended on purpose (`spec.suspend`): another attempt starts once the job is resumed, and nothing is counted."""


class Reach(IntEnum):
    """How far a failure of some class reaches among those of one attempt; the least is the first cause."""

    CAUSE = 0
    """It says what went wrong, and no other failure explains it."""
    TAKEN = 1
    """Kubernetes took a pod away. A pod that failed by itself did so for a reason of its own."""
    LOSS = 2
    """A process or a pod is gone or silent; its own report, or Kubernetes, may say why."""
    CONSEQUENCE = 3
    """What every process reports that has lost its partner."""


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

    Docstrings become two parts of the API reference: the meaning, and the way out.
    """

    INVALID_QUERY = "InvalidQuery", Policy.NEVER, Reach.CAUSE
    """The query cannot run: it does not parse, reads undeclared tables, or its parameters do not fit.

    The message has line and column, and the known names. `gpuquery validate` finds most of these errors beforehand.
    """
    INVALID_COMBINATION = "InvalidCombination", Policy.NEVER, Reach.CAUSE
    """Engine, cluster, release and options do not fit together.

    The message names the field, its value, and the releases and engines that can do what was asked.
    """
    NOT_ALLOWED = "NotAllowed", Policy.NEVER, Reach.CAUSE
    """The job asks for something that the administrator does not allow in its namespace.

    The message names the field, its value, what is allowed, and the Helm value or annotation that says so. Choose
    something that is allowed, or ask the administrator.
    """
    UNKNOWN_RELEASE = "UnknownRelease", Policy.NEVER, Reach.CAUSE
    """There is no such RAPIDS release, or this operator does not know it.

    The message lists the known ones. Choose one of them in `runtime.release`, or install a newer operator.
    """
    LIMIT_EXCEEDED = "LimitExceeded", Policy.NEVER, Reach.CAUSE
    """The job is larger than this operator or this namespace allows: pods, GPUs, or the size of the spec itself.

    The message names the field, the maximum, and the person who can raise it.
    """
    RELEASE_MISMATCH = "ReleaseMismatch", Policy.NEVER, Reach.CAUSE
    """The image holds another RAPIDS release than the job asks for.

    Correct `runtime.release` or `runtime.image`: the message names both.
    """
    UNSUPPORTED_QUERY = "UnsupportedQuery", Policy.NEVER, Reach.CAUSE
    """The GPU engine of this release cannot run a part of the query.

    The message names the operation. Rewrite it, choose another release, or use `engine: cpu`.
    """
    SCHEMA_MISMATCH = "SchemaMismatch", Policy.NEVER, Reach.CAUSE
    """An input does not match its `schema`.

    The message lists every column that differs, with the expected and the actual type. Correct the data or `schema`.
    """
    INVALID_INPUT = "InvalidInput", Policy.NEVER, Reach.CAUSE
    """An input cannot be read: no file matches, the files' schemas clash, or they are not of the declared format.

    The message names the input and the files. Correct `uri` or `format`.
    """
    INPUT_CHANGED = "InputChanged", Policy.BUDGETED, Reach.CAUSE
    """A file of an input was deleted, replaced or written to while the query ran, so the result might mix two states.
    Nothing was committed.

    The message names the file. The next attempt reads the files that are there then. If it repeats, run the job when
    nobody writes there, or read a table format: a snapshot does not change.
    """
    USER_ERROR = "UserError", Policy.NEVER, Reach.CAUSE
    """The query is valid but failed: an unknown column, a failed cast, an exception of `query.python`.

    The message ends with the last frames of your own code. Run it on a sample with `gpuquery run`.
    """
    OUTPUT_EXISTS = "OutputExists", Policy.NEVER, Reach.CAUSE
    """`output.mode` is errorIfExists, and the table has a commit of another job.

    The message names its version. Choose another `output.uri` or `output.table`, or another mode.
    """
    STORAGE_AUTH = "StorageAuth", Policy.NEVER, Reach.CAUSE
    """The object store refuses the credentials, or there are none.

    Check the keys of the Secret in `storage.secretName`, and that its user may read the inputs and write the output.
    """
    STORAGE_UNAVAILABLE = "StorageUnavailable", Policy.BUDGETED, Reach.CAUSE
    """The object store does not answer, or answers with errors, or the host of `storage.endpoint` is unknown.

    Check `storage.endpoint` and `storage.region`, or wait until the store is back.
    """
    INVALID_ENDPOINT = "InvalidEndpoint", Policy.NEVER, Reach.CAUSE
    """There can be no store at `storage.endpoint`: there is no such host or port, the server does not speak HTTP, or it
    uses TLS although the address begins with `http`.

    The message says which. The usual cause is `https://` for a port without TLS, or the other way round.
    """
    BUCKET_NOT_FOUND = "BucketNotFound", Policy.NEVER, Reach.CAUSE
    """The object store answers, but has no such bucket.

    Create the bucket, or correct its name in `output.uri` or in an input.
    """
    UNSAFE_STORE = "UnsafeStore", Policy.NEVER, Reach.CAUSE
    """The store, or the table's log in it, cannot be trusted: the store ignores conditional writes, so two jobs could
    both believe that they committed, or the log has a record that no runner writes.

    Use a store, or a newer version of it, that honours `If-None-Match: *` on PUT. For a record, the message says which
    one it is and what is wrong with it. The record was not carried out, and the table's owner may delete it.
    """
    OUTPUT_LIMIT = "OutputLimit", Policy.NEVER, Reach.CAUSE
    """The result exceeds a limit of the store or the file system, or of what `output.expect` can check: a key is too
    long, there are too many partitions, or an expectation would hold too much in memory.

    The message names the limit. Partition by fewer columns, or by shorter values; write the expectation in another way.
    """
    EXPECTATION_FAILED = "ExpectationFailed", Policy.NEVER, Reach.CAUSE
    """The result does not meet `output.expect`. Nothing was published.

    The message names every expectation that does not hold, with the numbers. Correct the query or its inputs, or the
    expectation.
    """
    HOST_OUT_OF_MEMORY = "HostOutOfMemory", Policy.BUDGETED, Reach.CAUSE
    """The query exceeded the memory limit of its pod.

    Raise `memory` in `workers.resources.limits`, or read fewer columns and rows.
    """
    GPU_OUT_OF_MEMORY = "GpuOutOfMemory", Policy.BUDGETED, Reach.CAUSE
    """The query needed more GPU memory than there is.

    Use more or larger GPUs, or read fewer columns and rows.
    """
    NO_GPU = "NoGpu", Policy.BUDGETED, Reach.CAUSE
    """A pod that requested a GPU has no working one: no device, no driver, or a driver that is too old for the release.

    Check the node's driver and device plugin, and the RuntimeClass of the pods (`template.spec.runtimeClassName`).
    """
    GPU_ERROR = "GpuError", Policy.BUDGETED, Reach.CAUSE
    """A GPU reported an error while the query ran.

    Nothing to do if a retry succeeds. If it repeats on one node, look at the driver's log there (Xid errors).
    """
    TRANSPORT_ERROR = "TransportError", Policy.BUDGETED, Reach.CONSEQUENCE
    """The ranks of the query could not exchange data: UCX reported an error.

    Check the network between the nodes, and `spec.network`.
    """
    RANK_STALLED = "RankStalled", Policy.BUDGETED, Reach.LOSS
    """A process of the query stopped making progress: it was frozen, or waited for something that never came.

    Nothing to do if a retry succeeds. If it repeats, look at the node that the message names.
    """
    PLANS_DIFFER = "PlansDiffer", Policy.BUDGETED, Reach.CAUSE
    """The ranks made different plans for one query, and would wait for each other forever.

    If input files changed meanwhile, the next attempt reads them again. A Python query must give the same plan in every
    process: no random numbers, no clock, no host names.
    """
    SCRATCH_FULL = "ScratchFull", Policy.BUDGETED, Reach.CAUSE
    """The pod's scratch volume is full. It holds spilled data and files that are being written.

    Raise `ephemeral-storage` in `workers.resources.limits`.
    """
    WORKER_LOST = "WorkerLost", Policy.BUDGETED, Reach.LOSS
    """A pod was killed or deleted, and the cause is unknown.

    Nothing to do if a retry succeeds. If it repeats, look at
    the node's log, and find out who deletes pods.
    """
    EVICTED = "Evicted", Policy.FREE, Reach.TAKEN
    """The pod's node was drained or lost, the pod was preempted by one of higher priority, or its batch Job was
    suspended.

    Nothing to do: such attempts do not count against `backoffLimit`. The pauses between them grow, and the twentieth
    ends the job. `template.spec.priorityClassName` makes them rarer.
    """
    SUSPENDED = "Suspended", Policy.RESUMED, Reach.CAUSE
    """The job was suspended (`spec.suspend`) while the attempt ran. Only `status.attempts` shows it.

    Nothing to do: it does not count. Another attempt starts once the job is resumed.
    """
    POD_REFUSED = "PodRefused", Policy.BUDGETED, Reach.CAUSE
    """The kubelet of its node refused the pod, which never ran: because of a node policy, a device plugin, or no room.

    The message is the kubelet's, with hints for its reason (AppArmor, UnexpectedAdmissionError, TopologyAffinityError,
    OutOfcpu and others).
    """
    IMAGE_PULL_FAILED = "ImagePullFailed", Policy.NEVER, Reach.CAUSE
    """The name of the image is not valid.

    Correct `runtime.image`.
    """
    INVALID_PLAN = "InvalidPlan", Policy.NEVER, Reach.CAUSE
    """Image and operator do not fit together: the image knows another plan version, lacks the engine, or has no runner.

    Use the runtime image of the operator's own version.
    """
    CLUSTER_UNAVAILABLE = "ClusterUnavailable", Policy.NEVER, Reach.CAUSE
    """The Dask cluster that the job asks for is not available: it does not exist, dask-kubernetes is not installed, or
    scheduler and client do not accept each other's certificates.

    The message says what is missing, which file is wrong, or what Dask reports about the handshake.
    `dask.backend: native` needs none of these.
    """
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded", Policy.NEVER, Reach.CAUSE
    """The pods were not ready within `startDeadlineSeconds`.

    The message says what they were waiting for: free resources, an image, a Secret, a quota.
    """
    DEADLINE_EXCEEDED = "DeadlineExceeded", Policy.NEVER, Reach.CAUSE
    """The job did not end within `activeDeadlineSeconds`.

    Raise it (also while the job runs), or give the pods more resources.
    """
    BACKOFF_LIMIT_EXCEEDED = "BackoffLimitExceeded", Policy.NEVER, Reach.CAUSE
    """More than `backoffLimit` attempts failed.

    The message and `status.attempts` say how each of them failed.
    """
    TEMPLATE_REJECTED = "TemplateRejected", Policy.NEVER, Reach.CAUSE
    """The API server will always refuse the pods, or `template` sets something that belongs to the operator.

    The message is the API server's own. Correct `template`, or the policy of the namespace.
    """
    INTERNAL_ERROR = "InternalError", Policy.BUDGETED, Reach.CAUSE
    """A defect of GpuQuery or of a library.

    Please report it with the message and the log of the pod.
    """


class Reason(StrEnum):
    """Reasons of conditions that are not failures."""

    RESOLVED = "Resolved"
    """The spec was resolved to a plan; the message says which and why."""
    PENDING = "Pending"
    """The job waits for an object that its spec refers to; the message names it."""
    TOO_MANY_JOBS = "TooManyJobs"
    """The namespace has as many unfinished jobs as it may: this job starts when it is its turn."""
    JOB_SUSPENDED = "JobSuspended"
    """`spec.suspend` is true, and nothing of the job runs."""
    JOB_RESUMED = "JobResumed"
    """`spec.suspend` was set to false again."""
    PASSED = "Passed"
    """The preflight found nothing that prevents the query from running; the message has sizes and warnings."""
    IN_POD = "InPod"
    """The same checks run in the query's own pod before the engine starts; then the condition becomes True."""
    SKIPPED = "Skipped"
    """`spec.preflight` is `never`."""
    CHECKING = "Checking"
    """The preflight's pod runs or is being started."""
    DRY_RUN = "DryRun"
    """`spec.dryRun`: the preflight passed, and there was nothing else to do."""
    STARTING = "Starting"
    """The pods are being started."""
    UNSCHEDULABLE = "Unschedulable"
    """No node takes a pod; the message is the scheduler's."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The image cannot be pulled; the message is the kubelet's. Kubernetes keeps trying until the start deadline."""
    QUOTA_EXCEEDED = "QuotaExceeded"
    """A ResourceQuota of the namespace has no room. Kubernetes keeps trying until the start deadline."""
    CREATION_REFUSED = "CreationRefused"
    """The API server refuses the attempt's pods for a reason other than quota (pod security, an admission webhook)."""
    OPERATOR_ERROR = "OperatorError"
    """The operator cannot continue with this job; the message says why. It tries again, and deadlines hold."""
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    """`storage.secretName` or `dask.tlsSecretName`, or a key of it, does not exist. The pods start as soon as it
    does.

    After two minutes the operator gives up, because waiting pods hold resources of their nodes."""
    CONTAINER_CANNOT_START = "ContainerCannotStart"
    """The kubelet cannot start the container; the message is the kubelet's."""
    SUSPENDED = "Suspended"
    """A queue or somebody else suspended the batch Job, which gets no pods until it is resumed."""
    NAME_TAKEN = "NameTaken"
    """An object that the attempt needs cannot be created: somebody else's object has its name, and is left alone."""
    DASK_CLUSTER_NOT_HANDLED = "DaskClusterNotHandled"
    """dask-kubernetes creates no pods for the DaskCluster of the attempt. The job waits until the start deadline."""
    DASK_CLUSTER_IN_USE = "DaskClusterInUse"
    """The Dask cluster that the job names runs the query of another job. The job waits until the start deadline."""
    POD_READY = "PodReady"
    """The pod of a query that runs as one process is ready."""
    ALL_RANKS_JOINED = "AllRanksJoined"
    """All pods of a distributed query are ready."""
    NOT_STARTED = "NotStarted"
    """This has not started yet."""
    QUERY_RUNNING = "QueryRunning"
    """The query's process runs."""
    PROGRESS_UNREADABLE = "ProgressUnreadable"
    """The pods are ready, but the operator cannot read their progress (a NetworkPolicy?). The query may be running."""
    RETRYING = "Retrying"
    """An attempt failed, and another will follow."""
    RELEASING = "Releasing"
    """The outcome is known, but pods of the job are still alive."""
    ENDED = "Ended"
    """The job has ended."""
    COMMITTED = "Committed"
    """The commit record exists, according to the report of a pod."""
    UNCONFIRMED = "Unconfirmed"
    """A pod reported a commit while it ran. That is only a hint: its final report counts, which has not arrived yet, or
    never will."""
    NOT_COMMITTED = "NotCommitted"
    """This job has committed nothing."""
    SAME_RESULT = "SameResult"
    """The commit of an earlier job is the result of this query."""
    NOT_THE_SAME = "NotTheSame"
    """No earlier commit is the result of this query; the message says what differs first."""
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
    """The spec can never run."""
    DEPRECATED = "Deprecated"
    """The spec uses a field that a later version removes; the message names its successor."""
    DEFAULT_CHANGES = "DefaultChanges"
    """The engine was left to a default that a coming release changes."""
    PREFLIGHT_PASSED = "PreflightPassed"
    """The query was checked without a GPU: sizes, and what the author should know."""
    PREFLIGHT_FAILED = "PreflightFailed"
    """The query cannot run: class and cause, instead of an event `Failed`. Or the preflight's pod was lost, and another
    follows. No GPU was requested."""
    ATTEMPT_STARTED = "AttemptStarted"
    """The pods of an attempt were requested."""
    ATTEMPT_FAILED = "AttemptFailed"
    """An attempt failed and another follows: class, first cause, node."""
    SUSPENDED = "Suspended"
    """The job is suspended, and nothing of it runs."""
    RESUMED = "Resumed"
    """The job was resumed."""
    STATUS_CORRECTED = "StatusCorrected"
    """Somebody else wrote a status that contradicts itself; the operator corrected it from the observed state."""
    OUTPUT_COMMITTED = "OutputCommitted"
    """A report says that the output is committed, while pods are still running. Most jobs go straight to `Complete`."""
    QUERY_WARNING = "QueryWarning"
    """What the query's author should know about the result, such as decimals that lose digits."""
    CANNOT_START = "CannotStart"
    """Something keeps the pods from starting; the message says what."""
    HISTORY_LIMIT = "HistoryLimit"
    """The finished job is deleted, because the namespace has too many finished jobs that are newer. Its output
    stays."""
    COMPLETE = "Complete"
    """The job is complete: version, rows, duration, attempts."""
    FAILED = "Failed"
    """The job has failed: reason and message of the `Failed` condition."""
