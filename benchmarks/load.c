/* load.c - the load generator: the same client for every server, so that only the servers differ.
 *
 * Owns: the modes, the clock, the command line.  Knows nothing about how a server is started.
 *
 * Strategy: one thread, one level-triggered epoll, non-blocking sockets.  An operation is a script of steps
 * (operations.h; beanstalkd's consume has two: reserve, delete).  A connection sends a window of n equal commands in
 * one write, or one command for n messages, reads the replies, and goes on to the next step; the round trip of a whole
 * window is one latency sample.  What publishes or consumes ends after a number of messages or of seconds; what takes
 * or leases ends when it is told that nothing is left, and the number must be right then.  Work is both at once, on as
 * many connections each.
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
#include "connection.h"
#include "operations.h"
#include "replies.h"
#include "wake.h"

enum { AHEAD = 8192 }; /* steps a flood may be ahead of its replies; the socket buffers are full long before */

static unsigned active;
static uint64_t to_start[SCRIPTS];
static struct latencies round_trips;

static bool streams(void) { return scripts[0].streams; }

static void send_scripted(struct connection *c) {
    const struct step *step = &c->script->steps[c->step];
    send_step(c, step, c->script->streams ? UINT64_MAX : c->window);
}

static void begin_window(struct connection *c, uint64_t now, uint64_t stop_ns) {
    uint64_t *left = &to_start[c->script - scripts];
    c->window = c->script->takes || *left > options.window ? options.window : *left;
    if (!c->window || now >= stop_ns) {
        active--;
        return;
    }
    if (!c->script->takes && !c->script->streams) *left -= c->window;
    c->began_ns = now;
    send_scripted(c);
}

static void advance(struct connection *c, uint64_t stop_ns) {
    if (c->count || c->out_bytes) return;
    if (c->script->waits && !c->taken && completed < options.messages) {
        send_scripted(c);
        return;
    }
    if (c->script->streams || (c->script->takes && !c->taken)) {
        active--;
        return;
    }
    if (++c->step < c->script->count) {
        send_scripted(c);
        return;
    }
    uint64_t now = now_ns();
    record(&round_trips, now - c->began_ns);
    c->step = c->script->loop_from;
    begin_window(c, now, stop_ns);
}

static void end_streams(void) {
    for (unsigned i = 0; i < options.connections; i++) {
        connections[i].out = "s0\n";
        connections[i].out_bytes = 3;
        flush_out(&connections[i]);
    }
}

static void check_total(void) {
    check_no_gap();
    if (options.messages && options.seconds <= 0 && completed != options.messages)
        fail(4, "%s %s: %llu messages wanted, %llu came", options.protocol, options.operation,
             (unsigned long long)options.messages, (unsigned long long)completed);
}

static void run_windows(void) {
    struct epoll_event events[512];
    open_connections(options.connections * (unsigned)script_count);
    watch_all(2);
    if (options.attached) watch_stdin();
    for (int i = 0; i < SCRIPTS; i++) to_start[i] = options.messages ? options.messages : UINT64_MAX;
    active = connection_count;
    uint64_t began = now_ns(), limit_ns = began + (uint64_t)(options.limit * 1e9), now = began, ended = 0;
    uint64_t stop_ns = options.seconds > 0 ? began + (uint64_t)(options.seconds * 1e9) : UINT64_MAX;
    for (unsigned i = 0; i < connection_count; i++) {
        connections[i].script = &scripts[i / options.connections];
        begin_window(&connections[i], now_ns(), stop_ns);
    }
    while (active) {
        int ready = epoll_wait(epoll, events, 512, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                stop_ns = 0;
                epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
                continue;
            }
            if (events[i].events & EPOLLOUT) flush_out(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT) {
                receive(c);
                advance(c, stop_ns);
            }
            if ((c->out_bytes > 0) != c->wants_write) watch(c, EPOLL_CTL_MOD, c->out_bytes > 0);
        }
        now = now_ns();
        if (!ended && options.messages && completed >= options.messages) {
            ended = now; /* before those who take have been told that nothing is left */
            if (streams()) end_streams();
        }
        if (now > limit_ns)
            fail(3, "time limit of %.0f s: %s %s got %llu replies, %u of %u connections still wait", options.limit,
                 options.protocol, options.operation, (unsigned long long)completed, active, connection_count);
    }
    check_total();
    if (!options.hold) expect_silence();
    double seconds = (double)((ended ? ended : now) - began) / 1e9;
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"max_us\": %.2f, \"began\": %.6f}\n",
           (unsigned long long)completed, seconds, (double)completed / seconds, percentile_us(&round_trips, 0.5),
           percentile_us(&round_trips, 0.99), (double)round_trips.slowest_ns / 1000, (double)began / 1e9);
    fflush(stdout);
    if (options.hold)
        while (getchar() != EOF) continue;
}

/* One connection that never waits for a reply before it sends on, until stdin ends. It publishes a window, consumes a
 * window, and so on: the server's memory stays as it is. */
static void run_flood(void) {
    struct epoll_event events[2];
    const struct script *script = &scripts[0];
    open_connections(1);
    watch_all(AHEAD);
    watch_stdin();
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
                    const struct step *s = &script->steps[step++ % script->count];
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
    open_connections(options.connections);
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
        {"port", 1, 0, 'p'},  {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'}, {"messages", 1, 0, 'n'},
        {"limit", 1, 0, 'l'}, {"seconds", 1, 0, 's'},     {"size", 1, 0, 'b'},   {"attempt", 1, 0, 'a'},
        {"topic", 1, 0, 't'}, {"group", 1, 0, 'g'},       {"hold", 0, 0, 'h'},   {"attached", 0, 0, 'd'},
        {0, 0, 0, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) switch (option) {
        case 'p': options.port = atoi(optarg); break;
        case 'c': options.connections = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'w': options.window = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'n': options.messages = strtoull(optarg, NULL, 10); break;
        case 's': options.seconds = atof(optarg); break;
        case 'b': options.size = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'l': options.limit = atof(optarg); break;
        case 'a': options.attempt = (unsigned)strtoul(optarg, NULL, 10); break;
        case 't': options.topic = optarg; break;
        case 'g': options.group = optarg; break;
        case 'h': options.hold = true; break;
        case 'd': options.attached = true; break;
        default: exit(2);
        }
    if (argc - optind != 2 || !options.port || !options.connections || !options.window)
        fail(2, "usage: load gstream|redis|beanstalkd publish|consume|ping|flood|idle|wake|work --port N\n"
                "            [--connections N] [--window N] [--messages N | --seconds S | --attached] [--size BYTES]\n"
                "            [--limit S] [--hold] [--attempt N] [--topic NAME] [--group NAME]\n"
                "       load gstream publish-counted|take|lease|lease-ack|ack-and-lease|stream|live ...\n"
                "--attached: until stdin ends.  --hold: the connections are kept until stdin ends.\n"
                "--attempt: the number of the delivery that is expected.");
    options.protocol = argv[optind];
    options.operation = argv[optind + 1];
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a server that is gone is reported, exit code 5 */
    read_options(argc, argv);
    define_operation();
    if (operation_is("idle")) {
        run_idle();
    } else if (operation_is("wake")) {
        if (!options.messages) fail(2, "say --messages");
        run_wake();
    } else if (!script_count) {
        fail(2, "unknown operation: %s", options.operation);
    } else if (operation_is("flood")) {
        run_flood();
    } else {
        if (!options.messages && (options.seconds <= 0 && !options.attached))
            fail(2, "say --messages, --seconds or --attached");
        if (!options.messages && (scripts[0].takes || streams() || operation_is("work"))) fail(2, "say --messages");
        run_windows();
    }
    return 0;
}
