"""A run goes on with the command that began it: what a command asks for now, compared with what the run asked for."""

import math
from collections.abc import Mapping
from typing import Any

from feedline.cli.flags import given_values
from feedline.cli.recipes import configure, read_recipe, recipe_name
from feedline.cli.request import Request
from feedline.cli.usage import check_effect
from feedline.output import setting, spelled
from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training.asked import Asked
from feedline.training.config import Config
from feedline.training.mixing import ROUNDING
from feedline.training.ranks import restarted
from feedline.training.snapshot import Snapshot

# What may change when a run is resumed: none of it changes what a step does, but for rounding.
FREE_ON_RESUME = {
    "data",
    "store",
    "engine",
    "decode",
    "threads",
    "torch_threads",
    "device",
    "compile",
    "compile_mode",
    "log_every",
    "certify",
    "save_every",
    "tensorboard",
    "logger",
    "target",
    "patience",
}


def resumed_config(request: Request, snapshot: Snapshot, dataset: Dataset) -> tuple[Asked, Config, tuple[str, ...]]:
    """What a resumed run asks for and its configuration, with the values that may change, and what to say.

    Args:
        request: the command.
        snapshot: of the run.
        dataset: of the run, for which recipes are read.

    Raises:
        InputError: if the command asks for something else than the run, or for a change without an effect.
    """
    asked = Asked.of(snapshot)
    changes, notes = _recipe_changes(request, snapshot, asked, dataset)
    given = given_values(request.flags)
    if asked.recipe is None:
        given = {k: v for k, v in given.items() if v != "auto" or k in FREE_ON_RESUME}
    wanted = asked.config.replace(**{**changes, **given})
    free = FREE_ON_RESUME | ({"epochs", "cooldown"} if _can_get_other_epochs(snapshot, wanted) else set())
    before, now, run = asked.config.flat(), wanted.flat(), snapshot.config.flat()
    changed = {name: value for name, value in now.items() if value != before[name]}
    for name, value in changed.items():
        if name not in free and not _is_what_it_came_to(value, run[name], before[name]):
            auto = " (auto)" if before[name] == "auto" != run[name] else ""
            if name == "epochs":
                why = _why_epochs_stay(asked.config, snapshot, wanted)
                raise InputError(f"`epochs={value}`: the run was started with {run[name]}{auto}, {why}")
            raise _refusal(name, value, run[name], auto, given)
    changed = {name: value for name, value in changed.items() if name in free}
    check_effect(wanted, {name: value for name, value in request.flags.items() if name in changed})
    asked = Asked(asked.config.replace(**changed), asked.recipe)
    # What is automatic is decided again, because it may not be possible on this machine.
    again = {"compile": asked.config.run.compile, "compile_mode": asked.config.run.compile_mode}
    config = snapshot.config.replace(**{**changed, **again})
    return asked, config, notes


def _recipe_changes(
    request: Request, snapshot: Snapshot, asked: Asked, dataset: Dataset
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values of the recipe that changed since the run began, of those that may change; and what to say.

    Raises:
        InputError: if others changed. A run that torchrun restarts keeps those that it began with.
    """
    if not request.recipe:
        return {}, ()
    same_name = recipe_name(request.recipe) == snapshot.config.recipe
    if asked.recipe is None and same_name:
        return {}, ()
    now, then = configure(request.recipe, {}, dataset).flat(), (asked.recipe or asked.config).flat()
    if now["decode"] == "auto":  # the default since then: a run that began with `mixed`, the default before, keeps it
        now["decode"] = then["decode"]
    if now["compile_mode"] == "auto":  # likewise; so far it was `default`
        now["compile_mode"] = then["compile_mode"]
    if asked.recipe is None:  # of what was automatic an older checkpoint knows only what it came to
        now = {name: value for name, value in now.items() if value != "auto"}
    given, run = set(_keys(given_values(request.flags))), snapshot.config.flat()
    of_run = asked.config.flat()
    changed = {k: v for k, v in now.items() if v != then[k] and k not in given and v not in (of_run[k], run[k])}
    other = {name: value for name, value in changed.items() if name not in FREE_ON_RESUME}
    if other and not restarted():
        name, value = next(iter(other.items()))
        since = "the file was changed since, or is another" if same_name else f"with recipe {snapshot.config.recipe}"
        own = _keys(read_recipe(request.recipe, dataset))
        has = f"has {spelled(name)} =" if name in own else f"leaves out {spelled(name)}, which makes it"
        raise InputError(
            f"`recipe={request.recipe}`: {has} {setting(value)}, the run was started with {setting(of_run[name])} "
            f"({since}); a resumed run keeps its settings: leave `recipe` out, or start a new run"
        )
    kept = ", ".join(f"{spelled(name)} = {setting(of_run[name])}" for name in other)
    notes = (f"{request.recipe} was changed since the run began; the run keeps {kept}",) if other else ()
    return {name: value for name, value in changed.items() if name in FREE_ON_RESUME}, notes


def _keys(given: Mapping[str, Any]) -> list[str]:
    """The keys that flags decide."""
    return [*given, *(["augment"] if OLD_KEYS.keys() & given.keys() else [])]


def _is_what_it_came_to(value: Any, run: Any, asked: Any) -> bool:
    """Whether a value is what the run made of one that it resolved, exactly or as the console shows it."""
    if run == asked or isinstance(value, bool):
        return False
    numbers = isinstance(value, (int, float)) and isinstance(run, (int, float))
    return value == run or (numbers and math.isfinite(run) and f"{value:.3g}" == f"{run:.3g}")


def _refusal(name: str, value: Any, was: Any, auto: str, given: Mapping[str, Any]) -> InputError:
    """The error about a value that another run would need; it names what the user wrote."""
    shown = setting if setting(value) != setting(was) else str  # numbers may differ behind the sixth digit
    began = f"{shown(was)}{auto}"
    if name == "augment" and "augment" not in given:
        flag = next(f"{old}={given[old]}" for old in OLD_KEYS if old in given)
        what = f"`{flag}`: makes augment {setting(value)}, the run was started with {began}"
    elif isinstance(value, bool):
        what = f"`{name}={value}`: the run was started with `{name}={began}`"
    elif was is None and not auto:
        what = f"`{name}={setting(value)}`: the run was started without `{name}`"
    else:
        what = f"`{name}={shown(value)}`: the run was started with {began}"
    return InputError(f"{what}; a resumed run keeps its settings, start a new one to change them")


def _why_epochs_stay(config: Config, snapshot: Snapshot, wanted: Config) -> str:
    """Why a run cannot get another number of epochs."""
    if config.optim.schedule != "trapezoid":
        return (
            "over which its learning rate rises and falls (`schedule=onecycle`): other epochs would need another rate "
            "in the steps that are done. Start a new run, with `init` from the weights of this one; one with "
            "`schedule=trapezoid` can get other epochs until it falls"
        )
    if wanted.optim.epochs <= (done := snapshot.position.epoch):
        why = f"and has done {done}; give more, or"
    elif _peak_goes_on(snapshot, wanted):
        first = f"{config.mix.mix_until:g} of these (`mix_until`)"
        why = f"and mixes in the first {first}: epochs that are done would change;"
    else:
        why = "and its learning rate has begun to fall to the end of these;"
    return f"{why} start a new run, with `init` from the weights of this one"


def _can_get_other_epochs(snapshot: Snapshot, wanted: Config) -> bool:
    """Whether other epochs, or another fall, leave those that are done as they were, and one to do."""
    left = wanted.optim.epochs > snapshot.position.epoch
    return left and _peak_goes_on(snapshot, wanted) and _mixes_as_before(snapshot, wanted)


def _peak_goes_on(snapshot: Snapshot, wanted: Config) -> bool:
    """Whether the run is at the peak of a trapezoid, as it was planned and as it would be now."""
    return all(
        optim.schedule == "trapezoid"
        and optim.warmup * optim.epochs <= snapshot.position.epoch + ROUNDING
        and _begun(snapshot) <= optim.epochs * (1 - optim.cooldown) + ROUNDING
        for optim in (snapshot.config.optim, wanted.optim)
    )


def _mixes_as_before(snapshot: Snapshot, wanted: Config) -> bool:
    """Whether the same of the epochs that were begun are mixed."""
    before, now = (min(c.mix.mixed(c.optim.epochs), _begun(snapshot)) for c in (snapshot.config, wanted))
    return before == now


def _begun(snapshot: Snapshot) -> int:
    """Epochs of which a step is done."""
    return snapshot.position.epoch + (snapshot.position.step > 0)
