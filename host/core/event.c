#include "core/event.h"

#include "base/deadline.h"
#include "base/log.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000

/* Adds text only when all of it finds room, so that a line is never cut within a field. */
static void add_event(struct event *v, const char *text, size_t size)
{
    if (!v->wanted || size >= sizeof(v->line) - v->size)
        return;
    memcpy(v->line + v->size, text, size);
    v->size += size;
}

static void add_field(struct event *v, const char *key, const char *value)
{
    char field[EVENT_VALUE_MAX + 40];
    int n = snprintf(field, sizeof(field), "%s%s=%s", v->size ? " " : "", key, value);

    if (n > 0 && (size_t)n < sizeof(field))
        add_event(v, field, (size_t)n);
}

static bool is_bare(const char *value)
{
    for (; *value; value++)
        if (!isalnum((unsigned char)*value) && !strchr("._:/@+-", *value))
            return false;
    return true;
}

/* One byte within quotes; returns how many it became. */
static size_t escape(char out[static 5], unsigned char c)
{
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c >= ' ' && c < 0x7f) {
        out[0] = (char)c;
        return 1;
    }
    return (size_t)snprintf(out, 5, "\\x%02x", c);
}

void event_text(struct event *v, const char *key, const char *value)
{
    char quoted[EVENT_VALUE_MAX + 8] = "\"";
    size_t used = 1;

    if (!v->wanted || !value || !value[0])
        return;
    if (is_bare(value) && strlen(value) <= EVENT_VALUE_MAX) {
        add_field(v, key, value);
        return;
    }
    for (; *value && used < EVENT_VALUE_MAX - 4; value++) {
        char one[5];
        size_t n = escape(one, (unsigned char)*value);
        memcpy(quoted + used, one, n);
        used += n;
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    add_field(v, key, quoted);
}

void event_number(struct event *v, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    add_field(v, key, text);
}

void event_ms(struct event *v, const char *key, int64_t ns)
{
    char text[32];

    if (ns < 0)
        return;
    snprintf(text, sizeof(text), "%.1f", (double)ns / NS_PER_MS);
    add_field(v, key, text);
}

void event_begin(struct event *v, const char *name)
{
    int64_t now = clock_realtime_ns();
    const time_t seconds = (time_t)(now / 1000000000);
    char date[32], text[48];
    struct tm utc;

    v->size = 0;
    v->wanted = log_wants(LOG_DEBUG);
    if (!v->wanted)
        return;
    gmtime_r(&seconds, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(now / NS_PER_MS % 1000));
    add_field(v, "time", text);
    event_ms(v, "since_ms", log_since_start_ns());
    add_field(v, "event", name);
}

void event_end(struct event *v)
{
    if (!v->wanted)
        return;
    v->line[v->size++] = '\n'; /* add() leaves room */
    log_line(v->line, v->size);
}

/* ---- VMs ------------------------------------------------------------------------------------------- */

void life_begin(struct vm_life *l, const char *driver, const char *accel, const char *language,
                const char *snapshot, const char *trace_id)
{
    static atomic_uint count;

    *l = (struct vm_life){.driver = driver, .accel = accel, .begun_ns = clock_monotonic_ns()};
    snprintf(l->id, sizeof(l->id), "%d-%u", (int)getpid(), atomic_fetch_add(&count, 1) + 1);
    snprintf(l->language, sizeof(l->language), "%.63s", language ? language : "");
    snprintf(l->snapshot, sizeof(l->snapshot), "%.16s", snapshot ? snapshot : "");
    snprintf(l->trace_id, sizeof(l->trace_id), "%s", trace_id ? trace_id : "");
}

void life_event(struct event *v, const struct vm_life *l, const char *name)
{
    event_begin(v, name);
    event_text(v, "vm", l->id);
    event_text(v, "trace_id", l->trace_id);
    event_text(v, "driver", l->driver);
    event_text(v, "accel", l->accel);
    event_text(v, "language", l->language);
    event_text(v, "snapshot", l->snapshot);
    if (l->pid > 0)
        event_number(v, "pid", l->pid);
}

void life_because(struct vm_life *l, const char *why, const char *detail)
{
    if (l->why[0])
        return;
    snprintf(l->why, sizeof(l->why), "%.23s", why);
    snprintf(l->detail, sizeof(l->detail), "%.199s", detail ? detail : "");
}

void life_because_error(struct vm_life *l, const struct error *e)
{
    const char *why = e->kind == ERROR_TIMEOUT     ? "timeout"
                      : e->kind == ERROR_VM_LOST   ? "lost"
                      : e->kind == ERROR_CANCELLED ? "cancelled"
                                                   : "failed";

    life_because(l, why, e->text);
}
