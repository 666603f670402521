/* One run of `load`: its counts, its clock, its input, and the loop that serves the clients.
 *
 * Not here: what is asked and what is learnt from it, which is each mode's.
 */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVENTS 256

struct run run;

bool is_openai(void)
{
    return strcmp(run.options.dialect, "openai") == 0;
}

void run_error(const char *why)
{
    if (run.errors++ == 0)
        snprintf(run.first_error, sizeof run.first_error, "%s", why);
}

uint64_t after_seconds(double s)
{
    return run.started_ns + (uint64_t)(s * 1e9);
}

void say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

void watch_input(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    /* A file (as with </dev/null) cannot be watched, and has nothing to wait for. */
    run.input_closed = epoll_ctl(run.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0;
}

static void read_input(void)
{
    char ignored[256];
    if (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        return;
    run.input_closed = true;
    epoll_ctl(run.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

void run_until_finished(void)
{
    static struct epoll_event events[EVENTS];
    for (;;) {
        uint64_t now = now_ns(), next = run.mode->turn(now);
        if (run.finished)
            return;
        int count = wait_events(run.epoll, events, EVENTS, now, next);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                read_input();
            else
                client_event(events[i].data.ptr, events[i].events);
        }
    }
}
