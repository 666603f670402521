"""How an answer is said in each API: native, OpenAI, OpenAI Responses, Anthropic.

Each file reads its requests into a `Call` and writes `Piece` and `Answer` as bytes. Pure.
Not here: sockets; the sinks write what a dialect says.
"""
