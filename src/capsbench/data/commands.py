"""What `capsbench data` does: list the data sets, fetch or verify the files of one, show one as a contact sheet."""

from collections.abc import Sequence
from pathlib import Path

from capsbench.config import Data, DatasetName
from capsbench.data.mirrors import MIRRORS
from capsbench.data.published import CIFAR10, CIFAR10_PYTHON, PUBLISHED, Published
from capsbench.data.sources import Source, choose_form, locate
from capsbench.errors import CapsbenchError

FOLDER = (
    "folder  any folder of PNG, JPEG and other images, a directory for each class\n"
    "  capsbench data show folder data.root=FOLDER data.size=64"
)


def list_datasets() -> str:
    """A few lines per data set: name, sizes, and where its files are (or that they are missing); nothing is read."""
    lines = []
    for published in PUBLISHED.values():
        channels, height, width = published.image_shape
        lines.append(
            f"{published.name}  {published.title}: {published.train_images:,} training and "
            f"{published.test_images:,} test images, {len(published.classes)} classes, "
            f"{channels} x {height} x {width}\n  {_where(published)}"
        )
    return "\n".join([*lines, FOLDER])


def data_config(name: str, root: str | None = None, overrides: Sequence[str] = ()) -> Data:
    """The `data` group that `data=NAME` and overrides of its keys make.

    Args:
        name: an option of the group, such as mnist, cifar10_part or folder.
        root: `data.root`.
        overrides: such as `data.size=64`.

    Raises:
        CapsbenchError: no such option, key or value.
    """
    from capsbench.compose import compose

    data = compose([f"data={name}", *overrides]).data
    if root is not None:
        data.root = root
    return data


def fetch(name: str, root: str | None = None, *, progress: bool = True) -> str:
    """Fetch a data set's files, prove them, and say where they are.

    Raises:
        CapsbenchError: nothing to fetch, no network (says which files to put where), a wrong checksum.
    """
    from capsbench.data.download import fetch_dataset

    folder, lines = fetch_dataset(name, root, progress=progress)
    unproved = [download.name for download in MIRRORS[name] if download.md5 is None]
    if unproved:
        lines.append(f"nobody publishes a checksum of {', '.join(unproved)}; `capsbench data verify {name}` reads it")
    hint = f"; use it with data=NAME data.root={folder}" if root is not None else ""
    return "\n".join([f"{name}: {folder}{hint}", *(f"  {line}" for line in lines)])


def verify(cfg: Data) -> str:
    """Read a data set's files again, whatever was proved before, and compare each with its published MD5.

    Returns:
        One line per file, whether all are the published ones (the user's own files need not be), and the images per
        class.

    Raises:
        CapsbenchError: files missing, damaged, or not images and labels of this data set; or the bundled copy is not
            what was published.
    """
    from capsbench.data.datasets import load_dataset
    from capsbench.data.idx_files import read_asset, require_published
    from capsbench.data.show import describe
    from capsbench.data.verification import is_published

    if cfg.name is DatasetName.folder or cfg.partial:
        return describe(load_dataset(cfg))
    published = _form(PUBLISHED[cfg.name.value], cfg.root)
    source = locate(published, cfg.root)
    if source.asset is not None:
        require_published(published, source, read_asset(published, source))
        lines = [f"  {file.name}: md5 {file.md5}, as published" for file in published.files]
        summary = "all files are the published ones"
    else:
        states = [is_published(file, path) for file, path in zip(published.files, source.files, strict=True)]
        lines = [
            f"  {path.name}: {_state(state, file.name, file.md5 or file.packed_md5)}"
            for path, file, state in zip(source.files, published.files, states, strict=True)
        ]
        summary = "all files are the published ones" if all(states) else "readable, but not the published files"
        if None in states and False not in states:
            summary = "readable; no published checksum is known for some of them"
    return "\n".join([f"{cfg.name}: {source}", *lines, summary, describe(load_dataset(cfg))])


def show(cfg: Data, out: Path) -> str:
    """Write a contact sheet of a data set as PNG.

    Args:
        cfg: the `data` group; `size`, `pad` and `overlap` show, shifts and whatever else is drawn anew in every epoch
            do not.
        out: the file to write.

    Returns:
        What the data set holds and where the sheet is.

    Raises:
        CapsbenchError: files missing or damaged, or `out` cannot be written.
    """
    from capsbench.data.datasets import load_dataset
    from capsbench.data.show import contact_sheet, describe, framed, paired

    dataset = load_dataset(cfg)
    shown = paired(dataset, cfg.pad, cfg.shift) if cfg.overlap else framed(dataset, cfg.pad)
    try:
        contact_sheet(shown, out, (len(dataset.train_labels), len(dataset.test_labels)))
    except OSError as error:
        raise CapsbenchError(f"cannot write {out}: {error.strerror or error}") from error
    return f"{describe(dataset)}\ncontact sheet written to {out}"


def _where(published: Published) -> str:
    try:
        return str(_locate(published, None))
    except CapsbenchError as error:
        return f"not here: {str(error).splitlines()[-1].strip()}"


def _locate(published: Published, root: str | None) -> Source:
    return locate(_form(published, root), root)


def _form(published: Published, root: str | None) -> Published:
    return choose_form((CIFAR10, CIFAR10_PYTHON), root) if published is CIFAR10 else published


def _state(same: bool | None, name: str, md5: str | None) -> str:
    if same is None:
        return "no published checksum is known for this form of the file"
    return "as published" if same else f"differs from the published {name} (md5 {md5})"
