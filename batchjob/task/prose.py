"""What the text around a marked label does: it announces it, gives a reason for it, or may make it something else.

Prose can take a label back, quote it or sign with it in more ways than a list holds, and in any language. So these
say what the text may do, and whatever they do not know speaks against the label. Words are in lower case.
"""

from __future__ import annotations

import re

from batchjob.task.signals import LABEL_WORDS, announces, contrasts, denies, listed, retracts, supposes, words_in

_REASONS = listed("""
reason, reasons, reasoning, rationale, explanation, explanations, justification, analysis, confidence, probability
certainty, why, because, score, evidence
begründung, grund, erklärung, analyse, konfidenz, sicherheit, warum, raison, explication, confiance, pourquoi
razón, motivo, explicación, justificación, confianza, análisis, razão, explicação, justificativa, confiança, análise
motivazione, spiegazione, fiducia, analisi, reden, uitleg, toelichting, motivering, motivation, förklaring, begrundelse
forklaring, begrunnelse, perustelu, perustelut, uzasadnienie, powód, wyjaśnienie, důvod, zdůvodnění, vysvětlení, indok
indoklás, motivație, explicație, obrazloženje, razlog, причина, обоснование, объяснение, пояснение, уверенность, анализ
пояснення, обґрунтування, обосновка, обяснение, αιτιολόγηση, εξήγηση, gerekçe, açıklama, neden, lý do, giải thích
alasan, penjelasan, sababu, السبب, التفسير, الشرح, التعليل, الثقة, دلیل, توضیح, הסבר, נימוק, סיבה
कारण, व्याख्या, स्पष्टीकरण, কারণ, ব্যাখ্যা, காரணம், เหตุผล, คำอธิบาย
理由, 原因, 解释, 解釋, 说明, 說明, 依据, 依據, 分析, 置信度, 根拠, 説明, 信頼度, 確信度, 이유, 설명, 근거, 신뢰도
""")
_OPTIONAL = listed("""
for, the, this, my, of, a, brief, short, label, classification, answer, choice, level, detailed, decision, it, is, so
""")

_TEXTS = (
    "text|message|review|comment|customer|client|user|reviewer|author|writer|sender|speaker|email|e-mail|mail|ticket"
    "|post|tweet|sentence|query|question|request|complaint|statement|document|article|feedback|inquiry|conversation"
)
_OTHER_TEXTS = (
    "text|nachricht|kunde|kundin|nutzer|nutzerin|bewertung|anfrage|frage|texte|message|client|cliente|utilisateur|avis"
    "|texto|mensaje|usuario|reseña|mensagem|usuário|testo|messaggio|utente|recensione|tekst|klant|bericht|gebruiker"
    "|kund|kunden|клиент|пользователь|текст|автор|сообщение|отзыв|покупатель|klient|tekst|użytkownik|müşteri|kullanıcı"
)
_UNSPACED_TEXTS = (
    "(?:该|此|这位|这个|这条|本|この|その|お)?(?:客户|用户|文本|消息|评论|作者|顧客|客様|ユーザー|文章|メッセージ)"
)
_VERBS = (
    "asks|mentions|speaks|talks|describes|concerns|contains|expresses|refers|relates|involves|deals|states|reports"
    "|requests|complains|discusses|shows|indicates|wants|has|is about|is asking"
)
_TELLS = re.compile(
    rf"(?:(?:the|this|a|an|as the|since the|because the|here the) )?(?:[\w-]+ )?(?:{_TEXTS})(?:'s)? (?!above|below)"
    rf"|(?:it|this) (?:{_VERBS}) |(?:he|she|they) "
    rf"|(?:(?:der|die|das|le|la|el|o|a|il|lo|de|het) |l')?(?:{_OTHER_TEXTS}) "
    rf"|{_UNSPACED_TEXTS}"
)
_COURTESY = re.compile(
    r"(?:i )?hope (?:this|that) helps|call me|(?:please )?let me know if you (?:need|have) (?:any|more|further)\w* ?"
    r"(?:more|else|other|further|questions|help)?"
)
_SENTENCES = re.compile(r"(?<=[.!?…।؟])[\s\"'”»)*_]+|(?<=[。！？])|\n")

# Not "I", in no language: a model that thinks aloud says that too.
_ADDRESSES = listed("""
we, us, our, you, your, yours, please, dear, regards, sincerely, thanks, hello, hi
wir, uns, unser, sie, ihr, ihre, ihnen, du, dein, bitte, nous, vous, votre, vos, tu, veuillez, cher
nosotros, usted, ustedes, su, tú, nuestro, você, vocês, nós, nosso, seu, voi, noi, vostro, u, uw, wij, ons
vi, ni, du, pan, pani, proszę, мы, вы, вас, ваш, вам, пожалуйста, siz, lütfen
""")
_ADDRESSING_PARTS = ("您", "你", "请", "請", "ください", "주세요", "من فضلك", "कृपया")
_ASKS = re.compile(
    r"\b(?:please|could you|can you|would you|i'll|i will|i'd be|i would be|happy to|glad to|dear|bitte|veuillez"
    r"|por favor|per favore|alstublieft|пожалуйста|lütfen|proszę)\b|请提供|請提供|ください|주세요|من فضلك|कृपया"
)

_NAME = r"(?:text|message|review|comment|customer|email|ticket|post|tweet|sentence|query|question|request)"
_THE_TEXT = rf"(?:the|this|your) (?:given |provided |customer |user )?{_NAME}"
_LEAD = (
    r"(?:(?:so|thus|therefore|hence|then|sure|okay|ok|certainly|of course|in conclusion)[,!]? )*"
    rf"(?:(?:based on|given) (?:the content of )?{_THE_TEXT}(?: (?:you )?provided)?, )?"
)
_ENGLISH = re.compile(
    rf"{_LEAD}(?:so|it is|it's|here it is|here is|here's|here you go|this is|this one is"
    rf"|i(?: would|'d)? (?:classify|label|categorize|categorise) {_THE_TEXT} as"
    rf"|{_THE_TEXT} (?:is|can be|should be) (?:best )?(?:classified|labeled|labelled|categorized|categorised) as"
    rf"|(?:(?:here is|here's|this is) )?(?:the |my |a )?(?P<head>[^,;]{{1,40}}?)(?: (?:for|of) {_THE_TEXT})?(?: is)?"
    r"(?: in (?:the requested )?json(?: format)?)?)"
)
_FITS = listed("""
best fit, best match, best fitting label, most fitting label, json, json object, json output, json response, json answer
best choice, most likely label, classification result, classification label, classification output, json result
requested json, requested json output, requested output, requested classification, sentiment label
""")


def announces_in(sentence: str) -> bool:
    """Whether a sentence does nothing but say that the label follows: `So the best fit is:`, `Die Kategorie ist:`."""
    said = " ".join(sentence.casefold().replace("’", "'").strip(" \t\n:*_#>").split())
    why, so, said = said.rpartition(", so ")
    if so and not _tells_of_the_text(why):
        return False
    if not said or announces(said):
        return True
    english = _ENGLISH.fullmatch(said)
    head = english["head"] if english else None
    return bool(english) and (head is None or head in _FITS or announces(head))


def gives_reason(key: str) -> bool:
    """Whether what stands behind a key is why the label was given, or how sure it is."""
    said = re.sub(r"[\W_]+", " ", key.casefold()).strip()
    if said in _REASONS:
        return True
    spoken = set(said.split())
    reasons = spoken & _REASONS
    return bool(reasons) and spoken - reasons <= _OPTIONAL


def explains(prose: str) -> bool:
    """Whether each sentence speaks of the text or its author, and so gives a reason, or is a mere courtesy."""
    return all(_COURTESY.match(said) or _tells_of_the_text(said) for said in sentences(prose))


def _tells_of_the_text(said: str) -> bool:
    unsure = denies(said) or contrasts(said) or supposes(said) or addresses(said)
    return not unsure and _TELLS.match(said) is not None


def sentences(prose: str) -> list[str]:
    """The sentences of a text that hold words, in lower case."""
    parts = [" ".join(said.casefold().replace("’", "'").split()) for said in _SENTENCES.split(prose)]
    return [said for said in parts if any(map(str.isalnum, said))]


def addresses(prose: str) -> bool:
    """Whether somebody speaks to somebody in a text, as in a letter."""
    return not _ADDRESSES.isdisjoint(words_in(prose)) or any(part in prose for part in _ADDRESSING_PARTS)


def asks(prose: str) -> bool:
    """Whether a text asks its reader for something, or says what would be answered then."""
    return _ASKS.search(prose.casefold().replace("’", "'")) is not None


def speaks_of_labels(prose: str) -> bool:
    """Whether there is a word for a label in a text."""
    return not LABEL_WORDS.isdisjoint(words_in(prose))


# ---------------------------------------------------------------- members of JSON objects

_BESIDE = listed("""
text, message, email, ticket, customer, user, item, main, primary, detected, assigned, predicted, final, best, most
likely, overall, chosen, selected, review, comment, subject, the, of, for, name, id, code
""")
_NOUNS = listed("""
labels, classes, categories, answers, results, predictions, type, kind, value, data, json, department, team, queue
product, species, animal, color, colour, age, group, language, lang, rating, score, stars, grade, level, priority
severity, urgency, tone, emotion, mood, stance, polarity, status, theme, domain, genre, field, area, industry, section
gender, country, sprache, bewertung, langue, note, idioma, puntuación, lingua, taal, язык, оценка, 语言, 评分, 言語
評価, typ, tipo, absicht, stimmung, gefühl, intention, intención, intenção, намерение, 감정, 언어, 의도
""")
_NUMBERS = frozenset({"id", "index", "row", "number", "n"})


def may_hold_label(key: str, value: object) -> bool:
    """Whether the only member of an object gives its label: its key says so, and no word of it sets the value aside."""
    spoken = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", key).casefold().split()
    if isinstance(value, bool) and spoken[:1] in (["is"], ["has"]):
        return not denies(" ".join(spoken))
    nouns = [word for word in spoken if word.isdecimal() or word in _NOUNS or announces(word)]
    return bool(nouns) and all(word in nouns or word in _BESIDE for word in spoken)


def is_beside(key: str) -> bool:
    """Whether a member beside a label is no answer itself: why it was given, how sure it is, the row's number."""
    return gives_reason(key) or key.strip().casefold() in _NUMBERS


def is_no(key: str, value: object) -> bool:
    """Whether a member beside a label denies it: `"applies": false`, `"wrong": true`."""
    said = str(value).casefold() if isinstance(value, bool | str) else ""
    spoken = re.sub(r"[\W_]+", " ", key).strip()
    if spoken.casefold() == "error" and said:
        return True
    if len(said.split()) > 2:
        return False
    if said in ("true", "yes", "1"):
        return denies(spoken) or supposes(spoken) or contrasts(spoken)
    return said in ("false", "0") or denies(said) or retracts(said) or contrasts(said)
