import json
import os
import shutil

import psutil
import pytest
import wandb

from capsbench.errors import CapsbenchError
from capsbench.training.sync import Upload, sync_runs
from capsbench.training.wandb_attempts import find_attempts, merged_records
from capsbench.training.wandb_file import history_row, read_run
from training.tracked import loss, pictures, run_path, track, tracked_run, write_metrics, write_result


def steps_of(server, run_id) -> list[int]:
    return [row["_step"] for row in server.run(run_id).history()]


def uploads(server) -> int:
    return sum(operation.endswith("/file_stream") for operation in server.operations())


def outcomes(report) -> list[Upload]:
    return [run.upload for run in report.runs]


def cut_tail(folder, keep: float = 0.6) -> None:
    """What kill -9 leaves of the newest W&B file: no end, and half a record."""
    file = find_attempts(folder)[-1].file
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])


def test_a_sweep_is_uploaded_once(wandb_server, tmp_path):
    ids = []
    for seed in (1, 2):
        folder = run_path(tmp_path, seed)
        tracker = track(folder, seed=seed)
        tracker.log({"train/loss": 0.5}, 10)
        tracker.log_pictures("reconstructions", pictures(2), ["a", "b"], 20)
        tracker.log_summary({"test/errors": 61})
        tracker.finish(0)
        write_result(folder)
        ids.append(tracker.run_id)
    other = tracked_run(run_path(tmp_path, group="other"), [1])

    plan = sync_runs(tmp_path, "quick", dry_run=True)
    assert outcomes(plan) == [Upload.pending] * 2
    assert plan.text().splitlines()[-1] == f"2 to upload ({wandb_server.url})"
    assert wandb_server.log == []

    report = sync_runs(tmp_path, "quick")
    assert outcomes(report) == [Upload.uploaded] * 2
    assert report.complete
    assert f"2 rows as {ids[0]}" in report.text()
    for run_id in ids:
        remote = wandb_server.run(run_id)
        assert [row["_step"] for row in remote.history()] == [10, 20]
        assert (remote.state, remote.group, remote.job_type, remote.summary["test/errors"]) == (
            "finished",
            "quick",
            "train",
            61,
        )
        assert sum(f"{run_id}/media/images" in key for key in wandb_server.backend.files) == 2
    assert other not in {run.name for run in wandb_server.backend.runs.values()}

    wandb_server.log.clear()
    again = sync_runs(tmp_path, "quick")
    assert outcomes(again) == [Upload.present] * 2
    assert wandb_server.log == []
    assert [len(wandb_server.run(run_id).history()) for run_id in ids] == [2, 2]

    read = wandb.Api().runs("capsbench", filters={"group": "quick"})
    assert sorted(run.id for run in read) == sorted(ids)
    assert all(run.summary["test/errors"] == 61 for run in read)


def test_a_run_killed_and_resumed_is_one_run_with_each_row_once(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, range(0, 300, 10))
    cut_tail(folder)
    kept = [row["_step"] for row in read_run(find_attempts(folder)[-1].file).history]
    assert 0 < len(kept) < 30
    # The checkpoint was older than the last rows, and metrics.csv has those that W&B had not flushed.
    assert tracked_run(folder, range(250, 400, 10), resumed=True) == run_id
    write_metrics(folder, range(0, 400, 10))
    write_result(folder)

    assert outcomes(sync_runs(tmp_path, None)) == [Upload.uploaded]
    remote = wandb_server.run(run_id)
    assert steps_of(wandb_server, run_id) == list(range(0, 400, 10))
    assert [row["train/loss"] for row in remote.history()] == [loss(step) for step in range(0, 400, 10)]
    assert all(row["trainer/global_step"] == row["_step"] for row in remote.history())
    assert remote.state == "finished"
    assert len(wandb_server.backend.runs) == 1


def test_a_killed_run_that_was_uploaded_gets_only_the_rest_when_it_is_finished(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, range(0, 50, 10), exit_code=1)
    (folder / "failed.json").write_text("{}")
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    assert (steps_of(wandb_server, run_id), wandb_server.run(run_id).state) == ([0, 10, 20, 30, 40], "failed")

    tracked_run(folder, range(30, 80, 10), resumed=True)
    write_result(folder)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    assert steps_of(wandb_server, run_id) == list(range(0, 80, 10))
    assert wandb_server.run(run_id).state == "finished"


def test_results_that_come_without_new_rows_are_uploaded_too(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, [10, 20], exit_code=1)
    (folder / "failed.json").write_text("{}")
    sync_runs(tmp_path, "quick")
    tracker = track(folder, resumed=True)
    tracker.log_summary({"test/errors": 61})
    tracker.finish(0)
    write_result(folder)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    remote = wandb_server.run(run_id)
    assert (steps_of(wandb_server, run_id), remote.state, remote.summary["test/errors"]) == ([10, 20], "finished", 61)


def test_a_run_stopped_after_its_result_was_written_is_done(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, [10], exit_code=1)
    write_result(folder)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    remote = wandb_server.run(run_id)
    assert (remote.state, remote.summary["test/errors"]) == ("finished", 61)


def test_a_server_that_dies_in_the_middle_gets_the_rest_from_the_next_call(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, range(40))
    wandb_server.rows_left = 15
    report = sync_runs(tmp_path, "quick")
    assert not report.complete
    assert "failed" in report.text()
    assert steps_of(wandb_server, run_id) == list(range(15))

    wandb_server.rows_left = None
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    assert steps_of(wandb_server, run_id) == list(range(40))


def test_rows_the_client_never_saw_come_from_metrics_csv(wandb_server, tmp_path):
    """The client died early in the run; training went on to the end."""
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, range(0, 100, 10))
    cut_tail(folder)
    write_metrics(folder, range(0, 200, 10))
    write_result(folder)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    remote = wandb_server.run(run_id)
    assert [(row["_step"], row["train/loss"]) for row in remote.history()] == [
        (step, loss(step)) for step in range(0, 200, 10)
    ]
    assert "val/accuracy" not in remote.history()[-1]
    assert (remote.state, remote.summary["test/errors"]) == ("finished", 61)


def test_an_online_run_whose_server_died_is_completed(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    tracker = track(folder, "online")
    wandb_server.rows_left = 3
    for step in range(10):
        tracker.log({"train/loss": loss(step)}, step)
    tracker.finish(0)
    wandb_server.rows_left = None
    write_result(folder)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]
    assert steps_of(wandb_server, tracker.run_id) == list(range(10))


def test_an_online_run_that_arrived_is_not_sent_again(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    tracker = track(folder, "online")
    tracker.log({"train/loss": 0.5}, 1)
    tracker.finish(0)
    write_result(folder)
    before = uploads(wandb_server)
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.present]
    assert uploads(wandb_server) == before


def test_a_run_that_something_else_uploaded_twice_is_reported_and_left_alone(wandb_server, tmp_path):
    folder = run_path(tmp_path)
    run_id = tracked_run(folder, [1, 2])
    sync_runs(tmp_path, "quick")
    remote = wandb_server.run(run_id)
    remote.lines["wandb-history.jsonl"][2] = json.dumps({"_step": 2, "train/loss": 0.1})
    (folder / "wandb" / "uploaded.json").unlink()
    before = uploads(wandb_server)
    report = sync_runs(tmp_path, "quick")
    assert not report.complete
    assert "3 rows of 2" in report.text()
    assert uploads(wandb_server) == before


def test_one_damaged_run_does_not_stop_the_others(wandb_server, tmp_path):
    empty, foreign = run_path(tmp_path, 1), run_path(tmp_path, 2)
    tracked_run(empty, [1], seed=1)
    tracked_run(foreign, [1], seed=2)
    good = tracked_run(run_path(tmp_path, 3), [1, 2], seed=3)
    run_path(tmp_path, 4)
    find_attempts(empty)[-1].file.write_bytes(b"")
    find_attempts(foreign)[-1].file.write_text("not what it says")
    report = sync_runs(tmp_path, "quick")
    assert outcomes(report) == [Upload.failed, Upload.failed, Upload.uploaded, Upload.untracked]
    assert "is empty" in report.runs[0].problem
    assert "not a .wandb file" in report.runs[1].problem
    assert steps_of(wandb_server, good) == [1, 2]


def test_a_run_in_progress_is_left_alone(wandb_server, tmp_path):
    from capsbench.training.runs import Claim

    folder = run_path(tmp_path)
    tracked_run(folder, [1])
    with Claim(folder):
        assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.running]
    assert wandb_server.log == []


def test_a_moved_folder_and_an_offline_environment_change_nothing(wandb_server, tmp_path, monkeypatch):
    run_id = tracked_run(run_path(tmp_path / "here"), [1, 2])
    shutil.move(tmp_path / "here", tmp_path / "there")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    before = dict(os.environ)
    assert outcomes(sync_runs(tmp_path / "there", "quick")) == [Upload.uploaded]
    assert steps_of(wandb_server, run_id) == [1, 2]
    assert os.environ == before


@pytest.mark.parametrize("fault", ["refused", "not logged in"])
def test_what_is_missing_is_said_before_anything_is_sent(wandb_server, tmp_path, monkeypatch, fault):
    tracked_run(run_path(tmp_path), [1])
    wandb.teardown()
    if fault == "refused":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    else:
        monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(CapsbenchError, match=r"127\.0\.0\.1:9: Connection|wandb login"):
        sync_runs(tmp_path, "quick")
    assert uploads(wandb_server) == 0


def test_a_client_that_takes_too_long_is_ended_with_all_its_processes(wandb_server, tmp_path, monkeypatch):
    tracked_run(run_path(tmp_path), [1])
    wandb_server.stalled.add("UpsertBucket")
    before = set(psutil.Process().children(recursive=True))
    report = sync_runs(tmp_path, "quick", timeout=3)
    assert not report.complete
    assert "took more than 3 s" in report.runs[0].problem
    assert "UpsertBucket" in wandb_server.operations()
    assert [child for child in psutil.Process().children(recursive=True) if child not in before] == []
    wandb_server.stalled.clear()
    assert outcomes(sync_runs(tmp_path, "quick")) == [Upload.uploaded]


def test_no_runs_is_the_users_mistake(tmp_path):
    with pytest.raises(CapsbenchError, match=r"no runs in .*nothing to upload"):
        sync_runs(tmp_path, "qiuck")


def test_rows_of_one_step_are_completed_from_an_earlier_start(wandb_home, tmp_path):
    folder = run_path(tmp_path)
    first = track(folder)
    first.log({"train/loss": 0.5, "val/loss": 0.4}, 10)
    first.finish(1)
    second = track(folder, resumed=True)
    second.log({"train/loss": 0.6}, 10)
    second.finish(0)
    records = merged_records(find_attempts(folder), folder, set())
    (row,) = [history_row(record) for record in records if record.WhichOneof("record_type") == "history"]
    assert (row["train/loss"], row["val/loss"]) == (0.6, 0.4)
