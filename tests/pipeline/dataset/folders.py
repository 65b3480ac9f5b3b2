"""Changes to dataset folders."""

import json
from pathlib import Path
from typing import Any


def edit(root: Path, **changes: Any) -> None:
    """Changes dataset.json."""
    path = root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
