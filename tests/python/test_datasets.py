"""An encoder is a function for `datasets.Dataset.map`."""

import os
import unittest

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import pixtune  # noqa: E402
from harness import ROOT, Case, lines  # noqa: E402

datasets.disable_progress_bars()


class Datasets(Case):
    def test_map_gives_the_ids_of_the_program(self):
        file = self.prepared() / "train.jsonl"
        rows = lines(file.read_text())
        for row in rows:
            for message in row["messages"]:
                if isinstance(message["content"], str):
                    message["content"] = [{"type": "text", "text": message["content"]}]
        parts = self.path / "parts.jsonl"
        import json

        parts.write_text("".join(json.dumps(row) + "\n" for row in rows))
        printed = lines(self.program("tokens", parts, "--ids")[0])
        dataset = datasets.Dataset.from_list([{"messages": row["messages"], "n": at} for at, row in enumerate(rows)])
        for options in ({}, {"batch_size": 7}, {"num_proc": 2}):
            mapped = dataset.map(pixtune.Encoder(), batched=True, remove_columns=dataset.column_names, **options)
            self.assertEqual([row["input_ids"] for row in mapped], [row["ids"] for row in printed])
            self.assertEqual([row["tokens"] for row in mapped], [row["tokens"] for row in printed])
            trained = [sum(label != -100 for label in row["labels"]) for row in mapped]
            self.assertEqual(trained, [row["trained_tokens"] for row in printed])
        # The same arguments give the same fingerprint, so that a second map is read from the cache.
        again = [dataset.map(pixtune.Encoder(), batched=True)._fingerprint for _ in range(2)]
        self.assertEqual(again[0], again[1])
        self.assertEqual(len(pixtune.tokens(dataset.with_format("arrow")[:])), len(rows))

    def test_columns_of_images(self):
        files = sorted((ROOT / "fixtures/images").glob("grad_*.png"))[:5]
        talk = [
            {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "what"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "that"}]},
        ]
        dataset = datasets.Dataset.from_dict(
            {"messages": [talk] * len(files), "images": [[str(file)] for file in files]},
        ).cast_column("images", [datasets.Image()])
        decoded = dataset.map(pixtune.Encoder(), batched=True, remove_columns=dataset.column_names)
        stored = dataset.cast_column("images", [datasets.Image(decode=False)])
        stored = stored.map(pixtune.Encoder(), batched=True, remove_columns=dataset.column_names)
        self.assertEqual(decoded["input_ids"][:], stored["input_ids"][:])
        self.assertTrue(all(count > 0 for count in decoded["image_tokens"]))


if __name__ == "__main__":
    unittest.main()
