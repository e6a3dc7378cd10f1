"""Where a data set's files are: the user's own folder, the copy that ships with the package, or a system package's."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capsbench.data.asset import MEND
from capsbench.data.published import Published, PublishedFile
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
    """Find a data set: in `root`; else below CAPSBENCH_DATA, bundled, in a system package or where `fetch` puts it.

    `root` and the folders may hold the files themselves or in one of `Published.folders`. Files may have the authors'
    names or those with a dot before `idx`, each with or without `.gz` or `.bz2`. CAPSBENCH_DATA serves all data sets,
    so a folder there without any file of this one leaves the other places in use; an incomplete one is an error.

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
    if folder and most_complete(published, existing(folder, ENVIRONMENT)):
        return _locate_below(published, folder, ENVIRONMENT)
    if published.asset is not None:
        if folder:
            log.info("%s=%s holds no file of %s; taking the bundled copy", ENVIRONMENT, folder, published.name)
        asset = ASSETS / published.asset
        if not asset.is_file():
            raise CapsbenchError(f"the bundled data {asset} are missing. {MEND}")
        return Source(asset=asset)
    own = fetch_folder()
    for place in (*map(Path, published.system_folders), own / published.name):
        found = _present(published, place)
        if len(found) == len(published.files):
            return Source(files=tuple(found[file.name] for file in published.files))
        if found and place.is_relative_to(own):
            return _locate_below(published, str(place), "the folder of fetched data")
    looked = [f"{ENVIRONMENT}={folder}"] if folder else []
    looked += [*published.system_folders, str(own / published.name)]
    raise CapsbenchError(f"{published.title} is not here (looked in {', '.join(looked)}).\n  {advice(published)}")


def choose_form(forms: Sequence[Published], root: str | None) -> Published:
    """Of several published forms of a data set, the one of which most files are there; the first where none is.

    Raises:
        CapsbenchError: `root`, or the folder that CAPSBENCH_DATA names, is no folder.
    """
    folder = root if root is not None else os.environ.get(ENVIRONMENT)
    places = [existing(folder, "data.root" if root is not None else ENVIRONMENT)] if folder else []
    if root is None:
        places.append(fetch_folder())
    return max(forms, key=lambda form: max(len(most_complete(form, place)) for place in places))


def fetch_folder() -> Path:
    """Where `fetch` keeps data sets: CAPSBENCH_DATA, `$XDG_DATA_HOME/capsbench` or `~/.local/share/capsbench`."""
    own = os.environ.get(ENVIRONMENT)
    if own:
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_DATA_HOME")
    if shared and Path(shared).is_absolute():
        return Path(shared) / "capsbench"
    try:
        return Path.home() / ".local" / "share" / "capsbench"
    except RuntimeError:
        return Path("capsbench-data").absolute()


def existing(root: str, key: str) -> Path:
    """The folder that a key names.

    Raises:
        CapsbenchError: it is no folder.
    """
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise CapsbenchError(f"{key}={root}: expected a folder, found {found} ({folder})")
    return folder


def most_complete(published: Published, root: Path) -> dict[str, Path]:
    """The files of the first folder below `root` that has the most of them, by the authors' names."""
    choices = [_present(published, root / place) for place in published.folders]
    return max(choices, key=len)


def usual_names(name: str) -> list[str]:
    """The names under which a published file is usually kept; unpacked first, since that is read faster."""
    dotted = name.replace("-idx", ".idx")
    return list(dict.fromkeys([name, dotted, f"{name}.gz", f"{dotted}.gz", f"{name}.bz2"]))


def advice(published: Published) -> str:
    """What a user can do to have the data set."""
    names = ", ".join(file.name for file in published.files)
    own = f"Put {names} (each also as .gz) into one folder and set data.root or {ENVIRONMENT} to it"
    if published.asset:
        return f"{own}, or leave data.root unset for the bundled copy."
    package = f", or install the package {published.package} (Debian, Ubuntu)" if published.package else ""
    return f"Run `capsbench data fetch {published.name}`{package}. Or: {own[0].lower()}{own[1:]}."


def _locate_below(published: Published, root: str, key: str) -> Source:
    folder = existing(root, key)
    found = most_complete(published, folder)
    missing = [file.name for file in published.files if file.name not in found]
    if not missing:
        return Source(files=tuple(found[file.name] for file in published.files))
    places = dict.fromkeys(str(folder / place) for place in published.folders)
    present = f" (it has {', '.join(path.name for path in found.values())})" if found else ""
    raise CapsbenchError(
        f"{key}={root} lacks {len(missing)} of {len(published.files)} files of {published.title}{present}.\n"
        f"  missing: {', '.join(missing)}\n"
        f"  looked in: {', '.join(places)}\n"
        f"  {advice(published)}"
    )


def _present(published: Published, folder: Path) -> dict[str, Path]:
    present = {}
    for file in published.files:
        path = _existing_file(folder, file)
        if path is not None:
            present[file.name] = path
    return present


def _existing_file(folder: Path, file: PublishedFile) -> Path | None:
    return next((path for name in usual_names(file.name) if (path := folder / name).is_file()), None)
