"""Pictures that look the same have hashes a few bits apart; no pair within the distance is missed."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.deduplicate.config import ImagesConfig
from bedplate.data.deduplicate.images import _close, distance_bands, perceptual_hash, run_it, step
from bedplate.data.documents import Document

LIMIT = 64_000_000


def encoded(picture, kind="PNG", **how):
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.fixture
def photo(pillow):
    """A picture with large and small shapes."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 255, (6, 7, 3), dtype=np.uint8)
    return pillow.fromarray(small).resize((320, 240), pillow.Resampling.BICUBIC)


def bits(a, b):
    return (a ^ b).bit_count()


def test_another_size_format_quality_and_light_look_the_same(pillow, photo):
    base = perceptual_hash(encoded(photo), LIMIT)
    lighter = photo.point(lambda v: min(255, int(v * 0.9 + 20)))
    for data in (
        encoded(photo.resize((500, 300))),
        encoded(photo.resize((100, 80))),
        encoded(photo, "JPEG", quality=30),
        encoded(photo.convert("L")),
        encoded(lighter),
        encoded(photo, "WEBP"),
    ):
        assert bits(base, perceptual_hash(data, LIMIT)) <= 4
    assert bits(base, perceptual_hash(encoded(photo.rotate(90)), LIMIT)) > 15


def test_no_picture_no_hash(pillow, photo):
    png = encoded(photo)
    assert perceptual_hash(b"", LIMIT) is None
    assert perceptual_hash(b"GIF89a nonsense", LIMIT) is None
    assert perceptual_hash(png[: len(png) // 3], LIMIT) is None
    assert perceptual_hash(encoded(pillow.new("RGB", (50, 50), "red")), LIMIT) is None
    assert perceptual_hash(png, 320 * 240 - 1) is None
    huge = encoded(pillow.new("1", (30_000, 30_000)))  # 900 million pixels in few bytes
    assert len(huge) < 1_000_000
    assert perceptual_hash(huge, LIMIT) is None


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.sets(st.integers(0, 63), max_size=9)), min_size=1, max_size=30))
@settings(deadline=None)
def test_no_close_pair_is_missed(made):
    hashes = [value for value, _ in made] + [value ^ sum(1 << bit for bit in flips) for value, flips in made]
    array = np.array(hashes, dtype=np.uint64)
    for distance in (0, 3, 7):
        keys = distance_bands(array, distance)
        for i in range(len(hashes)):
            for j in range(i):
                if bits(hashes[i], hashes[j]) <= distance:
                    assert (keys[i] == keys[j]).any()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 31)), min_size=1, max_size=40), st.integers(0, 3))
def test_buckets_are_compared_pair_by_pair(made, distance):
    made.sort(key=lambda one: one[0])
    bucket, hashes = np.array([b for b, _ in made]), np.array([h for _, h in made], dtype=np.uint64)

    def joined(pairs):
        label = list(range(len(made)))
        for a, b in pairs:
            label = [label[a] if one == label[b] else one for one in label]
        return {frozenset(i for i in range(len(made)) if label[i] == one) for one in label}

    found = [pair for ones, others in _close(hashes, bucket, distance) for pair in zip(ones, others, strict=True)]
    wanted = [
        (i, j)
        for i in range(len(made))
        for j in range(i)
        if bucket[i] == bucket[j] and bits(made[i][1], made[j][1]) <= distance
    ]
    assert joined(found) == joined(wanted)


def test_real_pictures(shared_data, tmp_path, pillow, make_shards, make_run, told):
    """Emoji, each once more in another size and quality: the copies go, and few others that look alike."""
    archive = zipfile.ZipFile(shared_data / "emoji_image_text" / "png64.zip")
    names = sorted(name for name in archive.namelist() if name.endswith(".png"))
    names = random.Random(0).sample(names, 150)
    folder = tmp_path / "pictures"
    folder.mkdir()
    documents = []
    for i, name in enumerate(names):
        data = archive.read(name)
        picture = pillow.open(io.BytesIO(data)).convert("RGBA")
        ground = pillow.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        copy = encoded(ground.convert("RGB").resize((96, 96), pillow.Resampling.BICUBIC), "JPEG", quality=70)
        (folder / f"{i}.png").write_bytes(data)
        documents.append(Document(f"a{i}", "", images=(str(folder / f"{i}.png"),)))
        documents.append(Document(f"b{i}", "", data=copy, content_type="image/jpeg"))
    documents.append(Document("none", "no picture"))
    documents.append(Document("absent", "", images=("nowhere.png",)))
    documents.append(Document("two", "", images=(str(folder / "0.png"), str(folder / "1.png"))))
    config = ImagesConfig()
    hashes = step(config)
    hashes(documents)
    assert [documents[i].columns["image_hash"] for i in (-1, -2, -3)] == [None, None, None]

    rows = [{"text": document.source, "image_hash": document.columns["image_hash"]} for document in documents]
    runs = []
    for cut in (50, 1000):
        shards = make_shards(tmp_path / f"shards{cut}", rows, cut)
        decision = run_it(shards, config, make_run(tmp_path / f"run{cut}", backwards=cut == 50))
        runs.append(told(shards, decision))
    assert runs[0] == runs[1]
    hashed = [i for i in range(150) if rows[2 * i]["image_hash"]]
    gone = sum(runs[0][2 * i + 1] is not None for i in hashed)
    mistaken = sum(runs[0][2 * i] is not None for i in hashed)
    print(json.dumps({"pictures": len(hashed), "copies found": gone, "others": mistaken}))
    assert len(hashed) > 140
    assert gone >= 0.9 * len(hashed)
    assert mistaken <= 0.1 * len(hashed)
    first = hashlib.sha256(rows[2 * hashed[0]]["text"].encode()).hexdigest()[:24]
    assert runs[0][2 * hashed[0] + 1] == ("image_duplicate", first)
