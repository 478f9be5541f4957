"""`Step`: a stage of curation that looks at each document by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from bedplate.data.documents import Document


class Step(Protocol):
    """Made in each worker from its own section of the configuration; what is heavy is loaded then."""

    @property
    def name(self) -> str:
        """The stage, as the measures call it."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that every document gets of it: {name: pyarrow's name of the type}."""
        ...

    def __call__(self, documents: list[Document]) -> None:
        """Look at some documents, all of them alive. What one gets doesn't depend on which others are there.

        What is nested in a document's metadata is replaced, never changed in place: were the step to break, the
        document is to be as it was.
        """
        ...
