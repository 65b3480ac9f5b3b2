"""What the command of a run asked for, before anything of it was resolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from feedline.training.config import Config
from feedline.training.keys import convert_known
from feedline.training.snapshot import Snapshot, as_lists


@dataclass(frozen=True)
class Asked:
    """What a command asked for. The run's own configuration has numbers where this one says `auto`.

    Attributes:
        config: the recipe with the flags on top.
        recipe: the recipe alone; None if it is not known, of runs that an older version began.
    """

    config: Config
    recipe: Config | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Asked":
        """What a run asked for that has this checkpoint. Raises InputError if the checkpoint is damaged."""
        if not snapshot.asked:
            return cls(snapshot.config, None)
        config, recipe = (_build(snapshot.config.recipe, snapshot.asked.get(name)) for name in ("config", "recipe"))
        return cls(config, recipe)

    def to_dict(self) -> dict[str, Any]:
        """As checkpoints keep it."""
        return {
            "config": as_lists(self.config.flat()),
            "recipe": as_lists((self.recipe or self.config).flat()),
        }


def _build(recipe: str, values: Any) -> Config:
    return Config.build(recipe, convert_known(values if isinstance(values, Mapping) else {}))
