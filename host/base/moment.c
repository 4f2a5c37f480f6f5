#include "base/moment.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define FAR_S (INT64_C(1) << 40)

/* A number alone, or with the unit of a duration before now. */
static bool parse_number(const char *text, int64_t now, int64_t *ret)
{
    static const struct {
        char unit;
        int seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
    size_t size = strspn(text, "0123456789");
    char digits[16];
    uint64_t number;

    if (size == 0 || size >= sizeof(digits) || (text[size] && text[size + 1]))
        return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)size, text);
    if (!text_to_u64(digits, 0, FAR_S, &number))
        return false;
    if (!text[size])
        *ret = (int64_t)number;
    for (size_t i = 0; text[size] && i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == text[size]) {
            *ret = now - (int64_t)number * units[i].seconds;
            return true;
        }
    return !text[size];
}

/* "", "Z" or "+HH:MM"; what is to be taken away for UTC. */
static bool parse_zone(const char *text, int64_t *ret)
{
    unsigned hours, minutes;
    int used = 0;

    *ret = 0;
    if (text[0] == '\0' || strcmp(text, "Z") == 0)
        return true;
    if ((text[0] != '+' && text[0] != '-') || sscanf(text + 1, "%2u:%2u%n", &hours, &minutes, &used) != 2 ||
        text[1 + used] || hours > 23 || minutes > 59)
        return false;
    *ret = (text[0] == '-' ? -1 : 1) * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

static bool parse_date(const char *text, int64_t *ret)
{
    struct tm tm = {0};
    int64_t zone;
    const char *rest = strptime(text, "%Y-%m-%d", &tm);

    if (!rest)
        return false;
    if (*rest == 'T' || *rest == ' ') {
        const char *seconds;
        rest = strptime(rest + 1, "%H:%M", &tm);
        if (rest && *rest == ':' && (seconds = strptime(rest + 1, "%S", &tm)))
            rest = seconds;
        if (rest && *rest == '.')
            rest += 1 + strspn(rest + 1, "0123456789");
    }
    if (!rest || !parse_zone(rest, &zone))
        return false;
    *ret = (int64_t)timegm(&tm) - zone;
    return true;
}

bool moment_parse(const char *text, int64_t now, int64_t *ret)
{
    return parse_number(text, now, ret) || parse_date(text, ret);
}

void moment_print(int64_t ns, char out[static MOMENT_TEXT_SIZE])
{
    const time_t seconds = ns / 1000000000;
    struct tm utc;

    gmtime_r(&seconds, &utc);
    size_t used = strftime(out, MOMENT_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, MOMENT_TEXT_SIZE - used, ".%06dZ", (int)(ns % 1000000000 / 1000));
}
