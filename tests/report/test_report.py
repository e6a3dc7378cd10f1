"""The whole report: every file, from finished and unfinished sweeps, offline, and safe against hostile names."""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from capsbench.report import collect
from capsbench.report.report import markdown_report, study, write_analysis, write_report
from capsbench.report.reproduction import rebuild, reproduction
from capsbench.report.summary import summary_text
from capsbench.sweep_file import Arm, Published
from report.fake_runs import Truth, fake_sweep, run_path, write_failure, write_runs

HOSTILE = '<script>alert("x")</script>"><img src=x onerror=alert(1)> =1+1 \\input{x} $y_1$ | **b**'
TRUTHS = {"capsnet_r3": Truth(25, decoder=True), "capsnet_r1": Truth(25), "cnn_max": Truth(70, capsules=False)}


class Page(HTMLParser):
    """What a browser would take from the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.ids, self.images = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    sweep = fake_sweep()
    write_runs(root, sweep, TRUTHS)
    write_failure(root, sweep, "cnn_none", 0, "RuntimeError: <b>out of memory</b>")
    index = write_report(sweep, root, root / "report")
    return sweep, root, index


def test_all_files_are_written(finished):
    _, _, index = finished
    names = sorted(path.relative_to(index.parent).as_posix() for path in index.parent.rglob("*") if path.is_file())
    figures = ["coupling", "coupling_maps", "dimensions", "errors", "health", "learning", "pareto", "reconstructions"]
    figures += ["robustness", "time"]
    assert names == sorted(
        [
            "comparisons.csv",
            "index.html",
            "model_card.md",
            "runs.csv",
            "table.csv",
            "table.md",
            "table.tex",
            *(f"figures/{name}.{form}" for name in figures for form in ("svg", "png")),
        ]
    )


def test_verdicts_are_the_truth_everywhere(finished):
    sweep, root, index = finished
    page = Page(index.read_text())
    same = "No difference detected between CapsNet, 3 iterations and CapsNet, 1 iteration; could have seen 0.0"
    worse = re.compile(r"CNN, max pooling is worse than CapsNet, 3 iterations, by (\d+) to (\d+) images in 10,000\.")
    for text in (page.text, (index.parent / "table.md").read_text(), summary_text(study(sweep, root))):
        assert same in text
        low, high = map(int, worse.search(text).groups())
        assert low < 45 < high


def test_page_is_whole_without_scripts_or_network(finished):
    text = finished[2].read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "Content-Security-Policy" in text
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert {address[1:] for address in addresses if address.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in text
    assert "url(" not in text
    assert all(image["alt"] for image in page.images)
    assert len(page.images) == 10
    assert page.tags.count("h1") == 1


def test_failures_are_visible(finished):
    page = Page(finished[2].read_text())
    assert "30 of 40 runs done, 1 failed, 9 missing" in page.text
    assert "RuntimeError: <b>out of memory</b>" in page.texts
    assert "b" not in page.tags
    assert "1 of 40 planned runs failed: CNN without pooling (1)" in page.text


def test_page_says_how_to_get_the_numbers_again(finished):
    page = Page(finished[2].read_text())
    for words in (
        "capsbench sweep fake",
        "0123456789abcdef0123456789abcdef01234567",
        "Fake CPU 3000, 2 cores",
        "torch 2.13.0",
        "capsnet_r3_1a2b3c4d",
        "model.iterations=3",
    ):
        assert words in page.text


def test_same_runs_same_bytes(finished):
    sweep, root, index = finished
    before = {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}
    write_report(sweep, root, index.parent)
    assert before == {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}


def test_every_run_has_failed(tmp_path):
    sweep = fake_sweep()
    for arm in sweep.arms:
        for seed in sweep.seeds:
            write_failure(tmp_path / "runs", sweep, arm, seed, "RuntimeError: no memory")
    page = Page(write_report(sweep, tmp_path / "runs", tmp_path / "report").read_text())
    assert re.search(r"0 of \d+ runs done, \d+ failed", page.text)
    assert "RuntimeError: no memory" in page.texts


def test_nothing_has_run_yet(tmp_path):
    sweep = fake_sweep()
    page = Page(write_report(sweep, tmp_path / "none", tmp_path / "out").read_text())
    assert "0 of 40 runs done, 40 missing" in page.text
    assert "cannot be compared yet" in page.text
    assert "img" not in page.tags
    assert summary_text(study(sweep, tmp_path / "none")).startswith("Routing and pooling: 0 of 40 runs done")


def test_no_declared_comparisons(tmp_path):
    sweep = fake_sweep(seeds=(0,), comparisons=())
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25)}, images=1_000)
    page = Page(write_report(sweep, tmp_path, tmp_path / "out").read_text())
    assert "declares no comparisons" in page.text


def test_hostile_names_are_text(tmp_path):
    arms = {
        "a": Arm(HOSTILE, (HOSTILE,), Published(0.25, source=HOSTILE, how=HOSTILE)),
        "b": Arm("{{ 7 * 7 }} {% raw %}", ("x=${oc.env:HOME}",)),
    }
    sweep = fake_sweep(arms, seeds=(0, 1), comparisons=(("a", "b"),), title=HOSTILE, question=HOSTILE)
    write_runs(tmp_path, sweep, {"a": Truth(100), "b": Truth(200)}, images=1_000)
    write_failure(tmp_path, replace(sweep, seeds=(5,)), "c", 5, HOSTILE)
    analysis = study(sweep, tmp_path)
    index = write_analysis(analysis, tmp_path / "out")
    page = Page(index.read_text())
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in page.images)
    assert HOSTILE in page.texts
    assert "{{ 7 * 7 }} {% raw %}" in page.texts
    assert "<script" not in markdown_report(analysis)
    assert "<img" not in markdown_report(analysis)
    assert "\\input" not in (tmp_path / "out" / "table.tex").read_text()


def test_many_runs_fold_the_list_away(tmp_path):
    sweep = fake_sweep(seeds=tuple(range(20)))
    page = write_report(sweep, tmp_path, tmp_path / "out").read_text()
    assert "<details><summary>Every run</summary>" in page
    assert (
        "<details open><summary>Every run</summary>"
        in write_report(fake_sweep(seeds=(0,)), tmp_path, tmp_path / "out").read_text()
    )


def test_preset_and_dirty_checkouts_are_in_the_reproduction_block(tmp_path):
    sweep = fake_sweep(seeds=(0,), preset="small")
    write_runs(tmp_path, sweep, {"capsnet_r3": Truth(25)}, images=1_000)
    path = run_path(tmp_path, sweep, "capsnet_r3", 0) / "result.json"
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": true'))
    ablation = study(sweep, tmp_path).ablation
    assert dict(reproduction(ablation))["commit"].endswith("(with uncommitted changes)")
    assert rebuild(ablation)[-2:] == ["capsbench sweep fake --preset small", "capsbench report fake --preset small"]


def test_commands_name_what_was_run(tmp_path):
    """A file of the user's own by its path, overrides of the command line quoted, data that has to be fetched first."""
    sweep = fake_sweep(seeds=(0,), file="my sweeps/own.yaml", extra=("model.channels=[8, 16]",))
    write_runs(tmp_path, sweep, {"cnn_max": Truth(25)}, images=1_000)
    path = run_path(tmp_path, sweep, "cnn_max", 0) / "result.json"
    path.write_text(path.read_text().replace('"config": {', '"config": {"data": {"name": "kmnist"}, '))
    analysis = study(sweep, tmp_path)
    commands = rebuild(analysis.ablation)
    assert commands == [
        "git checkout 0123456789abcdef0123456789abcdef01234567",
        "pip install --constraint constraints.txt .",
        "capsbench data fetch kmnist",
        "capsbench sweep 'my sweeps/own.yaml' 'model.channels=[8, 16]'",
        "capsbench report 'my sweeps/own.yaml' 'model.channels=[8, 16]'",
    ]
    page = Page(write_analysis(analysis, tmp_path / "out").read_text())
    assert "\n".join(commands) in page.texts
    block = "\n".join(f"    {line}" for line in commands)
    assert block in (tmp_path / "out" / "table.md").read_text()
    assert block in (tmp_path / "out" / "model_card.md").read_text()


def test_summary_fits_a_terminal(finished):
    sweep, root, _ = finished
    lines = summary_text(study(sweep, root)).splitlines()
    table = [line for line in lines if line.startswith(("arm", "CapsNet", "CNN"))]
    assert len(table) >= 5
    assert max(map(len, lines)) <= 210
    assert "Before you believe this:" in lines


def test_every_file_of_every_run_is_read_once(tmp_path, monkeypatch):
    """A report of a thousand runs is one pass over them."""
    sweep = fake_sweep(seeds=tuple(range(6)))
    write_runs(tmp_path, sweep, {"cnn_max": Truth(), "capsnet_r1": Truth()}, images=300)
    opened: Counter[str] = Counter()
    real = Path.open

    def counting(self, mode="r", *arguments, **options):
        if tmp_path / "fake" in self.parents and mode in ("r", "rb"):
            opened[f"{self.parent.parent.name}/{self.parent.name}/{self.name}"] += 1
        return real(self, mode, *arguments, **options)

    read_arrays = collect.read_arrays

    def counted(path, *names, **more):
        opened[f"{path.parent.parent.name}/{path.parent.name}/arrays of {path.name}"] += 1
        return read_arrays(path, *names, **more)

    monkeypatch.setattr(Path, "open", counting)
    monkeypatch.setattr(collect, "read_arrays", counted)
    write_report(sweep, tmp_path, tmp_path / "report")
    for name in ("result.json", "metrics.csv", "arrays of predictions.npz"):
        assert sum(key.endswith(f"/{name}") for key in opened) == 12, name
    assert set(opened.values()) == {1}


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_complaint(finished, tmp_path):
    picture = tmp_path / "page.png"
    options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    done = subprocess.run(
        [
            CHROMIUM,
            *options.split(),
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            "--window-size=1280,2000",
            finished[2].as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert picture.stat().st_size > 50_000
    assert "CONSOLE" not in done.stderr
