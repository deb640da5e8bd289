"""The settings of a job that say who answers, and how that one wants to be asked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from batchjob.settings.declared import ALWAYS, About, Because, Decides

KEY_VARIABLES = ("BATCHJOB_API_KEY", "TOKENHUB_KEY", "OPENAI_API_KEY")
BASE_URL_VARIABLES = ("BATCHJOB_BASE_URL", "OPENAI_BASE_URL")
SANDBOX_URL = "sandbox:"


class EndpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of JobConfig."""

    base_url: Annotated[
        str,
        About(
            "endpoint",
            "Address of the endpoint, such as https://host/v1.",
            "URL",
            example="https://host/v1",
            env=BASE_URL_VARIABLES,
            commands=ALWAYS,
        ),
        Decides(but="what follows a ?"),
    ] = ""
    model: Annotated[
        str,
        About("endpoint", "The model, as the endpoint calls it.", "NAME", example="small-model", commands=ALWAYS),
        Decides(),
    ] = ""
    api_key_env: Annotated[
        str | None,
        About(
            "endpoint",
            "Environment variable that holds the API key; never give the key itself.",
            "NAME",
            f"the first set of {', '.join(KEY_VARIABLES)}",
            "OPENAI_API_KEY",
            commands=ALWAYS,
        ),
        Because("it says who pays"),
    ] = None
    provider: Annotated[
        str | None,
        About(
            "endpoint",
            "Who answers, where the address does not tell: openai, vllm, litellm and others.",
            "NAME",
            "by the address",
            "vllm",
            commands=ALWAYS,
        ),
        Because("labels are remembered under the question as it was sent"),
    ] = None
    auth: Annotated[
        Literal["bearer", "api-key", "x-api-key", "none"] | None,
        About(
            "endpoint",
            "How the key is sent.",
            unset="as the provider wants it, else bearer",
            example="bearer",
            commands=ALWAYS,
        ),
        Because("it says who pays"),
    ] = None
    headers: Annotated[
        dict[str, str],
        About(
            "endpoint",
            "A header of each request; env:VARIABLE as its value for a secret, which is never stored.",
            "NAME=VALUE",
            "none",
            {"X-Title": "labels"},
            commands=ALWAYS,
            flag="--header",
        ),
        Because("it says who asks"),
    ] = {}
    adapt: Annotated[
        bool,
        About(
            "endpoint",
            "Meet a refusal of one of our own parameters by one change, and remember it; else the job stops.",
            commands=ALWAYS,
        ),
        Because("labels are remembered under the question as it was sent"),
    ] = True
    sandbox: Annotated[
        bool,
        About("endpoint", "Ask the built-in endpoint: no key, no cost, toy labels."),
        Because("it stands for a base_url, which decides", then="another job"),
    ] = False
