"""Tables of Arrow are read where they are, and give the ids of the program."""

import json
import unittest

import numpy as np
import pixtune
import pyarrow as pa
from harness import ROOT, Case, lines
from pixtune import _core

IMAGES = sorted((ROOT / "fixtures/images").glob("*.png"))[:12]


class Arrow(Case):
    def setUp(self):
        super().setUp()
        self.file = self.prepared() / "train.jsonl"
        self.printed = [row["ids"] for row in lines(self.program("tokens", self.file, "--ids")[0])]

    def ids(self, batch):
        return [batch[index].ids.tolist() for index in range(len(batch))]

    def test_of_a_column_of_texts(self):
        texts = self.file.read_text().splitlines()
        for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
            array = pa.array(texts).cast(kind)
            table = pa.table({"line": pa.chunked_array([array[:5], array[5:5], array[5:]]), "n": range(len(texts))})
            self.assertEqual(self.ids(pixtune.tokens(table, column="line")), self.printed)
        # A slice starts within the values of another array.
        self.assertEqual(self.ids(pixtune.tokens(table.slice(7, 3), column="line")), self.printed[7:10])
        batch = table.combine_chunks().to_batches()[0]
        self.assertEqual(self.ids(pixtune.tokens(batch, column="line")), self.printed)

    def test_of_nested_columns(self):
        rows = lines(self.file.read_text())
        # Arrow has one type for all contents: parts.
        for row in rows:
            for message in row["messages"]:
                if isinstance(message["content"], str):
                    message["content"] = [{"type": "text", "text": message["content"]}]
        file = self.path / "parts.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        printed = [row["ids"] for row in lines(self.program("tokens", file, "--ids")[0])]
        table = pa.table({"messages": [row["messages"] for row in rows], "source": range(len(rows))})
        self.assertEqual(self.ids(pixtune.tokens(table)), printed)
        found = pixtune.tokens(table).to_arrow()
        self.assertEqual(found.column("ids").to_pylist(), printed)
        self.assertEqual(found.column("refused").null_count, len(rows))

    def test_images_in_a_column(self):
        files = [path.read_bytes() for path in IMAGES]
        parts = [{"type": "image", "text": None}, {"type": "text", "text": "what"}]
        talk = lambda: [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]  # noqa: E731
        images = [[{"bytes": file, "path": None}] for file in files]
        table = pa.table({"messages": [talk() for _ in files], "images": images})
        found = pixtune.tokens(table)
        sizes = pixtune.image_sizes(pa.array(files))
        self.assertEqual([(one.counts.images[0].width, one.counts.images[0].height) for one in map(found.__getitem__, range(len(found)))], list(map(tuple, sizes.tolist())))

    def test_what_a_table_lacks(self):
        with self.assertRaisesRegex(pixtune.Error, "no column `messages`; it has `a`"):
            pixtune.tokens(pa.table({"a": ["x"]}))
        with self.assertRaisesRegex(pixtune.Error, "the column `a` has the type Int64"):
            pixtune.tokens(pa.table({"a": [1]}), column="a")
        kept = pixtune.tokens(pa.table({"a": ["{}", None, "x"]}), column="a", on_refused="keep")
        self.assertEqual(sorted(kept.refused), [0, 1, 2])
        table = kept.to_arrow()
        self.assertEqual(table.column("tokens").null_count, 3)
        self.assertTrue(all(table.column("refused").to_pylist()))
        self.assertEqual(len(pixtune.tokens(pa.table({"a": pa.array([], pa.string())}), column="a")), 0)

    def test_values_are_not_copied(self):
        files = pa.array([path.read_bytes() for path in IMAGES], pa.binary())
        structs = pa.StructArray.from_arrays([files, pa.nulls(len(files), pa.string())], ["bytes", "path"])
        address = files.buffers()[2].address
        self.assertEqual(_core.addresses(pa.table({"image": files})), [address])
        self.assertEqual(_core.addresses(pa.table({"image": structs})), [address])
        batch = pixtune.tokens(pa.table({"a": ['{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}']}), column="a")
        ids = batch.to_arrow().column("ids").chunk(0).values
        self.assertEqual(ids.buffers()[1].address, batch.ids.__array_interface__["data"][0])

    def test_sizes_of_image_files(self):
        files = [path.read_bytes() for path in IMAGES]
        structs = pa.array([{"bytes": file, "path": "x"} for file in files])
        found = pixtune.image_sizes(pa.array(files))
        np.testing.assert_array_equal(found, pixtune.image_sizes(structs))
        self.assertEqual(found.tolist()[0], [int(size) for size in IMAGES[0].stem.split("_")[-1].split("x")])
        with self.assertRaisesRegex(pixtune.Refused, "image 2: "):
            pixtune.image_sizes(pa.array([files[0], b"no image"]))


if __name__ == "__main__":
    unittest.main()
