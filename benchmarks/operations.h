/* operations.h - what the load generator says to each server, and what it must be answered.
 *
 * Owns: the bytes of every command and reply.  Knows no socket; included once, by load.c.  A new server is one more
 * function like define_redis; what all of them can do is put together once, in define_operation. */

/* The same commands of every server. `removal` is what a consumed message needs to be gone, where it needs that. */
static struct commands {
    struct step publish, consume, ping, wait, removal;
} commands;

static bool operation_is(const char *name) { return !strcmp(options.operation, name); }

/* Before anything is measured: the connection's topic and group. */
static void choose(const char *command, const char *name) {
    if (!name) return;
    hello = format("%s%s%s\n", hello, command, name);
    hello_reply = format("%s+ %s\n", hello_reply, name);
}

/* What only gstream has: messages in typed replies, for good or leased, many at a time, and in a stream. */
static void define_deliveries(const char *body, struct step publish) {
    enum reply reply = options.window > 1 ? MESSAGES : MESSAGE;
    char *count = options.window > 1 ? format(" %u", options.window) : "";
    char *lease = format("r0%s\n", count);
    struct step leasing = collecting(make_taking(lease, body, reply));
    struct step acknowledging = {.acknowledges = true};
    struct script script = {.takes = true};
    if (operation_is("take")) {
        add_step(&script, completing(make_taking(format("w0%s\n", count), body, reply)));
    } else if (operation_is("lease")) {
        add_step(&script, completing(make_taking(lease, body, reply)));
    } else if (operation_is("lease-ack")) {
        add_step(&script, leasing);
        add_step(&script, acknowledging);
    } else if (operation_is("ack-and-lease")) {
        add_step(&script, leasing);
        leasing.acknowledges = true;
        add_step(&script, leasing);
        script.loop_from = 1;
    } else if (operation_is("work")) {
        add_step(&script, collecting(make_taking(format("r0.1%s\n", count), body, reply)));
        add_step(&script, acknowledging);
        script.waits = true;
    } else if (operation_is("stream") || operation_is("live")) {
        add_step(&script, completing(make_taking("s\n", body, MESSAGES)));
        script.streams = true;
    }
    if (script.count) scripts[script_count++] = script;
    if (operation_is("live")) add_step(&scripts[script_count++], publish);
    if (operation_is("publish-counted")) {
        struct step counted = make_step(format("P%u\n%s\n", options.size, body), "+ ", "\n");
        counted.ids_differ = true;
        add_step(&scripts[script_count++], completing(counted));
    }
}

static struct commands define_gstream(const char *body) {
    hello_reply = "pXXX -> publish content XXX\r\nc -> consume new content\r\nq -> close stream\r\n";
    choose("t", options.topic);
    choose("g", options.group);
    struct step publish = make_step(format("p%s\n", body), "ok\r\n", NULL);
    define_deliveries(body, publish);
    return (struct commands){
        .publish = publish,
        .consume = make_step("c\n", format("%s\n", body), NULL),
        .ping = make_step("z\n", "+ \n", NULL),
        .wait = make_taking("w\n", body, MESSAGE),
    };
}

static struct commands define_redis(const char *body) {
    char *bulk = format("$%u\r\n%s\r\n", options.size, body);
    hello = "*1\r\n$4\r\nPING\r\n";
    hello_reply = "+PONG\r\n";
    return (struct commands){
        .publish = make_step(format("*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n%s", bulk), ":", "\r\n"),
        .consume = make_step("*2\r\n$4\r\nRPOP\r\n$1\r\nq\r\n", bulk, NULL),
        .ping = make_step(hello, "+PONG\r\n", NULL),
        .wait = make_step("*3\r\n$5\r\nBRPOP\r\n$1\r\nq\r\n$1\r\n0\r\n", format("*2\r\n$1\r\nq\r\n%s", bulk), NULL),
    };
}

static struct commands define_beanstalkd(const char *body) {
    char *job = format(" %u\r\n%s\r\n", options.size, body); /* the end of a put, and of what is reserved */
    hello = "list-tube-used\r\n"; /* the cheapest command that is always answered the same */
    hello_reply = "USING default\r\n";
    struct step reserve = collecting(make_step("reserve\r\n", "RESERVED ", job));
    return (struct commands){
        .publish = make_step(format("put 0 0 60%s", job), "INSERTED ", "\r\n"),
        .consume = reserve,
        .ping = make_step(hello, "USING default\r\n", NULL),
        .wait = reserve,
        .removal = make_step(NULL, "DELETED\r\n", NULL),
    };
}

static void define_operation(void) {
    const char text[] = "Here we go, again"; /* 17 bytes; the floor answers with it */
    char *body = need(calloc(options.size + 1, 1));
    for (unsigned i = 0; i < options.size; i++) body[i] = text[i % (sizeof text - 1)];
    if (!strcmp(options.protocol, "gstream")) commands = define_gstream(body);
    else if (!strcmp(options.protocol, "redis")) commands = define_redis(body);
    else if (!strcmp(options.protocol, "beanstalkd")) commands = define_beanstalkd(body);
    else fail(2, "unknown protocol: %s", options.protocol);
    const struct commands c = commands;
    bool flood = operation_is("flood"), needs_removal = c.removal.head;
    struct script script = {.count = 0};
    if (flood || operation_is("publish")) add_step(&script, completing(c.publish));
    if (flood || operation_is("consume")) add_step(&script, needs_removal ? c.consume : completing(c.consume));
    if ((flood || operation_is("consume")) && needs_removal) add_step(&script, completing(c.removal));
    if (operation_is("ping")) add_step(&script, completing(c.ping));
    if (operation_is("work") && !script_count) {
        add_step(&script, needs_removal ? c.wait : completing(c.wait));
        if (needs_removal) add_step(&script, completing(c.removal));
    }
    if (script.count) scripts[script_count++] = script;
    if (operation_is("work")) add_step(&scripts[script_count++], c.publish);
}
