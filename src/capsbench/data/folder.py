"""Any folder of images: a class per directory, split by sub-folders, by a list, or by seed.

    ROOT/train/CLASS/... and ROOT/test/CLASS/...    the split is in the folders
    ROOT/CLASS/...                                  each class gives `data.test_share` of its images to the test part
    data.file_list=LIST.csv                         columns path, split (train or test) and, if wished, class

Nothing is skipped in silence: damaged images are all named, other files are counted, and what was decided (colours,
size, split) is said.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from capsbench.config import Colour, Data
from capsbench.data.dataset import Dataset
from capsbench.data.folder_layout import Found, Picture, find
from capsbench.data.formats.pictures import DamagedPicture, read_picture
from capsbench.data.sources import existing
from capsbench.errors import CapsbenchError

NAMED = 20
MAX_BYTES = 16 << 30
SMALLEST = 2


@dataclass(frozen=True)
class Decoded:
    """Pictures as bytes in the order they were found, and whether any has colour."""

    pixels: UInt8[np.ndarray, "images height width 3"]
    coloured: int


def load_folder(cfg: Data) -> Dataset:
    """The images below `data.root`.

    Raises:
        CapsbenchError: the folder has no such layout; an image is damaged (all are named); images differ in size and
            `data.size` is not given.
    """
    if cfg.root is None:
        raise CapsbenchError("data=folder needs data.root: a folder with a directory of images for each class")
    root = existing(cfg.root, "data.root")
    found = find(root, cfg)
    pictures = [*found.train, *found.test]
    decoded = _decode(root, pictures, cfg.size)
    grey = cfg.colour is Colour.grey or (cfg.colour is Colour.auto and decoded.coloured == 0)
    images = torch.from_numpy(_grey(decoded.pixels) if grey else decoded.pixels.transpose(0, 3, 1, 2).copy())
    index = {name: label for label, name in enumerate(found.classes)}
    labels = torch.tensor([index[picture.label] for picture in pictures])
    cut = len(found.train)
    return Dataset(
        cfg.name.value,
        images[:cut],
        labels[:cut],
        images[cut:],
        labels[cut:],
        found.classes,
        about=_about(root, found, decoded, cfg, grey=grey),
    )


def _decode(root: Path, pictures: list[Picture], size: int | None) -> Decoded:
    first: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    coloured = 0
    damaged: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    for number, picture in enumerate(pictures):
        try:
            image = read_picture(picture.path, size)
        except DamagedPicture as error:
            damaged.append(f"{picture.path.relative_to(root)}: {error}")
            continue
        sizes[image.shape[:2]] += 1
        if pixels is None:
            first = image.shape[:2]
            needed = len(pictures) * image.nbytes
            if needed > MAX_BYTES:
                raise CapsbenchError(
                    f"data.root={root}: {len(pictures):,} images of {first[0]} x {first[1]} pixels need "
                    f"{needed / 2**30:.0f} GiB; set data.size to make them smaller"
                )
            pixels = np.empty((len(pictures), *image.shape), dtype=np.uint8)
        if image.shape[:2] == first:
            pixels[number] = image
            coloured += bool((image[..., :1] != image[..., 1:]).any())
    if damaged:
        more = [f"and {len(damaged) - NAMED:,} more"] if len(damaged) > NAMED else []
        raise CapsbenchError(
            f"data.root={root}: {len(damaged):,} of {len(pictures):,} images are damaged; mend or remove them:\n  "
            + "\n  ".join([*damaged[:NAMED], *more])
        )
    if len(sizes) > 1:
        common = ", ".join(f"{height} x {width} ({count:,})" for (height, width), count in sizes.most_common(3))
        raise CapsbenchError(
            f"data.root={root}: images have {len(sizes):,} different sizes, most often {common} (height x width); "
            "set data.size=64 (or another number) to make all of them square and equal"
        )
    assert pixels is not None
    return Decoded(pixels, coloured)


def _grey(
    pixels: UInt8[np.ndarray, "images height width 3"],
) -> UInt8[np.ndarray, "images 1 height width"]:
    """Luma of ITU-R BT.601, as Pillow's `convert("L")`; exact where the three channels are equal."""
    grey = np.empty((len(pixels), 1, *pixels.shape[1:3]), dtype=np.uint8)
    for number, image in enumerate(pixels):
        grey[number, 0] = (image.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32) + 0x8000) >> 16
    return grey


def _repeated(pixels: UInt8[np.ndarray, "images height width 3"], train: int) -> int:
    """Test images that are a training image once more, which makes a test too easy."""
    known = {hashlib.blake2b(image).digest() for image in pixels[:train]}
    return sum(hashlib.blake2b(image).digest() in known for image in pixels[train:])


def _about(root: Path, found: Found, decoded: Decoded, cfg: Data, *, grey: bool) -> str:
    total = len(found.train) + len(found.test)
    height, width = decoded.pixels.shape[1:3]
    kinds = Counter(picture.path.suffix.lower().lstrip(".") for picture in (*found.train, *found.test))
    if cfg.colour is not Colour.auto:
        colours = f"{'grey' if grey else 'RGB'}, as data.colour={cfg.colour} asks"
    elif grey:
        colours = "grey, since no image has colour"
    else:
        colours = f"RGB, since {decoded.coloured:,} of {total:,} images have colour"
    size = (
        f"resized to {height} x {width} (shorter side, middle kept)" if cfg.size else f"{height} x {width} as they are"
    )
    lines = [
        f"folder {root}: {total:,} images ({', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())}), "
        f"{len(found.classes)} classes",
        f"  split: {len(found.train):,} training and {len(found.test):,} test images, {found.how}",
        f"  images: {colours}; {size}",
    ]
    if found.ignored:
        lines.append(f"  ignored: {found.ignored:,} files that are no image by name")
    if found.empty:
        lines.append(f"  directories without an image: {', '.join(found.empty[:NAMED])}")
    if again := _repeated(decoded.pixels, len(found.train)):
        lines.append(f"  in both parts: {again:,} of {len(found.test):,} test images equal a training image")
    counts = Counter(picture.label for picture in found.train)
    tested = Counter(picture.label for picture in found.test)
    few = [name for name in found.classes if counts[name] < SMALLEST]
    if few:
        lines.append(f"  few training images: {', '.join(f'{name} ({counts[name]})' for name in few[:NAMED])}")
    untested = [name for name in found.classes if not tested[name]]
    if untested:
        lines.append(f"  without a test image: {', '.join(untested[:NAMED])}")
    return "\n".join(lines)
