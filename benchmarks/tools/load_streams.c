/* load streams: N streamed answers at once, each on a connection of its own; also held open.
 *
 * With a pace their chunks are spread evenly over one gap. They are not all opened within that gap
 * where this would be more than one a millisecond: no proxy's backlog overflows, and opening is
 * not what is measured. Then they are opened over several gaps, each at its own place in one.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OPENING_STEP NS_PER_MS
#define FLAT_WAVE 128 /* without a pace: as many are opened in one millisecond */
#define PATIENCE 15.0 /* seconds after the last chunk was due; what is missing then is an error */
#define FLAT_PATIENCE 60.0 /* without a pace: seconds from the start */

static struct chat *chats;
static uint64_t count, expected, gap_ns, waves, opened, ended, begun, unfinished, deadline_ns;
static bool ready_said;

/* When the k-th is opened, in ns after the start. Wave w takes places w, w + waves, ... of a gap */
static uint64_t opening(uint64_t k)
{
    uint64_t a_wave = (count + waves - 1) / waves, wave = k / a_wave;
    uint64_t place = k % a_wave * waves + wave;
    return wave * gap_ns + place * gap_ns / count;
}

static void begin(void)
{
    const struct options *o = &run.options;
    count = o->streams;
    chats = need(calloc(count, sizeof *chats));
    gap_ns = o->gap_us * NS_PER_US > NS_PER_MS ? o->gap_us * NS_PER_US : NS_PER_MS;
    waves = o->gap_us == 0 ? (count + FLAT_WAVE - 1) / FLAT_WAVE
                           : (count * OPENING_STEP + gap_ns - 1) / gap_ns;
    expected = o->chunks;
    if (expected == 0)
        expected = o->gap_us == 0 ? 1000 : (uint64_t)(o->seconds * 1e6 / (double)o->gap_us + 0.5);
    if (expected == 0 || (o->hold && o->seconds == 0))
        expected = 1;
    double due = (double)(waves * gap_ns + o->first_us * NS_PER_US +
                          (expected + 1) * o->gap_us * NS_PER_US) / 1e9;
    double patience = o->gap_us == 0 ? FLAT_PATIENCE : PATIENCE;
    deadline_ns = after_seconds(o->limit > 0 ? o->limit : due + patience);
    for (uint64_t k = 0; k < count; k++)
        chats[k].client.fd = -1;
    if (o->hold)
        watch_input();
}

static void give_up(void)
{
    for (uint64_t k = 0; k < opened; k++) {
        struct chat *chat = &chats[k];
        if (chat->client.fd < 0 || (run.options.hold && chat->stamps > 0))
            continue;
        unfinished++;
        client_fail(&chat->client, "not finished in time");
    }
}

/* Held streams: says ready once, and ends when the input does. */
static uint64_t hold_turn(uint64_t now)
{
    if (!ready_said && now >= deadline_ns)
        give_up();
    if (!ready_said && begun + ended >= count) {
        say_ready();
        ready_said = true;
    }
    run.finished = ready_said && run.input_closed;
    return ready_said ? NEVER : deadline_ns;
}

static uint64_t turn(uint64_t now)
{
    while (opened < count && run.started_ns + opening(opened) <= now) {
        opened++;
        chat_begin(&chats[opened - 1], expected, opened, "bench/1");
    }
    if (opened < count)
        return run.started_ns + opening(opened);
    if (run.options.hold)
        return hold_turn(now);
    if (now >= deadline_ns)
        give_up();
    run.finished = ended == count;
    return deadline_ns;
}

static void payload(struct client *client, const char *data, size_t len)
{
    struct chat *chat = (struct chat *)client;
    uint64_t before = chat->stamps;
    run.steady = begun == count;
    chat_payload(client, data, len);
    begun += before == 0 && chat->stamps > 0;
}

static void end(struct chat *chat)
{
    /* begun counts those that are still open, as a held one that fails is among the ended. */
    begun -= chat->stamps > 0;
    ended++;
}

static void whole(struct client *client)
{
    struct chat *chat = (struct chat *)client;
    if (run.options.hold)
        run_error("an answer that ended while it was held");
    else
        chat_whole(chat);
    client_close(client);
    end(chat);
}

static void failed(struct client *client)
{
    end((struct chat *)client);
}

/* Chunks a second in one stream, from its first to its last: unlike the pace of all together, it
 * does not lose by their having been opened one after the other. */
static double pace_of(const struct chat *chat)
{
    double seconds = (double)(chat->last_ns - chat->first_ns) / 1e9;
    return chat->stamps > 1 && seconds > 0 ? (double)(chat->stamps - 1) / seconds : 0;
}

static void print(void)
{
    double paces = 0;
    for (uint64_t k = 0; k < count; k++) {
        paces += pace_of(&chats[k]);
        if (chats[k].client.fd >= 0) /* held until now */
            run.frames += chats[k].client.body.frames;
        client_free(&chats[k].client);
    }
    printf(",\"streams\":%" PRIu64 ",\"unfinished\":%" PRIu64 ",\"stream_pace\":%.1f", count,
           unfinished, paces);
    chat_print();
    free(chats);
}

const struct mode streams_mode = {.name = "streams",
                                  .begin = begin,
                                  .turn = turn,
                                  .payload = payload,
                                  .whole = whole,
                                  .failed = failed,
                                  .print = print};
