import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from feedline import DivergedError, FeedlineError, InputError, OutOfMemoryError, WorkerKilledError
from feedline.pipeline.errors import as_flags, first_line, name_errors

KINDS = [
    (InputError, ValueError),
    (DivergedError, ArithmeticError),
    (OutOfMemoryError, MemoryError),
    (WorkerKilledError, RuntimeError),
]


@pytest.mark.parametrize(("kind", "builtin"), KINDS)
def test_errors_have_one_parent_and_the_type_that_python_users_expect(
    kind: type[FeedlineError], builtin: type[Exception]
) -> None:
    error = kind("`batch_size=8`: too large")
    assert isinstance(error, FeedlineError)
    assert isinstance(error, builtin)
    assert str(error) == "batch_size=8: too large"


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_errors_can_be_sent_to_another_process(kind: type[FeedlineError]) -> None:
    error = kind("`batch_size=8`: too large; use `amp`")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.message == error.message
    assert str(copy) == str(error)
    assert as_flags(copy) == "--batch-size 8: too large; use --amp"


@pytest.mark.parametrize(
    ("message", "text", "flags"),
    [
        ("`batch_size=1000`: only 96 images", "batch_size=1000: only 96 images", "--batch-size 1000: only 96 images"),
        ("use `engine=torch` or `amp`", "use engine=torch or amp", "use --engine torch or --amp"),
        ("`flip=False`", "flip=False", "--no-flip"),
        ("`flip=True`", "flip=True", "--flip"),
        ("`data=my set/x`: no", "data=my set/x: no", "--data my set/x: no"),
        ("`name=`: empty", "name=: empty", "--name : empty"),
        ("nothing to turn", "nothing to turn", "nothing to turn"),
        ("python convert/build.py --out X", "python convert/build.py --out X", "python convert/build.py --out X"),
        ("a file `it's here.txt`", "a file `it's here.txt`", "a file `it's here.txt`"),
    ],
)
def test_arguments_are_named_in_python_and_on_the_command_line(message: str, text: str, flags: str) -> None:
    error = InputError(message)
    assert error.message == message
    assert str(error) == text
    assert as_flags(error) == flags


def test_an_error_without_a_message() -> None:
    assert str(InputError()) == as_flags(InputError()) == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one\ntwo"), "one"),
        (ValueError(""), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError("x" * 500), "x" * 120),
        (InputError("`amp`: no"), "amp: no"),
    ],
)
def test_the_first_line_of_any_exception(error: BaseException, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize("text", ["a`x`", "d`o`g", "a/b`force`.jpg", "'`flip`'", "``", "a`batch_size=3`"])
def test_what_users_put_into_a_message_is_not_changed(text: str) -> None:
    error = InputError(f"`data={text}`: no dataset at {text}; see {text}, or use `amp`")
    assert str(error) == f"data={text}: no dataset at {text}; see {text}, or use amp"
    assert as_flags(error) == f"--data {text}: no dataset at {text}; see {text}, or use --amp"


@pytest.mark.parametrize("look", [Path.resolve, Path.stat, os.listdir])
def test_names_that_lead_nowhere_are_one_line(tmp_path: Path, look: Callable[[Path], object]) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    if look is Path.resolve and sys.version_info >= (3, 13):
        pytest.skip("it raises nothing any more")
    with pytest.raises(InputError) as caught, name_errors():
        look(loop)
    assert str(caught.value) == f"{loop}: Too many levels of symbolic links"


def test_other_errors_are_not_of_a_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), name_errors():
        (tmp_path / "nothing").stat()
    with pytest.raises(RuntimeError, match="mat1 and mat2"), name_errors():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
