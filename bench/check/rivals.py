"""Python's ways of looking at a file of chats: rivals.py read|json.loads|mistral-common FILE

`read` looks at nothing: it copies the file out of the system's cache, 64 KiB at a time, as `pixtune check` does.
"""
import json
import sys
import time


def lines(work):
    refused, start = 0, (time.process_time(), time.perf_counter())
    with open(path, "rb") as file:
        for line in file:
            try:
                work(line)
            except Exception:
                refused += 1
    print("loop", time.process_time() - start[0], time.perf_counter() - start[1], refused, "refused")


def read():
    buffer, start = bytearray(64 << 10), (time.process_time(), time.perf_counter())
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    print("loop", time.process_time() - start[0], time.perf_counter() - start[1])


def mistral_common():
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import MistralRequestValidatorV3, ValidationMode

    validator = MistralRequestValidatorV3(mode=ValidationMode.finetuning)
    lines(lambda line: validator.validate_request(ChatCompletionRequest.model_validate({"model": "x", **json.loads(line)})))


name, path = sys.argv[1:]
{"read": read, "json.loads": lambda: lines(json.loads), "mistral-common": mistral_common}[name]()
