/* Clock, memory, numbers and sockets for both tools. Not here: HTTP (common_http.c). */
#include "common.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

void die(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(status);
}

void *need(void *memory)
{
    if (memory == NULL)
        die(1, "out of memory");
    return memory;
}

void raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

bool parse_number(const char *text, size_t len, uint64_t *value)
{
    if (len == 0 || len > 19) /* 19 digits always fit into 64 bits */
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(text[i] - '0');
    }
    *value = sum;
    return true;
}

void put_digits(char *to, uint64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

int wait_events(int epoll, struct epoll_event *events, int room, uint64_t now, uint64_t until)
{
    struct timespec timeout = {0, 0};
    if (until > now && until != NEVER) {
        timeout.tv_sec = (time_t)((until - now) / NS_PER_SECOND);
        timeout.tv_nsec = (long)((until - now) % NS_PER_SECOND);
    }
    int count = epoll_pwait2(epoll, events, room, until == NEVER ? NULL : &timeout, NULL);
    if (count < 0 && errno != EINTR)
        die(1, "epoll: %s", strerror(errno));
    return count < 0 ? 0 : count;
}
