/* A histogram of times with buckets that grow with the value: 128 for each doubling.
 *
 * A percentile is its bucket's middle, so it is at most 0.4 % off; max and mean are exact.
 */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>

/* Values below 256 have a bucket each; above, the 8 leading bits choose one. */
static size_t bucket_of(uint64_t ns)
{
    int shift = ns < 256 ? 0 : 56 - __builtin_clzll(ns);
    return (size_t)shift * 128 + (size_t)(ns >> shift);
}

static double middle_of(size_t bucket)
{
    if (bucket < 256)
        return (double)bucket;
    size_t shift = bucket / 128 - 1;
    double width = (double)(UINT64_C(1) << shift);
    return ((double)(bucket - shift * 128) + 0.5) * width;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->counts[bucket_of(ns)]++;
    histogram->n++;
    histogram->sum += (double)ns;
    if (ns > histogram->max)
        histogram->max = ns;
}

static double percentile(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t)(share * (double)histogram->n), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > rank) {
            double middle = middle_of(i), max = (double)histogram->max;
            return middle < max ? middle : max;
        }
    }
    return (double)histogram->max;
}

void histogram_print(const char *name, const struct histogram *histogram)
{
    static const struct {
        const char *name;
        double share;
    } wanted[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    printf(",\"%s\":{", name);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        printf("\"%s\":%.1f,", wanted[i].name, percentile(histogram, wanted[i].share) / 1e3);
    printf("\"max\":%.1f,\"mean\":%.1f,\"n\":%" PRIu64 "}", (double)histogram->max / 1e3,
           histogram->n ? histogram->sum / (double)histogram->n / 1e3 : 0, histogram->n);
}
