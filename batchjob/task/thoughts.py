"""A completion's content -> what the model said in it, without what it thought before."""

from __future__ import annotations

import re

_NAMES = "think|thinking|thoughts?|reasoning|scratchpad|seed:think|antthinking"

# The marks of thoughts that a server without a parser for them leaves in the content. Those in the form of a tag are
# of DeepSeek, Qwen, GLM, MiniMax, Seed and EXAONE and of prompts that ask for them; then Mistral's, Kimi's, Cohere's,
# Gemma's, and the Harmony channels of gpt-oss, of which only `final` is for the user.
_MARK = re.compile(
    rf"""(?P<closing></(?:{_NAMES})[ ]*+>|\[/think\]|◁/think▷|<\|end_thinking\|>(?:<\|start_response\|>)?|<channel\|>
           |<\|channel\|>[ ]*+final[^<]*+(?:<\|constrain\|>[^<]*+)?<\|message\|>)
      |(?P<opening><(?:{_NAMES})[ ]*+>|\[think\]|◁think▷|<\|start_thinking\|>|<\|channel>|<\|channel\|>)""",
    re.IGNORECASE | re.VERBOSE,
)
_MARK_OR_QUOTE = re.compile(rf'{_MARK.pattern}|(?P<quote>")|(?P<line>\n)|\\.', _MARK.flags)
_END = re.compile(
    r"(?:<\|(?:return|end|call|end_response|im_end|eot_id|endoftext)\|>|</s>|<end_of_turn>)\s*\Z", re.IGNORECASE
)

# Harmony again, where the server dropped the special tokens and kept the words between them.
_BARE_CHANNELS = ("analysis", "assistantfinal")
_BARE_FINAL = "assistantfinal"


def spoken(content: str) -> str | None:
    """The content without thoughts: what stands behind the last mark that closes one; None where one stays open.

    The mark that opens the thought may be missing, as many chat templates put it into the prompt. A mark behind an open
    double quote on its line is not a mark but quoted text, as in `{"label": "</think>"}`.
    """
    if content.lstrip().startswith(_BARE_CHANNELS) and _BARE_FINAL in content:
        return content.rpartition(_BARE_FINAL)[2]
    if _MARK.search(content) is None:
        return _without_end(content)
    begin, opened, quoted = 0, False, False
    for mark in _MARK_OR_QUOTE.finditer(content):
        if mark["quote"]:
            quoted = not quoted
        elif mark["line"]:
            quoted = False
        elif not quoted and mark["closing"]:
            begin, opened = mark.end(), False
        elif not quoted and mark["opening"]:
            opened = True
    return None if opened else _without_end(content[begin:])


def _without_end(content: str) -> str:
    """The content without the token that ends it, which some servers leave there."""
    return _END.sub("", content) if content.rstrip().endswith(">") else content
