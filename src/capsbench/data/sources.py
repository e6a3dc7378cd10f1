"""Where a data set's files are: the user's own folder, or the copy that ships with the package."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from capsbench.data.asset import MEND
from capsbench.data.published import Published
from capsbench.errors import CapsbenchError

ENVIRONMENT = "CAPSBENCH_DATA"
ASSETS = Path(__file__).parent / "assets"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a data set's files are: in one bundled asset, or each in a file of the user's.

    Attributes:
        asset: the bundled asset; None where the user's files are taken.
        files: the user's files in the order of `Published.files`; empty where the asset is taken.
    """

    asset: Path | None = None
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"bundled copy ({self.asset})" if self.asset else str(self.files[0].parent)


def locate(published: Published, root: str | None) -> Source:
    """Find a data set: in `root`; else in the folder that CAPSBENCH_DATA names; else the bundled copy.

    `root` and CAPSBENCH_DATA may hold the files themselves or in one of `Published.folders`. Files may have the
    authors' names or those with a dot before `idx`, each with or without `.gz`. CAPSBENCH_DATA serves all data sets,
    so a folder there without any file of this one leaves the bundled copy in use; an incomplete one is an error.

    Args:
        published: the data set.
        root: `data.root`.

    Returns:
        Where the files are.

    Raises:
        CapsbenchError: the folder does not exist or lacks files; lists the missing files, the folders looked in and
            what to do.
    """
    if root is not None:
        return _locate_below(published, root, "data.root")
    folder = os.environ.get(ENVIRONMENT)
    if folder:
        if published.asset is None or _most_complete(published, _existing(folder, ENVIRONMENT)):
            return _locate_below(published, folder, ENVIRONMENT)
        log.info("%s=%s holds no file of %s; taking the bundled copy", ENVIRONMENT, folder, published.name)
    if published.asset is None:
        raise CapsbenchError(f"{published.title} is not bundled. {_advice(published)}")
    asset = ASSETS / published.asset
    if not asset.is_file():
        raise CapsbenchError(f"the bundled data {asset} are missing. {MEND}")
    return Source(asset=asset)


def _locate_below(published: Published, root: str, key: str) -> Source:
    folder = _existing(root, key)
    found = _most_complete(published, folder)
    missing = [file.name for file in published.files if file.name not in found]
    if not missing:
        return Source(files=tuple(found[file.name] for file in published.files))
    places = dict.fromkeys(str(folder / place) for place in published.folders)
    present = f" (it has {', '.join(path.name for path in found.values())})" if found else ""
    raise CapsbenchError(
        f"{key}={root} lacks {len(missing)} of {len(published.files)} files of {published.title}{present}.\n"
        f"  missing: {', '.join(missing)}\n"
        f"  looked in: {', '.join(places)}\n"
        f"  {_advice(published)}"
    )


def _existing(root: str, key: str) -> Path:
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise CapsbenchError(f"{key}={root}: expected a folder, found {found} ({folder})")
    return folder


def _most_complete(published: Published, root: Path) -> dict[str, Path]:
    """The files of the first folder below `root` that has the most of them, by the authors' names."""
    choices = [_present(published, root / place) for place in published.folders]
    return max(choices, key=len)


def _present(published: Published, folder: Path) -> dict[str, Path]:
    present = {}
    for file in published.files:
        spellings = [folder / name for name in usual_names(file.name)]
        path = next((path for path in spellings if path.is_file()), None)
        if path is not None:
            present[file.name] = path
    return present


def usual_names(name: str) -> list[str]:
    """The names under which a published IDX file is usually kept; unpacked first, since that is read faster."""
    dotted = name.replace("-idx", ".idx")
    return [name, dotted, f"{name}.gz", f"{dotted}.gz"]


def _advice(published: Published) -> str:
    names = ", ".join(file.name for file in published.files)
    own = f"Put {names} (each also as .gz) into one folder and set data.root or {ENVIRONMENT} to it"
    return f"{own}, or leave data.root unset for the bundled copy." if published.asset else f"{own}."
