/* load down, load up: one large body each way, and how fast it went (MB = 10^6 bytes).
 *
 * The time runs from the request's beginning, with its connect, to the answer's end. Down wants as
 * many bytes as it asked for; up trusts the answer's status.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BLOCK (1 << 16)
#define PATIENCE 100.0

static struct client client = {.fd = -1};
static char request[1024];
static uint64_t unsent, got, end_ns, deadline_ns;
static bool begun;

static void begin(void)
{
    double limit = run.options.limit;
    deadline_ns = after_seconds(limit > 0 ? limit : PATIENCE);
}

static uint64_t turn(uint64_t now)
{
    if (!begun) {
        begun = true;
        client_request(&client, request, strlen(request), false);
    }
    if (!run.finished && now >= deadline_ns)
        client_fail(&client, "not finished in time");
    return deadline_ns;
}

static void payload(struct client *from, const char *data, size_t len)
{
    (void)from, (void)data;
    got += len;
}

static void failed(struct client *from)
{
    (void)from;
    end_ns = now_ns();
    run.finished = true;
}

static void whole_up(struct client *from)
{
    end_ns = from->read_ns;
    run.finished = true;
    if (unsent > 0)
        run_error("an answer before the whole body was sent");
}

static void whole_down(struct client *from)
{
    whole_up(from);
    if (got != run.options.bytes)
        run_error("another number of bytes than asked for");
}

static void begin_down(void)
{
    begin();
    snprintf(request, sizeof request,
             "GET %s/%" PRIu64 " HTTP/1.1\r\nHost: 127.0.0.1:%" PRIu64
             "\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n",
             run.options.path, run.options.bytes, run.options.port);
}

static void begin_up(void)
{
    begin();
    char framing[64] = "Transfer-Encoding: chunked";
    if (!run.options.chunked)
        snprintf(framing, sizeof framing, "Content-Length: %" PRIu64, run.options.bytes);
    snprintf(request, sizeof request,
             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%" PRIu64 "\r\nUser-Agent: bench/1\r\n"
             "Accept: */*\r\nContent-Type: application/octet-stream\r\n%s\r\n\r\n",
             run.options.path, run.options.port, framing);
    unsent = run.options.bytes;
}

/* The next part of the upload: a block, or a chunk with a block; after the last one the end. */
static bool refill(struct client *from)
{
    static char block[BLOCK + 32];
    static bool end_sent;
    size_t len = unsent < BLOCK ? (size_t)unsent : BLOCK;
    unsent -= len;
    from->out = block;
    from->out_len = len;
    if (!run.options.chunked)
        return len > 0;
    if (end_sent)
        return false;
    end_sent = len == 0;
    int head = snprintf(block, sizeof block, "%zx\r\n", len);
    memcpy(block + head + len, "\r\n", 2); /* after the last, empty chunk: the end of trailers */
    from->out_len = (size_t)head + len + 2;
    return true;
}

static void print(void)
{
    double seconds = (double)(end_ns - client.begun_ns) / 1e9;
    uint64_t bytes = run.mode == &up_mode ? run.options.bytes - unsent : got;
    printf(",\"bytes\":%" PRIu64 ",\"seconds\":%.4f,\"mb_s\":%.1f", bytes, seconds,
           seconds > 0 ? (double)bytes / seconds / 1e6 : 0);
    client_free(&client);
}

const struct mode down_mode = {.name = "down",
                               .begin = begin_down,
                               .turn = turn,
                               .payload = payload,
                               .whole = whole_down,
                               .failed = failed,
                               .print = print};
const struct mode up_mode = {.name = "up",
                             .begin = begin_up,
                             .turn = turn,
                             .payload = payload,
                             .whole = whole_up,
                             .failed = failed,
                             .refill = refill,
                             .print = print};
