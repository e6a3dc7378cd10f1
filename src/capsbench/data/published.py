"""What was published: each data set's files, their checksums, sizes and classes.

A checksum is of the raw file, unpacked: packagers recompress the same content (`.gz` headers carry a date), so only
the unpacked bytes can be compared.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedFile:
    """One file as its authors published it, unpacked.

    Attributes:
        name: the authors' name for it, without `.gz`.
        md5: hexadecimal MD5 of its bytes.
        size: its length in bytes.
    """

    name: str
    md5: str
    size: int


@dataclass(frozen=True)
class Published:
    """A data set of four IDX files.

    Attributes:
        name: what `data.name` calls it.
        title: what people call it.
        classes: names of the classes; a label is an index into them.
        image_shape: channels, height and width of an image.
        train_images: number of published training images.
        test_images: number of published test images.
        files: training images, training labels, test images and test labels, in this order.
        folders: where the files may be below `data.root` or `CAPSBENCH_DATA`, most telling first.
        asset: file under `assets/` that holds the data set itself; None where it is not bundled.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train_images: int
    test_images: int
    files: tuple[PublishedFile, PublishedFile, PublishedFile, PublishedFile]
    folders: tuple[str, ...]
    asset: str | None = None


MNIST = Published(
    name="mnist",
    title="MNIST handwritten digits (LeCun, Cortes, Burges)",
    classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    files=(
        PublishedFile("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", 47_040_016),
        PublishedFile("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 60_008),
        PublishedFile("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 7_840_016),
        PublishedFile("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 10_008),
    ),
    folders=("mnist", "MNIST/raw", "."),
    asset="mnist.idx.xz",
)

PUBLISHED = {published.name: published for published in (MNIST,)}
