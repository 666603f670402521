/* What the two tools share: the clock, sockets, numbers, and an incremental HTTP/1.1 reader.
 *
 * A tool T is built from T*.c and common*.c of this folder, without a library:
 *     cc -O2 -Wall -Wextra -Werror -o T T*.c common*.c
 * Only upstream.c and load.c have a main and nothing refers to them, so that all the other files
 * may as well be linked into both.
 * The reader knows heads and bodies of requests and answers, no more: what a path or a status means
 * is its caller's. Linux only (epoll_pwait2: kernel 5.11, glibc 2.35).
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)
#define NEVER UINT64_MAX

#define STAMP_DIGITS 19     /* a stamp is '@' and CLOCK_MONOTONIC in ns, this many digits */
#define RECV_SIZE (1 << 17) /* one buffer for all reads of a process */

/* ---- common.c ---- */

uint64_t now_ns(void); /* CLOCK_MONOTONIC: the same for all processes of a machine */

/* Says one line on stderr and ends with the status. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

void *need(void *memory); /* the memory, or the end of the process if it is NULL */
void raise_fd_limit(void);
void send_at_once(int fd); /* TCP_NODELAY */

/* Reads a decimal number of nothing but digits; false if it is none or does not fit. */
bool parse_number(const char *text, size_t len, uint64_t *value);

/* Writes exactly width digits, zeros in front, and no end of string. */
void put_digits(char *to, uint64_t value, int width);

/* epoll_pwait2 until a time of now_ns()'s clock: to the microsecond, where epoll_wait has only
 * milliseconds. 0 events when a signal came. */
int wait_events(int epoll, struct epoll_event *events, int room, uint64_t now, uint64_t until);

/* ---- common_http.c ---- */

/* The bytes of one head as they come in. text and what points into it live until head_reset. */
struct head {
    char *text;
    size_t used, room;
    bool complete;
};

#define HEAD_TOO_LONG SIZE_MAX

/* Takes bytes up to the empty line that ends the head and says how many; sets complete. */
size_t head_take(struct head *head, const char *data, size_t len);
void head_reset(struct head *head);
void head_free(struct head *head);

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_CLOSE };

/* What a complete head says. */
struct message {
    const char *method, *target; /* of a request */
    size_t method_len, target_len;
    int status; /* of an answer */
    bool http10, close, expect_continue;
    enum framing framing;
    uint64_t length; /* with FRAMING_LENGTH */
};

bool parse_request(const struct head *head, struct message *message);
bool parse_answer(const struct head *head, struct message *message);

enum chunk_at {
    AT_SIZE_START,
    AT_SIZE,
    AT_EXTENSION,
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER_START,
    AT_TRAILER,
    AT_TRAILER_END
};

struct body {
    enum framing framing;
    enum chunk_at at;
    uint64_t left;   /* bytes missing of the body or of the chunk */
    uint64_t frames; /* HTTP chunks that were not empty */
    bool done, broken;
};

typedef void body_sink(void *context, const char *data, size_t len);

void body_begin(struct body *body, enum framing framing, uint64_t length);

/* Hands the payload in data to the sink; says how many bytes of data it took, which is all of them
 * unless the body is done or broken. */
size_t body_feed(struct body *body, const char *data, size_t len, body_sink *sink, void *context);

#endif
