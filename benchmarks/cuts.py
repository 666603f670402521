"""How often "was the prompt cut?" is answered right: over real calls, with the truth beside it.

    python -m benchmarks.cuts --proxy http://127.0.0.1:11435 --ollama http://127.0.0.1:11434 \\
        --tokenizer http://127.0.0.1:8081 --model smollm2

Calls of every kind go through the proxy, prompts below and above the context. The truth comes from
what no proxy sees: Ollama's own render of the whole prompt (`_debug_render_only`, `truncate:
false`), counted by a llama-server that has the same model (`/tokenize`). A prompt was cut if fewer
tokens were evaluated than it has. What came out stands in `docs/insights.md`. Not here: speed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sysconfig
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

KINDS = {"generate": 3, "message": 2, "messages": 4, "conversation": 4, "v1": 1}
"""What is sent, and how often."""
SIZES = (0.2, 0.5, 0.7, 0.9, 1.0, 1.1, 1.3, 1.8, 3.0)
"""Prompts as long as so many contexts, at three characters a token."""
OPEN = 4  # conversations at once
PROJECT = Path(__file__).parent.parent
OTHER_SCRIPTS = (
    "株価は今日も上がり、投資家は金利の行方を見守っている。",
    "Сегодня рынок вырос, и все ждут решения центрального банка. ",
)


class Sent(NamedTuple):
    """A call: its route and body, and the record that the proxy made of it."""

    kind: str
    path: str
    body: dict[str, Any]
    row: dict[str, Any]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("--proxy", "--ollama", "--tokenizer", "--model"):
        flags.add_argument(name, required=True)
    flags.add_argument("--calls", type=int, default=200)
    flags.add_argument("--context", type=int, nargs="+", default=[256, 512])
    flags.add_argument("--seed", type=int, default=1)
    asked = flags.parse_args()
    drawn = Drawn(asked.model, asked.context, random.Random(asked.seed))
    outcomes: Counter[tuple[str, bool, bool | None, str]] = Counter()
    for _ in range(asked.calls):
        sent = drawn.send(asked.proxy)
        if sent is None:
            continue
        whole = tokens_of(sent, asked.ollama, asked.tokenizer)
        told = (sent.row["insights"] or {}).get("prompt_cut") or {"cut": None, "rule": None}
        # A token that is put before each prompt is in one of the counts only.
        cut = sent.row["input_tokens"] < whole - 1
        outcomes[sent.kind, cut, told["cut"], told["rule"] or "-"] += 1
    print(*table(outcomes), sep="\n")


class Drawn:
    """Draws calls, and sends them."""

    def __init__(self, model: str, contexts: list[int], drawn: random.Random) -> None:
        self._model, self._contexts, self._random = model, contexts, drawn
        self._texts = list(texts(drawn))
        self._open: list[tuple[int, list[dict[str, str]]]] = []

    def send(self, proxy: str) -> Sent | None:
        """None where Ollama gave no answer that counts its tokens."""
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        context = self._random.choice(self._contexts)
        options = {"num_ctx": context, "num_predict": self._random.choice((3, 8)), "seed": 1}
        if self._random.random() < 0.1:
            options["num_keep"] = self._random.choice((0, 24))
        size = int(3 * context * self._random.choice(SIZES))
        turns: list[dict[str, str]] = []
        if kind == "conversation":
            options["num_ctx"], turns = self._conversation(context)
        path, body = self._request(kind, size, turns)
        answer = post(proxy + path, body | ({"options": options} if kind != "v1" else {}))
        if kind == "conversation" and "message" in answer:
            turns.append({"role": "assistant", "content": answer["message"]["content"]})
        row = get(f"{proxy}/admin/api/requests?limit=1")[0]
        if row["input_tokens"] is None:
            return None
        return Sent(kind, path, body | {"options": options}, row)

    def _request(
        self, kind: str, size: int, turns: list[dict[str, str]]
    ) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"model": self._model, "stream": False}
        if kind == "generate":
            return "/api/generate", body | {"prompt": self._text(size)} | self._system()
        if kind == "conversation":
            return "/api/chat", body | {"messages": list(turns)}
        count = 1 if kind == "message" else 2 * self._random.randint(2, 5) - 1
        system = [{"role": "system", "content": text} for text in self._system().values()]
        each = size // count
        said = [
            {"role": ("user", "assistant")[index % 2], "content": self._text(self._about(each))}
            for index in range(count)
        ]
        if kind == "v1":
            return "/v1/chat/completions", body | {"messages": system + said, "max_tokens": 4}
        return "/api/chat", body | {"messages": system + said}

    def _conversation(self, context: int) -> tuple[int, list[dict[str, str]]]:
        """One of those that go on, or a new one, with one message more; and its context."""
        if not self._open or self._random.random() < 0.25:
            self._open = [*self._open, (context, [])][-OPEN:]
        context, turns = self._random.choice(self._open)
        turns.append({"role": "user", "content": self._text(self._about(context // 2))})
        return context, turns

    def _system(self) -> dict[str, str]:
        return {"system": self._text(60)} if self._random.random() < 0.35 else {}

    def _about(self, size: int) -> int:
        return max(4, int(size * self._random.uniform(0.4, 1.6)))

    def _text(self, size: int) -> str:
        text = self._random.choice(self._texts)
        begin = self._random.randrange(max(1, len(text) - size))
        return text[begin : begin + size]


def texts(drawn: random.Random) -> Iterator[str]:
    """Programs, prose, another language, other scripts, numbers: what people send."""
    library = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for path in drawn.sample(library, 12):
        yield path.read_text("utf-8", "replace")
    for name in ("README.md", "docs/privacy.md", "docs/callers.md"):
        yield re.sub(r"\s+", " ", (PROJECT / name).read_text("utf-8"))
    words = json.loads((PROJECT / "dashboard/i18n/it.json").read_text("utf-8"))
    yield " ".join(words.values())
    yield from (text * 100 for text in OTHER_SCRIPTS)
    yield ", ".join(f"{drawn.uniform(0, 1000):.2f}" for _ in range(4000))
    yield json.dumps([{"time": n, "close": round(drawn.uniform(0, 100), 2)} for n in range(900)])


def tokens_of(sent: Sent, ollama: str, tokenizer: str) -> int:
    """The whole prompt's, before anything was cut."""
    path = "/api/chat" if "messages" in sent.body else "/api/generate"
    body = {key: value for key, value in sent.body.items() if key != "max_tokens"}
    body |= {"_debug_render_only": True, "truncate": False, "options": {"num_ctx": 8192}}
    prompt = post(ollama + path, body)["_debug_info"]["rendered_template"]
    asked = {"content": prompt, "add_special": True, "parse_special": True}
    return len(post(f"{tokenizer}/tokenize", asked)["tokens"])


def table(outcomes: Counter[tuple[str, bool, bool | None, str]]) -> Iterator[str]:
    """What was said of how many calls, and how often that was right."""
    for (kind, cut, told, rule), count in sorted(outcomes.items(), key=str):
        said = {True: "cut", False: "not cut", None: "cannot be told"}[told]
        yield f"{kind:14}{'cut' if cut else 'not cut':10}said {said:16}{rule:10}{count:5}"
    totals: Counter[tuple[bool, bool | None]] = Counter()
    for (_, cut, told, _), count in outcomes.items():
        totals[cut, told] += count
    right, false, missed = totals[True, True], totals[False, True], totals[True, False]
    silent = totals[True, None]
    yield f"{sum(totals.values())} calls, {right + missed + silent} of them cut"
    all_cut = right + missed + silent
    yield f"precision {_share(right, right + false)}, recall {_share(right, all_cut)}"
    yield f"cannot be told: {silent + totals[False, None]}, of them cut: {silent}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "-"


def post(url: str, body: dict[str, Any]) -> Any:
    """The answer's JSON, of an error too."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
