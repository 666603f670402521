/* Reads HTTP/1.1 heads and bodies from pieces of any size, for requests and answers alike.
 *
 * Strict where a wrong count would hide a proxy's fault (chunk sizes, the CRLF after a chunk), lax
 * where nothing depends on it (header syntax, trailers). Not here: sockets, and what answers mean.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_LIMIT (1 << 16)

/* ---- heads ---- */

/* Looks for the empty line from where it can begin; the position after it, or 0. */
static size_t head_end(const struct head *head, size_t from)
{
    from = from > 3 ? from - 3 : 0;
    const char *end = memmem(head->text + from, head->used - from, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - head->text) + 4;
}

size_t head_take(struct head *head, const char *data, size_t len)
{
    size_t before = head->used;
    size_t take = len < HEAD_LIMIT - before ? len : HEAD_LIMIT - before;
    if (before + take > head->room) {
        head->room = before + take > 512 ? before + take : 512;
        head->text = need(realloc(head->text, head->room));
    }
    memcpy(head->text + before, data, take);
    head->used += take;
    size_t end = head_end(head, before);
    if (end == 0)
        return head->used == HEAD_LIMIT ? HEAD_TOO_LONG : take;
    head->complete = true;
    head->used = end;
    return end - before;
}

void head_reset(struct head *head)
{
    head->used = 0;
    head->complete = false;
}

void head_free(struct head *head)
{
    free(head->text);
    *head = (struct head){0};
}

static bool name_is(const char *line, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(line, name, len) == 0;
}

/* Whether the value names the token; a list as in "keep-alive, Upgrade" is searched as text. */
static bool value_has(const char *value, size_t len, const char *token)
{
    size_t want = strlen(token);
    for (size_t i = 0; i + want <= len; i++)
        if (strncasecmp(value + i, token, want) == 0)
            return true;
    return false;
}

/* Notes what one header line says about the message's framing and connection. */
static bool parse_header(struct message *message, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return false;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t value_len = len - name - 1;
    while (value_len > 0 && (*value == ' ' || *value == '\t'))
        value++, value_len--;
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--;
    if (name_is(line, name, "Content-Length")) {
        if (message->framing != FRAMING_CHUNKED)
            message->framing = FRAMING_LENGTH;
        return parse_number(value, value_len, &message->length);
    }
    if (name_is(line, name, "Transfer-Encoding") && value_has(value, value_len, "chunked"))
        message->framing = FRAMING_CHUNKED;
    else if (name_is(line, name, "Connection") && value_has(value, value_len, "close"))
        message->close = true;
    else if (name_is(line, name, "Connection") && value_has(value, value_len, "keep-alive"))
        message->close = false;
    else if (name_is(line, name, "Expect") && value_has(value, value_len, "100-continue"))
        message->expect_continue = true;
    return true;
}

/* Goes through the header lines that follow the first line. */
static bool parse_headers(const struct head *head, struct message *message, size_t from)
{
    const char *line = head->text + from, *last = head->text + head->used - 2;
    while (line < last) {
        const char *end = memmem(line, (size_t)(last - line), "\r\n", 2);
        if (end == NULL || !parse_header(message, line, (size_t)(end - line)))
            return false;
        line = end + 2;
    }
    return true;
}

static bool parse_version(struct message *message, const char *text)
{
    if (memcmp(text, "HTTP/1.", 7) != 0)
        return false;
    message->http10 = text[7] == '0';
    message->close = message->http10; /* unless a Connection header says otherwise */
    return true;
}

bool parse_request(const struct head *head, struct message *message)
{
    *message = (struct message){.framing = FRAMING_LENGTH};
    const char *line = head->text, *end = memmem(line, head->used, "\r\n", 2);
    const char *space = memchr(line, ' ', (size_t)(end - line));
    if (space == NULL)
        return false;
    message->method = line;
    message->method_len = (size_t)(space - line);
    message->target = space + 1;
    const char *next = memchr(space + 1, ' ', (size_t)(end - space - 1));
    if (next == NULL || end - next != 9 || !parse_version(message, next + 1))
        return false;
    message->target_len = (size_t)(next - space - 1);
    return parse_headers(head, message, (size_t)(end - line) + 2);
}

bool parse_answer(const struct head *head, struct message *message)
{
    *message = (struct message){.framing = FRAMING_UNTIL_CLOSE};
    const char *line = head->text, *end = memmem(line, head->used, "\r\n", 2);
    uint64_t status;
    if (end - line < 12 || !parse_version(message, line) || !parse_number(line + 9, 3, &status))
        return false;
    message->status = (int)status;
    if (!parse_headers(head, message, (size_t)(end - line) + 2))
        return false;
    if (status / 100 == 1 || status == 204 || status == 304) { /* these never have a body */
        message->framing = FRAMING_LENGTH;
        message->length = 0;
    }
    return true;
}

/* ---- bodies ---- */

void body_begin(struct body *body, enum framing framing, uint64_t length)
{
    *body = (struct body){.framing = framing};
    if (framing == FRAMING_LENGTH) {
        body->left = length;
        body->done = length == 0;
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* One byte of a chunk's size; the size's first byte must be a digit. */
static bool chunk_size_byte(struct body *body, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (body->left >> 56 != 0)
            return false;
        body->left = body->left * 16 + (uint64_t)digit;
        body->at = AT_SIZE;
        return true;
    }
    body->at = AT_EXTENSION;
    return c == '\r' || c == ';' || c == ' ' || c == '\t';
}

/* The line with the chunk's size has ended. */
static void chunk_size_end(struct body *body)
{
    body->frames += body->left > 0;
    body->at = body->left > 0 ? AT_DATA : AT_TRAILER_START;
}

/* One byte of the framing, that is, not of a chunk's data. False: it may not stand there. */
static bool chunk_byte(struct body *body, char c)
{
    switch (body->at) {
    case AT_SIZE_START:
        body->left = 0;
        return hex_digit(c) >= 0 && chunk_size_byte(body, c);
    case AT_SIZE:
        return chunk_size_byte(body, c);
    case AT_EXTENSION:
        if (c == '\n')
            chunk_size_end(body);
        return true;
    case AT_DATA_CR:
        body->at = AT_DATA_LF;
        return c == '\r';
    case AT_DATA_LF:
        body->at = AT_SIZE_START;
        return c == '\n';
    case AT_TRAILER_START:
        body->at = c == '\r' ? AT_TRAILER_END : AT_TRAILER;
        return true;
    case AT_TRAILER:
        if (c == '\n')
            body->at = AT_TRAILER_START;
        return true;
    case AT_TRAILER_END:
        body->done = true;
        return c == '\n';
    default:
        return false;
    }
}

static size_t feed_data(struct body *body, const char *data, size_t len, body_sink *sink,
                        void *context)
{
    size_t take = len < body->left ? len : (size_t)body->left;
    body->left -= take;
    sink(context, data, take);
    return take;
}

static size_t feed_chunked(struct body *body, const char *data, size_t len, body_sink *sink,
                           void *context)
{
    size_t used = 0;
    while (used < len && !body->done) {
        if (body->at == AT_DATA) {
            used += feed_data(body, data + used, len - used, sink, context);
            if (body->left == 0)
                body->at = AT_DATA_CR;
        } else if (chunk_byte(body, data[used])) {
            used++;
        } else {
            body->broken = true;
            break;
        }
    }
    return used;
}

size_t body_feed(struct body *body, const char *data, size_t len, body_sink *sink, void *context)
{
    if (body->done || len == 0)
        return 0;
    if (body->framing == FRAMING_CHUNKED)
        return feed_chunked(body, data, len, sink, context);
    if (body->framing == FRAMING_UNTIL_CLOSE) {
        sink(context, data, len);
        return len;
    }
    size_t used = feed_data(body, data, len, sink, context);
    body->done = body->left == 0;
    return used;
}
