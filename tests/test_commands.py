"""README, docs and results: the commands that they show are understood, and what they link to is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedline.cli.parser import parse
from feedline.convert.build import parser as convert_parser

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
STARTS = r"(?:python (?:train\.py|convert/build\.py|-m [a-z_.]+)|feedline (?:train|convert))"


def commands(page: Path) -> Iterator[str]:
    """What stands in a line of its own, or between backticks."""
    text = page.read_text().replace("\\\n", " ")
    yield from re.findall(rf"^(?: {{4}}|)(?:\$ )?({STARTS}(?: .*)?)$", text, re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", text):
        if re.match(STARTS, " ".join(code.split())):
            yield " ".join(code.split())


def words(command: str) -> list[str]:
    """Of one command, up to a pipe, a redirection or a remark; words that stand for others are left out."""
    split = shlex.split(command, comments=True)
    end = next((i for i, word in enumerate(split) if word in ("|", ">", "2>", "&&", "&", ";")), len(split))
    return [word for word in split[:end] if word != "..."]


SHOWN = sorted({command for page in PAGES for command in commands(page)})


def test_enough_commands_are_found() -> None:
    assert len([command for command in SHOWN if "train.py" in command or "feedline train" in command]) > 25
    assert len([command for command in SHOWN if "-m bench" in command]) > 15


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_is_understood(command: str) -> None:
    program, *rest = words(command)[1:]
    if program in ("train.py", "train"):
        named = "--mode" in rest[:-1]  # `--mode ...` stands for any
        if "--help" not in rest:
            parse(rest if named else ["--mode", "train"])
    elif program in ("convert/build.py", "convert"):
        convert_parser().parse_args([word for word in rest if word != "--help"])
    elif program == "-m" and rest[0].startswith(("bench", "tests.soak")):
        files = [ROOT / (rest[0].replace(".", "/") + ".py"), *(ROOT / rest[0].replace(".", "/")).glob("*.py")]
        source = "".join(file.read_text() for file in files if file.exists())
        assert source, f"there is no {rest[0]}"
        unknown = [word for word in rest if word.startswith("--") and f'"{word}"' not in source]
        if rest[0] == "bench.torchvision_accuracy":
            parse(["--mode", "train", *rest[1:]])
        else:
            assert not unknown
    else:
        assert rest[0] in ("feedline", "pytest")


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in readme] == []
