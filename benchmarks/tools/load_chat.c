/* Streamed chat calls: the request's text, the stamps in the answer, and what they tell.
 *
 * A stamp is '@' and 19 digits: the time at which the upstream wrote that chunk. It is looked for
 * in the body's text, whatever stands around it, so that another dialect or a proxy that writes
 * the JSON anew is measured alike. Not here: when calls are made (load_streams.c, load_calls.c).
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct histogram delays, steady, firsts; /* steady: those delays while run.steady */
static uint64_t chunks, first_ns, last_ns;

/* ---- the request ---- */

/* Text that differs from call to call: words from a list, chosen by a small generator. */
static void put_words(char *to, uint64_t len, uint64_t seed)
{
    static const char words[8][9] = {"bread   ", "winter  ", "copper  ", "meadow  ",
                                     "lantern ", "thirty  ", "quietly ", "summit  "};
    uint64_t state = seed * UINT64_C(6364136223846793005) + 1;
    for (uint64_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        to[i] = words[state >> 61][i % 8];
    }
}

/* The head in front of a body of that length. */
static int put_head(char *to, size_t room, const char *agent, size_t body_len)
{
    const char *standard = is_openai() ? "/v1/chat/completions" : "/api/chat";
    return snprintf(to, room,
                    "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%" PRIu64 "\r\nUser-Agent: %s\r\n"
                    "Accept: */*\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                    run.options.path != NULL ? run.options.path : standard, run.options.port, agent,
                    body_len);
}

static char *chat_request(uint64_t n, uint64_t number, const char *agent, size_t *len)
{
    static const char before[] = "{\"model\":\"bench\",\"stream\":true,\"messages\":"
                                 "[{\"role\":\"user\",\"content\":\"";
    static const char after[] = "\"}]}";
    const struct options *o = &run.options;
    char ask[256], head[1024];
    int ask_len = snprintf(ask, sizeof ask,
                           "bench:n=%" PRIu64 ",gap_us=%" PRIu64 ",size=%" PRIu64
                           ",first_us=%" PRIu64 ",hold=%d call %" PRIu64 ": ",
                           n, o->gap_us, o->size, o->first_us, o->hold, number);
    uint64_t said = (uint64_t)ask_len;
    uint64_t padding = o->prompt_bytes > said ? o->prompt_bytes - said : 0;
    size_t body_len = sizeof before - 1 + (size_t)ask_len + padding + sizeof after - 1;
    int head_len = put_head(head, sizeof head, agent, body_len);
    if (head_len >= (int)sizeof head)
        die(2, "--path is too long");
    *len = (size_t)head_len + body_len;
    char *text = need(malloc(*len)), *to = mempcpy(text, head, (size_t)head_len);
    to = mempcpy(to, before, sizeof before - 1);
    to = mempcpy(to, ask, (size_t)ask_len);
    put_words(to, padding, number);
    memcpy(to + padding, after, sizeof after - 1);
    return text;
}

void chat_begin(struct chat *chat, uint64_t expected, uint64_t number, const char *agent)
{
    size_t len;
    char *text = chat_request(expected, number, agent, &len);
    chat->scan_at = 0;
    chat->stamps = 0;
    chat->expected = expected;
    client_request(&chat->client, text, len, true);
}

/* ---- the answer ---- */

static void stamp_found(struct chat *chat, uint64_t stamp)
{
    uint64_t now = chat->client.read_ns;
    if (chat->stamps++ == 0) {
        chat->first_ns = now;
        histogram_add(&firsts, now > chat->client.sent_ns ? now - chat->client.sent_ns : 0);
    } else {
        uint64_t delay = now > stamp ? now - stamp : 0;
        histogram_add(&delays, delay);
        if (run.steady)
            histogram_add(&steady, delay);
    }
    chat->last_ns = last_ns = now;
    if (chunks++ == 0)
        first_ns = now;
}

/* Goes on with a stamp of which the '@' was seen; says how many bytes it took. */
static size_t scan_digits(struct chat *chat, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] < '0' || data[i] > '9') {
            chat->scan_at = 0; /* only an '@'; this byte may be the next one */
            return i;
        }
        chat->scan_value = chat->scan_value * 10 + (uint64_t)(data[i] - '0');
        if (++chat->scan_at > STAMP_DIGITS) {
            stamp_found(chat, chat->scan_value);
            chat->scan_at = 0;
            return i + 1;
        }
    }
    return len;
}

void chat_payload(struct client *client, const char *data, size_t len)
{
    struct chat *chat = (struct chat *)client;
    size_t at = 0;
    while (at < len) {
        if (chat->scan_at == 0) {
            const char *mark = memchr(data + at, '@', len - at);
            if (mark == NULL)
                return;
            at = (size_t)(mark - data) + 1;
            chat->scan_at = 1;
            chat->scan_value = 0;
        }
        at += scan_digits(chat, data + at, len - at);
    }
}

bool chat_whole(struct chat *chat)
{
    char why[80];
    if (chat->stamps == chat->expected)
        return true;
    snprintf(why, sizeof why, "%" PRIu64 " chunks of %" PRIu64 " in a whole answer", chat->stamps,
             chat->expected);
    run_error(why);
    return false;
}

void chat_print(void)
{
    double seconds = (double)(last_ns - first_ns) / 1e9;
    printf(",\"chunks\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"reads\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"seconds\":%.4f,\"pace\":%.1f",
           chunks, run.frames, run.reads, run.bytes, seconds,
           seconds > 0 ? (double)(chunks - 1) / seconds : 0);
    histogram_print("delay_us", &delays);
    histogram_print("steady_us", &steady);
    histogram_print("first_us", &firsts);
}
