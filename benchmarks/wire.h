/* wire.h - what a command and its reply are made of.
 *
 * Owns: the command line's options, and the forms of replies.  Knows no socket and no server's commands; included once,
 * by load.c.
 *
 * Strategy: an operation is a script, a list of steps that a connection repeats, and a window of a step is built once,
 * here, and not while the clock runs. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 256 * 1024 };

static struct {
    const char *protocol, *operation, *topic, *group;
    int port;
    unsigned connections, window, size, attempt;
    uint64_t messages; /* 0: no limit */
    double seconds;    /* 0: no limit */
    double limit;
    bool hold, attached;
} options = {.connections = 1, .window = 1, .size = 17, .attempt = 1, .limit = 60};

enum reply {
    CONSTANT, /* `head` */
    NUMBERED, /* `head`, digits, `tail` */
    MESSAGE,  /* a numbered line, or `.`: there is none */
    MESSAGES, /* numbered lines, then `.` */
};

struct step {
    char *requests; /* a window of commands, or `once`; NULL: none, or built from ids */
    size_t request_bytes;
    bool once;         /* one command for a whole window of messages */
    bool acknowledges; /* before the command, in the same write, a line that acknowledges what is leased */
    enum reply reply;
    char *head, *tail;
    size_t head_bytes, tail_bytes;
    bool collects_ids; /* they are needed by a later step */
    bool ids_differ;   /* no id comes twice, whatever the connection, and on each connection they rise */
    bool completes;    /* its reply is the last one of a message */
    char *repeated;    /* constant replies in a row, one longer than a read */
};

struct script {
    struct step steps[3];
    int count, loop_from; /* the step that follows the last one */
    bool takes;           /* it ends when there is nothing left to take, and not after a number of commands */
    bool streams;
    bool waits;           /* that nothing came is the end only when everything has come */
};

enum { SCRIPTS = 2 }; /* the second one: of as many connections more, which do something else */
static struct script scripts[SCRIPTS];
static int script_count;
static struct step acknowledgement = {
    .reply = NUMBERED, .head = "+ ", .tail = "\n", .head_bytes = 2, .tail_bytes = 1};
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

/* A reply without a tail is the constant `head`. */
static struct step make_step(const char *request, char *head, char *tail) {
    struct step s = {.head = head, .head_bytes = strlen(head)};
    if (request) {
        s.request_bytes = strlen(request);
        s.requests = repeat(request, options.window);
    }
    if (tail) {
        s.reply = NUMBERED;
        s.tail = tail;
        s.tail_bytes = strlen(tail);
    } else {
        s.repeated = repeat(head, READ_BYTES / s.head_bytes + 2);
    }
    return s;
}

/* A command that is answered with messages, each `= id attempt body`. */
static struct step make_taking(const char *request, const char *body, enum reply reply) {
    struct step s = make_step(request, "= ", format(" %u %s\n", options.attempt, body));
    s.reply = reply;
    s.once = s.ids_differ = true;
    return s;
}

static struct step completing(struct step s) {
    s.completes = true;
    return s;
}

static struct step collecting(struct step s) {
    s.collects_ids = true;
    return s;
}

static void add_step(struct script *script, struct step step) { script->steps[script->count++] = step; }
