"""The command line's grammar, and its help: of all modes, or of one."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from feedline.cli.flags import add_flags, flag, other_flags
from feedline.cli.modes import MODES
from feedline.cli.usage import ALL, NOT_SUMMARY, OPTIONS, uses
from feedline.pipeline.errors import InputError
from feedline.program import command_line, unknown_word, with_choice_meant
from feedline.training.keys import OTHER_NAMES
from feedline.use.rows import FORMATS

WHAT = {
    "lrfind": "find a learning rate (LR range test)",
    "train": "train, or resume a run",
    "eval": "evaluate a checkpoint",
    "bench": "measure images/s of loader and model",
    "peek": "show a batch as the network gets it, of any step of a run",
    "summary": "print the layers",
    "predict": "print the most probable classes of image files",
    "export": "write a network for other programs",
    "compare": "show two to ten runs on one page, and what each was fed",
}
INPUTS = {"predict": " FILES|DIR|GLOB|-", "compare": " RUN RUN [RUN ...]"}  # the words that a mode takes
NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)  # a value, as in --std -1,1,1


class _Parser(argparse.ArgumentParser):
    """Its errors are one line, as all others of the command."""

    def error(self, message: str) -> NoReturn:
        asked = "required: --mode" in message or "--mode: expected" in message
        known = f"; --mode is one of {', '.join(MODES)}" if asked else ""
        raise InputError(with_choice_meant(message.removeprefix("argument ")) + known)


def parser(mode: str | None = None, recipe: str = "default") -> argparse.ArgumentParser:
    """The command line: the mode and its options, then a flag for every key of a recipe. None has a default.

    Args:
        mode: the one whose flags the help shows, each in a line; None for all, with the modes that use them.
        recipe: the one whose values the help shows.

    Raises:
        InputError: if there is no such recipe, or it cannot be used.
    """
    modes = "".join(f"\n  --mode {name:<8} {what}" for name, what in WHAT.items() if mode in (None, name))
    p = _Parser(
        prog=command_line("train"),
        usage=f"{command_line('train')} --mode {mode or 'MODE'} [FLAGS]{INPUTS.get(mode or '', '')}",
        description=f"Train an image classifier on a dataset that convert/build.py wrote.\n{modes}\n\n"
        + ("--mode MODE --help lists the flags of a mode only." if mode is None else "--help says more of each flag.")
        + f" Values in parentheses are those of the recipe {recipe};\n--recipe NAME --help shows those of another. A "
        "flag overrides the recipe.",
        epilog=_other_names(mode),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=32),
        argument_default=argparse.SUPPRESS,
    )
    p.add_argument("--mode", choices=list(MODES), required=True, help="what to do")
    p.add_argument("--recipe", help="name of a file in recipes/, or a .toml file (default: default)")
    p.add_argument(
        "--out",
        help="folder for the results (default: runs/<mode>-<time>); predict: the file (default: the console); "
        "compare: a folder, or a file that ends in .html",
    )
    p.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="RUN",
        help="a run to resume, or to peek at (default: the latest)",
    )
    p.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="a checkpoint, or the folder of a run for its best.pt (default: best.pt of the latest run; of the latest "
        "on that dataset, if --data names one)",
    )
    p.add_argument("--part", choices=("val", "test"), help="the part to evaluate on (default: val)")
    p.add_argument("--step", type=int, help="the step to show, from 1 (default: 1)")
    p.add_argument("--start-lr", type=float, help="the first learning rate (default: --end-lr / 100,000)")
    p.add_argument(
        "--end-lr", type=float, help="the last learning rate (default: 10; 0.1 for adam and adamw, 2 for muon)"
    )
    p.add_argument("--rounds", type=int, help="rounds of each measurement (default: 5)")
    p.add_argument("--seconds", type=float, help="minimum length of a round (default: 2)")
    p.add_argument("--top", type=int, help="classes of each image (default: 5)")
    p.add_argument("--format", choices=FORMATS, help="default: as --out is called, else table")
    p.add_argument(
        "--to",
        help="forms, comma-separated: onnx, torch (torch.export) and timm (default: all that fit the network)",
    )
    p.add_argument(
        "--probes",
        metavar="DIR",
        help="images that the exports are tried on, a folder or a file (default: val images of the run's dataset)",
    )
    p.add_argument("--quiet", action="store_true", help="print results, warnings and errors only")
    p.add_argument("--json", action="store_true", help="print one JSON object with the result; all else goes to stderr")
    add_flags(p, recipe)
    _show_modes(p, mode)
    return p


def _other_names(mode: str | None) -> str:
    """The end of the help: flags as other programs call them."""
    used = [name for name in OTHER_NAMES if mode is None or mode in uses()[name]]
    return "\n".join(["other names:"] * bool(used) + [f"  {', '.join(other_flags(n))} for {flag(n)}" for n in used])


def _show_modes(p: argparse.ArgumentParser, mode: str | None) -> None:
    """Lets the help show the flags of one mode, in short, or all of them with their modes."""
    known = uses()
    for action in p._actions:
        modes = known.get(action.dest, ALL)
        if mode is not None:
            action.help = _first_clause(action.help or "") if mode in modes else argparse.SUPPRESS
        elif not set(NOT_SUMMARY) <= set(modes) and action.help:
            action.help = f"[{', '.join(modes)}] {action.help}"


def _first_clause(text: str) -> str:
    """The start of a help text, with the default at its end."""
    default = re.search(r" \([^()]*\)$", text)
    clause = re.split(r"; |\. | \(|(?<=.{20}): ", text)[0]
    return clause + (default[0] if default and len(default[0]) < 40 else "")


def parse(argv: Sequence[str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Reads a command line.

    Returns:
        The mode, the options that were given (`inputs` are words without a flag), and the keys of a recipe.

    Raises:
        InputError: if it cannot be read.
    """
    words = _joined(argv)
    if words and words[0] in MODES and not any(word.startswith("--mode") for word in words):
        raise InputError(f"{words[0]}: is not the value of a flag; did you mean --mode {words[0]}?")
    args, rest = parser(*_asked_help(words)).parse_known_args(words)
    given = vars(args)
    mode = given.pop("mode")
    flags = [word for word in rest if word.startswith("-") and word not in ("-", "--")]
    if rest and (flags or mode not in INPUTS):
        known = parser()._option_string_actions
        used = {name: action for name, action in known.items() if mode in uses().get(action.dest, ALL)}
        raise InputError(unknown_word(flags or rest, known if flags else used))
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    if inputs := tuple(word for word in rest if word != "--"):
        options["inputs"] = inputs
    for name, value in {**options, **given}.items():
        if value == "" and name != "augment":  # which may be none
            raise InputError(f"`{name}`: its value is empty")
    return mode, options, given


def _joined(argv: Sequence[str]) -> list[str]:
    """Arguments with values that begin with a minus joined to their flags; argparse takes such values for flags."""
    words: list[str] = []
    for word in argv:
        if words and NEGATIVE.match(word) and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _asked_help(words: Sequence[str]) -> tuple[str | None, str]:
    """The mode and the recipe whose help is asked for."""
    if not {"-h", "--help"} & set(words):
        return None, "default"
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument("--mode", nargs="?")
    p.add_argument("--recipe", nargs="?")
    asked = p.parse_known_args([word for word in words if word not in ("-h", "--help")])[0]
    return asked.mode if asked.mode in MODES else None, asked.recipe or "default"
