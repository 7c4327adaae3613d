"""The web application: which path leads to what, and the headers of every answer."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import api
from .refused import RefusedError, missing, wrong
from .runs import Run, Runs
from .watcher import Watcher

_FOLDER = Path(__file__).with_name("static")
# All that a browser gets from there, with its type.
STATIC = {
    "chart.js": "text/javascript",
    "fields.js": "text/javascript",
    "index.js": "text/javascript",
    "machine.js": "text/javascript",
    "run.js": "text/javascript",
    "style.css": "text/css",
}
_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# The page of a machine is one file, with its script and style in it.
_OF_MACHINE = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _OWN,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# What Host a browser may name while the server is on loopback. Another name that leads
# here belongs to a page that tries to read the runs.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

OfRun = Callable[[Request, Run], Response]


def make_app(runs: Runs, watcher: Watcher, *, loopback: bool) -> Starlette:
    """The application.

    Args:
      runs: that it shows.
      watcher: of their checkpoints. Starts and ends with the application.
      loopback: whether only this computer can reach it.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        watcher.start()
        try:
            yield
        finally:
            watcher.close()

    def of_run(answer: OfRun) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return answer(request, runs.get(request.path_params.get("name", "")))

        return endpoint

    async def index(request: Request) -> Response:
        del request
        return JSONResponse(api.index(runs))

    async def list_of_runs(request: Request) -> Response:
        del request
        return file("index.html", "text/html")

    below = "" if runs.single else "/runs/{name:path}"
    endpoints = of_run_endpoints(watcher)
    routes = [Route(below + path, of_run(each)) for path, each in endpoints.items()]
    if not runs.single:
        routes.append(Route("/", list_of_runs))
    routes += [Route("/api/runs", index), Route("/static/{name}", static)]
    hosts = list(LOOPBACK) if loopback else ["*"]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[
            Middleware(WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        ],
        exception_handlers={
            RefusedError: refused,
            HTTPException: refused_by_path,
            Exception: failed,
        },
    )


def of_run_endpoints(watcher: Watcher) -> dict[str, OfRun]:
    """What each path below that of a run answers."""

    def metrics(request: Request, run: Run) -> Response:
        return json_text(api.metrics(run, number(request, "since", -1)))

    def loss(request: Request, run: Run) -> Response:
        return JSONResponse(api.loss(run, number(request, "since", -1)))

    def answer(request: Request, run: Run) -> Response:
        return JSONResponse(api.answer(run, optional_number(request, "step")))

    def checkpoints(request: Request, run: Run) -> Response:
        del request
        return JSONResponse(api.checkpoints(run, watcher.kept(run)))

    def sequence(request: Request, run: Run) -> Response:
        del request
        return json_text(watcher.sequence(run))

    def weights(request: Request, run: Run) -> Response:
        step, content = watcher.weights(run, optional_number(request, "step"))
        name = re.sub(r"[^\w-]", "_", run.title(), flags=re.ASCII)
        headers = {
            "Content-Disposition": f'attachment; filename="{name}_{step}.safetensors"'
        }
        return Response(content, headers=headers, media_type="application/octet-stream")

    def page(request: Request, run: Run) -> Response:
        content = watcher.page(run, optional_number(request, "step"))
        headers = {"Content-Security-Policy": _OF_MACHINE}
        return Response(content, headers=headers, media_type="text/html")

    return {
        "/": lambda request, run: file("run.html", "text/html"),
        "/page": page,
        "/api/answer": answer,
        "/api/checkpoints": checkpoints,
        "/api/config": lambda request, run: JSONResponse(run.config()),
        "/api/loss": loss,
        "/api/metrics": metrics,
        "/api/sequence": sequence,
        "/api/status": lambda request, run: JSONResponse(api.status(run)),
        "/api/weights": weights,
    }


async def static(request: Request) -> Response:
    """A script or the style of the pages."""
    name = request.path_params["name"]
    if name not in STATIC:
        raise missing("path: got no page of this server")
    return file(name, STATIC[name])


def file(name: str, media_type: str) -> Response:
    """One of our files."""
    return Response((_FOLDER / name).read_bytes(), media_type=media_type)


def optional_number(request: Request, name: str) -> int | None:
    """A step in the query; None if it is not given.

    Raises:
      RefusedError: if it is not an integer.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise wrong(f"{name}: got {text[:50]!r}, want an integer")
    return int(text)


def number(request: Request, name: str, default: int) -> int:
    """The same with a default."""
    given = optional_number(request, name)
    return default if given is None else given


def json_text(content: str | bytes) -> Response:
    """An answer that is JSON already."""
    return Response(content, media_type="application/json")


async def refused(request: Request, error: Exception) -> Response:
    """The answer for a `RefusedError`."""
    del request
    status = error.status if isinstance(error, RefusedError) else 500
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"error": str(error)}, status, headers)


async def refused_by_path(request: Request, error: Exception) -> Response:
    """The answer for a path or a method that there is not."""
    del request
    assert isinstance(error, HTTPException)
    words = {404: "path: got no page of this server", 405: "method: want GET"}
    told = words.get(error.status_code, error.detail)
    return JSONResponse({"error": told}, error.status_code, error.headers)


async def failed(request: Request, error: Exception) -> Response:
    """The answer for a fault of ours."""
    del request
    told = f"the server met an error: {type(error).__name__}: {error}"
    return JSONResponse({"error": told}, 500)


class WithHeaders:
    """Adds the headers that every answer has, unless it has its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
