"""Each example works with the real library, on the small sample."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from feedline import Dataset, Loader
from tests.examples.examples import FOLDER, load, losses, needs, run

SMALL = ("--batch-size", "16")


@needs("timm")
def test_a_timm_model_learns(dataset: Dataset, tmp_path: Path) -> None:
    command = ["--data", dataset.root, "--epochs", "4", "--image-size", "32", *SMALL]
    printed = run(FOLDER / "timm_model.py", *command, cwd=tmp_path)
    each = losses(printed)
    assert len(each) == len(re.findall(r"val top-1 [\d.]+%", printed)) == 4
    assert each[-1] < each[0]


def test_two_views_are_told_from_others(dataset: Dataset, tmp_path: Path) -> None:
    command = ["--data", dataset.root, "--epochs", "3", "--image-size", "32", *SMALL]
    each = losses(run(FOLDER / "two_views.py", *command, cwd=tmp_path))
    assert len(each) == 3
    assert each[-1] < math.log(2 * 16 - 1)  # what guessing among the other views costs


def test_several_labels_are_learnt(dataset: Dataset, tmp_path: Path) -> None:
    printed = run(FOLDER / "several_labels.py", "--data", dataset.root, "--epochs", "2", *SMALL, cwd=tmp_path)
    last = printed.splitlines()[-1]
    shares = dict(re.findall(r"([a-z ]+) ([\d.]+)%", last.removeprefix("epoch 2: right on val: ")))
    assert [tag.strip() for tag in shares] == load("several_labels").TAGS
    assert float(shares[" several parts"]) == 100  # none of these four shapes has several


def test_the_targets_follow_the_paths(dataset: Dataset) -> None:
    example = load("several_labels")
    targets = example.make_targets(dataset)
    words = [c.words for c in dataset.classes]
    assert words == ["disc", "ring", "crescent", "triangle"]
    wanted = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0]])
    assert (targets == wanted[dataset.labels]).all()


RECORD = """
import json, os
import accelerate_ranks

class Recording(accelerate_ranks.Loader):
    def __iter__(self):
        for batch in super().__iter__():
            seen.append([self.part, self.planned.ids.tolist()])
            yield batch

seen = []
accelerate_ranks.Loader = Recording
accelerate_ranks.main()
with open(f"seen-{os.environ['RANK']}.json", "w") as file:
    json.dump(seen, file)
"""


@needs("accelerate")
def test_two_ranks_see_the_batches_of_one(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "record.py").write_text(RECORD)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "record.py"]
    printed = run(*launch, "--data", dataset.root, "--epochs", "2", *SMALL, cwd=tmp_path)
    assert len(losses(printed)) == 2  # one process prints
    first, second = (json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2))
    together = [[part, share + other] for (part, share), (_, other) in zip(first, second, strict=True)]
    loaders = [Loader(dataset, part=part, batch_size=16, with_ids=True) for part in ("train", "val")]
    alone = [[loader.part, ids.tolist()] for _ in range(2) for loader in loaders for _, _, ids in loader]
    assert together == alone


@needs("nbclient", "ipykernel")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    notebook = nbformat.read(FOLDER / "folder_to_model.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_notebook_is_kept_with_its_outputs_and_small() -> None:
    path = FOLDER / "folder_to_model.ipynb"
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/jpeg" in output.get("data", {}) for cell in cells for output in cell["outputs"])
    assert path.stat().st_size < 150_000
