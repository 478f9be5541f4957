"""Which document comes first: by chance, as in the corpus, or those that a model is least sure of."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from bedplate.config import fold_in
from bedplate.data.labels.documents import LabelledCorpus
from bedplate.errors import InputError, UserError

Order = Literal["random", "corpus", "uncertain"]
Which = Literal["all", "kept", "dropped"]


def ordered(
    corpus: LabelledCorpus,
    order: Order,
    *,
    column: str | None = None,
    which: Which = "all",
    seed: int = 0,
    most: int | None = None,
) -> npt.NDArray[np.int64]:
    """The documents' indices in the order in which they are to be labelled.

    The same for every annotator with the same seed, so that the first ones are labelled by all and agreement can be
    told. uncertain: by the distance of `column`, a probability, from one half; those without a value come last.
    Raises UserError where a column and an order don't go together, InputError where no document is left.
    """
    if (order == "uncertain") != (column is not None):
        raise UserError(
            f"order {order}, column {column or 'none'}", "Order uncertain needs a column, the others take none."
        )
    found = np.arange(len(corpus), dtype=np.int64)
    if which != "all":
        dropped = np.array([corpus.dropped(index) for index in range(len(corpus))])
        found = found[dropped == (which == "dropped")]
    if not len(found):
        why = "dropped documents are listed without their texts" if which == "dropped" else "none is there"
        raise InputError(f"{corpus.path}: no {which} document to label: {why}", "Label other ones.")
    if order == "random":
        found = np.random.Generator(np.random.PCG64(fold_in(seed, "labelling order"))).permutation(found)
    elif column is not None:
        doubt = np.abs(corpus.numbers(column)[found] - 0.5)
        found = found[np.argsort(doubt, kind="stable")]  # NaN sorts last
    return found if most is None else found[:most]
