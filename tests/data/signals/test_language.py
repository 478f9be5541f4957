"""Languages, told without a network."""

import json

import pytest

from bedplate.data.signals.config import LanguageConfig
from bedplate.data.signals.language import detector

TEXTS = {
    "en": "The committee met on Tuesday and decided to wait for the results of the second study.",
    "de": "Der Ausschuss traf sich am Dienstag und beschloss, auf die Ergebnisse der zweiten Studie zu warten.",
    "fr": "Le comité s'est réuni mardi et a décidé d'attendre les résultats de la deuxième étude.",
    "es": "El comité se reunió el martes y decidió esperar los resultados del segundo estudio.",
}


@pytest.fixture(params=["fasttext", "resiliparse"])
def detect(request):
    return detector(LanguageConfig(detector=request.param))


@pytest.mark.parametrize("language", TEXTS)
def test_the_language_is_told(detect, language):
    found, score = detect(TEXTS[language])
    assert found == language
    assert 0.3 < score <= 1


@pytest.mark.parametrize("text", ["", "  \n\n", "123 456 !!! ...", "\0\0"])
def test_nothing_can_be_told_of_a_text_without_letters(detect, text):
    assert detect(text) == ("und", 0.0)


@pytest.mark.parametrize("text", ["a\ud800b", "x\0y", "a" * 100_000, "\n".join("abc"), "我们好" * 500])
def test_odd_texts_give_something(detect, text):
    found, score = detect(text)
    assert found
    assert 0 <= score <= 1


def test_only_the_beginning_is_looked_at():
    detect = detector(LanguageConfig(characters=80))
    assert detect(TEXTS["en"]) == detect(TEXTS["en"][:80] + TEXTS["fr"] * 50)


def test_real_articles_have_the_languages_of_their_detectors_agreement(shared_data):
    gold = json.loads((shared_data / "article_extraction/ground-truth.json").read_text())
    texts = [page["articleBody"] for page in gold.values()]
    one, other = (detector(LanguageConfig(detector=name)) for name in ("fasttext", "resiliparse"))
    agreed = sum(one(text)[0] == other(text)[0] for text in texts)
    assert agreed / len(texts) > 0.9
