"""Near-duplicates: what is found and what isn't follows the curve of the bands, however the corpus is cut."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sysconfig
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bedplate.data.deduplicate import bands as bands_module
from bedplate.data.deduplicate import index, minhash, shingles
from bedplate.data.deduplicate import runs as sorted_runs
from bedplate.data.deduplicate.config import MinHashConfig, ShingleConfig, banding, found
from bedplate.data.deduplicate.minhash import key_settings, run_it
from bedplate.data.deduplicate.shingles import Shingler, utf8
from bedplate.data.deduplicate.signatures import Signer, agreement, band_keys
from bedplate.errors import UserError


def word_set(text, length=5):
    """The shingles of a text, the slow way, for texts of Latin letters without accents."""
    words = re.findall(r"[^\W_]+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def edited(text, share, rng):
    """The text with a share of its words replaced by others."""
    return " ".join(f"edit{rng.randrange(10**6)}" if rng.random() < share else word for word in text.split(" "))


@pytest.fixture(scope="session")
def real_texts(shared_data):
    """Texts of a few hundred words: an encyclopedia's, articles', and source code."""
    texts = []
    folder = shared_data / "wikitext2" / "word_language_model" / "data" / "wikitext-2"
    words = (folder / "valid.txt").read_text().split(" ")
    texts += [" ".join(words[i : i + 300]) for i in range(0, len(words) - 300, 300)]
    gold = json.loads((shared_data / "article_extraction" / "ground-truth.json").read_text())
    texts += [one["articleBody"] for _, one in sorted(gold.items())]
    library = Path(sysconfig.get_paths()["stdlib"])
    texts += [path.read_text(errors="replace")[:6000] for path in sorted(library.glob("*.py"))]
    unlike, seen = [], set()
    for text in texts:
        shingled = word_set(text)
        # What is alike before anything is planted (licences, tables) would be counted as mistakes.
        if len(shingled) >= 50 and len(shingled & seen) <= 0.1 * len(shingled):
            unlike.append(text)
            seen |= shingled
    return unlike


def test_shingles_are_those_of_the_slow_way(real_texts):
    """As many different ones, and as many in common with the next text: hashing loses and invents none."""
    texts = [
        *real_texts[:40],
        "",
        "one two",
        "One, two three-four five.",
        "a  b\n\nc\td e f",
        "don't stop_now please, ok? x",
    ]
    texts += [real_texts[0] + " " + real_texts[1], "ab " * 3, "ß"]
    texts = [text.encode("ascii", "ignore").decode() for text in texts]
    for batch in (texts, [*texts, "naïve – “quoted”"]):  # the second isn't ASCII, and goes another way
        shingled, sizes = Shingler(ShingleConfig())(*utf8(batch))
        ends = np.cumsum(sizes)
        got = [set(shingled[end - size : end].tolist()) for end, size in zip(ends, sizes, strict=True)]
        wanted = [word_set(text) for text in batch]
        assert [len(one) for one in got] == [len(one) for one in wanted]
        for i in range(len(batch) - 1):
            assert len(got[i] & got[i + 1]) == len(wanted[i] & wanted[i + 1])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Café Été NAÏVE Ångström", "cafe ete naive angstrom", True),
        ("cafe\u0301 x", "café x", True),
        ("ＡＢＣ １２", "abc 12", True),
        ("“quoted” — so…", "quoted so", True),
        ("ЁЛКА", "елка", True),
        ("का", "कि", False),
        ("год", "гад", False),
        ("12", "13", False),
        ("𝐀𠀀", "𝐀𠀁", False),
    ],
)
def test_words_are_compared_without_case_accents_and_punctuation(one, other, same):
    words = [Shingler(ShingleConfig()).words(*utf8([text]))[0].tolist() for text in (one, other)]
    assert (words[0] == words[1]) is same


def test_scripts_without_spaces_have_a_word_a_character():
    shingler = Shingler(ShingleConfig())
    _, counts = shingler.words(*utf8(["我们 love 你。", "ภาษา", "안녕 하세요", "𠀀𠀁a"]))
    assert counts.tolist() == [4, 4, 2, 3]
    _, counts = Shingler(ShingleConfig(unit="character")).words(*utf8(["ab c.", "我"]))
    assert counts.tolist() == [3, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab é我\u0301.\n🙂𠀀", max_size=30), min_size=1, max_size=8), st.integers(1, 4))
@example(["", "a b", "", "", "a b c d e", "a"], 3)
def test_a_text_has_the_same_signature_in_any_company(texts, length):
    signer = Signer(ShingleConfig(length=length), 12)
    together, signed = signer(*utf8(texts))
    for i, text in enumerate(texts):
        alone, some = signer(*utf8([text]))
        assert (alone[0] == together[i]).all()
        assert some[0] == signed[i]


def test_long_texts_are_signed_in_pieces(real_texts, monkeypatch):
    text = " ".join(real_texts)
    signer = Signer(ShingleConfig(), 112)
    whole = signer(*utf8([text, "a b c d e f"]))[0]
    monkeypatch.setattr(shingles, "PIECE", 20_000)
    monkeypatch.setattr("bedplate.data.deduplicate.signatures.PIECE", 20_000)
    cut = signer(*utf8([text, "a b c d e f"]))[0]
    assert (whole[1] == cut[1]).all()
    assert agreement(whole, cut)[0] > 0.95  # four shingles of thousands are lost at each cut
    unbroken, some = signer(*utf8(["é" * 50_000, "\u0301" * 30_000]))
    assert not some.any()
    assert unbroken.shape == (2, 112)


def test_agreement_estimates_jaccard_similarity(real_texts):
    """Unbiased, and spread as 112 independent hashes are: sqrt(J (1 - J) / 112)."""
    rng = random.Random(0)
    ones = [text.encode("ascii", "ignore").decode() for text in real_texts[:300]]
    others = [edited(text, rng.choice([0.005, 0.01, 0.03, 0.06, 0.1]), rng) for text in ones]
    signer = Signer(ShingleConfig(), 112)
    estimate = agreement(signer(*utf8(ones))[0], signer(*utf8(others))[0])
    truth = np.array([jaccard(word_set(a), word_set(b)) for a, b in zip(ones, others, strict=True)])
    spread = np.sqrt(np.maximum(truth * (1 - truth), 0.01) / 112)
    scores = (estimate - truth) / spread
    assert abs(scores.mean()) < 4 / sqrt(len(ones))
    assert 0.8 < scores.std() < 1.2


def test_the_bands_follow_their_curve():
    """The share of pairs that share a band is 1 - (1 - J**8)**14, within four standard errors."""
    rng = np.random.default_rng(0)
    count = 1500
    for similarity in (0.5, 0.72, 0.85):
        sizes = np.full(count, 400)
        shared = round(400 * 2 * similarity / (1 + similarity))
        values = rng.integers(0, 2**32, (count, 800), dtype=np.uint32)
        truth = shared / (800 - shared)
        signer = Signer(ShingleConfig(), 112)
        begins = np.cumsum(sizes) - sizes
        ones = signer._least(values[:, :400].reshape(-1), begins)
        others = signer._least(np.roll(values, shared - 400, axis=1)[:, :400].reshape(-1), begins)
        meet = (band_keys(ones, 14, 8, 0) == band_keys(others, 14, 8, 0)).any(axis=1).mean()
        chance = found(truth, 14, 8)
        assert abs(meet - chance) <= 4 * sqrt(chance * (1 - chance) / count), similarity


def planted(real_texts, count=500):
    """Texts, each with a copy of which a share of words was replaced; and the pairs' exact similarities."""
    rng = random.Random(1)
    ones = [text.encode("ascii", "ignore").decode() for text in real_texts[:count]]
    others = [edited(text, rng.choice([0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08]), rng) for text in ones]
    return ones, others, np.array([jaccard(word_set(a), word_set(b)) for a, b in zip(ones, others, strict=True)])


def test_planted_near_duplicates(real_texts, tmp_path, make_shards, make_run, told, record_property):
    """Recall and precision against exact similarity.

    Of a pair of similarity J the bands find 1 - (1 - J**8)**14, and of those the check keeps the ones whose agreement
    reaches 0.72; the expected numbers and their spread follow from that, and the bounds are four standard deviations.
    """
    ones, others, truth = planted(real_texts)
    order = random.Random(2).sample(range(2 * len(ones)), 2 * len(ones))
    texts = [(ones + others)[i] for i in order]
    at = {i: place for place, i in enumerate(order)}
    figures = {}
    for verify in (True, False):
        shards = make_shards(tmp_path / f"s{verify}", texts, 150)
        config = MinHashConfig(verify=verify)
        said = told(shards, run_it(shards, config, make_run(tmp_path / f"r{verify}")))
        dropped = np.array([said[at[i]] is not None or said[at[i + len(ones)]] is not None for i in range(len(ones))])
        threshold = config.similarity
        met = np.array([found(j, 14, 8) for j in truth])
        reach = np.array([_at_least(j, threshold, 112) for j in truth]) if verify else np.ones(len(truth))
        # A pair is found with a chance between both at once and one after the other independently.
        low, high = np.maximum(met + reach - 1, 0), np.minimum(met, reach)
        alike = truth >= threshold
        slack = 4 * sqrt(0.25 * alike.sum())
        assert low[alike].sum() - slack <= dropped[alike].sum() <= high[alike].sum() + slack
        assert dropped[~alike].sum() <= high[~alike].sum() + 4 * sqrt(high[~alike].sum() + 1)
        assert dropped[truth >= 0.8].mean() >= 0.9
        # Nobody goes because of a text that wasn't made from it.
        partner = {hashlib.sha256(texts[at[i]].encode()).hexdigest()[:24]: i % len(ones) for i in range(len(texts))}
        strangers = [i for i in range(len(texts)) if said[at[i]] and partner[said[at[i]][1]] != i % len(ones)]
        assert not strangers
        figures[f"verify={verify}"] = {
            "pairs": len(ones),
            "alike": int(alike.sum()),
            "recall": round(float(dropped[alike].mean()), 4),
            "recall at 0.8 and more": round(float(dropped[truth >= 0.8].mean()), 4),
            "precision": round(float(dropped[alike].sum() / dropped.sum()), 4),
            "least similar dropped": round(float(truth[dropped].min()), 3),
        }
    record_property("figures", figures)
    print(json.dumps(figures, indent=1))


def _at_least(similarity, threshold, hashes):
    """The chance that the agreement of `hashes` independent ones reaches the threshold."""
    from math import ceil, comb

    least = ceil(threshold * hashes - 1e-9)
    return sum(comb(hashes, k) * similarity**k * (1 - similarity) ** (hashes - k) for k in range(least, hashes + 1))


WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=12), max_size=25),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(5, 40),
    st.booleans(),
)
def test_is_the_same_however_it_is_cut(
    tmp_path_factory, make_shards, make_run, told, column, texts, per_shard, size, run_size, verify
):
    """Shards, ranges of keys, runs and the order of tasks change nothing."""
    texts = [" ".join(text) for text in texts]
    config = MinHashConfig(length=2, bands=6, rows=2, verify=verify)
    said = []
    for cut, keys, run_keys in ((1000, 1 << 20, 1 << 20), (per_shard, size, run_size)):
        folder = tmp_path_factory.mktemp("minhash")
        shards = make_shards(folder / "shards", texts, cut)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(minhash, "ranges", lambda count, keys=keys: sorted_runs.ranges(count, keys))
            patch.setattr(sorted_runs, "RUN", run_keys)
            decision = run_it(shards, config, make_run(folder / "run", backwards=cut != 1000), keep="longest")
        measures = {k: v for k, v in decision.measures.items() if k not in ("linked", "met")}
        said.append((told(shards, decision), column(shards, decision, "near_copies"), measures))
    assert said[0] == said[1]
    for text, one in zip(texts, said[0][0], strict=True):
        assert one is None or len(text.split()) >= 2


def test_a_large_bucket_is_cut(tmp_path, make_shards, make_run, told, monkeypatch):
    """A bucket of more documents than are held at once: two kinds meet in it, and each is brought together."""
    monkeypatch.setattr(bands_module, "_BATCH", 64)
    rng = random.Random(3)
    bases = [" ".join(f"{kind}{i}" for i in range(200)) for kind in "xy"]
    texts = [f"{bases[i % 2]} {rng.random()}" for i in range(300)]
    shards = make_shards(tmp_path / "shards", texts, 70)
    said = told(shards, run_it(shards, MinHashConfig(), make_run(tmp_path / "run")))
    assert [i for i, one in enumerate(said) if one is None] == [0, 1]
    kept = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts[:2]]
    assert [one[1] for one in said[2:]] == [kept[i % 2] for i in range(2, 300)]


def test_short_and_empty_texts_are_like_no_other(tmp_path, make_shards, make_run, told):
    texts = ["", "", "one two", "one two", "... !!! ???", "... !!! ???", "a b c d e", "a b c d e"]
    shards = make_shards(tmp_path / "shards", texts, 3)
    said = told(shards, run_it(shards, MinHashConfig(), make_run(tmp_path / "run")))
    assert [bool(one) for one in said] == [False] * 7 + [True]
    empty = make_shards(tmp_path / "none", [])
    decision = run_it(empty, MinHashConfig(), make_run(tmp_path / "run2"))
    assert decision.measures["read"] == 0


def test_an_earlier_corpus_always_wins(tmp_path, make_shards, make_run, told):
    base = [" ".join(f"{kind}{i}" for i in range(100)) for kind in "abc"]
    old = make_shards(tmp_path / "old", [base[0], base[0] + " more", base[1]], 2)
    config = MinHashConfig()
    first = run_it(old, config, make_run(tmp_path / "one"))
    keys = {"minhash": (tmp_path / "one" / "minhash-keys", key_settings(config))}
    index.write_index(tmp_path / "index", old.after(first.folder), keys)
    new = make_shards(tmp_path / "new", [base[2] + " x", base[1] + " longer by some words", base[2]], 2)
    second = run_it(new, config, make_run(tmp_path / "two"), keep="longest", earlier=tmp_path / "index")
    said = told(new, second)
    assert [one and one[1] for one in said] == [
        None,
        hashlib.sha256(base[1].encode()).hexdigest()[:24],
        hashlib.sha256((base[2] + " x").encode()).hexdigest()[:24],
    ]
    with pytest.raises(UserError, match="bands: 14"):
        run_it(new, MinHashConfig(threshold=0.9), make_run(tmp_path / "three"), earlier=tmp_path / "index")


def test_a_threshold_chooses_bands_and_rows():
    assert MinHashConfig().banding == (14, 8)
    assert MinHashConfig().similarity == pytest.approx(0.719, abs=1e-3)
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95):
        bands, rows = MinHashConfig(threshold=threshold).banding
        assert bands * rows <= 128
        assert found(threshold, bands, rows) >= 0.9
        assert found(threshold, 128 // (rows + 1), rows + 1) < 0.9
    assert banding(0.001) == (128, 1)
    with pytest.raises(ValidationError, match="together"):
        MinHashConfig(bands=3)
