"""One function for each kind of tokenizer that can be trained: texts in, a `tokenizers` object out.

The same texts in the same order give the same bytes, in every process. The trainers of `tokenizers` keep that for
byte-level BPE alone: those for WordPiece and Unigram number their characters by the order of a randomly seeded hash
map, so the first is told the characters beforehand, and the second is our own (`bedplate.data.unigram_training`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from bedplate.codecs.alphabets import AMINO_ACIDS, NUCLEOTIDES, SMILES_ATOM
from bedplate.codecs.byte_alphabet import byte_alphabet
from bedplate.data.special_tokens import Specials

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Texts: TypeAlias = Callable[[], Iterator[list[str]]]
"""The texts in batches, from the first again at every call."""

SPACE = "▁"
CONTINUES = "##"

SPLIT = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",  # English endings
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with one space or mark before it
        r"\p{N}{1,3}",  # digits, three at a time
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # punctuation, with the line ends after it
        r"\s*[\r\n]+",  # blank lines
        r"\s+(?!\S)",  # spaces, but for the one that belongs to the word after them
        r"\s+",
    )
)
UNIGRAM_SPLIT = rf"{SPACE}?[\p{{L}}\p{{M}}]+|{SPACE}?\p{{N}}|{SPACE}?[^\s{SPACE}\p{{L}}\p{{M}}\p{{N}}]+|{SPACE}+|\s+"
"""Letters, single digits or signs, each with the space before it: no piece is of two sorts."""


def train_bpe(texts: Texts, size: int, specials: Specials, longest: int) -> Tokenizer:
    """Byte-level BPE; lossless."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    # A word that is a token is that token, as in Llama 3, whose split this is: llama.cpp knows the pair by one name.
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(specials.last),
        special_tokens=list(specials.first),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return _finished(tokenizer, specials)


def train_wordpiece(
    texts: Texts, size: int, specials: Specials, longest: int, coverage: float, lowercase: bool
) -> Tokenizer:
    """WordPiece as BERT has it: words and signs apart, accents off where `lowercase`; spaces are not kept, and a word
    with a character outside `coverage` is unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    def empty(vocabulary: dict[str, int]) -> Tokenizer:
        made = Tokenizer(models.WordPiece(vocabulary, unk_token=specials.unknown, continuing_subword_prefix=CONTINUES))
        made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece(prefix=CONTINUES, cleanup=False)
        return made

    learner = empty({})
    counts = count_words(learner, texts())
    room = size - specials.count
    kept = _alphabet(counts, coverage, room)
    inner = {char for word in counts for char in word[1:]} & set(kept)
    letters = [*kept, *sorted(CONTINUES + char for char in inner)]
    if len(letters) > room:
        raise ValueError(f"{len(letters)} characters, where {room} tokens are wanted")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size - len(specials.last),
        special_tokens=[*specials.first, *letters],
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    outside = re.compile(f"[^{re.escape(''.join(kept))}\\s]") if kept else re.compile(r"\S")
    normalise = learner.normalizer.normalize_str
    learner.train_from_iterator(([outside.sub(" ", normalise(t)) for t in batch] for batch in texts()), trainer)
    found = {t: i for t, i in learner.get_vocab(with_added_tokens=False).items() if len(t) <= longest + len(CONTINUES)}
    ordered = sorted(found, key=found.__getitem__)
    return _finished(empty({token: i for i, token in enumerate(ordered)}), specials)


def train_unigram(texts: Texts, size: int, specials: Specials, longest: int, coverage: float) -> Tokenizer:
    """A unigram language model over pieces that hold their leading space, with bytes for what it lacks: lossless but
    for the sign of the space itself, U+2581, which is read as a space."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    from bedplate.data import unigram_training

    def model(pieces: Sequence[tuple[str, float]]) -> Tokenizer:
        fixed = [(token, 0.0) for token in (*specials.first, *(f"<0x{byte:02X}>" for byte in range(256)))]
        unknown = next(i for i, (token, _) in enumerate(fixed) if token == specials.unknown)
        made = Tokenizer(models.Unigram([*fixed, *pieces], unknown, byte_fallback=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
        # It also keeps "</s>" or "<0x0A>" in a text from being found whole: they are of two sorts.
        made.pre_tokenizer = pre_tokenizers.Split(Regex(UNIGRAM_SPLIT), behavior="isolated")
        steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        made.decoder = decoders.Sequence([*steps, decoders.Strip(content=" ", left=1)])
        return made

    counts = count_words(model([]), texts())
    room = size - specials.count - 256
    alphabet = _alphabet(counts, coverage, room)
    return _finished(model(unigram_training.train_unigram(counts, room, longest, alphabet)), specials)


def byte_tokenizer(specials: Specials) -> Tokenizer:
    """One token a byte, in the order of the bytes (ByT5; Xue et al., 2022); lossless, nothing to learn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    spelling = {byte: char for char, byte in byte_alphabet().items()}
    vocabulary = {token: i for i, token in enumerate((*specials.first, *(spelling[byte] for byte in range(256))))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer, specials)


def character_tokenizer(texts: Texts, size: int, specials: Specials, alphabet: str) -> Tokenizer:
    """One token a letter of an alphabet, each other character one unknown token.

    alphabet: "amino-acids" or "nucleotides", whose white space is left out and whose lower case is upper case (masked
    repeats are written so); "smiles", whose atoms the texts teach; or "seen", every character of the texts. Of what is
    learnt, the `size` most frequent stay.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    fixed = {"amino-acids": AMINO_ACIDS, "nucleotides": NUCLEOTIDES}.get(alphabet)
    letters = fixed or _most_frequent(texts(), size - specials.count, SMILES_ATOM if alphabet == "smiles" else None)
    vocabulary = {token: i for i, token in enumerate((*specials.first, *letters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials.unknown))
    single = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    if alphabet == "smiles":
        atom = pre_tokenizers.Split(Regex(f"{SMILES_ATOM}|[\\s\\S]"), behavior="isolated")
        tokenizer.pre_tokenizer = atom
    elif fixed:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\s+"), "removed"), single])
        upper = [normalizers.Replace(c.lower(), c) for c in fixed if len(c) == 1 and c.isalpha()]
        tokenizer.normalizer = normalizers.Sequence(upper)
    else:
        tokenizer.pre_tokenizer = single
    tokenizer.decoder = decoders.Fuse()
    return _finished(tokenizer, specials)


def count_words(tokenizer: Tokenizer, texts: Iterable[list[str]]) -> Counter[str]:
    """How often each word is in the texts, as the tokenizer normalises and cuts them."""
    counts: Counter[str] = Counter()
    for batch in texts:
        for text in batch:
            normal = tokenizer.normalizer.normalize_str(text)
            counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    return counts


def _alphabet(counts: Counter[str], coverage: float, most: int) -> list[str]:
    """The characters that make up at least `coverage` of the words, at most so many; in the order of Unicode."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for char in word:
            characters[char] += count
    wanted = coverage * characters.total()
    kept: list[str] = []
    for char, count in sorted(characters.items(), key=lambda pair: (-pair[1], pair[0])):
        if wanted <= 0 or len(kept) == most:
            break
        kept.append(char)
        wanted -= count
    return sorted(kept)


def _most_frequent(texts: Iterable[list[str]], most: int, pattern: str | None) -> list[str]:
    counts: Counter[str] = Counter()
    atom = re.compile(pattern) if pattern else None
    for batch in texts:
        for text in batch:
            counts.update(text if atom is None else atom.findall(text))
    chosen = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return sorted(token for token, _ in chosen)


def _finished(tokenizer: Tokenizer, specials: Specials) -> Tokenizer:
    tokenizer.add_special_tokens([*specials.first, *specials.last])
    specials.put_around(tokenizer)
    return tokenizer
