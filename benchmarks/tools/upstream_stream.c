/* Streamed answers: what a request asks for, the lines in each dialect's shape, and their pace.
 *
 * The request's body says somewhere, as text (a number left out keeps its default):
 *     bench:n=500,gap_us=20000,size=100,first_us=0,hold=0
 * n lines of size bytes (never shorter than the shape needs: about 140), gap_us apart (0: as fast
 * as the socket takes them), the first after first_us; the final line is due a gap after the last,
 * as the end of a text costs a model one more step. hold=1: no final line, the answer stays open.
 *
 * Each line is one HTTP chunk and one write; head and first line are one write, as with Ollama.
 * A line's stamp is the time right before its write. Where the socket is full the line waits with
 * that stamp; lines due meanwhile are stamped when their turn comes, at once after it.
 *
 * HTTP/1.0 gets the bare lines and a close. Not here: answers that are not streamed ("stream":
 * false is not looked at), usage chunks in OpenAI's dialect.
 */
#include "upstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_LINE (1 << 20)
#define CHUNKS_A_TURN 32 /* of a flat-out stream; then the others have theirs */
#define TIME_LEN 30      /* 2026-11-23T18:47:56.218737364Z */

/* A line, made once for each dialect and size; stamp and time are written into it at each use. */
struct shape {
    struct shape *next;
    enum dialect dialect;
    uint64_t size;
    char *frame; /* the line as an HTTP chunk */
    size_t frame_len, line_at, line_len, stamp_at, time_at; /* time_at 0: no time in it */
};

static struct shape *shapes; /* a run uses a handful; they are never freed */
static char scratch[MAX_LINE + 1024];

/* ---- the words after "bench:" ---- */

void finder_feed(struct finder *finder, const char *data, size_t len)
{
    static const char mark[] = "bench:";
    const size_t mark_len = sizeof mark - 1;
    for (size_t i = 0; i < len && !finder->done; i++) {
        char c = data[i];
        if (finder->matched < mark_len) {
            if (finder->matched == 0) { /* skip to where the mark can begin */
                const char *found = memchr(data + i, mark[0], len - i);
                if (found == NULL)
                    return;
                i = (size_t)(found - data);
                finder->matched = 1;
            } else if (c == mark[finder->matched]) {
                finder->matched++;
            } else {
                finder->matched = c == mark[0]; /* the mark's first letter comes only once */
            }
        } else if (((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '=' ||
                    c == ',') && finder->used < sizeof finder->words) {
            finder->words[finder->used++] = c;
        } else {
            finder->done = true;
        }
    }
}

/* The number that the words give to a name, else the default. */
static uint64_t number_of(const struct finder *finder, const char *name, uint64_t standard)
{
    const char *word = finder->words, *last = finder->words + finder->used;
    size_t name_len = strlen(name);
    while (word < last) {
        const char *end = memchr(word, ',', (size_t)(last - word));
        if (end == NULL)
            end = last;
        size_t len = (size_t)(end - word);
        if (len > name_len && word[name_len] == '=' && memcmp(word, name, name_len) == 0)
            parse_number(word + name_len + 1, len - name_len - 1, &standard);
        word = end + 1;
    }
    return standard;
}

/* ---- lines ---- */

struct pattern {
    const char *before, *time_mark, *after;
};

/* What stands around the text of a line; the time goes right after time_mark. */
static const struct pattern patterns[] = {
    [DIALECT_CHAT] = {"{\"model\":\"bench\",\"created_at\":\"000000000000000000000000000000\","
                      "\"message\":{\"role\":\"assistant\",\"content\":\"",
                      "\"created_at\":\"", "\"},\"done\":false}\n"},
    [DIALECT_GENERATE] = {"{\"model\":\"bench\",\"created_at\":\"000000000000000000000000000000\","
                          "\"response\":\"",
                          "\"created_at\":\"", "\",\"done\":false}\n"},
    [DIALECT_OPENAI] = {"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
                        "\"created\":1795459682,\"model\":\"bench\","
                        "\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,"
                        "\"delta\":{\"role\":\"assistant\",\"content\":\"",
                        NULL, "\"},\"finish_reason\":null}]}\n\n"},
};

static struct shape *new_shape(enum dialect dialect, uint64_t size)
{
    static const char padding[] = " word";
    const struct pattern *pattern = &patterns[dialect];
    struct shape *shape = need(calloc(1, sizeof *shape));
    size_t before = strlen(pattern->before), after = strlen(pattern->after);
    size_t least = before + 1 + STAMP_DIGITS + after;
    shape->dialect = dialect;
    shape->size = size;
    shape->line_len = size > least ? (size_t)size : least;
    shape->frame = need(malloc(shape->line_len + 32));
    shape->line_at = (size_t)sprintf(shape->frame, "%zx\r\n", shape->line_len);
    char *line = shape->frame + shape->line_at, *to = line;
    to = mempcpy(to, pattern->before, before);
    shape->stamp_at = (size_t)(to - shape->frame) + 1;
    *to++ = '@';
    to += STAMP_DIGITS;
    for (size_t i = 0; to < line + shape->line_len - after; i++)
        *to++ = padding[i % (sizeof padding - 1)];
    to = mempcpy(to, pattern->after, after);
    to = mempcpy(to, "\r\n", 2);
    shape->frame_len = (size_t)(to - shape->frame);
    if (pattern->time_mark != NULL) {
        const char *mark = strstr(pattern->before, pattern->time_mark);
        shape->time_at =
            shape->line_at + (size_t)(mark - pattern->before) + strlen(pattern->time_mark);
    }
    return shape;
}

static const struct shape *shape_of(enum dialect dialect, uint64_t size)
{
    size = size < MAX_LINE ? size : MAX_LINE;
    struct shape *shape = shapes;
    while (shape != NULL && (shape->dialect != dialect || shape->size != size))
        shape = shape->next;
    if (shape == NULL) {
        shape = new_shape(dialect, size);
        shape->next = shapes;
        shapes = shape;
    }
    return shape;
}

/* Writes TIME_LEN characters: the wall clock's time at a moment of now_ns()'s clock. */
static void put_time(char *to, uint64_t moment)
{
    static uint64_t offset, written; /* wall clock - ours; the second that stands in text */
    static char text[TIME_LEN + 1];
    if (offset == 0) {
        struct timespec wall;
        clock_gettime(CLOCK_REALTIME, &wall);
        offset = (uint64_t)wall.tv_sec * NS_PER_SECOND + (uint64_t)wall.tv_nsec - now_ns();
    }
    uint64_t wall_ns = moment + offset;
    if (wall_ns / NS_PER_SECOND != written) {
        struct tm parts;
        time_t second = (time_t)(written = wall_ns / NS_PER_SECOND);
        gmtime_r(&second, &parts);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
    }
    memcpy(to, text, 20);
    put_digits(to + 20, wall_ns % NS_PER_SECOND, 9);
    to[29] = 'Z';
}

/* ---- writing ---- */

static bool is_openai(const struct stream *stream)
{
    return stream->shape->dialect == DIALECT_OPENAI;
}

static size_t put_stream_head(char *to, size_t room, const struct connection *connection)
{
    const struct message *request = &connection->request;
    return (size_t)snprintf(
        to, room, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nDate: %s\r\n%s%s\r\n",
        is_openai(&connection->stream) ? "text/event-stream" : "application/x-ndjson", date_now(),
        request->http10 ? "" : "Transfer-Encoding: chunked\r\n",
        request->close ? "Connection: close\r\n" : "");
}

/* One write; the first one has the head in front. */
static enum sent send_part(struct connection *connection, const char *data, size_t len)
{
    if (connection->stream.sent++ > 0)
        return connection_send(connection, data, len);
    size_t head = put_stream_head(scratch, sizeof scratch, connection);
    memcpy(scratch + head, data, len);
    return connection_send(connection, scratch, head + len);
}

static enum sent send_line(struct connection *connection)
{
    struct stream *stream = &connection->stream;
    const struct shape *shape = stream->shape;
    bool bare = connection->request.http10;
    uint64_t stamp = stream->last_ns = now_ns();
    if (stream->sent == 0)
        stream->first_ns = stamp;
    put_digits(shape->frame + shape->stamp_at, stamp, STAMP_DIGITS);
    if (shape->time_at != 0)
        put_time(shape->frame + shape->time_at, stamp);
    return send_part(connection, bare ? shape->frame + shape->line_at : shape->frame,
                     bare ? shape->line_len : shape->frame_len);
}

/* Ollama's last line. The phases are what really passed: all before the first line is loading (a
 * tenth) and prefill; so they never add up to more than the total. */
static int put_final_ollama(char *to, size_t room, const struct stream *stream, uint64_t now)
{
    uint64_t wait = stream->first_ns - stream->arrived_ns, load = wait / 10;
    char time[TIME_LEN + 1] = "";
    put_time(time, now);
    return snprintf(to, room,
                    "{\"model\":\"bench\",\"created_at\":\"%s\",%s,\"done\":true,"
                    "\"done_reason\":\"stop\",\"total_duration\":%" PRIu64
                    ",\"load_duration\":%" PRIu64 ",\"prompt_eval_count\":%" PRIu64
                    ",\"prompt_eval_duration\":%" PRIu64 ",\"eval_count\":%" PRIu64
                    ",\"eval_duration\":%" PRIu64 "}\n",
                    time,
                    stream->shape->dialect == DIALECT_CHAT
                        ? "\"message\":{\"role\":\"assistant\",\"content\":\"\"}"
                        : "\"response\":\"\"",
                    now - stream->arrived_ns, load, stream->prompt_bytes / 4 + 1, wait - load,
                    stream->chunks, stream->last_ns - stream->first_ns);
}

static int put_final_openai(char *to, size_t room)
{
    return snprintf(to, room, "%s",
                    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
                    "\"created\":1795459682,\"model\":\"bench\","
                    "\"system_fingerprint\":\"fp_ollama\",\"choices\":[{\"index\":0,"
                    "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
}

static enum sent send_final(struct connection *connection)
{
    struct stream *stream = &connection->stream;
    char line[1024], frame[1100];
    uint64_t now = now_ns();
    if (stream->sent == 0)
        stream->first_ns = stream->last_ns = now;
    int len = is_openai(stream) ? put_final_openai(line, sizeof line)
                                : put_final_ollama(line, sizeof line, stream, now);
    if (connection->request.http10)
        return send_part(connection, line, (size_t)len);
    len = snprintf(frame, sizeof frame, "%x\r\n%s\r\n", (unsigned)len, line);
    return send_part(connection, frame, (size_t)len);
}

static enum sent send_end(struct connection *connection)
{
    if (connection->request.http10) { /* its end is the close */
        connection->stream.sent++;
        return SENT;
    }
    return send_part(connection, "0\r\n\r\n", 5); /* a write of its own, as Go's server does */
}

/* ---- pace ---- */

/* Writes what is due; then waits for the next time, for room, or for the next request. */
void continue_stream(struct connection *connection)
{
    struct stream *stream = &connection->stream;
    uint64_t now = now_ns();
    for (int turn = 0; stream->sent < stream->chunks + 2; turn++) {
        if (stream->hold && stream->sent == stream->chunks)
            return;
        uint64_t step = stream->sent < stream->chunks ? stream->sent : stream->chunks;
        uint64_t due = stream->start_ns + step * stream->gap_ns;
        if (due > now || turn == CHUNKS_A_TURN) {
            schedule_put(&connection->timer, due > now ? due : now_ns());
            return;
        }
        enum sent sent = stream->sent < stream->chunks    ? send_line(connection)
                         : stream->sent == stream->chunks ? send_final(connection)
                                                          : send_end(connection);
        if (sent != SENT)
            return;
    }
    connection_answered(connection);
}

void begin_stream(struct connection *connection, enum dialect dialect)
{
    const struct finder *finder = &connection->finder;
    connection->job = JOB_STREAM;
    connection->request.close |= connection->request.http10; /* no framing: only a close ends it */
    connection->stream = (struct stream){
        .shape = shape_of(dialect, number_of(finder, "size", 100)),
        .chunks = number_of(finder, "n", 500),
        .gap_ns = number_of(finder, "gap_us", 20000) * NS_PER_US,
        .start_ns = now_ns() + number_of(finder, "first_us", 0) * NS_PER_US,
        .arrived_ns = connection->arrived_ns,
        .prompt_bytes = connection->body_bytes,
        .hold = number_of(finder, "hold", 0) != 0,
    };
    continue_stream(connection);
}
