import numpy as np
import pytest
from bokeh.models import Text

from feedline.report import charts

RISING = [(float(x), float(x)) for x in range(10)]
FALLING = [(x, -y) for x, y in RISING]
HIGH = [(x, 10.0) for x, _ in RISING]


@pytest.mark.parametrize(
    ("series", "corner"),
    [
        ([RISING, RISING], "bottom_right"),
        ([FALLING, FALLING], "bottom_left"),
        ([RISING, HIGH], "bottom_right"),
        ([[(0.0, 0.0), (1.0, None)], [(0.0, float("nan"))]], "bottom_right"),
        ([[(0.0, None)], []], "bottom_right"),
    ],
)
def test_the_names_of_lines_stand_where_no_line_is(series: list[charts.Points], corner: str) -> None:
    chart = charts.lines("top-1", {"train": series[0], "val": series[1]}, "epoch", "%")
    assert [legend.location for legend in chart.legend] == ([corner] if chart.renderers else [])


@pytest.mark.parametrize(("classes", "numbers"), [(3, 1), (12, 1), (13, 0)])
def test_a_small_confusion_matrix_has_numbers(classes: int, numbers: int) -> None:
    chart = charts.matrix("confusions", np.eye(classes, dtype=np.int64), [f"class {i}" for i in range(classes)])
    assert sum(isinstance(renderer.glyph, Text) for renderer in chart.renderers) == numbers
