"""The page on which anybody tries a model: choose it, let it make an image, see the nearest training image.

Built with Gradio and served by it. Nothing is loaded from elsewhere: no fonts, no analytics, no links that share; a
content security policy holds the browser to that. Visitors choose a seed and press buttons; what they may ask for is
bounded on this side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from countermark.core.progress import Progress
from countermark.errors import CountermarkError, InputError, require
from countermark.i18n import LANGUAGES, tr
from countermark.web.cases import MANY, MOST_SEED, Case, Visit, draw
from countermark.web.panels import STYLE, Say, about, choice, copies, finding, heading

_FONTS = ["system-ui", "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"]
_TONGUES = {"en": "English", "zh": "中文"}
_WAITING = 16
_HOUR = 3600
#: Gradio's pages hold scripts of their own inline and compile templates; everything comes from the page's own server.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)

Visits = dict[int, Visit]


def build(cases: Sequence[Case], *, lang: str | None = None) -> Any:
    """Return the page as ``gradio.Blocks``, to be launched with ``launch``.

    Args:
        cases: to choose from, the first one chosen; at least one.
        lang: that the page begins in; None for what the visitor's browser asks for.

    Raises:
        InputError: no cases.
        MissingExtra: Gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    gradio = require("gradio", "serve")
    if not cases:
        raise InputError("there is no model to show", hint="Name one with --model or --case.")
    first = lang or LANGUAGES[0]
    say = _speaker(first)
    with gradio.Blocks(title="Countermark", analytics_enabled=False) as page:
        visits = gradio.State({}, time_to_live=_HOUR)
        with gradio.Row():
            head = gradio.HTML(heading(say), elem_id="head")
            tongue = gradio.Radio(
                [(name, tag) for tag, name in _TONGUES.items()],
                value=first,
                label="Language / 语言",
                show_label=False,
                container=False,
                scale=0,
                min_width=190,
                elem_id="language",
            )
        chosen = gradio.Radio(
            [(case.name, number) for number, case in enumerate(cases)],
            value=0,
            label=choice(say),
            elem_id="model",
        )
        known = gradio.HTML(about(say, cases[0]), elem_id="about")
        with gradio.Row(equal_height=True):
            seed = gradio.Number(0, label=_seed(say), precision=0, elem_id="seed")
            one = gradio.Button(_one(say), variant="primary", elem_id="one")
            many = gradio.Button(_many(say), elem_id="many")
        found = gradio.HTML(finding(say, cases[0], Visit()), elem_id="finding", min_height=120)
        listed = gradio.HTML(copies(say, cases[0], Visit()), elem_id="copies")
        shown = [head, chosen, known, seed, one, many, found, listed]

        def show(visits: Visits, tongue: str, chosen: int) -> list[Any]:
            say, number = _speaker(_tongue(tongue)), _number(chosen, cases)
            case, visit = cases[number], visits.get(number, Visit())
            return [
                heading(say),
                gradio.update(label=choice(say)),
                about(say, case),
                gradio.update(label=_seed(say)),
                gradio.update(value=_one(say)),
                gradio.update(value=_many(say)),
                finding(say, case, visit),
                copies(say, case, visit),
            ]

        def drawing(count: int) -> Callable[..., tuple[Visits, int]]:
            def press(
                visits: Visits,
                tongue: str,
                chosen: int,
                seed: float,
                bar: Any = gradio.Progress(),  # noqa: B008
            ) -> tuple[Visits, int]:
                number, wanted = _number(chosen, cases), _whole(seed)
                try:
                    visit = draw(cases[number], visits.get(number, Visit()), wanted, count, progress=_tell(bar))
                except CountermarkError as error:
                    words = tr(error.template, _tongue(tongue), **error.params)
                    raise gradio.Error(words, title="Countermark", print_exception=False) from error
                return {**visits, number: visit}, min(wanted + 1, MOST_SEED)

            return press

        def arrive(request: Any) -> str:
            return lang or _asked(str(request.headers.get("accept-language", "")))

        arrive.__annotations__["request"] = gradio.Request  # Gradio hands it over by its type
        given = {"fn": show, "inputs": [visits, tongue, chosen], "outputs": shown}
        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        tongue.change(**given, **quiet)
        chosen.input(**given, **quiet)
        page.load(arrive, None, tongue, **quiet)
        for button, count in ((one, 1), (many, MANY)):
            button.click(
                drawing(count),
                [visits, tongue, chosen, seed],
                [visits, seed],
                api_visibility="private",
                show_progress_on=[found],
                concurrency_id="draw",
            ).success(**given, **quiet)
    return page.queue(max_size=_WAITING, default_concurrency_limit=1, api_open=False)


def launch(page: Any, *, host: str | None = None, port: int | None = None, block: bool = True) -> str:
    """Serve a page of ``build`` and return its address.

    Args:
        page: the page.
        host: address to listen at; None for ``GRADIO_SERVER_NAME`` or this machine alone.
        port: 0 for any free one; None for ``GRADIO_SERVER_PORT`` or 7860.
        block: until interrupted; otherwise the caller closes the page.

    Raises:
        InputError: the address is taken or not one of this machine.
    """
    gradio = require("gradio", "serve")
    middleware = require("starlette.middleware", "serve")
    theme = gradio.themes.Base(font=_FONTS, font_mono=["ui-monospace", "monospace"], primary_hue="orange")
    try:
        _app, local, _share = page.launch(
            server_name=host,
            server_port=_free_port() if port == 0 else port,
            prevent_thread_lock=not block,
            share=False,
            quiet=True,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size=1,
            state_session_capacity=200,
            theme=theme,
            css=STYLE,
            app_kwargs={"middleware": [middleware.Middleware(_Policy)]},
        )
    except OSError as error:
        raise InputError("cannot serve at {host}:{port}: {reason}", host=host, port=port, reason=error) from error
    return str(local)


def serve(cases: Sequence[Case], *, host: str = "127.0.0.1", port: int = 7860, lang: str | None = None) -> None:
    """Build the page and serve it until interrupted; see ``build`` and ``launch``."""
    launch(build(cases, lang=lang), host=host, port=port)


class _Policy:
    """ASGI middleware that adds the content security policy to every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def add(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(b"content-security-policy", _POLICY.encode()), (b"referrer-policy", b"no-referrer")]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self._app(scope, receive, add)


def _speaker(lang: str) -> Say:
    def say(template: str, /, **params: object) -> str:
        return tr(template, lang, **params)

    return say


def _seed(say: Say) -> str:
    return say("2. Seed: the same seed gives the same image")


def _one(say: Say) -> str:
    return say("Make an image")


def _many(say: Say) -> str:
    return say("Make {count} images", count=MANY)


def _tongue(value: object) -> str:
    return value if isinstance(value, str) and value in LANGUAGES else LANGUAGES[0]


def _asked(header: str) -> str:
    """Return the language that a browser asks for first, of those we speak."""
    return next((tag for tag in LANGUAGES if header.lower().startswith(tag)), LANGUAGES[0])


def _number(value: object, cases: Sequence[Case]) -> int:
    return value if type(value) is int and 0 <= value < len(cases) else 0


def _whole(value: object) -> int:
    """Return a seed as it was meant; out of range where it is none, so that ``draw`` refuses it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_SEED:
        return -1
    return int(value) if value == int(value) else -1


def _tell(bar: Any) -> Progress:
    def tell(done: int, total: int, _unit: str) -> None:
        bar((done, total))

    return tell


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
