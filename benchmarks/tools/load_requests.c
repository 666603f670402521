/* load requests: C connections, each sends its next request when the last one is answered.
 *
 * --rate R: R requests a second in all instead, over those connections that are idle. Proxies of
 * every speed then have the same to do, at a load at which none of them is at its limit.
 * --fresh: a new connection for each; it is closed with a reset, so that no port is left waiting.
 * A latency runs from the request's beginning (before the connect, if it took one) to its answer's
 * end. A connection that failed pauses for 10 ms: a peer that is gone is not hammered.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE (10 * NS_PER_MS)
#define PATIENCE 5.0 /* seconds for those under way at the end */

static struct client *clients;
static char *request;
static size_t request_len;
static uint64_t count, begun, answered, busy, paused, pause_ends, end_ns, last_ns, unfinished;
static struct histogram latencies;

static void begin(void)
{
    const struct options *o = &run.options;
    size_t room = 512 + strlen(o->path) + strlen(o->body);
    request = need(malloc(room));
    int len = snprintf(request, room, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%" PRIu64
                       "\r\nUser-Agent: bench/1\r\nAccept: */*\r\n", o->method, o->path, o->port);
    if (o->body[0] != '\0')
        len += snprintf(request + len, room - (size_t)len,
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                        strlen(o->body));
    len += snprintf(request + len, room - (size_t)len, "\r\n%s", o->body);
    request_len = (size_t)len;
    count = o->connections;
    clients = need(calloc(count, sizeof *clients));
    for (uint64_t i = 0; i < count; i++)
        clients[i].fd = -1;
    end_ns = after_seconds(o->seconds);
    paused = run.options.rate > 0 ? 0 : count; /* that is, to be begun with the first turn */
}

static void next(struct client *client)
{
    begun++;
    busy++;
    client_request(client, request, request_len, false);
}

static void begin_paused(void)
{
    paused = 0;
    for (uint64_t i = 0; i < count; i++)
        if (clients[i].state == CLIENT_IDLE)
            next(&clients[i]);
}

/* Begin what is due; returns when the next one is, or the end if none is idle for it. */
static uint64_t begin_due(uint64_t now)
{
    for (uint64_t i = 0, first = begun; i < count; i++) {
        struct client *client = &clients[(first + i) % count];
        uint64_t due = after_seconds((double)begun / run.options.rate);
        if (due > now)
            return due < end_ns ? due : end_ns;
        if (client->state == CLIENT_IDLE)
            next(client);
    }
    return end_ns;
}

static void give_up(void)
{
    for (uint64_t i = 0; i < count; i++) {
        if (clients[i].state == CLIENT_IDLE)
            continue;
        unfinished++;
        client_fail(&clients[i], "not finished in time");
    }
}

static uint64_t turn(uint64_t now)
{
    if (now >= end_ns) {
        uint64_t deadline = end_ns + (uint64_t)(PATIENCE * 1e9);
        if (now >= deadline)
            give_up();
        run.finished = busy == 0;
        return deadline;
    }
    if (run.options.rate > 0)
        return begin_due(now);
    if (paused > 0 && now >= pause_ends)
        begin_paused();
    return paused > 0 && pause_ends < end_ns ? pause_ends : end_ns;
}

static void whole(struct client *client)
{
    busy--;
    answered++;
    last_ns = client->read_ns;
    histogram_add(&latencies, client->read_ns - client->begun_ns);
    if (run.options.fresh)
        client_close_with_reset(client);
    if (run.options.rate == 0 && client->read_ns < end_ns)
        next(client);
}

static void failed(struct client *client)
{
    (void)client;
    busy--;
    if (paused++ == 0)
        pause_ends = now_ns() + PAUSE;
}

static void payload(struct client *client, const char *data, size_t len)
{
    (void)client, (void)data, (void)len;
}

static void print(void)
{
    double seconds = last_ns > run.started_ns ? (double)(last_ns - run.started_ns) / 1e9 : 0;
    printf(",\"requests\":%" PRIu64 ",\"unfinished\":%" PRIu64 ",\"seconds\":%.4f,\"rate\":%.1f",
           answered, unfinished, seconds, seconds > 0 ? (double)answered / seconds : 0);
    histogram_print("latency_us", &latencies);
    for (uint64_t i = 0; i < count; i++)
        client_free(&clients[i]);
    free(clients);
    free(request);
}

const struct mode requests_mode = {.name = "requests",
                                   .begin = begin,
                                   .turn = turn,
                                   .payload = payload,
                                   .whole = whole,
                                   .failed = failed,
                                   .print = print};
