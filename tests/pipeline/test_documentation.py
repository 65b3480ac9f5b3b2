"""The blocks of docs/loader.md run, in their order, as one program."""

import re
import subprocess
import sys
from pathlib import Path

from feedline import Dataset

ROOT = Path(__file__).parents[2]


def test_the_blocks_of_the_loaders_page_run(dataset: Dataset, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/loader.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 12
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").symlink_to(dataset.root)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); exec(open('page.py').read())"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1].startswith("num_workers: say threads")
