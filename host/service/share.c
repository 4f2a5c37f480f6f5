#include "service/share.h"

#include "base/cleanup.h"
#include "base/text.h"

#define SLACK 512 /* of all that there may be, one part goes beyond what has to, when something has to */

/* How much there is, of one owner or (NULL) of all. */
static int measure_share(const struct shelf *f, const struct share *s, const char *owner, int64_t *ret,
                         struct error *e)
{
    cleanup_free char *question =
        text_format("SELECT %s FROM %s%s", s->measure, s->table, owner ? " WHERE owner = ?" : "");

    return records_ask_number(f->records, question, owner ? RECORDS_VALUES(records_text(owner)) : NULL, ret,
                              e);
}

/* Drops the oldest of an owner; 0: there is none. */
static int drop_oldest(const struct shelf *f, const struct share *s, const char *owner, struct error *e)
{
    cleanup_free char *statement =
        text_format("%s WHERE number = (SELECT number FROM %s WHERE owner = ? AND ended IS NOT NULL AND %s"
                    " ORDER BY ended, number LIMIT 1)",
                    s->drop, s->table, s->worth);

    return shelf_drop(f, s->table, statement, RECORDS_VALUES(records_text(owner)), e);
}

/* 1: there is one, for the caller to free; 0: nobody has anything that may go. */
static int find_greediest(const struct shelf *f, const struct share *s, char **ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    cleanup_free char *question = text_format(
        "SELECT owner FROM %s WHERE ended IS NOT NULL AND %s GROUP BY owner ORDER BY %s DESC LIMIT 1",
        s->table, s->worth, s->measure);

    if (records_ask(&rows, f->records, question, NULL, e) < 0)
        return -1;
    int there = records_next(&rows, e);
    *ret = there > 0 ? text_copy(records_get_text(&rows, 0, NULL)) : NULL;
    return there;
}

/* The same as share_make_room(), for what all have: as much below the bound as the next ones may add without a look. */
static int make_room_for_all(const struct shelf *f, const struct share *s, struct error *e)
{
    int64_t all, aim = s->all_max;

    for (;;) {
        cleanup_free char *greediest = NULL;
        if (measure_share(f, s, NULL, &all, e) < 0)
            return -1;
        f->room[s->number] = s->all_max - all;
        if (all <= aim)
            return 1;
        aim = s->all_max - s->all_max / SLACK;
        int there = find_greediest(f, s, &greediest, e);
        int dropped = there > 0 ? drop_oldest(f, s, greediest, e) : there;
        if (dropped <= 0)
            return dropped < 0 ? -1 : all <= s->all_max;
    }
}

int share_make_room(const struct shelf *f, const struct share *s, const char *owner, int64_t added,
                    struct error *e)
{
    for (int64_t own;;) {
        if (measure_share(f, s, owner, &own, e) < 0)
            return -1;
        if (own <= s->own_max)
            break;
        int dropped = drop_oldest(f, s, owner, e);
        if (dropped <= 0)
            return dropped;
    }
    /* To add up all is dear; what goes meanwhile only makes more room. */
    f->room[s->number] -= added;
    return f->room[s->number] >= 0 ? 1 : make_room_for_all(f, s, e);
}
