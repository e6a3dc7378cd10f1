"""What `capsbench data` does: list the data sets, verify the files of one, show one as a contact sheet."""

from pathlib import Path

from capsbench.config import Data, DatasetName
from capsbench.data.asset import unpack
from capsbench.data.idx_files import match, read_files, require_published
from capsbench.data.published import PUBLISHED, Published
from capsbench.data.sources import locate
from capsbench.errors import CapsbenchError


def list_datasets() -> str:
    """One line per data set: name, sizes, and where its files are (or that they are missing); nothing is read."""
    lines = []
    for published in PUBLISHED.values():
        try:
            where = str(locate(published, None))
        except CapsbenchError as error:
            where = f"not found: {str(error).splitlines()[0]}"
        channels, height, width = published.image_shape
        lines.append(
            f"{published.name}  {published.title}: {published.train_images:,} training and "
            f"{published.test_images:,} test images, {len(published.classes)} classes, "
            f"{channels} x {height} x {width}\n  {where}"
        )
    return "\n".join(lines)


def verify(name: str, root: str | None = None) -> str:
    """Read a data set's files again, whatever was proved before, and compare each with its published MD5.

    Args:
        name: of the data set.
        root: `data.root`; None for CAPSBENCH_DATA or the bundled copy.

    Returns:
        One line per file, whether all are the published ones (the user's own files need not be), and the images per
        class.

    Raises:
        CapsbenchError: no such data set; files missing, damaged, or not images and labels of this data set; or the
            bundled copy is not what was published.
    """
    published = _published(name)
    from capsbench.data.datasets import load_dataset
    from capsbench.data.show import describe

    source = locate(published, root)
    if source.asset is not None:
        contents = unpack(source.asset, [file.size for file in published.files])
        require_published(published, source, contents)
        lines = [f"  {file.name}: md5 {file.md5}, as published" for file in published.files]
        summary = "all files are the published ones"
    else:
        same = match(published, read_files(source))
        lines = [
            f"  {path.name}: {'as published' if ok else f'differs from the published {file.name} (md5 {file.md5})'}"
            for path, file, ok in zip(source.files, published.files, same, strict=True)
        ]
        summary = "all files are the published ones" if all(same) else "readable, but not the published files"
    counts = describe(load_dataset(Data(name=DatasetName(published.name), root=root)))
    return "\n".join([f"{name}: {source}", *lines, summary, counts])


def show(name: str, root: str | None = None, out: str | Path | None = None) -> Path:
    """Write a contact sheet of a data set as PNG.

    Args:
        name: of the data set.
        root: `data.root`; None for CAPSBENCH_DATA or the bundled copy.
        out: the file to write; None for NAME.png in the current folder.

    Returns:
        The written file.

    Raises:
        CapsbenchError: no such data set, files missing or damaged, or `out` cannot be written.
    """
    published = _published(name)
    from capsbench.data.datasets import load_dataset
    from capsbench.data.show import contact_sheet

    path = Path(out) if out is not None else Path(f"{name}.png")
    dataset = load_dataset(Data(name=DatasetName(published.name), root=root))
    try:
        return contact_sheet(dataset, path)
    except OSError as error:
        raise CapsbenchError(f"cannot write {path}: {error.strerror or error}") from error


def _published(name: str) -> Published:
    if name not in PUBLISHED:
        raise CapsbenchError(f"unknown data set {name}: expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]
