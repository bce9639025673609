"""Dask: which plans run on a Dask cluster, whose it is, with which workers, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.status import GpuQueryJobStatus, PlanStatus, PreflightStatus
from gpuquery.plan import releases
from gpuquery.plan.checks import Place, place
from gpuquery.plan.dask import flags
from gpuquery.plan.dask.layout import KEPT
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import DaskWay, Plan, Processes
from gpuquery.plan.resolve import Rejected, plan_json, plan_status, resolve
from tests.support.kube_objects import PYTHON, UID, job

ALL = Defaults(
    runtime_image="rt:cpu", runtime_image_pattern="rt:{release}", dask_operator=True, dask_attach=True, gpus=8
)
NONE = ALL.model_copy(update={"dask_operator": False, "dask_attach": False})
OPERATOR = {"backend": "operator"}
WARM = {"clusterRef": {"name": "warm"}}
NAME = f"revenue-{UID[:5]}-1"
GB = 10**9


def planned(defaults: Defaults = ALL, status: GpuQueryJobStatus | None = None, **spec: Any) -> Plan:
    found = resolve(job(status=status, **spec), defaults)
    assert isinstance(found, Plan), found
    return found


def told(defaults: Defaults = ALL, status: GpuQueryJobStatus | None = None, **spec: Any) -> PlanStatus:
    return plan_status(planned(defaults, status, **spec), job(status=status, **spec), defaults)


def refusal(defaults: Defaults = ALL, **spec: Any) -> str:
    found = resolve(job(**spec), defaults)
    assert isinstance(found, Rejected), found
    return f"{found.reason}: {found.message}"


def checked(read: int) -> GpuQueryJobStatus:
    return GpuQueryJobStatus(preflight=PreflightStatus(polars="1", input_bytes=read, peak_bytes=read, basis="footers"))


MANY: dict[str, Any] = {"workers": {"replicas": 2, "gpus": 4}}
SHAPES: list[Any] = [
    pytest.param(
        {"engine": "tasks", "cluster": "distributed", "runtime": {"release": "25.08"}, "query": PYTHON, **MANY},
        (Processes.PODS, 2, 4, DaskWay.NATIVE, 8, "ucxx"),
        id="task graphs on several GPUs need Dask, and 25.08 knows ucxx alone",
    ),
    pytest.param(
        {"engine": "rapidsmpf", "runtime": {"release": "26.04"}, **MANY},
        (Processes.PODS, 2, 4, DaskWay.NATIVE, 8, "ucx"),
        id="so does rapidsmpf of 26.04",
    ),
    pytest.param(
        {"engine": "rapidsmpf", "dask": {}, **MANY},
        (Processes.PODS, 2, 4, DaskWay.NATIVE, 8, "ucx"),
        id="a later release where it is asked for",
    ),
    pytest.param(
        {"dask": OPERATOR, "workers": {"replicas": 8}},
        (Processes.ONE, 1, 1, DaskWay.OPERATOR, 8, "ucx"),
        id="a DaskCluster: eight workers, and a client with a GPU of its own",
    ),
    pytest.param(
        {"dask": OPERATOR},
        (Processes.ONE, 1, 1, DaskWay.OPERATOR, 8, "ucx"),
        id="as many workers as the pods would have had GPUs",
    ),
    pytest.param(
        {"dask": WARM}, (Processes.ONE, 1, 1, DaskWay.ATTACH, 1, "tcp"), id="a warm cluster: one worker is enough"
    ),
    pytest.param(
        {"dask": {"schedulerAddress": "ucx://10.0.0.7:8786"}, **MANY},
        (Processes.ONE, 1, 1, DaskWay.ATTACH, 8, "ucx"),
        id="a scheduler: at least eight workers",
    ),
]


@pytest.mark.parametrize(("spec", "want"), SHAPES)
def test_what_an_attempt_is_made_of(spec: dict[str, Any], want: tuple[Any, ...]) -> None:
    plan = planned(**spec)
    assert plan.dask is not None and plan.cluster == "distributed"
    assert (plan.processes, plan.replicas, plan.gpus, plan.dask.way, plan.dask.workers, plan.dask.protocol) == want
    assert plan.workers == plan.dask.workers
    limit = ALL.stall_seconds if plan.processes is Processes.PODS else 0
    assert plan.stall_seconds == limit, "pods tell whether they do anything, a cluster elsewhere does not"


def test_ranks_and_a_single_process_have_no_dask_cluster() -> None:
    ranks, single = planned(engine="rapidsmpf", **MANY), planned(engine="tasks", runtime={"release": "26.04"})
    assert (ranks.dask, ranks.processes, ranks.workers) == (None, Processes.RANKS, 8)
    assert (single.dask, single.processes, single.workers) == (None, Processes.ONE, 1)


def test_the_scheduler_of_a_cluster_is_where_its_maker_puts_it() -> None:
    made = planned(dask=OPERATOR).dask
    assert made is not None and made.scheduler == f"ucx://{NAME}-scheduler.marts.svc:8786"
    later = resolve(job(dask=OPERATOR), ALL, attempt=2)
    assert isinstance(later, Plan) and later.dask and f"-{UID[:5]}-2-scheduler." in later.dask.scheduler
    native = planned(dask={}).dask
    assert native is not None and native.scheduler == ""


def test_a_named_cluster_is_reached_where_it_was_seen_and_by_default_where_dask_kubernetes_puts_it() -> None:
    seen = resolve(job(dask=WARM), ALL, scheduler="ucx://warm-scheduler.marts.svc:9000")
    assert isinstance(seen, Plan) and seen.dask is not None
    assert (seen.dask.scheduler, seen.dask.protocol) == ("ucx://warm-scheduler.marts.svc:9000", "ucx")
    unseen = planned(dask=WARM).dask
    assert unseen is not None and unseen.scheduler == "tcp://warm-scheduler.marts.svc:8786"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"dask": {}, **MANY}, "rapidsmpf x distributed on 26.10, 2 pods x 4 GPUs as a Dask cluster: "),
        (
            {"dask": OPERATOR, "workers": {"replicas": 8}},
            "26.10, 1 pod x 1 GPU for the client, and a DaskCluster of 8 GPU workers: ",
        ),
        ({"dask": WARM}, "1 pod x 1 GPU for the client of DaskCluster warm, with at least 1 GPU worker: "),
        (
            {"dask": {"schedulerAddress": "tcp://w:8786"}, "workers": {"replicas": 3}},
            "for the client of tcp://w:8786, with at least 3 GPU workers: ",
        ),
    ],
)
def test_the_plan_says_whose_cluster_it_is(spec: dict[str, Any], words: str) -> None:
    found = told(**spec)
    assert words in found.why and found.dask is not None


def test_without_a_word_of_engine_and_cluster_a_dask_section_is_distributed_on_gpus() -> None:
    found = told(dask={}, inputs=[{"name": "n", "uri": "s3://lake/n.csv"}])
    assert (found.engine, found.cluster) == ("rapidsmpf", "distributed"), "never the CPU"
    by_default = told(ALL.model_copy(update={"default_cluster": ClusterChoice.SINGLE}), dask={})
    assert by_default.cluster == "distributed", "a default does not stand against what the job says"


def test_the_number_of_workers_goes_by_the_size_of_the_data_and_then_stays() -> None:
    spec: dict[str, Any] = {"dask": OPERATOR}
    first = told(status=checked(600 * GB), **spec)
    assert first.dask is not None and first.dask.workers > 8 and (first.replicas, first.gpus) == (1, 1)
    later = planned(status=GpuQueryJobStatus(plan=first), **spec)
    assert later.dask is not None and later.dask.workers == first.dask.workers
    assert plan_status(later, job(status=GpuQueryJobStatus(plan=first), **spec), ALL).why == first.why
    shared = planned(status=checked(600 * GB), dask=WARM).dask
    assert shared is not None and shared.workers == 1, "somebody else's cluster is as large as it is"


def test_partitions_are_sized_for_the_workers_and_not_for_the_client() -> None:
    one = planned(status=checked(5 * GB), engine="rapidsmpf", workers={"replicas": 8}).executor_options
    assert one and planned(status=checked(5 * GB), dask=OPERATOR, workers={"replicas": 8}).executor_options == one


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ({"dask": {}, **MANY}, Place.OWN_POD),
        ({"dask": OPERATOR, "workers": {"replicas": 8}}, Place.OWN_POD),
        ({"dask": OPERATOR, "workers": {"replicas": 1}}, Place.QUERY_POD),
        ({"dask": WARM}, Place.QUERY_POD),
        ({"dask": WARM, "workers": {"replicas": 8}, "preflight": "always"}, Place.OWN_POD),
    ],
)
def test_where_a_query_is_checked(spec: dict[str, Any], want: Place) -> None:
    assert place(job(**spec).spec, planned(**spec)) is want
    assert place(job(**spec).spec, told(**spec)) is want


TERM = {"topologyKey": "zone", "labelSelector": {}}
NEAR = "requiredDuringSchedulingIgnoredDuringExecution"
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}


def templated(**fields: Any) -> dict[str, Any]:
    return {"dask": OPERATOR, "template": {"spec": fields}}


REFUSED: list[Any] = [
    pytest.param(NONE, {"dask": OPERATOR}, ("dask.operator.enabled", 'backend "native"'), id="not switched on"),
    pytest.param(NONE, {"dask": WARM}, ('"warm"', "dask.attach.enabled", "schedulerAddress"), id="nor this"),
    pytest.param(
        ALL,
        {
            "dask": {"schedulerAddress": "ucx://w:1"},
            "runtime": {"release": "25.08"},
            "engine": "tasks",
            "query": PYTHON,
        },
        ("ucx://w:1", "write ucxx://"),
        id="a protocol that the release has under another name",
    ),
    pytest.param(
        ALL,
        templated(topologySpreadConstraints=[SPREAD, {**SPREAD, "minDomains": 2}]),
        ("template.spec.topologySpreadConstraints[1].minDomains is set", 'backend "native"'),
        id="a field that a DaskCluster drops",
    ),
    pytest.param(
        ALL,
        templated(affinity={"podAntiAffinity": {NEAR: [{**TERM, "matchLabelKeys": ["a"]}]}}),
        (f"template.spec.affinity.podAntiAffinity.{NEAR}[0].matchLabelKeys",),
        id="and one deep inside",
    ),
    pytest.param(
        ALL,
        {"dask": {}, "template": {"spec": {"env": [{"name": "CUDF_POLARS__EXECUTOR__CLUSTER", "value": "single"}]}}},
        ("dask is set", 'CUDF_POLARS__EXECUTOR__CLUSTER of template.spec.env is "single"'),
        id="a variable that says one process",
    ),
    pytest.param(
        ALL,
        {"dask": OPERATOR, "storage": {"serviceAccountName": "reader"}},
        ('storage.serviceAccountName is "reader"', "storage.secretName", '"native"'),
        id="an identity that no worker can use",
    ),
    pytest.param(
        ALL,
        {"dask": OPERATOR, "workers": {"stallSeconds": 60}},
        ("workers.stallSeconds is 60", "outside of its own pods", "activeDeadlineSeconds"),
        id="a limit for processes that nobody hears",
    ),
]


@pytest.mark.parametrize(("defaults", "spec", "words"), REFUSED)
def test_it_is_refused_with_field_and_way_out(defaults: Defaults, spec: dict[str, Any], words: tuple[str, ...]) -> None:
    message = refusal(defaults, **spec)
    assert all(word in message for word in words), message


SECRET = {"tlsSecretName": "client"}


@pytest.mark.parametrize(
    ("dask", "seen", "want"),
    [
        ({"schedulerAddress": "tls://w:8786"}, "", ("tls", None)),
        ({"schedulerAddress": "tls://w:8786", **SECRET}, "", ("tls", "client")),
        ({**WARM, **SECRET}, "tls://warm-scheduler.marts.svc:8786", ("tls", "client")),
        ({**WARM, **SECRET}, "", ("tls", "client")),
    ],
)
def test_a_plan_names_the_secret_and_never_what_it_holds(dask: Any, seen: str, want: tuple[str, str | None]) -> None:
    plan = resolve(job(dask=dask), ALL, scheduler=seen)
    assert isinstance(plan, Plan) and plan.dask is not None
    assert (plan.dask.protocol, plan.dask.tls_secret) == want
    assert ("tlsSecret" in plan_json(plan)) is (want[1] is not None), "a runner that knows no such word has no trouble"


@pytest.mark.parametrize("accepted", [False, True])
def test_certificates_for_a_cluster_that_speaks_no_tls_are_refused(accepted: bool) -> None:
    """However late: a job that was to talk TLS does not talk without, should its cluster have been made anew."""
    spec = {"dask": {**WARM, **SECRET}}
    status = GpuQueryJobStatus(plan=told(**spec)) if accepted else None
    found = resolve(job(status=status, **spec), ALL, attempt=2, scheduler="ucx://warm-scheduler.marts.svc:8786")
    assert isinstance(found, Rejected), found
    wanted = ('dask.tlsSecretName is "client"', "DaskCluster warm uses ucx, not tls", "--protocol tls", "or remove")
    assert all(words in found.message for words in wanted), found.message


@pytest.mark.parametrize("name", ["DASK_DISTRIBUTED__COMM__TLS__CA_FILE", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"])
def test_certificates_are_named_in_one_place(name: str) -> None:
    env = {"template": {"spec": {"env": [{"name": name, "value": "x"}]}}}
    message = refusal(dask={**WARM, **SECRET}, **env)
    assert f'dask.tlsSecretName is "client", and sets {name}, as template.spec.env does' in message
    assert planned(dask={"schedulerAddress": "tls://w:8786"}, **env).dask is not None, "they may be in the image"


def test_what_a_daskcluster_keeps_is_taken() -> None:
    spec = templated(
        tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}],
        affinity={"podAffinity": {NEAR: [TERM]}, "nodeAffinity": {NEAR: {"nodeSelectorTerms": [{}]}}},
        topologySpreadConstraints=[{**TERM, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
        nodeSelector={"pool": "gpu"},
        priorityClassName="low",
    )
    assert planned(**spec).dask is not None
    assert set(KEPT) <= {"tolerations", "affinity", "topologySpreadConstraints"}


def test_a_job_that_was_accepted_is_not_refused_when_the_operator_changes() -> None:
    first = told(dask=OPERATOR, workers={"replicas": 2})
    assert planned(NONE, GpuQueryJobStatus(plan=first), dask=OPERATOR, workers={"replicas": 2}).dask is not None


# --- Flags of the workers.

OLD, NEW = "26.04", "26.10"
GOOD: list[Any] = [
    pytest.param(OLD, {}, {"rmm-async": True}, id="without a word, the asynchronous allocator"),
    pytest.param(OLD, {"rmm-pool-size": 0.8}, {"rmm-pool-size": "0.8"}, id="a pool is one too"),
    pytest.param(OLD, {"rmm-async": False}, {"rmm-async": False}, id="no means no"),
    pytest.param(OLD, {"rmm-managed-memory": True}, {"rmm-managed-memory": True}, id="managed memory"),
    pytest.param(OLD, {"enable-jit-unspill": True}, {"enable-jit-unspill": True, "rmm-async": True}, id="an old flag"),
    pytest.param(NEW, {}, {}, id="the engine brings its own"),
    pytest.param(
        NEW,
        {"device-memory-limit": "60GiB", "memory-limit": "auto", "enable-nvlink": True},
        {"device-memory-limit": str(60 * 2**30), "memory-limit": "auto", "enable-nvlink": True},
        id="sizes with a unit",
    ),
    pytest.param(
        NEW,
        {"enable-cudf-spill": True, "cudf-spill-stats": 1},
        {"enable-cudf-spill": True, "cudf-spill-stats": 1},
        id="spilling",
    ),
]


@pytest.mark.parametrize(("release", "options", "want"), GOOD)
def test_flags_are_complete_for_the_release(release: str, options: dict[str, Any], want: dict[str, Any]) -> None:
    engine = "tasks" if release == OLD else "rapidsmpf"
    plan = planned(engine=engine, runtime={"release": release}, dask={"workerOptions": options}, **MANY)
    assert plan.dask is not None and dict(plan.dask.options) == want


WRONG: list[Any] = [
    pytest.param(OLD, {"rmm-pool-sise": "0.8"}, 'rmm-pool-sise: "0.8" is set, but .* mean rmm-pool-size', id="a typo"),
    pytest.param(OLD, {"rmm_pool_size": "0.8"}, "did you mean rmm-pool-size", id="as Python has it"),
    pytest.param(OLD, {"--rmm-async": True}, "did you mean rmm-async", id="with its dashes"),
    pytest.param(OLD, {"speed": 1}, "use device-memory-limit, ", id="no flag at all"),
    pytest.param(OLD, {"protocol": "tcp"}, 'protocol: "tcp" is set, .* belongs to the operator', id="one of ours"),
    pytest.param(OLD, {"dashboard-address": ":1"}, "belongs to the operator: leave it out", id="another"),
    pytest.param(NEW, {"enable-jit-unspill": True}, "26.10 has no flag .*release 26.04 or older", id="it is gone"),
    pytest.param(NEW, {"rmm-pool-size": "0.8"}, "same memory twice: leave it out", id="a pool beside the engine's own"),
    pytest.param(NEW, {"rmm-async": True}, "same memory twice", id="any allocator"),
    pytest.param(OLD, {"rmm-pool-size": "much"}, '"much" is not a size: write a fraction', id="no size"),
    pytest.param(OLD, {"rmm-pool-size": -1}, "-1 is not a size", id="less than nothing"),
    pytest.param(OLD, {"rmm-pool-size": 1.5}, "not a whole number of bytes", id="more than all"),
    pytest.param(OLD, {"rmm-pool-size": "auto"}, '"auto" is not a size', id="auto is for limits"),
    pytest.param(OLD, {"rmm-async": "yes"}, "neither true nor false", id="a text for a switch"),
    pytest.param(OLD, {"device-memory-limit": True}, "true is not a size", id="a switch for a size"),
    pytest.param(OLD, {"rmm-async": True, "rmm-managed-memory": True}, "exclude each other", id="two allocators"),
    pytest.param(OLD, {"enable-nvlink": True, "rmm-managed-memory": True}, "exclude each other", id="NVLink"),
    pytest.param(OLD, {"rmm-release-threshold": "1GB"}, "set rmm-async: true", id="a threshold of nothing"),
    pytest.param(OLD, {"rmm-maximum-pool-size": "1GB"}, "set rmm-pool-size or rmm-async", id="no pool to bound"),
    pytest.param(OLD, {"cudf-spill-stats": 1}, "set enable-cudf-spill: true", id="nothing to count"),
    pytest.param(OLD, {"cudf-spill-stats": "1"}, "not a whole number", id="a text for a number"),
]


@pytest.mark.parametrize(("release", "options", "words"), WRONG)
def test_a_flag_is_refused_with_its_name_and_value(release: str, options: dict[str, Any], words: str) -> None:
    engine = "tasks" if release == OLD else "rapidsmpf"
    message = refusal(engine=engine, runtime={"release": release}, dask={"workerOptions": options}, **MANY)
    assert message.startswith("InvalidCombination: dask.workerOptions.") and re.search(words, message), message


def test_flags_are_words_of_a_command_line() -> None:
    options = {"rmm-pool-size": "0.8", "rmm-async": False, "enable-nvlink": True, "enable-rdmacm": False}
    words = "--rmm-pool-size 0.8 --no-rmm-async --enable-nvlink --disable-rdmacm"
    assert flags.arguments(options) == words.split()


def test_no_flag_is_both_a_jobs_and_ours_and_releases_lack_none_that_is_not_a_flag() -> None:
    assert not set(flags.FLAGS) & flags.OURS
    assert all(release.dask.without <= set(flags.FLAGS) for release in releases.RELEASES.values())
