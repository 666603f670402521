/* upstream PORT: a server that answers like Ollama, at a pace the request asks for.
 *
 * One thread, one epoll, HTTP/1.1 on 127.0.0.1. It says "ready PORT" on stdout once it listens
 * (PORT 0: any free one) and ends at SIGTERM. Every chunk of a stream carries the time at which
 * it was written, so that a client on the same machine knows how long it was under way. Paths and
 * what a request may ask for: upstream_answers.c, upstream_stream.c.
 *
 * It is not a model's simulator: no made-up text, no errors, nothing but a clock that writes.
 * This file: its socket, its loop and its timers. Connections: upstream_connection.c.
 */
#include "upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define EVENTS 256

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static int listen_on(int epoll, uint64_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, SOMAXCONN) != 0)
        die(1, "port %u: %s", (unsigned)port, strerror(errno));
    getsockname(fd, (struct sockaddr *)&address, &len);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    printf("ready %u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Serves those due by now. The kernel lets a sleep last up to 50 us longer (prctl's timer slack);
 * that is left so: a wake-up may cost 20 us in a virtual machine, and a slack of 1 us made a chunk
 * cost 30 % more at 25,000 a second. Stamps are not concerned, nor is the pace: dues are absolute.
 * One that is put back for a time already past has to wait its turn. */
static void run_timers(void)
{
    uint64_t now = now_ns();
    struct timer *timer;
    while ((timer = schedule_take_due(now)) != NULL)
        connection_continue((struct connection *)timer);
}

static void serve(int epoll, int listener)
{
    static struct epoll_event events[EVENTS];
    while (!stopping) {
        int count = wait_events(epoll, events, EVENTS, now_ns(), schedule_next());
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                connections_accept(listener);
            else
                connections_event(fd, events[i].events);
        }
        run_timers();
    }
}

int main(int argc, char **argv)
{
    /* What a proxy looks at of Ollama's own process, it is to find here, too. */
    prctl(PR_SET_NAME, "ollama");
    uint64_t port;
    if (argc != 2 || !parse_number(argv[1], strlen(argv[1]), &port) || port > 65535)
        die(2, "usage: upstream PORT");
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    raise_fd_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    connections_begin(epoll);
    serve(epoll, listen_on(epoll, port));
    return 0;
}
