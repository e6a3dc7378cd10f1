"""Where data sets can be fetched: the addresses their authors publish, with the checksum of what is served there.

None of these addresses could be reached when this table was written, so each is marked `verified=False` until somebody
has fetched it; the checksums are verified on every fetch. `md5=None` means that nobody publishes a checksum: what comes
is then read and checked for its format and its numbers only, and its MD5 is printed.

All were found in public sources, though: USPS, word for word, in torchvision's `usps.py`; Fashion-MNIST's addresses in
its authors' repository, KMNIST's and SVHN's in torchvision with http, with https in others' loaders, the checksums of
all three in torchvision's `mnist.py` and `svhn.py`; CIFAR-10's address, length and checksum on its author's page as
quoted in public repositories; smallNORB's six with their checksums and affNIST's in several public loaders.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """One file that a server offers.

    Attributes:
        url: address, https wherever the authors offer it.
        md5: of the file as served.
        size: its length in bytes; None where nobody says (a progress bar then asks the server).
        members: for an archive, the wanted files inside it and where each belongs below the data set's folder; empty
            for a file that is kept as it is.
        limit: no file out of the archive may be longer than this.
        verified: whether the address was tried by the authors of this table.
    """

    url: str
    md5: str | None
    size: int | None = None
    members: tuple[tuple[str, str], ...] = ()
    limit: int = 1 << 30
    verified: bool = False

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


def _each(base: str, files: Iterable[tuple[str, str]]) -> tuple[Download, ...]:
    return tuple(Download(f"{base}/{name}", md5) for name, md5 in files)


_CIFAR10_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")

MIRRORS: dict[str, tuple[Download, ...]] = {
    "fashion_mnist": _each(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        (
            ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "kmnist": _each(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist",
        (
            ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
            ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
            ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
            ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
    ),
    "usps": _each(
        "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass",
        (("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"), ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118")),
    ),
    "cifar10": (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            170_052_171,
            tuple((f"cifar-10-batches-bin/{name}", name) for name in _CIFAR10_FILES),
            limit=30_730_000,
        ),
    ),
    "svhn": _each(
        # The authors' page gives http; the server is said to answer https too.
        "https://ufldl.stanford.edu/housenumbers",
        (
            ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    "smallnorb": _each(
        "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small",
        (
            ("smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz", "66054832f9accfe74a0f4c36a75bc0a2"),
            ("smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat.gz", "23c8b86101fbf0904a000b43d3ed2fd9"),
            ("smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz", "51dee1210a742582ff607dfd94e332e3"),
            ("smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat.gz", "e4ad715691ed5a3a5f138751a4ceb071"),
            ("smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat.gz", "5aa791cd7e6016cf957ce9bdb93b8603"),
            ("smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat.gz", "a9454f3864d7fd4bb3ea7fc3eb84924e"),
        ),
    ),
    "affnist": (
        Download(
            "https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/test.mat.zip",
            None,
            members=(("test.mat", "test.mat"),),
        ),
    ),
}
