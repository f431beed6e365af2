"""Ways of processing a file of chats in Python: rivals.py read|mapped|json.loads|mistral-common FILE

`read` copies the file out of the page cache in blocks of 192 KiB, as `pixtune check` does.
`mapped` is the upper bound for a program that inspects each byte: it maps the file and combines its words with OR, one mebibyte
at a time.
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
    buffer, start = bytearray(192 << 10), (time.process_time(), time.perf_counter())
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    print("loop", time.process_time() - start[0], time.perf_counter() - start[1])


def mapped():
    import numpy  # Its other threads, which wait busily for a while, are not counted.

    start = (time.thread_time(), time.perf_counter())
    words = numpy.memmap(path, "uint8", "r")
    words = words[: len(words) // 8 * 8].view("uint64")
    found = 0
    for at in range(0, len(words), 1 << 17):
        found |= int(numpy.bitwise_or.reduce(words[at : at + (1 << 17)]))
    print("loop", time.thread_time() - start[0], time.perf_counter() - start[1], found)


def mistral_common():
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import MistralRequestValidatorV3, ValidationMode

    validator = MistralRequestValidatorV3(mode=ValidationMode.finetuning)
    lines(lambda line: validator.validate_request(ChatCompletionRequest.model_validate({"model": "x", **json.loads(line)})))


name, path = sys.argv[1:]
{"read": read, "mapped": mapped, "json.loads": lambda: lines(json.loads), "mistral-common": mistral_common}[name]()
