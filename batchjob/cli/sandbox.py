"""batchjob sandbox: the built-in endpoint as a process of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from batchjob.sandbox.settings import SandboxSettings


def _parse_latency(context: click.Context, parameter: click.Parameter, given: str) -> tuple[float, float]:
    low, _, high = given.partition("-")
    try:
        return float(low), float(high or low)
    except ValueError:
        raise click.BadParameter("give seconds, such as 0.1 or 0.05-0.1") from None


def _parse_faults(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, float]:
    faults: dict[str, float] = {}
    for fault in given:
        kind, _, rate = fault.partition("=")
        try:
            faults[kind] = float(rate)
        except ValueError:
            raise click.BadParameter(f"{fault!r}: give KIND=RATE, such as 429=0.05") from None
    return faults


def _parse_labels(context: click.Context, parameter: click.Parameter, given: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in given.split(",") if label.strip())


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 is any free one.")
@click.option(
    "--latency",
    default="0.05-0.1",
    show_default=True,
    callback=_parse_latency,
    help="Seconds an answer takes: one number or a range.",
)
@click.option("--rpm", default=0, show_default=True, help="Requests per window; 0 is no limit.")
@click.option("--tpm", default=0, show_default=True, help="Tokens per window; 0 is no limit.")
@click.option("--window", "window_seconds", default=60.0, show_default=True, help="Seconds of a window.")
@click.option(
    "--window-kind",
    type=click.Choice(["fixed", "sliding"]),
    default="fixed",
    show_default=True,
    help="How the window moves.",
)
@click.option("--ledger", type=click.Path(dir_okay=False), help="Append a JSON line per request to this file.")
@click.option("--idempotent", is_flag=True, help="Replay the answer to a repeated Idempotency-Key, and do not bill it.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=RATE",
    callback=_parse_faults,
    help="What goes wrong, in which share of the requests: 429, 500, 503, html, dropped, cut, slow, null, empty, "
    "length, off_list, prose, refusal, 400, content_filter, context_length, 401, 402, quota. Repeatable.",
)
@click.option(
    "--retry-after", "retry_after_seconds", default=1.0, show_default=True, help="Seconds that 429 and 503 ask for."
)
@click.option("--poison", metavar="REGEX", help="Rows that match always get the --poison-fault.")
@click.option("--poison-fault", metavar="KIND", default="content_filter", show_default=True, help="See --fault.")
@click.option("--poison-model", metavar="NAME", help="Only where this model is asked.  [default: any]")
@click.option("--require-key", "api_key", metavar="KEY", help="Refuse any other API key. A toy key: it is visible.")
@click.option("--model", "models", multiple=True, help="Refuse any other model. Repeatable.")
@click.option("--labels", default="", callback=_parse_labels, help="Labels where a prompt lists none: a,b,c.")
@click.option(
    "--as",
    "tongue",
    metavar="PROVIDER",
    default="",
    help="Speak as this one does: openai-reasoning, azure, deepseek, qwen, openrouter or gemini.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of faults and latencies.")
def command(**options: Any) -> None:
    """Run a local OpenAI-compatible endpoint with a real, small classifier (English only).

    It needs no key and costs nothing. Limits, faults and a billing ledger can be switched on, to see how a job takes
    them. The first line on stdout ends with its address: give that as --base-url. Ctrl-C ends it.
    """
    from batchjob.sandbox.settings import SandboxSettings

    if options["ledger"]:
        _check_ledger(options["ledger"])
    _run(SandboxSettings(**options))


def _check_ledger(path: str) -> None:
    from batchjob.cli.options import database
    from batchjob.files import Target
    from batchjob.jobs.guard import check_written

    check_written(Target("--ledger", path), database(None))


def _run(settings: SandboxSettings) -> None:
    try:
        import uvloop
    except ImportError:  # no wheel for this platform
        asyncio.run(_serve(settings))
    else:
        uvloop.run(_serve(settings))


async def _serve(settings: SandboxSettings) -> None:
    import signal

    from batchjob.sandbox.server import serve

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    sandbox = await serve(settings)
    click.echo(f"sandbox: {sandbox.url}")
    click.echo("labels come from a toy classifier; Ctrl-C ends it", err=True)
    await stopped.wait()
    await sandbox.close()
