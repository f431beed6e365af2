#!/usr/bin/env python3
"""Write small datasets in every format that `prepare` reads, with the libraries that people write them with.

    python3 scripts/format_fixtures.py fixtures/formats [--seed 0]

Each dataset is first written as plain JSON Lines beside its images, NAME.jsonl; every other file NAME-*.* holds the same rows,
so `prepare` must write the same training file from it. Needs the packages of tests/peers/formats.txt. `--seed` changes texts
and images: `tests/peers/formats.py` writes fresh files in every run of the checks.
"""

import argparse
import datetime
import decimal
import gzip
import io
import json
import pathlib
import random
import shutil
import tarfile
import zipfile

import datasets
import openpyxl
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import webdataset
import xlsxwriter
import zstandard
from PIL import Image

WORDS = "red blue square circle naïve 東京 «quoted» a,b 3 \"x\" line\nbreak tab\tstop 🙂".split(" ")


class Writer:
    def __init__(self, out, seed):
        self.out = out
        self.random = random.Random(seed)
        self.images = 0
        (out / "images").mkdir(parents=True, exist_ok=True)

    def text(self, words=4):
        return " ".join(self.random.choice(WORDS) for _ in range(words))

    def image(self):
        """The path of a new image, relative to the output."""
        size = (self.random.randrange(20, 40), self.random.randrange(20, 40))
        image = Image.new("RGB", size, tuple(self.random.randrange(256) for _ in range(3)))
        image.paste(tuple(self.random.randrange(256) for _ in range(3)), (3, 5, 12, 14))
        kind = ("png", "jpg", "webp")[self.images % 3]
        path = f"images/{self.images:03}.{kind}"
        self.images += 1
        image.save(self.out / path)
        return path

    def bytes(self, path):
        return (self.out / path).read_bytes()

    def plain(self, name, rows):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        return lines


def parquet_codecs(out, name, table, codecs):
    for codec in codecs:
        pyarrow.parquet.write_table(table, out / f"{name}-{codec}.parquet", compression=codec, row_group_size=2)


def flat(writer):
    """One image, a prompt and a completion per row."""
    rows = [
        {"id": f"row-{index}", "image": writer.image(), "prompt": writer.text(), "completion": writer.text(2)}
        for index in range(5)
    ]
    lines = writer.plain("flat", rows)
    out = writer.out
    columns = {key: [row[key] for row in rows] for key in rows[0]}

    embedded = [{"bytes": writer.bytes(path), "path": pathlib.Path(path).name} for path in columns["image"]]
    features = datasets.Features(
        {key: datasets.Image() if key == "image" else datasets.Value("string") for key in columns})
    dataset = datasets.Dataset.from_dict({**columns, "image": embedded}, features=features)
    dataset.to_parquet(out / "flat-datasets.parquet")
    dataset.save_to_disk(out / "flat-saved", num_shards=2)
    datasets.DatasetDict({"train": dataset}).save_to_disk(out / "flat-splits")
    table = dataset.data.table.combine_chunks()
    parquet_codecs(out, "flat", table, ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
    pyarrow.feather.write_feather(table, out / "flat-lz4.feather", compression="lz4")
    # A plain binary column, dictionary-encoded strings, and large types.
    binary = pyarrow.table({
        "id": pyarrow.array(columns["id"]).dictionary_encode(),
        "image": pyarrow.array([image["bytes"] for image in embedded], pyarrow.large_binary()),
        "prompt": pyarrow.array(columns["prompt"], pyarrow.large_string()),
        "completion": pyarrow.array(columns["completion"], pyarrow.string_view()),
    })
    pyarrow.parquet.write_table(binary, out / "flat-binary.parquet", data_page_version="2.0", write_page_index=True)
    # Paths instead of bytes, as pandas writes a table of file names.
    pandas.DataFrame(rows).to_parquet(out / "flat-paths.parquet")

    (out / "flat-lines.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    # Two members, as `cat a.gz b.gz` makes them.
    first, rest = lines.split("\n", 1)
    two = gzip.compress(f"{first}\n".encode(), mtime=0) + gzip.compress(rest.encode(), mtime=0)
    (out / "flat-members.jsonl.gz").write_bytes(two)
    (out / "flat-lines.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    (out / "flat-array.json.gz").write_bytes(gzip.compress(json.dumps(rows, indent=1).encode(), mtime=0))
    frame = pandas.DataFrame(rows)
    (out / "flat-table.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode(), mtime=0))
    (out / "flat-table.tsv.zst").write_bytes(zstandard.compress(frame.to_csv(index=False, sep="\t").encode()))
    archives(writer, rows)
    workbooks(out, rows)


def workbooks(out, rows):
    """Shared texts as openpyxl writes them, texts in their cells, and rich text in the second of three sheets."""
    pandas.DataFrame(rows).to_excel(out / "flat-pandas.xlsx", index=False)
    names = list(rows[0])
    inline = xlsxwriter.Workbook(out / "flat-inline.xlsx", {"constant_memory": True})
    sheet = inline.add_worksheet("rows")
    for at, row in enumerate([dict(zip(names, names)), *rows]):
        for column, name in enumerate(names):
            # Two runs, the second of them bold.
            text, middle = row[name], len(row[name]) // 2
            if name == "prompt" and at > 0:
                sheet.write_rich_string(at, column, text[:middle], inline.add_format({"bold": True}), text[middle:])
            else:
                sheet.write_string(at, column, text)
    inline.close()
    book = openpyxl.Workbook()
    book.active.title = "settings"
    book.active.sheet_state = "hidden"
    book.active.append(["not", "the", "rows"])
    sheet = book.create_sheet("rows & more")
    book.create_sheet("later").append(["not", "these", "either"])
    # Rows do not begin at the top, nor in the first column.
    for at, row in enumerate([dict(zip(names, names)), *rows]):
        for column, name in enumerate(names):
            sheet.cell(3 + 2 * at, 2 + 2 * column, row[name])
    book.save(out / "flat-sheets.xlsx")


def archives(writer, rows):
    out = writer.out
    texts = [{"__key__": row["id"], "prompt.txt": row["prompt"], "completion.txt": row["completion"]} for row in rows]
    for sample, row in zip(texts, rows):
        sample[pathlib.Path(row["image"]).suffix[1:]] = writer.bytes(row["image"])
    described = [{key: sample[key] for key in sample if not key.endswith(".txt")} for sample in texts]
    for sample, row in zip(described, rows):
        sample["json"] = json.dumps({"prompt": row["prompt"], "completion": row["completion"]}).encode()
    for name, samples in [("flat-texts.tar", texts), ("flat-json.tar", described)]:
        with webdataset.TarWriter(str(out / name), mtime=0, encoder=lambda sample: {
            key: value.encode() if isinstance(value, str) and key != "__key__" else value
            for key, value in sample.items()
        }) as tar:
            for sample in samples:
                tar.write(sample)
    tar = (out / "flat-json.tar").read_bytes()
    (out / "flat-json.tar.gz").write_bytes(gzip.compress(tar, mtime=0))
    (out / "flat-json.tar.zst").write_bytes(zstandard.compress(tar))
    table = pandas.DataFrame(rows).rename(columns={"image": "file_name"}).to_csv(index=False).encode()
    members = [("photos/metadata.csv", table)]
    members += [(f"photos/{row['image']}", writer.bytes(row["image"])) for row in rows]
    stamp = (2020, 1, 1, 0, 0, 0)
    with zipfile.ZipFile(out / "flat-folder.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, stamp), data, zipfile.ZIP_DEFLATED)
    with tarfile.open(out / "flat-folder.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


def lists(writer):
    """Several images per row."""
    rows = []
    for count in (2, 1, 3):
        images = [writer.image() for _ in range(count)]
        rows.append({
            "images": images,
            "prompt": "<image>" * count + writer.text(),
            "completion": writer.text(2),
        })
    writer.plain("lists", rows)
    features = datasets.Features({
        "images": datasets.List(datasets.Image()),
        "prompt": datasets.Value("string"),
        "completion": datasets.Value("string"),
    })
    embedded = [[{"bytes": writer.bytes(path), "path": None} for path in row["images"]] for row in rows]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    dataset = datasets.Dataset.from_dict({**columns, "images": embedded}, features=features)
    dataset.to_parquet(writer.out / "lists-datasets.parquet")
    dataset.save_to_disk(writer.out / "lists-saved")
    with tarfile.open(writer.out / "lists-numbered.tar", "w") as archive:
        for index, row in enumerate(rows):
            members = [(f"{index}.{at}{pathlib.Path(path).suffix}", writer.bytes(path))
                       for at, path in enumerate(row["images"])]
            text = json.dumps({"prompt": row["prompt"], "completion": row["completion"]}).encode()
            for name, data in [*members, (f"{index}.json", text)]:
                about = tarfile.TarInfo(f"shard/{name}")
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))


def messages(writer):
    """Conversations with images beside them. Their structs are unified: most messages have null keys of others."""
    call = {"id": "call12345", "type": "function", "function": {"name": "look_up", "arguments": "{\"a\": null}"}}
    rows = []
    for index in range(3):
        conversation = [
            {"role": "system", "content": writer.text()},
            {"role": "user", "content": "<image>" + writer.text()},
        ]
        if index == 1:
            conversation += [
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "content": writer.text(), "tool_call_id": "call12345"},
            ]
        conversation.append({"role": "assistant", "content": writer.text(3)})
        rows.append({"messages": conversation, "images": [writer.image()]})
    writer.plain("messages", rows)
    embedded = [
        {**row, "images": [{"bytes": writer.bytes(path), "path": path} for path in row["images"]]} for row in rows]
    dataset = datasets.Dataset.from_list(embedded)
    dataset = dataset.cast_column("images", datasets.List(datasets.Image()))
    dataset.to_parquet(writer.out / "messages-datasets.parquet")
    dataset.save_to_disk(writer.out / "messages-saved")


def types(writer):
    """Completions of other types than text: as `prepare` writes them, and in one column of each type."""
    time = datetime.datetime(2024, 2, 29, 12, 30, 5)
    values = {
        "integer": (pyarrow.int64(), [-5, 2**53 + 1]),
        "unsigned": (pyarrow.uint64(), [0, 2**64 - 1]),
        "float": (pyarrow.float64(), [0.1, 1e22]),
        "half": (pyarrow.float32(), [0.5, 1500.0]),
        "decimal": (pyarrow.decimal128(9, 2), [decimal.Decimal("1.50"), decimal.Decimal("-3.25")]),
        "date": (pyarrow.date32(), [time.date(), time.date()]),
        "timestamp": (pyarrow.timestamp("ms"), [time, time]),
        "zoned": (pyarrow.timestamp("us", "Europe/Paris"), [time, time]),
        "category": (pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), ["ja", "nein"]),
        "json": (pyarrow.string(), ['{"a": 1}', "[1]"]),
    }
    shown = {
        "float": ["0.1", "1e+22"],
        "date": ["2024-02-29"] * 2,
        "timestamp": ["2024-02-29T12:30:05"] * 2,
        "zoned": ["2024-02-29T12:30:05Z"] * 2,
    }
    for name, (kind, column) in values.items():
        prompts = [f"{name} {writer.text()}", writer.text()]
        texts = shown.get(name, [str(value) for value in column])
        writer.plain(f"types_{name}", [{"prompt": a, "completion": b} for a, b in zip(prompts, texts)])
        table = pyarrow.table({"prompt": prompts, "completion": pyarrow.array(column, kind)})
        pyarrow.parquet.write_table(table, writer.out / f"types_{name}-column.parquet")
        pyarrow.feather.write_feather(table, writer.out / f"types_{name}-column.feather", compression="zstd")
        if name in ("float", "date", "timestamp"):
            book = openpyxl.Workbook()
            for row in [("prompt", "completion"), *zip(prompts, column)]:
                book.active.append(row)
            book.save(writer.out / f"types_{name}-column.xlsx")


def write(out, seed):
    shutil.rmtree(out, ignore_errors=True)
    writer = Writer(out, seed)
    for dataset in (flat, lists, messages, types):
        dataset(writer)


if __name__ == "__main__":
    datasets.disable_progress_bars()
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.out, arguments.seed)
