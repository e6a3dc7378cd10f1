"""The W&B report: made by the real client on a fake server, the same one each time, with the local report's content."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import wandb

from capsbench.errors import CapsbenchError
from capsbench.report import wandb_report
from capsbench.report.concerns import concerns
from capsbench.report.figures.plates import draw_plates
from capsbench.report.html import status_line
from capsbench.report.report import study
from capsbench.report.reproduction import rebuild, reproduction
from capsbench.report.tables.arms import arms_table
from capsbench.report.tables.runs import runs_table
from capsbench.report.tables.table import markdown_text, to_markdown
from capsbench.report.verdicts import sentence
from capsbench.report.wandb_report import CAPTIONS, publish
from capsbench.report.wandb_spec import report_spec, workspace_spec
from fake_wandb.server import ENTITY
from report.fake_runs import Truth, fake_sweep, write_failure, write_runs

# Of wandb-workspaces 0.4.13 itself, as it is imported (November 2026).
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

SNAPSHOT = Path(__file__).with_name("wandb_report.json")
TRUTHS = {"capsnet_r3": Truth(25, decoder=True), "cnn_max": Truth(70, capsules=False)}


def made(root, **changes):
    sweep = fake_sweep(seeds=(0, 1), **changes)
    write_runs(root, sweep, TRUTHS, images=2_000)
    write_failure(root, sweep, "cnn_none", 0, "RuntimeError: <b>out of memory</b>")
    return study(sweep, root)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    return made(tmp_path_factory.mktemp("runs"))


def written(folder: Path) -> Path:
    """A local report, as far as publishing it cares."""
    (folder / "figures").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the report</p>")
    (folder / "figures" / "errors.png").write_bytes(b"PNG")
    return folder


@pytest.fixture
def two_plates(analysis, monkeypatch):
    """The report's first two figures are enough for a test of publishing."""
    plates = draw_plates(analysis)[:2]
    monkeypatch.setattr(wandb_report, "draw_plates", lambda _: plates)
    return plates


def spec(view) -> dict:
    """What `save` sends."""
    return json.loads(view._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def masked(value):
    """A spec without its random ids, and without the words that other tests compare."""
    if isinstance(value, dict):
        if value.get("type") == "markdown-block":
            return {"type": "markdown-block"}
        return {name: "ID" if name in ("id", "__id__", "i") else masked(one) for name, one in value.items()}
    return [masked(one) for one in value] if isinstance(value, list) else value


def words(value) -> str:
    """All Markdown and headings of a report."""
    texts = [block["content"] for block in value["blocks"] if block["type"] == "markdown-block"]
    headings = [child["text"] for block in value["blocks"] if block["type"] == "heading" for child in block["children"]]
    return "\n".join([*texts, *headings])


def test_report_and_workspace_are_as_they_were(analysis):
    """To renew the snapshot after a change that is meant: delete wandb_report.json and run this test twice."""
    plates = draw_plates(analysis)
    found = {
        "report": masked(spec(report_spec(analysis, plates, CAPTIONS, "team", "capsbench"))),
        "workspace": masked(spec(workspace_spec(analysis, "team", "capsbench"))),
    }
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail(f"{SNAPSHOT.name} was missing and has been written")
    assert found == json.loads(SNAPSHOT.read_text())


def test_content_is_the_local_reports(analysis):
    plates = draw_plates(analysis)
    text = words(spec(report_spec(analysis, plates, CAPTIONS, "team", "capsbench")))
    ablation = analysis.ablation
    expected = [status_line(ablation), *concerns(ablation), *(plate.caption for plate in plates)]
    for pair in analysis.declared:
        said = sentence(pair, ablation)
        expected += [said.text, said.numbers, *said.caveats]
    expected += [*rebuild(ablation), *(f"{name}: {value}" for name, value in reproduction(ablation))]
    for one in expected:
        assert markdown_text(one) in text, one
    assert to_markdown(arms_table(analysis)) in text
    assert to_markdown(runs_table(ablation)) in text
    assert "CNN, max pooling is worse than CapsNet, 3 iterations, by" in text
    assert "&lt;b&gt;out of memory" in text


def test_panels_show_the_reported_runs_by_arm(analysis):
    grids = [
        block["metadata"]
        for block in spec(report_spec(analysis, draw_plates(analysis), CAPTIONS, "team", "p"))["blocks"]
        if block["type"] == "panel-grid"
    ]
    figures, live = grids
    (runset,) = live["runSets"]
    assert runset["grouping"] == [{"section": "config", "name": "arm.value"}]
    asked = {(one["key"]["name"], one["op"]): one["value"] for one in runset["filters"]["filters"]}
    assert asked == {("group", "="): "fake", ("jobType", "="): "train", ("hash", "IN"): ["1a2b3c4d"]}
    kinds = {panel["viewType"] for panel in live["panelBankSectionConfig"]["panels"]}
    assert kinds == {
        "Run History Line Plot",
        "Bar Chart",
        "Scatter Plot",
        "Parallel Coordinates Plot",
        "Parameter Importance",
        "Run Comparer",
        "Media Browser",
    }
    shown = [panel["config"]["mediaKeys"] for panel in figures["panelBankSectionConfig"]["panels"]]
    assert shown == [[f"figures/{plate.name}"] for plate in draw_plates(analysis)]


def test_the_same_report_and_workspace_each_time(wandb_server, analysis, two_plates, tmp_path):
    written(tmp_path)
    first = publish(analysis, tmp_path)
    backend = wandb_server.backend
    kinds = {view["type"]: view for view in backend.views.values()}
    assert sorted(kinds) == ["project-view", "runs"]
    assert kinds["runs"]["displayName"] == "Routing and pooling"
    assert words(json.loads(kinds["runs"]["spec"])) == words(
        spec(report_spec(analysis, two_plates, CAPTIONS, ENTITY, "capsbench"))
    )
    run = wandb_server.run("report-fake")
    assert (run.job_type, run.group, run.state) == ("report", "fake", "finished")
    assert {f"figures/{plate.name}" for plate in two_plates} <= set(run.history()[-1])
    (artifact_id,) = backend.artifacts
    artifact = backend.artifacts[artifact_id]
    assert artifact["state"] == "COMMITTED"
    assert backend.files[f"artifact/{artifact_id}/index.html"] == (tmp_path / "index.html").read_bytes()
    assert set(artifact["files"]) == {"index.html", "figures/errors.png"}

    rows = len(run.history())
    wandb_server.log.clear()
    again = publish(analysis, tmp_path)
    assert (again.report_id, again.workspace_id) == (first.report_id, first.workspace_id)
    assert len(backend.views) == 2
    assert "UpsertBucket" not in wandb_server.operations()

    changed = replace(
        analysis, ablation=replace(analysis.ablation, sweep=replace(analysis.ablation.sweep, title="New"))
    )
    (tmp_path / "index.html").write_text("<p>the new report</p>")
    assert publish(changed, tmp_path).report_id == first.report_id
    assert len(backend.views) == 2
    assert backend.views[first.report_id]["displayName"] == "New"
    assert len(wandb_server.run("report-fake").history()) > rows
    assert first.report_url.startswith(wandb_server.url)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
        "figures",
        "index.html",
        "wandb.json",
    ]
    assert re.search(r"/fake-team/capsbench\?nw=", first.workspace_url)


def test_a_report_that_was_deleted_there_and_other_refusals_are_explained(wandb_server, analysis, two_plates, tmp_path):
    written(tmp_path)
    wandb_server.faults["upsertView"] = 403
    with pytest.raises(CapsbenchError, match=r"did not take the W&B report .* the local report is complete"):
        publish(analysis, tmp_path)
    assert not (tmp_path / "wandb.json").exists()


def test_a_server_that_is_not_there_is_said_at_once(wandb_home, analysis, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    with pytest.raises(CapsbenchError, match="the W&B report was not made: http://127"):
        publish(analysis, tmp_path)


def test_runs_of_two_projects_are_refused(wandb_server, tmp_path):
    analysis = made(tmp_path / "runs")
    first = analysis.ablation.arms["cnn_max"]
    elsewhere = [
        replace(run, config={**run.config, "logger": {"project": f"p{run.seed}", "entity": None}})
        for run in first.planned
    ]
    arms = {**analysis.ablation.arms, "cnn_max": replace(first, planned=elsewhere)}
    with pytest.raises(CapsbenchError, match=r"several W&B projects \(p0, p1\)"):
        publish(replace(analysis, ablation=replace(analysis.ablation, arms=arms)), tmp_path)
