/* wire.h - what the load generator says to each server, and what it must be answered.
 *
 * Owns: the command line's options, the bytes of every command and reply.  Knows no socket; included once, by load.c.
 *
 * Strategy: an operation is a list of steps, and a window of a step is built once, here, and not while the clock runs.
 * A new server is one more branch in define_operation. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 256 * 1024 };

static struct {
    const char *protocol, *operation;
    int port;
    unsigned connections, window, size;
    uint64_t messages; /* 0: no limit */
    double seconds;    /* 0: no limit */
    double limit;
} options = {.connections = 1, .window = 1, .size = 17, .limit = 60};

struct step {
    char *requests; /* `window` commands in a row; NULL: the command is built from an id (delete) */
    size_t request_bytes;
    char *head, *tail; /* a reply is head, digits if `number`, tail */
    size_t head_bytes, tail_bytes;
    bool number, collects_ids, completes; /* completes: its reply is the last one of a message */
    char *repeated;                       /* constant replies in a row, one longer than a read */
};

static struct step steps[4];
static int step_count;
static const char *hello = "", *hello_reply = "";

static void fail(int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(code);
}

static void show(const char *title, const char *text, size_t bytes) {
    fprintf(stderr, "%s", title);
    for (size_t i = 0; i < bytes && i < 48; i++)
        fprintf(stderr, text[i] >= 32 && text[i] < 127 ? "%c" : "\\x%02x", (unsigned char)text[i]);
}

static void unexpected(const char *wanted, const char *got, size_t bytes) {
    fprintf(stderr, "load: unexpected reply from %s", options.protocol);
    show(", expected ", wanted, strlen(wanted));
    show(", got ", got, bytes);
    fprintf(stderr, "\n");
    exit(4);
}

static void *need(void *memory) {
    if (!memory) fail(1, "out of memory");
    return memory;
}

static char *format(const char *text, ...) {
    char *made;
    va_list arguments;
    va_start(arguments, text);
    if (vasprintf(&made, text, arguments) < 0) fail(1, "out of memory");
    va_end(arguments);
    return made;
}

static char *repeat(const char *text, size_t times) {
    size_t bytes = strlen(text);
    char *made = need(malloc(bytes * times + 1));
    for (size_t i = 0; i < times; i++) memcpy(made + i * bytes, text, bytes);
    return made;
}

/* A reply of NULL tail is the constant `head`; a request of NULL is a delete. */
static void add_step(const char *request, char *head, char *tail, bool collects_ids, bool completes) {
    struct step *s = &steps[step_count++];
    *s = (struct step){.head = head, .head_bytes = strlen(head), .collects_ids = collects_ids, .completes = completes};
    if (request) {
        s->request_bytes = strlen(request);
        s->requests = repeat(request, options.window);
    }
    if (tail) {
        s->number = true;
        s->tail = tail;
        s->tail_bytes = strlen(tail);
    } else {
        s->repeated = repeat(head, READ_BYTES / s->head_bytes + 2);
    }
}

static void define_operation(void) {
    bool flood = !strcmp(options.operation, "flood");
    bool publish = flood || !strcmp(options.operation, "publish");
    bool consume = flood || !strcmp(options.operation, "consume");
    bool ping = !strcmp(options.operation, "ping");
    const char text[] = "Here we go, again"; /* 17 bytes; the floor answers with it */
    char *body = need(calloc(options.size + 1, 1));
    for (unsigned i = 0; i < options.size; i++) body[i] = text[i % (sizeof text - 1)];

    if (!strcmp(options.protocol, "gstream")) {
        hello_reply = "pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n";
        if (publish) add_step(format("p%s\n", body), "ok\r\n", NULL, false, true);
        if (consume) add_step("c\n", format("%s\n", body), NULL, false, true);
        if (ping) add_step("z\n", "+ \n", NULL, false, true);
    } else if (!strcmp(options.protocol, "redis")) {
        hello = "*1\r\n$4\r\nPING\r\n";
        hello_reply = "+PONG\r\n";
        if (publish)
            add_step(format("*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n$%u\r\n%s\r\n", options.size, body), ":", "\r\n", false,
                     true);
        if (consume)
            add_step("*2\r\n$4\r\nRPOP\r\n$1\r\nq\r\n", format("$%u\r\n%s\r\n", options.size, body), NULL, false, true);
        if (ping) add_step(hello, "+PONG\r\n", NULL, false, true);
    } else if (!strcmp(options.protocol, "beanstalkd")) {
        hello = "list-tube-used\r\n"; /* the cheapest command that is always answered the same */
        hello_reply = "USING default\r\n";
        if (publish) add_step(format("put 0 0 60 %u\r\n%s\r\n", options.size, body), "INSERTED ", "\r\n", false, true);
        if (consume) {
            add_step("reserve\r\n", "RESERVED ", format(" %u\r\n%s\r\n", options.size, body), true, false);
            add_step(NULL, "DELETED\r\n", NULL, false, true);
        }
        if (ping) add_step(hello, "USING default\r\n", NULL, false, true);
    } else {
        fail(2, "unknown protocol: %s", options.protocol);
    }
}
