/* floor.c - the floor: what a server costs that only answers.
 *
 * Owns: nothing; it stores no message.  It speaks enough of gstream's protocol for the load generator: the banner,
 * `ok` to a `p` line, always the same 17-byte message to a `c` line, `+ ` to a `z` line.
 *
 * Strategy: what a small but correct C server does.  One thread, one level-triggered epoll, one read a wake-up, all of
 * its answers in one write; what the socket does not take is kept, and the connection is not read until it is gone.
 * Every line is looked for and answered by its first byte: no reply is sent that was not asked for. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BANNER "pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n"
#define MESSAGE "Here we go, again\n"

enum { READ_BYTES = 64 * 1024 };

struct connection {
    int fd;
    char command; /* first byte of a line whose end has not come yet, or 0 */
    char *pending;
    size_t at, bytes;
};

static int epoll;
static char incoming[READ_BYTES];
static char outgoing[READ_BYTES / 2 * sizeof MESSAGE]; /* the worst case: every two bytes read are `c\n` */

static void watch(struct connection *c, int operation, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, operation, c->fd, &event);
}

static void hang_up(struct connection *c) {
    close(c->fd);
    free(c->pending);
    free(c);
}

static void welcome(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    if (!c || write(fd, BANNER, sizeof BANNER - 1) < 0) {
        close(fd);
        free(c);
        return;
    }
    c->fd = fd;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static char *answer(char *out, char command) {
    const char *text = command == 'p' ? "ok\r\n" : command == 'c' ? MESSAGE : command == 'z' ? "+ \n" : "- unknown\n";
    size_t bytes = strlen(text);
    memcpy(out, text, bytes);
    return out + bytes;
}

static void serve(struct connection *c) {
    ssize_t got = read(c->fd, incoming, sizeof incoming);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        hang_up(c);
        return;
    }
    char *out = outgoing, *line = incoming, *stop = incoming + got, *end;
    while ((end = memchr(line, '\n', (size_t)(stop - line)))) {
        char command = c->command ? c->command : *line;
        if (command != '\n') out = answer(out, command); /* a blank line is ignored */
        c->command = 0;
        line = end + 1;
    }
    if (line < stop && !c->command) c->command = *line;
    size_t bytes = (size_t)(out - outgoing);
    ssize_t sent = bytes ? write(c->fd, outgoing, bytes) : 0;
    if (sent < 0 && errno != EAGAIN) {
        hang_up(c);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == bytes) return;
    c->bytes = bytes - done;
    c->at = 0;
    c->pending = malloc(c->bytes);
    if (!c->pending) exit(1);
    memcpy(c->pending, outgoing + done, c->bytes);
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

static void send_pending(struct connection *c) {
    ssize_t sent = write(c->fd, c->pending + c->at, c->bytes - c->at);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
        hang_up(c);
        return;
    }
    c->at += (size_t)sent;
    if (c->at < c->bytes) return;
    free(c->pending);
    c->pending = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct epoll_event events[512], listening = {.events = EPOLLIN, .data.ptr = NULL};
    signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of write, not the end */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            if (!events[i].data.ptr) welcome(listener);
            else if (events[i].events & EPOLLOUT) send_pending(events[i].data.ptr);
            else serve(events[i].data.ptr);
        }
    }
}
