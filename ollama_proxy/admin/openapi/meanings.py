"""What each field of the REST answers means, a sentence each: the calls'. Data.

`name: sentence`, a field a line; a line that is indented goes on with the one before. Not here:
the other answers' (`meanings_besides.py`), types.
"""

from __future__ import annotations

CALLS = {
    "Call": """
id: The call's id, a ULID: 26 characters that rise with the time it began.
method: The request's method.
path: The request's path, without a query.
model: The model as the request names it; null where it names none.
state: Where the call is in its life; all but running are final.
reason: Why it did not complete; null while it runs and where it did.
status_code: The answer's HTTP status; null without an answer.
started_at: When the request arrived: ISO 8601 in UTC, with milliseconds.
duration: Seconds from the request's arrival to the end of the answer, or to now; null where a
  kill left it unknown.
time_to_first_token: Seconds to the first token, be it thinking.
queue: Seconds of waiting: what Ollama's total leaves beside load, prefill and decode, and what it
  counts as loading but was a wait (insights.load_wait).
load: Seconds that Ollama took to load the model, without that wait.
prefill: Seconds that Ollama took to read the prompt.
decode: Seconds that Ollama took to write the answer.
input_tokens: Tokens of the prompt, as Ollama counts them.
output_tokens: Tokens of the answer, as Ollama counts them.
tokens_per_second: Output tokens by decode seconds.
streamed: Whether the answer came as a stream.
done_reason: Why the model stopped, in the dialect's own word.
error: What went wrong, in Ollama's words or in the proxy's.
prompt: The prompt, as far as the privacy mode keeps it; in events always null.
response: The answer's text, as far as the privacy mode keeps it; in events always null.
client: The best name that is known of the caller.
request_bytes: Bytes of the request's body that came before the call ended; one that the proxy
  answers at once may end before.
response_bytes: Bytes of the body of Ollama's answer; what the proxy answers itself is not counted.
output_chunks: Pieces in which a stream brought text, thinking or tool calls; not a count of tokens.
options: The request's options, such as num_ctx or temperature; in events always null.
not_understood: Pieces that were looked at and could not be read; 0 is the rule.
connect: Seconds to open a connection to Ollama; null where an open one was used.
time_to_first_byte: Seconds to the answer's first byte.
time_to_first_answer: Seconds to the first piece of the answer itself, text or tool call.
longest_gap: Seconds, the longest between two pieces of a stream from its first token on.
p95_gap: Seconds that 95 % of those gaps do not pass; at most 10 % off.
thinking_characters: Characters of thinking in the answer.
tool_calls: Tool calls in the answer.
tool_names: Names of the tools that the answer calls.
images: Images sent with the request.
image_bytes: Bytes of these images, decoded.
caller: The program that called, where it is on this machine.
resources: What the call cost the machine; null where Ollama is on another one or nothing was
  measured.
time_per_output_token: Seconds for each token of the answer.
prefill_cached: Whether half of the prompt or more came from the model's cache; null where it
  cannot be told.
insights: What the call's figures mean; null where there is nothing to say.
pace: How the pieces of a stream came over time; in events always null.
headers: The headers as they passed, of calls that ran a model or were refused; null for others,
  while it runs, and in the privacy modes none and hash; in events always null.
in_force: Options that held for it, asked for or not; in events always null.
prefill_tokens_per_second: Tokens of the prompt by prefill seconds, those from the cache included.
rest: Seconds of a finished call that neither connect nor Ollama's phases explain.
output_tokens_estimated: Tokens of the answer by its pieces, where none were told.
found: The kinds of findings that it is a case of, the worst first; null where of
  none; waited where it waited at its model for half a second and a fifth of its time or more. For
  whom see waited_for.
""",
    "OneCall": """
expected: What a running call still takes, before its first byte; else null.
waited_for: For whom it waited, the longest first; known when those have ended, too.
""",
    "Neighbours": """
newer: The id of the next one.
newer_unsought: Whether there was no time to look for it: which is next is not known.
older: The id of the one before.
same_client: The id of the one before of the same client, whatever the filters ask for.
""",
    "WaitedFor": """
client: Whose calls were in service meanwhile.
kind: waited in the queue, until a reload, until there was room in memory, for another load, or
  for a runner_busy reading though a slot was free.
seconds: For so long.
""",
    "Phase": """
phase: What the call does now; waiting is where it cannot be told, waiting_to_load until the model,
  or another that has to make room, is out of use.
phase_seconds: Seconds that it has been so.
phase_estimated: Whether the phase is inferred from loaded models and the calls beside it.
queue_position: Its place among those that wait, 1 is the next; null where it does not wait or
  none is known.
""",
    "Caller": """
pid: The process's number.
program: The program's name.
script: What an interpreter runs: a file's or a module's name.
folder: Where it works, the home folder written as ~.
user: Whose process it is.
service: Its systemd service.
container: Its container.
started: When the process began, in seconds since 1970.
""",
    "Resources": """
cpu_seconds: Seconds of one core that Ollama used for it.
memory_peak_bytes: Bytes, the most that Ollama held meanwhile.
gpu_seconds: Seconds of the GPU at 100 %.
gpu_memory_peak_bytes: Bytes, the most that Ollama held of the GPU's memory.
gpu_watt_seconds: Energy that the GPU used, in watt-seconds.
shared_with: The most other calls that ran while this one did.
estimated: Whether its last part was taken to have cost what the part before it did.
others_cpu_seconds: Seconds of one core that other programs used meanwhile.
""",
    "Pace": """
seconds: The length of each part of the time since the first token.
pieces: How many pieces the network brought in each part, at most 60 of them.
longest_at: Seconds from the first token to the beginning of the longest gap.
longest_after: Pieces that had come by then.
""",
    "Headers": """
request: The client's, in their order, at most 40: a name, and its value or null where that is not
  kept. Values are kept of a short list of harmless names.
response: Ollama's; null where it gave no answer.
""",
    "InForce": """
num_ctx: Tokens of context.
num_gpu: Layers on the GPU; null where the call that loaded the model left that open.
keep_alive: Seconds that the model stays loaded after it; negative for ever.
""",
    "Insights": """
prompt_cut: Whether Ollama cut the prompt.
overrun: How the answer outgrew its context.
reload: Why the model was loaded again.
load_wait: What of that load, as Ollama counts it, was a wait for calls that ran.
prompt_start: Where the prompt left what the model had read before.
prompt_cache: How much of the prompt came from the model's cache.
waste: What of the call was for nothing.
slow: Why it took far longer than such calls usually do.
deadline: Whether it met the X-Deadline-Seconds of its request.
outage: It found no Ollama there, as others did.
""",
    "PromptCut": """
cut: Whether the prompt was cut; null where it cannot be told.
tokens_lost: Tokens that were cut off; null where it is not known.
estimated: Whether these tokens are an estimate.
rule: By which rule it was told.
""",
    "CallPromptCut": """
context: Tokens of context that it had to fit; null where it is not known.
""",
    "Overrun": """
shifts: How often the oldest half of the context was forgotten.
ended: What ended the answer, context or ceiling; null where neither did.
context: Tokens of the context.
""",
    "Reload": """
cause: One of options, unloaded, runner_died, load_aborted, load_stopped,
  ollama_restarted, expired, evicted, unknown.
seconds: Seconds that the load took.
changed: The options that differ, each with its old and its new value; null is Ollama's default.
by: The client, or for evicted the model, that caused it; null where it is not known.
""",
    "LoadWait": """
seconds: Seconds of Ollama's load_duration that were no loading; they are part of queue.
reason: reload, until the model as it was loaded was out of use; room, until others made room;
  load, until another load was done.
models: The models whose calls were waited for.
""",
    "Outage": """
since: When the first call began that met the same (ISO 8601).
""",
    "PromptStart": """
at: The character from which on the prompt was read anew.
tokens: Tokens that were read anew though they were there before.
seconds: Seconds that this took.
""",
    "PromptCache": """
share: The share of the prompt that was not read anew, from 0 to 1.
tokens: The same in tokens.
""",
    "Waste": """
kind: One of left, repeated, embedded_again, thought_only, looped, unfinished.
tokens: Tokens that were for nothing; of a loop at least so many.
seconds: Seconds that were for nothing.
estimated: Whether these are estimates.
detail: Of an unfinished answer: repeats, if it is long enough for Ollama to have broken it off.
""",
    "Slow": """
usual: Seconds that such calls take, the median.
calls: Calls which that median is of.
seconds: Seconds that this one took more.
because: Where these seconds went, the most first.
""",
    "Because": """
what: One of queue, load, prompt, prefill, tokens, decode, first_token.
seconds: Seconds above the usual.
reason: What may lie behind it: cpu, not_cached, together, others; null where nothing was seen.
""",
    "Deadline": """
seconds: Seconds that the request asked for.
met: Whether the whole answer was there by then.
""",
    "Estimate": """
queue: Seconds that a call would wait.
load: Seconds to load the model, 0 where it is loaded.
first_token: Seconds from now to the first token.
total: Seconds from now to the end.
ahead: Calls of the model that run and come before it.
calls: Past calls that this rests on.
estimated: True: all of this is an estimate.
""",
    "Spread": """
p50: Seconds, that half of the cases do not pass.
p95: Seconds, that 95 of 100 cases do not pass.
""",
    "Progress": """
duration: Seconds so far.
""",
    "Numbers": """
all: Totals of all calls.
models: What GET models tells.
""",
    "Snapshot": """
status: What GET status tells.
active: The running calls, the oldest first; without texts and options.
recent: The latest calls that ended, the newest first; without texts and options.
""",
}
