/* The upstream's own types: one connection, its request and its answer. See upstream.c. */
#ifndef BENCH_UPSTREAM_H
#define BENCH_UPSTREAM_H

#include "common.h"

/* ---- upstream_schedule.c: who is due when ---- */

struct timer {
    size_t place; /* in the heap, counted from 1; 0: not scheduled */
};

void schedule_put(struct timer *timer, uint64_t due); /* also moves one that is scheduled */
void schedule_drop(struct timer *timer);
uint64_t schedule_next(void);                   /* when the earliest is due, or NEVER */
struct timer *schedule_take_due(uint64_t now); /* one that is due, now unscheduled, or NULL */

/* ---- one connection ---- */

/* Looks for "bench:" in a request's body, however it is cut, and keeps the words after it. */
struct finder {
    size_t matched;
    char words[160];
    size_t used;
    bool done;
};

/* One streamed answer. Chunk k is due at start_ns + k * gap_ns, whatever happened before. */
struct stream {
    const struct shape *shape;
    uint64_t chunks, sent, gap_ns, start_ns;
    uint64_t arrived_ns, first_ns, last_ns;
    uint64_t prompt_bytes;
    bool hold; /* after the last chunk: neither an end nor a close */
};

enum state { READING_HEAD, READING_BODY, ANSWERING };
enum job { JOB_WHOLE, JOB_BYTES, JOB_STREAM }; /* what goes on once the socket takes more */
enum sent { SENT, BLOCKED, GONE };             /* GONE: the connection is closed and freed */

struct connection {
    struct timer timer; /* first, so that a timer's address is its connection's */
    int fd;
    enum state state;
    enum job job;
    bool waits_for_room; /* EPOLLOUT is asked for */
    struct head head;
    struct message request;
    struct body body;
    struct finder finder;
    uint64_t arrived_ns;  /* when the request's head was complete */
    uint64_t body_bytes;  /* of the request */
    uint64_t bytes_left;  /* of GET /bytes/N */
    struct stream stream;
    char *pending; /* what the socket did not take yet */
    size_t pending_len, pending_done;
};

/* ---- upstream_connection.c ---- */

void connections_begin(int epoll);
void connections_accept(int listener); /* all that wait */
void connections_event(int fd, uint32_t events);

/* Sends all of it in one write, or keeps what the socket does not take. */
enum sent connection_send(struct connection *connection, const char *data, size_t len);
void connection_wait_for_room(struct connection *connection, bool wanted);
void connection_continue(struct connection *connection); /* goes on with an answer */
void connection_close(struct connection *connection);
void connection_answered(struct connection *connection); /* the answer is out: the next request */

/* ---- upstream_answers.c ---- */

bool request_takes_words(const struct connection *connection); /* may "bench:" stand in its body */
void answer_request(struct connection *connection);
void continue_bytes(struct connection *connection);
const char *date_now(void); /* the value of a Date header */

/* ---- upstream_stream.c ---- */

enum dialect { DIALECT_CHAT, DIALECT_GENERATE, DIALECT_OPENAI };

void finder_feed(struct finder *finder, const char *data, size_t len);
void begin_stream(struct connection *connection, enum dialect dialect);
void continue_stream(struct connection *connection);

#endif
