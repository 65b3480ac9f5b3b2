import numpy as np
import pytest

from feedline.pipeline import compiled
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.philox import below, philox, unit


def test_philox_gives_the_known_answers_of_random123(kernels: str) -> None:
    # kat_vectors of Salmon et al.'s Random123: counter, key, answer.
    zero = philox(np.array([0]), seed=0, epoch=0, stream=0)
    assert [int(w[0]) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    counter = np.array([0x85A308D3243F6A88], dtype=np.uint64).astype(np.int64)
    pi = philox(counter, seed=0x299F31D0A4093822, epoch=0x13198A2E, stream=0x03707344)
    assert [int(w[0]) for w in pi] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize("seed", [0, 7, 2**63 + 1])
def test_compiled_and_plain_words_are_the_same(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**61, 1000)
    fast = philox(ids, seed=seed, epoch=3, stream=1)
    monkeypatch.setattr(compiled, "kernels", None)
    plain = philox(ids, seed=seed, epoch=3, stream=1)
    assert all(np.array_equal(a, b) for a, b in zip(fast, plain, strict=True))


def test_words_become_integers_and_floats_in_their_range() -> None:
    words = np.array([0, 2**31, 2**32 - 1], dtype=np.uint64)
    assert below(words, 9).tolist() == [0, 4, 8]
    assert below(words, np.array([1, 2, 3])).tolist() == [0, 1, 2]
    assert unit(words).tolist() == [0, 0.5, 1 - 2.0**-32]


def test_a_draw_of_some_images_gives_each_the_same_words() -> None:
    ids = np.arange(50, dtype=np.int64)
    draw = Draw(ids, np.full((50, 2), 8), seed=3, epoch=2)
    positions = np.array([40, 7, 7])
    few = draw.subset(positions)
    for stream in (0, 5):
        assert [w.tolist() for w in few.words(stream)] == [w[positions].tolist() for w in draw.words(stream)]
    assert draw.words(0)[0].tolist() != draw.words(5)[0].tolist()
