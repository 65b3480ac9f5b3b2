"""Pages in a browser: no horizontal scroll bar on a phone, and they print."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from feedline.report.bench import bench_page
from feedline.report.comparison import comparison_page
from feedline.report.findings import WORDS
from feedline.report.lr_range import range_sections
from feedline.report.page import Page, Picture, Section, Table, facts
from feedline.report.predictions import prediction_sections
from feedline.training.predictions import Predictions
from tests.report.test_comparison import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(*argv: str) -> str:
    return subprocess.run([CHROMIUM or "", *FLAGS, *argv], capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that a page may hold: long words, wide tables, charts, pictures and a folded section."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    top = np.argsort(rng.random((60, 4)), axis=1)
    shares = np.sort(rng.dirichlet(np.ones(4), 60), axis=1)[:, ::-1].astype(np.float32)
    names = ["a" * 60, "b", "c c", "d"]
    lrs, losses = [10.0**-i for i in range(6, 0, -1)], [2.0, 2.0, 1.8, 1.5, 1.4, 1.6]
    test = {"lr": lrs, "loss": losses, "smoothed": losses, "suggestions": {"scaled": 0.01}, "recommended": "scaled"}
    sections = [
        *range_sections(test, "runs/" + "x" * 80),
        *prediction_sections(
            Predictions(np.arange(60), labels, top, shares), names, lambda i, a, b: Picture(b"", a, b)
        ),
        Section("s", tables=[facts((words, "1") for words in WORDS.values()), Table(["w" * 30] * 9, [["v" * 30] * 9])]),
        Section("folded", tables=[facts([("word in a folded section", "1")])], code="--data " + "y" * 200, folded=True),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    Page("t" * 90, "sub " * 40, [("what " * 5, "1,234,567,890 %")] * 5, sections).write(path)
    return path


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_no_horizontal_scroll_bar(page: Path, width: int) -> None:
    frame = page.with_name("frame.html")
    frame.write_text(
        f'<iframe id="f" style="width:{width}px;height:900px;border:0" src="page.html"></iframe><p id="o"></p><script>'
        "setTimeout(() => { const d = document.getElementById('f').contentDocument.documentElement;"
        "document.getElementById('o').textContent = d.scrollWidth + ' of ' + d.clientWidth; }, 5000)</script>"
    )
    dom = browse("--allow-file-access-from-files", "--dump-dom", f"file://{frame}")
    found = re.search(r"(\d+) of (\d+)</p>", dom)
    assert found, dom[-500:]
    assert int(found[1]) <= int(found[2])
    assert int(found[2]) > width - 30, "the frame has its width"


def test_the_axis_and_the_lines_of_a_comparison_are_chosen(tmp_path: Path) -> None:
    """By clicks: from epochs to minutes, then without a run. Each waits for what the one before does."""
    runs = [write_run(tmp_path / "a", epochs=3), write_run(tmp_path / "b", epochs=1)]
    comparison_page(runs, [("same",)], [], [], []).write(tmp_path / "page.html")
    (tmp_path / "frame.html").write_text(
        '<iframe id="f" style="width:900px;height:900px" src="page.html"></iframe><p id="o"></p><script>'
        "const w = document.getElementById('f').contentWindow, out = document.getElementById('o');"
        "const charts = () => (w.Bokeh?.documents ?? []).flatMap(d => d.roots());"
        "const ends = x => charts().length == 6 && charts().every(c => Math.round(c.x_range.end) == x);"
        "const shown = () => charts().map(c => c.renderers.filter(r => r.visible).map(r => r.name).join(''));"
        "const click = what => w.document.querySelector(`input[value=${what}]`).click();"
        "const steps = [[() => ends(3), () => click('time')], [() => ends(5), () => click('a')],"
        "[() => shown().every(names => names == 'bb'),"
        "() => out.textContent = 'axes ' + charts().map(c => c.below[0].axis_label)]];"
        "setInterval(() => { if (steps.length && steps[0][0]()) steps.shift()[1](); }, 200);</script>"
    )
    dom = browse("--allow-file-access-from-files", "--dump-dom", f"file://{tmp_path / 'frame.html'}")
    assert f"axes {','.join(['minutes'] * 6)}</p>" in dom


def test_bars_of_a_benchmark_are_drawn(tmp_path: Path) -> None:
    names = ["loader raw torch", "model", "together"]
    speed = {"images_per_s": 9.0, "lowest": 8.0, "highest": 10.0, "cpu_us_per_image": 1.0, "stall": None}
    bench_page({
        "results": [speed | {"name": name} for name in names], "together_with": "raw torch", "dataset": {"name": "d"},
        "hardware": {}, "config": {"batch_size": 8}, "precision": "bf16", "memory": {}, "verdict": "", "command": "",
    }).write(tmp_path / "page.html")  # fmt: skip
    (tmp_path / "frame.html").write_text(
        '<iframe id="f" style="width:900px;height:900px" src="page.html"></iframe><p id="o"></p><script>'
        "const w = document.getElementById('f').contentWindow, out = document.getElementById('o');"
        "const texts = n => [...n.querySelectorAll('*')].flatMap("
        "e => [...(e.tagName == 'text' ? [e.textContent] : []), ...(e.shadowRoot ? texts(e.shadowRoot) : [])]);"
        "setInterval(() => { out.textContent = texts(w.document).join(); }, 200);</script>"
    )
    dom = browse("--allow-file-access-from-files", "--dump-dom", f"file://{tmp_path / 'frame.html'}")
    assert all(name in dom for name in names), dom[-500:]


def test_it_prints(page: Path) -> None:
    paper = page.with_name("page.pdf")
    browse(f"--print-to-pdf={paper}", f"file://{page}")
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type /Page\b", content)) <= 20
