"""Answers in text, whatever the dialect: what is collected of them while they pass.

`TextObserver` is told by a dialect what was said, thought and called. Not here: how a dialect says
it (`ollama.py`, `openai.py`, `responses.py`, `anthropic.py`).

`output_chunks` means the same in all of them: the pieces in which a stream brought text, thinking
or tool calls. Not its start and end, its usage, an error, or what keeps the connection open. It is
exact but for broken pieces past the point where text is still read.
"""

from __future__ import annotations

import re

from ollama_proxy.exchange import Observation
from ollama_proxy.loops import loop
from ollama_proxy.observers.errors import message_of
from ollama_proxy.observers.lines import LineObserver
from ollama_proxy.observers.passed import Passed, Recent
from ollama_proxy.observers.privacy import Held, Privacy, readable
from ollama_proxy.observers.reading import count, flag, name

PATIENCE = 1000
"""Lines without any text after which a stream's beginning is no longer waited for."""
CALLS_LIMIT = 1024
"""Tool calls of one answer that are counted; of more the number is not known."""
TOOL_NAMES = 16
TOOL_NAME_LIMIT = 64
TOLD = 8000
"""Characters of an answer that are told while it comes: 9 ms at the worst to look through them."""
LISTENED = 1000
"""Pieces of a stream after which it is listened to whether it has fallen into a loop."""
_LAST, _ONE_BY_ONE = 6, 1000
"""Of the lines passed over: those at the end that may say other things than text; and where others
do, too, how many are read at the most, some 3 us each."""
_STOPPED = ("stop", "end_turn", "stop_sequence", "tool_calls", "tool_use")
"""Why a model stopped that did so by itself: it was in no loop. /v1/responses does not tell."""
_PLAIN_NAME = re.compile(r"[\w.:/-]{1,64}", re.ASCII)


class TextObserver(LineObserver):
    """An answer in text, streamed or in one object. Not used itself: a dialect's reader derives."""

    waits_for_text = True
    stream_type = ""
    """The Content-Type of a stream."""
    tells_all = True
    """Whether the dialect tells of thinking and of tool calls, if there are any."""
    streams_unasked = False
    """What it means that a request does not say `stream`."""

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._held = Held(0)
        self._ended = False
        self._told: str | None = None  # of a long answer, while it comes
        self._silent = 0  # lines read since something was said
        self._thought = 0
        self._calls = 0
        self._recent = Recent()  # the end of what was said and thought, as far as it was read
        self._characters = 0  # and how much that was in all
        self._passed = Passed(self.separator)
        self._listen_at = LISTENED
        self._loop_from: float | None = None  # the piece with which a loop began
        self._uncounted = not self.tells_all

    def said(self) -> str | None:
        """As much as may be kept of what has come: not its end, where a secret may have begun; and
        of a long answer its beginning, as each look for secrets holds up all calls."""
        text = self._held.text()
        if text is None or len(text) < TOLD:
            return self.privacy.keep_answer(text, whole=False)
        if self._told is None:
            self._told = self.privacy.keep_answer(text[:TOLD], whole=False)
        return self._told

    def _keep_streamed(self, stream: object, absent: bool) -> None:
        """`absent`: the request was read as a whole, and it does not say."""
        streamed = self.streams_unasked if absent else flag(stream)
        if streamed is not None:
            self.observation.streamed = streamed

    def _begin(self) -> None:
        self._held = Held(self.privacy.wanted(self.widest), self.privacy.secrets)
        if self.status != 200:
            return
        is_stream = self.content_type == self.stream_type
        # Loading a model, say, is answered by one object, whatever was asked for.
        self.observation.streamed = is_stream
        if is_stream:
            self.observation.output_chunks = 0

    def _answer(self, data: bytes) -> None:
        super()._answer(data)
        if self.pieces >= self._listen_at:
            self._listen_at = 2 * self.pieces  # of what goes on and on ever more rarely
            self._listen()
        self._tell()

    def _tell(self) -> None:
        if self.observation.output_chunks is not None:
            self.observation.output_chunks = self.pieces
        if self.status == 200:
            self.observation.thinking_characters = None if self._uncounted else self._thought
            self.observation.tool_calls = None if self._uncounted else self._calls

    def _skim(self, block: bytes) -> None:
        super()._skim(block)
        self._passed.add(block)

    def _listen(self) -> None:
        """Look whether what was said and thought lately goes round in a loop."""
        passed = self._heard(self._passed.block()) if self._passed else []
        recent, last = self._recent.text(), "".join(passed)
        found = loop(recent + last)
        seen = self.observation
        if found is None:
            self._loop_from = seen.looped = None
            return
        again = found.repeated - found.unit
        if not self.pieces:  # an answer in one object
            seen.looped = min(1.0, again / self._characters) if self._characters else None
            return
        if self._loop_from is None or found.repeated < len(last or recent) - found.unit:
            # It began in what was heard last: one that was heard before may have been another.
            # A strange stream may say more than it has pieces.
            self._loop_from = max(0.0, self.pieces - self._pieces_of(again, passed))
        seen.looped = max(0.0, 1 - self._loop_from / self.pieces)

    def _heard(self, block: bytes) -> list[str]:
        """What each line that was passed over says or thinks."""
        lines = [line for line in block.split(self.separator) if not self._is_blank(line)]
        most, last = lines[:-_LAST], lines[-_LAST:]
        try:
            texts = self._texts(most)
        except (ValueError, RecursionError):
            texts, last = [], lines[-_ONE_BY_ONE:]
        for line in last:
            try:
                texts += self._texts([line])
            except (ValueError, RecursionError):
                continue  # it tells of something else
        return texts

    def _texts(self, lines: list[bytes]) -> list[str]:
        """Raises ValueError, RecursionError where one does not only say or think."""
        if not lines:
            return []
        block = self.separator.join(lines) + self.separator
        return [said or thought for said, thought in self._spoken(self._documents(block))]

    def _pieces_of(self, characters: int, passed: list[str]) -> float:
        """How many of the pieces held these characters at the end."""
        pieces = 0
        while characters > 0 and pieces < len(passed):
            pieces += 1
            characters -= len(passed[-pieces])
        if characters <= 0 or not self._characters:
            return pieces
        # Of what was read only its length is known, and in how many pieces it came.
        return pieces + characters / self._characters * (self.pieces - len(passed))

    def _wants_lines(self) -> bool:
        if not self.answer_seen:
            return self._silent < PATIENCE
        return not self._held.full

    def _documents(self, block: bytes) -> list[bytes]:
        """Hook: the JSON of each line of a block. ValueError where that takes a closer look."""
        return block.removesuffix(b"\n").split(b"\n")

    def _spoken(self, documents: list[bytes]) -> list[tuple[str, str]]:
        """Hook: what each of these says and thinks. ValueError where one may do more than that."""
        raise ValueError

    def _read_at_once(self, block: bytes) -> bool:
        """Read a block that only says and thinks: a fifth of the cost, and thinking is long.

        It leaves the same facts behind as reading each line.
        """
        if self.observation.model is None:
            return False
        try:
            spoken = self._spoken(self._documents(block))
        except (ValueError, RecursionError):
            return False
        if ("", "") in spoken:
            return False
        said, thought = zip(*spoken, strict=True)
        self._think("".join(thought))
        self._say("".join(said))
        self.pieces += len(spoken)
        return True

    def _read(self, line: bytes) -> None:
        self._silent += 1
        super()._read(line)
        if self._silent >= PATIENCE and not self.answer_seen:
            self._held = Held(0)  # text that comes now may have others before it

    def _not_understood(self, document: bytes) -> None:
        self._uncounted = True
        super()._not_understood(document)

    def _say(self, said: object) -> None:
        """Text of the answer; what is no text is passed over."""
        if isinstance(said, str):
            self._held.add(said)
            if said:
                self._keep_recent(said)
                self._silent = 0
                self.text_seen = self.answer_seen = True

    def _think(self, thought: object) -> None:
        if isinstance(thought, str) and thought:
            self._thought += len(thought)
            self._keep_recent(thought)
            self._silent = 0
            self.text_seen = True

    def _keep_recent(self, text: str) -> None:
        self._characters += len(text)
        self._recent.add(text)

    def _call_tool(self, called: object) -> None:
        """One more tool that the model calls."""
        self._silent = 0
        self.text_seen = self.answer_seen = True
        if self._calls == CALLS_LIMIT:
            self._uncounted = True
            return
        self._calls += 1
        self._name_tool(called)

    def _name_tool(self, called: object) -> None:
        """Keep a tool's name. In the strict modes one that may be text of the prompt is none."""
        full = name(called)
        names = self.observation.tool_names or []
        if full is None or len(names) == TOOL_NAMES or self.privacy.hits(full):
            return
        if self.privacy.strict and not _PLAIN_NAME.fullmatch(full):
            return
        short = readable(full[:TOOL_NAME_LIMIT])
        if short not in names:
            self.observation.tool_names = [*names, short]

    def _use(self, used: object, came: str, went: str) -> None:
        """Tokens, by the names of a dialect. Where Ollama did not count it says zeros of all."""
        if isinstance(used, dict):
            taken, given = count(used.get(came)), count(used.get(went))
            if taken or given:
                self.observation.input_tokens = taken
                self.observation.output_tokens = given

    def _stop(self, reason: object) -> bool:
        """Why the model stopped, if it says so. Whether it does."""
        kept = name(reason)
        if kept is not None:
            self.observation.done_reason = kept
        return kept is not None

    def _know_model(self, model: object) -> None:
        if self.observation.model is None:
            self.observation.model = name(model)

    def _break(self, error: object) -> None:
        """An error, though the answer's status was 200."""
        self.observation.error_in_stream = True
        self._fail(message_of(error))

    def _end(self, complete: bool, deaf: bool) -> None:
        recent = self._recent.text()
        super()._end(complete, deaf)
        if self._passed:
            self._recent = Recent(recent)  # the last lines were passed over before they were read
        unsure = deaf or self.lines.skipped > 0
        self._uncounted = self._uncounted or unsure
        self._tell()
        if self.observation.done_reason in _STOPPED:
            self.observation.looped = None  # it has left the loop that was heard before
        elif self.status == 200 and not deaf:
            self._listen()
        if deaf:
            self.observation.output_chunks = None
        if self.text_seen:
            self._held.add("")  # thinking or a call without an answer: its text is empty
        whole = not self._held.full and not unsure
        held = self._held
        self.observation.response = self.privacy.keep_answer(held.text(), whole, held.sifting)
        ended = self._ended or self.observation.error_in_stream
        self.observation.incomplete = self.status == 200 and not ended and not unsure

    def _forget(self) -> None:
        super()._forget()
        self._passed.clear()
        self._recent.clear()
