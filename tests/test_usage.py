"""What `inject_usage` edits, as bytes: fed whole, byte by byte, and in chunks cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.usage import CHUNK_LIMIT, EVENT_LIMIT, Chunks, Events, asking, chunk
from tests.harness import recording

SIZES = [1, 2, 7, 100, 1 << 20]


class TestAsking:
    @pytest.mark.parametrize(
        ("body", "asks"),
        [
            ('{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
            (
                ' \n{ "stream" : true , "a":1 }\t',
                ' \n{"stream_options":{"include_usage":true}, "stream" : true , "a":1 }\t',
            ),
            (
                '{"stream":true,"stream_options":{}}',
                '{"stream":true,"stream_options":{"include_usage":true}}',
            ),
            (
                '{"stream_options" : { "include_obfuscation":false},"stream":true}',
                '{"stream_options" : {"include_usage":true, "include_obfuscation":false},'
                '"stream":true}',
            ),
            (
                # Neither numbers, nor escapes, nor names given twice are touched.
                '{"seed":1.0e2,"a":"\\u00e9 è","seed":%s,"x":{"b":1,"b":2},"stream":true}'
                % ("1" * 5000),
                '{"stream_options":{"include_usage":true},"seed":1.0e2,"a":"\\u00e9 è","seed":%s,'
                '"x":{"b":1,"b":2},"stream":true}' % ("1" * 5000),
            ),
            (
                # What looks like it further in is not it.
                '{"messages":[{"stream_options":{"include_usage":false},"stream":1}],"stream":true}',
                '{"stream_options":{"include_usage":true},"messages":[{"stream_options":'
                '{"include_usage":false},"stream":1}],"stream":true}',
            ),
        ],
    )
    def test_one_member_is_put_in(self, body: str, asks: str) -> None:
        assert asking(body.encode()) == asks.encode()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b'"stream"',
            b'["stream",true]',
            b'{"a":1}',
            b'{"stream":false}',
            b'{"stream":null}',
            b'{"stream":1}',
            b'{"stream":"true"}',
            b'{"stream":[true]}',
            b'{"x":{"stream":true}}',
            b'{"stream":true,"stream":true}',
            b'{"stream":true,"stream":false}',
            b'{"stream":true,"Stream":false}',
            b'{"STREAM":true}',
            '{"stream":true,"\u017ftream":false}'.encode(),
            b'{"stream":true,"\\u0053tream":false}',
            b'{"stream":true,"stream_options":null}',
            b'{"stream":true,"stream_options":true}',
            b'{"stream":true,"stream_options":[]}',
            b'{"stream":true,"stream_options":"x"}',
            b'{"stream":true,"Stream_Options":{}}',
            b'{"stream":true,"stream_options":{},"stream_options":{}}',
            b'{"stream":true,"stream_options":{"include_usage":true}}',
            b'{"stream":true,"stream_options":{"include_usage":false}}',
            b'{"stream":true,"stream_options":{"include_usage":null}}',
            b'{"stream":true,"stream_options":{"Include_Usage":false}}',
            b'{"stream":true',
            b'{"stream":true,}',
            b'{"stream":true}}',
            b'{"stream":true}{"stream":true}',
            b"{'stream':true}",
            b'{"stream":true,"a":NaN}',
            b'{"stream":true,"a":-Infinity}',
            b'{"stream":true,"a":"\n"}',
            b'{"stream":true,"a":"\xff"}',
            b'{"stream":true,"a":"\xed\xa0\x80"}',
            b'\xef\xbb\xbf{"stream":true}',
            '{"stream":true}'.encode("utf-16"),
            b'{"stream":true,"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"stream" true}',
            b'{"stream":true "a":1}',
            b'{stream:true,"stream":true}',
            b"\x0c" + b'{"stream":true}',
        ],
    )
    def test_what_is_not_clear_stays(self, body: bytes) -> None:
        assert asking(body) is None

    @given(
        st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)),
        st.sampled_from([None, {}, {"a": 1}]),
        st.sampled_from([None, 1]),
    )
    def test_the_rest_means_the_same(
        self, members: dict[str, object], options: dict[str, int] | None, indent: int | None
    ) -> None:
        members |= {"stream": True} | ({} if options is None else {"stream_options": options})
        asked = asking(json.dumps(members, indent=indent).encode())
        if asked is not None:  # unless a name is made up that Go would take for one of these
            expected = members | {"stream_options": {"include_usage": True, **(options or {})}}
            assert json.loads(asked) == expected


def event(text: str) -> bytes:
    return b"data: " + text.encode() + b"\n\n"


ZEROS = '"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
SAID = '{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":%s}}]%s}'
USAGE = event('{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":1,"total_tokens":2}}')
DONE = b"data: [DONE]\n\n"
LONG = '"%s"' % ("x" * 20_000)
HI = event(SAID % ('"hi"', ""))


def without(data: bytes, size: int) -> bytes:
    events = Events()
    pieces = [events.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(pieces) + events.end()


def payload_of(name: str) -> list[bytes]:
    return [text.encode() for _, text in recording(name)["response"]["chunks"]]


def unasked_completion() -> list[bytes]:
    """The recorded completion without what only `include_usage` brings, made the other way round:
    from what each chunk says."""
    made = []
    for part in payload_of("v1_completions_stream"):
        data = b""
        for one in part.decode().removesuffix("\n\n").split("\n\n"):
            if one != "data: [DONE]":
                said = json.loads(one.removeprefix("data: "))
                if not said["choices"]:
                    continue
                del said["usage"]
                one = "data: " + json.dumps(said, separators=(",", ":"), ensure_ascii=False)
            data += one.encode() + b"\n\n"
        made.append(data)
    return made


def renamed(pieces: list[bytes]) -> list[bytes]:
    """The recording without usage, as if it were the same call as the one with it."""
    return [piece.replace(b"chatcmpl-63", b"chatcmpl-923") for piece in pieces]


RECORDED = [
    ("v1_chat_stream_usage", renamed(payload_of("v1_chat_stream_no_usage"))),
    ("v1_completions_stream", unasked_completion()),
]


class TestEvents:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(("name", "expected"), RECORDED)
    def test_a_recorded_stream_is_as_if_nobody_had_asked(
        self, name: str, expected: list[bytes], size: int
    ) -> None:
        assert without(b"".join(payload_of(name)), size) == b"".join(expected)

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (HI + USAGE + DONE, HI + DONE),
            (USAGE, b""),
            (HI + event(SAID % ('"hi"', "," + ZEROS)) + DONE, HI + HI + DONE),
            (event(SAID % ('"hi"', ',"usage":null')), HI),
            # The end is where it is: a text that names all this is a text.
            (
                event(SAID % ('",\\"usage\\":null}"', "," + ZEROS)),
                event(SAID % ('",\\"usage\\":null}"', "")),
            ),
            (event(SAID % (LONG, "," + ZEROS)), event(SAID % (LONG, ""))),
            (event('{"choices":[],"usage":null}'), event('{"choices":[]}')),
        ],
    )
    def test_what_was_added_is_taken_out(self, data: bytes, expected: bytes, size: int) -> None:
        assert without(data, size) == expected

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(
        "data",
        [
            HI + DONE,
            HI,
            HI[:-1],
            HI + USAGE[:-1],
            HI + b'data: {"choices":[],"usage":{"prompt',
            event(SAID % ('"hi"', ',"usage":{"prompt_tokens":1,"completion_tokens":2}')),
            event('{"choices":[]}'),
            event('{"usage":{"prompt_tokens":1}}'),
            event('{"choices":{},"usage":{"prompt_tokens":1}}'),
            event('{"choices":[],"usage":{"prompt_tokens":1}'),
            event('{"error":{"message":"the runner has died","usage":{}}}'),
            b'{"error":"the runner has died"}\n',
            b": comment\n\nevent: x\ndata: {}\n\n" + DONE,
            USAGE.replace(b"\n", b"\r\n") + USAGE,
            b"\n\n\n" + DONE + b"\n",
            b"\x00\xff",
            event('{"id":"%s","choices":[],"usage":{}}' % ("x" * 2 * EVENT_LIMIT))[:-1],
            event("{" + "[" * 100_000 + '"choices":[],"usage":{}}'),
        ],
    )
    def test_all_else_stays(self, data: bytes, size: int) -> None:
        assert without(data, size) == data

    def test_a_whole_event_is_never_held_back(self) -> None:
        events = Events()
        completion = [event(SAID % ('"hi"', "," + ZEROS))] * 3
        for one in [HI, *completion, DONE, b": comment\n\n"]:
            got = b"".join(events.feed(one[at : at + 1]) for at in range(len(one)))
            assert got == one.replace(b"," + ZEROS.encode(), b"")
        assert events.feed(USAGE) == b""
        assert events.feed(DONE) == DONE
        assert events.end() == b""

    def test_lines_that_end_otherwise_are_not_held_back(self) -> None:
        events = Events()
        data = HI.replace(b"\n", b"\r\n")
        assert b"".join(events.feed(data[at : at + 1]) for at in range(len(data))) == data

    def test_only_as_much_as_is_needed_is_held_back(self) -> None:
        events = Events()
        assert events.feed(b'data: {"id":"1","choices":[') == b""
        assert events.feed(b"{") == b'data: {"id":"1","choices":[{'
        assert events.feed(b'"text":"a, \\"usage\\":') == b'"text":"a, \\"usage\\":'
        assert events.feed(b'b"}],"usa') == b'b"}]'
        assert events.feed(b'ge":{"prompt_tokens":0') == b""
        assert events.feed(b"1") == b',"usage":{"prompt_tokens":01'
        assert len(events.feed(b"x" * 1000)) == 1000
        events = Events()
        assert len(events.feed(b"data: {" + b"x" * EVENT_LIMIT)) == EVENT_LIMIT + 7

    @given(
        st.lists(st.sampled_from([HI, USAGE, DONE, b"\n", b"\r", b"data: {", b',"usage":', b"x"])),
        st.integers(1, 50),
    )
    def test_the_size_of_the_pieces_does_not_matter(self, parts: list[bytes], size: int) -> None:
        data = b"".join(parts)
        assert without(data, size) == without(data, len(data) + 1)


def chunked(pieces: list[bytes], size: int) -> bytes:
    chunks = Chunks()
    wire = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    return b"".join(chunks.feed(wire[at : at + size]) for at in range(0, len(wire), size))


class TestChunks:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(("name", "expected"), RECORDED)
    def test_a_recorded_answer_keeps_its_chunks(
        self, name: str, expected: list[bytes], size: int
    ) -> None:
        assert chunked(payload_of(name), size) == b"".join(map(chunk, expected)) + b"0\r\n\r\n"

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize(
        "wire",
        [
            b"0\r\n\r\n",
            chunk(HI) + chunk(DONE) + b"0\r\nTrailer: 1\r\n\r\n",
            b"%04X;ext=1\r\n%b\r\n000\r\n\r\n" % (len(HI), HI),
            chunk(HI[:70]) + chunk(HI[70:]) + b"0\r\n\r\n",
            chunk(HI + HI) + chunk(HI + DONE) + b"0\r\n\r\n",
        ],
    )
    def test_where_nothing_is_taken_out_all_is_the_same(self, wire: bytes, size: int) -> None:
        chunks = Chunks()
        got = b"".join(chunks.feed(wire[at : at + size]) for at in range(0, len(wire), size))
        assert got == wire
        assert chunks.end() == b""

    @pytest.mark.parametrize("size", SIZES)
    def test_a_chunk_of_nothing_but_the_extra_event_is_none(self, size: int) -> None:
        assert chunked([HI, USAGE, DONE], size) == chunked([HI, DONE], 1000)

    @pytest.mark.parametrize("size", SIZES)
    def test_an_extra_event_in_many_chunks_is_taken_out(self, size: int) -> None:
        pieces = [USAGE[at : at + 9] for at in range(0, len(USAGE), 9)]
        assert chunked([HI, *pieces, DONE], size) == chunked([HI, DONE], 1000)

    def test_what_is_held_back_at_the_end_is_passed_on(self) -> None:
        beginning = b'data: {"choices":'
        assert chunked([HI, beginning], 1000) == b"".join(
            [chunk(HI), chunk(beginning), b"0\r\n\r\n"]
        )

    @pytest.mark.parametrize("size", [1, 1000, 1 << 20])
    def test_a_long_chunk_is_not_waited_for(self, size: int) -> None:
        long = HI * (2 * CHUNK_LIMIT // len(HI)) + USAGE + DONE
        wire, chunks, got, most = chunk(long) + b"0\r\n\r\n", Chunks(), b"", 0
        for at in range(0, len(wire), size):
            got += chunks.feed(wire[at : at + size])
            most = max(most, at - len(got))
        assert most < CHUNK_LIMIT + 1000
        assert payload(got) == long.replace(USAGE, b"")

    @pytest.mark.parametrize("cut", range(1, len(chunk(HI + USAGE))))
    def test_a_break_passes_what_had_come(self, cut: int) -> None:
        chunks = Chunks()
        wire = (chunk(HI) + chunk(HI + USAGE))[: len(chunk(HI)) + cut]
        got = chunks.feed(wire) + chunks.end()
        whole = cut >= len(chunk(HI + USAGE)) - 2
        assert got == (chunk(HI) + chunk(HI) if whole else wire)

    @given(
        st.lists(st.sampled_from([HI, USAGE, DONE, HI[:30], b"\n", b',"usage":', USAGE[20:]])),
        st.integers(1, 500),
        st.integers(1, 500),
    )
    def test_whatever_the_cuts_the_framing_holds(
        self, parts: list[bytes], frame: int, size: int
    ) -> None:
        data = b"".join(parts)
        frames = [data[at : at + frame] for at in range(0, len(data), frame)]
        assert payload(chunked(frames, size)) == without(data, len(data) + 1)


def payload(wire: bytes) -> bytes:
    """The text of a whole chunked body, read by its sizes."""
    data, at = b"", 0
    while True:
        end = wire.index(b"\r\n", at)
        size = int(wire[at:end], 16)
        if not size:
            assert wire[at:] == b"0\r\n\r\n"
            return data
        data += wire[end + 2 : end + 2 + size]
        at = end + 2 + size
        assert wire[at : at + 2] == b"\r\n"
        at += 2
