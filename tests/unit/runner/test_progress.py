"""Progress in few bytes: what is told fits into what is read, and the log says a line now and then."""

from __future__ import annotations

from gpuquery.api.report import Phase, Progress
from gpuquery.api.status import InputStatus
from gpuquery.kube.progress import MAX_BYTES
from gpuquery.runner.progress import Tracker


def test_progress_with_every_warning_fits_into_what_the_operator_reads():
    seen: list[Progress] = []
    tracker = Tracker(seen.append)
    short, long = [f"warning {n} " + "é" * 20 for n in range(20)], ["x" * 5000]
    tracker.waits("y" * 5000)
    tracker.warned([*long, *short])
    tracker.pulse(2**62, 2**62, 2**62)
    assert len(seen[-1].model_dump_json(by_alias=True).encode()) < MAX_BYTES
    assert seen[-1].warnings == ()
    tracker.warned([*short, *long])
    assert seen[-1].warnings == tuple(short[: len(seen[-1].warnings)])
    assert len(seen[-1].warnings) > 5, "those that fit are whole"


def test_64_tables_of_usual_names_fit_with_all_warnings_and_of_longer_ones_as_many_as_there_is_room_for():
    def tables(name: str) -> list[InputStatus]:
        pin = f"iceberg:{'6' * 36}@{'7' * 19}/12"
        return [InputStatus(name=f"{name}{n}", files=9, bytes=10**9, digest="ab" * 8, snapshot=pin) for n in range(64)]

    seen: list[Progress] = []
    tracker = Tracker(seen.append)
    tracker.waits("y" * 5000)
    tracker.warned(["w" * 180] * 8)
    tracker.resolved([InputStatus(name="files", files=3), *tables("orders_")])
    assert [one.name for one in seen[-1].inputs] == [one.name for one in tables("orders_")], "of files nothing is kept"
    assert len(seen[-1].model_dump_json(by_alias=True).encode()) < MAX_BYTES
    long = tables("a_table_whose_name_is_as_long_as_a_name_of_an_input_may_be_")
    tracker.resolved(long)
    assert 40 < len(seen[-1].inputs) < 64 and list(seen[-1].inputs) == long[: len(seen[-1].inputs)]
    assert len(seen[-1].model_dump_json(by_alias=True).encode()) < MAX_BYTES


def test_a_share_is_told_only_where_the_whole_is_known_and_is_never_all_before_the_end():
    seen: list[Progress] = []
    tracker = Tracker(seen.append)
    tracker.enter(Phase.RUNNING)
    tracker.pulse(500, None, 1)
    assert (seen[-1].percent, seen[-1].read_bytes) == (None, 500)
    tracker.pulse(500, 2000, 1)
    assert seen[-1].percent == 25
    tracker.pulse(5000, 2000, 1)
    assert seen[-1].percent == 99


def test_the_log_tells_how_far_a_query_is(capsys):
    tracker = Tracker(lambda _: None)
    tracker.enter(Phase.RUNNING)
    tracker.pulse(1_200_000_000, 4_000_000_000, 52)
    tracker.tell_log()
    assert (
        "running: 1.2 GB of about 4.0 GB (30 %) read, 0 rows written, 52 s of processor time" in capsys.readouterr().err
    )
