/* connection.h - the connections: opened, watched, written to.
 *
 * Owns: the sockets, and what each connection still has to be answered.  Included once, by load.c. */

enum {
    CONNECT_BATCH = 64,  /* fewer than any server's listen backlog: a SYN that is dropped costs a second */
    ANSWER_SECONDS = 10, /* the longest wait for the first answer on a connection */
    HELLO_BYTES = 1024,
    ID_BYTES = 32, /* of a command for one message, or of a number in it */
};

struct expectation {
    const struct step *step;
    uint64_t left;    /* replies in a row; of messages, how many there may be */
    uint64_t counted; /* what an acknowledgement has to be answered, or 0 */
    bool met;
};

struct connection {
    int fd;
    bool wants_write;
    const struct script *script;
    const char *out; /* not yet written; points into a step's requests or into `built` */
    size_t out_bytes;
    char *built;
    size_t built_room;
    uint64_t *ids; /* reserved or leased, not yet deleted or acknowledged */
    size_t id_count, id_room;
    struct expectation *expected; /* ring */
    unsigned first, count, ring;
    size_t at;       /* bytes of the current constant reply that were matched */
    char *cut;       /* the beginning of a numbered reply whose end has not been read */
    size_t cut_bytes;
    uint64_t next_id; /* the least that may come */
    uint64_t taken;   /* messages in the current window */
    int step;         /* of the current window */
    uint64_t window;  /* commands in the current window */
    uint64_t began_ns;
};

static struct connection *connections;
static unsigned connection_count;
static int epoll;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

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
    char got[HELLO_BYTES];
    size_t bytes = strlen(hello_reply), at = 0;
    if (bytes > sizeof got) fail(2, "the names of the topic and the group are too long");
    if (*hello && write(fd, hello, strlen(hello)) < 0) fail(5, "write: %s", strerror(errno));
    while (at < bytes) {
        ssize_t n = read(fd, got + at, bytes - at);
        if (n < 0 && errno == EAGAIN) fail(3, "no answer on a new connection for %d s", ANSWER_SECONDS);
        if (n <= 0) fail(5, "a new connection was closed: %s", n ? strerror(errno) : "end of file");
        at += (size_t)n;
    }
    if (memcmp(got, hello_reply, bytes)) unexpected(hello_reply, got, at);
}

static void open_connections(unsigned count) {
    connection_count = count;
    connections = need(calloc(count, sizeof *connections));
    for (unsigned from = 0; from < count; from += CONNECT_BATCH) {
        unsigned to = from + CONNECT_BATCH < count ? from + CONNECT_BATCH : count;
        for (unsigned i = from; i < to; i++) connections[i].fd = dial();
        for (unsigned i = from; i < to; i++) await_hello(connections[i].fd);
    }
}

static void prepare(struct connection *c, unsigned ring) {
    c->ring = ring;
    c->expected = need(calloc(ring, sizeof *c->expected));
}

static void watch(struct connection *c, int operation, bool write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = c};
    c->wants_write = write;
    if (epoll_ctl(epoll, operation, c->fd, &event)) fail(5, "epoll_ctl: %s", strerror(errno));
}

static void watch_all(unsigned ring) {
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < connection_count; i++) {
        fcntl(connections[i].fd, F_SETFL, O_NONBLOCK);
        prepare(&connections[i], ring);
        watch(&connections[i], EPOLL_CTL_ADD, false);
    }
}

/* The end of stdin is an event without a connection. */
static void watch_stdin(void) {
    struct epoll_event end = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &end)) fail(2, "stdin must be a pipe");
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

static char *put_number(char *at, uint64_t number) {
    char digits[ID_BYTES], *first = digits + sizeof digits;
    do *--first = (char)('0' + number % 10);
    while (number /= 10);
    size_t bytes = (size_t)(digits + sizeof digits - first);
    memcpy(at, first, bytes);
    return at + bytes;
}

/* Commands that are made of ids: one that acknowledges all of them and what follows it, or a `delete` each. */
static void build(struct connection *c, const struct step *step) {
    size_t room = (c->id_count + 1) * ID_BYTES + (step->requests ? step->request_bytes : 0);
    if (c->built_room < room) c->built = need(realloc(c->built, c->built_room = room));
    char *at = c->built;
    for (size_t i = 0; i < c->id_count; i++) {
        if (!step->acknowledges) at = stpcpy(at, "delete ");
        else *at++ = i ? ' ' : 'a';
        at = put_number(at, c->ids[i]);
        if (!step->acknowledges) at = stpcpy(at, "\r\n");
    }
    if (step->acknowledges) *at++ = '\n';
    if (step->requests) at = mempcpy(at, step->requests, step->request_bytes);
    c->out = c->built;
    c->out_bytes = (size_t)(at - c->built);
    c->id_count = 0;
}

static void expect(struct connection *c, struct expectation expectation) {
    c->expected[(c->first + c->count++) % c->ring] = expectation;
}

/* `count`: commands, or messages that one command may be answered with. */
static void send_step(struct connection *c, const struct step *step, uint64_t count) {
    if (step->acknowledges) expect(c, (struct expectation){&acknowledgement, 1, c->id_count, false});
    if (step->head) expect(c, (struct expectation){step, count, 0, false});
    if (step->once) c->taken = 0;
    if (step->requests && !step->acknowledges) {
        c->out = step->requests;
        c->out_bytes = step->request_bytes * (step->once ? 1 : count);
    } else {
        build(c, step);
    }
    flush_out(c);
}
