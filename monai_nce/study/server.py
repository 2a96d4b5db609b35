"""Serve a study's pages: readers sign in, see one image at a time beside its scan, and grade it.

All that is sent is in this package and in the study's folder; nothing is fetched from elsewhere. A page may be framed,
scripted or sent to by no other site.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from functools import cache
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StringConstraints
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import monai_nce
from monai_nce.errors import InputError
from monai_nce.study.database import SESSION_SECONDS, NotAllowed, Place, Study

__all__ = ["LOOPBACK", "listen", "serve", "study_app"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BODY = 64 * 1024  # bytes of a request
MAX_COMMENT = 2000
MAX_MARKS = 100
FAILURES, FAILURE_SECONDS = 10, 60  # wrong tokens that one address may send in that time
MAX_ADDRESSES = 1000  # that are remembered for it
OWN = File(__file__).parent
VIEWER = File(monai_nce.__file__).parent / "visualize" / "page"  # not imported: that takes seconds, for two files
# name in the address: file, type
ASSETS = {
    "grade.html": (OWN / "grade.html", "text/html"),
    "grade.css": (OWN / "grade.css", "text/css"),
    "grade.js": (OWN / "grade.js", "text/javascript"),
    "page.css": (VIEWER / "page.css", "text/css"),
    "viewer.js": (VIEWER / "viewer.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
}
ReadingId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Index = Annotated[StrictInt, Field(ge=0, lt=2**15)]


class SignIn(BaseModel):
    """Hold the secret of a reader."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]


class Grade(BaseModel):
    """Hold what a reader says of an image: 1 is excellent, 5 is poor."""

    model_config = ConfigDict(extra="forbid")
    quality: Annotated[StrictInt, Field(ge=1, le=5)]
    artefact: Annotated[StrictInt, Field(ge=1, le=5)]
    looks_real: StrictBool | None = None
    comment: Annotated[
        str, StringConstraints(strict=True, max_length=MAX_COMMENT, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")
    ] = ""
    marks: Annotated[list[tuple[Index, Index, Index]], Field(max_length=MAX_MARKS)] = []
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0


class Guard:
    """Refuse requests for other hosts and of large bodies, and send the headers that a browser guards a page by.

    Args:
        app: what answers the others.
        hosts: names by which the server may be asked; a page elsewhere whose name is made to lead here has another.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app = app
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        refused = self._refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, guarded)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                await _said(413, "the request is too large")(scope, receive, guarded)
                return
            if not message.get("more_body"):
                break
        sent = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def held() -> Message:
            return next(sent, None) or await receive()

        await self.app(scope, held, guarded)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> Response | None:
        host = headers.get(b"host", "")
        if _name(host) not in self.hosts:
            return _said(400, "the study is not known by this name: open the address that it was started with")
        if scope["method"] not in ("GET", "HEAD"):
            # the cookie is not sent from elsewhere either (SameSite); two locks hold where one is left open
            origin = headers.get(b"origin")
            if origin is not None and origin.split("://", 1)[-1] != host:
                return _said(403, "sent from another site")
            if scope["method"] != "DELETE" and headers.get(b"content-type", "").split(";")[0] != "application/json":
                return _said(415, "expected application/json")
        return None


def study_app(study: Study, hosts: tuple[str, ...] = LOOPBACK) -> ASGIApp:
    """Make the server of a study.

    Args:
        study: whose images are graded.
        hosts: names by which it may be asked.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.study = study
    app.state.failures = {}  # when, by address
    app.include_router(ROUTES)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_exception_handler(InputError, lambda _, error: _said(422, str(error)))
    # the same whether it is another reader's image, or nobody's
    app.add_exception_handler(NotAllowed, lambda _, __: _said(404, "no image of this reader to grade now"))
    app.add_exception_handler(HTTPException, _refused)
    return Guard(app, hosts)


def listen(host: str, port: int) -> socket.socket:
    """Take a port, or any with 0.

    Raises:
        InputError: if it is taken, or no address of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "no such port"
        raise InputError(f"{host}:{port}: cannot be listened on ({why}): choose another --port or --host") from error


def serve(study: Study, taken: socket.socket, hosts: tuple[str, ...], certificate: str | None, key: str | None) -> None:
    """Answer on a port until interrupted."""
    import uvicorn

    config = uvicorn.Config(
        study_app(study, hosts),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever sends them could be anybody
        lifespan="off",
        ws="none",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run(sockets=[taken])


ROUTES = APIRouter()


def _study(request: Request) -> Study:
    study: Study = request.app.state.study
    return study


def _cookie(request: Request) -> str:
    """Return the cookie's name: browsers keep them by host, not by port, and each study has its own."""
    return f"nce_study_{_study(request).about['id']}"


def _reader(request: Request) -> int:
    found = _study(request).reader_of(request.cookies.get(_cookie(request), ""))
    if found is None:
        raise HTTPException(401, "not signed in")
    return found


Reader = Annotated[int, Depends(_reader)]


@ROUTES.get("/")
def grading_page() -> Response:
    """Send the page, which holds nothing of the study."""
    return _asset("grade.html")


@ROUTES.get("/assets/{name}")
def asset(name: Literal["grade.css", "grade.js", "page.css", "viewer.js"]) -> Response:
    """Send a part of the page."""
    return _asset(name)


@ROUTES.post("/api/session", status_code=204)
def sign_in(given: SignIn, request: Request, response: Response) -> None:
    """Begin a session of the reader whose token it is."""
    failures: dict[str, deque[float]] = request.app.state.failures
    address = request.client.host if request.client else ""
    recent = failures.setdefault(address, deque(maxlen=FAILURES))
    if len(recent) == FAILURES and time.monotonic() - recent[0] < FAILURE_SECONDS:
        raise HTTPException(429, "too many wrong tokens: wait a minute")
    session = _study(request).sign_in(given.token)
    if session is None:
        if len(failures) > MAX_ADDRESSES:
            failures.clear()
        recent.append(time.monotonic())
        raise HTTPException(401, "this token is not known")
    secure = request.url.scheme == "https"
    name = _cookie(request)
    response.set_cookie(name, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)


@ROUTES.delete("/api/session", status_code=204)
def sign_out(request: Request, response: Response) -> None:
    """End the session."""
    _study(request).sign_out(request.cookies.get(_cookie(request), ""))
    response.delete_cookie(_cookie(request), httponly=True, samesite="strict")


@ROUTES.get("/api/place")
def place(request: Request, reader: Reader) -> dict[str, Any]:
    """Say which image comes now."""
    return _as_json(_study(request), reader, _study(request).place(reader))


@ROUTES.get("/api/images/{reading}/grade")
def earlier_grade(request: Request, reading: ReadingId, reader: Reader) -> dict[str, Any]:
    """Send what the reader said of the image that was graded last."""
    return {"grade": _study(request).grade_of(reader, reading)}


@ROUTES.put("/api/images/{reading}/grade")
def keep_grade(request: Request, reading: ReadingId, grade: Grade, reader: Reader) -> dict[str, Any]:
    """Write a grade to disk, then say which image comes now."""
    return _as_json(_study(request), reader, _study(request).keep_grade(reader, reading, grade.model_dump()))


@ROUTES.get("/api/images/{reading}/{role}.nii.gz")
def volume(request: Request, reading: ReadingId, role: Literal["scan", "image"], reader: Reader) -> Response:
    """Send a volume, without a name or a date, which could tell one method's files from another's."""
    image = _study(request).image(reader, reading)
    file = image.file if role == "image" else image.scan
    return Response((_study(request).folder / file).read_bytes(), media_type="application/octet-stream")


def _wrong(_: Request, error: Exception) -> Response:
    """Say what is wrong, without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _said(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _said(error.status_code, error.detail)


def _as_json(study: Study, reader: int, place: Place) -> dict[str, Any]:
    about = {"ask_real": bool(study.about.get("ask_real")), "reader": reader, "study": study.about["id"]}
    return {"done": place.done, "total": place.total, "now": place.now, "before": place.before, **about}


def _said(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)


def _name(host: str) -> str:
    """Return a Host header's name: without port, and without brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _asset(name: str) -> Response:
    content, media_type = _read(name)
    return Response(content, media_type=media_type)


@cache
def _read(name: str) -> tuple[bytes, str]:
    file, media_type = ASSETS[name]
    return file.read_bytes(), media_type
