/* load listen: N readers of an event stream, as that many open pages would be.
 *
 * An event is counted for each line that begins with "data:". They read until stdin is closed; a
 * stream that ends before is an error.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 15.0 /* seconds until all must have begun */

struct page {
    struct client client; /* first, so that a client's address is its page's */
    int line_at;          /* how much of "data:" the line begins with; -1: with something else */
    bool begun;
};

static struct page *pages;
static char request[1024];
static uint64_t count, begun, ended, events, deadline_ns;
static bool opened, ready_said;

static void begin(void)
{
    count = run.options.pages;
    pages = need(calloc(count, sizeof *pages));
    for (uint64_t i = 0; i < count; i++)
        pages[i].client.fd = -1;
    deadline_ns = after_seconds(run.options.limit > 0 ? run.options.limit : PATIENCE);
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%" PRIu64 "\r\nUser-Agent: bench/1\r\n"
                       "Accept: text/event-stream\r\n\r\n",
                       run.options.path, run.options.port);
    if (len >= (int)sizeof request)
        die(2, "--path is too long");
    watch_input();
}

static uint64_t turn(uint64_t now)
{
    for (uint64_t i = 0; !opened && i < count; i++)
        client_request(&pages[i].client, request, strlen(request), false);
    opened = true;
    for (uint64_t i = 0; !ready_said && now >= deadline_ns && i < count; i++)
        if (!pages[i].begun && pages[i].client.fd >= 0)
            client_fail(&pages[i].client, "no event in time");
    if (!ready_said && begun + ended >= count) {
        say_ready();
        ready_said = true;
    }
    run.finished = ready_said && run.input_closed;
    return ready_said ? NEVER : deadline_ns;
}

static void payload(struct client *client, const char *data, size_t len)
{
    static const char mark[] = "data:";
    struct page *page = (struct page *)client;
    begun += !page->begun;
    page->begun = true;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            page->line_at = 0;
        } else if (page->line_at >= 0 && data[i] == mark[page->line_at]) {
            if (mark[++page->line_at] == '\0') {
                events++;
                page->line_at = -1;
            }
        } else { /* nothing of interest before the line's end */
            const char *end = memchr(data + i, '\n', len - i);
            page->line_at = -1;
            i = end == NULL ? len : (size_t)(end - data) - 1;
        }
    }
}

static void failed(struct client *client)
{
    begun -= ((struct page *)client)->begun;
    ended++;
}

static void whole(struct client *client)
{
    run_error("an event stream that ended");
    client_close(client);
    failed(client);
}

static void print(void)
{
    printf(",\"pages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"events\":%" PRIu64, count, run.bytes,
           events);
    for (uint64_t i = 0; i < count; i++)
        client_free(&pages[i].client);
    free(pages);
}

const struct mode listen_mode = {.name = "listen",
                                 .begin = begin,
                                 .turn = turn,
                                 .payload = payload,
                                 .whole = whole,
                                 .failed = failed,
                                 .print = print};
