"""Mistakes in sweep files and command lines: status 2, the place and what is valid; never a traceback."""

import pytest
import yaml

from capsbench.compose import shipped
from two_arms import SWEEP, capsbench


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "two.yaml"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds: [0, 1]", "seeds: [0, 1", ["two.yaml", "line 4"]),
        ("seeds: [0, 1]", "seeds:\n\t- 0", ["two.yaml", "line 4"]),
        ("arms:\n", "arms:\n  plain: {label: again}\n", ["two.yaml", "plain", "line 7"]),
        ("arms:\n", "arms:\n  - plain\nmore:\n", ["two.yaml"]),
        ("seeds: [0, 1]", "seeds: [0, -1]", ["seeds is [0, -1]"]),
        ("seeds: [0, 1]", "seeds: [0, 4294967296]", ["4294967296"]),
        ("seeds: [0, 1]", "seeds: [true]", ["seeds is [True]"]),
        ("[[plain, pooled]]", "[[plain, poled]]", ["unknown arm 'poled' (did you mean pooled?)"]),
        ("[[plain, pooled]]", "[[plain]]", ["['plain'] is not a pair"]),
        ("[[plain, pooled]]", "[[plain, pooled], [pooled, plain]]", ["repeats a pair"]),
        ("[[plain, pooled]]", "plain", ["expected a list"]),
        ("[[plain, pooled]]", "[[[plain], [pooled]]]", ["unknown arm"]),
        ("model.pooling=average", "model.pooling=avrage", ["avrage", "average"]),
        ("model.pooling=average", "model.pooling", ["model.pooling"]),
        ("model.pooling=average", "'model.pooling=[a'", ["model.pooling=[a"]),
        ("pooled: {label: pooled,", "po/oled: {label: pooled,", ["arms.po/oled"]),
        ("title: Two small networks", "title: ${oc.env:HOME}", []),
        ("kind: ablation", "kind: [ablation]", ["kind"]),
        ("kind: ablation", "kind: {a: b}", ["kind"]),
    ],
)
def test_mistakes_in_a_sweep_file_are_named(capsys, sweep, old, new, words):
    assert old in SWEEP
    sweep.write_text(SWEEP.replace(old, new, 1))
    status, said = capsbench(capsys, "sweep", str(sweep), "run.root=runs", "--dry-run")
    assert status == (2 if words else 0), said
    for word in words:
        assert word in said


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"- a\n- b\n", b"5", b"a: &a [*a]\n", b"[" * 3000])
def test_files_that_are_no_sweep(capsys, sweep, content):
    sweep.write_bytes(content)
    for command in ("status", "sweep", "report"):
        status, said = capsbench(capsys, command, str(sweep))
        assert status == 2
        assert "two.yaml" in said


def test_an_unknown_baseline_of_a_search_is_named(capsys, tmp_path):
    text = (shipped("sweeps") / "search_capsnet.yaml").read_text()
    values = yaml.safe_load(text)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**values, "enqueue": [{"optimizer.lrr": 1}]}))
    status, said = capsbench(capsys, "sweep", str(tmp_path / "mine.yaml"), "--dry-run")
    assert status == 2
    assert "optimizer.lrr" in said


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["trian"], 2),
        (["train", "seed=-1"], 2),
        (["sweep", "nothing"], 2),
        (["status", "quick", "run.root=none"], 0),
        (["report", "quick", "run.root=none", "--out", "r"], 0),
        (["evaluate", "nothing"], 2),
        (["export", "nothing"], 2),
        (["results", "--root", "nothing"], 2),
        (["sync", "--root", "nothing"], 2),
        (["data", "verify", "mnist", "--root", "nothing"], 2),
        (["data", "show", "folder"], 2),
        (["keys", "model.routing.it"], 0),
        (["completion", "tcsh"], 2),
        (["doctor", "--nothing"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_statuses(capsys, arguments, status):
    """0 done, 1 a run failed, 2 a mistake: as `capsbench --help` says. 130 and 1 are in test_cli and test_doctor."""
    found, said = capsbench(capsys, *arguments)
    assert found == status, said
