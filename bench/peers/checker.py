"""The process that compares one contestant's pixels: `python -m bench.peers.checker NAME JOB`."""

import json
import sys

from bench.peers.agreement import Agreement, compare
from bench.peers.contestants import by_name
from bench.peers.job import Job
from bench.peers.reference import Reference
from bench.peers.worker import leave, redirect_stdout


def check(name: str, job: Job) -> Agreement:
    contestant = by_name(name)
    reference = Reference.read(job.data, augmented=job.kind == "train")
    return compare(contestant.make(job), reference, replaces=contestant.replaces)


def main() -> None:
    out = redirect_stdout()
    result = check(sys.argv[1], Job.parse(sys.argv[2]))
    out.write(json.dumps(vars(result)) + "\n")
    out.flush()
    leave()


if __name__ == "__main__":
    main()
