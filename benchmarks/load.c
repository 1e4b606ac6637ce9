/* load.c - the load generator: the same client for every server, so that only the servers differ.
 *
 * Owns: the sockets, the clock, the check of every reply.  Knows nothing about how a server is started.
 *
 * Strategy: one thread, one level-triggered epoll, non-blocking sockets.  An operation is a list of steps (wire.h;
 * beanstalkd's consume has two: reserve, delete).  A connection sends a window of n equal commands in one write, reads n
 * replies, and goes on to the next step; the round trip of a whole window is one latency sample.  A reply is a constant,
 * or a head, a number and a tail: the constant ones are compared by memcmp with a ready-made repetition, which keeps the
 * generator several times faster than the fastest server.
 *
 * Prints one JSON line.  Exit codes: 2 usage, 3 time limit, 4 unexpected reply, 5 connection refused or lost. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"
#include "wire.h"

enum {
    CONNECT_BATCH = 64,  /* fewer than any server's listen backlog: a SYN that is dropped costs a second */
    AHEAD = 8192,        /* steps a flood may be ahead of its replies; the socket buffers are full long before */
    ANSWER_SECONDS = 10, /* the longest wait for the first answer on a connection */
};

struct expectation {
    const struct step *step;
    uint64_t left;
};

struct connection {
    int fd;
    bool wants_write;
    const char *out; /* not yet written; points into a step's requests or into `built` */
    size_t out_bytes;
    char *built;
    size_t built_bytes;
    uint64_t *ids; /* reserved, not yet deleted */
    size_t id_count, id_room;
    struct expectation *expected; /* ring */
    unsigned first, count, ring;
    size_t at;         /* bytes of the current reply that were matched (of its head, or of its tail) */
    unsigned digits;   /* of the number of the current reply */
    bool past_number;
    uint64_t number;
    int step;          /* of the current window */
    uint64_t window;   /* commands in the current window */
    uint64_t began_ns;
};

static struct connection *connections;
static unsigned active;
static uint64_t to_start, answered, completed;
static int epoll;
static char incoming[READ_BYTES];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- connections ---- */

static int dial(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0) fail(5, "socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail(5, "connect: %s", strerror(errno));
    return fd;
}

/* The banner, or the answer to a ping where the protocol has no banner. Still blocking: it is outside the clock. */
static void await_hello(int fd) {
    char got[128];
    size_t bytes = strlen(hello_reply), at = 0;
    if (*hello && write(fd, hello, strlen(hello)) < 0) fail(5, "write: %s", strerror(errno));
    while (at < bytes) {
        ssize_t n = read(fd, got + at, bytes - at);
        if (n < 0 && errno == EAGAIN) fail(3, "no answer on a new connection for %d s", ANSWER_SECONDS);
        if (n <= 0) fail(5, "a new connection was closed: %s", n ? strerror(errno) : "end of file");
        at += (size_t)n;
    }
    if (memcmp(got, hello_reply, bytes)) unexpected(hello_reply, got, at);
}

static void open_connections(void) {
    connections = need(calloc(options.connections, sizeof *connections));
    for (unsigned from = 0; from < options.connections; from += CONNECT_BATCH) {
        unsigned to = from + CONNECT_BATCH < options.connections ? from + CONNECT_BATCH : options.connections;
        for (unsigned i = from; i < to; i++) connections[i].fd = dial();
        for (unsigned i = from; i < to; i++) await_hello(connections[i].fd);
    }
}

static void watch(struct connection *c, int operation, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_write = write;
    if (epoll_ctl(epoll, operation, c->fd, &event)) fail(5, "epoll_ctl: %s", strerror(errno));
}

static void prepare_connections(unsigned ring) {
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < options.connections; i++) {
        struct connection *c = &connections[i];
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        c->ring = ring;
        c->expected = need(calloc(ring, sizeof *c->expected));
        watch(c, EPOLL_CTL_ADD, false);
    }
}

static void flush_out(struct connection *c) {
    while (c->out_bytes) {
        ssize_t n = write(c->fd, c->out, c->out_bytes);
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) fail(5, "write: %s", strerror(errno));
        c->out += n;
        c->out_bytes -= (size_t)n;
    }
}

static void build_deletes(struct connection *c) {
    if (c->built_bytes < c->id_count * 32) c->built = need(realloc(c->built, c->built_bytes = c->id_count * 32));
    c->out = c->built;
    c->out_bytes = 0;
    for (size_t i = 0; i < c->id_count; i++)
        c->out_bytes += (size_t)sprintf(c->built + c->out_bytes, "delete %llu\r\n", (unsigned long long)c->ids[i]);
    c->id_count = 0;
}

static void send_step(struct connection *c, const struct step *step, uint64_t count) {
    c->expected[(c->first + c->count++) % c->ring] = (struct expectation){step, count};
    if (step->requests) {
        c->out = step->requests;
        c->out_bytes = step->request_bytes * count;
    } else {
        build_deletes(c);
    }
    flush_out(c);
}

/* ---- replies: every byte is checked ---- */

static size_t match_constant(struct connection *c, struct expectation *e, const char *data, size_t bytes) {
    const struct step *s = e->step;
    uint64_t wanted = e->left * s->head_bytes - c->at;
    size_t n = bytes < wanted ? bytes : (size_t)wanted;
    if (memcmp(s->repeated + c->at, data, n)) unexpected(s->head, data, n);
    uint64_t whole = (c->at + n) / s->head_bytes;
    e->left -= whole;
    completed += s->completes ? whole : 0;
    c->at = (c->at + n) % s->head_bytes;
    return n;
}

static void keep_id(struct connection *c) {
    if (c->id_count == c->id_room)
        c->ids = need(realloc(c->ids, sizeof *c->ids * (c->id_room = c->id_room ? 2 * c->id_room : 64)));
    c->ids[c->id_count++] = c->number;
}

static size_t match_number(struct connection *c, struct expectation *e, const char *data, size_t bytes) {
    const struct step *s = e->step;
    size_t i = 0;
    while (i < bytes && e->left) {
        char got = data[i++];
        if (!c->past_number && c->at < s->head_bytes) {
            if (got != s->head[c->at++]) unexpected(s->head, data, bytes);
            continue;
        }
        if (!c->past_number && got >= '0' && got <= '9') {
            c->number = c->number * 10 + (uint64_t)(got - '0');
            c->digits++;
            continue;
        }
        if (!c->past_number) {
            if (!c->digits) unexpected(s->head, data, bytes);
            c->past_number = true;
            c->at = 0;
        }
        if (got != s->tail[c->at++]) unexpected(s->head, data, bytes);
        if (c->at < s->tail_bytes) continue;
        if (s->collects_ids) keep_id(c);
        c->at = c->digits = 0;
        c->number = 0;
        c->past_number = false;
        completed += s->completes;
        e->left--;
    }
    return i;
}

static void receive(struct connection *c) {
    ssize_t got = read(c->fd, incoming, sizeof incoming);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail(5, "the server closed a connection: %s", got ? strerror(errno) : "end of file");
    for (size_t at = 0; at < (size_t)got;) {
        if (!c->count) unexpected("nothing", incoming + at, (size_t)got - at);
        struct expectation *e = &c->expected[c->first];
        at += e->step->number ? match_number(c, e, incoming + at, (size_t)got - at)
                              : match_constant(c, e, incoming + at, (size_t)got - at);
        if (!e->left) {
            c->first = (c->first + 1) % c->ring;
            c->count--;
        }
    }
}

/* Every reply has come: after the end of what was asked only the end of what is answered may follow. The clock has
 * stopped. */
static void expect_silence(void) {
    for (unsigned i = 0; i < options.connections; i++) shutdown(connections[i].fd, SHUT_WR);
    for (unsigned i = 0; i < options.connections; i++) {
        fcntl(connections[i].fd, F_SETFL, 0); /* blocking again, with the patience that dial() gave it */
        ssize_t got = read(connections[i].fd, incoming, sizeof incoming);
        if (got > 0) unexpected("the end", incoming, (size_t)got);
        if (got < 0) fail(5, "a connection did not end in order: %s", strerror(errno));
    }
}

/* ---- the modes ---- */

static void begin_window(struct connection *c, uint64_t now, uint64_t stop_ns) {
    c->window = to_start < options.window ? to_start : options.window;
    if (!c->window || now >= stop_ns) {
        active--;
        return;
    }
    to_start -= c->window;
    c->step = 0;
    c->began_ns = now;
    send_step(c, &steps[0], c->window);
}

static void advance(struct connection *c, uint64_t stop_ns) {
    if (c->count || c->out_bytes) return;
    if (++c->step < step_count) {
        send_step(c, &steps[c->step], c->window);
        return;
    }
    uint64_t now = now_ns();
    record(now - c->began_ns);
    answered += c->window;
    begin_window(c, now, stop_ns);
}

static void run_windows(void) {
    struct epoll_event events[512];
    open_connections();
    prepare_connections(1);
    to_start = options.messages ? options.messages : UINT64_MAX;
    active = options.connections;
    uint64_t began = now_ns(), limit_ns = began + (uint64_t)(options.limit * 1e9), now = began;
    uint64_t stop_ns = options.seconds > 0 ? began + (uint64_t)(options.seconds * 1e9) : UINT64_MAX;
    for (unsigned i = 0; i < options.connections; i++) begin_window(&connections[i], now_ns(), stop_ns);
    while (active) {
        int ready = epoll_wait(epoll, events, 512, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush_out(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                receive(c);
                advance(c, stop_ns);
            }
            if ((c->out_bytes > 0) != c->wants_write) watch(c, EPOLL_CTL_MOD, c->out_bytes > 0);
        }
        now = now_ns();
        if (now > limit_ns)
            fail(3, "time limit of %.0f s: %s %s got %llu replies, %u of %u connections still wait", options.limit,
                 options.protocol, options.operation, (unsigned long long)completed, active, options.connections);
    }
    expect_silence();
    double seconds = (double)(now - began) / 1e9;
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"max_us\": %.2f}\n",
           (unsigned long long)answered, seconds, (double)answered / seconds, percentile_us(0.5), percentile_us(0.99),
           (double)slowest_ns / 1000);
}

/* One connection that never waits for a reply before it sends on, until stdin ends. It publishes a window, consumes a
 * window, and so on: the server's memory stays as it is. */
static void run_flood(void) {
    struct epoll_event events[2], end = {.events = EPOLLIN, .data.ptr = NULL};
    options.connections = 1;
    open_connections();
    prepare_connections(AHEAD);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &end)) fail(2, "flood needs a pipe as its stdin");
    struct connection *c = connections;
    int step = 0;
    bool announced = false;
    uint64_t began = now_ns(), heard = began;
    for (;;) {
        bool room = c->count < c->ring;
        if (room != c->wants_write) watch(c, EPOLL_CTL_MOD, room);
        int ready = epoll_wait(epoll, events, 2, 100);
        for (int i = 0; i < ready; i++) {
            if (!events[i].data.ptr) {
                double seconds = (double)(now_ns() - began) / 1e9;
                printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.1f}\n", (unsigned long long)completed,
                       seconds, (double)completed / seconds);
                return;
            }
            if (events[i].events & EPOLLOUT) {
                flush_out(c);
                if (!c->out_bytes && room) {
                    const struct step *s = &steps[step++ % step_count];
                    if (s->requests || c->id_count) send_step(c, s, s->requests ? options.window : c->id_count);
                }
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                receive(c);
                heard = now_ns();
            }
        }
        if (!announced && completed >= options.window) {
            announced = printf("FLOODING\n") > 0;
            fflush(stdout);
        }
        if (now_ns() - heard > (uint64_t)(options.limit * 1e9))
            fail(3, "no reply to a flood for %.0f s", options.limit);
    }
}

/* Many connections that do nothing. A line on stdin: connect once more, print how long the answer took. */
static void run_idle(void) {
    char line[16];
    open_connections();
    printf("READY %u\n", options.connections);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        uint64_t began = now_ns();
        int fd = dial();
        await_hello(fd);
        printf("{\"microseconds\": %.2f}\n", (double)(now_ns() - began) / 1000);
        fflush(stdout);
        close(fd);
    }
}

static void read_options(int argc, char **argv) {
    static const struct option known[] = {
        {"port", 1, 0, 'p'},    {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'}, {"messages", 1, 0, 'n'},
        {"seconds", 1, 0, 's'}, {"size", 1, 0, 'b'},        {"limit", 1, 0, 'l'},  {0, 0, 0, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'w': options.window = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': options.messages = strtoull(optarg, NULL, 10); break;
        case 's': options.seconds = atof(optarg); break;
        case 'b': options.size = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'l': options.limit = atof(optarg); break;
        default: exit(2);
        }
    if (argc - optind != 2 || !options.port || !options.connections || !options.window)
        fail(2, "usage: load gstream|redis|beanstalkd publish|consume|ping|flood|idle --port N\n"
                "            [--connections N] [--window N] [--messages N | --seconds S] [--size BYTES] [--limit S]");
    options.protocol = argv[optind];
    options.operation = argv[optind + 1];
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a server that is gone is reported, exit code 5 */
    read_options(argc, argv);
    define_operation();
    if (!strcmp(options.operation, "idle")) {
        run_idle();
    } else if (!step_count) {
        fail(2, "unknown operation: %s", options.operation);
    } else if (!strcmp(options.operation, "flood")) {
        run_flood();
    } else {
        if (!options.messages && options.seconds <= 0) fail(2, "say --messages or --seconds");
        run_windows();
    }
    return 0;
}
