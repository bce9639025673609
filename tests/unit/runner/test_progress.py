"""Progress in few bytes: what is told fits into what is read, and the log says a line now and then."""

from __future__ import annotations

from gpuquery.api.report import Phase, Progress
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
