"""The commands of the program as functions. Keywords are its options; what is not given has the program's default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from . import _core
from ._results import AdapterCheck, Change, Checked, Finding, Fixed, ModuleVerdict, OutputFile, Prepared
from ._words import Names, Progress, StrPath, paths, reporter, words


class _Heard:
    """What a run reports. Findings are kept, unless a function takes them."""

    def __init__(self, on_finding: Callable[[Finding], object] | None = None) -> None:
        self.findings: list[Finding] = []
        self.changes: list[Change] = []
        self.notes: list[str] = []
        self._take = on_finding or self.findings.append

    def __call__(self, kind: str, text: str) -> None:
        if kind == "finding":
            self._take(Finding._parse(text))
        elif kind == "change":
            self.changes.append(Change(**json.loads(text)))
        else:
            self.notes.append(text)


def prepare(
    inputs: StrPath | Iterable[StrPath],
    out: StrPath,
    *,
    model: StrPath | None = None,
    target: str | None = None,
    columns: str | Mapping[str, str | Iterable[str]] | None = None,
    remove_columns: Names = None,
    answers: Literal["first", "most-common", "each"] | None = None,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
    image_folder: StrPath | None = None,
    fetch: bool = False,
    fetch_private: bool = False,
    fetch_cache: StrPath | None = None,
    fetch_connections: int | None = None,
    fetch_per_host: int | None = None,
    fetch_timeout: int | None = None,
    fetch_retries: int | None = None,
    images: Literal["fit", "keep"] | None = None,
    image_position: Literal["first", "last"] | None = None,
    resampling: Literal["mistral", "lanczos"] | None = None,
    verify: Literal["full", "header"] | None = None,
    jpeg_quality: int | None = None,
    measure: bool = True,
    tokenizer: StrPath | None = None,
    max_tokens: int | None = None,
    validation: str | float | None = None,
    split: str | None = None,
    write_test: bool = False,
    dedup: Literal["off", "exact", "near"] | None = None,
    dedup_by: Literal["sample", "image"] | None = None,
    near_distance: int | None = None,
    drop: Names = None,
    ignore: Names = None,
    config: StrPath | None = None,
    no_config: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    fragment_rows: int | None = None,
    memory: str | int | None = None,
    max_reject: str | int | None = None,
    max_row_bytes: str | int | None = None,
    max_image_bytes: str | int | None = None,
    max_image_side: int | None = None,
    max_decoded_bytes: str | int | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], object] | None = None,
) -> Prepared:
    """Convert tables and images to training data: ``pixtune prepare``.

    Writes ``train.jsonl``, ``validation.jsonl``, ``rejected.jsonl`` and ``manifest.json`` to the directory `out`, with the bytes that
    the program writes. ``pixtune help prepare`` describes each option. Rows that are rejected are findings, not exceptions.

    Args:
        inputs: files, quoted glob patterns, image folders or URLs.
        out: the output directory.
        columns: ``{"image": "photo", "prompt": "question"}``, or the text of ``--columns``.
        progress: a function of bytes read and bytes in total, or a bar of ``tqdm``.
        on_finding: called with each finding, in input order; then `Prepared.findings` is empty.

    Raises:
        Error: the run could not be done; nothing was written.
        KeyboardInterrupt: Ctrl-C; finished rows are kept for ``resume=True``.
    """
    options = {**locals(), "no_measure": not measure}
    for name in ("inputs", "measure", "progress", "on_finding"):
        del options[name]
    heard = _Heard(on_finding)
    result = json.loads(_core.prepare(words(paths(inputs), options), heard, reporter(progress)))
    result["outputs"] = tuple(OutputFile(**file) for file in result["outputs"])
    return Prepared(**result, findings=tuple(heard.findings), notes=tuple(heard.notes))


def check(
    files: StrPath | Iterable[StrPath],
    *,
    verify: Literal["full", "header"] | None = None,
    measure: bool = True,
    model: StrPath | None = None,
    target: str | None = None,
    select: Names = None,
    ignore: Names = None,
    severity: Names | Mapping[str, str] = None,
    max_image_bytes: str | int | None = None,
    max_images: int | None = None,
    max_line_bytes: str | int | None = None,
    fetch: bool = False,
    fetch_private: bool = False,
    fetch_cache: StrPath | None = None,
    fetch_connections: int | None = None,
    fetch_per_host: int | None = None,
    fetch_timeout: int | None = None,
    fetch_retries: int | None = None,
    config: StrPath | None = None,
    no_config: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    on_finding: Callable[[Finding], object] | None = None,
) -> Checked:
    """Report every problem of fine-tuning files: ``pixtune check``.

    Args:
        files: JSON Lines files, ``.json`` files with one array, or directories that `prepare` wrote.
        progress: a function of bytes read and bytes in total, or a bar of ``tqdm``.
        on_finding: called with each finding, in the order of files and lines; then `Checked.findings` is empty.

    Raises:
        Error: a file could not be read, or an option is invalid. Problems of samples are findings.
    """
    options = {**locals(), "no_measure": not measure}
    for name in ("files", "measure", "progress", "on_finding"):
        del options[name]
    heard = _Heard(on_finding)
    result = json.loads(_core.check(words(paths(files), options), heard, reporter(progress)))
    return Checked(**result, findings=tuple(heard.findings), notes=tuple(heard.notes))


def fix(
    file: StrPath,
    out: StrPath,
    *,
    unsafe: bool = False,
    force: bool = False,
    image_folder: StrPath | None = None,
    verify: Literal["full", "header"] | None = None,
    model: StrPath | None = None,
    target: str | None = None,
    select: Names = None,
    ignore: Names = None,
    severity: Names | Mapping[str, str] = None,
    max_image_bytes: str | int | None = None,
    max_images: int | None = None,
    max_line_bytes: str | int | None = None,
    fetch: bool = False,
    fetch_private: bool = False,
    fetch_cache: StrPath | None = None,
    fetch_connections: int | None = None,
    fetch_per_host: int | None = None,
    fetch_timeout: int | None = None,
    fetch_retries: int | None = None,
    config: StrPath | None = None,
    no_config: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Fixed:
    """Write a corrected copy of a fine-tuning file: ``pixtune fix``.

    The input is not changed, and lines without problems are copied byte for byte.

    Args:
        unsafe: also make changes that guess or re-encode images, and drop samples that cannot be fixed.
        progress: a function of bytes read and bytes in total, or a bar of ``tqdm``.

    Raises:
        Error: nothing was written.
    """
    options = dict(locals())
    for name in ("file", "progress"):
        del options[name]
    heard = _Heard()
    result = json.loads(_core.fix(words([file], options), heard, reporter(progress)))
    result["changes"] = tuple(heard.changes)
    return Fixed(**result, findings=tuple(heard.findings))


def convert(
    source: StrPath,
    target: StrPath,
    *,
    to: Literal["hf", "mistral", "gguf"],
    base: StrPath | None = None,
    dtype: Literal["keep", "bf16", "f16", "f32", "q8_0"] | None = None,
    shard_size: str | int | None = None,
    verify: bool = False,
    untie: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Convert a checkpoint between Mistral and Hugging Face formats, or to GGUF: ``pixtune convert``.

    Returns:
        The report, as ``pixtune convert --format json`` prints it, with ``notes``: what the program prints beside it.

    Raises:
        Error: nothing was written.
    """
    options = dict(locals())
    for name in ("source", "target", "progress"):
        del options[name]
    heard = _Heard()
    report: dict[str, Any] = json.loads(_core.convert(words([source, target], options), heard, reporter(progress)))
    return {**report, "notes": heard.notes}


def adapter_check(
    adapter: StrPath,
    *,
    base: StrPath,
    server: str,
    enable_tower_connector_lora: bool = False,
    max_lora_rank: int | None = None,
    from_: Literal["peft", "peft-legacy", "peft-text-only", "mistral", "vllm-consolidated"] | None = None,
) -> AdapterCheck:
    """Check which modules of an adapter a server applies: ``pixtune adapter check``.

    Args:
        adapter: an adapter directory, a ``.safetensors`` file, or the output of ``pixtune train``.
        base: the directory of the base model.
        server: such as ``vllm-hf``, ``vllm-hf@0.32`` or ``transformers``.
        from_: the dialect of the adapter; detected if not given.
    """
    options = dict(locals())
    del options["adapter"]
    heard = _Heard()
    *modules, total = map(json.loads, _core.adapter_check(words([adapter], options), heard).splitlines())
    return AdapterCheck(
        tuple(ModuleVerdict(**module) for module in modules),
        server=total["server"],
        version=total["version"],
        applied=total["applied"],
        problems=tuple(total["problems"]),
        warnings=tuple(total["warnings"]),
        notes=tuple(heard.notes),
    )
