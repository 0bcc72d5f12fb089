"""One person at a keyboard: requests to the trial's API over one connection, each with the simulated time;
requests that are sent twice, or cut off and sent again, as happens on a bad line."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, Literal
from urllib.parse import quote

from equipoise.conduct import clock
from equipoise.conduct.duties import PASSWORD_HEADER

SECONDS_TO_ANSWER = 120
"""How long a server that is loaded on purpose may take (assumed)."""
DAY_BEGINS = time_of_day(10, 30, tzinfo=UTC)
"""It is the same date then from California to Sydney."""
STEP = timedelta(milliseconds=200)
"""Simulated time between two requests (assumed)."""
TRIES = 8
"""A request that meets a busy database is sent again, as a person would: so often (assumed)."""

Line = Literal["good", "sent twice", "cut off"]


@dataclass
class Staff:
    """Somebody who works at the sites: name for log-in, token, password."""

    username: str
    token: str = field(repr=False)
    password: str = field(repr=False)

    def renew(self, token: str) -> None:
        """Use another token from now on."""
        self.token = token


class Refusal(Exception):  # noqa: N818 - an answer that is not the wanted one
    """The trial did not do what was asked, and said why."""

    def __init__(self, what: str, status: int, words: str) -> None:
        super().__init__(f"{what}: {status} {words}")
        self.status, self.words = status, words


@dataclass(frozen=True)
class Sent:
    """One request that was answered."""

    at: datetime
    what: str
    who: str
    key: str
    status: int
    seconds: float
    line: Line


class SimulatedClock:
    """The time of the rehearsal: goes on with every request, and never back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = datetime(1900, 1, 1, tzinfo=UTC)

    def begin(self, day: date) -> None:
        """It is the morning of this day."""
        with self._lock:
            self._now = max(self._now, datetime.combine(day, DAY_BEGINS))

    @property
    def today(self) -> date:
        """The date."""
        return self._now.date()

    def tick(self) -> datetime:
        """The next moment."""
        with self._lock:
            self._now += STEP
            return self._now


class Client:
    """A connection to the API, kept open. Not to be shared between threads."""

    def __init__(self, port: int, clock: SimulatedClock) -> None:
        self.port, self.clock = port, clock
        self.sent: list[Sent] = []
        self._connection: http.client.HTTPConnection | None = None

    # --- what is asked ---

    def read(self, who: Staff, path: str, **query: str) -> Any:
        """What stands at an address of the API. Raises Refusal."""
        asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
        address = "/api" + quote(path) + (f"?{asked}" if asked else "")
        what = "read " + "/".join(part for part in path.split("/")[3:4] or path.split("/")[1:2])
        status, answer = self._answered(what, who, "GET", address, None, {}, "", "good")
        if status != 200:
            raise Refusal(what, status, _words(answer))
        return answer

    def command(
        self,
        who: Staff,
        name: str,
        key: str,
        inputs: Mapping[str, Any],
        line: Line = "good",
        signed: bool = False,
    ) -> dict[str, Any]:
        """Have a command carried out. Raises Refusal. On a bad line the request is sent twice with the same
        key; both answers must be the same."""
        status, answer = self.try_command(who, name, key, inputs, line, signed)
        if status != 200:
            raise Refusal(name, status, _words(answer))
        return dict(answer)

    def try_command(
        self,
        who: Staff,
        name: str,
        key: str,
        inputs: Mapping[str, Any],
        line: Line = "good",
        signed: bool = False,
    ) -> tuple[int, Any]:
        """Status and answer of a command, whatever they are."""
        address = "/api/commands/" + name.replace(".", "/")
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        if signed:
            headers[PASSWORD_HEADER] = who.password
        body = json.dumps(inputs, default=str).encode()
        if line == "cut off":
            self._send_and_hang_up(who, address, body, headers)
        status, answer = self._answered(name, who, "POST", address, body, headers, key, line)
        if line == "sent twice" and status == 200:
            again = self._answered(name, who, "POST", address, body, headers, key, line)
            if again != (status, answer):
                raise Refusal(name, again[0], f"sent again, it got another answer: {again[1]} after {answer}")
        return status, answer

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- how it is sent ---

    def _answered(
        self, what: str, who: Staff, method: str, address: str, body: bytes | None,
        headers: Mapping[str, str], key: str, line: Line,
    ) -> tuple[int, Any]:  # fmt: skip
        for attempt in range(TRIES):
            at = self.clock.tick()
            begun = time.perf_counter()
            status, content = self._exchange(method, address, body, self._with_who(headers, who, at))
            self.sent.append(Sent(at, what, who.username, key, status, time.perf_counter() - begun, line))
            answer = _json(content)
            if status != 503 or "busy" not in _words(answer):
                return status, answer
            time.sleep(0.05 * 2**attempt)
        return status, answer

    @staticmethod
    def _with_who(headers: Mapping[str, str], who: Staff, at: datetime) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {who.token}", clock.HEADER: at.isoformat()}

    def _exchange(
        self, method: str, address: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        for last in (False, True):
            try:
                connection = self._line()
                connection.request(method, address, body=body, headers=dict(headers))
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, ConnectionError):
                # The server ends connections that were idle; with its key a request can safely go again.
                self.close()
                if last:
                    raise
        raise AssertionError("unreachable")

    def _send_and_hang_up(self, who: Staff, address: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a request and break the line before the answer comes."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_TO_ANSWER)
        line.request("POST", address, body=body, headers=self._with_who(headers, who, self.clock.tick()))
        line.close()

    def _line(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_TO_ANSWER)
        return self._connection


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {"refused": content[:200].decode(errors="replace"), "field": ""}


def _words(answer: Any) -> str:
    return str(answer.get("refused", answer)) if isinstance(answer, dict) else str(answer)
