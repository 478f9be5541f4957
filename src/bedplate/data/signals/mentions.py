"""How often a text names groups of people, in English: what a count of words can show of whom a corpus speaks.

Counts say how often, not how: whether a mention is friendly, hostile or about a colour ("black") they can't tell. The
lists are short and of common words, one token each; they are for comparing corpora and filters, not for judging texts.
"""

from __future__ import annotations

from bedplate.data.signals.columns import GROUPS
from bedplate.data.signals.hashing import Ints
from bedplate.data.signals.lexicon import Lexicon
from bedplate.data.signals.texts import Texts

WORDS: dict[str, tuple[str, ...]] = {
    group: tuple(words.split())
    for group, words in {
        "gender": "woman women man men girl girls boy boys female females male males lady ladies gentleman gentlemen "
        "mother mothers father fathers wife wives husband husbands daughter daughters son sons sister sisters brother "
        "brothers she her hers herself he him his himself nonbinary transgender",
        "age": "child children baby babies toddler toddlers kid kids teen teens teenager teenagers youth youths adult "
        "adults elderly senior seniors pensioner pensioners retiree retirees millennial millennials boomer boomers",
        "religion": "christian christians catholic catholics protestant protestants evangelical evangelicals orthodox "
        "mormon mormons muslim muslims islamic sunni shia shiite jew jews jewish hindu hindus buddhist buddhists sikh "
        "sikhs atheist atheists agnostic agnostics pagan pagans",
        "ethnicity": "black blacks white whites asian asians hispanic hispanics latino latinos latina latinas latinx "
        "arab arabs african africans caucasian caucasians indigenous aboriginal aboriginals inuit maori roma romani "
        "kurd kurds kurdish slav slavs slavic multiracial biracial",
        "nationality": "american americans mexican mexicans canadian canadians brazilian brazilians british english "
        "scottish welsh irish french german germans italian italians spanish portuguese dutch swedish norwegian danish "
        "finnish polish ukrainian ukrainians russian russians greek greeks turkish israeli israelis palestinian "
        "palestinians syrian syrians iraqi iraqis iranian iranians afghan afghans pakistani pakistanis indian indians "
        "bangladeshi chinese japanese korean koreans vietnamese thai filipino filipinos indonesian indonesians "
        "australian australians nigerian nigerians kenyan kenyans ethiopian ethiopians egyptian egyptians somali "
        "somalis immigrant immigrants migrant migrants refugee refugees foreigner foreigners",
        "disability": "disabled disability disabilities blind deaf mute wheelchair wheelchairs paralysed paralyzed "
        "paraplegic paraplegics quadriplegic amputee amputees autistic autism dyslexic dyslexia epileptic epilepsy "
        "schizophrenic schizophrenia bipolar neurodivergent handicapped",
        "orientation": "gay gays lesbian lesbians bisexual bisexuals homosexual homosexuals homosexuality heterosexual "
        "heterosexuals straight queer lgbt lgbtq lgbtqia asexual pansexual",
    }.items()
}


def mentions(texts: Texts) -> dict[str, Ints]:
    """The columns of the family `mentions`: {column: [documents]}."""
    counts = Lexicon.of({group: WORDS[group] for group in GROUPS}).found(texts)
    return {f"mentions_{group}": counts[:, index] for index, group in enumerate(GROUPS)}
