"""`data remove`: take documents out of a corpus and of the token shards made from it, and say what has learnt them.

In place, the new folder is made whole beside the old one and takes its name in one step. Killed at any instant, one of
the two is whole under the corpus's name, and the same command goes on to the end: a corpus that says that this very
removal made it is a finished first half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.config import Config
from bedplate.console import Console
from bedplate.data.provenance.origin import REMOVE_STAGE
from bedplate.data.provenance.removal import REMOVE, RemoveConfig, config_of, matching, nothing_matches
from bedplate.data.provenance.tokens_removal import REMOVE_TOKENS, RemoveTokensConfig
from bedplate.errors import ArtefactError, InputError
from bedplate.ledger import Artefact, Stage, open_artefact, produce
from bedplate.ledger.commit import put_in_place, remove_tree, replaced
from bedplate.ledger.lock import folder_lock
from bedplate.ledger.manifest import MANIFEST
from bedplate.ledger.place import standing
from bedplate.ledger.usage import User, earlier_digests, used_by, usual_place

_BESIDE = ".partial-removal"
"""Of folders so called nobody takes notice: they are unfinished work, or what is to go."""


@dataclass(frozen=True)
class Removal:
    """What was done. tokens: made without the documents; learnt: what was made from the corpus and stays as it is."""

    corpus: Artefact
    tokens: tuple[Artefact, ...]
    learnt: tuple[User, ...]
    finished: bool = False
    """Whether the corpus was made by this very removal before, and only the rest was still to do."""

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "corpus": str(self.corpus.path),
            "digest": self.corpus.digest,
            "removed": self.corpus.measures["remove"],
            "tokens": [str(artefact.path) for artefact in self.tokens],
            "learnt": [user.facts() for user in self.learnt],
            "finished": self.finished,
        }


def remove_documents(
    path: Path,
    *,
    matches: Sequence[str] = (),
    lists: Sequence[Path] = (),
    why: str,
    out: Path | None = None,
    in_place: bool = False,
    within: Path | None = None,
    asked: str = "",
    console: Console,
) -> Removal:
    """Take what matches out of the corpus at `path`, into `out` or in place, and out of its tokens below `within`.

    Tokens go where they are, or with `out` beside it as TOKENS-OUT. Raises InputError where nothing matches, with
    nothing written; ArtefactError for what is no corpus, and as `produce`.
    """
    if (out is not None) == in_place:
        raise InputError("data remove: where to?", "Give either --out FOLDER or --in-place.")
    config = config_of(tuple(matches), tuple(lists), why, asked)
    if in_place:
        _bring_back(path)
    corpus = open_artefact(path, "corpus")
    within = within or usual_place(corpus)
    users = used_by(corpus, within, also=earlier_digests(corpus))
    if in_place and _made_by(corpus, config):
        console.say(f"{path} is without them already; what is left to do is done")
        clear_swapped(corpus)
        return _rest(corpus, earlier_digests(corpus), users, console, finished=True)
    if not any(matching(corpus, config).values()):
        raise nothing_matches(corpus, config)
    digests = [corpus.digest, *(earlier_digests(corpus) if in_place else ())]
    if out is not None:
        new = produce(REMOVE, config, {"corpus": corpus}, out, name=out.name, console=console)
        return _rest(new, digests, users, console, beside=True)
    new = _swapped(REMOVE, config, {"corpus": corpus}, corpus, console)
    return _rest(new, digests, users, console)


def _made_by(corpus: Artefact, config: RemoveConfig) -> bool:
    """Whether the corpus is what this removal leaves, whatever reason was given then."""
    there, asked = corpus.manifest.semantic, config.semantic()
    same = all(there.get(name) == asked[name] for name in ("matches", "lists_sha256"))
    return corpus.manifest.stage == REMOVE_STAGE and same


def _rest(
    corpus: Artefact, digests: list[str], users: list[User], console: Console, *, beside: bool = False,
    finished: bool = False,
) -> Removal:  # fmt: skip
    """Make tokens without the documents, and tell what has learnt them."""
    tokens: list[Artefact] = []
    learnt: list[User] = []
    for user in users:
        artefact = user.artefact
        if artefact.path.resolve() == corpus.path.resolve():
            continue
        if artefact.kind == "tokens" and any(
            i.role == "corpus" and i.digest in digests for i in artefact.manifest.inputs
        ):
            tokens.append(_tokens(artefact, corpus, console, beside=beside))
        elif artefact.kind == "tokens" and any(i.digest == corpus.digest for i in artefact.manifest.inputs):
            clear_swapped(artefact)  # made without them, by an earlier attempt
            tokens.append(artefact)
        else:
            learnt.append(user)
    return Removal(corpus, tuple(tokens), tuple(learnt), finished)


def _tokens(tokens: Artefact, corpus: Artefact, console: Console, *, beside: bool) -> Artefact:
    config = RemoveTokensConfig(shard_tokens=int(tokens.config["shard_tokens"]))
    inputs = {"tokens": tokens, "corpus": corpus}
    if beside:
        out = tokens.path.with_name(f"{tokens.path.name}-{corpus.path.name}")
        return produce(REMOVE_TOKENS, config, inputs, out, name=out.name, console=console)
    return _swapped(REMOVE_TOKENS, config, inputs, tokens, console)


def _swapped(stage: Stage, config: Config, inputs: dict[str, Artefact], old: Artefact, console: Console) -> Artefact:
    """Make what the stage makes beside `old`, and put it in its place; the old one's files are gone then."""
    beside = old.path.with_name(f"{old.path.name}{_BESIDE}")
    produce(stage, config, dict(inputs), beside, name=old.name, console=console, replace=True)
    with folder_lock(old.path):
        if open_artefact(old.path).digest != old.digest:
            raise ArtefactError(f"{old.path}: another process has changed it meanwhile", "Run the command again.")
        put_in_place(beside, old.path)
    new = open_artefact(old.path)
    clear_swapped(new)
    return new


def clear_swapped(artefact: Artefact) -> None:
    """Remove what a kill in the middle of a swap left of the artefact that was replaced."""
    beside = artefact.path.with_name(f"{artefact.path.name}{_BESIDE}")
    if beside.is_dir() and not beside.is_symlink() and (beside / MANIFEST).is_file():
        remove_tree(beside)
    for left in replaced(artefact.path):
        remove_tree(left)
    for name in (f".{beside.name}.lock", f".{beside.name}.holder"):
        beside.with_name(name).unlink(missing_ok=True)


def _bring_back(path: Path) -> None:
    """Where a system can't swap two folders in one step, a kill may leave none under the name, the new one whole."""
    beside = path.with_name(f"{path.name}{_BESIDE}")
    if not path.exists() and (beside / MANIFEST).is_file() and standing(beside) is not None:
        beside.rename(path)
