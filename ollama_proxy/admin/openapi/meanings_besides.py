"""What each field of the REST answers means, a sentence each: those beside calls. Data.

`name: sentence`, a field a line; a line that is indented goes on with the one before. Not here:
calls (`meanings.py`), types (`shapes.py`).
"""

from __future__ import annotations

BESIDES = {
    "Error": """
error: The cause, and what to do about it, in one line.
""",
    "Health": """
status: Always ok: the proxy runs.
upstream_up: Whether Ollama answers; null before the first look.
""",
    "Status": """
status: stopping: the proxy takes no new calls and lets those end that run; down: Ollama does not
  answer; failing: of the last five minutes' calls over 20 %, and at least three, failed.
uptime: Seconds since the proxy's start.
active_requests: Calls that run now.
waiting: What waits now, by the phases queued and waiting_to_load; null where none has for ten
  seconds.
total_requests: All calls of the whole history, the running ones included.
completed_requests: Calls that completed.
failed_requests: Calls that failed.
timeout_requests: Calls that passed a configured limit.
cancelled_requests: Calls whose client left, or that were cancelled.
interrupted_requests: Calls that a stop or a crash ended.
success_rate: Percent: completed of completed, failed and timeout; null while there are none.
avg_response_time: Mean seconds of the completed calls that ran a model; 0 before the first.
total_tokens: Input and output tokens of all calls.
input_tokens: Tokens of all prompts.
output_tokens: Tokens of all answers.
models_available: Models that Ollama has; null where it has not told.
upstream: The URL of Ollama.
upstream_up: Whether Ollama answers; null before the first look.
upstream_version: Ollama's version.
upstream_error: What was wrong at the last look.
upstream_latency: Seconds that Ollama took to tell its version.
upstream_since: Since when Ollama is up, or down (ISO 8601).
version: The proxy's version.
listen: Host and port where clients connect.
started_at: When the proxy started (ISO 8601).
first_call_at: When the first of all calls began (ISO 8601); null where it was counted by a
  version that did not keep that.
last_call_at: When the latest call began (ISO 8601).
records_dropped: Calls that could not be stored.
sink_errors: Errors within the proxy while calls were recorded.
storage_error: Why the database cannot be written or read now.
storage_error_since: Since when (ISO 8601).
database_bytes: Bytes that the database takes on disk.
""",
    "Model": """
name: The model's name, as Ollama or a call tells it.
size: Bytes on disk.
family: The model's family.
parameter_size: How many parameters it has, in Ollama's words, as in 8.0B.
quantization: How its weights are stored, as in Q4_K_M.
digest: What its name stands for now.
changed_at: When that last changed (ISO 8601); null where it was not seen to.
weights: SHA-256 of the file that it is made of, asked only where another model may be made of the
  same; those share a runner.
capabilities: What it can do, in Ollama's words.
trained_context: Tokens, the longest context that it was made for.
available: Whether Ollama has it; false of what calls only named.
loaded: Whether it is in memory.
size_loaded: Bytes that it takes in memory.
size_vram: Bytes of these in the GPU's memory.
context_length: Tokens of the context that it is loaded with.
expires_at: When it is unloaded if no call comes, as Ollama writes it.
active: Calls of it that run now.
stats: The totals of its calls; null where there were none.
""",
    "Client": """
name: The client's name.
active: Its calls that run now.
""",
    "Stats": """
uptime: Seconds since the proxy's start, when this was told first; started_at tells it exactly.
started_at: When the proxy started (ISO 8601).
active_requests: Calls that run now.
all: The totals of all calls of the whole history.
models: The totals by model; what is beyond 500 names is (other).
clients: The totals by client; what is beyond 500 names is (other).
""",
    "Summary": """
requests: Calls that ended.
completed: Calls that completed.
failed: Calls that failed.
timeout: Calls that passed a configured limit.
cancelled: Calls whose client left, or that were cancelled.
interrupted: Calls that a stop or a crash ended.
success_rate: Percent: completed of completed, failed and timeout; null while there are none.
input_tokens: Tokens of all prompts.
output_tokens: Tokens of all answers.
total_tokens: Both together.
duration: Seconds of the completed calls that ran a model.
time_to_first_token: Seconds to the first token, of the same.
tokens_per_second: Output tokens by decode seconds, of the same.
queue_seconds: Seconds of waiting, all calls together.
load_seconds: Seconds of loading, all calls together.
prefill_seconds: Seconds of reading prompts, all calls together.
decode_seconds: Seconds of writing answers, all calls together.
cold_starts: Calls whose load took 0.1 s or more.
first_used: When the first call began (ISO 8601); null where that was not kept.
last_used: When the latest call began (ISO 8601).
""",
    "Distribution": """
count: Values that there are.
mean: Their mean.
p50: What half of them do not pass, as all percentiles within 1 %.
p90: What 90 % do not pass.
p95: What 95 % do not pass.
p99: What 99 % do not pass.
max: The largest.
""",
    "Waiting": """
calls: Calls that wait, at any model.
seconds: Seconds that the longest has waited.
behind: The client with most calls in service at that one's model, or where there are none at
  others; null where its name is unknown.
""",
    "Mark": """
id: The change's id, a ULID.
at: When a look found it (ISO 8601).
kind: What changed: Ollama's version, or the digest behind a model's name.
subject: ollama, or the model's name.
old: What it was before.
new: What it is since.
""",
    "Finding": """
id: The finding's id.
kind: What was found.
model: Of calls to this model; null of an outage.
client: From this client; null of an outage, and where its name is unknown.
other: The client on the other side, where there is one.
detail: A name or a value that it is about; of an outage when it began, of a cut or outgrown context
  its tokens, of a reload for other options their names.
opened_at: When its first call began (ISO 8601).
last_at: When its latest call began (ISO 8601).
over: Whether no such call came for six hours.
count: Calls that it was found of.
of: Calls of the client to the model that Ollama took up meanwhile; of an outage as count.
tokens: Tokens that it cost.
tokens_p50: The median of what one call lost of its prompt or context; null for other kinds.
tokens_max: The most that one call lost so.
seconds: Seconds that it cost.
needed: Tokens of context that the largest of its calls would have needed.
estimated: Whether its tokens are estimates.
calls: Ids of its calls, the newest first, at most 20.
options: The options by which its calls differ from those of other; empty where it is about
  something else.
text: The same in a sentence.
""",
    "ChangedOption": """
name: The option's name.
old: What the calls of other asked for.
new: What these calls asked for.
""",
    "Values": """
values: At most three values, as JSON writes them, a dash where it was left out; the largest among
  them where all are numbers.
others: How many other values there were.
""",
    "Sentence": """
en: In English.
it: In Italian.
""",
    "Different": """
model: The model that was asked about.
calls: Calls of the span.
usual_calls: Calls before it that they are compared with.
enough: Whether there are enough of both, at least 20, to tell.
differences: What the calls took.
traits: What the calls were.
changes: What changed in Ollama meanwhile, the newest first.
text: The same in sentences.
""",
    "Difference": """
what: What differs, as in duration or output_tokens.
unit: The unit: seconds, tokens or cores.
usual: What was typical before.
now: What is typical now.
times: How many times as much it is now; null: from 0.
usual_calls: Calls before of which it is known.
calls: Calls now of which it is known.
""",
    "Trait": """
name: client, route, state, streamed, prefill_cached, or an option as in options.num_ctx.
value: Its value.
usual: The share of calls with it before, from 0 to 1.
now: The share of calls with it now, from 0 to 1.
""",
    "Estimated": """
model: The model that was asked about.
came_true: How often such estimates were right.
""",
    "CameTrue": """
calls: Ended calls that had been estimated, the latest.
within_p50: The share of them that took no longer than p50, from 0 to 1.
within_p95: The share of them that took no longer than p95, from 0 to 1.
""",
    "Series": """
step: Seconds of each step.
since: When the first step begins, in seconds since 1970.
until: When the last step ends.
now: When this was told.
model: The model whose calls these are; null: of all. Running calls and the machine are of all.
unfinished: Whether the last step is not over yet.
at: When each step begins of which anything is known; all other fields have a value for each.
n: Calls that ended in it.
calls: The same by how they ended.
duration: Seconds of completed calls that ran a model.
time_to_first_token: Seconds from a call's start, of the same.
tokens_per_second: Of writing, of those of the same whose decode is known.
input_tokens: Tokens read; null where calls told none.
output_tokens: Tokens written; null where calls told none.
running: Calls on their way.
queue: Of these, calls that wait for a slot of their model; estimated.
cpu: Percent of all cores.
memory: Bytes in use.
gpu: All GPUs together, where they can be read.
""",
    "ByOutcome": """
completed: Completed.
failed: Failed.
timeout: Ended by a limit of the proxy's.
cancelled: Left by the client, or stopped by hand.
interrupted: Broken off by a stop of the proxy.
""",
    "Percentiles": """
n: Calls of which it is known.
p50: The median, of five calls or more.
p95: Of twenty calls or more.
p99: Of a hundred calls or more.
""",
    "Level": """
mean: On average.
max: The most.
""",
    "CpuOverTime": """
host_percent: The whole machine's.
ollama_percent: Ollama's, its runners included.
""",
    "MemoryOverTime": """
host_bytes: The whole machine's.
ollama_bytes: Ollama's, its runners included.
""",
    "GpuOverTime": """
percent: Use, the mean of all.
memory_bytes: Held by all programs.
watts: Power.
""",
    "Machine": """
here: Whether Ollama is on this machine; else nothing of it is known.
status: In a sentence, which process Ollama is, or why none is seen.
processes: Processes of Ollama, its runners included.
host_cpu_percent: Percent of all cores in use since the look before.
host_memory_used: Bytes that no program could get.
host_memory_total: Bytes of the machine's memory.
proxy_cpu_seconds: Seconds of one core that the proxy has used.
proxy_memory_bytes: Bytes that the proxy holds.
gpu: All GPUs together; null where none can be read.
gpu_status: In a sentence, which GPUs are read, or why none is.
ollama_cpu_percent: Percent of all cores that these have used since the look before.
ollama_cpu_seconds: Seconds of one core that Ollama's present processes have used.
ollama_memory_bytes: Bytes that these hold.
callers: What looking for the calling programs costs, and how it went.
""",
    "GpuReading": """
seconds: Seconds at 100 % since the look before.
watt_seconds: Energy used since then, in watt-seconds.
percent: Percent in use now, the mean of all.
watts: Watts now, all together.
memory_bytes: Bytes that all programs hold.
ollama_bytes: Bytes that Ollama holds.
""",
    "CallersStatus": """
available: Whether programs are looked for.
looks: Looks that were taken.
found: Programs that were found.
hidden: Looks that told only the user.
missed: Looks that came when the connection was closed.
skipped: Looks that were not begun, as too many waited.
seconds: Seconds of one core that all looks took.
""",
    "Privacy": """
prompts: The mode for prompts: none, truncate, hash or full.
responses: The mode for answers.
characters: Characters that the mode truncate keeps.
taken_out: What is taken out of texts: keys, mails, cards.
patterns: Regular expressions of your own that are taken out, too.
rules: Other modes by model, client or route; the first that fits holds.
header: The request's header that names a call's mode; null: there is none.
pages_ask_for_token: Whether the pages and these answers ask for the token, admin.token.
programs_looked_up: Whether the calling programs are looked for.
sources: Where the value of each of these settings came from.
alerts_to: Who is told of alerts: names and kinds of notifiers.
always: What is always kept of a call.
never: What is never kept.
folder: The data folder.
files: The folder and the database's files.
holdings: What the database holds; null where it cannot be read.
retention: How much is kept.
connections: What the proxy has open to the network.
""",
    "Rule": """
model: Of calls to this model.
client: Of calls from this client.
route: Of calls to this path.
mode: The mode for prompts, and for answers unless responses is given.
responses: The mode for answers.
""",
    "File": """
path: Where it is.
bytes: Its size in bytes; null of a folder.
mode: Who may do what with it, as ls writes it.
""",
    "Holdings": """
calls: Calls that are stored.
with_prompt: Of these, those with a prompt.
with_response: Of these, those with an answer's text.
captures: Calls kept whole, to be made again.
oldest: When the oldest began (ISO 8601).
""",
    "Retention": """
days: Days that calls are kept; 0: no limit.
megabytes: Megabytes that the database may reach; 0: no limit.
rows: Calls that are kept; 0: no limit.
recent: Finished calls kept in memory.
""",
    "Connections": """
listening: Where it listens.
clients: Open connections of clients.
upstream: Open connections to Ollama.
others: Any other, which should be none.
""",
    "Upstream": """
address: The URL of Ollama.
open: Open connections.
""",
    "Around": """
connections_seen: Whether connections to Ollama's port can be seen; null before the first look.
programs: Programs with connections of their own to Ollama, the latest first.
models: Models that were loaded or used by no recorded call, the latest first.
""",
    "Seen": """
name: The program's or the model's name.
count: How often it was seen.
first_seen: When first since the proxy started (ISO 8601).
last_seen: When last (ISO 8601).
""",
    "Recording": """
name: The call's id.
request: What the client sent.
response: What came back.
""",
    "Request": """
method: The request's method.
target: Path and query as they were sent; the query is never kept.
headers: Name and value of each header that may be kept.
body: The body as text.
""",
    "Response": """
status: The HTTP status.
reason: The text beside it.
headers: Name and value of each header that may be kept.
framing: Where the body ends: chunked, by its length, or with the connection.
complete: False: the connection ended before the body did.
chunks: Each piece with its milliseconds since the request was sent.
""",
}
