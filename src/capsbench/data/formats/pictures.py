"""Pictures as arrays of bytes, through Pillow."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

# What torchvision's ImageFolder takes for images by name.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")
MAX_SIDE = 20_000
NO_PICTURE = "not a PNG or JPEG, nor another picture known here"


class DamagedPicture(Exception):
    """A file that is no whole picture; the message says why."""


def read_picture(path: Path, size: int | None) -> UInt8[np.ndarray, "height width 3"]:
    """A picture in RGB, upright as its EXIF orientation says, transparency on black, 16-bit grey as its upper byte.

    Args:
        path: the file.
        size: make it square with this side: the shorter side is resized to it (antialiased) and the middle is kept.
            None leaves it as it is.

    Raises:
        DamagedPicture: it is no picture of these formats, is cut or broken, or would be absurdly large.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures that unpack to far more than their file, and of broken metadata.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                if max(opened.size) > MAX_SIDE:
                    raise DamagedPicture(f"{opened.width} x {opened.height} pixels")
                if size:
                    # A JPEG may be decoded at a half, a quarter or an eighth, which still has `size` pixels.
                    opened.draft(None, (size, size))
                opened.load()
                picture = _rgb(ImageOps.exif_transpose(opened))
            return np.asarray(_square(picture, size) if size else picture)
    except DamagedPicture:
        raise
    except Exception as error:
        # Pillow's decoders of a broken file raise OSError, SyntaxError, ValueError, struct.error and others.
        reason = NO_PICTURE if isinstance(error, UnidentifiedImageError) else str(error)
        raise DamagedPicture(reason or type(error).__name__) from error


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        upper = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen).convert("RGB")
    return picture.convert("RGB")


def _square(picture: Image.Image, size: int) -> Image.Image:
    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))
