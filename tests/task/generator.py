"""Answers as models give them, each with the label a person would take from it, or None.

What is right follows from the meaning of each form, and not from how answers are read. Where a person could take an
answer for either of two labels, it gives none.

    python -m tests.task.generator 1000000 [SEED]

prints how many were read wrongly (a label that is not the right one) and how many were refused that have a label.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from batchjob.task.labels import LabelSet

LABEL_SETS: list[tuple[str, ...]] = [
    ("billing", "refund", "other"),
    ("card_arrival", "change_pin", "exchange_rate", "Refund_not_showing_up", "other"),
    ("Technical support", "Sales question", "Complaint about staff"),
    # one label begins, ends or is inside another
    ("card", "card arrival", "card arrival estimate", "arrival"),
    ("new", "york", "new_york"),
    ("spam", "not spam"),
    ("refund", "non-refund", "no refund"),
    # signs, digits, decimals
    ("-1", "0", "1"),
    ("+1", "-1"),
    ("0", "1"),
    ("1", "2", "3", "4", "5"),
    ("0.5", "5", "50", "5%"),
    ("A+", "A", "A-", "B+"),
    ("C", "C#", "C++", "Java"),
    ("<18", "18-65", ">65"),
    ("score_-1", "score_0", "score_1"),
    ("01", "02", "10"),
    # short and common words
    ("HR", "IT", "Finance"),
    ("en", "de", "it", "no", "is"),
    ("A", "B", "C", "D"),
    ("yes", "no", "maybe"),
    ("in", "out"),
    ("I", "you", "we"),
    ("help request", "complaint", "information", "other"),
    ("US", "us", "other"),
    ("none", "not", "answer", "label"),
    ("true", "false"),
    # other scripts
    ("账单", "退款", "其他"),
    ("счета", "возврат", "другое"),
    ("請求", "返金", "その他"),
    ("청구", "환불", "기타"),
    ("فواتير", "استرداد", "أخرى"),
    ("बिलिंग", "वापसी", "अन्य"),
    ("λογαριασμός", "επιστροφή", "άλλο"),
    ("Straße", "Größe", "Äußeres"),
    ("positiv", "negativ", "neutral"),
    ("positif", "négatif", "neutre"),
    # symbols
    (":)", ":(", ":|"),
    ("👍", "👎", "🤷"),
    ("★", "★★", "★★★"),
    ("*", "**", "***"),
    ("+", "-", "="),
    ("!", "!!", "?"),
    ("<3", "</3"),
    # nearly the same
    ("Yes", "Yes!", "No"),
    ("(a)", "a", "b"),
    ("Type 1", "Type-1", "Type_1", "Type 2"),
    ("re-sign", "resign"),
    ("m2", "m²", "m3"),
    ("resume", "résumé"),
    ("1. billing", "2. refund"),
    ("topic: billing", "billing", "topic: refund"),
    ("<think>", "</think>", "<p>"),
]

DENIABLE = [labels for labels in LABEL_SETS if not {"not spam", "no refund"} & {*labels}]
"""Where a label is a denial, a denial may be a label."""

ABOUT = (
    "The customer asks about a charge on the statement.",
    "This message mentions a payment and asks for an explanation. Someone is unhappy.",
    "Der Text handelt von einer Zahlung.",
    "Le client demande des explications.",
    "El cliente pregunta por un cargo.",
    "Клиент спрашивает о платеже.",
    "客户在询问一笔费用。",
    "お客様は料金について尋ねています。",
)
# What is said in prose; a person understands x, and a reader may as well refuse.
PROSE = (
    "It is {x}.",
    "The text is about {x}, I would say.",
    "I think this one belongs to {x} because of its second sentence.",
    "The answer is **{x}**.",
    "The label for this text is `{x}`",
    "Das gehört zu {x}.",
    "Ich würde {x} wählen.",
    "C'est plutôt {x} à mon avis.",
    "Creo que es {x}.",
    "Penso che sia {x}.",
    "Acho que é {x}.",
    "Думаю, это {x}.",
    "我认为是{x}。",
    "これは{x}だと思います。",
    "이 글은 {x}에 해당합니다.",
    "أعتقد أنها {x}.",
    "Sanırım bu {x}.",
    "Myślę, że to {x}.",
)
# What holds common words and speaks of no label.
TALK = (
    "It seems to be about payroll.",
    "It is unclear from the message.",
    "This is a question about cards.",
    "A customer wants a refund, so option two",
    "It looks like German.",
    "The text contains no words.",
    "This is Portuguese",
    "Please provide more information so I can classify this text.",
    "On the other hand, the customer is happy",
    "I'm unable to classify this; could you share the complaint?",
    "I'm sorry, but I can't help with that.",
    "As an AI, I have no opinion. You decide!",
    "Es ist in diesem Text nicht zu erkennen.",
    "Je ne sais pas; il n'y a pas assez d'informations.",
    "No hay suficiente información en el texto.",
    "Нет, я так сказать не могу.",
    "无法判断，其他信息不足。",
    "I rate this 4.5 out of 5",
    "5/10",
    "unknown",
    "N.A.",
    "",
    "\n",
    "...",
    "42",
    "we",
    "What do you want me to do with it?",
    "Which of these is it?\n\nI cannot tell.",
    "Label:",
    "Label: the text is in English",
    "{}",
    "[]",
    '{"label": null}',
    "**Analysis**\n\nIt is too short.",
)
DENIED = (
    "not {x}",
    "Not {x}.",
    "This is not {x}.",
    "It isn't {x}",
    "Definitely no {x} here",
    "Neither {x} nor {y}.",
    "Neither {x} nor {y}",
    "Anything but {x}",
    "none, although {x} comes close",
    "nicht {x}",
    "Das ist kein {x}.",
    "Weder {x} noch {y}",
    "pas {x}",
    "Ce n'est pas {x}.",
    "no es {x}",
    "Não é {x}.",
    "non è {x}",
    "это не {x}",
    "не {x}",
    "不是{x}",
    "并非{x}。",
    "{x}ではありません",
    "{x} 아님",
    "ليس {x}",
    "{x} değil",
    "to nie jest {x}",
    "niet {x}",
    "inte {x}",
    "{x} नहीं",
    "Label: not {x}",
    "Label: no {x}",
    "Antwort: nicht {x}",
    "标签：不是{x}",
    "Ответ: не {x}",
    "Wrong label: {x}",
    "Not the label: {x}",
    "Falsches Etikett: {x}",
    "~~{x}~~",
    "{x}? No.",
    "{x}?",
    "This is not:\n\n{x}",
    "The label that does not fit is:\n\n{x}",
    "It is everything except\n\n{x}",
    "I would never call this\n**{x}**",
    "Das ist nicht:\n\n{x}",
    "Ce n'est pas :\n\n{x}",
    "Esto no es:\n\n{x}",
    "Это не:\n\n{x}",
    "这不是：\n\n{x}",
    "次のものではありません：\n\n{x}",
    "For example:\n\n{x}",
    "Possible labels:\n- {x}",
    "It would be wrong to say:\n<label>{x}</label>",
    'Please do not answer:\n{{"label": {jx}}}',
    '{{"not": {jx}}}',
    '{{"excluded_label": {jx}, "note": "none fits"}}',
    '{{"label": {jnotx}}}',
    "Label: {x}\n\nWait, that is wrong.",
    "Label: {x}\nNo, I take that back.",
    "**{x}**\n\nThis one does not fit.",
    "**{x}**: the text is about something else.",
    '{{"label": {jx}}}\n\nActually, I am not sure at all.',
    "Kategorie: {x}\nNein, das stimmt nicht.",
    "标签：{x}\n不对，应该重新判断。",
)
# The first part denies another label, or only thinks about it.
DENIED_ABOVE = (
    "This is not {y}.\n\n{x}",
    "Not {y}.\n\n{x}",
    "not {y}\n\n{x}",
    "It is not about {y}, nor about anything like it.\n\n**{x}**",
    "One might think of {y}. It does not fit.\n\n{x}",
    "Das ist nicht {y}.\n\n{x}",
    "Ce n'est pas {y}.\n\n{x}",
    "Это не {y}.\n\n{x}",
    "这不是{y}。\n\n{x}",
    "It isn't {y}!\nLabel: {x}",
    "No es {y}.\nRespuesta: {x}",
)
TWO = (
    "{x} or {y}",
    "{x}, {y}",
    "{x}/{y}",
    "{x} and {y}",
    "{x} und {y}",
    "{x}\n{y}",
    "{x}\n\n{y}",
    "**{x}**\n**{y}**",
    "**{x}** or **{y}**",
    "**{x}**\n\nThat, or\n\n**{y}**",
    '"{x}"\n"{y}"',
    "- {x}\n- {y}",
    "1. {x}\n2. {y}",
    "Label: {x}\nLabel: {y}",
    "Label: {x}, {y}",
    "Label: {x} or {y}",
    "Label: {x}\n\n{y}",
    "Kategorie: {x}\nAntwort: {y}",
    "\\boxed{{{x}}}\n\\boxed{{{y}}}",
    "<label>{x}</label><label>{y}</label>",
    "<label>{x}</label>\n\n{y}",
    "[{jx}, {jy}]",
    '{{"label": [{jx}, {jy}]}}',
    '{{"label": {jx}, "label": {jy}}}',
    '{{"label": {jx}}}\n{{"label": {jy}}}',
    '{{"first": {jx}, "second": {jy}}}',
    "{x}\n</think>\n{x} or {y}",
)
KEYS = (
    "{{{jx}: true}}",
    "{{{jx}: 0.9, {jy}: 0.1}}",
    "{{{jx}: {{}}}}",
    '{{"reason": {jx}}}',
    '{{"explanation": "It speaks of {{}}", "why": {jx}}}',
    '{{"label": null, "reason": {jx}}}',
    '{{"label": "unsure", "candidate": {jx}}}',
    '{{"label": "", "text": {jx}}}',
)
SAID = (
    "{x}",
    "{x}\n",
    "  {x} ",
    "{x}.",
    '"{x}"',
    "'{x}'",
    "“{x}”",
    "«{x}»",
    "「{x}」",
    "`{x}`",
    "**{x}**",
    "*{x}*",
    "**{x}**.",
    '"{x}."',
    "[{x}]",
    "```\n{x}\n```",
    "```text\n{x}\n```",
    "\\boxed{{{x}}}",
    "[{jx}]",
    '{{"label": {jx}}}',
    '```json\n{{"label": {jx}}}\n```',
    '{{"category": {jx}}}',
    "{{'label': '{x}'}}",
    '{{"label": {jx}, "confidence": 0.93, "reason": "It is not {y}."}}',
    '{{\n  "reason": "{y} does not fit",\n  "label": {jx}\n}}',
    '[{{"label": {jx}}}]',
    '{{"1": {jx}}}',
    "<label>{x}</label>",
    "<label>\n{x}\n</label>",
    "<answer><label>{x}</label></answer>",
    "Label: {x}",
    "**Label:** {x}",
    "**Label**: **{x}**",
    "label: {x}\nreason: it does not speak of {y}",
    "Label:\n{x}",
    "The label is: {x}.",
    "Final answer: {x}",
    "The final answer is: $\\boxed{{{x}}}$",
    "Category: **{x}**",
    "Answer: {x}",
    "Réponse : {x}",
    "Étiquette : « {x} »",
    "Antwort: {x}",
    "Kategorie: „{x}“",
    "Respuesta: {x}",
    "Etiqueta: {x}",
    "Resposta: {x}",
    "Risposta: {x}",
    "Ответ: {x}",
    "Категория: «{x}»",
    "标签：{x}",
    "分类：{x}",
    "答案：{x}",
    "答え：{x}",
    "ラベル：「{x}」",
    "정답: {x}",
    "분류: {x}",
    "التصنيف: {x}",
    "Etiket: {x}",
    "Odpowiedź: {x}",
    "Antwoord: {x}",
    "Nhãn: {x}",
    "उत्तर: {x}",
    "{x}<|im_end|>",
)
REASONED = (
    "{about}\n\n{x}",
    "{about}\n\n**{x}**",
    "{about}\n\nLabel: {x}",
    "{about}\nFinal answer: {x}",
    "{about} So the best fit is:\n\n{x}",
    "{about}\n\n\\[\n\\boxed{{{x}}}\n\\]",
    '{about}\n\n```json\n{{"label": {jx}}}\n```',
    "{about}\n\n<label>{x}</label>",
    "Label: {x}\n\n{about}",
    "**{x}**\n\n{about}",
    "{x}\n\n{about}",
    "{x} - {about}",
    "{about} The label is {x}.",
)
THOUGHT = (
    "<think>\n{about} Maybe {y}? No, {x}.\n</think>\n\n{x}",
    "{about} It could be {y}.\n</think>\n\n{x}",
    "<thinking>{y}?</thinking>{x}",
    "<thought>\n{y}\n\n{y}\n</thought>\n{x}",
    "<reasoning>Label: {y}</reasoning>\n\nLabel: {x}",
    "[THINK]{about}[/THINK]{x}",
    "<|channel|>analysis<|message|>{y}?<|end|><|start|>assistant<|channel|>final<|message|>{x}",
    "analysis{about} Perhaps {y}.assistantfinal{x}",
    "<think></think>{x}",
    "<think>{y}</think><think>\n{about}\n</think>\n\n**{x}**",
)
CUT_THOUGHT = (
    "<think>{about} The customer may want {x}",
    "<think>\n{x}",
    "<think>\n{about}\n\n{x}",
    "<thinking>\nLabel: {x}",
    "[THINK]{about}\n\n**{x}**",
    "<|channel|>analysis<|message|>{about}\n\n{x}",
    "<think>{about}</think>\n<think>\n\n{x}",
    "{x}\n</think>\n\nunsure",
    "{about}\n\n{x}\n</think>\n",
    "<think>\n{x}\n</think>\n\nIt is not clear at all.",
)


class Case(NamedTuple):
    labels: tuple[str, ...]
    answer: str
    right: str | None
    form: str


_Chance = random.Random
_Make = Callable[[_Chance, tuple[str, ...], str, str], tuple[str, str | None]]


def _of(templates: tuple[str, ...], *, gives: bool) -> _Make:
    """A form made of templates, of which each says x, or says none."""

    def make(chance: _Chance, labels: tuple[str, ...], x: str, y: str) -> tuple[str, str | None]:
        template = chance.choice(templates)
        jx, jy, jnotx = (json.dumps(text, ensure_ascii=chance.random() < 0.3) for text in (x, y, f"not {x}"))
        answer = template.format(x=x, y=y, jx=jx, jy=jy, jnotx=jnotx, about=chance.choice(ABOUT))
        return answer, x if gives else None

    return make


def _respelled(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    """The label in other capitals, or with other signs between its words, alone or in a form that gives it."""
    changes: list[Callable[[str], str]] = [
        *(str.upper, str.lower, str.title, str.capitalize, str.swapcase),
        *(
            lambda text: text.replace("_", " "),
            lambda text: text.replace(" ", "_"),
            lambda text: text.replace(" ", "  "),
        ),
        lambda text: text.replace("-", "_") if not any(letter.isdigit() for letter in text) else text,
    ]
    said = chance.choice(changes)(x)
    answer, _ = _of(SAID, gives=True)(chance, labels, said, said)
    return answer, _heard(labels, said)


def _altered(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    """The label with a sign, a digit or a symbol more, less or other than it has: another answer."""
    mirrored = x.translate(str.maketrans("()<>+-", ")(><-+"))
    said = chance.choice(
        [
            *(f"-{x}", f"+{x}", f"<{x}", f">{x}", f"{x}+", f"{x}-", f"{x}#", f"{x}%", f"{x}/10", f"{x}.5", f"0.{x}"),
            *(
                f"{x}{x}",
                f"{x}0",
                f"{x}²",
                f"~{x}",
                f"!{x}",
                f"{x}*",
                f"${x}",
                f"{x}=",
                f"≥{x}",
                f"- {x[1:]}",
                mirrored,
            ),
            *(x[1:], x[:-1], f"{x}s", f"un{x}"),
        ]
    )
    inner = said.strip()
    wrap = chance.choice(("{}", "{}", "**{}**", "Label: {}", '{{"label": "{}"}}', "So:\n\n{}"))
    return wrap.format(said), inner if inner in labels else _heard(labels, inner) if inner != mirrored else None


def _talk(chance: _Chance, labels: tuple[str, ...], x: str, _: str) -> tuple[str, str | None]:
    talk = chance.choice(TALK)
    return talk, _heard(labels, talk.strip().rstrip("."))


def _heard(labels: tuple[str, ...], said: str) -> str | None:
    """The label a person hears in something said alone: the only one that is alike, in the closest of these ways."""
    for sounds in (_evenly_spaced, str.casefold, _sounds):
        alike = [label for label in labels if sounds(label) == sounds(said)]
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _evenly_spaced(text: str) -> str:
    return " ".join(text.split())


def _sounds(text: str) -> str:
    """A text without capitals, and with one sign between its words; a `-` beside a digit belongs to it."""
    return re.sub(r"[ _]+|(?<=[^\W\d])-(?=[^\W\d])", " ", text.casefold())


FORMS: dict[str, tuple[_Make, int]] = {
    "said": (_of(SAID, gives=True), 20),
    "respelled": (_respelled, 10),
    "reasoned": (_of(REASONED, gives=True), 10),
    "thought": (_of(THOUGHT, gives=True), 8),
    "denied above": (_of(DENIED_ABOVE, gives=True), 8),
    "prose": (_of(PROSE, gives=True), 8),
    "talk": (_talk, 8),
    "denied": (_of(DENIED, gives=False), 14),
    "two": (_of(TWO, gives=False), 10),
    "altered": (_altered, 12),
    "as a key": (_of(KEYS, gives=False), 6),
    "cut thought": (_of(CUT_THOUGHT, gives=False), 8),
}


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """So many cases; the same for the same seed."""
    chance = random.Random(seed)
    forms, weights = list(FORMS), [weight for _, weight in FORMS.values()]
    for form in chance.choices(forms, weights, k=count):
        labels = chance.choice(DENIABLE if form == "denied" else LABEL_SETS)
        x, y = chance.sample(labels, 2)
        answer, right = FORMS[form][0](chance, labels, x, y)
        bare = answer.strip()
        yield Case(labels, answer, bare if bare in labels else right, form)


def main(count: int, seed: int) -> None:
    sets = {labels: LabelSet(labels) for labels in LABEL_SETS}
    asked, refused, wrong = Counter[str](), Counter[str](), Counter[str]()
    shown: dict[str, list[Case]] = {}
    for case in cases(count, seed):
        found = sets[case.labels].read(case.answer)
        if case.right is not None:
            asked[case.form] += 1
        if found is not None and found.label != case.right:
            wrong[case.form] += 1
            shown.setdefault(f"WRONG, {case.form}: {found.label!r}", []).append(case)
        elif found is None and case.right is not None:
            refused[case.form] += 1
            shown.setdefault(f"refused, {case.form}", []).append(case)
    print(f"{count} answers, seed {seed}: {wrong.total()} read wrongly, {refused.total()} of {asked.total()} refused")
    for form in FORMS:
        share = f"{refused[form] / asked[form]:.2%} of {asked[form]} refused" if asked[form] else "none gives a label"
        print(f"  {form:<14}{wrong[form]:>6} wrong   {share}")
    for title, found_cases in sorted(shown.items()):
        for case in found_cases[:: max(1, len(found_cases) // 6)][:6]:
            print(f"{title}: {case.answer!r} in {case.labels}, right: {case.right!r}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
