"""As many workers and threads as may run here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feedline import Dataset, Loader
from feedline.pipeline.cores import available_cores

V2 = "30 23 0:26 {root} {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {root} {mount} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for control groups, on a machine of 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    return tmp_path / "group"


def process(group: Path, kind: str, line: str, root: str = "/") -> Path:
    """The folder of a process whose group's line is `line`."""
    folder = group.parent / "process"
    folder.mkdir()
    (folder / "cgroup").write_text(f"9:name=systemd:/\n{line}\n")
    mounts = "21 20 0:19 / /proc rw - proc proc rw\n" + kind.format(root=root, mount=group)
    (folder / "mountinfo").write_text(mounts)
    return folder


def limit(group: Path, **files: str) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (group / name.replace("_", ".", 1)).write_text(text + "\n")


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", 64), ("100000 100000", 1), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 64)],
)
def test_the_quota_of_a_control_group(group: Path, text: str, cores: int) -> None:
    limit(group / "user/me", cpu_max=text)
    assert available_cores(process(group, V2, "0::/user/me")) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 64), ("300000", 3), ("250000", 3), ("0", 64), ("junk", 64)])
def test_the_quota_of_a_control_group_of_version_1(group: Path, quota: str, cores: int) -> None:
    limit(group / "job", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
    assert available_cores(process(group, V1, "1:cpu,cpuacct:/job")) == cores


def test_a_group_is_limited_by_those_around_it(group: Path) -> None:
    limit(group / "pod", cpu_max="200000 100000")
    limit(group / "pod/box", cpu_max="max 100000")
    assert available_cores(process(group, V2, "0::/pod/box")) == 2


@pytest.mark.parametrize(("root", "line"), [("/docker/abc", "0::/docker/abc"), ("/", "0::/docker/abc"), ("/", "0::/")])
def test_in_a_container_the_top_folder_may_be_the_own_group(group: Path, root: str, line: str) -> None:
    limit(group, cpu_max="100000 100000")
    assert available_cores(process(group, V2, line, root)) == 1


def test_a_system_without_control_groups(group: Path) -> None:
    assert available_cores(group / "none") == 64
    assert available_cores(process(group, V2, "0::/never/made")) == 64


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_one_core_gives_one_worker_and_one_thread(dataset: Dataset) -> None:
    code = (
        "import os, sys\nos.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from feedline import Loader\nfrom feedline.convert.build import parser\n"
        "print(parser().get_default('workers'), Loader(sys.argv[1], batch_size=8, engine='torch').num_workers)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(dataset.root)], capture_output=True, text=True, check=True)
    assert run.stdout == "1 1\n"


def test_a_number_of_threads_that_is_given_is_kept(dataset: Dataset) -> None:
    assert Loader(dataset, batch_size=8, threads=7, engine="torch").num_workers == 7
