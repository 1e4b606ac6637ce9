/* wake.h - how long a consumer that waits has to wait, once there is a message.
 *
 * Owns: the measurement, on two blocking connections.  Included once, by load.c.
 *
 * Strategy: the clock runs from just before the publish is written until the consumer has read the whole message, in
 * one process, which sleeps in that read.  Before it, the consumer's request has been written, and the producer's
 * pings have been answered: a server that reads its connections in turns has then executed that request.  An echo on
 * the producer's connection follows, turn by turn and under the same conditions, so that a ratio of both is one of
 * equals; what a server has still to do after a wake-up is not the echo's, so pings are answered before it, too. */

enum { TURNS = 2 }; /* pings that are answered before a request on another connection counts as executed */

static struct latencies woken, echoed;

static void converse(struct connection *c, uint64_t limit_ns) {
    while (c->count) {
        receive(c);
        if (now_ns() > limit_ns) fail(3, "time limit of %.0f s: %s wake", options.limit, options.protocol);
    }
}

static void ask(struct connection *c, const struct step *step, uint64_t limit_ns) {
    send_step(c, step, 1);
    converse(c, limit_ns);
}

static void wake_once(struct connection *consumer, struct connection *producer, uint64_t limit_ns) {
    send_step(consumer, &commands.wait, 1);
    for (int i = 0; i < TURNS; i++) ask(producer, &commands.ping, limit_ns);
    uint64_t began = now_ns();
    send_step(producer, &commands.publish, 1);
    converse(consumer, limit_ns);
    record(&woken, now_ns() - began);
    converse(producer, limit_ns);
    if (consumer->id_count) ask(consumer, &commands.removal, limit_ns);
    for (int i = 0; i < TURNS; i++) ask(producer, &commands.ping, limit_ns);
    began = now_ns();
    ask(producer, &commands.ping, limit_ns);
    record(&echoed, now_ns() - began);
}

static void run_wake(void) {
    open_connections(2);
    for (unsigned i = 0; i < connection_count; i++) prepare(&connections[i], 1);
    uint64_t limit_ns = now_ns() + (uint64_t)(options.limit * 1e9);
    for (uint64_t i = 0; i < options.messages; i++) wake_once(&connections[0], &connections[1], limit_ns);
    check_no_gap();
    expect_silence();
    printf("{\"messages\": %llu, \"wake_p50_us\": %.2f, \"wake_p99_us\": %.2f, \"echo_p50_us\": %.2f, "
           "\"echo_p99_us\": %.2f}\n",
           (unsigned long long)options.messages, percentile_us(&woken, 0.5), percentile_us(&woken, 0.99),
           percentile_us(&echoed, 0.5), percentile_us(&echoed, 0.99));
}
