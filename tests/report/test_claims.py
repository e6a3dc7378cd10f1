"""Verdicts on claims, from fake runs whose truth is known."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from capsbench.compose import compose_many, shipped
from capsbench.config_models import gives_activations
from capsbench.report.claim_table import AFFINE, CLAIMS, Claim, Evidence, Kind
from capsbench.report.claims import judge_all, judge_claim
from capsbench.report.claims_file import write_claims_file
from capsbench.report.claims_page import claims_text, write_claims
from capsbench.report.effect import Effect, Scale
from capsbench.report.evidence import arm_hashes, read_evidence
from capsbench.report.findings import Standing, weigh
from capsbench.report.report import study
from capsbench.report.results_file import write_results_file
from capsbench.sweep_file import Arm, load_sweep
from report.fake_runs import Truth, fake_sweep, run_path, write_runs
from tiny import tiny_config, tiny_splits

TRUTHS = {
    "good": Truth(25, affine=0.9, seconds=10, decoder=True),
    "alike": Truth(25, affine=0.9, seconds=10),
    "bad": Truth(70, affine=0.7, seconds=20, capsules=False),
    "never": Truth(150, affine=0.7),
}
PAIR = {name: TRUTHS[name] for name in ("good", "bad")}
ARMS = {name: Arm(f"The {name} one") for name in TRUTHS}


def claim(*evidence: Evidence, first_look: tuple[Evidence, ...] = ()) -> Claim:
    return Claim("x", "It is so.", "somebody", "Look.", evidence, first_look)


def says(a: str, b: str, kind: Kind, metric: str = "test/errors", bound: float = 0.0, sweep: str = "fake") -> Evidence:
    return Evidence(sweep, a, b, kind, metric, bound)


@pytest.fixture(scope="module")
def analyses(tmp_path_factory):
    root, sweep = (
        tmp_path_factory.mktemp("runs"),
        fake_sweep(ARMS, seeds=tuple(range(6)), comparisons=(("good", "bad"),)),
    )
    write_runs(root, sweep, TRUTHS)
    return {"fake": [study(sweep, root)]}


@pytest.mark.parametrize(
    ("evidence", "standing"),
    [
        (says("bad", "good", Kind.fewer_errors), Standing.supported),
        (says("good", "bad", Kind.fewer_errors), Standing.refuted),
        (says("good", "bad", Kind.more_errors), Standing.supported),
        (says("bad", "good", Kind.more_errors), Standing.refuted),
        (says("good", "alike", Kind.fewer_errors), Standing.undecided),
        (says("bad", "good", Kind.fewer_errors, AFFINE), Standing.supported),
        (says("good", "alike", Kind.same_errors, bound=0.002), Standing.supported),
        (says("good", "bad", Kind.same_errors, bound=0.001), Standing.refuted),
        (says("good", "alike", Kind.same_errors, bound=0.00005), Standing.undecided),
        (says("bad", "good", Kind.less, "time/seconds_to_target"), Standing.supported),
        (says("good", "bad", Kind.less, "time/seconds_to_target"), Standing.refuted),
        (says("never", "bad", Kind.less, "time/seconds_to_target"), Standing.supported),
        (says("bad", "good", Kind.more, "affine/rotation_auc"), Standing.supported),
        (says("good", "alike", Kind.more, "affine/rotation_auc"), Standing.undecided),
        (says("good", "good", Kind.below, "routing/coupling_entropy", 0.95), Standing.supported),
        (says("good", "good", Kind.below, "routing/coupling_entropy", 0.8), Standing.refuted),
        (says("bad", "good", Kind.less, "routing/coupling_entropy"), Standing.not_run),
        (says("good", "nobody", Kind.fewer_errors), Standing.not_run),
        (says("good", "bad", Kind.fewer_errors, sweep="unwritten"), Standing.not_run),
    ],
)
def test_verdicts_are_the_truth(analyses, evidence, standing):
    finding = weigh(evidence, analyses.get(evidence.sweep))
    assert finding.standing is standing, finding
    assert finding.text
    assert ("more seeds in fake.yaml" in finding.text) == (standing is Standing.undecided)
    assert finding.command == f"capsbench sweep {evidence.sweep}"


def test_declared_comparisons_are_corrected_and_others_say_that_they_are_not(analyses):
    assert "Holm" in weigh(says("bad", "good", Kind.fewer_errors), analyses["fake"]).numbers
    assert "uncorrected" in weigh(says("never", "good", Kind.fewer_errors), analyses["fake"]).numbers


def test_effects_are_the_claims_own_difference_with_its_interval(analyses):
    """B less A of the claim, though the sweep declares (good, bad); 45 images of 10,000 is the truth."""
    better = weigh(says("bad", "good", Kind.fewer_errors), analyses["fake"]).effect
    worse = weigh(says("good", "bad", Kind.more_errors), analyses["fake"]).effect
    assert better.name == "test error, The good one − The bad one"
    assert better.low < -0.45 < better.high < 0
    assert (better.value, better.low, better.high) == pytest.approx((-worse.value, -worse.high, -worse.low))
    assert re.fullmatch(r"−0\.\d+ points \[−0\.\d+, −0\.\d+\]", better.text)
    time = weigh(says("bad", "good", Kind.less, "time/seconds_per_epoch"), analyses["fake"]).effect
    assert time.low < 0.5 < time.high < 1
    assert re.fullmatch(r"0\.\d{3} times \[0\.\d{3}, 0\.\d{3}\]", time.text)
    level = weigh(says("good", "good", Kind.below, "routing/coupling_entropy", 0.95), analyses["fake"]).effect
    assert (level.value, level.neutral) == pytest.approx((0.9, 0.95))
    never = weigh(says("bad", "never", Kind.less, "time/seconds_to_target"), analyses["fake"])
    assert (never.standing, never.effect.text, never.effect.line) == (Standing.refuted, "never reached", None)


def test_effects_are_drawn_in_order():
    line = Effect("x", Scale.times, 2.0, 1.5, 8 / 3, 1.0).line
    assert 6 == line["neutral"] < line["low"] < line["value"] < line["high"] == 94
    # A ratio and its inverse are equally long.
    assert line["value"] - line["low"] == pytest.approx(line["high"] - line["value"], abs=0.1)
    assert Effect("x", Scale.points, 0.3, math.nan, math.nan, 0).text == "+0.300 points"


def test_epochs_decide_where_no_run_reached_the_target(analyses):
    item = replace(says("never", "never", Kind.less, "time/seconds_to_target"), instead="time/seconds_per_epoch")
    assert weigh(item, analyses["fake"]).text.startswith("Seconds an epoch (median of a run's epochs), median: ")
    reached = weigh(replace(item, b="good"), analyses["fake"])
    assert reached.evidence.metric == "time/seconds_to_target"


def test_what_stands_beside_a_claim_decides_nothing_and_says_what_was_measured(tmp_path):
    arms = {f"{data}_{name}": Arm(f"{data} {name}") for data in ("one", "two") for name in PAIR}
    sweep = fake_sweep(arms, seeds=(0, 1, 2), comparisons=())
    write_runs(tmp_path, sweep, {name: PAIR[name.split("_")[1]] for name in arms})
    for path in tmp_path.rglob("result.json"):
        data = '"config": {"data": {"name": "%s", "train_images": 1000}, "trainer": {"epochs": 7, "steps": null}, '
        path.write_text(path.read_text().replace('"config": {', data % path.parts[-3].split("_")[0]))
    one, two = (says(f"{data}_bad", f"{data}_good", Kind.fewer_errors) for data in ("one", "two"))
    judged = judge_claim(replace(claim(one), also=(two,)), {"fake": [study(sweep, tmp_path)]})
    assert (judged.standing, judged.also[0].standing) == (Standing.supported, Standing.supported)
    assert judged.across.startswith("Over two, one: P(a run of the second arm makes fewer errors) is 1.00 on average")
    assert judge_claim(claim(one), {"fake": [study(sweep, tmp_path)]}).across == ""
    assert judged.findings[0].setting == (
        "one, 1,000 training images; 7 epochs; 10,000 test images; parameters: one bad 8,215,728, one good 8,215,728; "
        "Fake CPU 3000, 2 cores"
    )
    index = write_claims([judged], tmp_path / "out")
    for text in (index.read_text(), (tmp_path / "out" / "claims.md").read_text()):
        assert "eside it, decides nothing: " in text
        assert "7 epochs" in text
        assert judged.findings[0].effect.text in text.replace("\\", "")


def test_a_claim_needs_all_of_its_evidence(analyses):
    true, false = says("bad", "good", Kind.fewer_errors), says("good", "bad", Kind.fewer_errors)
    open_, unrun = says("good", "alike", Kind.fewer_errors), says("a", "b", Kind.less, sweep="unwritten")
    for evidence, standing in {
        (true, true): Standing.supported,
        (true, false): Standing.refuted,
        (open_, false): Standing.refuted,
        (true, open_): Standing.undecided,
        (true, unrun): Standing.undecided,
        (unrun,): Standing.not_run,
    }.items():
        assert judge_claim(claim(*evidence), analyses).standing is standing
    assert judge_claim(claim(true), analyses).commands == []
    assert judge_claim(claim(true, unrun), analyses).commands == ["capsbench sweep fake", "capsbench sweep unwritten"]


def test_two_seeds_decide_nothing(tmp_path):
    sweep = fake_sweep(ARMS, seeds=(0, 1), comparisons=())
    write_runs(tmp_path, sweep, {name: TRUTHS[name] for name in ("good", "bad")})
    finding = weigh(says("bad", "good", Kind.fewer_errors), [study(sweep, tmp_path)])
    assert finding.standing is Standing.undecided
    assert finding.text.endswith("2 of at least 3 seeds: too few to decide.")
    assert "is worse than" in finding.text


def test_a_first_look_decides_nothing_and_gives_way(analyses):
    look = says("bad", "good", Kind.fewer_errors)
    judged = judge_claim(claim(says("a", "b", Kind.less, sweep="unwritten"), first_look=(look,)), analyses)
    assert judged.standing is Standing.not_run
    assert [finding.standing for finding in judged.first_look] == [Standing.supported]
    assert judge_claim(claim(look, first_look=(look,)), analyses).first_look == ()


def test_the_preset_with_more_seeds_is_read(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "tiny.yaml").write_text(
        "kind: ablation\ntitle: Tiny\nseeds: [0, 1, 2, 3]\narms: {good: {label: Good}, bad: {label: Bad}}\n"
        "comparisons: [[good, bad]]\npresets: {small: []}\n"
    )
    sweep = load_sweep("tiny", tmp_path / "sweeps", "small")
    write_runs(tmp_path / "runs", sweep, PAIR, digits=arm_hashes(sweep)["good"])
    mine = claim(says("bad", "good", Kind.fewer_errors, sweep="tiny"))
    found = read_evidence(tmp_path / "sweeps", tmp_path / "runs", claims=[mine])
    assert [analysis.ablation.sweep.group for analysis in found["tiny"]] == ["tiny", "tiny-small"]
    (judged,) = judge_all(found, [mine])
    assert (judged.standing, judged.findings[0].origin) == (Standing.supported, "tiny-small")


def test_committed_results_count_like_the_runs_while_the_sweep_file_is_the_same(tmp_path):
    (tmp_path / "sweeps").mkdir()
    text = (
        "kind: ablation\ntitle: Tiny\nseeds: [0, 1, 2, 3]\narms: {good: {label: Good}, bad: {label: Bad}}\n"
        "comparisons: [[good, bad]]\npresets: {small: [trainer.epochs=2]}\n"
    )
    (tmp_path / "sweeps" / "tiny.yaml").write_text(text)
    sweep = load_sweep("tiny", tmp_path / "sweeps", "small")
    write_runs(tmp_path / "runs", sweep, PAIR, digits=arm_hashes(sweep, ["optimizer.lr=1"])["good"])
    write_results_file(study(sweep, tmp_path / "runs"), tmp_path / "results", ["optimizer.lr=1"])
    mine = claim(says("bad", "good", Kind.fewer_errors, sweep="tiny"))

    def verdict():
        found = read_evidence(tmp_path / "sweeps", tmp_path / "none", tmp_path / "results", [mine])
        return judge_all(found, [mine])[0]

    assert (verdict().standing, verdict().findings[0].origin) == (Standing.supported, "tiny-small")
    path = write_claims_file([verdict()], tmp_path / "results")
    (kept,) = json.loads(path.read_text())["claims"]
    assert kept["verdict"] == "supported"
    assert kept["findings"][0]["command"] == "capsbench sweep tiny --preset small"
    assert kept["findings"][0]["evidence"] == "tiny-small.json"
    (tmp_path / "sweeps" / "tiny.yaml").write_text(text.replace("epochs=2", "epochs=3"))
    assert verdict().standing is Standing.not_run


def test_runs_of_another_configuration_never_count(tmp_path):
    """The sweep file was changed after some of its runs, which are also the ones that finished last."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "tiny.yaml").write_text(
        "kind: ablation\nseeds: [0, 1, 2, 3]\narms: {good: {label: Good}, bad: {label: Bad}}\n"
    )
    sweep, root = load_sweep("tiny", tmp_path / "sweeps"), tmp_path / "runs"
    now = arm_hashes(sweep)["good"]
    swapped = {"good": TRUTHS["bad"], "bad": TRUTHS["good"]}
    write_runs(root, sweep, swapped, digits="0abcdef0")
    mine = claim(says("bad", "good", Kind.fewer_errors, sweep="tiny"))
    (before,) = judge_all(read_evidence(tmp_path / "sweeps", root, claims=[mine]), [mine])
    assert before.standing is Standing.not_run
    assert before.commands == ["capsbench sweep tiny"]
    left_out = f"4 runs of Good in tiny are of another configuration (0abcdef0) than the sweep file's ({now})"
    assert left_out in " ".join(before.findings[0].caveats)
    write_runs(root, replace(sweep, seeds=(0, 1, 2)), PAIR, digits=now)
    (judged,) = judge_all(read_evidence(tmp_path / "sweeps", root, claims=[mine]), [mine])
    assert (judged.standing, judged.findings[0].seeds) == (Standing.supported, (3, 3))
    index = write_claims([judged], tmp_path / "out")
    for text in (index.read_text(), (tmp_path / "out" / "claims.md").read_text()):
        assert "and do not count" in text


def test_mixed_commits_are_beside_the_finding(tmp_path):
    sweep = fake_sweep({name: ARMS[name] for name in PAIR}, seeds=(0, 1, 2), comparisons=())
    write_runs(tmp_path, sweep, PAIR)
    path = run_path(tmp_path, sweep, "bad", 1) / "result.json"
    path.write_text(path.read_text().replace('"commit": "01234', '"commit": "fffff'))
    finding = weigh(says("bad", "good", Kind.fewer_errors), [study(sweep, tmp_path)])
    assert any(caveat.startswith("runs come from different commits") for caveat in finding.caveats)


def test_claims_name_metrics_that_runs_of_their_arms_measure(tmp_path, monkeypatch):
    """Every metric is one that a run measures, and the sweep asks the arm for it."""
    from capsbench.training import train

    monkeypatch.setattr(train, "load_splits", lambda _: tiny_splits(test=80))
    switches = [f"evaluation.{name}.enabled=true" for name in ("affine", "pose", "parts")]
    few = ["evaluation.pose.folds=2", "evaluation.affine.curve_images=4", "evaluation.routing_images=4"]
    cfg = tiny_config(tmp_path, *switches, *few, "trainer.epochs=1", "evaluation.target_accuracy=0")
    measured = train.run(cfg)["metrics"]
    items = [item for one in CLAIMS for item in (*one.evidence, *one.also, *one.first_look)]
    arms = list(dict.fromkeys((item.sweep, arm) for item in items for arm in (item.a, item.b)))
    sweeps = {name: load_sweep(name, shipped("sweeps")) for name, _ in arms}
    configs = compose_many([sweeps[name].overrides(arm) for name, arm in arms])
    asked = {key: found.evaluation for key, found in zip(arms, configs, strict=True)}
    models = {key: found.model for key, found in zip(arms, configs, strict=True)}
    for item in items:
        assert {item.metric, item.instead or item.metric} <= set(measured), item
        group, _, name = item.metric.partition("/")
        for key in ((item.sweep, item.a), (item.sweep, item.b)):
            evaluation = asked[key]
            if group in ("affine", "pose", "parts"):
                assert getattr(evaluation, group).enabled, (item, key)
            if name.startswith("grid"):
                assert int(name.removeprefix("grid").split("_")[0]) in evaluation.parts.grids, (item, key)
            if group == "routing":
                assert evaluation.routing_images > 0, (item, key)
                assert gives_activations(models[key]), (item, key)


def test_claims_name_arms_that_their_sweeps_have():
    sweeps = read_evidence(shipped("sweeps"), shipped("sweeps"))
    for one in CLAIMS:
        for item in (*one.evidence, *one.also, *one.first_look):
            assert {item.a, item.b} <= set(sweeps[item.sweep][0].ablation.arms), (one.name, item)
    assert len({one.name for one in CLAIMS}) == len(CLAIMS) == 12


def test_hostile_names_of_arms_and_data_are_text(tmp_path):
    hostile = "<script>alert(1)</script> | **b**"
    arms = {"good": Arm(hostile), "bad": Arm(f"bad {hostile}")}
    sweep = fake_sweep(arms, seeds=(0, 1, 2), comparisons=())
    write_runs(tmp_path, sweep, PAIR)
    for path in tmp_path.rglob("result.json"):
        path.write_text(path.read_text().replace('"config": {', f'"config": {{"data": {{"name": "{hostile}"}}, '))
    items = (says("bad", "good", Kind.fewer_errors), says("bad", "good", Kind.less, "time/seconds_per_epoch"))
    judged = judge_claim(replace(claim(items[0]), also=items[1:]), {"fake": [study(sweep, tmp_path)]})
    index = write_claims([judged], tmp_path / "out")
    assert "script" not in Ids(index.read_text()).tags
    assert hostile in judged.findings[0].setting
    markdown = (tmp_path / "out" / "claims.md").read_text()
    assert "<script" not in markdown
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in markdown.splitlines() if line.startswith("|"))


class Ids(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src")]


def test_page_and_markdown_say_the_same(analyses, tmp_path):
    hostile = "<script>alert(1)</script> | **b**"
    judged = judge_all(
        analyses,
        [
            claim(says("bad", "good", Kind.fewer_errors)),
            replace(claim(says("a", "b", Kind.less, sweep="unwritten")), name="y", statement=hostile),
        ],
    )
    index = write_claims(judged, tmp_path)
    page, markdown = index.read_text(), (tmp_path / "claims.md").read_text()
    for text in (page, markdown):
        assert "1 supported, 1 not yet run" in text
        assert "capsbench sweep unwritten" in text
        assert "The bad one is worse than The good one, by" in text
        assert "<script>" not in text
    assert "capsbench sweep fake" not in markdown
    found = Ids(page)
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert claims_text(judged).splitlines()[0] == "supported    It is so."
    before = page, markdown
    write_claims(judged, tmp_path)
    assert before == (index.read_text(), (tmp_path / "claims.md").read_text())
