"""A loader answers as a DataLoader does."""

import copy
import gc
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import SequentialSampler

from feedline import Dataset, InputError, Loader
from tests.pipeline.loading import ENGINES, all_differ, make_loader


def labels_of(loader: Loader, batches: int = 99) -> list[list[int]]:
    return [labels.tolist() for _, labels in itertools.islice(loader, batches)]


def all_end(threads: set[threading.Thread]) -> bool:
    """Whether threads end by themselves; one that is in a task does when that is done."""
    for thread in threads:
        thread.join(timeout=60)
    return not any(thread.is_alive() for thread in threads)


def epochs(loader: Loader, count: int = 3) -> list[list[list[int]]]:
    """The labels of the next epochs, whole."""
    return [labels_of(loader) for _ in range(count)]


@pytest.mark.parametrize("engine", ENGINES)
def test_each_loop_is_a_new_epoch_however_the_one_before_ended(dataset: Dataset, engine: Any) -> None:
    wanted = epochs(make_loader(dataset, engine=engine), 6)
    loader = make_loader(dataset, engine=engine)
    seen = [[labels.tolist() for _, (_, labels) in zip(range(len(loader)), loader, strict=False)]]  # zipped
    for k, (_, labels) in enumerate(loader):  # left early
        seen.append([labels.tolist()])
        if k == 0:
            break
    seen.append(labels_of(loader, 3))  # limited
    iterator = iter(loader)  # counted
    seen.append([next(iterator)[1].tolist() for _ in range(len(loader))])
    next(iter(loader))  # looked at
    seen.append(labels_of(loader))
    for epoch, got in zip((0, 1, 2, 3, 5), seen, strict=True):
        assert got == wanted[epoch][: len(got)]
    assert all_differ(wanted)


def test_an_iterator_takes_its_epoch_when_it_starts(dataset: Dataset) -> None:
    """Lightning makes one that it drops, then one, and chooses the epoch before it asks for a batch."""
    wanted = epochs(make_loader(dataset))
    loader = make_loader(dataset)
    for epoch in range(3):
        iter(loader)
        iterator = iter(loader)
        loader.sampler.set_epoch(epoch)
        assert [labels.tolist() for _, labels in iterator] == wanted[epoch]
    iter(loader)
    loader.set_epoch(1)
    iter(loader)
    assert labels_of(loader) == wanted[1]


def test_set_epoch_of_loader_and_sampler(dataset: Dataset) -> None:
    wanted = epochs(make_loader(dataset), 6)
    loader = make_loader(dataset)
    loader.set_epoch(4)
    assert labels_of(loader) == wanted[4]
    loader.sampler.set_epoch(2)
    assert [labels_of(loader) for _ in range(2)] == wanted[2:4]
    for wrong in (-1, 1.5, "1", 2**32):
        with pytest.raises(InputError, match=f"epoch={wrong}: must be a whole number"):
            loader.set_epoch(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_sampler_says_the_order_of_the_next_epoch(dataset: Dataset, rank: int) -> None:
    loader = make_loader(dataset, rank=rank, world_size=2)
    for epoch in (3, 4):
        loader.set_epoch(epoch)
        order = list(loader.sampler)
        assert len(order) == len(loader.sampler) == 40
        assert [loader.dataset.targets[i] for i in order] == [y for labels in labels_of(loader) for y in labels]


@pytest.mark.parametrize("other", [None, 5, b"data", object()])
def test_what_is_no_dataset_folder_is_answered(other: Any) -> None:
    with pytest.raises(InputError, match="is no dataset folder; name one"):
        Loader(other)


def test_what_wrappers_ask(dataset: Dataset) -> None:
    train, val = make_loader(dataset), make_loader(dataset, part="val")
    assert (len(train), len(val), train.batch_size, train.num_workers) == (4, 2, 20, 2)
    assert train.batch_sampler is None
    assert (train.drop_last, val.drop_last, train.pin_memory) == (True, False, False)
    assert (len(train.dataset), len(val.dataset)) == (96, 32)


def test_the_part_looks_like_an_image_folder(dataset: Dataset) -> None:
    loader = make_loader(dataset, part="val", classes=3, dtype=torch.uint8)
    part = loader.dataset
    assert len(part) == len(part.targets) == len(part.samples) == 24
    assert len(part.classes) == len(part.class_to_idx) == len(part.words) == 3
    assert [part.class_to_idx[name] for name in part.classes] == [0, 1, 2]
    assert part.words != part.classes
    pixels, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert part.targets == labels.tolist()
    picture, label = part[-1]
    assert picture.size == (64, 64)
    assert (label, label) == (part.targets[-1], labels[-1])
    assert part.samples[-1] == (str(dataset.root / dataset.path(int(part.ids[-1]))), label)
    drawn = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(64, 64, 3)
    assert (drawn.int() - pixels[-1].permute(1, 2, 0)).abs().max() <= 1
    with pytest.raises(IndexError):
        part[24]


@pytest.mark.parametrize("engine", ENGINES)
def test_with_leaves_no_thread(dataset: Dataset, engine: Any) -> None:
    before = set(threading.enumerate())
    with make_loader(dataset, engine=engine) as loader:
        next(iter(loader))
    assert not set(threading.enumerate()) - before
    assert len(labels_of(loader)) == 4, "it may be used again"
    loader.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loader_that_is_dropped_in_mid_epoch_leaves_no_thread(dataset: Dataset, engine: Any) -> None:
    before = set(threading.enumerate())
    loader = make_loader(dataset, engine=engine)
    iterator = iter(loader)
    next(iterator)
    del loader, iterator
    gc.collect()
    assert all_end(set(threading.enumerate()) - before)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_threads_at_one_loader_end_in_a_line(dataset: Dataset, engine: Any) -> None:
    """One loop runs at a time: each that is ended by the other says so, and nobody waits for ever."""
    loader, ended = make_loader(dataset, engine=engine, batch_size=4), []

    def loop() -> None:
        for _ in range(6):
            try:
                list(loader)
            except RuntimeError as error:
                ended.append(str(error))

    threads = [threading.Thread(target=loop) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert all("one runs at a time" in message for message in ended)
    assert len(list(loader)) == 24


@pytest.mark.parametrize("store", ["raw", "jpeg"])
@pytest.mark.parametrize("engine", ENGINES)
def test_it_can_be_closed_from_another_thread(dataset: Dataset, engine: Any, store: Any) -> None:
    before = set(threading.enumerate())
    loader, ended = make_loader(dataset, engine=engine, store=store, batch_size=2), []

    def loop() -> None:
        try:
            while True:
                list(loader)
        except RuntimeError as error:
            ended.append(str(error))

    for _ in range(5):
        thread = threading.Thread(target=loop)
        thread.start()
        while thread.is_alive():
            loader.close()
        thread.join()
    assert all("this loop over the loader was ended" in message for message in ended)
    assert len(ended) == 5
    loader.close()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_a_program_ends_while_a_daemon_thread_loops(dataset: Dataset, store: str) -> None:
    program = (
        "import threading, time\n"
        "from feedline import Loader\n"
        f"loader = Loader({str(dataset.root)!r}, split='official', batch_size=4, store={store!r})\n"
        "def loop():\n"
        "    try:\n"
        "        while True: list(loader)\n"
        "    except RuntimeError: pass\n"
        "threading.Thread(target=loop, daemon=True).start()\n"
        "time.sleep(0.3)\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, timeout=120, check=False, stderr=subprocess.DEVNULL
    )
    assert ended.returncode == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loader_that_its_own_transform_knows_can_be_collected(dataset: Dataset, engine: Any) -> None:
    class Task:
        def __init__(self) -> None:
            self.loader = make_loader(dataset, engine=engine, transform=self.look)
            self.batches = iter(self.loader)
            next(self.batches)

        def look(self, images: torch.Tensor, labels: torch.Tensor) -> Any:
            return images, labels

    before = set(threading.enumerate())
    Task()
    gc.collect()
    assert all_end(set(threading.enumerate()) - before)


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_batches_made_in_inference_mode_can_be_trained_on(dataset: Dataset, store: Any) -> None:
    loader = make_loader(dataset, store=store, batch_size=4)
    with torch.inference_mode():
        batches = list(loader)
    assert not any(tensor.is_inference() for batch in batches for tensor in batch)


def test_torchs_settings_are_left_alone(dataset: Dataset) -> None:
    before = torch.get_num_threads()
    try:
        loader = make_loader(dataset)
        torch.set_num_threads(before + 2)
        next(iter(loader))
        assert torch.get_num_threads() == before + 2
    finally:
        torch.set_num_threads(before)
    filters = list(warnings.filters)
    list(make_loader(dataset, store="files", threads=4))
    assert warnings.filters == filters


def test_torchs_default_device_is_not_the_loaders(dataset: Dataset) -> None:
    torch.set_default_device("meta")
    try:
        batches = list(make_loader(dataset, image_size=32, targets=[0.5] * 128))
    finally:
        torch.set_default_device(None)
    assert {tensor.device.type for batch in batches for tensor in batch} == {"cpu"}


def test_the_working_folder_may_change(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dataset.root.parent)
    loader = Loader(dataset.root.name, split="official", batch_size=20, store="files")
    monkeypatch.chdir(tmp_path)
    assert len(labels_of(loader)) == 4
    assert len(labels_of(pickle.loads(pickle.dumps(loader)))) == 4


def test_lightning_may_take_it_for_a_loader_in_order(dataset: Dataset) -> None:
    assert isinstance(make_loader(dataset, shuffle=False).sampler, SequentialSampler)
    assert not isinstance(make_loader(dataset).sampler, SequentialSampler)


class OwnLoader(Loader):
    """Somebody's subclass."""


def test_a_pickled_subclass_stays_one(dataset: Dataset) -> None:
    assert type(pickle.loads(pickle.dumps(OwnLoader(dataset, split="official", batch_size=8)))) is OwnLoader


def test_a_pickled_loader_goes_on(dataset: Dataset) -> None:
    """As the loader itself would: a new epoch, or the rest of one that was loaded; its state is the same."""
    wanted = epochs(make_loader(dataset, classes=3))
    loader = make_loader(dataset, classes=3)
    labels_of(loader, 2)
    state = loader.state_dict()
    for twin in (pickle.loads(pickle.dumps(loader)), copy.deepcopy(loader)):
        assert twin.state_dict() == state
        assert labels_of(twin) == wanted[1]
    loader.load_state_dict(state)
    for twin in (pickle.loads(pickle.dumps(loader)), copy.deepcopy(loader)):
        assert labels_of(twin) == wanted[0][2:]
        assert labels_of(twin) == wanted[1]
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint


def in_a_process(loader: Loader, answers: Any) -> None:
    answers.put(labels_of(loader))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_in_another_process(dataset: Dataset, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    wanted = epochs(make_loader(dataset))
    loader = make_loader(dataset)
    assert labels_of(loader) == wanted[0], "its threads are running when the process is forked"
    answers = context.Queue()
    child = context.Process(target=in_a_process, args=(loader, answers))
    child.start()
    assert answers.get(timeout=120) == wanted[1]
    child.join()
    assert child.exitcode == 0
    assert labels_of(loader) == wanted[1], "here nothing has changed"


def in_a_fork(action: Any) -> str:
    """What an action returns, or the message of what it raises, in a child of this process."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = str(action())
        except Exception as error:
            answer = str(error)
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def test_a_loop_cannot_go_on_in_a_fork(dataset: Dataset) -> None:
    iterator = iter(make_loader(dataset))
    next(iterator)
    assert "begun in another process" in in_a_fork(lambda: next(iterator))
    assert len(list(iterator)) == 3


def test_a_fork_beside_a_thread_that_loops(dataset: Dataset) -> None:
    loader, stop = make_loader(dataset, batch_size=4), threading.Event()

    def loop() -> None:
        while not stop.is_set():
            list(loader)

    thread = threading.Thread(target=loop)
    thread.start()
    answers = [in_a_fork(lambda: len(list(loader))) for _ in range(4)]
    stop.set()
    thread.join()
    assert answers == ["24"] * 4


def test_dali_says_that_it_cannot_be_forked(dataset: Dataset) -> None:
    loader = make_loader(dataset, engine="dali")
    list(loader)
    assert "make the loader in the child" in in_a_fork(lambda: len(list(loader)))
    assert len(list(loader)) == 4


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("num_workers", "say threads"),
        ("collate_fn", "say transform"),
        ("drop_last", "leave it out"),
        ("sampler", "subset"),
    ],
)
def test_arguments_of_a_dataloader_are_answered(dataset: Dataset, name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"{name}: .*{hint}"):
        make_loader(dataset, **{name: 2})


def test_shuffle_as_a_dataloader_takes_it(dataset: Dataset) -> None:
    assert labels_of(make_loader(dataset, shuffle=True)) == labels_of(make_loader(dataset))
    loader = make_loader(dataset, shuffle=False)
    assert (len(loader), loader.drop_last) == (5, False)
    assert [y for labels in labels_of(loader) for y in labels] == loader.dataset.targets
    assert labels_of(make_loader(dataset, part="val", shuffle=False)) == labels_of(make_loader(dataset, part="val"))
    with pytest.raises(InputError, match="shuffle=True: must be left out for val, which is in list order"):
        make_loader(dataset, part="val", shuffle=True)
