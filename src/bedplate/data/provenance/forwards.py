"""From a document forward: the shards that have it, the runs that saw it and when, and what was made of those."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bedplate.data.provenance.earlier_tokens import earlier_folders, earlier_tokens
from bedplate.data.provenance.steps import Place, places_of, seen_in
from bedplate.data.tokens import TokenSet
from bedplate.errors import BedplateError
from bedplate.ledger import Artefact
from bedplate.ledger.usage import User, earlier_digests, used_by


class _Holder(NamedTuple):
    tokens: TokenSet
    places: list[Place]


def forwards(corpus: Artefact, within: Path) -> Forwards:
    """What was made from the corpus, as it is or as it was before something was taken out, below `within`."""
    return Forwards(used_by(corpus, within, also=earlier_digests(corpus)))


class Forwards:
    """What was made from a corpus, to be asked about its documents."""

    def __init__(self, users: list[User]) -> None:
        self.users = users
        self._opened: dict[Path, TokenSet] = {}

    def of(self, document_id: str) -> dict[str, Any]:
        """tokens: artefacts with the document and its places in them; runs: with the steps in which each saw it;
        others: what else was made from the corpus, whether or not this document was in it. Damaged ones have a `note`.
        """
        told: dict[str, Any] = {"tokens": [], "runs": [], "others": []}
        holders: dict[str, _Holder] = {}
        for user in self.users:
            if user.artefact.kind == "tokens":
                held, note = self._held(user.artefact, document_id)
                holders = held | holders
                places = held[user.artefact.digest].places if user.artefact.digest in held else []
                facts = user.facts() | {"places": [place.facts() for place in places]}
                if places or note:
                    told["tokens"].append(facts | ({"note": note} if note else {}))
        for user in self.users:
            if user.artefact.kind == "run":
                told["runs"].append(user.facts() | self._seen(user.artefact, holders))
            elif user.artefact.kind != "tokens":
                told["others"].append(user.facts())
        return told

    def _held(self, artefact: Artefact, document_id: str) -> tuple[dict[str, _Holder], str]:
        """Where the artefact and its earlier versions have the document, by their digests; why that can't be told,
        where it can't."""
        held: dict[str, _Holder] = {}
        try:
            now = self._open(artefact)
            held[artefact.digest] = _Holder(now, places_of(now, document_id))
            for digest, folder in earlier_folders(artefact).items():
                if folder not in self._opened:
                    self._opened[folder] = earlier_tokens(now, folder)
                before = self._opened[folder]
                held[digest] = _Holder(before, places_of(before, document_id))
        except BedplateError as error:
            return held, error.problem
        return held, ""

    def _seen(self, run: Artefact, holders: dict[str, _Holder]) -> dict[str, Any]:
        given = [holders[item.digest] for item in run.manifest.inputs if item.digest in holders]
        if not given:
            return {"note": "its tokens aren't there any more, so when it saw the document can't be told"}
        try:
            return seen_in(given[0].tokens, run.config, given[0].places, run.measures).facts()
        except (BedplateError, KeyError, ValueError) as error:
            return {"note": f"when it saw the document can't be told: {error}"}

    def _open(self, artefact: Artefact) -> TokenSet:
        if artefact.path not in self._opened:
            self._opened[artefact.path] = TokenSet.open(artefact)
        return self._opened[artefact.path]
