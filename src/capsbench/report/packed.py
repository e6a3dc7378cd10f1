"""Predicted classes of many runs in little text: rows of equal length, one after the other, xz and base64.

Runs of one sweep are wrong on much the same images, so that a row costs little beside the row before it: 30 runs with
1.5 % errors on 10,000 images take 16 kB.
"""

import base64
import lzma
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from capsbench.errors import CapsbenchError
from capsbench.report.collect import AFFINE, SELECTED, Predictions, RunRecord

LABEL, LAST, AFFINE_ROW = "label", "last", "affine"
TEST_SET, AFFINE_SET = "test", "affine"
ENCODING = "one class a byte, row after row; xz, base64"

Block = dict[str, Any]


def pack_predictions(runs: Sequence[RunRecord]) -> list[Block]:
    """The predictions of runs, in one block for every set of images that they were tested on.

    Runs whose classes do not fit a byte are left out.
    """
    blocks: list[Block] = []
    for images in (TEST_SET, AFFINE_SET):
        sets: dict[bytes, list[RunRecord]] = {}
        for run in runs:
            if run.predictions is not None and (key := _image_key(run.predictions, images)):
                sets.setdefault(key, []).append(run)
        blocks += [_pack_block(images, members) for members in sets.values()]
    return blocks


def unpack_predictions(blocks: Sequence[Block]) -> dict[tuple[str, int], Predictions]:
    """Predictions by arm and seed.

    Raises:
        CapsbenchError: a block is damaged.
    """
    rows: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for block in blocks:
        classes = _unpack_rows(block)
        image = _unpack_images(block)
        for name, row in zip(block["rows"][1:], classes[1:], strict=True):
            arm, seed, what = name.rsplit("/", 2)
            found = rows.setdefault((arm, int(seed)), {})
            found[what] = row
            found[f"{block['images']} label"] = classes[0]
            if image is not None:
                found["image"] = image
    return {
        owner: Predictions(
            label=found[f"{TEST_SET} label"],
            last=found[LAST],
            selected=found.get(SELECTED),
            affine_label=found.get(f"{AFFINE_SET} label"),
            affine_predicted=found.get(AFFINE_ROW),
            affine_image=found.get("image"),
        )
        for owner, found in rows.items()
        if LAST in found
    }


def _image_key(kept: Predictions, images: str) -> bytes:
    """Equal for runs that were tested on the same images; empty where nothing was kept that fits."""
    label, predicted = (kept.affine_label, kept.affine_predicted) if images == AFFINE_SET else (kept.label, kept.last)
    if label is None or predicted is None or label.dtype != np.uint8 or predicted.dtype != np.uint8:
        return b""
    source = kept.affine_image if images == AFFINE_SET else None
    return label.tobytes() + (b"" if source is None else source.tobytes())


def _pack_block(images: str, runs: Sequence[RunRecord]) -> Block:
    first = runs[0].predictions
    assert first is not None
    label = first.labels(AFFINE) if images == AFFINE_SET else first.label
    assert label is not None
    names, rows = [LABEL], [label]
    for what in (AFFINE_ROW,) if images == AFFINE_SET else (LAST, SELECTED):
        for run in runs:
            row = _row(run, what)
            if row is not None and row.dtype == np.uint8 and row.size == label.size:
                names.append(f"{run.arm}/{run.seed}/{what}")
                rows.append(row)
    block = {"images": images, "count": int(label.size), "rows": names, "encoding": ENCODING}
    block["classes"] = _encode(np.concatenate(rows).tobytes())
    if images == AFFINE_SET and first.affine_image is not None:
        steps = np.diff(first.affine_image.astype("<i4"), prepend=np.int32(0)).astype("<i4")
        block["image"] = _encode(steps.tobytes())
    return block


def _row(run: RunRecord, what: str) -> UInt8[np.ndarray, "images"] | None:
    kept = run.predictions
    if kept is None:
        return None
    return {LAST: kept.last, SELECTED: kept.selected, AFFINE_ROW: kept.affine_predicted}[what]


def _unpack_rows(block: Block) -> UInt8[np.ndarray, "rows images"]:
    classes = np.frombuffer(_decode(block["classes"]), dtype=np.uint8)
    shape = (len(block["rows"]), block["count"])
    if classes.size != shape[0] * shape[1] or block["rows"][0] != LABEL:
        raise CapsbenchError(f"packed predictions: {classes.size} classes for {shape[0]} rows of {shape[1]} images")
    return classes.reshape(shape)


def _unpack_images(block: Block) -> Int32[np.ndarray, "images"] | None:
    if "image" not in block:
        return None
    return np.cumsum(np.frombuffer(_decode(block["image"]), dtype="<i4"), dtype=np.int32)


def _encode(content: bytes) -> list[str]:
    text = base64.b64encode(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)).decode()
    return list(_lines(text))


def _lines(text: str, width: int = 120) -> Iterator[str]:
    for start in range(0, len(text), width):
        yield text[start : start + width]


def _decode(lines: Sequence[str]) -> bytes:
    try:
        return lzma.decompress(base64.b64decode("".join(lines), validate=True))
    except (lzma.LZMAError, ValueError) as error:
        raise CapsbenchError(f"packed predictions cannot be read: {error}") from error
