"""One file that needs nothing else, whatever names it holds."""

from html.parser import HTMLParser

import numpy as np
import pytest

from feedline.report import charts
from feedline.report.lr_range import range_sections
from feedline.report.page import Page, Picture, Section, Table
from feedline.report.predictions import expected_calibration_error, prediction_sections
from feedline.training.predictions import Predictions

NAMES = ["a <b>bold</b> name", "</script><script>alert(1)</script>", "naïve 中", "d"]


class Links(HTMLParser):
    """What a page loads, and the tags that stand open at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        self.scripts += tag == "script"


def some_predictions(images: int = 60) -> Predictions:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, images)
    top = np.argsort(rng.random((images, 4)), axis=1)
    shares = np.sort(rng.dirichlet(np.ones(4), images), axis=1)[:, ::-1].astype(np.float32)
    return Predictions(np.arange(images), labels, top, shares)


def picture(image: int, caption: str, note: str) -> Picture:
    return Picture(b"\xff\xd8", caption, note)


def test_a_page_loads_nothing_and_shows_names_as_text() -> None:
    sections = prediction_sections(some_predictions(), NAMES, picture)
    page = Page(
        "A <title>", "sub & title", [("top-1", "50 %")], [*sections, Section("Folded", folded=True, code="a < b")]
    )
    html = page.html()
    links = Links()
    links.feed(html)
    assert links.loaded
    assert all(link.startswith("data:image/jpeg;base64,") for link in links.loaded)
    assert "<b>bold" not in html
    assert "alert(1)</script>" not in html
    assert "A &lt;title&gt;" in html
    assert "a &lt; b" in html
    assert links.scripts == Page("t", sections=sections[:1]).html().count("<script")
    assert len(html) < 2_000_000


def test_a_page_without_charts_has_no_script() -> None:
    html = Page("t", sections=[Section("s", tables=[Table(("a", "b"), [("x", "1,000")])])]).html()
    assert "<script" not in html
    assert '<td class="number">1,000</td>' in html


def test_similar_classes_stand_side_by_side() -> None:
    counts = np.diag([50, 50, 50, 50, 50, 50])
    for a, b in ((0, 3), (1, 4), (2, 5)):
        counts[a, b] = counts[b, a] = 20
    order = charts.similar_side_by_side(counts)
    assert sorted(order) == list(range(6))
    assert all(abs(order.index(a) - order.index(b)) == 1 for a, b in ((0, 3), (1, 4), (2, 5)))


@pytest.mark.parametrize("images", [1, 3, 60])
def test_few_images_and_classes_make_a_page_too(images: int) -> None:
    assert "Most wrong" in Page("t", sections=prediction_sections(some_predictions(images), NAMES, picture)).html()


def test_a_perfect_model() -> None:
    labels = np.arange(20) % 2
    sure = Predictions(np.arange(20), labels, labels[:, None], np.ones((20, 1), dtype=np.float32))
    html = Page("t", sections=prediction_sections(sure, ["a", "b"], picture)).html()
    assert "No image was taken for another class." in html
    assert "Expected calibration error 0.0 %" in html


def test_calibration_error_is_the_mean_gap() -> None:
    confidence = np.array([0.95] * 10 + [0.55] * 10)
    correct = np.array([True] * 9 + [False] + [True] * 5 + [False] * 5)
    assert expected_calibration_error(confidence, correct) == pytest.approx(5.0)


def test_no_legend_takes_the_room_of_a_chart() -> None:
    """Below the chart it hides it where the page is first drawn."""
    lrs, losses = [10.0**-i for i in range(6, 0, -1)], [2.0, 2.0, 1.8, 1.5, 1.4, 1.6]
    test = {"lr": lrs, "loss": losses, "smoothed": losses, "suggestions": {"scaled": 0.01}, "recommended": "scaled"}
    (section,) = range_sections(test, "runs/a")
    (chart,) = section.charts
    assert len(chart.legend[0].items) == 3
    assert chart.legend[0] in chart.center


def test_numbers_stand_below_their_header() -> None:
    html = Page("t", sections=[Section("s", tables=[Table(("a", "LR", "what"), [("x", "8.3e-05", "text")])])]).html()
    assert '<th class="number">LR</th><th>what</th>' in html
    assert '<td class="number">8.3e-05</td><td>text</td>' in html


def test_lines_leave_out_what_is_no_number() -> None:
    chart = charts.lines("t", {"a": [(1, None), (2, float("nan")), (3, 4.0)], "b": [(1, None)]}, "x", "y")
    assert {tuple(renderer.data_source.data["y"]) for renderer in chart.renderers} == {(4.0,)}


def test_a_long_line_keeps_its_ends_and_some_hundred_points() -> None:
    chart = charts.lines("t", {"a": [(i / 10, float(i)) for i in range(100_000)]}, "x", "y")
    data = chart.renderers[0].data_source.data
    assert len(data["x"]) == len(data["y"]) == charts.POINTS
    assert (data["y"][0], data["y"][-1]) == (0.0, 99_999.0)


def test_epochs_are_counted_in_whole_numbers() -> None:
    whole = charts.lines("t", {"a": [(1, 3.0), (2, 4.0)]}, "epoch", "y")
    assert whole.xaxis[0].ticker.min_interval == 1
    assert charts.lines("t", {"a": [(0.5, 3.0), (1, 4.0)]}, "epoch", "y").xaxis[0].ticker.min_interval == 0


def test_a_larger_share_of_confusions_is_further_from_the_page() -> None:
    """By opacity: a colour that is pale on white would stand out on near black."""
    chart = charts.matrix("t", np.array([[9, 1], [3, 7]]), ["a", "b"])
    cells = chart.renderers[0].data_source.data
    by_share = np.argsort(cells["share"])
    assert (np.diff(cells["alpha"][by_share]) > 0).all()
    assert cells["alpha"].max() <= 1
