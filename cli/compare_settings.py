"""In which settings runs differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from feedline.output import setting
from feedline.training.recorded import RecordedRun

ABSENT = "-"  # of a run that another version wrote


def settings(run: RecordedRun) -> dict[str, Any]:
    """The configuration of a run, with what it used where that says auto, and its surroundings."""
    about, hardware = run.about, run.about.get("hardware", {})
    dataset = about.get("dataset", {})
    used = {name: about.get(name) for name in ("recipe", "ranks", "store", "engine", "precision")}
    return {
        "dataset": f"{dataset.get('name')} {str(dataset.get('fingerprint'))[:12]}",
        **run.config,
        **used,
        "decode": _decoder(run),
        "device": hardware.get("device"),
        "machine": hardware.get("gpu", hardware.get("cpu")),
        **about.get("versions", {}),
    }


def _decoder(run: RecordedRun) -> Any:
    """Who decoded: `mixed` if a GPU took part. Older versions recorded the setting alone, whatever came of it."""
    about = run.about
    device = about.get("hardware", {}).get("device")
    could = (about.get("engine"), device) == ("dali", "cuda") and about.get("store") in ("files", "jpeg")
    return about.get("decode", run.config.get("decode")) if could else "cpu"


def differences(all_settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The settings that are not the same in all runs: a name and a value for each run."""
    names = dict.fromkeys(name for values in all_settings for name in values)
    return [
        (name, *(setting(values[name]) if name in values else ABSENT for values in all_settings))
        for name in names
        if any(values.get(name) != all_settings[0].get(name) for values in all_settings)
    ]


def shared(all_settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The settings that are the same in all runs."""
    first, *others = all_settings
    return [(n, setting(v)) for n, v in first.items() if v is not None and all(o.get(n) == v for o in others)]
