"""Concurrency and deadlines: how many requests are in progress at once, and for how long (OWASP API4:2023).

Slots are bounded in total and per client: an account where the credential is known, or else an address.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.security.access.context import RequestContext, context_in
from app.security.core.problems import Problem
from app.security.http.errors import respond

Work = asyncio.Task[Any]


class Slots:
    def __init__(self, total: int, per_client: int) -> None:
        self.total = total
        self.per_client = per_client
        self._used = 0
        self._used_by: dict[object, int] = {}

    def acquire(self, client: object) -> None:
        """Raises: Problem 503 when all slots are in use, 429 when this client has its share."""
        if self._used >= self.total:
            raise Problem(503, detail="The service is busy; try again.", headers={"Retry-After": "1"})
        used = self._used_by.get(client, 0)
        if used >= self.per_client:
            raise Problem(429, detail="Too many of your requests are open.", headers={"Retry-After": "1"})
        self._used += 1
        self._used_by[client] = used + 1

    def release(self, client: object) -> None:
        self._used -= 1
        self._used_by[client] -= 1
        if not self._used_by[client]:
            del self._used_by[client]


class Deadline:
    """Responds with 504 when `app` has started no response in time. The proxy gives up slow clients."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def run(self, seconds: float | None, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_in(scope)
        try:
            async with asyncio.timeout(seconds) as limit:

                async def in_time(message: Message) -> None:
                    await send(message)
                    if message["type"] == "http.response.start":
                        limit.reschedule(None)

                await self.app(scope, receive, in_time)
        except TimeoutError:
            if context.status or not limit.expired():
                raise
            await _respond_late(context, scope, receive, send)

    async def run_in_thread(self, seconds: float | None, scope: Scope, receive: Receive, send: Send) -> Work | None:
        """The same for a route with `def` functions. No thread can be ended: returns the task that waits for it."""
        context = context_in(scope)
        late = False

        async def unless_late(message: Message) -> None:
            if not late:
                await send(message)

        work = asyncio.ensure_future(self.app(scope, receive, unless_late))
        try:
            await asyncio.wait({work}, timeout=seconds)
            late = not work.done() and not context.status
            if not late:
                await work
        except asyncio.CancelledError:
            work.cancel()
            raise
        if late:
            await _respond_late(context, scope, receive, send)
        return work if late else None


async def _respond_late(context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
    problem = Problem(504, detail="The response took too long.")
    await respond(problem, context.request_id)(scope, receive, send)
