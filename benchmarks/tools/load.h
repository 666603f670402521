/* What the parts of `load` share: options, one run's counts, one client connection, the modes. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "common.h"

/* ---- load_run.c ---- */

struct options {
    uint64_t port, streams, gap_us, size, first_us, chunks, connections, tokens, prompt_bytes;
    uint64_t clients, bytes, pages;
    double seconds, rate, limit;
    const char *dialect, *path, *body, *method;
    bool hold, fresh, chunked;
};

/* One run: what was asked for, and what is counted whatever the mode. */
struct run {
    struct options options;
    const struct mode *mode;
    int epoll;
    uint64_t started_ns;
    bool finished, input_closed;
    bool steady; /* all streams are open, and none has ended */
    uint64_t reads, bytes, frames, errors; /* bytes: of bodies, without their framing */
    char first_error[160];
};

extern struct run run;

void run_error(const char *why);
void watch_input(void);           /* from now on run.input_closed says whether stdin is closed */
void say_ready(void);             /* the line `ready` */
uint64_t after_seconds(double s); /* a moment, counted from the run's start */
bool is_openai(void);             /* the dialect asked for */
void run_until_finished(void);

/* ---- load_client.c: one connection that sends a request and reads its answer ---- */

enum client_state { CLIENT_IDLE, CLIENT_SENDS, CLIENT_READS_HEAD, CLIENT_READS_BODY };

struct client {
    int fd; /* -1: no connection */
    enum client_state state;
    bool watched, waits_for_room;
    const char *out; /* what is still to be sent */
    size_t out_len;
    char *owned; /* freed when it is sent */
    struct head head;
    struct message answer;
    struct body body;
    uint64_t begun_ns; /* when the request was begun: before the connect, if it took one */
    uint64_t sent_ns;  /* right after its last byte was written */
    uint64_t read_ns;  /* right after the last recv returned */
};

/* Sends a request, on a new connection if there is none. owned: text is the client's to free.
 * A failure is told to the mode, maybe before this returns. */
void client_request(struct client *client, const char *text, size_t len, bool owned);
void client_event(struct client *client, uint32_t events);
void client_fail(struct client *client, const char *why);
void client_close(struct client *client);
void client_close_with_reset(struct client *client); /* leaves no port in TIME_WAIT */
void client_free(struct client *client);

/* What a mode does. Each request ends in whole or in failed; then the client may be given the
 * next one. */
struct mode {
    const char *name;
    void (*begin)(void);
    uint64_t (*turn)(uint64_t now); /* does what is due; says when it wants the next turn */
    void (*payload)(struct client *client, const char *data, size_t len);
    void (*whole)(struct client *client);
    void (*failed)(struct client *client);  /* closed and counted already */
    bool (*refill)(struct client *client); /* sets out to more of a request; may be NULL */
    void (*print)(void);                   /* the JSON object's fields after the common ones */
};

extern const struct mode streams_mode, requests_mode, calls_mode, down_mode, up_mode, listen_mode;

/* ---- load_histogram.c ---- */

#define HISTOGRAM_BUCKETS 7424

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t n, max;
    double sum;
};

void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_print(const char *name, const struct histogram *histogram); /* ,"name":{...} in us */

/* ---- load_chat.c: a streamed chat call and what is learnt from its stamps ---- */

struct chat {
    struct client client; /* first, so that a client's address is its chat's */
    int scan_at;          /* how much of a stamp the last read ended with: 0, or '@' and digits */
    uint64_t scan_value;
    uint64_t expected, stamps, first_ns, last_ns;
};

void chat_begin(struct chat *chat, uint64_t expected, uint64_t number, const char *agent);
void chat_payload(struct client *client, const char *data, size_t len);
bool chat_whole(struct chat *chat); /* all stamps came; otherwise counts an error */
void chat_print(void);

#endif
