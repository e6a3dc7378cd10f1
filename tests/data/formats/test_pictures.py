import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from capsbench.data.formats.pictures import DamagedPicture, read_picture

DRAW = np.random.default_rng(6)
RGB = DRAW.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def write(tmp_path, content: bytes):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    return path


def test_rgb_and_grey_come_back(tmp_path):
    path = write(tmp_path, encoded(Image.fromarray(RGB)))
    np.testing.assert_array_equal(read_picture(path, None), RGB)
    path = write(tmp_path, encoded(Image.fromarray(RGB[..., 0])))
    np.testing.assert_array_equal(read_picture(path, None), RGB[..., :1].repeat(3, axis=2))


def test_transparency_lies_on_black(tmp_path):
    alpha = np.zeros((20, 30, 1), np.uint8)
    alpha[:, 15:] = 255
    seen = read_picture(write(tmp_path, encoded(Image.fromarray(np.concatenate([RGB, alpha], axis=2)))), None)
    np.testing.assert_array_equal(seen[:, 15:], RGB[:, 15:])
    assert not seen[:, :15].any()
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    palette.putpalette([200, 100, 50, 10, 20, 30])
    seen = read_picture(write(tmp_path, encoded(palette, transparency=1)), None)
    np.testing.assert_array_equal(seen[0, 0], [200, 100, 50])
    np.testing.assert_array_equal(seen[0, 1], [0, 0, 0])


def test_sixteen_bits_keep_their_upper_byte(tmp_path):
    deep = DRAW.integers(0, 65536, (5, 4), dtype=np.uint16)
    seen = read_picture(write(tmp_path, encoded(Image.fromarray(deep))), None)
    np.testing.assert_array_equal(seen[..., 0], deep >> 8)


def test_a_picture_taken_sideways_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = Image.fromarray(np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)).convert("RGB")
    upright = read_picture(write(tmp_path, encoded(ramp, "JPEG", exif=exif, quality=95)), None)
    assert upright.shape == (60, 40, 3)
    # Orientation 6: what is stored as the first row is seen as the last column.
    assert upright[:, -1].mean() < 20 < 230 < upright[:, 0].mean()


def test_resizing_keeps_the_middle(tmp_path):
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 200
    for kind in ("PNG", "JPEG"):
        seen = read_picture(write(tmp_path, encoded(Image.fromarray(wide), kind)), 16)
        assert seen.shape == (16, 16, 3)
        assert seen[:, 3:-3].min() > 190
    tall = read_picture(write(tmp_path, encoded(Image.fromarray(wide.transpose(1, 0, 2)))), 64)
    assert tall.shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_cut_pictures_are_damaged(tmp_path, kind):
    content = encoded(Image.fromarray(RGB), kind)
    with pytest.raises(DamagedPicture):
        read_picture(write(tmp_path, content[: len(content) // 2]), None)


def test_other_files_are_damaged(tmp_path):
    for content in (b"", b"text", encoded(Image.fromarray(RGB), "GIF")):
        with pytest.raises(DamagedPicture, match="not a PNG or JPEG"):
            read_picture(write(tmp_path, content), None)


def test_a_bomb_is_damaged_before_it_is_unpacked(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (15_000, 2**31 - 1):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        with pytest.raises(DamagedPicture):
            read_picture(write(tmp_path, content), None)


@given(st.integers(0, 5000), st.integers(0, 255), st.sampled_from(["PNG", "JPEG"]), st.sampled_from([None, 8]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_pictures_give_a_picture_or_a_reason(tmp_path, position, value, kind, size):
    content = bytearray(encoded(Image.fromarray(RGB), kind))
    content[position % len(content)] = value
    reason = ""
    try:
        seen = read_picture(write(tmp_path, bytes(content)), size)
    except DamagedPicture as error:
        reason = str(error) or "no reason"
    assert reason != "no reason"
    assert reason or (seen.dtype == np.uint8 and seen.shape[2] == 3)
