"""A search whose every trial fails comes to an end by itself."""

import optuna

from capsbench.storage import open_storage


def test_a_search_gives_up_after_as_many_failures_as_it_has_trials(search):
    output = search.run("raise=trial/0", "--trials", "3", status=1)
    assert "stopped: more than 3 runs failed" in output
    storage = open_storage(f"journal:{search.path}/runs/mine/study.journal")
    states = [trial.state.name for trial in optuna.load_study(study_name="mine", storage=storage).trials]
    assert states == ["FAIL"] * 4
