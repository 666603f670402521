"""Keeps an observer to the privacy rules of its call, while its model and client get known.

Only for calls where there are rules: see `policy.py`. Not here: what a rule says, what is kept.
"""

from __future__ import annotations

from ollama_proxy.exchange import Exchange
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.policy import Known, Policy


class Ruled:
    """One call's observer. It begins with what all rules allow that may fit."""

    def __init__(self, policy: Policy, exchange: Exchange, observer: Observer) -> None:
        self._policy = policy
        self._exchange = exchange
        self._observer = observer
        self._request: tuple[bytes, bool] | None = None
        self._settled = False
        self.look_again()

    def request(self, body: bytes, whole: bool) -> None:
        """The request, in place of `Observer.request`; it is kept until the rules are settled."""
        self._request = body, whole
        self._observer.request(body, whole)
        self.look_again()

    def look_again(self) -> None:
        """More may be known by now."""
        if self._settled:
            return
        known = self._known()
        settled = self._policy.settled(known)
        privacy = settled or self._policy.strictest(known)
        self._observer.widest = self._policy.widest(known)
        if privacy != self._observer.privacy:
            self._observer.privacy = privacy
            self._read_again()
        if settled is not None:
            self._settled = True
            self._request = None

    def _known(self) -> Known:
        exchange, model = self._exchange, self._exchange.observation.model
        if model is None and self._request is not None and self._request[1]:
            model = ""  # it names none
        client = exchange.client_name if exchange.client_settled else None
        return Known(exchange.path, model, client)

    def _read_again(self) -> None:
        """What was kept of the request was kept by other rules."""
        if self._request is not None:
            seen = self._exchange.observation
            before = seen.not_understood
            self._observer.request(*self._request)
            seen.not_understood = before
