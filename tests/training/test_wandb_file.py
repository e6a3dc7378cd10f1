import random

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from capsbench.errors import CapsbenchError
from capsbench.training.wandb_file import BLOCK, read_records, read_run, write_records


def history_record(step: int, payload: str = "") -> Record:
    record = Record()
    record.history.step.num = step
    record.history.item.add(nested_key=["val", "loss"], value_json="0.5")
    record.history.item.add(key="note", value_json=f'"{payload}"')
    return record


@pytest.mark.parametrize("size", [0, 10, BLOCK - 60, 3 * BLOCK])
def test_written_records_are_read_back_whatever_their_size(tmp_path, size):
    path = tmp_path / "run-a.wandb"
    draw = random.Random(size)
    records = [history_record(step, "x" * (size + draw.randrange(200))) for step in range(60)]
    write_records(path, records)
    assert [record.history for record in read_records(path)] == [record.history for record in records]
    assert [record.num for record in read_records(path)] == list(range(1, 61))


def test_fragments_that_fill_a_block_to_the_byte(tmp_path):
    for spare in range(20):
        path = tmp_path / f"run-{spare}.wandb"
        records = [history_record(1, "x" * (BLOCK - 100 + spare)), history_record(2), history_record(3)]
        write_records(path, records)
        assert [row["_step"] for row in read_run(path).history] == [1, 2, 3]


def test_every_cut_of_a_file_gives_a_beginning_of_its_rows(tmp_path):
    whole = tmp_path / "run-a.wandb"
    write_records(whole, [history_record(step, "y" * 50) for step in range(20)])
    content = whole.read_bytes()
    cut = tmp_path / "run-b.wandb"
    seen = set()
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        steps = [row["_step"] for row in read_run(cut).history]
        assert steps == list(range(len(steps)))
        seen.add(len(steps))
    assert seen == set(range(21))


def test_zeros_after_the_last_record_are_a_killed_run(tmp_path):
    path = tmp_path / "run-a.wandb"
    write_records(path, [history_record(7)])
    path.write_bytes(path.read_bytes() + bytes(5000))
    run = read_run(path)
    assert [row["_step"] for row in run.history] == [7]
    assert run.exit_code is None


def test_nothing_after_a_damaged_record_is_believed(tmp_path):
    path = tmp_path / "run-a.wandb"
    write_records(path, [history_record(step) for step in range(10)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    steps = [row["_step"] for row in read_run(path).history]
    assert steps == list(range(len(steps)))
    assert len(steps) < 10


def test_another_file_is_refused_by_name(tmp_path):
    path = tmp_path / "run-a.wandb"
    path.write_text("step,loss\n1,0.5\n")
    with pytest.raises(CapsbenchError, match=r"run-a\.wandb is not a \.wandb file"):
        read_run(path)


def test_config_and_summary_are_nested_and_history_is_flat(tmp_path):
    config, summary, end = Record(), Record(), Record()
    config.config.update.add(key="model", value_json='{"name": "capsnet"}')
    config.config.update.add(nested_key=["model", "iterations"], value_json="3")
    summary.summary.update.add(nested_key=["val", "best"], value_json="0.99")
    end.exit.exit_code = 3
    path = tmp_path / "run-a.wandb"
    write_records(path, [config, history_record(4), summary, end])
    run = read_run(path)
    assert run.config == {"model": {"name": "capsnet", "iterations": 3}}
    assert run.summary == {"val": {"best": 0.99}}
    assert run.history == [{"val.loss": 0.5, "note": "", "_step": 4}]
    assert run.exit_code == 3
