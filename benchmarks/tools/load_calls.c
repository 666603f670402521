/* load calls: short streamed chat calls at a fixed rate, whether or not the last ones are done.
 *
 * A call takes the connection that was idle last, or a new one. Its latency runs from its beginning
 * (before the connect, if it needs one) to its answer's end.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE 15.0 /* seconds after the last call's begin */

static struct chat **chats; /* every one there is */
static struct chat **idle;  /* a stack of those without a call */
static uint64_t count, idle_count, room, total, begun, ended, unfinished, deadline_ns;
static struct histogram latencies;

static void begin(void)
{
    total = (uint64_t)(run.options.rate * run.options.seconds + 0.5);
    double limit = run.options.limit;
    deadline_ns = after_seconds(limit > 0 ? limit : run.options.seconds + PATIENCE);
}

static struct chat *take_idle(void)
{
    if (idle_count > 0)
        return idle[--idle_count];
    if (count == room) {
        room = 2 * room + 64;
        chats = need(realloc(chats, room * sizeof(struct chat *)));
        idle = need(realloc(idle, room * sizeof(struct chat *)));
    }
    struct chat *chat = chats[count++] = need(calloc(1, sizeof *chat));
    chat->client.fd = -1;
    return chat;
}

static uint64_t due(uint64_t call)
{
    return after_seconds((double)call / run.options.rate);
}

static void give_up(void)
{
    for (uint64_t i = 0; i < count; i++) {
        if (chats[i]->client.state == CLIENT_IDLE)
            continue;
        unfinished++;
        client_fail(&chats[i]->client, "not finished in time");
    }
}

static uint64_t turn(uint64_t now)
{
    while (begun < total && due(begun) <= now) {
        char agent[40];
        snprintf(agent, sizeof agent, "bench/1 client%" PRIu64, begun % run.options.clients);
        begun++;
        chat_begin(take_idle(), run.options.tokens, begun, agent);
    }
    if (begun < total)
        return due(begun);
    if (now >= deadline_ns)
        give_up();
    run.finished = ended == total;
    return deadline_ns;
}

static void end(struct chat *chat)
{
    ended++;
    idle[idle_count++] = chat;
}

static void whole(struct client *client)
{
    struct chat *chat = (struct chat *)client;
    if (chat_whole(chat))
        histogram_add(&latencies, client->read_ns - client->begun_ns);
    end(chat);
}

static void failed(struct client *client)
{
    end((struct chat *)client);
}

static void print(void)
{
    printf(",\"streams\":%" PRIu64 ",\"calls\":%" PRIu64 ",\"unfinished\":%" PRIu64
           ",\"connections\":%" PRIu64,
           ended, ended, unfinished, count);
    chat_print();
    histogram_print("latency_us", &latencies);
    for (uint64_t i = 0; i < count; i++) {
        client_free(&chats[i]->client);
        free(chats[i]);
    }
    free(chats);
    free(idle);
}

const struct mode calls_mode = {.name = "calls",
                                .begin = begin,
                                .turn = turn,
                                .payload = chat_payload,
                                .whole = whole,
                                .failed = failed,
                                .print = print};
