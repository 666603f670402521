/* Which path is answered how: the small answers, the bulk ones, and who gets a stream.
 *
 *   GET  /  /api/version  /api/tags  /api/ps      small answers, in Ollama's words
 *   GET  /bytes/N                                 N bytes
 *   POST, PUT /bytes                              takes any body, says how long it was
 *   POST /api/chat  /api/generate  /v1/chat/completions    streams: upstream_stream.c
 *
 * Anything else is a 404. Headers stand in the order of Go's server.
 */
#include "upstream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define JSON_TYPE "application/json; charset=utf-8"
#define BLOCK (1 << 18)
#define BLOCKS_A_TURN 16 /* then the others have theirs */

static bool target_is(const struct connection *connection, const char *path)
{
    size_t len = strlen(path);
    const struct message *request = &connection->request;
    return request->target_len == len && memcmp(request->target, path, len) == 0;
}

static bool method_is(const struct connection *connection, const char *method)
{
    size_t len = strlen(method);
    const struct message *request = &connection->request;
    return request->method_len == len && memcmp(request->method, method, len) == 0;
}

bool request_takes_words(const struct connection *connection)
{
    return !target_is(connection, "/bytes"); /* a gigabyte need not be searched */
}

const char *date_now(void)
{
    static char text[40];
    static time_t written;
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != written) {
        written = now.tv_sec;
        gmtime_r(&written, &parts);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return text;
}

/* The head of an answer of known length, without the body. Its length. */
static int put_head(char *to, size_t room, const struct connection *connection, const char *status,
                    const char *type, uint64_t length)
{
    return snprintf(to, room,
                    "HTTP/1.1 %s\r\nContent-Type: %s\r\nDate: %s\r\n"
                    "Content-Length: %" PRIu64 "\r\n%s\r\n",
                    status, type, date_now(), length,
                    connection->request.close ? "Connection: close\r\n" : "");
}

static void answer_text(struct connection *connection, const char *status, const char *type,
                        const char *body)
{
    char text[1024];
    int len = put_head(text, sizeof text, connection, status, type, strlen(body));
    if (!method_is(connection, "HEAD"))
        len += snprintf(text + len, sizeof text - (size_t)len, "%s", body);
    connection->job = JOB_WHOLE;
    if (connection_send(connection, text, (size_t)len) == SENT)
        connection_answered(connection);
}

static void answer_json(struct connection *connection, const char *body)
{
    answer_text(connection, "200 OK", JSON_TYPE, body);
}

static void answer_bytes(struct connection *connection, uint64_t length)
{
    char text[1024];
    int len = put_head(text, sizeof text, connection, "200 OK", "application/octet-stream", length);
    connection->job = JOB_BYTES;
    connection->bytes_left = method_is(connection, "HEAD") ? 0 : length;
    if (connection_send(connection, text, (size_t)len) == SENT)
        continue_bytes(connection);
}

void continue_bytes(struct connection *connection)
{
    static char block[BLOCK];
    for (int turn = 0; connection->bytes_left > 0; turn++) {
        if (turn == BLOCKS_A_TURN) {
            schedule_put(&connection->timer, now_ns());
            return;
        }
        size_t len = connection->bytes_left < BLOCK ? (size_t)connection->bytes_left : BLOCK;
        ssize_t done = send(connection->fd, block, len, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) {
            connection_wait_for_room(connection, true);
            return;
        }
        if (done < 0) {
            connection_close(connection);
            return;
        }
        connection->bytes_left -= (uint64_t)done;
    }
    connection_answered(connection);
}

static void answer_taken(struct connection *connection)
{
    char body[64];
    snprintf(body, sizeof body, "{\"bytes\":%" PRIu64 "}", connection->body_bytes);
    answer_json(connection, body);
}

static void answer_get(struct connection *connection)
{
    static const char bytes[] = "/bytes/";
    const struct message *request = &connection->request;
    size_t prefix = sizeof bytes - 1;
    uint64_t length;
    if (target_is(connection, "/api/version"))
        answer_json(connection, "{\"version\":\"0.33.0\"}");
    else if (target_is(connection, "/api/tags") || target_is(connection, "/api/ps"))
        answer_json(connection, "{\"models\":[]}");
    else if (target_is(connection, "/"))
        answer_text(connection, "200 OK", "text/plain; charset=utf-8", "Ollama is running");
    else if (request->target_len > prefix && memcmp(request->target, bytes, prefix) == 0 &&
             parse_number(request->target + prefix, request->target_len - prefix, &length))
        answer_bytes(connection, length);
    else
        answer_text(connection, "404 Not Found", JSON_TYPE, "{\"error\":\"not found\"}");
}

void answer_request(struct connection *connection)
{
    bool post = method_is(connection, "POST");
    if (method_is(connection, "GET") || method_is(connection, "HEAD"))
        answer_get(connection);
    else if (post && target_is(connection, "/api/chat"))
        begin_stream(connection, DIALECT_CHAT);
    else if (post && target_is(connection, "/api/generate"))
        begin_stream(connection, DIALECT_GENERATE);
    else if (post && target_is(connection, "/v1/chat/completions"))
        begin_stream(connection, DIALECT_OPENAI);
    else if ((post || method_is(connection, "PUT")) && target_is(connection, "/bytes"))
        answer_taken(connection);
    else
        answer_text(connection, "404 Not Found", JSON_TYPE, "{\"error\":\"not found\"}");
}
