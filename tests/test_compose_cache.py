"""Configurations that were composed before: equal to Hydra's, and never believed when anything has changed."""

import json
import os

import pytest

from capsbench import compose_cache
from capsbench.compose import compose_many, shipped
from capsbench.compose_cache import compose_or_recall
from capsbench.errors import CapsbenchError
from capsbench.sweep_file import Sweep, load_sweep

ARMS = [["model=cnn_small", "optimizer.lr=0.002"], ["model=capsnet_small", "trainer.epochs=3", "data.contrast=[0.5,2]"]]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "composed"


@pytest.fixture
def no_hydra(monkeypatch):
    """A function after whose call nothing can be composed."""

    def refuse(_):
        raise AssertionError("composed again")

    return lambda: monkeypatch.setattr(compose_cache, "compose_many", refuse)


def all_ablations():
    names = sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))
    designs = [load_sweep(name, shipped("sweeps")) for name in names if not name.startswith("search_")]
    return [design for design in designs if isinstance(design, Sweep)]


@pytest.mark.parametrize("design", all_ablations(), ids=lambda design: design.name)
def test_every_shipped_arm_comes_back_as_it_was(design, no_hydra):
    arms = [design.overrides(arm) for arm in design.arms]
    first = compose_or_recall(arms)
    assert first == compose_many(arms)
    no_hydra()
    again = compose_or_recall(arms)
    assert again == first
    assert [type(cfg.model) for cfg in again] == [type(cfg.model) for cfg in first]


def test_whatever_was_read_makes_it_stale(monkeypatch, cache, no_hydra):
    compose_or_recall(ARMS)
    (kept,) = cache.iterdir()
    monkeypatch.setattr(compose_cache, "_sources", lambda: "changed")
    compose_or_recall(ARMS)
    assert json.loads(kept.read_bytes())["origin"]["sources"] == "changed"
    no_hydra()
    with pytest.raises(AssertionError, match="composed again"):
        compose_or_recall([ARMS[0]])


def test_sources_are_all_of_conf_and_what_checks_it(tmp_path, monkeypatch):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    option, module = tmp_path / "conf" / "model" / "one.yaml", tmp_path / "checks.py"
    option.write_text("a: 1")
    module.write_text("a = 1")
    monkeypatch.setattr(compose_cache, "shipped", lambda name: tmp_path / name)
    monkeypatch.setattr(compose_cache, "HERE", tmp_path)
    seen = set()
    for path, text in ((option, "a: 1"), (option, "a: 2"), (module, "a = 2"), (tmp_path / "conf" / "b.yaml", "")):
        path.write_text(text)
        compose_cache._sources.cache_clear()
        seen.add(compose_cache._sources())
    compose_cache._sources.cache_clear()
    assert len(seen) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"origin": 1}', b"\xff", b"null"])
def test_damage_is_composed_anew(damage, cache):
    expected = compose_or_recall(ARMS)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert compose_or_recall(ARMS) == expected
    assert kept.read_bytes() == whole


def test_missing_key_of_an_older_file_is_composed_anew(cache):
    expected = compose_or_recall(ARMS)
    (kept,) = cache.iterdir()
    values = json.loads(kept.read_bytes())
    del values["configs"][0]["data"]["pad"]
    kept.write_text(json.dumps(values))
    assert compose_or_recall(ARMS) == expected


def test_a_family_that_is_none_is_composed_anew(cache):
    expected = compose_or_recall(ARMS)
    (kept,) = cache.iterdir()
    values = json.loads(kept.read_bytes())
    values["configs"][0]["family"] = "Nobody"
    kept.write_text(json.dumps(values))
    assert compose_or_recall(ARMS) == expected


def test_interpolations_are_never_kept(cache, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    arms = [["run.notes=${oc.env:PLACE}"]]
    assert compose_or_recall(arms)[0].run.notes == "here"
    monkeypatch.setenv("PLACE", "there")
    assert compose_or_recall(arms)[0].run.notes == "there"
    assert not cache.exists()


def test_what_does_not_compose_is_not_kept(cache):
    for _ in range(2):
        with pytest.raises(CapsbenchError, match="modell"):
            compose_or_recall([*ARMS, ["modell=cnn"]])
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CAPSBENCH_CACHE", str(tmp_path / "file"))
    assert compose_or_recall(ARMS) == compose_many(ARMS)


def test_the_oldest_are_forgotten(cache, monkeypatch):
    monkeypatch.setattr(compose_cache, "KEPT_FILES", 2)
    for epochs in (1, 2, 3):
        compose_or_recall([["model=cnn_small", f"trainer.epochs={epochs}"]])
        for age, path in enumerate(sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)):
            os.utime(path, (1000 + age, 1000 + age))
    kept = {json.loads(path.read_bytes())["origin"]["overrides"][0][1] for path in cache.iterdir()}
    assert kept == {"trainer.epochs=2", "trainer.epochs=3"}
