"""What the table of releases answers: who can run what, and what is wrong with an option."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import releases
from gpuquery.plan.releases import OptionKind, Release
from gpuquery.plan.releases.values import OptionError, size

TASKS, RAPIDSMPF, CPU = EngineChoice.TASKS, EngineChoice.RAPIDSMPF, EngineChoice.CPU
SINGLE, DISTRIBUTED = ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED
AUTO = EngineChoice.AUTO
PREFIX = "CUDF_POLARS__EXECUTOR__"


def release(name: str) -> Release:
    found = releases.find(name)
    assert found is not None
    return found


def problem(name: str, engine: EngineChoice, cluster: ClusterChoice, options: dict[str, Any]) -> str:
    """Return the one problem that options have."""
    good, problems = releases.check_options(release(name), engine, cluster, options)
    assert len(problems) == 1, (good, problems)
    return problems[0]


@pytest.mark.parametrize(
    ("engine", "cluster", "first", "last"),
    [
        (TASKS, SINGLE, "25.08", "26.04"),
        (TASKS, DISTRIBUTED, "25.08", "26.04"),
        (RAPIDSMPF, SINGLE, "26.04", "26.10"),
        (RAPIDSMPF, DISTRIBUTED, "26.04", "26.10"),
        (CPU, SINGLE, "25.08", "26.10"),
        (AUTO, DISTRIBUTED, "25.08", "26.10"),
    ],
)
def test_which_releases_can_run_a_combination(
    engine: EngineChoice, cluster: ClusterChoice, first: str, last: str
) -> None:
    names = releases.names()
    assert releases.runnable(engine, cluster) == names[names.index(first) : names.index(last) + 1]


def test_no_release_runs_the_cpu_engine_in_several_processes() -> None:
    assert releases.runnable(CPU, DISTRIBUTED) == ()


def test_a_release_that_is_not_known_is_not_found() -> None:
    assert releases.find("26.11") is None


def test_only_some_releases_are_asked_if_the_caller_says_so() -> None:
    assert releases.runnable(RAPIDSMPF, SINGLE, releases={"26.10": release("26.10")}) == ("26.10",)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("2000", 2000), ("10B", 10), ("1.5GB", 1_500_000_000), ("1.5gb", 1_500_000_000), ("512MiB", 512 * 2**20),
        ("512 MiB", 512 * 2**20), ("512Mi", 512 * 2**20), ("3k", 3000), ("1TiB", 2**40), ("0.5KiB", 512),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize(
    "text", ["", "GB", "1.5", "1.5B", "10m", "10 m", "-3", "1ib", "1e9", "10 Kilo", "1,5GB", "½GB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="write a whole number of bytes, or a text such as"):
        size(text)


GOOD = [
    ("26.10", {"target_partition_size": "1.5GB"}, {"target_partition_size": 1_500_000_000}),
    ("26.10", {"target_partition_size": 1.5e9}, {"target_partition_size": 1_500_000_000}),
    ("26.10", {"fallback_mode": "RAISE"}, {"fallback_mode": "raise"}),
    ("26.10", {"dynamic_planning": False}, {"dynamic_planning": None}),
    ("26.10", {"dynamic_planning": True}, {"dynamic_planning": {}}),
    ("26.10", {"join_filter_pushdown": {"threshold": 1}}, {"join_filter_pushdown": {"threshold": 1.0}}),
    ("26.10", {"max_concurrent_io_tasks": 4}, {"max_concurrent_io_tasks": {"local": 4, "remote": 4}}),
    ("26.10", {"kvikio_nthreads": None}, {"kvikio_nthreads": None}),
    ("26.10", {"kvikio_remote_io_backend": "easy_threadpool", "kvikio_task_size": "64MiB"},
     {"kvikio_remote_io_backend": "EASY_THREADPOOL", "kvikio_task_size": 64 * 2**20}),
    ("26.04", {"max_io_threads": 2, "broadcast_join_limit": 0}, {"max_io_threads": 2, "broadcast_join_limit": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "asked", "taken"), GOOD, ids=str)
def test_good_options_become_what_the_release_takes(name: str, asked: dict[str, Any], taken: dict[str, Any]) -> None:
    assert releases.check_options(release(name), RAPIDSMPF, DISTRIBUTED, asked) == (taken, ())


BAD = [
    ("26.10", RAPIDSMPF, SINGLE, {"target_partition_sise": 1},
     "target_partition_sise: 1 is set, but RAPIDS release 26.10 has no option target_partition_sise: did you mean "
     "target_partition_size?"),
    ("26.10", RAPIDSMPF, SINGLE, {"broadcast_join_limit": 3},
     "broadcast_join_limit: 3 is set, but RAPIDS release 26.10 has no option broadcast_join_limit: use "
     "broadcast_limit, "
     "or release 25.08, 25.10, 25.12, 26.02 or 26.04"),
    ("26.04", TASKS, SINGLE, {"broadcast_limit": "2GB"},
     "broadcast_limit: \"2GB\" is set, but RAPIDS release 26.04 has no option broadcast_limit: use "
     "broadcast_join_limit, "
     "or release 26.06, 26.08 or 26.10"),
    ("26.10", RAPIDSMPF, SINGLE, {"rapidsmpf_spill": True},
     "rapidsmpf_spill: true is set, but RAPIDS release 26.10 has no option rapidsmpf_spill: leave it out, "
     "or use release "
     "25.08, 25.10, 25.12, 26.02 or 26.04"),
    ("26.04", TASKS, SINGLE, {"rapidsmpf_spill": True},
     "rapidsmpf_spill: true is set, but rapidsmpf_spill is not for tasks x single: leave it out, or use "
     "engine tasks and "
     "cluster distributed"),
    ("26.04", TASKS, DISTRIBUTED, {"max_io_threads": 3},
     "max_io_threads: 3 is set, but max_io_threads is not for tasks x distributed: leave it out, or use "
     "engine rapidsmpf"),
    ("25.12", TASKS, SINGLE, {"client_device_threshold": 0.5},
     "client_device_threshold: 0.5 is set, but client_device_threshold is not for tasks x single: leave it out, or use "
     "engine rapidsmpf and cluster single in release 26.04"),
    ("26.10", RAPIDSMPF, SINGLE, {"client_device_threshold": 0.5},
     "client_device_threshold: 0.5 is set, but release 26.10 does nothing with client_device_threshold: set "
     "RAPIDSMPF_SPILL_DEVICE_LIMIT in template.spec.env"),
    ("26.04", RAPIDSMPF, SINGLE, {"shuffle_method": "tasks"},
     'shuffle_method: "tasks" cannot shuffle for the engine rapidsmpf: leave it out, or use engine tasks'),
    ("26.04", TASKS, SINGLE, {"shuffle_method": "rapidsmpf-single"},
     "shuffle_method: \"rapidsmpf-single\" is the release's own word for rapidsmpf on a single GPU: use shuffle_method "
     "rapidsmpf"),
    ("25.08", TASKS, SINGLE, {"shuffle_method": "rapidsmpf"},
     'shuffle_method: "rapidsmpf" cannot shuffle on a single GPU in this release: use tasks, cluster distributed, or '
     "release 25.10 or newer"),
    ("25.08", TASKS, DISTRIBUTED, {"sink_to_directory": False},
     "sink_to_directory: false would make all ranks write one file: leave it out, or use cluster single"),
    ("26.10", RAPIDSMPF, SINGLE, {"sink_to_directory": False},
     "sink_to_directory: false is refused by this release, which always writes a folder: leave it out"),
    ("26.10", RAPIDSMPF, SINGLE, {"kvikio_task_size": "32MiB"},
     "kvikio_task_size: 33554432 is more than kvikio_bounce_buffer_bytes, 16777216: set kvikio_bounce_buffer_bytes to "
     "33554432 or more, or kvikio_remote_io_backend to EASY_THREADPOOL"),
    ("26.04", TASKS, SINGLE, {"runtime": "rapidsmpf"},
     'runtime: "rapidsmpf" is set, but runtime is chosen by spec.engine: set engine'),
    ("25.08", TASKS, SINGLE, {"scheduler": "distributed"},
     'scheduler: "distributed" is set, but scheduler is chosen by spec.cluster: set cluster'),
    ("26.10", RAPIDSMPF, SINGLE, {"spill_device_limit": "80%"},
     'spill_device_limit: "80%" is set, but spill_device_limit is no option of the executor: set '
     "RAPIDSMPF_SPILL_DEVICE_LIMIT in template.spec.env"),
    ("26.10", RAPIDSMPF, SINGLE, {"parquet_options": {}},
     "parquet_options: {} is set, but parquet_options is no option of the executor: set "
     "CUDF_POLARS__PARQUET_OPTIONS__<NAME> in template.spec.env"),
    ("26.10", CPU, SINGLE, {"fallback_mode": "warn"},
     'fallback_mode: "warn" is set, but the engine cpu has no options: leave it out, or use engine tasks or rapidsmpf'),
    ("26.10", RAPIDSMPF, SINGLE, {"target_partition_size": "1.5"},
     'target_partition_size: "1.5" is not a whole number of bytes: write a whole number of bytes, or a text such as '
     "1.5GB or 512MiB"),
    ("26.10", RAPIDSMPF, SINGLE, {"target_partition_size": -1},
     "target_partition_size: -1 is out of range: use at least 0"),
    ("26.10", RAPIDSMPF, SINGLE, {"target_partition_size": "9000000TiB"},
     'target_partition_size: "9000000TiB" is out of range: use a smaller size'),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": 10**400},
     f"num_py_executors: {'1' + 56 * '0'}... is out of range: use a smaller number"),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": float("inf")},
     "num_py_executors: Infinity is not a whole number: write digits without quotes"),
    ("26.04", TASKS, SINGLE, {"unique_fraction": {"city": 10**400}},
     f"unique_fraction.city: {'1' + 56 * '0'}... is out of range: use more than 0 and at most 1"),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": "8"},
     'num_py_executors: "8" is not a whole number: write digits without quotes'),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": 0}, "num_py_executors: 0 is out of range: use at least 1"),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": True},
     "num_py_executors: true is not a whole number: write digits without quotes"),
    ("26.10", RAPIDSMPF, SINGLE, {"num_py_executors": None}, "num_py_executors: null is not allowed: leave it out"),
    ("26.10", RAPIDSMPF, SINGLE, {"kvikio_statistics": "yes"},
     'kvikio_statistics: "yes" is neither true nor false: write true or false without quotes'),
    ("26.10", RAPIDSMPF, SINGLE, {"fallback_mode": "cpu"},
     'fallback_mode: "cpu" is not known: use warn, raise or silent'),
    ("26.10", RAPIDSMPF, SINGLE, {"dynamic_planning": {"sample_chunk_count": 0}},
     "dynamic_planning.sample_chunk_count: 0 is out of range: use at least 1"),
    ("26.10", RAPIDSMPF, SINGLE, {"dynamic_planning": {"samples": 3}},
     "dynamic_planning.samples: 3 is set, but dynamic_planning has no such value: use sample_chunk_count"),
    ("26.10", RAPIDSMPF, SINGLE, {"dynamic_planning": "off"},
     'dynamic_planning: "off" is not a mapping: write true, false or one such as {"sample_chunk_count": 2}'),
    ("26.10", RAPIDSMPF, SINGLE, {"max_concurrent_io_tasks": {"local": 0}},
     "max_concurrent_io_tasks.local: 0 is out of range: use at least 1"),
    ("26.04", TASKS, SINGLE, {"unique_fraction": {"city": 1.5}},
     "unique_fraction.city: 1.5 is out of range: use more than 0 and at most 1"),
    ("26.04", TASKS, SINGLE, {"unique_fraction": {"city": float("nan")}},
     "unique_fraction.city: NaN is not a number from 0 to 1: write one such as 0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "engine", "cluster", "options", "told"), BAD, ids=str)
def test_bad_options_are_told_with_name_value_and_way_out(
    name: str, engine: EngineChoice, cluster: ClusterChoice, options: dict[str, Any], told: str
) -> None:
    assert problem(name, engine, cluster, options) == f"executorOptions.{told}"


def test_an_option_without_any_neighbour_lists_what_there_is() -> None:
    told = problem("25.08", TASKS, SINGLE, {"x": 1})
    assert told.endswith(", target_partition_size or unique_fraction")


def test_options_that_do_nothing_are_not_offered() -> None:
    assert "client_device_threshold" not in problem("26.10", RAPIDSMPF, SINGLE, {"x": 1})


def test_a_long_value_is_shortened() -> None:
    assert len(problem("26.10", RAPIDSMPF, SINGLE, {"fallback_mode": "x" * 5000})) < 200


def test_all_problems_are_told_and_the_good_options_kept() -> None:
    options = {"fallback_mode": "raise", "num_py_executors": 0, "foo": 1}
    good, problems = releases.check_options(release("26.10"), RAPIDSMPF, SINGLE, options)
    assert good == {"fallback_mode": "raise"}
    assert [told.split(":")[0] for told in problems] == ["executorOptions.num_py_executors", "executorOptions.foo"]


def test_engine_and_cluster_that_are_not_known_yet_refuse_nothing() -> None:
    options = {"rapidsmpf_spill": True, "max_io_threads": 3, "shuffle_method": "tasks", "sink_to_directory": False}
    assert releases.check_options(release("26.04"), AUTO, ClusterChoice.AUTO, options) == (options, ())


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1GB", "warn", "tasks", "5", "x"])
)


@given(data=st.data(), name=st.sampled_from(releases.names()))
def test_what_was_taken_is_taken_again_unchanged(data: st.DataObject, name: str) -> None:
    known = sorted(release(name).options)
    within = sorted({key for option in release(name).options.values() for key in option.fields} | {"x"})
    values = scalars | st.fixed_dictionaries({}, optional=dict.fromkeys(within, scalars))
    options = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(known, values)))
    for engine, cluster in release(name).cells:
        good, problems = releases.check_options(release(name), engine, cluster, options)
        assert len(good) + len(problems) >= len(options)
        again, still = releases.check_options(release(name), engine, cluster, good)
        assert again == good
        assert len(still) == len(problems) - (len(options) - len(good))


def environment(name: str, **variables: str) -> tuple[dict[str, Any], list[str]]:
    """Return what `environment_options` makes of variables, its problems without the common prefix."""
    env = {"HOME": "/", **{PREFIX + key: text for key, text in variables.items()}}
    good, problems = releases.environment_options(release(name), env)
    return dict(good), [told.removeprefix(f"template.spec.env.{PREFIX}") for told in problems]


@pytest.mark.parametrize(
    ("name", "variables", "taken"),
    [
        ("26.10", {"TARGET_PARTITION_SIZE": "1500000000"}, {"target_partition_size": 1_500_000_000}),
        ("26.10", {"KVIKIO_STATISTICS": "Yes"}, {"kvikio_statistics": True}),
        ("26.10", {"DYNAMIC_PLANNING": "0"}, {"dynamic_planning": None}),
        ("26.10", {"DYNAMIC_PLANNING__SAMPLE_CHUNK_COUNT": "3"}, {"dynamic_planning": {"sample_chunk_count": 3}}),
        ("26.10", {"JOIN_FILTER_PUSHDOWN": "1", "JOIN_FILTER_PUSHDOWN__TRACE": "y"},
         {"join_filter_pushdown": {"trace": True}}),
        ("26.10", {"MAX_CONCURRENT_IO_TASKS": "4"}, {"max_concurrent_io_tasks": {"local": 4, "remote": 4}}),
        ("26.10", {"MAX_CONCURRENT_IO_TASKS": '{"local": 4}'}, {"max_concurrent_io_tasks": {"local": 4}}),
        ("26.04", {"UNIQUE_FRACTION": '{"a": 0.5}'}, {"unique_fraction": {"a": 0.5}}),
        ("26.04", {"STATS_PLANNING__USE_SAMPLING": "no"}, {"stats_planning": {"use_sampling": False}}),
        ("26.04", {"RUNTIME": "rapidsmpf", "CLUSTER": "single"}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_the_environment_is_read_as_the_release_reads_it(
    name: str, variables: dict[str, str], taken: dict[str, Any]
) -> None:
    assert environment(name, **variables) == (taken, [])


@pytest.mark.parametrize(
    ("name", "variables", "told"),
    [
        ("26.10", {"TARGET_PARTITION_SIZE": "1.5GB"},
         'TARGET_PARTITION_SIZE: "1.5GB" is not a whole number, and the release reads only those here: write digits'),
        ("26.10", {"KVIKIO_STATISTICS": "maybe"},
         'KVIKIO_STATISTICS: "maybe" is neither true nor false: write true or false'),
        ("26.10", {"TARGET_PARTITION_SISE": "1"},
         'TARGET_PARTITION_SISE: "1" is set, but RAPIDS release 26.10 has no option target_partition_sise: '
         'did you mean '
         "target_partition_size?"),
        ("26.10", {"JOIN_FILTER_PUSHDOWN__TRACE": "1"},
         'JOIN_FILTER_PUSHDOWN__TRACE: "1" has no effect, for join_filter_pushdown is off: set '
         "CUDF_POLARS__EXECUTOR__JOIN_FILTER_PUSHDOWN=1, or leave it out"),
        ("26.10", {"DYNAMIC_PLANNING__SAMPLES": "1"},
         'DYNAMIC_PLANNING__SAMPLES: "1" is not read by the release: set CUDF_POLARS__EXECUTOR__DYNAMIC_PLANNING or '
         "CUDF_POLARS__EXECUTOR__DYNAMIC_PLANNING__SAMPLE_CHUNK_COUNT"),
        ("26.10", {"MIN_DEVICE_SIZE": "1"},
         'MIN_DEVICE_SIZE: "1" is set, but min_device_size is measured by the runner: leave it out, or set '
         "target_partition_size"),
        ("26.04", {"SPILL_TO_PINNED_MEMORY": "0"},
         'SPILL_TO_PINNED_MEMORY: "0" is true to this release, as every text is: leave it out for false, or '
         'write true'),
        ("26.04", {"UNIQUE_FRACTION": "0.5"},
         'UNIQUE_FRACTION: "0.5" is not a mapping: write one such as {"column": 0.5}'),
        ("26.04", {"UNIQUE_FRACTION": "{"},
         'UNIQUE_FRACTION: "{" is not JSON: write an object such as {"column": 0.5}'),
        ("26.04", {"STATS_PLANNING__DEFAULT_SELECTIVITY": "much"},
         'STATS_PLANNING__DEFAULT_SELECTIVITY: "much" is not a number from 0 to 1: write one such as 0.5'),
    ],
    ids=str,
)  # fmt: skip
def test_bad_variables_are_told_with_name_value_and_way_out(name: str, variables: dict[str, str], told: str) -> None:
    assert environment(name, **variables)[1] == [told]


def test_a_list_of_values_within_an_option_is_told_for_the_option_itself() -> None:
    (told,) = environment("26.04", STATS_PLANNING="1")[1]
    assert told.startswith(
        'STATS_PLANNING: "1" is not read by the release: set CUDF_POLARS__EXECUTOR__STATS_PLANNING__USE'
    )


def test_another_executor_cannot_be_chosen_by_environment() -> None:
    _, problems = releases.environment_options(release("26.10"), {"CUDF_POLARS__EXECUTOR": "in-memory"})
    assert problems == (
        'template.spec.env.CUDF_POLARS__EXECUTOR: "in-memory" cannot be chosen: leave it out, or use streaming',
    )


def test_variables_for_another_engine_are_refused_where_the_engine_is_known() -> None:
    env = {f"{PREFIX}MAX_IO_THREADS": "3"}
    assert releases.environment_options(release("26.04"), env) == ({"max_io_threads": 3}, ())
    _, problems = releases.environment_options(release("26.04"), env, engine=TASKS, cluster=SINGLE)
    assert "is not for tasks x single: leave it out, or use engine rapidsmpf" in problems[0]


@pytest.mark.parametrize(
    ("variables", "choice"),
    [
        ({}, (AUTO, ClusterChoice.AUTO)),
        ({"RUNTIME": "tasks"}, (TASKS, ClusterChoice.AUTO)),
        ({"ENGINE": "rapidsmpf"}, (RAPIDSMPF, ClusterChoice.AUTO)),
        ({"ENGINE": "rapidsmpf", "RUNTIME": "rapidsmpf"}, (RAPIDSMPF, ClusterChoice.AUTO)),
        ({"CLUSTER": "spmd"}, (AUTO, DISTRIBUTED)),
        ({"SCHEDULER": "synchronous"}, (AUTO, SINGLE)),
    ],
    ids=str,
)
def test_engine_and_cluster_can_come_from_the_environment(
    variables: dict[str, str], choice: tuple[EngineChoice, ClusterChoice]
) -> None:
    env = {PREFIX + key: text for key, text in variables.items()}
    assert releases.environment_choice(env) == (*choice, ())


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"RUNTIME": "dask"}, 'RUNTIME: "dask" is not known: use tasks or rapidsmpf'),
        ({"CLUSTER": "ray"}, 'CLUSTER: "ray" is not known: use single, default_singleton, distributed, spmd or dask'),
        ({"RUNTIME": "tasks", "ENGINE": "rapidsmpf"},
         'ENGINE: "rapidsmpf" contradicts CUDF_POLARS__EXECUTOR__RUNTIME, which is "tasks": keep one of them'),
        ({"CLUSTER": "single", "SCHEDULER": "distributed"},
         'SCHEDULER: "distributed" contradicts CUDF_POLARS__EXECUTOR__CLUSTER, which is "single": keep one of them'),
    ],
    ids=str,
)  # fmt: skip
def test_choices_that_make_no_sense_are_told(variables: dict[str, str], told: str) -> None:
    *_, problems = releases.environment_choice({PREFIX + key: text for key, text in variables.items()})
    assert problems == (f"template.spec.env.{PREFIX}{told}",)


def test_every_row_of_the_table_is_complete() -> None:
    for name in releases.names():
        found = release(name)
        assert set(found.cells) == {(e, c) for e in (TASKS, RAPIDSMPF, CPU) for c in (SINGLE, DISTRIBUTED)}
        for key, option in found.options.items():
            assert option.name == key
            assert option.about.endswith("."), f"{name}: {key}"
            assert (option.kind is OptionKind.CHOICE) == bool(option.choices), f"{name}: {key}"
            assert (option.kind is OptionKind.MAPPING) == bool(option.fields), f"{name}: {key}"
            for inner in option.fields.values():
                assert inner.about.endswith("."), f"{name}: {key}.{inner.name}"


def test_only_26_10_writes_replicated_results_once_on_several_gpus() -> None:
    ranks = {name: release(name).cells[RAPIDSMPF, DISTRIBUTED] for name in releases.runnable(RAPIDSMPF, DISTRIBUTED)}
    assert [name for name, cell in ranks.items() if cell.replicated_safe] == ["26.10"]
