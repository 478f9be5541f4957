"""Pictures with captions, through the whole of curate: what tells them apart, and which of them look the same."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.corpus import identity
from bedplate.data.curate import CURATE, CurateConfig
from bedplate.ledger import produce

PLANTED = 150
"""Copies among 500 pictures, of two kinds by turns: smaller and as JPEG, larger and as WebP."""


def curate(out, inputs=None, **config):
    return produce(CURATE, CurateConfig(**config), inputs or {}, out, name="corpus", console=Console.quiet())


def kept(corpus):
    return [row for path in sorted(corpus.path.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()]


def dropped(corpus):
    return pq.read_table(corpus.path / "dropped.parquet").to_pylist()


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.fixture
def emoji(shared_data, tmp_path, pillow):
    """A folder of emoji with captions.jsonl, their subcategories as captions: most captions are there often. Behind
    them are the planted copies, with captions of their own."""
    archive = zipfile.ZipFile(shared_data / "emoji_image_text" / "png64.zip")
    known = json.loads((shared_data / "emoji_image_text" / "emoji.json").read_text())
    draw = random.Random(5)
    chosen = draw.sample([one for one in known if f"png64/{one['image']}" in archive.namelist()], 500)
    folder = tmp_path / "emoji"
    (folder / "copies").mkdir(parents=True)
    lines = []
    for one in chosen:
        (folder / one["image"]).write_bytes(archive.read(f"png64/{one['image']}"))
        lines.append({"file_name": one["image"], "text": one["subcategory"]})
    for number, one in enumerate(draw.sample(chosen, PLANTED)):
        picture = pillow.open(folder / one["image"]).convert("RGBA")
        ground = pillow.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        kind, size, suffix = [("JPEG", (48, 48), "jpg"), ("WEBP", (96, 96), "webp")][number % 2]
        name = f"copies/{one['image'].removesuffix('.png')}.{suffix}"
        ground.convert("RGB").resize(size, pillow.Resampling.BICUBIC).save(folder / name, kind, quality=80)
        lines.append({"file_name": name, "text": f"{one['name'].lower()}, once more"})
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def found_copies(corpus):
    """Recall and precision of `image_duplicate` over the planted copies. That of a pair only the copy may go is what
    `keep: first` says; another emoji that went is a mistake."""
    gone = [json.loads(row["images"])[0] for row in dropped(corpus) if row["reason"] == "image_duplicate"]
    planted = sum(name.startswith("copies/") for name in gone)
    return planted / PLANTED, planted / len(gone)


def test_planted_copies_of_real_pictures(emoji, tmp_path, record_property):
    config = {
        "sources": [{"image_text": str(emoji), "license": "Apache-2.0"}],
        "deduplicate": {"exact": {}, "minhash": {}, "substring": {}, "images": {}},
        "validation": 0.1,
    }
    corpus = curate(tmp_path / "one", **config, workers=1)
    recall, precision = found_copies(corpus)
    print(f"planted copies of pictures: recall {recall:.3f}, precision {precision:.3f}")
    record_property("recall", recall)
    record_property("precision", precision)
    assert recall >= 0.9
    assert precision >= 0.75  # emoji look alike: clocks an hour apart, men and women at work

    measures = corpus.measures
    everything = [*kept(corpus), *dropped(corpus)]
    same = len(everything) - len({(row["sha256"], row["picture"]) for row in everything})  # flags that two places share
    images = measures["dropped"]["image_duplicate"]
    assert measures["dropped"] == {
        "exact_duplicate": same,
        "image_duplicate": images,
    }  # no caption is a copy of another
    assert measures["stages"]["image_hashes"]["read"] == 500 + PLANTED
    assert measures["read"] == 500 + PLANTED == measures["kept"] + same + images
    rows = kept(corpus)
    assert len({row["text"] for row in rows}) < len(rows)
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        (path,) = json.loads(row["images"])
        assert (emoji / path).is_file()
        assert row["picture"] == json.loads(row["metadata"])["picture"]["sha256"]
        assert row["id"] == identity(row["sha256"], row["picture"])[:24]
    assert {row["other"] for row in dropped(corpus)} <= {row["id"] for row in everything}
    assert curate(tmp_path / "two", **config, workers=2).digest == corpus.digest

    # The corpus is of use when the pictures are gone, and says the same of them.
    shutil.rmtree(emoji)
    again = curate(tmp_path / "again", {"corpus": [corpus]}, deduplicate={"exact": {}, "images": {}}, validation=0.1)
    columns = ("id", "text", "picture", "images", "image_hash", "group", "split")
    assert [[row[name] for name in columns] for row in kept(again)] == [[row[name] for name in columns] for row in rows]


def picture(pillow, colour, size=20):
    out = io.BytesIO()
    found = pillow.new("RGB", (size, size), colour)
    found.paste("black", (0, 0, size // 2, size // 3))
    found.save(out, "PNG")
    return out.getvalue()


def test_text_and_picture_together_are_a_document(tmp_path, pillow):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("red", "red"), ("same", "red"), ("blue", "blue")):
        (folder / f"{name}.png").write_bytes(picture(pillow, colour))
    long = " ".join(f"word{number}" for number in range(80))
    captions = [("red", "a square"), ("blue", "a square"), ("same", "a square"), ("red", "A square!"), ("blue", long)]
    captions += [("red", long), ("red", "something else")]
    lines = [json.dumps({"file_name": f"{name}.png", "text": text}) for name, text in captions]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("a square", long, *map(str, range(30)))))
    corpus = curate(
        tmp_path / "corpus",
        sources=[{"image_text": str(folder), "license": "MIT"}, {"jsonl": str(texts), "license": "MIT"}],
        deduplicate={"exact": {"normalise": True}, "minhash": {}, "substring": {"words": 20}},
        clusters={},
        validation=0.3,
    )
    rows = kept(corpus)
    gone = {(row["text"] if "text" in row else row["excerpt"], row["reason"]) for row in dropped(corpus)}
    assert gone == {("a square", "exact_duplicate"), ("A square!", "normalised_duplicate")}
    assert len({row["id"] for row in rows}) == len(rows) == 7 - 2 + 32
    pictured = [row for row in rows if row["picture"]]
    assert [json.loads(row["images"]) for row in pictured] == [
        ["red.png"],
        ["blue.png"],
        ["blue.png"],
        ["red.png"],
        ["red.png"],
    ]
    assert [row["text"] for row in pictured] == ["a square", "a square", long, long, "something else"]
    for name in ("cluster", "split"):  # one picture is on one side of the split, whatever is said of it
        assert len({row[name] for row in pictured if row["images"] == '["red.png"]'}) == 1
    by_picture = {row["picture"]: row["cluster"] for row in pictured}
    assert len(set(by_picture.values())) == 2
    plain = [row for row in rows if not row["picture"]]
    assert all(row["id"] == row["sha256"][:24] and row["images"] is None for row in plain)


def test_pictures_are_read_where_fsspec_knows_them(tmp_path, pillow):
    pytest.importorskip("fsspec")
    folder = tmp_path / "captioned" / "deep"
    folder.mkdir(parents=True)
    for number in range(12):
        rng = random.Random(number)
        small = pillow.frombytes("RGB", (6, 6), rng.randbytes(108)).resize((64, 64), pillow.Resampling.BICUBIC)
        small.save(folder / f"{number}.png")
        small.resize((50, 50)).save(folder / f"copy{number}.jpg", quality=80)
    names = [f"{number}.png" for number in range(12)] + [f"copy{number}.jpg" for number in range(12)]
    lines = [json.dumps({"file_name": name, "text": f"caption of {name}"}) for name in names]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    corpus = curate(
        tmp_path / "corpus",
        sources=[{"image_text": f"file://{folder.parent}", "license": "MIT"}],
        deduplicate={"images": {}},
        validation=0.3,
    )
    assert corpus.measures["dropped"] == {"image_duplicate": 12}
    assert [json.loads(row["images"])[0] for row in kept(corpus)] == [f"deep/{number}.png" for number in range(12)]
    shown = {row["images"]: row["detail"] for row in dropped(corpus)}
    assert shown['["deep/copy3.jpg"]'].endswith("of 64 bits from the picture kept")
