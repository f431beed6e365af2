"""TensorBoard reads the events of a run: the scalars are those of metrics.jsonl, and every checksum is right.

    tensorboard_events.py RUN
"""

import json
import pathlib
import sys

import numpy
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

STEP = {"train/loss": "loss", "train/gradient_norm": "grad_norm", "train/learning_rate": "learning_rate"}
EVALUATION = {"validation/loss": "valid_loss", "validation/token_accuracy": "valid_token_accuracy"}


def expected(run):
    """Step and value of each tag, as 32-bit floats."""
    scalars = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        tags = STEP if "loss" in record else EVALUATION
        for tag, key in tags.items():
            scalars.setdefault(tag, []).append((record["step"], float(numpy.float32(record[key]))))
    return scalars


def records(path):
    """The number of records of a file. The reader raises an error for a wrong checksum."""
    reader, count = PyRecordReader_New(str(path)), 0
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return count
        count += 1


def main():
    run = pathlib.Path(sys.argv[1])
    [path] = (run / "tensorboard").iterdir()
    lines = len((run / "metrics.jsonl").read_text().splitlines())
    found = records(path)
    if found != lines + 1:
        sys.exit(f"{path} has {found} records, not one more than the {lines} lines of metrics.jsonl")
    accumulator = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={event_accumulator.SCALARS: 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    compared = 0
    for tag, values in expected(run).items():
        events = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        if events != values:
            sys.exit(f"{tag}: {events[:5]}, not {values[:5]}")
        compared += len(values)
    if "train/tokens_per_second" not in tags:
        sys.exit(f"no throughput in {tags}")
    times = [event.wall_time for event in accumulator.Scalars("train/loss")]
    if times != sorted(times):
        sys.exit("times go back")
    print(f"TensorBoard reads {compared} values of {len(tags)} tags")


if __name__ == "__main__":
    main()
