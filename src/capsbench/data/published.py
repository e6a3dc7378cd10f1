"""What was published: each data set's files, their checksums, sizes and classes.

A checksum is of the raw file, unpacked: packagers recompress the same content (`.gz` headers carry a date), so only
the unpacked bytes can be compared. Where only the packed file's checksum is known, that one is given. MNIST's,
Fashion-MNIST's and two of CIFAR-10's were compared with real files here; the others are those that several independent
readers of the data sets carry.
"""

from dataclasses import dataclass

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@dataclass(frozen=True)
class PublishedFile:
    """One file as its authors published it.

    Attributes:
        name: the authors' name for it, without `.gz` or `.bz2`.
        md5: hexadecimal MD5 of its bytes, unpacked; None where nobody says.
        size: its length in bytes, unpacked; None where nobody says.
        packed_md5: MD5 of the `.gz` or `.bz2` that its authors serve; None where there is none.
    """

    name: str
    md5: str | None
    size: int | None
    packed_md5: str | None = None


@dataclass(frozen=True)
class Published:
    """A data set as files.

    Attributes:
        name: what `data.name` calls it.
        title: what people call it.
        classes: names of the classes; a label is an index into them.
        image_shape: channels, height and width of an image.
        train_images: number of published training images.
        test_images: number of published test images.
        files: all files, training first; of IDX sets training images, training labels, test images, test labels.
        folders: where the files may be below `data.root` or `CAPSBENCH_DATA`, most telling first.
        asset: file under `assets/` that holds the data set itself; None where it is not bundled.
        system_folders: where a package of the operating system puts the files.
        package: that package, for advice.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    train_images: int
    test_images: int
    files: tuple[PublishedFile, ...]
    folders: tuple[str, ...]
    asset: str | None = None
    system_folders: tuple[str, ...] = ()
    package: str | None = None


MNIST = Published(
    name="mnist",
    title="MNIST handwritten digits (LeCun, Cortes, Burges)",
    classes=DIGITS,
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

FASHION_MNIST = Published(
    name="fashion_mnist",
    title="Fashion-MNIST (Xiao, Rasul, Vollgraf 2017)",
    classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    files=(
        PublishedFile(
            "train-images-idx3-ubyte",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            47_040_016,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        ),
        PublishedFile(
            "train-labels-idx1-ubyte", "9018921c3c673c538a1fc5bad174d6f9", 60_008, "25c81989df183df01b3e8a0aad5dffbe"
        ),
        PublishedFile(
            "t10k-images-idx3-ubyte", "8181f5470baa50b63fa0f6fddb340f0a", 7_840_016, "bef4ecab320f06d8554ea6380940ec79"
        ),
        PublishedFile(
            "t10k-labels-idx1-ubyte", "15d484375f8d13e6eb1aabb0c3f46965", 10_008, "bb300cfdad3c16e7a12a480ee83cd310"
        ),
    ),
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw", "."),
    system_folders=("/usr/share/datasets/fashion-mnist",),
    package="dataset-fashion-mnist",
)

KMNIST = Published(
    name="kmnist",
    title="Kuzushiji-MNIST (Clanuwat et al. 2018)",
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    image_shape=(1, 28, 28),
    train_images=60_000,
    test_images=10_000,
    files=(
        PublishedFile("train-images-idx3-ubyte", None, 47_040_016, "bdb82020997e1d708af4cf47b453dcf7"),
        PublishedFile("train-labels-idx1-ubyte", None, 60_008, "e144d726b3acfaa3e44228e80efcd344"),
        PublishedFile("t10k-images-idx3-ubyte", None, 7_840_016, "5c965bf0a639b31b8f53240b1b52f4d7"),
        PublishedFile("t10k-labels-idx1-ubyte", None, 10_008, "7320c461ea6c1c855c0b718fb2a4b134"),
    ),
    folders=("kmnist", "KMNIST/raw", "."),
)

USPS = Published(
    name="usps",
    title="USPS handwritten digits (Hull 1994), the LIBSVM form",
    classes=DIGITS,
    image_shape=(1, 16, 16),
    train_images=7_291,
    test_images=2_007,
    files=(
        PublishedFile("usps", None, None, "ec16c51db3855ca6c91edd34d0e9b197"),
        PublishedFile("usps.t", None, None, "8ea070ee2aca1ac39742fdd1ef5ed118"),
    ),
    folders=("usps", "USPS", "."),
)

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10 = Published(
    name="cifar10",
    title="CIFAR-10 (Krizhevsky 2009), binary version",
    classes=CIFAR10_CLASSES,
    image_shape=(3, 32, 32),
    train_images=50_000,
    test_images=10_000,
    files=(
        PublishedFile("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25", 30_730_000),
        PublishedFile("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692", 30_730_000),
        PublishedFile("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421", 30_730_000),
        PublishedFile("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb", 30_730_000),
        PublishedFile("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d", 30_730_000),
        PublishedFile("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d", 30_730_000),
    ),
    folders=("cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "."),
)
CIFAR10_PYTHON = Published(
    name="cifar10",
    title="CIFAR-10 (Krizhevsky 2009), Python version",
    classes=CIFAR10_CLASSES,
    image_shape=(3, 32, 32),
    train_images=50_000,
    test_images=10_000,
    files=(
        PublishedFile("data_batch_1", "c99cafc152244af753f735de768cd75f", None),
        PublishedFile("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec", None),
        PublishedFile("data_batch_3", "54ebc095f3ab1f0389bbae665268c751", None),
        PublishedFile("data_batch_4", "634d18415352ddfa80567beed471001a", None),
        PublishedFile("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb", None),
        PublishedFile("test_batch", "40351d587109b95175f43aff81a1287e", None),
    ),
    folders=("cifar10", "cifar-10-batches-py", "cifar10/cifar-10-batches-py", "."),
)

SVHN = Published(
    name="svhn",
    title="Street View House Numbers, cropped digits (Netzer et al. 2011)",
    classes=DIGITS,
    image_shape=(3, 32, 32),
    train_images=73_257,
    test_images=26_032,
    files=(
        PublishedFile("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", None),
        PublishedFile("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", None),
    ),
    folders=("svhn", "SVHN", "."),
)

_NORB_TRAIN, _NORB_TEST = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
SMALLNORB = Published(
    name="smallnorb",
    title="smallNORB stereo pairs of toys (LeCun, Huang, Bottou 2004)",
    classes=("animal", "human", "airplane", "truck", "car"),
    image_shape=(2, 96, 96),
    train_images=24_300,
    test_images=24_300,
    files=(
        PublishedFile(
            f"{_NORB_TRAIN}-dat.mat",
            "8138a0902307b32dfa0025a36dfa45ec",
            447_897_624,
            "66054832f9accfe74a0f4c36a75bc0a2",
        ),
        PublishedFile(
            f"{_NORB_TRAIN}-cat.mat", "fd5120d3f770ad57ebe620eb61a0b633", 97_220, "23c8b86101fbf0904a000b43d3ed2fd9"
        ),
        PublishedFile(
            f"{_NORB_TRAIN}-info.mat", "19faee774120001fc7e17980d6960451", 388_820, "51dee1210a742582ff607dfd94e332e3"
        ),
        PublishedFile(
            f"{_NORB_TEST}-dat.mat", "e9920b7f7b2869a8f1a12e945b2c166c", 447_897_624, "e4ad715691ed5a3a5f138751a4ceb071"
        ),
        PublishedFile(
            f"{_NORB_TEST}-cat.mat", "fd5120d3f770ad57ebe620eb61a0b633", 97_220, "5aa791cd7e6016cf957ce9bdb93b8603"
        ),
        PublishedFile(
            f"{_NORB_TEST}-info.mat", "7c5b871cc69dcadec1bf6a18141f5edc", 388_820, "a9454f3864d7fd4bb3ea7fc3eb84924e"
        ),
    ),
    folders=("smallnorb", "SmallNORB/raw", "."),
)

AFFNIST = Published(
    name="affnist",
    title="affNIST test digits (Tieleman 2013), trained on MNIST padded to 40 x 40",
    classes=DIGITS,
    image_shape=(1, 40, 40),
    train_images=60_000,
    test_images=320_000,
    files=(PublishedFile("test.mat", None, None),),
    folders=("affnist", "affNIST", "."),
)

PUBLISHED = {
    published.name: published for published in (MNIST, FASHION_MNIST, KMNIST, USPS, CIFAR10, SVHN, SMALLNORB, AFFNIST)
}
