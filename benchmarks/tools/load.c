/* load MODE --port P ...: HTTP/1.1 clients on 127.0.0.1 that measure; prints one JSON object.
 *
 *   streams   N streamed chat answers at once            load_streams.c
 *   requests  small requests, one after the other        load_requests.c
 *   calls     short chat calls at a fixed rate           load_calls.c
 *   down, up  one large body                             load_transfer.c
 *   listen    readers of an event stream                 load_listen.c
 *
 * One thread, one epoll. What goes wrong is counted ("errors", "first_error") and never ends the
 * run; only wrong usage does, with status 2 and one line. Times are microseconds; percentiles come
 * from a histogram (load_histogram.c). "unfinished": errors that are answers given up after
 * --limit seconds (each mode has a default).
 *
 * This file: options, and what every mode prints; the loop is load_run.c. Not a general HTTP
 * client: no redirects, no TLS, no other address.
 */
#include "load.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, REAL, TEXT, SWITCH };

static struct options *const given = &run.options;

static const struct {
    const char *name;
    enum kind kind;
    void *to;
} known[] = {
    {"port", NUMBER, &run.options.port},
    {"streams", NUMBER, &run.options.streams},
    {"gap-us", NUMBER, &run.options.gap_us},
    {"size", NUMBER, &run.options.size},
    {"first-us", NUMBER, &run.options.first_us},
    {"chunks", NUMBER, &run.options.chunks},
    {"connections", NUMBER, &run.options.connections},
    {"tokens", NUMBER, &run.options.tokens},
    {"prompt-bytes", NUMBER, &run.options.prompt_bytes},
    {"clients", NUMBER, &run.options.clients},
    {"bytes", NUMBER, &run.options.bytes},
    {"pages", NUMBER, &run.options.pages},
    {"seconds", REAL, &run.options.seconds},
    {"rate", REAL, &run.options.rate},
    {"limit", REAL, &run.options.limit},
    {"dialect", TEXT, &run.options.dialect},
    {"path", TEXT, &run.options.path},
    {"body", TEXT, &run.options.body},
    {"method", TEXT, &run.options.method},
    {"hold", SWITCH, &run.options.hold},
    {"fresh", SWITCH, &run.options.fresh},
    {"chunked", SWITCH, &run.options.chunked},
};

#define KNOWN (sizeof known / sizeof *known)

static void set_option(size_t which, const char *text)
{
    char *end = NULL;
    bool good = true;
    if (known[which].kind == SWITCH) {
        *(bool *)known[which].to = true;
    } else if (known[which].kind == TEXT) {
        *(const char **)known[which].to = text;
    } else if (known[which].kind == NUMBER) {
        good = parse_number(text, strlen(text), known[which].to);
    } else {
        double value = *(double *)known[which].to = strtod(text, &end);
        good = end != text && *end == '\0' && value >= 0 && value < 1e6;
    }
    if (!good)
        die(2, "--%s takes a number, not \"%s\"", known[which].name, text);
}

static void read_options(int argc, char **argv)
{
    struct option table[KNOWN + 1] = {{0}};
    for (size_t i = 0; i < KNOWN; i++)
        table[i] = (struct option){known[i].name,
                                   known[i].kind == SWITCH ? no_argument : required_argument, NULL,
                                   (int)i};
    int which;
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (which < 0 || (size_t)which >= KNOWN)
            exit(2); /* getopt has said why */
        set_option((size_t)which, optarg);
    }
    if (optind < argc)
        die(2, "what is \"%s\"?", argv[optind]);
}

static const struct mode *mode_named(const char *name)
{
    static const struct mode *const modes[] = {&streams_mode, &requests_mode, &calls_mode,
                                               &down_mode,    &up_mode,       &listen_mode};
    for (size_t i = 0; name != NULL && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i]->name, name) == 0)
            return modes[i];
    die(2, "usage: load streams|requests|calls|down|up|listen --port P ...");
}

static void want(bool given_well, const char *what)
{
    if (!given_well)
        die(2, "load %s wants %s", run.mode->name, what);
}

/* What the mode cannot do without, and the defaults that depend on it. */
static void check_options(void)
{
    want(given->port > 0 && given->port < 65536, "--port");
    want(strcmp(given->dialect, "ollama") == 0 || is_openai(), "--dialect ollama or openai");
    if (run.mode == &streams_mode) {
        want(given->streams > 0, "--streams");
        want(given->chunks > 0 || given->hold || (given->seconds > 0 && given->gap_us > 0),
             "--seconds and --gap-us, or --chunks");
    } else if (run.mode == &requests_mode) {
        want(given->connections > 0 && given->seconds > 0, "--connections and --seconds");
        given->path = given->path != NULL ? given->path : "/api/version";
        given->method = given->method != NULL ? given->method : *given->body ? "POST" : "GET";
    } else if (run.mode == &calls_mode) {
        want(given->rate > 0 && given->seconds > 0 && given->tokens > 0 && given->clients > 0,
             "--rate, --seconds and --tokens");
    } else if (run.mode == &listen_mode) {
        want(given->pages > 0 && given->path != NULL, "--pages and --path");
    } else {
        want(given->bytes > 0, "--bytes");
        given->path = given->path != NULL ? given->path : "/bytes";
    }
}

int main(int argc, char **argv)
{
    run.options = (struct options){.gap_us = 0, .size = 100, .clients = 1, .dialect = "ollama",
                                   .body = ""};
    run.mode = mode_named(argv[1]);
    read_options(argc - 1, argv + 1);
    check_options();
    raise_fd_limit();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.started_ns = now_ns();
    run.mode->begin();
    run_until_finished();
    printf("{\"mode\":\"%s\",\"errors\":%" PRIu64 ",\"first_error\":", run.mode->name, run.errors);
    printf(run.errors ? "\"%s\"" : "null", run.first_error); /* our own words: nothing to escape */
    run.mode->print();
    puts("}");
    return 0;
}
