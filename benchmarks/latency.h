/* latency.h - round trips as a log-scale histogram: 64 buckets an octave (1.6 % wide), nanoseconds.
 *
 * Included once, by load.c.  Recording costs an addition, so it does not slow the generator down. */
#include <stdint.h>

struct latencies {
    uint64_t buckets[64 * 64], samples, slowest_ns;
};

static void record(struct latencies *l, uint64_t ns) {
    unsigned octave = ns < 64 ? 0 : 63u - (unsigned)__builtin_clzll(ns) - 5;
    l->buckets[octave * 64 + (ns >> (octave ? octave - 1 : 0)) % 64]++;
    l->samples++;
    if (ns > l->slowest_ns) l->slowest_ns = ns;
}

static double percentile_us(const struct latencies *l, double fraction) {
    uint64_t rank = (uint64_t)(fraction * (double)l->samples), seen = 0;
    for (unsigned i = 0; i < sizeof l->buckets / sizeof *l->buckets; i++) {
        seen += l->buckets[i];
        if (seen <= rank) continue;
        unsigned octave = i / 64;
        return octave ? (double)(((uint64_t)64 + i % 64) << (octave - 1)) / 1000 : (double)i / 1000;
    }
    return (double)l->slowest_ns / 1000;
}
