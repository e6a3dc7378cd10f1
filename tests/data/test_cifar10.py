import logging

import numpy as np
import pytest

from capsbench.config import Data, DatasetName
from capsbench.data.datasets import load_dataset
from capsbench.errors import CapsbenchError
from data.writers import cifar_python2, cifar_records

DRAW = np.random.default_rng(8)
IMAGES, LABELS = DRAW.integers(0, 256, (36, 3, 32, 32), dtype=np.uint8), (np.arange(36) % 10).astype(np.uint8)
FORMS = {
    "binary": ([f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"], cifar_records),
    "python": ([f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"], cifar_python2),
}


def write(folder, form: str, count: int = 6):
    folder.mkdir(exist_ok=True, parents=True)
    names, writer = FORMS[form]
    for number, name in enumerate(names[:count]):
        part = slice(6 * number, 6 * number + 6)
        (folder / name).write_bytes(writer(IMAGES[part], LABELS[part]))
    return folder


def load(root, **keys):
    return load_dataset(Data(name=DatasetName.cifar10, root=str(root), **keys))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("folder", [".", "cifar-10-batches-{}", "cifar10/cifar-10-batches-{}"])
def test_both_published_forms_give_the_same_images(tmp_path, form, folder):
    write(tmp_path / folder.format({"binary": "bin", "python": "py"}[form]), form)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images.numpy(), IMAGES[:30])
    np.testing.assert_array_equal(dataset.test_images.numpy(), IMAGES[30:])
    assert dataset.train_labels.tolist() == LABELS[:30].tolist()
    assert dataset.test_labels.tolist() == LABELS[30:].tolist()
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    assert dataset.about == ""


@pytest.mark.parametrize("form", FORMS)
def test_an_incomplete_set_is_refused_with_the_way_to_accept_it(tmp_path, form):
    write(tmp_path, form, count=2)
    with pytest.raises(CapsbenchError) as error:
        load(tmp_path)
    message = str(error.value)
    assert "lacks 4 of 6 files" in message
    assert "To use what is there on purpose, say data=cifar10_part (data.partial=true)." in message


@pytest.mark.parametrize(("form", "cut"), [("binary", "test_batch_first4.bin"), ("python", "test_batch_first4")])
def test_an_incomplete_set_is_used_and_named_where_that_is_asked_for(tmp_path, caplog, form, cut):
    write(tmp_path, form, count=2)
    (tmp_path / cut).write_bytes(FORMS[form][1](IMAGES[:4], LABELS[:4]))
    with caplog.at_level(logging.INFO, "capsbench"):
        dataset = load(tmp_path, partial=True)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (12, 4)
    np.testing.assert_array_equal(dataset.train_images.numpy(), IMAGES[:12])
    assert "12 of 50,000 training images (data_batch_1" in dataset.about
    assert f"4 of 10,000 test images ({cut})" in dataset.about
    assert dataset.about in caplog.text


def test_nothing_to_use_is_an_error_even_then(tmp_path):
    write(tmp_path, "binary", count=2)
    with pytest.raises(CapsbenchError, match=r"at least one data_batch file .* and one test_batch file"):
        load(tmp_path, partial=True)
    with pytest.raises(CapsbenchError, match="expected at least one data_batch file to train on"):
        load_dataset(Data(name=DatasetName.cifar10, partial=True))


def test_a_part_is_found_where_data_sets_are_kept(tmp_path, monkeypatch):
    folder = write(tmp_path / "cifar-10-batches-bin", "binary", count=2)
    (folder / "test_batch_first4.bin").write_bytes(FORMS["binary"][1](IMAGES[:4], LABELS[:4]))
    monkeypatch.setenv("CAPSBENCH_DATA", str(tmp_path))
    assert len(load_dataset(Data(name=DatasetName.cifar10, partial=True)).train_labels) == 12


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_label_is_named_with_file_and_record(tmp_path, form):
    write(tmp_path, form)
    labels = LABELS[6:12].copy()
    labels[2] = 10
    name = FORMS[form][0][1]
    (tmp_path / name).write_bytes(FORMS[form][1](IMAGES[6:12], labels))
    with pytest.raises(CapsbenchError, match=f"{name}: expected labels from 0 to 9, found 10 in record 3"):
        load(tmp_path)
