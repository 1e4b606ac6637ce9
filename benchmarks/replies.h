/* replies.h - what the servers answer: every byte is checked.
 *
 * Owns: the counts of what has come.  Included once, by load.c.
 *
 * Strategy: constant replies are compared by memcmp with a ready-made repetition, wherever a read has cut them.  A
 * numbered one is looked at as a whole; what a read has cut off is put before the next one.  Both keep the generator
 * several times faster than the fastest server. */

static uint64_t completed;
static char incoming[READ_BYTES];

/* The ids that came, a bit each, and the least and the greatest: none twice and, in the end, none left out. */
static uint64_t *came, ids_came, least_id = UINT64_MAX, greatest_id;
static size_t came_words;

static void check_id(struct connection *c, uint64_t id) {
    size_t word = id / 64;
    if (id < c->next_id) fail(4, "%s: id %llu came after a greater one", options.protocol, (unsigned long long)id);
    c->next_id = id + 1;
    if (word >= came_words) {
        size_t words = 2 * word + 1024;
        came = need(realloc(came, words * sizeof *came));
        memset(came + came_words, 0, (words - came_words) * sizeof *came);
        came_words = words;
    }
    if (came[word] & 1ull << id % 64) fail(4, "%s: id %llu came twice", options.protocol, (unsigned long long)id);
    came[word] |= 1ull << id % 64;
    ids_came++;
    if (id < least_id) least_id = id;
    if (id > greatest_id) greatest_id = id;
}

static void check_no_gap(void) {
    if (ids_came && greatest_id - least_id + 1 != ids_came)
        fail(4, "%s: %llu ids from %llu to %llu", options.protocol, (unsigned long long)ids_came,
             (unsigned long long)least_id, (unsigned long long)greatest_id);
}

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

/* The bytes of one numbered reply, 0 if its end has not come. */
static size_t match_number(const struct step *s, const char *data, size_t bytes, uint64_t *number) {
    size_t head = bytes < s->head_bytes ? bytes : s->head_bytes, at = head;
    if (memcmp(data, s->head, head)) unexpected(s->head, data, bytes);
    uint64_t value = 0;
    while (at < bytes && (unsigned char)(data[at] - '0') < 10) value = value * 10 + (uint64_t)(data[at++] - '0');
    if ((at < bytes && at == head) || at > head + 19) unexpected(s->head, data, bytes);
    size_t tail = bytes - at < s->tail_bytes ? bytes - at : s->tail_bytes;
    if (memcmp(data + at, s->tail, tail)) unexpected(s->tail, data, bytes);
    *number = value;
    return tail < s->tail_bytes ? 0 : at + tail;
}

static void keep_id(struct connection *c, uint64_t id) {
    if (c->id_count == c->id_room)
        c->ids = need(realloc(c->ids, sizeof *c->ids * (c->id_room = c->id_room ? 2 * c->id_room : 64)));
    c->ids[c->id_count++] = id;
}

static void finish_number(struct connection *c, struct expectation *e, uint64_t number) {
    const struct step *s = e->step;
    if (e->counted && number != e->counted)
        fail(4, "%s: %llu acknowledged, and answered %llu", options.protocol, (unsigned long long)e->counted,
             (unsigned long long)number);
    if (s->ids_differ) check_id(c, number);
    if (s->collects_ids) keep_id(c, number);
    completed += e->counted + s->completes;
    e->left--;
}

static size_t match_numbers(struct connection *c, struct expectation *e, const char *data, size_t bytes) {
    size_t at = 0, matched;
    uint64_t number;
    while (e->left && at < bytes && (matched = match_number(e->step, data + at, bytes - at, &number))) {
        finish_number(c, e, number);
        at += matched;
    }
    return at;
}

/* Messages, and a `.` behind them, or in the place of the one that was asked for. */
static size_t match_messages(struct connection *c, struct expectation *e, const char *data, size_t bytes) {
    size_t at = 0, matched;
    uint64_t number;
    while (!e->met && at < bytes) {
        if (data[at] == '.') {
            if (at + 1 == bytes) break;
            if (data[at + 1] != '\n') unexpected(".", data + at, bytes - at);
            e->met = true;
            return at + 2;
        }
        if (!e->left) unexpected(".", data + at, bytes - at);
        if (!(matched = match_number(e->step, data + at, bytes - at, &number))) break;
        finish_number(c, e, number);
        c->taken++;
        at += matched;
        e->met = e->step->reply == MESSAGE;
    }
    return at;
}

/* How many bytes of `data` are replies to the first expectation; the last one may be cut off. */
static size_t match(struct connection *c, struct expectation *e, const char *data, size_t bytes) {
    if (e->step->reply == MESSAGE || e->step->reply == MESSAGES) return match_messages(c, e, data, bytes);
    size_t at = e->step->reply == CONSTANT ? match_constant(c, e, data, bytes) : match_numbers(c, e, data, bytes);
    e->met = !e->left;
    return at;
}

static void keep_cut(struct connection *c, const char *data, size_t bytes) {
    c->cut = need(realloc(c->cut, bytes));
    memcpy(c->cut, data, bytes);
    c->cut_bytes = bytes;
}

static void receive(struct connection *c) {
    if (c->cut_bytes) memcpy(incoming, c->cut, c->cut_bytes);
    ssize_t got = read(c->fd, incoming + c->cut_bytes, sizeof incoming - c->cut_bytes);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail(5, "the server closed a connection: %s", got ? strerror(errno) : "end of file");
    size_t bytes = (size_t)got + c->cut_bytes;
    c->cut_bytes = 0;
    for (size_t at = 0; at < bytes;) {
        if (!c->count) unexpected("nothing", incoming + at, bytes - at);
        struct expectation *e = &c->expected[c->first];
        at += match(c, e, incoming + at, bytes - at);
        if (e->met) {
            c->first = (c->first + 1) % c->ring;
            c->count--;
        } else if (at < bytes) {
            keep_cut(c, incoming + at, bytes - at);
            return;
        }
    }
}

/* Every reply has come: after the end of what was asked only the end of what is answered may follow. The clock has
 * stopped. */
static void expect_silence(void) {
    for (unsigned i = 0; i < connection_count; i++) shutdown(connections[i].fd, SHUT_WR);
    for (unsigned i = 0; i < connection_count; i++) {
        fcntl(connections[i].fd, F_SETFL, 0); /* blocking again, with the patience that dial() gave it */
        ssize_t got = read(connections[i].fd, incoming, sizeof incoming);
        if (got > 0) unexpected("the end", incoming, (size_t)got);
        if (got < 0) fail(5, "a connection did not end in order: %s", strerror(errno));
    }
}
