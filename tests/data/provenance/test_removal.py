"""Taking documents out: nothing of them stays, the counts add up, shards as if tokenized anew, kills harm nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bedplate.console import Console
from bedplate.data.curation.account import check_balance
from bedplate.data.provenance.finding import rows_of, tables
from bedplate.data.provenance.removing import remove_documents
from bedplate.data.tokens import TokenSet
from bedplate.errors import ArtefactError, BedplateError, InputError
from bedplate.ledger import open_artefact
from bedplate.ledger.usage import earlier_digests, used_by

QUIET = Console.quiet()
WHY = "owner's request"


def rows(corpus, *, kept=True, columns=("id", "url", "text", "split", "copies")):
    paths = [path for path in tables(corpus) if (path.name != "dropped.parquet") is kept]
    return [row for path in paths for row in rows_of(path, columns)]


def remove(world, *matches, **options):
    return remove_documents(world.root / "corpus", matches=matches, why=WHY, console=QUIET, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_domain_goes_with_every_word(world):
    before = world.corpus
    gone = [row for row in rows(before) if row["url"] and "//b.org/" in row["url"]]
    done = remove(world, "domain=b.org", out=world.root / "corpus-2")
    new = done.corpus
    assert len(gone) > 10
    assert [row["id"] for row in rows(new)] == [row["id"] for row in rows(before) if row not in gone]
    new.verify()
    texts = [row["text"] for row in gone]
    for path in new.path.rglob("*.parquet"):
        said = json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False)
        assert not any(text in said for text in texts)
        assert 'Title 1"' not in said
    names = ("id", "stage", "reason", "detail", "title", "excerpt", "metadata")
    told = [row for row in rows_of(new.path / "dropped.parquet", names) if row["stage"] == "remove"]
    assert {row["id"] for row in told} == {row["id"] for row in gone}
    assert {(row["reason"], row["detail"]) for row in told} == {("taken_down", f"{WHY} (domain=b.org)")}
    assert all(row["title"] is row["excerpt"] is row["metadata"] is None for row in told)
    assert world.corpus.digest == before.digest  # the old one stays


def test_counts_add_up(world):
    before = world.corpus
    b, c = (sum(host in (row["url"] or "") for row in rows(before)) for host in ("//b.org/", "//c.org/"))
    m = remove(world, "domain=b.org", "domain=short.org", out=world.root / "corpus-2").corpus.measures
    check_balance(m["stages"])
    assert m["stages"]["remove"]["dropped"] == {"taken_down": b}
    assert m["read"] == before.measures["read"] == m["kept"] + sum(m["dropped"].values()) + sum(m["failed"].values())
    assert m["kept"] == sum(m["documents"].values()) == before.measures["kept"] - b
    assert sum(m["licenses"].values()) == m["kept"]
    assert "b.org" not in m["domains"]
    for counts in m["sources"].values():
        assert counts["read"] == counts["kept"] + counts["dropped"] + counts["failed"]
    assert sum(s["bytes"] for s in m["sources"].values()) == sum(m["bytes"].values())
    assert m["remove"]["blanked"] > 0  # the short one had been left out, with an excerpt
    again = remove_documents(
        world.root / "corpus-2", matches=["domain=c.org"], why="another", out=world.root / "corpus-3", console=QUIET
    ).corpus.measures
    check_balance(again["stages"])
    assert again["stages"]["remove"]["dropped"] == {"taken_down": b + c}


def test_a_copy_that_stays_is_told_and_one_that_goes_leaves_no_excerpt(world):
    kept = next(row for row in rows(world.corpus) if row["url"] == "https://a.org/3")
    done = remove(world, "domain=mirror.org", out=world.root / "stays").corpus.measures["remove"]
    assert done["documents"] == 0
    assert done["copies"] == [{"id": kept["id"], "url": "https://mirror.org/3", "copy_of": kept["id"]}]
    gone = remove(world, f"id={kept['id']}", out=world.root / "goes").corpus
    mirror = next(
        row for row in rows(gone, kept=False, columns=("url", "excerpt", "title")) if "mirror" in (row["url"] or "")
    )
    assert mirror["excerpt"] is mirror["title"] is None


@pytest.mark.parametrize("shard_tokens", [1, 300, 700, 1 << 20])
def test_tokens_equal_those_tokenized_anew(world, shard_tokens):
    name = f"tokens-{shard_tokens}"
    world.tokenize(world.corpus, name, shard_tokens=shard_tokens)
    done = remove(world, "domain=b.org", "url=https://a.org/9", out=world.root / "corpus-2")
    made = next(a for a in done.tokens if a.path.name == f"{name}-corpus-2")
    anew = world.tokenize(done.corpus, "anew", shard_tokens=shard_tokens)
    ours, theirs = files(made.path), files(anew.path)
    before = world.artefact(name)
    del ours["bedplate.json"], theirs["bedplate.json"]
    assert ours.pop(f"before/{before.digest}/documents.parquet") == before.file("documents.parquet").read_bytes()
    assert ours == theirs
    assert made.digest == anew.digest
    assert {name: value for name, value in made.measures.items() if name != "earlier"} == anew.measures
    TokenSet.open(made).verify()


def test_documents_that_are_there_twice_keep_their_order(world, tmp_path):
    """Without deduplication two documents may have one text, and so one id."""
    from bedplate.data.curate import CURATE, CurateConfig
    from bedplate.ledger import produce

    lines = [
        {"text": f"text {n % 7} of a gear and a plate", "url": f"https://{'ab'[n % 2]}.org/{n}"} for n in range(60)
    ]
    (world.root / "twice.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = CurateConfig(
        sources=[{"jsonl": str(world.root / "twice.jsonl"), "license": "CC0-1.0", "url_field": "url"}],
        deduplicate={},
        validation=0.4,
    )
    corpus = produce(CURATE, config, {}, world.root / "twice", name="twice", console=QUIET)
    world.tokenize(corpus, "twice-tokens", shard_tokens=50)
    done = remove_documents(corpus.path, matches=["domain=a.org"], why=WHY, out=world.root / "once", console=QUIET)
    assert done.corpus.measures["kept"] == 30
    assert done.tokens[0].digest == world.tokenize(done.corpus, "anew", shard_tokens=50).digest


def test_in_place(world):
    before, tokens = world.corpus, world.artefact("tokens")
    learnt = world.artefact("model")
    done = remove(world, "domain=b.org", in_place=True)
    assert world.corpus.digest == done.corpus.digest != before.digest
    assert world.artefact("tokens").digest == done.tokens[0].digest != tokens.digest
    assert {user.artefact.path.name for user in done.learnt} >= {"model", "tokenizer"}
    assert not [p.name for p in world.root.iterdir() if "partial" in p.name or "replaced" in p.name]
    text = "".join(p.read_bytes().decode("latin-1") for p in world.root.rglob("*.json") if "crawl" not in p.name)
    assert 'Title 1"' not in text
    anew = world.tokenize(world.corpus, "anew")
    assert anew.digest == world.artefact("tokens").digest
    # What learnt them is still found, although the corpus that it learnt from is gone.
    from bedplate.data.provenance.origin import curation_of

    assert earlier_digests(world.corpus) == [before.digest]
    assert curation_of(world.corpus) == before.config
    assert learnt.digest in {user.artefact.digest for user in used_by(world.corpus, world.root)}
    again = remove(world, "domain=b.org", in_place=True)  # the same once more: there is nothing left to do
    assert again.finished
    assert again.corpus.digest == done.corpus.digest
    remove(world, "domain=c.org", in_place=True)
    assert earlier_digests(world.artefact("tokens")) == [done.tokens[0].digest, tokens.digest]
    assert learnt.digest in {user.artefact.digest for user in used_by(world.corpus, world.root)}


def test_nothing_matches_and_nothing_is_written(world):
    before = sorted(str(p) for p in world.root.rglob("*"))
    with pytest.raises(InputError, match=r"none of its documents matches domain=nowhere\.org"):
        remove(world, "domain=nowhere.org", in_place=True)
    with pytest.raises(InputError, match="none of its documents matches"):
        remove(world, "owner=Nobody", out=world.root / "other")
    assert sorted(str(p) for p in world.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matches": ["domain=b.org"]}, "where to"),
        ({"matches": ["b.org"], "in_place": True}, "doesn't say what to match by"),
        ({"in_place": True}, "nothing says what is to go"),
        ({"matches": ["domain=b.org"], "in_place": True, "why": " "}, "no reason"),
        ({"lists": [Path("none.txt")], "in_place": True}, "no such file"),
        (
            {"matches": [f"domain={h}.org" for h in "abc"], "lists": [], "in_place": True, "all": True},
            "nothing would be left",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(world, options, message):
    if options.pop("all", False):
        ids = [f"id={row['id']}" for row in rows(world.corpus)]
        options["matches"] = ids
    before = world.corpus.digest
    with pytest.raises(BedplateError, match=message):
        remove_documents(world.root / "corpus", **({"why": WHY} | options), console=QUIET)
    assert world.corpus.digest == before
    world.corpus.verify()


def test_a_list_goes_by_its_contents(world, tmp_path):
    (tmp_path / "list.csv").write_text("url,owner\nhttps://a.org/0,\nhttps://c.org/*,\n")
    wanted = [r for r in rows(world.corpus) if r["url"] == "https://a.org/0" or "//c.org/" in (r["url"] or "")]
    done = remove(world, lists=[tmp_path / "list.csv"], out=world.root / "corpus-2")
    assert done.corpus.measures["remove"]["documents"] == len(wanted) > 10
    assert done.corpus.config["lists_sha256"]


def test_damage_is_told(world):
    part = world.corpus.path / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ArtefactError, match=r"part-00000\.parquet: not a whole Parquet file"):
        remove(world, "domain=b.org", in_place=True)
    with pytest.raises(ArtefactError, match="not an artefact"):
        remove_documents(world.root, matches=["domain=b.org"], why=WHY, in_place=True, console=QUIET)
    with pytest.raises(ArtefactError, match="where corpus is needed"):
        remove_documents(world.root / "tokens", matches=["domain=b.org"], why=WHY, in_place=True, console=QUIET)


KILLED = """
import os, sys
from pathlib import Path
from bedplate.console import Console
from bedplate.data.provenance import removing, removal, tokens_removal
from bedplate.ledger import commit

wanted = int(sys.argv[2])
seen = 0

def watched(module, name):
    real = getattr(module, name)
    def call(*args, **kwargs):
        global seen
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), 9)
        done = real(*args, **kwargs)
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), 9)
        return done
    setattr(module, name, call)

for module, name in [
    (removing, "produce"), (removing, "put_in_place"), (removing, "remove_tree"), (removing, "clear_swapped"),
    (commit, "_exchange"), (commit, "remove_tree"), (removal, "_left_out"), (tokens_removal, "merge_tables"),
]:
    watched(module, name)
corpus = Path(sys.argv[1])
removing.remove_documents(corpus, matches=["domain=b.org"], why="kill", in_place=True, console=Console.quiet())
"""


@pytest.mark.slow
def test_killed_at_every_point_either_is_whole_and_the_same_again_finishes(made, tmp_path):
    import shutil

    ignore = shutil.ignore_patterns(".*.lock", "checkpoints", "model")
    shutil.copytree(made.root, tmp_path / "whole", ignore=ignore)
    old = open_artefact(tmp_path / "whole" / "corpus").digest
    done = remove_documents(
        tmp_path / "whole" / "corpus", matches=["domain=b.org"], why="kill", in_place=True, console=QUIET
    )
    point = 0
    while True:
        point += 1
        root = tmp_path / f"killed-{point}"
        shutil.copytree(made.root, root, ignore=ignore)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(root / "corpus"), str(point)], timeout=100)
        there = open_artefact(root / "corpus")
        there.verify()
        assert there.digest in (old, done.corpus.digest)
        open_artefact(root / "tokens").verify()
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        again = remove_documents(root / "corpus", matches=["domain=b.org"], why="kill", in_place=True, console=QUIET)
        assert again.corpus.digest == open_artefact(root / "corpus").digest == done.corpus.digest
        assert open_artefact(root / "tokens").digest == done.tokens[0].digest
        assert not [p.name for p in root.iterdir() if any(s in p.name for s in ("replaced", "partial"))]
        shutil.rmtree(root)
    assert point > 10


def test_a_reader_in_another_process_goes_on(world):
    """What has the old files open reads on while the corpus is replaced under it."""
    reader = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; import pyarrow.parquet as pq\n"
            "file = pq.ParquetFile(sys.argv[1]); print('open', flush=True); sys.stdin.readline()\n"
            "print(file.read().num_rows)",
            str(next(world.corpus.path.glob("part-*.parquet"))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "open\n"
    count = len(rows(world.corpus))
    remove(world, "domain=b.org", in_place=True)
    said, _ = reader.communicate("\n", timeout=60)
    assert 0 < int(said) <= count


def test_an_owner_is_known_by_what_the_page_says(tmp_path):
    from bedplate.data.curate import CURATE, CurateConfig
    from bedplate.ledger import produce

    (tmp_path / "pages").mkdir()
    for number in range(12):
        head = '<meta name="author" content="Jane  Doe">' if number % 3 == 0 else ""
        text = f"<p>Page {number} says something of its own about gears, shafts and oil, at some length.</p>"
        (tmp_path / "pages" / f"{number}.html").write_text(f"<html><head>{head}</head><body>{text * 3}</body></html>")
    source = {"html": str(tmp_path / "pages"), "license": "CC0-1.0"}
    config = CurateConfig(sources=[source], clusters=None, validation=0.4)
    corpus = produce(CURATE, config, {}, tmp_path / "corpus", name="corpus", console=QUIET)
    done = remove_documents(corpus.path, matches=["owner=jane doe"], why=WHY, out=tmp_path / "without", console=QUIET)
    assert done.corpus.measures["remove"]["documents"] == 4
    left = [path.read_bytes() for path in done.corpus.path.glob("*.parquet")]
    assert not any(b"Jane" in content for content in left)
