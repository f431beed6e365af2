"""`prepare --engine ray` on a head and two nodes of this machine: the same bytes as the program, whatever dies.

    PYTHONPATH=PACKAGE ray_cluster.py target/release/pixtune

Tasks are slowed down and ended by functions of this script, which the package's engine performs instead of its own.
"""

import functools
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A machine that compiles at the same time starts a node slowly.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = 360
FRAGMENT = 15


# What a task does before or instead of its work. Sent to the nodes as code.


def plain(marks, plan, run, stage, task):
    from pixtune import _core

    return _core.perform(plan, run, stage, task)


def slow(marks, plan, run, stage, task):
    """Takes half a second, so that a node can die while tasks of a stage run."""
    digest = hashlib.sha256(task.encode()).hexdigest()[:16]
    (pathlib.Path(marks) / f"{stage}-{digest}-{os.getpid()}").touch()
    time.sleep(0.5)
    return plain(marks, plan, run, stage, task)


def first_time(marks, name):
    """Whether no other call with this name was first."""
    try:
        os.close(os.open(pathlib.Path(marks) / name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def killed_twice(marks, plan, run, stage, task):
    """Two scans end as the kernel ends a process for its memory."""
    if stage == "scan" and (first_time(marks, "one") or first_time(marks, "two")):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(marks, plan, run, stage, task)


def always_killed(marks, plan, run, stage, task):
    """The process that scans one fragment is killed as soon as the scan has started, each time."""
    starts = pathlib.Path(json.loads(run)["work"]) / "fragments/00000003.starts"
    count = lambda: starts.stat().st_size if starts.exists() else 0  # noqa: E731
    before = count()
    if stage == "scan" and json.loads(task)["fragment"] == 3 and before < 4:

        def watch():
            while count() <= before:
                pass
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch).start()
    return plain(marks, plan, run, stage, task)


def disk_full(times, marks, plan, run, stage, task):
    """Writing fails for a while, as on a full disk."""
    if stage == "scan" and any(first_time(marks, f"full-{number}") for number in range(times)):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            return plain(marks, plan, run, stage, task)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return plain(marks, plan, run, stage, task)


HOOKS = {
    "plain": plain,
    "slow": slow,
    "killed_twice": killed_twice,
    "always_killed": always_killed,
    "full_once": functools.partial(disk_full, 2),
    "full": functools.partial(disk_full, 10_000),
}


def drive(plan, hook, marks):
    import pixtune.ray

    sys.exit(pixtune.ray.run(pathlib.Path(plan).read_text(), functools.partial(HOOKS[hook], marks)))


def digest(directory):
    """Of the names and bytes of all files."""
    total = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        total.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()


def dataset(directory):
    """Rows with images, some of them missing, some repeated, and a second file with messages."""
    images = sorted((ROOT / "fixtures/images").glob("*.png"))[:6] + sorted((ROOT / "fixtures/images").glob("*.jpg"))[:6]
    names = []
    for image in images:
        shutil.copy(image, directory / image.name)
        names.append(image.name)
    names.append("missing.png")
    with open(directory / "rows.jsonl", "w") as rows:
        for index in range(ROWS):
            row = {"image": names[index % len(names)], "prompt": f"question {index % 300}?", "completion": f"{index % 90}"}
            rows.write(json.dumps(row) + "\n")
    table = ["image,prompt,completion"]
    table += [f'{names[index % len(names)]},"what\nis {index}?",nothing' for index in range(40)]
    (directory / "table.csv").write_text("\n".join(table) + "\n")


class Runs:
    def __init__(self, program, directory):
        from ray.cluster_utils import Cluster

        self.program, self.directory = program, directory
        dataset(directory)
        began = time.monotonic()
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 300 << 20})
        self.nodes = [self.node(), self.node()]
        print(f"a head and two nodes are up after {time.monotonic() - began:.0f} s", flush=True)

    def node(self, **more):
        return self.cluster.add_node(num_cpus=1, object_store_memory=300 << 20, **more)

    def replace(self, index):
        """A node in place of one that died."""
        self.nodes[index] = self.node()

    def words(self, out, *more):
        words = ["prepare", "rows.jsonl", "table.csv", "--out", out, "--dedup", "near", "--format", "json"]
        return [*words, "--quiet", *map(str, more)]

    def here(self, out, *more):
        """A run of the program on this machine: exit code, output and digest."""
        run = subprocess.run([self.program, *self.words(out, *more)], cwd=self.directory, capture_output=True, text=True)
        assert run.returncode == 1, run.stderr
        return run.stdout, digest(self.directory / out)

    def ray_words(self, out, *more):
        return self.words(out, "--engine", "ray", "--address", self.cluster.address, "--fragment-rows", FRAGMENT, *more)

    def start(self, hook, out, *more):
        """Starts a run on the cluster whose tasks call a function of this script."""
        marks = self.directory / f"marks-{time.monotonic_ns()}"
        marks.mkdir()
        plan = marks / "plan.json"
        command = [self.program, *self.ray_words(out, *more), "--write-plan", plan]
        subprocess.run(list(map(str, command)), cwd=self.directory, check=True)
        process = subprocess.Popen(
            [sys.executable, __file__, "drive", str(plan), hook, str(marks)],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return process, marks

    def end(self, process, code):
        stdout, stderr = process.communicate(timeout=400)
        assert process.returncode == code, f"exit code {process.returncode}, not {code}\n{stdout[-3000:]}\n{stderr[-6000:]}"
        return stdout, stderr

    def same(self, process, out, expected):
        """The run ends with the output and the bytes of the program, and leaves nothing behind."""
        stdout, _ = self.end(process, 1)
        assert stdout == expected[0], f"other findings or counts\n{stdout[-2000:]}\n{expected[0][-2000:]}"
        assert digest(self.directory / out) == expected[1], "other bytes"
        assert not (self.directory / f"{out}.partial").exists()
        shutil.rmtree(self.directory / out)


def wait(for_what, process, seconds=240):
    """Waits until a condition holds, while a process runs."""
    end = time.monotonic() + seconds
    while not for_what():
        assert process.poll() is None, f"the run ended before: {process.communicate()}"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def marked(marks, stage):
    return len({name.name.split("-")[1] for name in marks.glob(f"{stage}-*")})


def kill(node, cluster):
    """Ends a node and its workers, as when a machine loses its power."""
    cluster.remove_node(node, allow_graceful=False)


def main(program):
    with tempfile.TemporaryDirectory() as name:
        tests(pathlib.Path(program).resolve(), pathlib.Path(name))


def tests(program, directory):
    runs = Runs(str(program), directory)
    expected = runs.here("whole")
    began = time.monotonic()

    def passed(what):
        nonlocal began
        print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()

    for threads, rows in [(1, 7), (4, 64)]:
        assert runs.here(f"embedded-{threads}", "--threads", threads, "--fragment-rows", rows) == expected
    passed("the program with 1 and 4 threads and other fragments writes the same bytes")

    command = [runs.program, *runs.ray_words("cli"), "--python", sys.executable]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs.same(process, "cli", expected)
    passed("the same bytes and findings on two nodes")

    for stage in ["scan", "finish"]:
        process, marks = runs.start("slow", stage)
        wait(lambda: marked(marks, stage) >= 5, process)
        kill(runs.nodes[0], runs.cluster)
        runs.same(process, stage, expected)
        runs.replace(0)
        passed(f"a node killed in {stage}: the same bytes")

    process, marks = runs.start("slow", "resumed")
    fragments = directory / "resumed.partial/fragments"
    done = lambda: sorted(path for path in fragments.glob("????????") if path.is_dir())  # noqa: E731
    wait(lambda: len(done()) >= 6, process)
    process.kill()
    process.wait()
    before = {path.name: (path / "summary").stat().st_mtime_ns for path in done()}
    process, marks = runs.start("plain", "resumed")
    _, stderr = runs.end(process, 2)
    assert "an unfinished run is in" in stderr and "--resume" in stderr, stderr
    process, marks = runs.start("slow", "resumed", "--resume")
    wait(lambda: marked(marks, "finish") >= 1, process)
    after = {path.name: (path / "summary").stat().st_mtime_ns for path in done()}
    assert before.items() <= after.items() and len(after) > len(before), "fragments were scanned again"
    runs.end(process, 1)
    assert digest(directory / "resumed") == expected[1]
    shutil.rmtree(directory / "resumed")
    passed(f"the driver killed and the run resumed: {len(before)} fragments were not scanned again")

    process, marks = runs.start("killed_twice", "memory")
    runs.same(process, "memory", expected)
    passed("two workers killed as for their memory: the same bytes")

    process, marks = runs.start("always_killed", "crash")
    _, stderr = runs.end(process, 2)
    assert "15 rows of `rows.jsonl` from 46 on: the scan was started 4 times and never ended" in stderr, stderr
    shutil.rmtree(directory / "crash.partial")
    passed("a fragment that always ends its worker is named")

    process, marks = runs.start("full_once", "disk")
    runs.same(process, "disk", expected)
    process, marks = runs.start("full", "disk")
    _, stderr = runs.end(process, 2)
    assert "cannot write" in stderr and "on node" in stderr and "--resume" in stderr, stderr
    process, marks = runs.start("plain", "disk", "--resume")
    runs.same(process, "disk", expected)
    passed("a full disk: performed again, and where it stays full the run ends and is resumed")

    process, marks = runs.start("slow", "both")
    wait(lambda: marked(marks, "scan") >= 1, process)
    other, _ = runs.start("plain", "both", "--resume")
    _, stderr = runs.end(other, 2)
    assert "another run is writing" in stderr, stderr
    runs.same(process, "both", expected)
    passed("two runs into one output: the second ends")

    other = directory / "other"
    (other / "pixtune").mkdir(parents=True)
    (other / "pixtune/__init__.py").write_text('__version__ = "0.0.1"\n')
    (other / "pixtune/_core.py").write_text("")
    node = runs.node(env_vars={"PYTHONPATH": str(other)})
    process, marks = runs.start("plain", "version")
    _, stderr = runs.end(process, 2)
    assert "it has pixtune 0.0.1, the driver has" in stderr and "install the same version" in stderr, stderr
    assert not (directory / "version").exists()
    kill(node, runs.cluster)
    passed("a node with another version ends the run before the first task")

    refused(runs, other)
    passed("no package, another package, no Ray, an old Ray, the old shuffle, another directory: refused with a hint")
    runs.cluster.shutdown()


def refused(runs, other):
    """What is refused before a cluster is used."""
    directory = runs.directory

    def ends(words, texts, **environment):
        run = subprocess.run(
            list(map(str, words)), cwd=directory, capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert run.returncode == 2, (words, run)
        for text in texts:
            assert text in run.stderr, (text, run.stderr)
        assert not (directory / "refused").exists()

    words = [runs.program, *runs.ray_words("refused"), "--python"]
    ends([*words, directory / "absent"], ["cannot start", "--python"])
    ends([*words, sys.executable], ["cannot import the package pixtune", "pixtune[ray]"], PYTHONPATH="")
    ends([*words, sys.executable], ["has pixtune 0.0.1"], PYTHONPATH=str(other))
    plan = directory / "refused.json"
    subprocess.run([*words[:-1], "--write-plan", str(plan)], cwd=directory, check=True)
    module = [sys.executable, "-m", "pixtune.ray"]
    package = os.environ.get("PYTHONPATH", "")
    for version, text in [("2.59.0", "Ray 2.59.0 is too old"), (None, "Ray cannot be imported")]:
        fake = directory / f"ray-{version}"
        (fake / "ray/data").mkdir(parents=True)
        (fake / "ray/__init__.py").write_text(f'__version__ = "{version}"\n' if version else "raise ImportError('no ray')\n")
        (fake / "ray/data/__init__.py").write_text("")
        (fake / "ray/data/context.py").write_text("class ShuffleStrategy: pass\n")
        ends([*module, plan], [text, "pip install"], PYTHONPATH=f"{fake}:{package}")
    ends([*module, plan], ["HASH_SHUFFLE"], RAY_DATA_DEFAULT_SHUFFLE_STRATEGY="hash_shuffle")
    damaged = directory / "damaged.json"
    damaged.write_text(plan.read_text().replace("rows.jsonl", "rows.json"))
    ends([*module, damaged], ["the plan is damaged"])

    # A node that does not see the directory of the run, and one that sees other inputs.
    from pixtune import _core, ray

    asked = []

    def engine(stage, tasks, run):
        asked.append(run)
        raise ray.error("enough")

    assert _core.run_plan(plan.read_text(), engine) == 2 and len(asked) == 1
    elsewhere = json.dumps({**json.loads(asked[0]), "work": str(directory / "elsewhere")})
    changed = json.loads(asked[0])
    changed["plan"] = changed["plan"].replace('"seed": 0', '"seed": 1').replace('"seed":0', '"seed":1')
    for run, text in [(elsewhere, "is not the work directory of the run"), (json.dumps(changed), "`--seed` was 1, is 0")]:
        try:
            _core.perform(plan.read_text(), run, "check", "")
        except _core.Error as failure:
            assert text in str(failure) and failure.hint, failure
        else:
            raise AssertionError(text)


if __name__ == "__main__":
    drive(*sys.argv[2:]) if sys.argv[1] == "drive" else main(sys.argv[1])
