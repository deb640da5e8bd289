"""How an answer ended, by the finish_reason that came with it.

Only an answer that ended by itself is one. The values are those that endpoints behind the OpenAI API really send:
OpenAI's own; Anthropic's and Gemini's where a gateway passes them on; those of single providers, named below.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache


class Ended(Enum):
    """How an answer ended."""

    WHOLE = "whole"  # the model said all it wanted to say
    CUT = "cut"  # it met a limit on its length
    WITHHELD = "withheld"  # a filter, or the model itself, held it back
    BROKEN = "broken"  # the provider broke it off: it is worth asking again
    UNKNOWN = "unknown"  # a value of no list: nobody knows whether the answer is whole


_REASONS: dict[str, Ended] = {
    "": Ended.WHOLE,  # as null: servers that send no reason
    "stop": Ended.WHOLE,
    "eos": Ended.WHOLE,  # Together
    "eos_token": Ended.WHOLE,  # Text Generation Inference, watsonx
    "end_turn": Ended.WHOLE,  # Anthropic
    "stop_sequence": Ended.WHOLE,  # Anthropic, Text Generation Inference
    "complete": Ended.WHOLE,  # Cohere
    "completed": Ended.WHOLE,  # OpenAI's Responses, through gateways
    "length": Ended.CUT,
    "max_tokens": Ended.CUT,  # Anthropic, Gemini, Cohere
    "max_output_tokens": Ended.CUT,  # OpenAI's Responses, through gateways
    "max_length": Ended.CUT,
    "model_length": Ended.CUT,  # Mistral, Perplexity
    "model_context_window_exceeded": Ended.CUT,  # Anthropic, Zhipu
    "context_length_exceeded": Ended.CUT,
    "token_limit": Ended.CUT,  # watsonx
    "time_limit": Ended.CUT,  # watsonx
    "error_limit": Ended.CUT,  # Cohere: the context is full
    "sensitive": Ended.WITHHELD,  # Zhipu
    "safety": Ended.WITHHELD,  # Gemini, as the next six
    "recitation": Ended.WITHHELD,
    "blocklist": Ended.WITHHELD,
    "prohibited_content": Ended.WITHHELD,
    "spii": Ended.WITHHELD,
    "image_safety": Ended.WITHHELD,
    "language": Ended.WITHHELD,
    "refusal": Ended.WITHHELD,  # Anthropic
    "guardrail_intervened": Ended.WITHHELD,  # Bedrock
    "error_toxic": Ended.WITHHELD,  # Cohere
    "error": Ended.BROKEN,  # OpenRouter
    "network_error": Ended.BROKEN,  # Zhipu
    "insufficient_system_resource": Ended.BROKEN,  # DeepSeek
    "cancelled": Ended.BROKEN,  # watsonx
    "canceled": Ended.BROKEN,
    "user_cancel": Ended.BROKEN,  # Cohere
    "timeout": Ended.BROKEN,
}

_BEGINNINGS: tuple[tuple[str, Ended], ...] = (
    ("content_filter", Ended.WITHHELD),  # also "content_filter: PROHIBITED_CONTENT" (Gemini), "content_filtered"
    ("abort", Ended.BROKEN),  # abort, aborted: vLLM, SGLang
)


@lru_cache(256)  # the same few come again and again
def how_it_ended(finish_reason: str | None) -> Ended:
    """How the answer with this finish_reason ended. Capitals do not count, nor a `-` for a `_`."""
    reason = (finish_reason or "").strip().casefold().replace("-", "_").removeprefix("finish_reason_")
    known = _REASONS.get(reason)
    if known is not None:
        return known
    return next((ended for beginning, ended in _BEGINNINGS if reason.startswith(beginning)), Ended.UNKNOWN)
