"""The engine of ``pixtune prepare --engine ray``: ``python -m pixtune.ray plan.json``.

The program computes what the stages of a run are; here their tasks are performed by Ray Data on the nodes of a cluster. A task is
a few words, and what it reads and writes lies at paths that all nodes share: rows and images never pass through Ray.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import _core

OLDEST = (2, 60)
"""The oldest Ray whose shuffle survives the loss of a node."""

DEATHS = 8
"""How often Ray performs a task again whose worker or node died. Fragments that end their worker have a lower limit of their own."""

_Error = tuple[str, str, "str | None"]
_Perform = Callable[[str, str, str, str], str]


def perform(plan: str, run: str, stage: str, task: str) -> str:
    """Performs a task of a stage in this process."""
    return _core.perform(plan, run, stage, task)


def node() -> str:
    """The name of this machine in messages."""
    return socket.gethostname()


def error(message: str, hint: str | None = None) -> _core.Error:
    """An error as the compiled part raises it."""
    raised = _core.Error(message)
    raised.hint = hint
    return raised


class Task:
    """Performs a task of a stage on a node. Errors are results: an exception would end the stage for all other tasks."""

    def __init__(self, plan: str, run: str, stage: str, perform: _Perform) -> None:
        self.words = (plan, run, stage)
        self.perform = perform

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = [json.dumps(self.result(str(task))) for task in batch["task"]]
        return {"index": batch["index"], "result": results}

    def result(self, task: str) -> dict[str, Any]:
        try:
            return {"text": self.perform(*self.words, task)}
        except _core.Error as failure:
            return {"error": [node(), str(failure), failure.hint]}
        except OSError as failure:
            return {"error": [node(), str(failure), None]}


class Cluster:
    """Performs stages on a cluster. `perform` is what a node does with a task."""

    def __init__(self, plan: str, perform: _Perform = perform) -> None:
        self.plan = plan
        self.perform = perform

    def __call__(self, stage: str, tasks: list[str], run: str) -> Iterator[tuple[int, str | None, _Error | None]]:
        from ray.exceptions import RayError

        try:
            yield from self.check(tasks[0], run) if stage == "check" else self.map(stage, tasks, run)
        except RayError as failure:
            # The rest is a traceback of another process.
            lines = [line for line in str(failure).splitlines() if line.strip()]
            raise error(f"{type(failure).__name__}: {lines[0] if lines else ''}") from failure

    def map(self, stage: str, tasks: list[str], run: str) -> Iterator[tuple[int, str | None, _Error | None]]:
        """Performs each task once, on whichever node has a CPU for it."""
        import ray.data

        rows = [{"index": index, "task": task} for index, task in enumerate(tasks)]
        # A block per task: Ray would join small ones, and perform them one after the other.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Task(self.plan, run, stage, self.perform).__call__, batch_size=1, num_cpus=1, max_retries=DEATHS
        )
        for row in dataset.iter_rows():
            result = json.loads(row["result"])
            failure = result.get("error")
            yield int(row["index"]), result.get("text"), tuple(failure) if failure else None

    def check(self, task: str, run: str) -> Iterator[tuple[int, str | None, _Error | None]]:
        """Compares version, plan and paths of every node before the first task."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        plan, version = self.plan, _core.__version__

        # A function in a function is sent as code: a node with another version may not have this module.
        def check() -> tuple[str, str, str | None] | None:
            import socket

            try:
                import pixtune
                from pixtune import _core
            except ImportError as failure:
                return socket.gethostname(), f"the package pixtune cannot be imported: {failure}", "install"
            if pixtune.__version__ != version:
                return socket.gethostname(), f"it has pixtune {pixtune.__version__}, the driver has {version}", "install"
            try:
                _core.perform(plan, run, "check", task)
            except _core.Error as failure:
                return socket.gethostname(), str(failure), failure.hint
            return None

        nodes_of_cluster: Callable[[], list[dict[str, Any]]] = ray.nodes
        nodes = [one["NodeID"] for one in nodes_of_cluster() if one["Alive"] and one["Resources"].get("CPU", 0) > 0]
        if not nodes:
            raise error("no node of the cluster has a CPU for tasks")
        remote = ray.remote(num_cpus=0, max_retries=DEATHS)(check)
        found = [
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(one, soft=False)).remote() for one in nodes
        ]
        install = f"install the same version on all nodes: `pip install 'pixtune[ray]=={version}'`"
        for failure in ray.get(found):
            if failure:
                name, message, hint = failure
                yield 0, None, (name, message, install if hint == "install" else hint)


def connect(address: str | None) -> None:
    """Connects to a cluster, and sets how Ray Data works; fails where this Ray would lose the run with a node."""
    try:
        import logging

        import ray
        import ray.data
        from ray.data.context import ShuffleStrategy
    except ImportError as failure:
        raise error(f"Ray cannot be imported: {failure}", "`pip install 'pixtune[ray]'`") from failure
    have = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if have < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise error(f"Ray {ray.__version__} is too old: {oldest} is needed", f"`pip install 'ray[data]>={oldest}'`")
    context = ray.data.DataContext.get_current()
    if context.shuffle_strategy == ShuffleStrategy.HASH_SHUFFLE:
        raise error(
            "the shuffle strategy HASH_SHUFFLE loses the run with a node",
            "unset RAY_DATA_DEFAULT_SHUFFLE_STRATEGY; pixtune uses SHUFFLE_V2",
        )
    context.shuffle_strategy = ShuffleStrategy.SHUFFLE_V2
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, RuntimeError) as failure:
            raise error(f"cannot connect to Ray: {failure}", "start one with `ray start --head`, or omit `--address`") from failure


def run(plan: str, perform: _Perform = perform) -> int:
    """Runs a plan in a process of its own, and returns the exit code of the program."""
    # Standard output is the program's. Ray prints the failures of tasks there, until the process ends.
    sys.stdout = sys.stderr
    address = json.loads(plan).get("address")
    try:
        connect(address)
    except _core.Error as failure:
        print(f"error: {failure}", file=sys.stderr)
        if failure.hint:
            print(f"  hint: {failure.hint}", file=sys.stderr)
        return 2
    return _core.run_plan(plan, Cluster(plan, perform))


def main() -> None:
    """Run the plan in the file that is the one argument, and exit with the code of the program."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pixtune.ray plan.json (`pixtune prepare --write-plan` writes one)")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    sys.exit(run(Path(sys.argv[1]).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
