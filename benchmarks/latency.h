/* latency.h - round trips as a log-scale histogram: 64 buckets an octave (1.6 % wide), nanoseconds.
 *
 * Included once, by load.c.  Recording costs an addition, so it does not slow the generator down. */
#include <stdint.h>

static uint64_t buckets[64 * 64], samples, slowest_ns;

static void record(uint64_t ns) {
    unsigned octave = ns < 64 ? 0 : 63u - (unsigned)__builtin_clzll(ns) - 5;
    buckets[octave * 64 + (ns >> (octave ? octave - 1 : 0)) % 64]++;
    samples++;
    if (ns > slowest_ns) slowest_ns = ns;
}

static double percentile_us(double fraction) {
    uint64_t rank = (uint64_t)(fraction * (double)samples), seen = 0;
    for (unsigned i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        seen += buckets[i];
        if (seen <= rank) continue;
        unsigned octave = i / 64;
        return octave ? (double)(((uint64_t)64 + i % 64) << (octave - 1)) / 1000 : (double)i / 1000;
    }
    return (double)slowest_ns / 1000;
}
