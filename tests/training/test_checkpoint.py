from pathlib import Path
from typing import Any

import pytest
import torch

from feedline import InputError
from feedline.training import checkpoint
from feedline.training.snapshot import FORMAT
from tests.training.conftest import Build, Make


def test_a_damaged_checkpoint_names_the_one_before_it(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=2))
    run.fit()
    last, previous = run.out / "last.pt", run.out / "previous.pt"
    assert checkpoint.load(previous).position.epoch == 1
    whole = last.read_bytes()
    weight = whole.index(checkpoint.load(last).model["8.weight"].numpy().tobytes())
    flipped = whole[: weight + 9] + bytes([whole[weight + 9] ^ 1]) + whole[weight + 10 :]
    for damage in (whole[:-100], whole[:5000], b"", flipped):
        last.write_bytes(damage)
        with pytest.raises(
            InputError, match=r"the one before it is complete \(epoch 2, step 0\).*resume=.*previous.pt"
        ):
            checkpoint.load_last(run.out)
    previous.write_bytes(b"")
    with pytest.raises(InputError, match="not a checkpoint that can be read") as caught:
        checkpoint.load_last(run.out)
    assert "the one before" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04 cut off", None], ids=["empty", "text", "cut zip", "foreign"]
)
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.pt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a checkpoint") as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "nothing.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "pwned",)

    torch.save({"format": FORMAT, "evil": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="not a checkpoint that can be read"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "pwned").exists()
