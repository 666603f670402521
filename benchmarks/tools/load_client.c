/* One client connection: connect, send a request, read its answer, keep the connection or not.
 *
 * Nothing here waits. An answer that is not a whole 200 is an error, and its connection is closed.
 * What is asked and what an answer means is the mode's (struct mode).
 */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char received[RECV_SIZE];

/* ---- connecting and closing ---- */

static bool client_connect(struct client *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)run.options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    client->watched = client->waits_for_room = false;
    if (client->fd < 0)
        return false;
    send_at_once(client->fd);
    return connect(client->fd, (struct sockaddr *)&address, sizeof address) == 0 ||
           errno == EINPROGRESS;
}

static void client_watch(struct client *client, bool for_room)
{
    if (client->watched && client->waits_for_room == for_room)
        return;
    struct epoll_event event = {.events = for_room ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = client};
    int how = client->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(run.epoll, how, client->fd, &event) != 0)
        die(1, "epoll_ctl: %s", strerror(errno));
    client->watched = true;
    client->waits_for_room = for_room;
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = CLIENT_IDLE;
    free(client->owned);
    client->owned = NULL;
}

void client_close_with_reset(struct client *client)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (client->fd >= 0)
        setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_close(client);
}

void client_free(struct client *client)
{
    client_close(client);
    head_free(&client->head);
}

void client_fail(struct client *client, const char *why)
{
    run_error(why);
    run.frames += client->state == CLIENT_READS_BODY ? client->body.frames : 0;
    client_close(client);
    run.mode->failed(client);
}

/* ---- sending ---- */

/* Sends what the socket takes. */
static void client_flush(struct client *client)
{
    for (;;) {
        ssize_t done = send(client->fd, client->out, client->out_len, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN) {
            client_fail(client, strerror(errno));
            return;
        }
        if (done < (ssize_t)client->out_len) { /* full, or the connection is not yet made */
            client->out += done < 0 ? 0 : done;
            client->out_len -= done < 0 ? 0 : (size_t)done;
            client_watch(client, true);
            return;
        }
        client->out_len = 0;
        if (run.mode->refill == NULL || !run.mode->refill(client))
            break;
    }
    client->sent_ns = now_ns();
    free(client->owned);
    client->owned = NULL;
    client->state = CLIENT_READS_HEAD;
    client_watch(client, false);
}

void client_request(struct client *client, const char *text, size_t len, bool owned)
{
    client->begun_ns = now_ns();
    client->out = text;
    client->out_len = len;
    client->owned = owned ? (char *)text : NULL;
    head_reset(&client->head);
    if (client->fd < 0 && !client_connect(client)) {
        client_fail(client, strerror(errno));
        return;
    }
    client->state = CLIENT_SENDS;
    client_flush(client);
}

/* ---- reading ---- */

static void take_payload(void *context, const char *data, size_t len)
{
    run.bytes += len;
    run.mode->payload(context, data, len);
}

static void client_finish(struct client *client)
{
    run.frames += client->body.frames;
    client->state = CLIENT_IDLE;
    if (client->answer.close || client->body.framing == FRAMING_UNTIL_CLOSE)
        client_close(client);
    run.mode->whole(client);
}

/* The head is complete. False: the answer cannot be what it should, and the client has failed. */
static bool client_begin_body(struct client *client)
{
    char why[40];
    if (!parse_answer(&client->head, &client->answer)) {
        client_fail(client, "an answer's head that cannot be read");
        return false;
    }
    if (client->answer.status != 200) {
        snprintf(why, sizeof why, "status %d", client->answer.status);
        client_fail(client, why);
        return false;
    }
    client->state = CLIENT_READS_BODY;
    body_begin(&client->body, client->answer.framing, client->answer.length);
    return true;
}

/* An answer may come before the whole request is sent; then its end comes before the request's. */
static void client_take(struct client *client, const char *data, size_t len)
{
    size_t used = 0;
    if (client->state == CLIENT_SENDS || client->state == CLIENT_READS_HEAD) {
        used = head_take(&client->head, data, len);
        if (used == HEAD_TOO_LONG) {
            client_fail(client, "an answer's head that is too long");
            return;
        }
        if (!client->head.complete || !client_begin_body(client))
            return;
    }
    used += body_feed(&client->body, data + used, len - used, take_payload, client);
    if (client->body.broken)
        client_fail(client, "an answer's chunks that cannot be read");
    else if (used < len)
        client_fail(client, "bytes after an answer's end");
    else if (client->body.done)
        client_finish(client);
}

/* The other side has closed. */
static void client_hung_up(struct client *client)
{
    if (client->state == CLIENT_IDLE)
        client_close(client); /* a kept connection may be closed between two requests */
    else if (client->state == CLIENT_READS_BODY && client->body.framing == FRAMING_UNTIL_CLOSE)
        client_finish(client);
    else if (client->state == CLIENT_READS_BODY)
        client_fail(client, "closed before the answer's end");
    else
        client_fail(client, "closed before an answer");
}

static void client_read(struct client *client)
{
    ssize_t len = recv(client->fd, received, sizeof received, 0);
    client->read_ns = now_ns();
    if (len > 0 && client->state == CLIENT_IDLE) {
        client_close(client); /* a farewell such as a 408; nobody asked */
    } else if (len > 0) {
        run.reads++;
        client_take(client, received, (size_t)len);
    } else if (len == 0) {
        client_hung_up(client);
    } else if (errno != EAGAIN) {
        if (client->state == CLIENT_IDLE)
            client_close(client);
        else
            client_fail(client, strerror(errno));
    }
}

void client_event(struct client *client, uint32_t events)
{
    if (client->fd < 0)
        return;
    if (events & ~(uint32_t)EPOLLOUT)
        client_read(client);
    else
        client_flush(client);
}
