"""The words an answer announces its label with, and the words it takes one back with, in the languages people use.

Words are in lower case, as `str.casefold` leaves them.
"""

from __future__ import annotations

import re

# Signs of vowels are part of a word in Hindi, Bengali or Thai, although they are no letters.
_WORD = re.compile(r"(?:[^\W\d_]|['\u0300-\u036f\u0900-\u0fff])+")

_LABEL_WORDS = """
label, tag, class, category, classification, answer, result, output, prediction, verdict, decision, choice, response,
sentiment, intent, topic
klasse, kategorie, etikett, bezeichnung, klassifikation, klassifizierung, antwort, ergebnis, thema
étiquette, etiquette, libellé, catégorie, categorie, classe, réponse, reponse, résultat, sujet
etiqueta, categoría, clase, clasificación, respuesta, resultado, sentimiento, tema
rótulo, rotulo, categoria, classificação, classificacao, resposta, sentimento
etichetta, classificazione, risposta, risultato, argomento
antwoord, resultaat, onderwerp, etiket, kategori, svar, resultat, klass, luokka, vastaus, tunniste, kategoria, tulos
etykieta, klasa, odpowiedź, odpowiedz, wynik, štítek, kategorie, třída, odpověď, výsledek, odpoveď, kategória, trieda
címke, válasz, osztály, etichetă, etichetă, răspuns, clasă, oznaka, kategorija, odgovor, rezultat
метка, тег, класс, категория, ответ, результат, тема, тональность, мітка, клас, категорія, відповідь, етикет, отговор
ετικέτα, κατηγορία, απάντηση
cevap, yanıt, sonuç, sınıf, nhãn, trả lời, câu trả lời, đáp án, phân loại, jawaban, jawapan, hasil, jibu
標籤, 标签, 类别, 類別, 分类, 分類, 答案, 回答, 结果, 結果, 标注, 答复, 分类结果, 分类标签, 情感, 意图
ラベル, カテゴリ, カテゴリー, 答え, 分類結果, 解答
레이블, 라벨, 분류, 카테고리, 답, 답변, 정답, 결과
التصنيف, الإجابة, الاجابة, الجواب, الفئة, التسمية, الوسم, النتيجة
پاسخ, برچسب, دسته, جواب, תשובה, תווית, קטגוריה, סיווג
लेबल, श्रेणी, उत्तर, वर्ग, উত্তর, লেবেল, பதில், คำตอบ, ป้ายกำกับ, หมวดหมู่
"""
_OPENING_WORDS = """
the, my, final, correct, best, predicted, assigned, chosen, selected, overall, most, appropriate, suitable, likely
der, die, das, mein, meine, finale, endgültige, richtige, korrekte, passende
le, la, l, les, ma, mon, finale, correcte, bonne
el, mi, final, correcta, correcto, o, a, minha, il, lo, mia, corretta, de, het, juiste
итоговый, итоговая, правильный, правильная, окончательный, 最終, 최종
"""
_CLOSING_WORDS = "is, ist, lautet, est, es, é, è, är, er, on, είναι, это"

# What a label may be by its nature. Such a key also stands beside a label, so it counts only where nothing else does.
_KIND_WORDS = """
rating, score, stars, grade, language, age, age group, priority, severity, urgency, tone, emotion, mood, stance
polarity, sentiment score, sentiment rating, star rating, overall rating
bewertung, sprache, langue, note, idioma, puntuación, lingua, taal, язык, оценка, 评分, 语言, 評価, 言語, 점수, 언어
"""
# Chinese, Japanese and Korean put no space there.
_JOINED_BEFORE = ("最终", "最終", "最佳", "正确", "正確", "的")
_JOINED_BEHIND = ("是", "为", "為", "は", "은", "는")
_CHINESE = re.compile(
    "(?:因此|所以)?[,，]?(?:(?:根据|基于)(?:该|此|这个|这条|提供的|给定的)?(?:文本|消息|评论|邮件)?(?:的?内容)?[,，])?"
    "(?:(?:该|此|这个|这条|这段|本)(?:文本|消息|评论|句子|内容|邮件|问题)的?)?"
    "(?:应该?|应当|可以?|可|被)*(?:被|的)?(?:正确|最终|最佳)?(?:分类|归类|标签|类别|标注|情感|意图)(?:结果|标签)?(?:是|为|應為|应为)?"
)


def listed(words: str) -> frozenset[str]:
    """The entries of a list: one between each two commas or ends of lines."""
    return frozenset(word.strip() for line in words.strip().splitlines() for word in line.split(","))


LABEL_WORDS = listed(_LABEL_WORDS)
_KINDS = listed(_KIND_WORDS)
_OPENING = listed(_OPENING_WORDS)
_CLOSING = listed(_CLOSING_WORDS)
_LONGEST = 40

# A text with one of these speaks of a label without giving it.
_DENIALS = listed("""
not, no, nor, neither, never, none, nothing, nobody, cannot, cant, dont, doesnt, isnt, without, except, excluding, wrong
incorrect, false, unlike, rather, exclude, excluded, rejected, unable, impossible, unsure, uncertain, unclear, hardly
nicht, kein, keine, keiner, keinen, keinem, keines, weder, noch, nie, niemals, nein, ohne, außer, ausser, falsch
pas, non, ni, jamais, aucun, aucune, sans, sauf, faux, guère, ne
nunca, jamás, tampoco, ningún, ninguno, ninguna, sin, excepto, falso, incorrecto
não, nao, nem, jamais, nenhum, nenhuma, sem, exceto
né, mai, nessun, nessuno, nessuna, senza, tranne, sbagliato
niet, geen, nooit, zonder, behalve, inte, ej, icke, ingen, inget, aldrig, utan, ikke, aldri, intet, ei, eivät, eikä
nie, nigdy, bez, żaden, żadna, ne, není, nejsou, nikoli, nikoliv, nikdy, žádný, nije, nisu, nikada, nu, nici, niciodată
nem, nincs, sem, soha, nėra, nav, pole, ez, cap
не, нет, ни, никогда, без, кроме, неверно, немає, ні, няма, нито, δεν, όχι, μη, ούτε, ποτέ, χωρίς
değil, değildir, hayır, yok, hiç, không, chưa, chẳng, tidak, bukan, tak, jangan, tanpa, si, hapana, hindi, wala
ليس, ليست, لا, لم, لن, غير, بدون, نه, نیست, نیستند, לא, אין, אינו, אינה, בלי, نہیں
नहीं, न, मत, ना, না, নয়, নেই, இல்லை, அல்ல, కాదు, ಅಲ್ಲ, അല്ല
""")
_DENYING_PARTS = (
    *("不", "没", "沒", "无", "無", "非", "否", "未", "别", "除了", "错误", "錯誤"),
    *("ない", "ません", "なく", "せん", "違", "아니", "않", "없", "말고", "못", "ไม่", "มิใช่"),
)

# With one of these an answer takes back what it said.
_RETRACTIONS = listed("""
wait, actually, correction, scratch, oops, hmm, mistaken, reconsider, reconsidering, edit, update, revised, retracted
withdrawn, revoked, discarded, invalid
warte, halt, korrektur, eigentlich, attends, attendez, espera, espere, corrección, correção, aspetta, anzi, correzione
wacht, correctie, vänta, vent, czekaj, korekta, подождите, подожди, точнее, вернее, исправление, bekle, chờ, tunggu
""")
_RETRACTING_PARTS = (
    *("hold on", "strike that", "ignore that", "that back", "joke", "never mind", "disregard", "my bad"),
    *("second thought", "trompe", "sbaglio", "nehme das zurück", "me equivoco", "me equivoqué", "engano-me"),
    *("等等", "等一下", "更正", "应该是", "應該是", "待って", "訂正", "잠깐", "정정"),
)

# In prose behind a label these may take it back too.
_CONTRASTS = listed("""
but, however, although, though, instead, else, should, would, must, better
can, may, will, shall, opposite, ignore, sarcastic, sarcasm
ironic, ironically, irony, joking, joke, kidding, reverse, test, placeholder, empty
missing, failed, misleading, sorry, mistake, might, maybe, perhaps, could, aber, jedoch, sondern, doch
vielleicht, stattdessen, mais, plutôt, peut, désolé, erreur, pero, sino, quizás, error, mas, talvez, erro, ma, però
forse, errore, maar, misschien, men, kanske, ale, jednak, może, но, однако, возможно, ошибка, ama, belki, nhưng, tapi
""")
_CONTRASTING_PARTS = ("但", "而是", "可能", "也许", "或许", "しかし", "かもしれ", "하지만", "아마")

# With one of these a text puts what follows as an example, a possibility or a quotation.
_POSSIBILITIES = listed("""
example, instance, format, possible, possibly, either, between, options, candidates, choices, maybe, perhaps, wrote
quotes, quote, translation, summary, übersetzung, wort, mot, palabra, palavra, parola, слово, word
template, schema, sample, vorlage, formatvorlage, modèle, plantilla, modelo, шаблон
beispiel, möglich, vielleicht, entweder, exemple, possible, ejemplo, posible, quizás, exemplo, possível, talvez
esempio, possibile, forse, voorbeeld, misschien, пример, например, возможно, örnek, contoh
""")
_POSSIBLE_PARTS = ("模板", "格式", "例如", "比如", "可能", "选项", "たとえば", "例えば", "예를")


def announces(head: str) -> bool:
    """Whether what stands before a colon says that the label follows: `The label is`, `Réponse`, `最终标签`."""
    if len(head) > _LONGEST:
        return False
    said = _core(head)
    if said in LABEL_WORDS or _CHINESE.fullmatch(said):
        return True
    for before in _JOINED_BEFORE:
        said = said.removeprefix(before)
    for behind in _JOINED_BEHIND:
        said = said.removesuffix(behind)
    return said in LABEL_WORDS


def announces_kind(head: str) -> bool:
    """Whether what stands before a colon names what labels may be, which is their key if there is no other."""
    return len(head) <= _LONGEST and _core(head) in _KINDS


def _core(head: str) -> str:
    """What stands before a colon, without the words around its noun."""
    words = re.sub(r"[_'’]", " ", head.casefold()).split()
    while len(words) > 1 and words[0] in _OPENING:
        del words[0]
    while len(words) > 1 and words[-1] in _CLOSING:
        del words[-1]
    return " ".join(words)


def denies(text: str) -> bool:
    """Whether there is a word of denial in a text."""
    words = words_in(text)
    short = any(word.endswith("n't") or word.startswith("n'") for word in words)
    return short or _has(text, words, _DENIALS, _DENYING_PARTS)


def retracts(text: str) -> bool:
    """Whether there is a word in a text with which one takes back what was said before."""
    return _has(text, words_in(text), _RETRACTIONS, _RETRACTING_PARTS)


def contrasts(text: str) -> bool:
    """Whether there is a word in a text that may set it against what was said before."""
    return _has(text, words_in(text), _CONTRASTS, _CONTRASTING_PARTS)


def supposes(text: str) -> bool:
    """Whether a text puts what follows as an example, a possibility or a quotation."""
    return _has(text, words_in(text), _POSSIBILITIES, _POSSIBLE_PARTS)


def _has(text: str, words: set[str], listed: frozenset[str], parts: tuple[str, ...]) -> bool:
    return not listed.isdisjoint(words) or any(part in text.casefold() for part in parts)


def words_in(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return {word.strip("'") for word in _WORD.findall(text.casefold().replace("’", "'"))}
