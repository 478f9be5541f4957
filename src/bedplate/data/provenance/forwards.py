"""From a document forward: the shards that have it, the runs that saw it and when, and what was made of those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bedplate.data.provenance.steps import places_of, seen_in
from bedplate.data.tokens import TokenSet
from bedplate.errors import BedplateError
from bedplate.ledger import Artefact
from bedplate.ledger.usage import User, earlier_digests, used_by


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
        holders: dict[str, tuple[Artefact, list[Any]]] = {}
        for user in self.users:
            if user.artefact.kind == "tokens":
                places, note = self._places(user.artefact, document_id)
                holders[user.artefact.digest] = user.artefact, places
                facts = user.facts() | {"places": [place.facts() for place in places]}
                if places or note:
                    told["tokens"].append(facts | ({"note": note} if note else {}))
        for user in self.users:
            if user.artefact.kind == "run":
                told["runs"].append(user.facts() | self._seen(user.artefact, holders))
            elif user.artefact.kind != "tokens":
                told["others"].append(user.facts())
        return told

    def _places(self, artefact: Artefact, document_id: str) -> tuple[list[Any], str]:
        try:
            return places_of(self._open(artefact), document_id), ""
        except BedplateError as error:
            return [], error.problem

    def _seen(self, run: Artefact, holders: dict[str, tuple[Artefact, list[Any]]]) -> dict[str, Any]:
        given = [holders[item.digest] for item in run.manifest.inputs if item.digest in holders]
        if not given:
            return {"note": "its tokens aren't there any more, so when it saw the document can't be told"}
        tokens, places = given[0]
        try:
            return seen_in(self._open(tokens), run.config, places).facts()
        except (BedplateError, KeyError, ValueError) as error:
            return {"note": f"when it saw the document can't be told: {error}"}

    def _open(self, artefact: Artefact) -> TokenSet:
        if artefact.path not in self._opened:
            self._opened[artefact.path] = TokenSet.open(artefact)
        return self._opened[artefact.path]
