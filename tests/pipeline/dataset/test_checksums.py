"""Each image is compared with its checksum once."""

import numpy as np

from feedline.pipeline.dataset.checksums import FirstReads, checksum

CONTENTS = [bytes([i]) * 10 for i in range(8)]
SUMS = np.array([checksum(content) for content in CONTENTS], dtype=np.uint64)


def read(reads: FirstReads, *images: int) -> int | None:
    """Compares what was not compared yet; the image that changed, if one did."""
    ids = np.array(images)
    ids = ids[reads.unread(ids)]
    return reads.changed(ids, [CONTENTS[i] for i in ids.tolist()])


def test_nothing_is_left_when_all_that_is_expected_was_read() -> None:
    reads = FirstReads(SUMS)
    reads.expect(np.array([6, 1, 2, 4]))
    for images, done in (((1, 2), False), ((2, 1), False), ((4,), False), ((6,), True)):
        assert read(reads, *images) is None
        assert reads.done == done


def test_images_that_two_threads_compare_count_once() -> None:
    reads = FirstReads(SUMS)
    for _ in range(2):
        reads.changed(np.arange(4), CONTENTS[:4])
    assert not reads.done
    assert reads.unread(np.arange(8)).tolist() == [4, 5, 6, 7]
    assert read(reads, *range(8)) is None
    assert reads.done


def test_a_change_stays_to_be_found() -> None:
    reads = FirstReads(SUMS)
    assert reads.changed(np.array([2, 3]), [CONTENTS[2], b"else"]) == 3
    assert reads.changed(np.array([3]), [b"else"]) == 3
    assert not reads.done


def test_without_checksums_there_is_nothing_to_do() -> None:
    assert FirstReads(None).done
