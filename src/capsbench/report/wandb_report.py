"""`capsbench report NAME --wandb`: the report on a W&B server, one and the same however often it is made.

The figures and the report's files go to a W&B run of their own (job type `report`); the report and the workspace are
views of the project. Their ids are kept in wandb.json beside the local report, by server and project, so that the next
call updates them. Figures and files are uploaded only when they have changed.
"""

import hashlib
import io
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capsbench.config import digest
from capsbench.errors import CapsbenchError
from capsbench.files import write_atomic
from capsbench.report.analysis import Analysis
from capsbench.report.figures.plates import draw_plates
from capsbench.report.figures.style import Plate
from capsbench.report.report import COMPARISONS_CAPTION
from capsbench.report.wandb_spec import JOB, report_spec, workspace_spec
from capsbench.training.wandb_server import CLIENT_PATIENCE
from capsbench.training.wandb_session import SETTINGS, first_line, quiet_environment, unreachable

LEDGER = "wandb.json"
CAPTIONS = {"Declared comparisons": COMPARISONS_CAPTION}


@dataclass(frozen=True)
class Published:
    """What a server has of a report.

    Attributes:
        entity: owner of the project.
        project: W&B project.
        report_id: the server's id of the report.
        report_url: where to read it.
        workspace_id: the server's id of the saved view.
        workspace_name: the name that its address is made of.
        workspace_url: where to see it.
        content: digest of the figures and files that were uploaded.
    """

    entity: str
    project: str
    report_id: str = ""
    report_url: str = ""
    workspace_id: str = ""
    workspace_name: str = ""
    workspace_url: str = ""
    content: str = ""


def publish(analysis: Analysis, folder: Path) -> Published:
    """Create the report and the workspace of a sweep on the W&B server that is configured, or update them.

    Args:
        analysis: what the report is about.
        folder: the local report, already written; its wandb.json remembers what the server has.

    Raises:
        CapsbenchError: wandb or wandb-workspaces is not installed, nobody is logged in, or the server refuses.
    """
    try:
        import wandb_workspaces  # noqa: F401
    except ModuleNotFoundError:
        raise CapsbenchError("a W&B report needs wandb-workspaces: `pip install 'capsbench[wandb-report]'`") from None
    with tempfile.TemporaryDirectory(prefix="capsbench-report-", ignore_cleanup_errors=True) as scratch:
        return _publish_from(analysis, folder, Path(scratch))


def _publish_from(analysis: Analysis, folder: Path, scratch: Path) -> Published:
    import wandb

    with quiet_environment({**CLIENT_PATIENCE, "WANDB_DATA_DIR": str(scratch)}, WANDB_MODE="online"):
        problem = unreachable()
        if problem:
            raise CapsbenchError(f"the W&B report was not made: {problem}")
        server = str(wandb.setup().settings.base_url)
        try:
            entity, project = _place(analysis)
            ledger = _ledger(folder)
            key = f"{server}/{entity}/{project}"
            known = ledger.get(key) or Published(entity, project)
            done = _publish(analysis, folder, known, scratch)
        except CapsbenchError:
            raise
        except Exception as error:  # whatever the client or the server says, in one line
            raise CapsbenchError(
                f"{server} did not take the W&B report ({first_line(error)}); the local report is complete. If the "
                f"report was deleted there, remove {folder / LEDGER} to make a new one"
            ) from error
        ledger[key] = done
        write_atomic(folder / LEDGER, json.dumps({name: asdict(one) for name, one in ledger.items()}, indent=1) + "\n")
    return done


def _publish(analysis: Analysis, folder: Path, known: Published, scratch: Path) -> Published:
    plates = draw_plates(analysis)
    files = _files(folder)
    content = digest({str(path.relative_to(folder)): _sha(path) for path in files})
    if content != known.content:
        _upload(analysis, plates, {str(path.relative_to(folder)): path for path in files}, known, scratch)
    report = report_spec(analysis, plates, CAPTIONS, known.entity, known.project)
    report.id = known.report_id
    report.save()
    workspace = workspace_spec(analysis, known.entity, known.project)
    workspace._internal_id, workspace._internal_name = known.workspace_id, known.workspace_name
    workspace.save()
    return Published(
        entity=known.entity,
        project=known.project,
        report_id=str(report.id),
        report_url=str(report.url),
        workspace_id=str(workspace._internal_id),
        workspace_name=str(workspace._internal_name),
        workspace_url=str(workspace.url),
        content=content,
    )


def _upload(analysis: Analysis, plates: list[Plate], files: dict[str, Path], place: Published, scratch: Path) -> None:
    """Log the figures, and the report's files as an artifact, to the sweep's report run."""
    import wandb
    from PIL import Image

    group = analysis.ablation.sweep.group
    settings = wandb.Settings(**SETTINGS)
    with wandb.init(
        id=f"report-{group}",
        name=f"report {group}",
        entity=place.entity,
        project=place.project,
        group=group,
        job_type=JOB,
        resume="allow",
        reinit="create_new",
        dir=str(scratch),
        settings=settings,
    ) as run:
        figures = {
            f"figures/{plate.name}": wandb.Image(Image.open(io.BytesIO(plate.png)), caption=plate.title)
            for plate in plates
        }
        if figures:
            run.log(figures)
        artifact = wandb.Artifact(f"report-{group}", type=JOB)
        for name, path in files.items():
            artifact.add_file(str(path), name=name)
        run.log_artifact(artifact)


def _place(analysis: Analysis) -> tuple[str, str]:
    """Entity and project of the sweep's runs."""
    import wandb

    loggers = [run.config.get("logger") or {} for run in analysis.ablation.done]
    projects = {str(one["project"]) for one in loggers if one.get("project")} or {"capsbench"}
    entities = {str(one["entity"]) for one in loggers if one.get("entity")}
    if len(projects) > 1 or len(entities) > 1:
        raise CapsbenchError(
            f"the runs are in several W&B projects ({', '.join(sorted(projects | entities))}); one report shows one"
        )
    return (entities.pop() if entities else str(wandb.Api().default_entity)), projects.pop()


def _files(folder: Path) -> list[Path]:
    """The local report's own files, in order; nothing that the W&B client keeps there."""
    own = [*folder.glob("*.*"), *(folder / "figures").glob("*.*")]
    return sorted(path for path in own if path.is_file() and path.name != LEDGER and not path.name.startswith("."))


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _ledger(folder: Path) -> dict[str, Published]:
    try:
        values: Any = json.loads((folder / LEDGER).read_text())
        return {str(name): Published(**one) for name, one in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
