import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capsbench.config import Colour, Data, DatasetName
from capsbench.data.datasets import load_dataset
from capsbench.data.splits import split
from capsbench.errors import CapsbenchError

GREYS = {"ant": 40, "bee": 120, "wasp": 200}


def picture(path: Path, grey: int, number: int = 0, size=(12, 12), colour=False) -> Path:
    """A flat picture whose top left pixel tells which one it is."""
    pixels = np.full((*size, 3), grey, np.uint8)
    pixels[0, 0] = number
    if colour:
        pixels[1, 1] = (255, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def classes(root: Path, count: int = 10, **options) -> Path:
    for name, grey in GREYS.items():
        for number in range(count):
            picture(root / name / f"{number:02}.png", grey, number, **options)
    return root


def load(root, **keys):
    return load_dataset(Data(name=DatasetName.folder, root=str(root), **keys))


def tell(images, labels):
    """What each image is, from its pixels, after checking it against its label."""
    names = sorted(GREYS)
    for image, label in zip(images, labels.tolist(), strict=True):
        assert int(image[0, 5, 5]) == GREYS[names[label]]
    return [(names[label], int(image[0, 0, 0])) for image, label in zip(images, labels.tolist(), strict=True)]


def test_a_folder_of_classes_is_split_by_seed(tmp_path):
    dataset = load(classes(tmp_path))
    assert dataset.classes == ("ant", "bee", "wasp")
    assert dataset.train_images.shape == (24, 1, 12, 12)
    train, test = tell(dataset.train_images, dataset.train_labels), tell(dataset.test_images, dataset.test_labels)
    assert sorted(train + test) == sorted((name, number) for name in GREYS for number in range(10))
    assert [sum(name == other for other, _ in test) for name in GREYS] == [2, 2, 2]
    assert "30 images (30 png), 3 classes" in dataset.about
    assert "24 training and 6 test images, drawn with data.split_seed=0: 20% of each class" in dataset.about
    assert "grey, since no image has colour; 12 x 12 as they are" in dataset.about
    again, other = load(tmp_path), load(tmp_path, split_seed=1)
    assert tell(again.test_images, again.test_labels) == test
    assert tell(other.test_images, other.test_labels) != test
    half = load(tmp_path, test_share=0.5)
    assert len(half.test_labels) == 15


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val")])
def test_sub_folders_decide_the_split(tmp_path, names):
    classes(tmp_path / names[0], 4)
    classes(tmp_path / names[1], 3)
    dataset = load(tmp_path)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (12, 9)
    tell(dataset.test_images, dataset.test_labels)
    assert f"by the folders {names[0]}/ and {names[1]}/\n" in dataset.about


def test_a_third_part_is_named_as_unused(tmp_path):
    for name in ("train", "test", "val"):
        classes(tmp_path / name, 2)
    assert "by the folders train/ and test/ (val/ not used: validation images come out of" in load(tmp_path).about


def test_a_list_decides_split_and_class(tmp_path):
    classes(tmp_path)
    rows = [(f"{name}/{number:02}.png", "train" if number < 3 else "test") for name in GREYS for number in range(5)]
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "split"), *rows])
    dataset = load(tmp_path, file_list="list.csv")
    assert sorted(tell(dataset.train_images, dataset.train_labels)) == [
        (name, n) for name in sorted(GREYS) for n in range(3)
    ]
    assert sorted(tell(dataset.test_images, dataset.test_labels)) == [
        (name, n) for name in sorted(GREYS) for n in (3, 4)
    ]
    with (tmp_path / "named.csv").open("w", newline="") as stream:
        rows = [("x", "ant/00.png", "train"), ("y", "ant/01.png", "train"), ("y", "bee/00.png", "test")]
        csv.writer(stream).writerows([("class", "path", "split"), *rows])
    named = load(tmp_path, file_list=str(tmp_path / "named.csv"))
    assert named.classes == ("x", "y")
    assert named.test_labels.tolist() == [1]
    assert "without a test image: x" in named.about
    assert "few training images: x (1), y (1)" in named.about


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,part\na,train\n", r"expected columns path, split, perhaps class; found file, part"),
        ("path,split\nant/00.png,valid\n", r"line 2: expected split to be train or test, found 'valid'"),
        ("path,split\nant/99.png,train\n", r"line 2: no such image: 'ant/99\.png'"),
        ("path,split\n,train\n", r"line 2: no such image: ''"),
        ("path,split\nant/00.png,train\nant/00.png,test\n", r"line 3: ant/00\.png is listed twice"),
        ("path,split\nant/00.png,train\n", r"found no test image"),
        ("path,split\nant/00.png,train\nbee/00.png,test\n", r"classes to test on without a training image: bee"),
        ("path,split\nant/00.png,train\nant/01.png,test\n", r"expected at least two classes, found only ant"),
    ],
)
def test_wrong_lists_are_refused(tmp_path, text, message):
    (classes(tmp_path) / "list.csv").write_text(text)
    with pytest.raises(CapsbenchError, match=message):
        load(tmp_path, file_list="list.csv")


def test_colour_is_found_or_asked_for(tmp_path):
    classes(tmp_path, 3)
    picture(tmp_path / "bee" / "red.png", 120, 9, colour=True)
    dataset = load(tmp_path)
    assert dataset.train_images.shape[1] == dataset.test_images.shape[1] == 3
    assert "RGB, since 1 of 10 images have colour" in dataset.about
    grey = load(tmp_path, colour=Colour.grey)
    assert grey.train_images.shape[1] == 1
    assert "grey, as data.colour=grey asks" in grey.about
    (tmp_path / "bee" / "red.png").unlink()
    assert load(tmp_path, colour=Colour.rgb).train_images.shape[1] == 3


def test_grey_is_what_pillow_makes_of_colours(tmp_path):
    draw = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.fromarray(draw.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / name / f"{number}.png")
    dataset = load(tmp_path, colour=Colour.grey, test_share=0.5)
    both = [*dataset.train_images, *dataset.test_images]
    known = [np.asarray(Image.open(path).convert("L")) for path in sorted(tmp_path.rglob("*.png"))]
    for ours in both:
        assert any(np.array_equal(ours[0].numpy(), theirs) for theirs in known)


def test_different_sizes_need_a_size(tmp_path):
    classes(tmp_path, 3)
    picture(tmp_path / "bee" / "wide.png", 120, size=(20, 40))
    with pytest.raises(
        CapsbenchError, match=r"2 different sizes, most often 12 x 12 \(9\), 20 x 40 \(1\).*set data\.size"
    ):
        load(tmp_path)
    dataset = load(tmp_path, size=8)
    assert dataset.train_images.shape[2:] == (8, 8)
    assert "resized to 8 x 8 (shorter side, middle kept)" in dataset.about


def test_all_damaged_images_are_named(tmp_path):
    classes(tmp_path, 4)
    (tmp_path / "ant" / "02.png").write_bytes((tmp_path / "ant" / "02.png").read_bytes()[:60])
    (tmp_path / "wasp" / "empty.jpg").touch()
    with pytest.raises(CapsbenchError) as error:
        load(tmp_path)
    message = str(error.value)
    assert "2 of 13 images are damaged; mend or remove them:\n  " in message
    assert "ant/02.png: " in message
    assert "wasp/empty.jpg: not a PNG or JPEG" in message


def test_other_files_are_counted_and_hidden_ones_left_alone(tmp_path):
    classes(tmp_path, 3)
    (tmp_path / "ant" / "notes.txt").touch()
    (tmp_path / "ant" / ".hidden.png").touch()
    picture(tmp_path / ".cache" / "x.png", 1)
    picture(tmp_path / "bee" / "deeper" / "more.PNG", 120, 77)
    dataset = load(tmp_path)
    assert len(dataset.train_labels) + len(dataset.test_labels) == 10
    assert dataset.classes == ("ant", "bee", "wasp")
    assert "ignored: 2 files" in dataset.about


def test_a_link_that_leads_round_in_a_circle_is_not_followed(tmp_path):
    classes(tmp_path, 3)
    (tmp_path / "ant" / "again").symlink_to(tmp_path, target_is_directory=True)
    dataset = load(tmp_path)
    assert len(dataset.train_labels) + len(dataset.test_labels) == 9


def test_a_folder_as_photographs_come(tmp_path):
    """Sizes, orientations, colour models and file formats mixed, names in other scripts, links, stray files."""
    draw = np.random.default_rng(8)
    scene = Image.fromarray(np.kron(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)))
    upright = scene.resize((24, 18))
    for name in ("café", "猫", "a class"):
        (tmp_path / name).mkdir()
        scene.save(tmp_path / name / "plain photo.jpg", quality=95)
        turned = Image.Exif()
        turned[0x0112] = 6
        scene.transpose(Image.Transpose.ROTATE_90).save(tmp_path / name / "turned.JPEG", exif=turned, quality=95)
        scene.convert("L").save(tmp_path / name / "grey.png")
        scene.convert("CMYK").save(tmp_path / name / "print.jpg", quality=95)
        scene.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / name / "palette.png")
        scene.convert("RGBA").resize((77, 31)).save(tmp_path / name / "clear.png")
        for other in ("bmp", "ppm", "tif", "webp"):
            upright.save(tmp_path / name / f"photo.{other}")
        (tmp_path / name / "Thumbs.db").write_bytes(b"x")
        (tmp_path / name / "._photo.jpg").write_bytes(b"Mac OS X")
    (tmp_path / "elsewhere.png").symlink_to(tmp_path / "猫" / "grey.png")
    (tmp_path / "a class" / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "nothing yet").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "README.txt").touch()
    dataset = load(tmp_path, size=16, test_share=0.3)
    assert dataset.classes == ("a class", "café", "猫")
    assert len(dataset.train_labels) + len(dataset.test_labels) == 31
    assert dataset.train_images.shape[1:] == (3, 16, 16)
    for line in ("RGB, since", "ignored: 6 files", "directories without an image: __MACOSX, nothing yet"):
        assert line in dataset.about
    # The turned photograph is upright again: it equals the plain one of its class but for compression.
    images = torch.cat([dataset.train_images, dataset.test_images]).float().flatten(1)
    assert (torch.cdist(images, images).fill_diagonal_(1e9).amin(dim=1) < 900).sum() >= 20
    assert "in both parts: " in dataset.about


def test_a_linked_directory_is_read_once(tmp_path):
    classes(tmp_path / "data", 3)
    store = classes(tmp_path / "store", 2)
    (tmp_path / "data" / "wasp" / "more").symlink_to(store / "wasp", target_is_directory=True)
    (tmp_path / "data" / "wasp" / "twice").symlink_to(store / "wasp", target_is_directory=True)
    (tmp_path / "data" / "fly").symlink_to(store / "bee", target_is_directory=True)
    dataset = load(tmp_path / "data")
    assert dataset.classes == ("ant", "bee", "fly", "wasp")
    assert len(dataset.train_labels) + len(dataset.test_labels) == 9 + 2 + 2


def test_names_spelt_in_two_ways_are_one_class(tmp_path):
    for part, name in (("train", "caf\u00e9"), ("test", "cafe\u0301")):
        for folder, grey in ((name, 40), ("tea", 90)):
            picture(tmp_path / part / folder / "1.png", grey)
    assert load(tmp_path).classes == ("caf\u00e9", "tea")


def test_more_classes_than_a_byte_counts_are_kept_apart(tmp_path):
    for number in range(300):
        for which in range(2):
            picture(tmp_path / f"{number:03}" / f"{which}.png", number // 2, which, size=(4, 4))
    dataset = load(tmp_path)
    assert sorted(dataset.test_labels.tolist()) == list(range(300))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, r"a directory for each class with images in it \(.*\), found none \(it has 0"),
        (lambda root: (root / "a.png").touch(), "expected a directory for each class"),
        (lambda root: classes(root / "train", 2), "has train/ but nothing to test on: expected test, testing, val"),
        (lambda root: picture(root / "ant" / "1.png", 1), "no test image"),
        (lambda root: [picture(root / "ant" / f"{n}.png", 1) for n in range(2)], "two classes, found only ant"),
        (lambda root: picture(root / "a.png", 1), r"1 images lie in it without a class: .*data\.file_list"),
        (lambda root: classes(root / "test", 2), "has test/ but nothing to train on: expected train or training"),
        (lambda root: classes(root / "photos", 2), "only photos; it holds ant, bee, wasp: perhaps data.root=.*photos"),
        (lambda root: [classes(root / "train", 2), picture(root / "test" / "fly" / "1.png", 1)],
         "classes to test on without a training image: fly"),
    ],
)  # fmt: skip
def test_other_layouts_are_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(CapsbenchError, match=message):
        load(tmp_path)


def test_impossible_keys(tmp_path):
    classes(tmp_path)
    with pytest.raises(CapsbenchError, match=r"data=folder needs data\.root"):
        load_dataset(Data(name=DatasetName.folder))
    with pytest.raises(CapsbenchError, match=r"data\.test_share=1\.0: expected more than 0 and less than 1"):
        load(tmp_path, test_share=1.0)
    with pytest.raises(CapsbenchError, match=r"data\.root=.*gone: expected a folder"):
        load(tmp_path / "gone")
    with pytest.raises(CapsbenchError, match=r"data\.file_list=.*gone\.csv: cannot read it"):
        load(tmp_path, file_list="gone.csv")


def test_validation_is_a_share_of_the_training_images(tmp_path):
    dataset = load(classes(tmp_path))
    splits = split(dataset, Data(name=DatasetName.folder, validation_share=0.25))
    assert (len(splits.train_labels), len(splits.validation_labels)) == (18, 6)
    with pytest.raises(CapsbenchError, match=r"data\.validation_share=0: expected more than 0"):
        split(dataset, Data(name=DatasetName.folder, validation_share=0))
