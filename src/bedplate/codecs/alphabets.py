"""Alphabets whose letters are the tokens: amino acids, nucleotides, and the atoms and bonds of SMILES."""

from __future__ import annotations

AMINO_ACIDS = (*"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>")
"""Residues in the order of ESM-1b and ESM-2 (Rives et al., 2021; Lin et al., 2023): after their four special tokens
and with `<mask>` behind them it is their vocabulary of 33. `<null_1>` only fills a row."""

NUCLEOTIDES = (*"ACGTUNRYSWKMBDHV", ".", "-")
"""Bases, with the letters of IUPAC for several (NC-IUB, 1985) and the two signs for a gap."""

SMILES_ATOM = r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>>?|\*|\$|%[0-9]{2}|[0-9]"
"""One token of a SMILES text: a bracketed atom, an atom, a bond, a branch or a ring number (Schwaller et al., 2019)."""
