"""Which images of a folder belong to which class and part; nothing is decoded here."""

import csv
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from capsbench.config import Data
from capsbench.data.formats.pictures import SUFFIXES
from capsbench.data.shuffle import shuffled
from capsbench.errors import CapsbenchError

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")
# A stream of its own, apart from those of `splits`.
TEST_STREAM = 3


@dataclass(frozen=True)
class Picture:
    """One image file and the name of its class."""

    path: Path
    label: str


@dataclass(frozen=True)
class Found:
    """The images of a folder.

    Attributes:
        train: training images, by class and path.
        test: test images, by class and path.
        classes: names of the classes, sorted.
        how: what decided the split, in words.
        ignored: number of files that are no images by their names.
        empty: directories where classes are looked for that have no image.
    """

    train: tuple[Picture, ...]
    test: tuple[Picture, ...]
    classes: tuple[str, ...]
    how: str
    ignored: int
    empty: tuple[str, ...] = ()


def find(root: Path, cfg: Data) -> Found:
    """Find the images below `root` and split them.

    Raises:
        CapsbenchError: the folder has no layout known here, a class is missing in training, or a part is empty.
    """
    if cfg.file_list is not None:
        return _checked(root, _by_list(root, Path(cfg.file_list).expanduser()))
    names = {path.name.lower(): path for path in _folders(root)}
    train = next((names[name] for name in TRAIN_NAMES if name in names), None)
    if train is None:
        alone = [names[name] for name in TEST_NAMES if name in names and any(map(_has_image, _folders(names[name])))]
        if alone:
            raise CapsbenchError(
                f"data.root={root} has {alone[0].name}/ but nothing to train on: expected {' or '.join(TRAIN_NAMES)} "
                "beside it; rename it if it is a class"
            )
        return _checked(root, _by_seed(root, cfg))
    tests = [names[name] for name in TEST_NAMES if name in names]
    if not tests:
        raise CapsbenchError(
            f"data.root={root} has {train.name}/ but nothing to test on: expected {', '.join(TEST_NAMES)} beside it"
        )
    others = [path for path in names.values() if path not in (train, tests[0])]
    return _checked(root, _by_folders(train, tests[0], others))


def _by_folders(train: Path, test: Path, others: Sequence[Path]) -> Found:
    train_pictures, ignored, empty = _classes(train)
    test_pictures, more, blank = _classes(test)
    how = f"by the folders {train.name}/ and {test.name}/"
    if others:
        unused = ", ".join(f"{path.name}/" for path in sorted(others))
        how += f" ({unused} not used: validation images come out of the training images)"
    missing = (*(f"{train.name}/{name}" for name in empty), *(f"{test.name}/{name}" for name in blank))
    return Found(train_pictures, test_pictures, _names(train_pictures), how, ignored + more, missing)


def _by_seed(root: Path, cfg: Data) -> Found:
    if not 0 < cfg.test_share < 1:
        raise CapsbenchError(f"data.test_share={cfg.test_share}: expected more than 0 and less than 1")
    pictures, ignored, empty = _classes(root)
    train: list[Picture] = []
    test: list[Picture] = []
    for name in _names(pictures):
        members = [picture for picture in pictures if picture.label == name]
        # At least one on each side, where there are two at all.
        count = min(max(1, round(len(members) * cfg.test_share)), len(members) - 1)
        drawn = set(shuffled(len(members), cfg.split_seed, TEST_STREAM)[:count].tolist())
        for number, picture in enumerate(members):
            (test if number in drawn else train).append(picture)
    how = f"drawn with data.split_seed={cfg.split_seed}: {cfg.test_share:.0%} of each class to test on"
    return Found(tuple(train), tuple(test), _names(pictures), how, ignored, empty)


def _by_list(root: Path, path: Path) -> Found:
    path = path if path.is_absolute() else root / path
    parts: dict[str, list[Picture]] = {"train": [], "test": []}
    seen: set[Path] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream)
            columns = rows.fieldnames or []
            if not {"path", "split"} <= set(columns):
                raise CapsbenchError(
                    f"data.file_list={path}: expected columns path, split, perhaps class; found {', '.join(columns)}"
                )
            for row in rows:
                _add(root, path, rows.line_num, row, parts, seen)
    except OSError as error:
        raise CapsbenchError(f"data.file_list={path}: cannot read it: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CapsbenchError(f"data.file_list={path}: expected CSV in UTF-8: {error}") from error
    train, test = (tuple(sorted(part, key=_order)) for part in parts.values())
    return Found(train, test, _names((*train, *test)), f"by {path}", 0)


def _add(
    root: Path, path: Path, line: int, row: dict[str, str], parts: dict[str, list[Picture]], seen: set[Path]
) -> None:
    where = f"data.file_list={path}, line {line}"
    name, split = (row.get("path") or "").strip(), (row.get("split") or "").strip()
    image = root / name
    if split not in parts:
        raise CapsbenchError(f"{where}: expected split to be train or test, found {split!r}")
    if not name or not image.is_file():
        raise CapsbenchError(f"{where}: no such image: {name!r} below {root}")
    if image in seen:
        raise CapsbenchError(f"{where}: {name} is listed twice")
    seen.add(image)
    parts[split].append(Picture(image, (row.get("class") or "").strip() or image.parent.name))


def _checked(root: Path, found: Found) -> Found:
    if not found.train or not found.test:
        empty = "training" if not found.train else "test"
        raise CapsbenchError(f"data.root={root}: found no {empty} image ({found.how})")
    strange = sorted({picture.label for picture in found.test} - {picture.label for picture in found.train})
    if strange:
        raise CapsbenchError(f"data.root={root}: classes to test on without a training image: {', '.join(strange)}")
    if len(found.classes) < 2:
        inner = root / found.classes[0]
        nested = [path.name for path in _folders(inner)] if inner.is_dir() else []
        hint = f"; it holds {', '.join(nested[:3])}: perhaps data.root={inner}" if nested else ""
        raise CapsbenchError(f"data.root={root}: expected at least two classes, found only {found.classes[0]}{hint}")
    return found


def _classes(folder: Path) -> tuple[tuple[Picture, ...], int, tuple[str, ...]]:
    """Images of every class directory, however deep, the number of other files, and directories without an image."""
    pictures: list[Picture] = []
    ignored, empty = 0, []
    for directory in _folders(folder):
        # The same name may be spelt in two ways, of which file systems prefer one or the other.
        label = unicodedata.normalize("NFC", directory.name)
        before = len(pictures)
        for place, names in _walk(directory):
            images = [name for name in sorted(names) if _is_image(name)]
            ignored += len(names) - len(images)
            pictures += [Picture(place / name, label) for name in images]
        if len(pictures) == before:
            empty.append(directory.name)
    if not pictures:
        loose = sum(path.is_file() and _is_image(path.name) for path in folder.iterdir())
        hint = (
            f"; {loose:,} images lie in it without a class: put them into directories, or name them and their classes "
            "in data.file_list"
            if loose
            else ""
        )
        raise CapsbenchError(
            f"{folder}: expected a directory for each class with images in it ({', '.join(SUFFIXES)}), found none "
            f"(it has {len(_folders(folder))} directories and {ignored:,} files in them that are no images){hint}"
        )
    return tuple(sorted(pictures, key=_order)), ignored, tuple(empty)


def _walk(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every directory below, itself included, with the names of its files; links are followed, never in a circle."""
    seen = {directory.resolve()}
    for place, below, names in os.walk(directory, followlinks=True):
        here, kept = Path(place), []
        for name in sorted(below):
            target = (here / name).resolve()
            if name.startswith(".") or target in seen or target in here.resolve().parents:
                continue
            seen.add(target)
            kept.append(name)
        below[:] = kept
        yield here, names


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _has_image(directory: Path) -> bool:
    return any(_is_image(name) for _, names in _walk(directory) for name in names)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _order(picture: Picture) -> tuple[str, str]:
    return picture.label, str(picture.path)


def _names(pictures: Sequence[Picture]) -> tuple[str, ...]:
    return tuple(sorted({picture.label for picture in pictures}))
