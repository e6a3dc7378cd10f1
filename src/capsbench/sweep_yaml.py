"""Reading the YAML of sweep files, and refusing what is wrong in it with the place, the finding and what is valid."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capsbench.errors import CapsbenchError
from capsbench.limits import LARGEST_SEED

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def available_sweeps(sweeps_dir: Path) -> list[str]:
    """Names of the sweep files in a folder."""
    return sorted(path.stem for path in sweeps_dir.glob("*.yaml"))


def find_file(name: str, sweeps_dir: Path) -> Path:
    """The file of a name or path, or an error that lists what there is."""
    is_path = name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name
    path = Path(name) if is_path else sweeps_dir / f"{name}.yaml"
    if not path.is_file():
        names = available_sweeps(sweeps_dir)
        listed = f"available in {sweeps_dir}: {', '.join(names)}" if names else f"{sweeps_dir} holds no sweep files"
        raise CapsbenchError(f"no sweep file {path}{nearest(name, names)}; {listed}")
    if not NAME.fullmatch(path.stem):
        raise CapsbenchError(f"{path}: the file's name becomes a folder's; use letters, digits, '_', '-' and '.'")
    return path


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except RecursionError:
        raise CapsbenchError(f"{path} is not a readable sweep file: it is nested too deeply, or in itself") from None
    except (yaml.YAMLError, OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise CapsbenchError(f"{path} is not a readable sweep file: {error}") from error
    if not isinstance(values, dict) or not values:
        raise CapsbenchError(f"{path}: expected a mapping with the keys kind, title, question, base, ...")
    return {str(key): value for key, value in values.items()}


def preset_values(values: object, name: str, path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """What a preset changes; a plain list of overrides stands for its `base`."""
    presets = values if isinstance(values, Mapping) else {}
    if name not in presets:
        listed = f"its presets: {', '.join(map(str, presets))}" if presets else "it has no presets"
        raise CapsbenchError(f"{path}: no preset {name!r}{nearest(name, map(str, presets))}; {listed}")
    where, preset = f"presets.{name}", presets[name]
    if not isinstance(preset, Mapping):
        return {"base": texts(preset, path, where)}
    check_keys(preset, keys, path, where)
    return {**preset, "base": texts(preset.get("base"), path, f"{where}.base")}


def checked_seeds(values: object, path: Path) -> tuple[int, ...]:
    """Different whole numbers."""
    seeds = list(sequence(values, path, "seeds"))
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise CapsbenchError(f"{path}: seeds is {values!r}; expected different whole numbers such as [0, 1, 2]")
    if max(seeds) > LARGEST_SEED:
        raise CapsbenchError(f"{path}: seeds: {max(seeds)} is too large; a seed is at most {LARGEST_SEED:,}")
    return tuple(seeds)


def texts(values: object, path: Path, where: str) -> tuple[str, ...]:
    """A list of overrides."""
    texts = sequence(values, path, where)
    for text in texts:
        if not isinstance(text, str):
            raise CapsbenchError(f"{path}: {where}: {text!r} is not an override such as model.iterations=3")
    return tuple(texts)


def sequence(values: object, path: Path, where: str) -> Sequence[Any]:
    """A list; empty where nothing is said."""
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise CapsbenchError(f"{path}: {where} is {values!r}; expected a list")
    return values


def choice(value: object, valid: Sequence[str], path: Path, where: str) -> str:
    """One of the valid words."""
    if value not in valid:
        raise CapsbenchError(f"{path}: {where} is {value!r}{nearest(str(value), valid)}; valid: {', '.join(valid)}")
    return str(value)


def check_keys(values: Mapping[Any, Any], valid: Sequence[str], path: Path, where: str) -> None:
    """Refuse a key that nobody reads."""
    for key in map(str, values):
        if key not in valid:
            full = f"{where}.{key}" if where else key
            raise CapsbenchError(f"{path}: unknown key {full}{nearest(key, valid)}; valid: {', '.join(valid)}")


def nearest(word: str, words: Iterable[str]) -> str:
    """`(did you mean X?)` where a word is close."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
