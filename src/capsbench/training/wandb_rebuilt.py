"""What W&B would have said about a run when it began, made from the run's own files where W&B could not write it.

A disk that is full when a run starts leaves an empty `.wandb` file: its name says the run's W&B id, and config.yaml,
provenance.json and metrics.csv the rest.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from capsbench.training.wandb_file import Record
from capsbench.training.wandb_session import without_secrets


def rebuilt_records(folder: Path, run_id: str) -> tuple[Record, Record] | None:
    """Header and run record of a run from its folder; None where config.yaml does not say what is needed."""
    from wandb import __version__
    from wandb.proto import wandb_internal_pb2

    try:
        values: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
        named, logger, seed = values["run"], values["logger"], int(values["seed"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None
    header, record = wandb_internal_pb2.Record(), wandb_internal_pb2.Record()
    header.header.version_info.producer = __version__
    header.header.version_info.min_consumer = "0.8.0"
    about = record.run
    about.run_id, about.project, about.entity = run_id, logger["project"], logger.get("entity") or ""
    about.run_group, about.job_type, about.display_name = named["group"], "train", f"{named['arm']}-s{seed:02d}"
    about.notes = named.get("notes") or ""
    about.tags.append(named["arm"])
    with suppress(OSError, ValueError, KeyError):
        about.start_time.FromJsonString(json.loads((folder / "provenance.json").read_text())["started"])
    shown = {**values, "arm": named["arm"], "hash": folder.parent.name.rpartition("_")[2]}
    for name, value in shown.items():
        about.config.update.add(key=name, value_json=json.dumps(without_secrets(value)))
    return header, record
