/* Connections of the upstream: accepting, reading requests, writing without waiting, closing.
 *
 * A request has to be answered before the client sends the next one; one that comes early ends the
 * connection. Not here: what is answered (upstream_answers.c) and the loop (upstream.c).
 */
#include "upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int epoll;
static struct connection **connections; /* by file descriptor */
static int connections_room;
static char received[RECV_SIZE];

void connections_begin(int epoll_fd)
{
    epoll = epoll_fd;
}

/* ---- connections ---- */

static void connection_new(int fd)
{
    if (fd >= connections_room) {
        int room = 2 * fd + 64;
        connections = need(realloc(connections, (size_t)room * sizeof(struct connection *)));
        connections_room = room;
    }
    struct connection *connection = need(calloc(1, sizeof *connection));
    connection->fd = fd;
    connections[fd] = connection;
    send_at_once(fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die(1, "epoll_ctl: %s", strerror(errno));
}

void connection_close(struct connection *connection)
{
    schedule_drop(&connection->timer);
    connections[connection->fd] = NULL;
    close(connection->fd);
    head_free(&connection->head);
    free(connection->pending);
    free(connection);
}

void connections_accept(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            connection_new(fd);
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED && errno != EINTR)
            die(1, "accept: %s", strerror(errno));
    }
}

/* ---- writing ---- */

void connection_wait_for_room(struct connection *connection, bool wanted)
{
    if (connection->waits_for_room == wanted)
        return;
    connection->waits_for_room = wanted;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (wanted ? EPOLLOUT : 0),
                                .data.fd = connection->fd};
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

enum sent connection_send(struct connection *connection, const char *data, size_t len)
{
    ssize_t done = send(connection->fd, data, len, MSG_NOSIGNAL);
    if (done == (ssize_t)len)
        return SENT;
    if (done < 0 && errno != EAGAIN) {
        connection_close(connection);
        return GONE;
    }
    size_t taken = done < 0 ? 0 : (size_t)done;
    connection->pending = need(malloc(len - taken));
    memcpy(connection->pending, data + taken, len - taken);
    connection->pending_len = len - taken;
    connection->pending_done = 0;
    connection_wait_for_room(connection, true);
    return BLOCKED;
}

static enum sent send_pending(struct connection *connection)
{
    size_t left = connection->pending_len - connection->pending_done;
    const char *data = connection->pending + connection->pending_done;
    ssize_t done = send(connection->fd, data, left, MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN) {
        connection_close(connection);
        return GONE;
    }
    if (done > 0)
        connection->pending_done += (size_t)done;
    if (done != (ssize_t)left)
        return BLOCKED;
    free(connection->pending);
    connection->pending = NULL;
    return SENT;
}

void connection_continue(struct connection *connection)
{
    if (connection->job == JOB_STREAM)
        continue_stream(connection);
    else if (connection->job == JOB_BYTES)
        continue_bytes(connection);
    else
        connection_answered(connection);
}

static void socket_has_room(struct connection *connection)
{
    if (connection->pending != NULL && send_pending(connection) != SENT)
        return;
    connection_wait_for_room(connection, false);
    if (connection->state == ANSWERING) /* not so after a "100 Continue" */
        connection_continue(connection);
}

void connection_answered(struct connection *connection)
{
    if (connection->request.close) {
        connection_close(connection);
        return;
    }
    connection->state = READING_HEAD;
    head_reset(&connection->head);
}

/* ---- reading ---- */

static void take_body(void *context, const char *data, size_t len)
{
    struct connection *connection = context;
    connection->body_bytes += len;
    if (request_takes_words(connection))
        finder_feed(&connection->finder, data, len);
}

/* A head is complete: now its body. False: the connection is closed. */
static bool begin_request(struct connection *connection)
{
    if (!parse_request(&connection->head, &connection->request)) {
        connection_close(connection);
        return false;
    }
    connection->state = READING_BODY;
    connection->arrived_ns = now_ns();
    connection->body_bytes = 0;
    connection->finder = (struct finder){0};
    body_begin(&connection->body, connection->request.framing, connection->request.length);
    if (connection->request.expect_continue && !connection->body.done) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        return connection_send(connection, go_on, sizeof go_on - 1) != GONE;
    }
    return true;
}

/* Takes what was read; all of it belongs to one request, as nobody sends the next one early. */
static void take_bytes(struct connection *connection, const char *data, size_t len)
{
    size_t used = 0;
    if (connection->state == READING_HEAD) {
        used = head_take(&connection->head, data, len);
        if (used == HEAD_TOO_LONG) {
            connection_close(connection);
            return;
        }
        if (!connection->head.complete || !begin_request(connection))
            return;
    }
    struct body *body = &connection->body;
    if (connection->state == READING_BODY)
        used += body_feed(body, data + used, len - used, take_body, connection);
    if (body->broken || used < len) {
        connection_close(connection);
    } else if (body->done) {
        connection->state = ANSWERING;
        answer_request(connection);
    }
}

static void socket_has_bytes(struct connection *connection)
{
    ssize_t len = recv(connection->fd, received, sizeof received, 0);
    if (len > 0)
        take_bytes(connection, received, (size_t)len);
    else if (len == 0 || errno != EAGAIN)
        connection_close(connection);
}

void connections_event(int fd, uint32_t events)
{
    struct connection *connection = connections[fd];
    if (connection == NULL)
        return;
    /* A client that hangs up while it is being answered: a proxy must see its stream end too. */
    bool hung_up = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (hung_up && connection->state == ANSWERING)
        connection_close(connection);
    else if ((events & EPOLLIN) || hung_up)
        socket_has_bytes(connection);
    else if (events & EPOLLOUT)
        socket_has_room(connection);
}
