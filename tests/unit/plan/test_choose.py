"""Choose: what becomes of what a job asks for, leaves open, or cannot have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from gpuquery.api.choices import RUN_BY, ClusterChoice, EngineChoice, ReleaseChoice
from gpuquery.api.reasons import Failure
from gpuquery.api.status import AttemptStatus, GpuQueryJobStatus, PlanStatus, PreflightStatus
from gpuquery.plan import guide, releases, sizing
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.plan.resolve import Rejected, plan_status, resolve
from gpuquery.plan.select.candidates import lot
from gpuquery.plan.sizing import Limits
from tests.support.kube_objects import NOW, PYTHON, job

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob

CPU_ONLY = Defaults(runtime_image="rt:cpu")
ALL = Defaults(runtime_image="rt:cpu", runtime_image_pattern="rt:{release}")
GB = 10**9


def having(**changes: Any) -> Defaults:
    """An operator with images of all releases."""
    return Defaults.model_validate({**ALL.model_dump(), **changes})


def noted(**annotations: str) -> Defaults:
    """The same in a namespace with annotations."""
    return ALL.in_namespace({f"gpuquery.io/default-{name}": value for name, value in annotations.items()})


def env(**variables: str) -> dict[str, Any]:
    """A pod template that sets variables of the executor."""
    found = [{"name": f"CUDF_POLARS__EXECUTOR__{name}", "value": value} for name, value in variables.items()]
    return {"spec": {"env": found}}


def checked(read: int, held: int = 0) -> GpuQueryJobStatus:
    """The status after a preflight that found so many bytes."""
    found = PreflightStatus(polars="1.44.2", input_bytes=read, peak_bytes=held, basis="footers")
    return GpuQueryJobStatus(preflight=found)


def asking(status: GpuQueryJobStatus | None = None, **spec: Any) -> GpuQueryJob:
    return job(status=status, **{"query": PYTHON, **spec})


def chosen(defaults: Defaults = ALL, status: GpuQueryJobStatus | None = None, **spec: Any) -> PlanStatus:
    subject = asking(status, **spec)
    plan = resolve(subject, defaults)
    assert isinstance(plan, Plan), plan
    return plan_status(plan, subject, defaults)


def shape(told: PlanStatus) -> tuple[str, str, str | None, int, int]:
    return told.engine, told.cluster, told.release, told.replicas, told.gpus


def options(defaults: Defaults = ALL, status: GpuQueryJobStatus | None = None, **spec: Any) -> dict[str, Any]:
    plan = resolve(asking(status, **spec), defaults)
    assert isinstance(plan, Plan), plan
    return dict(plan.executor_options)


def refused(defaults: Defaults = ALL, status: GpuQueryJobStatus | None = None, **spec: Any) -> Rejected:
    found = resolve(asking(status, **spec), defaults)
    assert isinstance(found, Rejected), found
    return found


OLD = {"release": "26.04"}
MANY: dict[str, Any] = {"replicas": 2, "gpus": 8}

CHOSEN: list[Any] = [
    pytest.param(CPU_ONLY, {}, ("cpu", "single", None, 1, 0), "no GPU image is set up", id="no image: the CPU"),
    pytest.param(ALL, {}, ("rapidsmpf", "single", "26.10", 1, 1), "26.10", id="images: the newest release on one GPU"),
    pytest.param(ALL, {"engine": "cpu"}, ("cpu", "single", None, 1, 0), "as the spec asks", id="cpu, as asked"),
    pytest.param(
        ALL,
        {"inputs": [{"name": "t", "uri": "s3://lake/t.parquet"}, {"name": "n", "uri": "s3://lake/n.csv.gz"}]},
        ("cpu", "single", None, 1, 0),
        'input "n" is text',
        id="what no GPU engine can read",
    ),
    pytest.param(
        ALL,
        {"inputs": [{"name": "n", "uri": "s3://lake/n.csv"}], "engine": "rapidsmpf"},
        ("rapidsmpf", "single", "26.10", 1, 1),
        "as the spec asks",
        id="a GPU, as asked: the preflight says what it cannot read",
    ),
    pytest.param(
        ALL, {"engine": "cpu", "runtime": OLD}, ("cpu", "single", "26.04", 1, 0), "26.04", id="cpu in a release's image"
    ),
    pytest.param(
        ALL, {"workers": {"gpus": 0}}, ("cpu", "single", None, 1, 0), "workers.gpus is 0", id="no GPU, as asked"
    ),
    pytest.param(
        ALL, {"runtime": {"image": "mine:1"}}, ("cpu", "single", None, 1, 0), "which RAPIDS", id="an image of one's own"
    ),
    pytest.param(
        CPU_ONLY,
        {"runtime": {"image": "mine:1", "release": "26.08"}},
        ("rapidsmpf", "single", "26.08", 1, 1),
        "26.08",
        id="an image of one's own with its release",
    ),
    pytest.param(
        ALL, {"workers": MANY}, ("rapidsmpf", "distributed", "26.10", 2, 8), "2 x 8 GPUs", id="many GPUs: distributed"
    ),
    pytest.param(
        ALL, {"workers": {"replicas": 1}}, ("rapidsmpf", "single", "26.10", 1, 1), "one GPU", id="one pod: one GPU"
    ),
    pytest.param(
        ALL,
        {"cluster": "distributed"},
        ("rapidsmpf", "distributed", "26.10", 2, 1),
        "as the spec asks",
        id="distributed",
    ),
    pytest.param(
        ALL,
        {"cluster": "distributed", "workers": {"gpus": 4}},
        ("rapidsmpf", "distributed", "26.10", 1, 4),
        "1 pod x 4 GPUs",
        id="distributed within one pod",
    ),
    pytest.param(
        ALL, {"runtime": OLD}, ("tasks", "single", "26.04", 1, 1), "means by auto", id="an old release: tasks"
    ),
    pytest.param(
        ALL,
        {"engine": "rapidsmpf", "runtime": OLD, "workers": MANY},
        ("rapidsmpf", "distributed", "26.04", 2, 8),
        "as the spec asks",
        id="rapidsmpf on the release of both worlds",
    ),
    pytest.param(
        ALL,
        {"scheduler": "synchronous", "runtime": {"release": "25.08"}},
        ("tasks", "single", "25.08", 1, 1),
        "as the spec asks",
        id="synchronous is single",
    ),
    pytest.param(
        ALL,
        {"scheduler": "distributed", "runtime": {"release": "25.08"}, "workers": MANY},
        ("tasks", "distributed", "25.08", 2, 8),
        "as the spec asks",
        id="distributed was a scheduler",
    ),
    pytest.param(
        ALL,
        {"executorOptions": {"fallback_mode": "raise"}},
        ("rapidsmpf", "single", "26.10", 1, 1),
        "",
        id="options: a GPU",
    ),
]


@pytest.mark.parametrize(("defaults", "spec", "want", "word"), CHOSEN)
def test_a_job_gets(defaults: Defaults, spec: dict[str, Any], want: tuple[Any, ...], word: str) -> None:
    told = chosen(defaults, **spec)
    assert shape(told) == want
    assert told.why.startswith(f"{want[0]} x {want[1]}") and word in told.why, told.why


LEVELS: list[Any] = [
    pytest.param(having(default_engine="cpu"), {}, "cpu", "the operator's default", id="the operator"),
    pytest.param(noted(engine="cpu"), {}, "cpu", "gpuquery.io/default-engine of the namespace", id="the namespace"),
    pytest.param(
        noted(engine="cpu", release="26.04").model_copy(update={"default_engine": EngineChoice.RAPIDSMPF}),
        {},
        "cpu",
        "annotation",
        id="the namespace over the operator",
    ),
    pytest.param(
        noted(engine="rapidsmpf", release="26.04"),
        {"template": env(RUNTIME="tasks")},
        "tasks",
        "CUDF_POLARS__EXECUTOR__RUNTIME",
        id="the template over the namespace",
    ),
    pytest.param(
        noted(release="26.04"),
        {"template": env(ENGINE="rapidsmpf")},
        "rapidsmpf",
        "CUDF_POLARS__EXECUTOR__ENGINE",
        id="the historic name in the template",
    ),
    pytest.param(
        noted(engine="cpu", release="26.04"),
        {"engine": "rapidsmpf", "template": env(RUNTIME="tasks")},
        "rapidsmpf",
        "engine as the spec asks",
        id="the object over everything",
    ),
    pytest.param(noted(engine="auto"), {}, "rapidsmpf", "26.10", id="auto in an annotation says nothing"),
]


@pytest.mark.parametrize(("defaults", "spec", "engine", "word"), LEVELS)
def test_the_first_place_that_says_the_engine_wins(
    defaults: Defaults, spec: dict[str, Any], engine: str, word: str
) -> None:
    told = chosen(defaults, **spec)
    assert told.engine == engine
    assert word in told.why, told.why


@pytest.mark.parametrize(
    ("defaults", "spec", "want"),
    [
        pytest.param(having(default_cluster="distributed"), {}, ("distributed", "26.10"), id="the operator"),
        pytest.param(noted(cluster="distributed", release="26.06"), {}, ("distributed", "26.06"), id="the namespace"),
        pytest.param(
            noted(cluster="distributed"),
            {"template": env(SCHEDULER="synchronous")},
            ("single", "26.10"),
            id="the template",
        ),
        pytest.param(
            noted(release="26.06"),
            {"cluster": "distributed", "runtime": {"release": "26.08"}, "template": env(CLUSTER="single")},
            ("distributed", "26.08"),
            id="the object",
        ),
    ],
)
def test_the_first_place_that_says_cluster_and_release_wins(
    defaults: Defaults, spec: dict[str, Any], want: tuple[str, str]
) -> None:
    told = chosen(defaults, **spec)
    assert (told.cluster, told.release) == want


@pytest.mark.parametrize(
    ("defaults", "spec", "want", "word"),
    [
        pytest.param(
            having(default_engine="cpu"), {"workers": MANY}, ("rapidsmpf", "distributed"), "", id="cpu, but GPUs"
        ),
        pytest.param(noted(cluster="distributed"), {"engine": "cpu"}, ("cpu", "single"), "", id="distributed, but cpu"),
        pytest.param(
            noted(cluster="single"), {"workers": MANY}, ("rapidsmpf", "distributed"), "where single", id="single"
        ),
        pytest.param(
            noted(cluster="distributed"),
            {"workers": {"replicas": 1}},
            ("rapidsmpf", "single"),
            "where distributed",
            id="one",
        ),
        pytest.param(
            having(default_engine="tasks"),
            {"runtime": {"release": "26.10"}},
            ("rapidsmpf", "single"),
            "where tasks",
            id="tasks",
        ),
    ],
)
def test_a_default_that_does_not_fit_what_a_job_says_is_passed_over_and_told(
    defaults: Defaults, spec: dict[str, Any], want: tuple[str, str], word: str
) -> None:
    told = chosen(defaults, **spec)
    assert (told.engine, told.cluster) == want
    assert word in told.why


def test_an_annotation_that_does_not_matter_is_not_judged() -> None:
    assert chosen(noted(engine="fast"), engine="cpu").engine == "cpu"


REFUSED: list[Any] = [
    pytest.param(
        having(default_engine="cpu"), {"executorOptions": {"target_partition_size": 1}, "workers": {"gpus": 0}},
        Failure.INVALID_COMBINATION, ["executorOptions are options of a GPU engine, and workers.gpus is 0: remove"],
        id="no GPU for a GPU engine's options, where the default needs none",
    ),
    pytest.param(
        noted(engine="fast"), {}, Failure.INVALID_COMBINATION, ["default-engine", "fast", "tasks", "spec.engine"],
        id="an annotation that is no engine",
    ),
    pytest.param(
        noted(cluster="big"), {}, Failure.INVALID_COMBINATION, ["default-cluster", "big", "distributed"],
        id="an annotation that is no cluster",
    ),
    pytest.param(
        noted(release="27.02"), {}, Failure.UNKNOWN_RELEASE, ["default-release", "27.02", "26.10", "runtime.release"],
        id="an annotation that is no release",
    ),
    pytest.param(
        ALL, {"engine": "tasks"}, Failure.INVALID_COMBINATION,
        ["spec.engine", "tasks", "26.10", "the default", '"26.04"', '"rapidsmpf"'],
        id="tasks on the newest release",
    ),
    pytest.param(
        having(default_release="25.12"), {"engine": "rapidsmpf", "workers": MANY}, Failure.INVALID_COMBINATION,
        ["rapidsmpf", "25.12", "one GPU", "operator's default", '"26.04", "26.06"', '"tasks"'],
        id="several GPUs on the release that silently takes one",
    ),
    pytest.param(
        having(default_release="26.02"), {"engine": "rapidsmpf", "cluster": "single"}, Failure.INVALID_COMBINATION,
        ["26.02", "collect", '"26.04"', '"tasks"'], id="a release that cannot write",
    ),
    pytest.param(
        ALL, {"template": env(RUNTIME="mpf")}, Failure.INVALID_COMBINATION,
        ["template.spec.env", "RUNTIME", "mpf", "tasks or rapidsmpf"], id="an engine in the template that is none",
    ),
    pytest.param(
        ALL, {"template": env(RUNTIME="tasks", ENGINE="rapidsmpf")}, Failure.INVALID_COMBINATION,
        ["RUNTIME", "ENGINE", "keep one"], id="two engines in the template",
    ),
    pytest.param(
        ALL, {"template": env(CLUSTER="distributed"), "engine": "cpu"}, Failure.INVALID_COMBINATION,
        ["CUDF_POLARS__EXECUTOR__CLUSTER", "distributed", "cpu", "single"], id="cpu on many by the template",
    ),
    pytest.param(
        ALL, {"template": env(CLUSTER="single"), "workers": MANY}, Failure.INVALID_COMBINATION,
        ["workers.gpus is 8", "CUDF_POLARS__EXECUTOR__CLUSTER", "distributed"], id="many GPUs on one by the template",
    ),
    pytest.param(
        ALL, {"template": env(RUNTIME="rapidsmpf"), "workers": {"gpus": 0}}, Failure.INVALID_COMBINATION,
        ["workers.gpus is 0", "RUNTIME", "rapidsmpf"], id="a GPU engine without GPUs by the template",
    ),
    pytest.param(
        ALL, {"workers": {"gpus": 0}, "executorOptions": {"fallback_mode": "raise"}}, Failure.INVALID_COMBINATION,
        ["executorOptions", "workers.gpus is 0"], id="options without GPUs",
    ),
    pytest.param(
        CPU_ONLY, {"engine": "rapidsmpf"}, Failure.INVALID_COMBINATION,
        ["26.10", "no runtime image", "runtime.image", "runtime.images"], id="no image of the release",
    ),
    pytest.param(
        CPU_ONLY, {"workers": MANY}, Failure.INVALID_COMBINATION, ["no runtime image"], id="GPUs, never the CPU instead"
    ),
    pytest.param(
        CPU_ONLY, {"runtime": OLD}, Failure.INVALID_COMBINATION, ["spec.runtime.release", "26.04", "no runtime image"],
        id="a release that is named and not there",
    ),
    pytest.param(
        CPU_ONLY, {"engine": "cpu", "runtime": OLD}, Failure.INVALID_COMBINATION, ["26.04", "no runtime image"],
        id="cpu in a release's image that is not there",
    ),
    pytest.param(
        ALL, {"workers": {**MANY, "resources": {"limits": {"nvidia.com/gpu": 8}}}}, Failure.INVALID_COMBINATION,
        ["nvidia.com/gpu", "workers.gpus"], id="GPUs as a resource",
    ),
    pytest.param(
        ALL, {"executorOptions": {"falback_mode": "raise"}}, Failure.INVALID_COMBINATION,
        ["executorOptions.falback_mode", "did you mean fallback_mode"], id="a misspelt option",
    ),
    pytest.param(
        ALL, {"executorOptions": {"target_partition_size": "much"}}, Failure.INVALID_COMBINATION,
        ["executorOptions.target_partition_size", "much", "1.5GB"], id="a size that is none",
    ),
    pytest.param(
        ALL, {"executorOptions": {"groupby_n_ary": 4}}, Failure.INVALID_COMBINATION,
        ["executorOptions.groupby_n_ary", "26.10", "26.04"], id="an option of other releases",
    ),
    pytest.param(
        ALL, {"executorOptions": {"shuffle_method": "tasks"}, "engine": "rapidsmpf", "runtime": OLD},
        Failure.INVALID_COMBINATION, ["executorOptions.shuffle_method", "tasks"], id="shuffle by tasks with rapidsmpf",
    ),
    pytest.param(
        ALL,
        {"executorOptions": {"sink_to_directory": False}, "engine": "rapidsmpf", "runtime": OLD, "workers": MANY},
        Failure.INVALID_COMBINATION, ["executorOptions.sink_to_directory", "single"], id="many ranks into one file",
    ),
    pytest.param(
        ALL, {"executorOptions": {"rapidsmpf_spill": True}, "runtime": OLD}, Failure.INVALID_COMBINATION,
        ["executorOptions.rapidsmpf_spill", "distributed"], id="spilling between ranks with one",
    ),
    pytest.param(
        ALL, {"executorOptions": {"runtime": "tasks"}}, Failure.INVALID_COMBINATION,
        ["executorOptions.runtime", "spec.engine"], id="the engine as an option",
    ),
    pytest.param(
        ALL, {"template": env(GROUPBY_N_ARY="four"), "runtime": OLD}, Failure.INVALID_COMBINATION,
        ["CUDF_POLARS__EXECUTOR__GROUPBY_N_ARY", "four"], id="a number in the template that is none",
    ),
    pytest.param(
        ALL, {"template": env(RAPIDSMPF_SPILL="1"), "runtime": OLD}, Failure.INVALID_COMBINATION,
        ["CUDF_POLARS__EXECUTOR__RAPIDSMPF_SPILL", "distributed"], id="an option of the other cluster in the template",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("defaults", "spec", "reason", "words"), REFUSED)
def test_it_is_refused_with_field_value_and_way_out(
    defaults: Defaults, spec: dict[str, Any], reason: Failure, words: list[str]
) -> None:
    found = refused(defaults, **spec)
    assert found.reason is reason
    for word in words:
        assert word in found.message, found.message


@pytest.mark.parametrize("name", releases.names())
@pytest.mark.parametrize("cluster", ["single", "distributed"])
@pytest.mark.parametrize("engine", ["tasks", "rapidsmpf", "cpu"])
def test_every_cell_of_the_table_is_a_plan_or_a_refusal_that_names_who_can(
    engine: str, cluster: str, name: str
) -> None:
    cell = releases.RELEASES[name].cells[EngineChoice(engine), ClusterChoice(cluster)]
    spec = {"engine": engine, "cluster": cluster, "runtime": {"release": name}}
    if cell.way is not None:
        assert shape(chosen(**spec))[:3] == (engine, cluster, name)
        return
    can = releases.runnable(EngineChoice(engine), ClusterChoice(cluster))
    # As a default of the operator the API server does not see the release, and the operator has to refuse.
    if engine == "cpu":
        with pytest.raises(ValidationError, match='use cluster "single"'):
            job(**spec)
        return
    found = refused(having(default_release=name), engine=engine, cluster=cluster)
    assert can and all(f'"{release}"' in found.message for release in can), found.message
    other = "tasks" if engine == "rapidsmpf" else "rapidsmpf"
    assert f'engine "{other}"' in found.message
    with pytest.raises(ValidationError, match=f'engine "{engine}" needs a RAPIDS release'):
        job(**spec)


def test_what_the_api_server_knows_of_releases_is_what_the_table_says() -> None:
    assert tuple(ReleaseChoice) == releases.names()
    for engine, known in RUN_BY.items():
        assert known == releases.runnable(engine, ClusterChoice.AUTO)


def test_a_release_that_the_table_does_not_know_is_told_with_those_that_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(releases, "find", lambda _: None)
    found = refused(runtime={"release": "26.10"})
    assert found.reason is Failure.UNKNOWN_RELEASE
    assert (
        "RAPIDS release 26.10, as spec.runtime.release says" in found.message
        and "25.08" in found.message
        and "newer operator" in found.message
    )


def test_options_of_the_object_win_over_the_templates_and_the_cells_own_over_all() -> None:
    template = env(FALLBACK_MODE="raise", GROUPBY_N_ARY="4")
    found = options(template=template, executorOptions={"fallback_mode": "silent"}, runtime=OLD)
    assert found == {"fallback_mode": "silent", "groupby_n_ary": 4, "cluster": "single", "runtime": "tasks"}


def test_options_of_two_places_are_checked_together_too() -> None:
    template = env(KVIKIO_BOUNCE_BUFFER_BYTES=str(8 << 20))
    assert options(template=template)["kvikio_bounce_buffer_bytes"] == 8 << 20
    assert options(executorOptions={"kvikio_task_size": "12MiB"})["kvikio_task_size"] == 12 << 20
    found = refused(template=template, executorOptions={"kvikio_task_size": "12MiB"})
    assert found.reason is Failure.INVALID_COMBINATION
    assert "kvikio_task_size: 12582912 is more than kvikio_bounce_buffer_bytes, 8388608" in found.message


def test_a_job_that_was_accepted_is_not_refused_for_an_option_that_a_newer_table_does_not_know() -> None:
    spec: dict[str, Any] = {"engine": "rapidsmpf", "executorOptions": {"fallback_mode": "silent", "gone": 1}}
    assert "gone" in refused(**spec).message
    accepted = chosen(engine="rapidsmpf")
    assert options(status=GpuQueryJobStatus(plan=accepted), **spec)["fallback_mode"] == "silent"


def test_sizes_may_be_written_with_a_unit() -> None:
    assert options(executorOptions={"target_partition_size": "1.5GB"}) == {"target_partition_size": 1_500_000_000}


def test_on_the_cpu_the_templates_options_are_left_alone() -> None:
    assert options(engine="cpu", template=env(FALLBACK_MODE="nonsense")) == {}


SIZES: list[Any] = [
    pytest.param(0, 0, ("cpu", "single", 0), id="nothing"),
    pytest.param(GB - 1, 3 * GB, ("cpu", "single", 0), id="just under the limit"),
    pytest.param(GB, GB, ("rapidsmpf", "single", 1), id="the limit"),
    pytest.param(30 * GB, 40 * GB, ("rapidsmpf", "single", 1), id="one GPU"),
    pytest.param(300 * GB, 60 * GB, ("rapidsmpf", "distributed", 2), id="two GPUs"),
    pytest.param(10_000 * GB, 10_000 * GB, ("rapidsmpf", "distributed", 16), id="as many as the operator allows"),
]


@pytest.mark.parametrize(("read", "held", "want"), SIZES)
def test_the_size_of_the_data_decides_what_is_open(read: int, held: int, want: tuple[str, str, int]) -> None:
    told = chosen(status=checked(read, held))
    assert (told.engine, told.cluster, told.replicas * told.gpus) == want


def test_what_a_job_says_is_not_changed_by_the_size_of_the_data() -> None:
    assert chosen(status=checked(10), engine="rapidsmpf").engine == "rapidsmpf"
    assert chosen(status=checked(10), runtime=OLD).engine == "tasks", "a release was named"
    assert shape(chosen(status=checked(9000 * GB, 9000 * GB), cluster="single"))[3:] == (1, 1)
    assert shape(chosen(status=checked(9000 * GB, 9000 * GB), workers={"replicas": 2}))[3:] == (2, 1)
    told = chosen(having(gpus=8), checked(300 * GB, 300 * GB), cluster="distributed")
    assert (told.replicas, told.gpus) == (1, 8) and told.sizing and "300 GB" in told.sizing


def found_on_one_partition(held: int) -> GpuQueryJobStatus:
    """The status after a preflight of a query like `SELECT sum(x)`."""
    found = PreflightStatus(polars="1.44.2", input_bytes=held, peak_bytes=held, basis="footers", one_partition=True)
    return GpuQueryJobStatus(preflight=found)


WRITTEN_BY_EACH: list[Any] = [
    pytest.param("26.08", {}, ("rapidsmpf", "single", 1), id="no GPUs asked for: one, which writes it once"),
    pytest.param("26.08", {"engine": "rapidsmpf"}, ("rapidsmpf", "single", 1), id="the engine asked for"),
    pytest.param("26.04", {"engine": "rapidsmpf"}, ("rapidsmpf", "single", 1), id="on Dask too"),
    pytest.param("26.04", {}, ("tasks", "distributed", 7), id="tasks write it once, on any number of GPUs"),
    pytest.param("26.10", {}, ("rapidsmpf", "distributed", 7), id="and so does rapidsmpf since 26.10"),
    pytest.param(
        "26.08", {"cluster": "distributed", "workers": {"replicas": 1}}, ("rapidsmpf", "distributed", 1),
        id="one rank writes it once",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("release", "spec", "want"), WRITTEN_BY_EACH)
def test_no_size_takes_a_result_on_one_partition_to_gpus_that_would_each_write_it(
    release: str, spec: dict[str, Any], want: tuple[str, str, int]
) -> None:
    told = chosen(status=found_on_one_partition(300 * GB), runtime={"release": release}, **spec)
    assert (told.engine, told.cluster, told.replicas * told.gpus) == want
    assert ("each write it" in told.why) is (told.cluster == "single")


def test_no_size_gets_a_gpu_for_a_job_that_asks_for_none() -> None:
    options = {"executorOptions": {"target_partition_size": 1}, "workers": {"gpus": 0}}
    message = refused(having(default_engine="cpu"), checked(300 * GB, 200 * GB), **options).message
    assert message.startswith("executorOptions are options of a GPU engine, and workers.gpus is 0")


def test_a_preflight_that_could_not_tell_sizes_decides_nothing() -> None:
    status = GpuQueryJobStatus(preflight=PreflightStatus(polars="1.44.2"))
    assert chosen(status=status).engine == "rapidsmpf"


def test_sizes_set_partitions_unless_the_job_does_and_lack_of_memory_halves_them() -> None:
    before = options(status=checked(100 * GB, 10 * GB))
    size = before["target_partition_size"]
    assert size > 0
    own = options(status=checked(100 * GB, 10 * GB), executorOptions={"target_partition_size": 7})
    assert own["target_partition_size"] == 7
    failed = AttemptStatus(id=1, started=NOW, reason=Failure.GPU_OUT_OF_MEMORY)
    after = checked(100 * GB, 10 * GB).model_copy(update={"attempts": (failed,)})
    assert options(status=after)["target_partition_size"] == size // 2


@pytest.mark.parametrize("name", releases.names())
def test_what_sizing_sets_is_an_option_of_the_release(name: str) -> None:
    for engine in ("tasks", "rapidsmpf"):
        if name not in RUN_BY[EngineChoice(engine)]:
            continue
        for workers in ({"replicas": 1}, MANY):
            found = options(status=checked(GB, GB), engine=engine, runtime={"release": name}, workers=workers)
            own = {k: v for k, v in found.items() if k not in ("runtime", "cluster", "scheduler")}
            shape_ = ClusterChoice.SINGLE if workers != MANY else ClusterChoice.DISTRIBUTED
            _, problems = releases.check_options(releases.RELEASES[name], EngineChoice(engine), shape_, own)
            assert own and problems == ()


@pytest.mark.parametrize("number", range(1, len(guide.GUIDE)))
def test_the_guide_says_what_sizing_does(number: int) -> None:
    row, least, most = guide.GUIDE[number], guide.GUIDE[number - 1].below, guide.GUIDE[number].below or 9000 * GB
    assert row.gpu and least
    # At the limits themselves one GPU more or less makes no difference to anyone.
    for held in (least * 11 // 10, most * 95 // 100):
        found = PreflightStatus(polars="", input_bytes=held, peak_bytes=held, basis="footers")
        limits = Limits(
            release=releases.RELEASES["26.10"],
            engine=EngineChoice.RAPIDSMPF,
            gpu_memory=80 * 2**30,
            max_replicas=1000,
            max_gpus=8,
        )
        wanted, _ = sizing.gpus_wanted(found, limits.gpu_memory)
        assert row.gpus[0] <= wanted <= (row.gpus[1] or wanted), (held, wanted)
        assert sizing.size(found, limits).cluster is row.cluster


def rollout(percentage: int, names: int = 400, **spec: Any) -> list[str]:
    defaults = having(default_release="26.04", rapidsmpf_percentage=percentage)
    engines = []
    for number in range(names):
        subject = job(metadata={"name": f"job-{number}"}, **spec)
        plan = resolve(subject, defaults)
        assert isinstance(plan, Plan)
        engines.append(plan.engine)
    return engines


def test_a_part_of_the_jobs_goes_to_rapidsmpf_always_the_same_ones() -> None:
    assert set(rollout(0)) == {"tasks"}
    assert set(rollout(100)) == {"rapidsmpf"}
    quarter, half = rollout(25), rollout(50)
    assert 60 <= quarter.count("rapidsmpf") <= 140
    moved_back = [a for a, b in zip(quarter, half, strict=True) if a == "rapidsmpf" and b == "tasks"]
    assert moved_back == [], "a higher share only adds jobs"
    assert lot(job()) == lot(job()) and lot(job()) != lot(job(metadata={"namespace": "other"}))


def test_the_roll_out_takes_no_job_to_where_rows_may_be_written_twice_or_that_says_its_engine() -> None:
    assert set(rollout(100, 20, workers=MANY)) == {"tasks"}
    assert set(rollout(100, 20, engine="tasks")) == {"tasks"}
    assert "100 %" in chosen(having(default_release="26.04", rapidsmpf_percentage=100)).why


@pytest.mark.parametrize(
    ("defaults", "spec", "warned"),
    [
        pytest.param(having(default_release="26.04"), {}, True, id="left open on an old release"),
        pytest.param(ALL, {"runtime": OLD}, True, id="left open on an old release that the job names"),
        pytest.param(having(default_release="26.04"), {"engine": "tasks"}, False, id="chosen by the job"),
        pytest.param(having(default_release="26.04", default_engine="tasks"), {}, False, id="chosen by the operator"),
        pytest.param(having(default_release="26.04", rapidsmpf_percentage=100), {}, False, id="moved on already"),
        pytest.param(ALL, {}, False, id="the newest release"),
        pytest.param(CPU_ONLY, {}, False, id="the CPU"),
    ],
)
def test_a_default_that_a_coming_release_changes_is_told(
    defaults: Defaults, spec: dict[str, Any], warned: bool
) -> None:
    told = chosen(defaults, **spec)
    assert bool(told.default_changes) is warned
    assert not warned or "from 26.06 on" in str(told.default_changes)


def test_a_deprecated_field_is_told_with_its_successor() -> None:
    told = chosen(scheduler="synchronous", runtime=OLD)
    assert told.deprecated == "spec.scheduler is deprecated: write cluster: single in place of scheduler: synchronous"
    assert chosen(cluster="single", runtime=OLD).deprecated is None


def test_what_was_decided_stays_whatever_the_defaults_become() -> None:
    first = chosen(having(default_release="26.04"), workers=MANY)
    status = GpuQueryJobStatus(plan=first)
    for later in (
        CPU_ONLY,
        ALL,
        having(default_engine="rapidsmpf", runtime_image_pattern="new:{release}"),
        noted(engine="?"),
    ):
        assert chosen(later, status, workers=MANY) == first
        plan = resolve(job(status=status, workers=MANY), later)
        assert isinstance(plan, Plan) and plan.executor_options["runtime"] == "tasks"


def test_on_this_machine_no_image_is_needed_and_nothing_asked_for_means_the_cpu() -> None:
    open_, asked = (resolve(job(engine=e), CPU_ONLY, local=True) for e in ("auto", "rapidsmpf"))
    assert isinstance(open_, Plan) and open_.engine == "cpu"
    assert isinstance(asked, Plan) and (asked.engine, asked.release) == ("rapidsmpf", "26.10")
